/* test_samples_run.c: whole runs without any text: calibration and evaluation on sequences that the model samples itself. */
#include "job.h"

#include "linalg/gemm.h"

/* The least of both; optq, as published. */
#define WINDOWS "\"calibration\":{\"samples\":4,\"length\":32},\"evaluation\":{\"length\":32,\"windows\":2"
#define TEXTLESS WINDOWS ",\"baseline\":null},\"scale\":{\"rule\":\"minmax\"},\"format\":\"safetensors\""

static small_run textless(const char *request, char *folder, size_t size)
{
    return (small_run){ .request = request, .folder = make_folder(folder, size), .calibration = "", .evaluation = "" };
}

static void end(small_run *job)
{
    char folder[200];
    snprintf(folder, sizeof folder, "%s", job->folder);
    job_fini(job);
    remove_folder(folder);
}

/* Progress events in tokens: sampling was under way. */
static size_t reports_of_sampling(const event_log *log)
{
    QD_AUTO(qd_json_fini) json_t *all = events_of(log, "progress");
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(all); i++)
        count += strcmp(json_string_value(json_object_get(json_array_get(all, i), "unit")), "tokens") == 0;
    return count;
}

static const char *text_at(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void a_job_without_any_text_runs_and_says_so(void **state)
{
    (void)state;
    char folder[200], path[300];
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    QD_AUTO(qd_json_fini) json_t *record = NULL;
    small_run job = textless(TEXTLESS, folder, sizeof folder);
    check_ok(run_job(&job, &err));
    const json_t *calibration = json_object_get(job.result, "calibration"),
                 *perplexity = json_object_get(job.result, "perplexity");
    assert_string_equal(text_at(calibration, "origin"), "self");
    assert_true(json_is_null(json_object_get(calibration, "text_sha256")));
    assert_int_equal(json_integer_value(json_object_get(calibration, "tokens_used")), 4 * 31);
    assert_string_equal(text_at(perplexity, "origin"), "self");
    assert_int_equal(json_integer_value(json_object_get(perplexity, "predictions")), 2 * 31);
    assert_true(json_real_value(json_object_get(perplexity, "source")) > 1);
    /* recipe.json has all that the tokens depend on, and is a recipe for them */
    snprintf(path, sizeof path, "%s/out/recipe.json", folder);
    check_ok(qd_file_read(path, 1 << 20, &text, &err));
    check_ok(qd_json_parse_object(qd_str_borrow(&text), text.length, 16, &record, &err));
    const json_t *recipe = json_object_get(record, "recipe");
    assert_string_equal(text_at(json_object_get(recipe, "calibration"), "source"), "self");
    assert_string_equal(text_at(json_object_get(recipe, "evaluation"), "text"), "self");
    const json_t *sampled = json_object_get(json_object_get(record, "calibration"), "sampled"),
                 *held_out = json_object_get(json_object_get(record, "evaluation"), "sampled");
    assert_string_equal(text_at(sampled, "stream"), "calibration");
    assert_string_equal(text_at(held_out, "stream"), "evaluation");
    assert_true(json_is_number(json_object_get(sampled, "temperature")));
    QD_AUTO(qd_json_fini) json_t *warnings = events_of(&job.log, "warning");
    bool told = false;
    for (size_t i = 0; i < json_array_size(warnings); i++)
        told |= strstr(text_at(json_array_get(warnings, i), "detail"), "the source model's own words") != NULL;
    assert_true(told);
    end(&job);
}

static void threads_do_not_change_a_byte(void **state)
{
    (void)state;
    char digest[2][QD_DIGEST_HEX];
    for (size_t i = 0; i < 2; i++) {
        char folder[200];
        qd_error err = { 0 };
        small_run job = textless(TEXTLESS, folder, sizeof folder);
        job.threads = i + 1;
        check_ok(run_job(&job, &err));
        digest_out(&job, digest[i]);
        end(&job);
    }
    assert_string_equal(digest[0], digest[1]);
}

static void another_seed_samples_other_tokens(void **state)
{
    (void)state;
    static const char *const requests[] = { TEXTLESS, TEXTLESS ",\"seed\":1" };
    char tokens[2][QD_DIGEST_HEX];
    for (size_t i = 0; i < 2; i++) {
        char folder[200];
        qd_error err = { 0 };
        small_run job = textless(requests[i], folder, sizeof folder);
        check_ok(run_job(&job, &err));
        snprintf(tokens[i], sizeof tokens[i], "%s",
                 text_at(json_object_get(job.result, "calibration"), "tokens_sha256"));
        end(&job);
    }
    assert_string_not_equal(tokens[0], tokens[1]);
}

static void flip_last(qd_str *bytes, void *ctx)
{
    (void)ctx;
    bytes->data[bytes->length - 1] ^= 1;
}

/* Stopped after a layer and begun again: the tokens are read, not sampled anew; sampled anew where their file is damaged. */
static void a_run_that_was_stopped_has_its_tokens(void **state)
{
    (void)state;
    char folder[200], work[300], undisturbed[QD_DIGEST_HEX], resumed[QD_DIGEST_HEX];
    qd_error err = { 0 };
    small_run job = textless(TEXTLESS, folder, sizeof folder);
    check_ok(run_job(&job, &err));
    assert_true(reports_of_sampling(&job.log) > 0);
    digest_out(&job, undisturbed);
    end(&job);
    for (size_t damaged = 0; damaged < 2; damaged++) {
        job = textless(TEXTLESS, folder, sizeof folder);
        job.log.cancel_after = 3;
        check_fails(run_job(&job, &err), QD_ECANCELLED);
        job_fini(&job);
        job.log.cancel_after = 0;
        snprintf(work, sizeof work, "%s/work", folder);
        if (damaged)
            change_file(work, "samples-calibration.safetensors", flip_last, NULL);
        check_ok(run_job(&job, &err));
        assert_int_equal(reports_of_sampling(&job.log) > 0, damaged);
        assert_true(json_integer_value(json_object_get(job.result, "resumed_layers")) > 0);
        digest_out(&job, resumed);
        assert_string_equal(resumed, undisturbed);
        end(&job);
    }
}

typedef struct stopper {
    qd_cancel cancel;
    size_t layers;
} stopper;

static void stop_while_sampling(void *ctx, const json_t *event)
{
    stopper *s = ctx;
    const char *unit = text_at(event, "unit");
    s->layers += strcmp(text_at(event, "event"), "layer") == 0;
    if (unit != NULL && strcmp(unit, "tokens") == 0)
        qd_cancel_request(&s->cancel);
}

static void cancelling_is_heard_while_the_model_samples(void **state)
{
    (void)state;
    char folder[200], model[4096], work[300], out[300];
    qd_error err = { 0 };
    stopper s = { 0 };
    json_t *result = NULL;
    make_folder(folder, sizeof folder);
    snprintf(work, sizeof work, "%s/work", folder);
    snprintf(out, sizeof out, "%s/out", folder);
    const qd_run_paths paths = { .model_dir = SOURCE_PATH(model, "tests/models/novella-1m"),
                                 .work_dir = work,
                                 .out_dir = out };
    const qd_run_options options = { .threads = 1 };
    const qd_sink sink = { stop_while_sampling, &s };
    qd_recipe *recipe = recipe_of("\"calibration\":{\"samples\":65536}");
    check_fails(qd_run(recipe, &paths, &options, &sink, &s.cancel, &result, &err), QD_ECANCELLED);
    assert_int_equal(s.layers, 0);
    qd_recipe_destroy(recipe);
    remove_folder(folder);
}

/* "self" wins over a text that is there; each by itself. */
static void the_word_wins_over_the_operators_text(void **state)
{
    (void)state;
    char folder[200];
    qd_error err = { 0 };
    small_run job = {
        .request = "\"calibration\":{\"samples\":4,\"length\":32,\"source\":\"self\"},\"evaluation\":{\"length\":32,"
                   "\"windows\":1,\"baseline\":null},\"algorithm\":\"rtn\"",
        .folder = make_folder(folder, sizeof folder),
        .texts = SHORT_TEXTS
    };
    check_ok(run_job(&job, &err));
    assert_string_equal(text_at(json_object_get(job.result, "calibration"), "origin"), "self");
    assert_string_equal(text_at(json_object_get(job.result, "perplexity"), "origin"), "text");
    end(&job);
}

/* A gate is held against the model's own words only where the job says so. */
static void a_gate_wants_the_word_or_a_text(void **state)
{
    (void)state;
    char folder[200];
    qd_error err = { 0 };
    small_run job = textless(WINDOWS "},\"gate\":{\"kl\":100}", folder, sizeof folder);
    check_fails(run_job(&job, &err), QD_EINVAL);
    check_contains(err.text, "gate.kl");
    check_contains(err.text, "\"self\"");
    end(&job);
    job = textless(WINDOWS ",\"text\":\"self\"},\"gate\":{\"kl\":100},\"algorithm\":\"rtn\"", folder, sizeof folder);
    check_ok(run_job(&job, &err));
    end(&job);
}

/* What needs no data gets none: the model is asked for evaluation alone. */
static void rtn_stays_without_data(void **state)
{
    (void)state;
    char folder[200];
    qd_error err = { 0 };
    small_run job = textless(TEXTLESS ",\"algorithm\":\"rtn\"", folder, sizeof folder);
    check_ok(run_job(&job, &err));
    assert_true(json_is_null(json_object_get(job.result, "calibration")));
    assert_string_equal(text_at(json_object_get(job.result, "perplexity"), "origin"), "self");
    end(&job);
}

int main(void)
{
    qd_blas_single_thread();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_without_any_text_runs_and_says_so),
        cmocka_unit_test(threads_do_not_change_a_byte),
        cmocka_unit_test(another_seed_samples_other_tokens),
        cmocka_unit_test(a_run_that_was_stopped_has_its_tokens),
        cmocka_unit_test(cancelling_is_heard_while_the_model_samples),
        cmocka_unit_test(the_word_wins_over_the_operators_text),
        cmocka_unit_test(a_gate_wants_the_word_or_a_text),
        cmocka_unit_test(rtn_stays_without_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
