/* test_arithmetic.c: what a job is calibrated in: the registry, what `auto` comes to, and runs in bfloat16. */
#include "job.h"
#include "recipe.h"

#include "engine/arithmetic.h"

static qd_arithmetic decided(const char *rule, const char *dtype)
{
    const qd_model_config config = { .dtype = dtype };
    return qd_arithmetic_rule_find(rule)->decide(&config);
}

static void rows_are_found_by_name_and_decide(void **state)
{
    (void)state;
    for (size_t i = 0; qd_arithmetic_rule_at(i) != NULL; i++) {
        const qd_arithmetic_rule *row = qd_arithmetic_rule_at(i);
        assert_ptr_equal(qd_arithmetic_rule_find(row->name), row);
        assert_true(strlen(row->summary) > 10);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(row->name, qd_arithmetic_rule_at(k)->name);
    }
    assert_null(qd_arithmetic_rule_find("float16"));
    static const char *const stored[] = { "BF16", "F16", "F32" };
    for (size_t i = 0; i < QD_LENGTH(stored); i++) {
        assert_int_equal(decided("auto", stored[i]), i == 0 ? QD_ARITHMETIC_BFLOAT16 : QD_ARITHMETIC_FLOAT32);
        for (qd_arithmetic a = QD_ARITHMETIC_FLOAT32; a <= QD_ARITHMETIC_TWO_TERMS; a++)
            assert_int_equal(decided(qd_arithmetic_name(a), stored[i]), a);
    }
}

#define REQUEST(arithmetic, more) \
    "\"algorithm\":\"optq\",\"effort\":\"reference\",\"bits\":3,\"group_size\":64,\"scale\":{\"rule\":\"minmax\"}," \
    "\"format\":\"safetensors:bf16\"," \
    "\"arithmetic\":\"" arithmetic "\",\"calibration\":{\"samples\":3,\"length\":32}," \
    "\"evaluation\":{\"length\":64,\"windows\":1,\"baseline\":null}" more

static void run_small(small_run *job, const char *request, char *folder, size_t size, size_t threads)
{
    qd_error err = { 0 };
    *job = (small_run){
        .request = request, .folder = make_folder(folder, size), .texts = SHORT_TEXTS, .threads = threads
    };
    check_ok(run_job(job, &err));
}

static void end_small(small_run *job)
{
    json_decref(job->result);
    log_fini(&job->log);
    remove_folder(job->folder);
}

/* Of the weights alone: manifest and recipe say what was asked for, too. */
static void digest_weights(const small_run *job, char *out_hex)
{
    qd_error err = { 0 };
    char path[4300];
    snprintf(path, sizeof path, "%s/out/model.safetensors", job->folder);
    check_ok(qd_sha256_file(path, out_hex, &err));
}

/* The tests' model is in BF16. */
static void what_auto_comes_to_is_told_and_gives_the_same_layers(void **state)
{
    (void)state;
    static const struct {
        const char *request, *told;
    } runs[] = { { REQUEST("auto", ""), "bfloat16" },
                 { REQUEST("bfloat16", ""), "bfloat16" },
                 { REQUEST("float32", ""), "float32" },
                 { REQUEST("two-terms", ""), "two-terms" } };
    char digests[QD_LENGTH(runs)][QD_DIGEST_HEX];
    for (size_t i = 0; i < QD_LENGTH(runs); i++) {
        char folder[200];
        small_run job;
        run_small(&job, runs[i].request, folder, sizeof folder, 1);
        digest_weights(&job, digests[i]);
        assert_string_equal(json_string_value(json_object_get(job.result, "arithmetic")), runs[i].told);
        char path[4300];
        static const char *const files[] = { "manifest.json", "recipe.json" };
        for (size_t k = 0; k < QD_LENGTH(files); k++) {
            QD_AUTO(qd_json_fini) json_t *document = NULL;
            qd_error err = { 0 };
            snprintf(path, sizeof path, "%s/out/%s", job.folder, files[k]);
            check_ok(qd_json_read_object(path, 1 << 24, 32, &document, &err));
            const json_t *from = k == 0 ? document : json_object_get(document, "recipe");
            assert_string_equal(json_string_value(json_object_get(from, "arithmetic")), runs[i].told);
        }
        end_small(&job);
    }
    assert_string_equal(digests[0], digests[1]);
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 2; k < 4; k++)
            assert_string_not_equal(digests[i], digests[k]);
}

static void nothing_is_told_where_nothing_is_calibrated(void **state)
{
    (void)state;
    char folder[200];
    qd_error err = { 0 };
    small_run job = { .request = "\"algorithm\":\"rtn\",\"arithmetic\":\"bfloat16\",\"format\":\"safetensors\","
                                 "\"evaluation\":{\"length\":64,\"windows\":1}",
                      .folder = make_folder(folder, sizeof folder),
                      .texts = SHORT_TEXTS,
                      .calibration = "" };
    check_ok(run_job(&job, &err));
    assert_true(json_is_null(json_object_get(job.result, "arithmetic")));
    end_small(&job);
}

/* Layers of one arithmetic are not taken for those of the other; within one they are, and the end is the same. */
static void a_stopped_run_ends_with_the_same_bytes(void **state)
{
    (void)state;
    char folder[200], other[200], digests[2][QD_DIGEST_HEX];
    qd_error err = { 0 };
    small_run whole, job = { .request = REQUEST("bfloat16", ""),
                             .folder = make_folder(folder, sizeof folder),
                             .texts = SHORT_TEXTS,
                             .threads = 2,
                             .log = { .cancel_after = 10 } };
    check_fails(run_job(&job, &err), QD_ECANCELLED);
    log_fini(&job.log);
    job.log.cancel_after = 0;
    job.request = REQUEST("auto", "");
    check_ok(run_job(&job, &err));
    assert_int_equal(json_integer_value(json_object_get(job.result, "resumed_layers")), 10);
    digest_out(&job, digests[0]);
    json_decref(job.result);
    log_fini(&job.log);
    run_small(&whole, REQUEST("auto", ""), other, sizeof other, 1);
    digest_out(&whole, digests[1]);
    assert_string_equal(digests[0], digests[1]);
    end_small(&whole);
    job.request = REQUEST("float32", "");
    check_ok(run_job(&job, &err));
    assert_int_equal(json_integer_value(json_object_get(job.result, "resumed_layers")), 0);
    end_small(&job);
}

static const json_t *stream_error(const small_run *job, size_t block)
{
    QD_AUTO(qd_json_fini) json_t *events = events_of(&job->log, "stream");
    assert_int_equal(json_array_size(events), LAYERS / A_BLOCK);
    return json_object_get(json_array_get(events, block), "relative_error"); /* borrowed from the log */
}

/* Who compares the streams has both, who does not has none to tell of. */
static void the_distance_of_the_streams_is_told_where_both_are_walked(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        bool both;
    } runs[] = { { REQUEST("float32", ""), false },
                 { REQUEST("float32", ",\"transforms\":[{\"kind\":\"magr\",\"iterations\":1}]"), true },
                 { "\"algorithm\":\"gpfq\",\"effort\":\"reference\",\"scale\":{\"rule\":\"minmax\"},\"format\":"
                   "\"safetensors\",\"calibration\":{\"samples\":3,"
                   "\"length\":32},\"evaluation\":{\"length\":64,\"windows\":1,\"baseline\":null}",
                   true } };
    for (size_t i = 0; i < QD_LENGTH(runs); i++) {
        char folder[200];
        small_run job;
        run_small(&job, runs[i].request, folder, sizeof folder, 2);
        for (size_t b = 0; b < LAYERS / A_BLOCK; b++)
            assert_int_equal(json_is_real(stream_error(&job, b)), runs[i].both);
        end_small(&job);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_found_by_name_and_decide),
        cmocka_unit_test(what_auto_comes_to_is_told_and_gives_the_same_layers),
        cmocka_unit_test(nothing_is_told_where_nothing_is_calibrated),
        cmocka_unit_test(a_stopped_run_ends_with_the_same_bytes),
        cmocka_unit_test(the_distance_of_the_streams_is_told_where_both_are_walked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
