/* test_mismatch_run.c: whole runs of the algorithms that know both streams, and of stochastic rounding: same bytes whatever happens, every
 * layer certified, scopes that mean what they say. */
#include "job.h"
#include "recipe.h"

#include "engine/verify.h"

static const char *const kinds[] = {
    "\"algorithm\":\"qronos\",\"effort\":\"balanced\",\"mismatch\":{\"residual\":false}",
    "\"algorithm\":\"qronos\",\"effort\":\"balanced\",\"calibration\":{\"samples\":5,\"length\":64}",
    "\"algorithm\":\"gpfq\",\"rounding\":\"stochastic\",\"mismatch\":{\"scope\":\"block\",\"shrink\":0.5}",
    "\"algorithm\":\"gpfq\",\"mismatch\":{\"scope\":\"model\",\"shrink\":0.8,\"residual\":true}",
    ("\"algorithm\":\"qronos\",\"bits\":3,\"format\":\"safetensors\","
     "\"refine\":{\"beam\":3,\"coordinate_descent\":2,\"refit_scales\":true}"),
};
enum { BALANCED = 1, STOCHASTIC = 2, GREEDY = 3 };

/* QUICK, with the members of a kind before it; a kind with its own calibration brings the rest. */
static small_run job_of(const char *kind, char *request, size_t size, char *folder, size_t folder_size)
{
    static const char rest[] = "\"evaluation\":{\"length\":64,\"windows\":1},\"scale\":{\"rule\":\"minmax\"}";
    snprintf(request, size, "%s,%s", kind, strstr(kind, "calibration") == NULL ? QUICK : rest);
    return (small_run){ .request = request, .folder = make_folder(folder, folder_size), .texts = SHORT_TEXTS };
}

static void finish(small_run *job)
{
    job_fini(job);
    remove_folder(job->folder);
}

static double number_in(const json_t *layer, const char *key)
{
    const json_t *value = json_object_get(json_object_get(layer, "certificate"), key);
    if (!json_is_number(value))
        fail_msg("'%s' is no number", key);
    return json_number_value(value);
}

static const char *word_in(const json_t *layer, const char *key)
{
    return json_string_value(json_object_get(json_object_get(layer, "certificate"), key));
}

static void threads_and_stops_change_no_byte(void **state)
{
    (void)state;
    for (size_t k = 0; k < QD_LENGTH(kinds); k++) {
        char request[1000], folder[200], want[QD_DIGEST_HEX], got[QD_DIGEST_HEX];
        qd_error err = { 0 };
        small_run job = job_of(kinds[k], request, sizeof request, folder, sizeof folder);
        check_ok(run_job(&job, &err));
        digest_out(&job, want);
        finish(&job);
        static const struct {
            size_t stop, threads, after;
        } ways[] = { { 0, 0, 3 }, { 0, 0, 5 }, { 20, 2, 2 } };
        for (size_t i = 0; i < QD_LENGTH(ways); i++) {
            small_run again = job_of(kinds[k], request, sizeof request, folder, sizeof folder);
            again.threads = ways[i].threads;
            again.log.cancel_after = ways[i].stop;
            if (ways[i].stop > 0) {
                check_fails(run_job(&again, &err), QD_ECANCELLED);
                job_fini(&again);
                again.log.cancel_after = 0;
            }
            again.threads = ways[i].after;
            check_ok(run_job(&again, &err));
            digest_out(&again, got);
            assert_string_equal(got, want);
            finish(&again);
        }
    }
}

static json_int_t findings_of(const json_t *record)
{
    const json_t *shape = json_object_get(record, "shape");
    const qd_linear linear = { .name = json_string_value(json_object_get(record, "name")),
                               .out = (size_t)json_integer_value(json_array_get(shape, 0)),
                               .in = (size_t)json_integer_value(json_array_get(shape, 1)) };
    qd_findings findings = { .lines = json_array() };
    qd_verify_record(&linear, (size_t)json_integer_value(json_object_get(record, "index")), record, &findings);
    json_int_t count = (json_int_t)json_array_size(findings.lines);
    json_decref(findings.lines);
    return count;
}

/* Any number of the mismatch that is changed, or missing, no longer agrees with the others. */
static void check_edits(const json_t *record)
{
    static const char *const keys[] = { "shrink",   "mismatch_sq", "mismatch_cross", "total_sq",
                                        "error_sq", "residual_sq", "residual_cross" };
    size_t count = json_object_get(json_object_get(record, "certificate"), "residual_sq") == NULL ? 5 : 7;
    assert_int_equal(findings_of(record), 0);
    for (size_t i = 0; i < count; i++) {
        QD_AUTO(qd_json_fini) json_t *edited = json_deep_copy(record);
        json_t *certificate = json_object_get(edited, "certificate");
        double value = json_number_value(json_object_get(certificate, keys[i]));
        json_object_set_new(certificate, keys[i], json_real(value * 1.001 + 1e-6));
        bool moot = json_number_value(json_object_get(certificate, "shrink")) == 1 && i >= 1 && i <= 2; /* weighs 0 */
        assert_true(findings_of(edited) > 0 || moot);
        json_object_del(certificate, keys[i]);
        assert_true(findings_of(edited) > 0);
    }
}

static void every_layer_is_certified_against_the_float_stream(void **state)
{
    (void)state;
    for (size_t k = 0; k < QD_LENGTH(kinds); k++) {
        char request[1000], folder[200], out[300], model[4096];
        qd_error err = { 0 };
        small_run job = job_of(kinds[k], request, sizeof request, folder, sizeof folder);
        check_ok(run_job(&job, &err));
        QD_AUTO(qd_json_fini) json_t *layers = events_of(&job.log, "layer");
        assert_int_equal(json_array_size(layers), LAYERS);
        for (size_t i = 0; i < LAYERS; i++) {
            const json_t *layer = json_array_get(layers, i);
            assert_true(number_in(layer, "identity_resid") < 1e-9);
            assert_true(number_in(layer, "energy_sq") <= number_in(layer, "overload_bound_sq"));
            assert_true(number_in(layer, "shrink") >= 0 && number_in(layer, "shrink") <= 1);
            assert_int_equal(strncmp(word_in(layer, "status"), "CERTIFIED", 9), 0);
            /* q, k and v of the first block see the same in both streams; other groups do not */
            if (i < 3)
                assert_true(number_in(layer, "mismatch_sq") == 0 && number_in(layer, "shift_max") == 0);
            else if (i % A_BLOCK >= 3)
                assert_true(number_in(layer, "mismatch_sq") > 0 && number_in(layer, "shift_max") > 0);
            /* o and down write to the residual stream, which the first block's o finds as it was */
            bool writes = i % A_BLOCK == 3 || i % A_BLOCK == 6, repairs = writes && (k == BALANCED || k == GREEDY);
            assert_int_equal(json_object_get(json_object_get(layer, "certificate"), "residual_sq") != NULL, repairs);
            if (repairs)
                assert_true((number_in(layer, "residual_sq") > 0) == (i != 3));
            assert_int_equal((int)number_in(layer, "m"), k == BALANCED ? 5 * 63 : k == 0 ? 4 * 63 : 4 * 64);
            if (k == STOCHASTIC)
                assert_true(number_in(layer, "kappa_max") > 0 && number_in(layer, "eta") == 0.05);
            char *line = json_dumps(layer, JSON_COMPACT);
            assert_true(strlen(line) < 16384);
            free(line);
        }
        snprintf(out, sizeof out, "%s/out", folder);
        SOURCE_PATH(model, "tests/models/novella-1m");
        QD_AUTO(qd_json_fini) json_t *report = NULL;
        check_ok(qd_verify(out, model, &report, &err));
        assert_int_equal(json_array_size(json_object_get(report, "findings")), 0);
        assert_true(json_is_true(json_object_get(report, "ok")));
        check_edits(json_array_get(layers, 5));
        check_edits(json_array_get(layers, A_BLOCK + 6));
        finish(&job);
    }
}

/* In block scope every block starts anew: its q, k and v see no mismatch. In model scope they do from the second block on. */
static void scope_says_where_the_float_stream_starts(void **state)
{
    (void)state;
    static const char *const scopes[] = { "\"algorithm\":\"qronos\",\"mismatch\":{\"scope\":\"model\"}",
                                          "\"algorithm\":\"qronos\",\"mismatch\":{\"scope\":\"block\"}" };
    for (size_t s = 0; s < 2; s++) {
        char request[1000], folder[200];
        qd_error err = { 0 };
        small_run job = job_of(scopes[s], request, sizeof request, folder, sizeof folder);
        check_ok(run_job(&job, &err));
        QD_AUTO(qd_json_fini) json_t *layers = events_of(&job.log, "layer");
        for (size_t i = A_BLOCK; i < LAYERS; i += A_BLOCK)
            for (size_t q = i; q < i + 3; q++)
                assert_true((number_in(json_array_get(layers, q), "mismatch_sq") == 0) == (s == 1));
        finish(&job);
    }
}

#define DECIDED \
    "\"order\":\"natural\",\"scale\":{\"rule\":\"minmax\"},\"regularization\":{\"mean_diagonal\":0.01}," \
    "\"evaluation\":{\"length\":64,\"windows\":1}," \
    "\"refine\":{\"beam\":1,\"coordinate_descent\":0,\"refit_scales\":false},"

/* How many layers of a second job in the same folder are those of the first? */
static size_t shared_layers(const char *first, const char *second)
{
    char folder[200];
    qd_error err = { 0 };
    size_t resumed = 0;
    small_run job = { .request = first, .folder = make_folder(folder, sizeof folder), .texts = SHORT_TEXTS };
    check_ok(run_job(&job, &err));
    job_fini(&job);
    job.request = second;
    check_ok(run_job(&job, &err));
    QD_AUTO(qd_json_fini) json_t *layers = events_of(&job.log, "layer");
    for (size_t i = 0; i < LAYERS; i++)
        resumed += json_is_true(json_object_get(json_array_get(layers, i), "resumed"));
    finish(&job);
    return resumed;
}

/* Checkpoints are of what a preset filled in, not of its name; the first position is part of that. */
static void layers_are_taken_over_when_the_numbers_are_the_same(void **state)
{
    (void)state;
#define COUNTED "\"calibration\":{\"samples\":4,\"length\":64,\"first_position\":\"counted\"}"
#define LEFT_OUT "\"calibration\":{\"samples\":4,\"length\":64,\"first_position\":\"left-out\"}"
    assert_int_equal(shared_layers(DECIDED COUNTED, DECIDED LEFT_OUT), 0);
    assert_int_equal(shared_layers(DECIDED "\"effort\":\"reference\"," COUNTED, DECIDED "\"effort\":\"best\"," COUNTED),
                     LAYERS);
}

static void another_seed_is_another_draw(void **state)
{
    (void)state;
    static const char *const seeds[] = { "\"algorithm\":\"optq\",\"rounding\":\"stochastic\",\"seed\":1",
                                         "\"algorithm\":\"optq\",\"rounding\":\"stochastic\",\"seed\":2" };
    double energy[2];
    for (size_t s = 0; s < 2; s++) {
        char request[1000], folder[200];
        qd_error err = { 0 };
        small_run job = job_of(seeds[s], request, sizeof request, folder, sizeof folder);
        check_ok(run_job(&job, &err));
        QD_AUTO(qd_json_fini) json_t *layers = events_of(&job.log, "layer");
        energy[s] = number_in(json_array_get(layers, 0), "energy_sq");
        finish(&job);
    }
    assert_true(energy[0] != energy[1]);
    assert_true(energy[0] < 2 * energy[1] && energy[1] < 2 * energy[0]);
}

/* Both by name: the field, and the algorithm or number that it does not go with. */
static void mismatch_fields_are_refused_where_they_mean_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *request, *pointer, *part;
    } cases[] = {
        { "{\"model\": \"file:///m\", \"algorithm\": \"optq\", \"mismatch\": {\"scope\": \"block\"}}",
          "/mismatch/scope", "mismatch.scope: means nothing for algorithm 'optq'; it wants algorithm gpfq or qronos" },
        { "{\"model\": \"file:///m\", \"algorithm\": \"optq\", \"mismatch\": {}}", "/mismatch", "algorithm 'optq'" },
        { "{\"model\": \"file:///m\", \"algorithm\": \"optq\", \"mismatch\": {\"residual\": true}}",
          "/mismatch/residual",
          "mismatch.residual: means nothing for algorithm 'optq'; it wants algorithm gpfq or qronos" },
        { "{\"model\": \"file:///m\", \"mismatch\": {\"residual\": true, \"scope\": \"block\"}}", "/mismatch/residual",
          "mismatch.residual: true does not go with mismatch.scope 'block'; scope 'model' does, or residual false" },
        { "{\"model\": \"file:///m\", \"effort\": \"fast\", \"mismatch\": {\"residual\": true}}", "/mismatch/residual",
          "does not go with mismatch.scope 'block'" },
        { "{\"model\": \"file:///m\", \"algorithm\": \"rtn\", \"mismatch\": {\"shrink\": 0.5}}", "/mismatch/shrink",
          "algorithm 'rtn'" },
        { "{\"model\": \"file:///m\", \"algorithm\": \"gpfq\", \"mismatch\": {\"start\": \"original\"}}",
          "/mismatch/start", "mismatch.start: means nothing for algorithm 'gpfq'; it wants algorithm qronos" },
        { "{\"model\": \"file:///m\", \"mismatch\": {\"shrink\": \"auto\"}, \"calibration\": {\"samples\": 1}}",
          "/mismatch/shrink", "mismatch.shrink: 'auto' does not go with calibration.samples of 1" },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        QD_AUTO(qd_json_fini) json_t *request = parse_text(cases[i].request);
        check_finding(request, cases[i].pointer, cases[i].part);
    }
    QD_AUTO(qd_json_fini)
    json_t *one = parse_text("{\"model\": \"file:///m\", \"algorithm\": \"gpfq\", \"calibration\": {\"samples\": 1}}");
    QD_AUTO(qd_json_fini) json_t *printed = print_parsed(one);
    QD_AUTO(qd_json_fini) json_t *want = parse_text("{\"scope\": \"model\", \"shrink\": 1, \"residual\": true}");
    assert_true(json_equal(json_object_get(printed, "mismatch"), want)); /* what applies is printed, and no more */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_and_stops_change_no_byte),
        cmocka_unit_test(every_layer_is_certified_against_the_float_stream),
        cmocka_unit_test(scope_says_where_the_float_stream_starts),
        cmocka_unit_test(layers_are_taken_over_when_the_numbers_are_the_same),
        cmocka_unit_test(another_seed_is_another_draw),
        cmocka_unit_test(mismatch_fields_are_refused_where_they_mean_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
