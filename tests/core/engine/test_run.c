/* test_run.c: whole runs: what they say, what they leave, and that nothing can change a byte of it. */
#include "job.h"

#include <sys/mount.h>
#include <unistd.h>

#include "base/clock.h"

static double number_at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        fail_msg("'%s' is no number", key);
    return json_number_value(value);
}

static const char *word_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? "" : text;
}

/* A job as it is meant; and the undisturbed quick run that disturbed ones are compared with. */
typedef struct runs {
    char folder[200], quick_folder[200], digest[QD_DIGEST_HEX];
    small_run job, quick;
} runs;

static small_run quick_job(char *folder, size_t size)
{
    return (small_run){ .request = QUICK, .folder = make_folder(folder, size), .texts = SHORT_TEXTS };
}

static int set_up(void **state)
{
    static runs fixture;
    qd_error err = { 0 };
    fixture.job = (small_run){ .request = SMALL, .folder = make_folder(fixture.folder, sizeof fixture.folder) };
    check_ok(run_job(&fixture.job, &err));
    fixture.quick = quick_job(fixture.quick_folder, sizeof fixture.quick_folder);
    check_ok(run_job(&fixture.quick, &err));
    digest_out(&fixture.quick, fixture.digest);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    runs *fixture = *state;
    job_fini(&fixture->job);
    job_fini(&fixture->quick);
    remove_folder(fixture->folder);
    remove_folder(fixture->quick_folder);
    return 0;
}

static void a_job_reports_its_phases_layers_and_progress_in_order(void **state)
{
    const runs *f = *state;
    static const char *const phases[] = { "quantizing", "evaluating", "exporting", "verifying" };
    QD_AUTO(qd_json_fini) json_t *seen = events_of(&f->job.log, "phase"), *layers = events_of(&f->job.log, "layer");
    QD_AUTO(qd_json_fini) json_t *steps = events_of(&f->job.log, "progress"), *ends = events_of(&f->job.log, "result");
    assert_int_equal(json_array_size(seen), QD_LENGTH(phases));
    for (size_t i = 0; i < QD_LENGTH(phases); i++)
        assert_string_equal(word_at(json_array_get(seen, i), "phase"), phases[i]);
    assert_int_equal(json_array_size(layers), LAYERS);
    for (size_t i = 0; i < LAYERS; i++)
        assert_int_equal(json_integer_value(json_object_get(json_array_get(layers, i), "index")), i);
    assert_true(json_array_size(steps) >= 2 * QD_LENGTH(phases) - 2);
    for (size_t i = 0; i < json_array_size(steps); i++) {
        const json_t *step = json_array_get(steps, i);
        double done = number_at(step, "done");
        assert_true(done <= number_at(step, "total"));
        assert_true(done == 0 || number_at(step, "eta") >= 0);
    }
    const json_t *last = json_array_get(f->job.log.events, json_array_size(f->job.log.events) - 1);
    assert_int_equal(json_array_size(ends), 1);
    assert_string_equal(word_at(last, "event"), "result");
}

static void every_layer_is_certified_and_its_identities_hold(void **state)
{
    const runs *f = *state;
    QD_AUTO(qd_json_fini) json_t *layers = events_of(&f->job.log, "layer");
    for (size_t i = 0; i < LAYERS; i++) {
        const json_t *layer = json_array_get(layers, i), *c = json_object_get(layer, "certificate");
        assert_true(number_at(c, "identity_resid") < 1e-9);
        assert_true(number_at(c, "energy_sq") <= number_at(c, "overload_bound_sq"));
        if (number_at(c, "clip_count") == 0)
            assert_true(number_at(c, "ratio") <= 1);
        assert_int_equal(strncmp(word_at(c, "status"), "CERTIFIED", 9), 0);
        assert_int_equal(number_at(c, "m"), 8 * 128);
        assert_true(json_is_false(json_object_get(layer, "degraded")));
        assert_true(json_is_false(json_object_get(layer, "resumed")));
        char *line = json_dumps(layer, JSON_COMPACT);
        assert_true(strlen(line) < 16384);
        free(line);
    }
}

static void the_result_has_every_number_of_the_contract(void **state)
{
    const runs *f = *state;
    const json_t *r = f->job.result, *p = json_object_get(r, "perplexity"), *c = json_object_get(r, "calibration");
    double source = number_at(p, "source");
    assert_true(source > 5 && source < 200);
    assert_true(number_at(p, "quantized") > 0.95 * source && number_at(p, "quantized") < 2 * source);
    assert_true(number_at(p, "rtn") > 0.95 * source && number_at(p, "rtn") < 2 * source);
    assert_int_equal(number_at(p, "windows"), 4);
    assert_int_equal(number_at(p, "predictions"), 4 * 127);
    check_close(number_at(r, "bits_per_weight"), 4.125, 1e-9); /* 4 bits, a bf16 scale for 128 */
    assert_true(number_at(r, "size") > 1e6);
    assert_true(number_at(r, "relative_error") > 0.001 && number_at(r, "relative_error") < 0.5);
    assert_int_equal(number_at(r, "certified_layers"), LAYERS);
    assert_int_equal(number_at(r, "layers"), LAYERS);
    assert_int_equal(number_at(r, "degraded_layers"), 0);
    assert_int_equal(number_at(r, "resumed_layers"), 0);
    assert_true(number_at(r, "peak_memory") > 1e6 && number_at(r, "peak_memory") < 4e9);
    const json_t *peaks = json_object_get(r, "peak_memory_by_phase");
    assert_true(number_at(peaks, "quantizing") > 1e6 &&
                number_at(peaks, "quantizing") <= number_at(peaks, "verifying"));
    assert_true(number_at(peaks, "verifying") <= number_at(r, "peak_memory"));
    assert_true(number_at(json_object_get(r, "seconds"), "quantizing") > 0);
    assert_int_equal(number_at(c, "tokens"), 8 * 128);
    assert_int_equal(strlen(word_at(c, "text_sha256")), 64);
    assert_int_equal(strlen(word_at(c, "tokens_sha256")), 64);
    assert_string_equal(word_at(r, "format"), "compressed-tensors:pack-quantized");
}

static void the_artifact_holds_its_records_and_nothing_of_time_or_place(void **state)
{
    const runs *f = *state;
    static const char *const names[] = { "certificate.json", "recipe.json", "manifest.json" };
    QD_AUTO(qd_free_pointer) char *out = qd_path_join(f->folder, "out");
    for (size_t i = 0; i < QD_LENGTH(names); i++) {
        qd_error err = { 0 };
        QD_AUTO(qd_str_fini) qd_str text = { 0 };
        QD_AUTO(qd_free_pointer) char *path = qd_path_join(out, names[i]);
        check_ok(qd_file_read(path, 1 << 24, &text, &err));
        assert_null(strstr(qd_str_borrow(&text), "seconds"));
        assert_null(strstr(qd_str_borrow(&text), "file://"));
        assert_null(strstr(qd_str_borrow(&text), f->folder));
    }
}

/* Another run of the quick job in a new folder, and whether it ended with the same bytes. */
static void check_same_bytes(const runs *f, small_run *job)
{
    char digest[QD_DIGEST_HEX];
    qd_error err = { 0 };
    check_ok(run_job(job, &err));
    digest_out(job, digest);
    assert_string_equal(digest, f->digest);
}

static void one_two_and_three_threads_give_the_same_bytes(void **state)
{
    const runs *f = *state;
    for (size_t threads = 2; threads <= 3; threads++) {
        char folder[200];
        small_run job = quick_job(folder, sizeof folder);
        job.threads = threads;
        check_same_bytes(f, &job);
        check_close(number_at(json_object_get(job.result, "perplexity"), "rtn"),
                    number_at(json_object_get(f->quick.result, "perplexity"), "rtn"), 0);
        job_fini(&job);
        remove_folder(folder);
    }
}

static void a_run_that_was_stopped_goes_on_and_ends_with_the_same_bytes(void **state)
{
    const runs *f = *state;
    static const size_t stops[] = { 1, 5, 7, 20, 41, 42 };
    for (size_t i = 0; i < QD_LENGTH(stops); i++) {
        char folder[200];
        qd_error err = { 0 };
        small_run job = quick_job(folder, sizeof folder);
        job.threads = 1 + i % 2;
        job.log.cancel_after = stops[i];
        check_fails(run_job(&job, &err), QD_ECANCELLED);
        assert_int_equal(job.log.layers, stops[i]);
        QD_AUTO(qd_free_pointer) char *out = qd_path_join(folder, "out");
        assert_false(qd_path_exists(out)); /* nothing half done is to be seen */
        job_fini(&job);
        job.log.cancel_after = 0;
        check_same_bytes(f, &job);
        assert_int_equal(number_at(job.result, "resumed_layers"), stops[i]);
        assert_int_equal(job.log.layers, LAYERS);
        job_fini(&job);
        remove_folder(folder);
    }
}

static void a_finished_run_may_be_run_again_and_replaces_its_artifact(void **state)
{
    const runs *f = *state;
    small_run job = { .request = QUICK, .folder = f->quick_folder, .texts = SHORT_TEXTS };
    check_same_bytes(f, &job);
    assert_int_equal(number_at(job.result, "resumed_layers"), LAYERS);
    job_fini(&job);
}

static void flip_a_byte(qd_str *bytes, void *ctx)
{
    const size_t *from_end = ctx;
    bytes->data[bytes->length - *from_end] ^= 1;
}

static void cut_in_half(qd_str *bytes, void *ctx)
{
    (void)ctx;
    bytes->length /= 2;
}

/* Runs the job, damages the checkpoint of one layer, runs again: only the layers before it are taken over. */
static void check_damage(const runs *f, size_t layer, void (*change)(qd_str *bytes, void *ctx), void *ctx)
{
    char folder[200], name[40];
    qd_error err = { 0 };
    small_run job = quick_job(folder, sizeof folder);
    check_ok(run_job(&job, &err));
    job_fini(&job);
    QD_AUTO(qd_free_pointer) char *layers = qd_path_join(folder, "work/layers");
    snprintf(name, sizeof name, "%05zu.safetensors", layer);
    change_file(layers, name, change, ctx);
    check_same_bytes(f, &job);
    assert_int_equal(number_at(job.result, "resumed_layers"), layer);
    job_fini(&job);
    remove_folder(folder);
}

static void a_damaged_checkpoint_is_made_again(void **state)
{
    size_t in_codes = 2000, in_zeros = 1;
    check_damage(*state, 10, flip_a_byte, &in_codes);
    check_damage(*state, 3, flip_a_byte, &in_zeros);
    check_damage(*state, 17, cut_in_half, NULL);
}

static void checkpoints_of_another_recipe_are_strangers(void **state)
{
    const runs *f = *state;
    char folder[200];
    qd_error err = { 0 };
    small_run job = quick_job(folder, sizeof folder);
    job.request = QUICK ",\"regularization\":{\"mean_diagonal\":0.02}";
    check_ok(run_job(&job, &err));
    job_fini(&job);
    job.request = QUICK;
    check_same_bytes(f, &job);
    assert_int_equal(number_at(job.result, "resumed_layers"), 0);
    job_fini(&job);
    /* what does not touch a weight keeps them: another container, another evaluation */
    job.request = "\"calibration\":{\"samples\":4,\"length\":64},\"evaluation\":{\"length\":32,\"windows\":2},"
                  "\"scale\":{\"rule\":\"minmax\"},\"format\":\"safetensors:bf16\",\"name\":\"other\"";
    check_ok(run_job(&job, &err));
    assert_int_equal(number_at(job.result, "resumed_layers"), LAYERS);
    job_fini(&job);
    remove_folder(folder);
}

/* Asks to stop at the first progress of a phase. */
typedef struct phase_stopper {
    qd_cancel cancel;
    const char *phase;
    double asked;
} phase_stopper;

static void stop_at_phase(void *ctx, const json_t *event)
{
    phase_stopper *s = ctx;
    if (strcmp(word_at(event, "event"), "progress") != 0 || strcmp(word_at(event, "phase"), s->phase) != 0)
        return;
    if (!qd_cancel_requested(&s->cancel))
        s->asked = qd_clock_seconds();
    qd_cancel_request(&s->cancel);
}

static void cancelling_is_heard_soon_in_every_long_phase(void **state)
{
    (void)state;
    static const char *const phases[] = { "quantizing", "evaluating", "verifying" };
    char model[4096], text[4096];
    SOURCE_PATH(model, "tests/models/novella-1m");
    SOURCE_PATH(text, "tests/texts/novella-calibration.txt");
    for (size_t i = 0; i < QD_LENGTH(phases); i++) {
        char folder[200], work[300], out[300];
        qd_error err = { 0 };
        json_t *result = NULL;
        phase_stopper s = { .phase = phases[i] };
        make_folder(folder, sizeof folder);
        snprintf(work, sizeof work, "%s/work", folder);
        snprintf(out, sizeof out, "%s/out", folder);
        const qd_run_paths paths = {
            .model_dir = model, .calibration_text = text, .evaluation_text = text, .work_dir = work, .out_dir = out
        };
        const qd_run_options options = { .threads = 2 };
        const qd_sink sink = { stop_at_phase, &s };
        qd_recipe *recipe = recipe_of("\"calibration\":{\"samples\":4,\"length\":512},"
                                      "\"evaluation\":{\"length\":512,\"windows\":6}");
        check_fails(qd_run(recipe, &paths, &options, &sink, &s.cancel, &result, &err), QD_ECANCELLED);
        assert_true(qd_clock_seconds() - s.asked < 3 * check_patience());
        qd_recipe_destroy(recipe);
        remove_folder(folder);
    }
}

static void damping_of_zero_on_few_tokens_is_raised_and_said(void **state)
{
    (void)state;
    char folder[200];
    qd_error err = { 0 };
    /* 32 tokens cannot fill 128 dimensions: H is singular */
    small_run job = { .request =
                          "\"calibration\":{\"samples\":1,\"length\":32},\"evaluation\":{\"length\":64,\"windows\":2},"
                          "\"regularization\":{\"mean_diagonal\":0}",
                      .folder = make_folder(folder, sizeof folder) };
    check_ok(run_job(&job, &err));
    QD_AUTO(qd_json_fini) json_t *layers = events_of(&job.log, "layer"), *warnings = events_of(&job.log, "warning");
    size_t raised = 0;
    for (size_t i = 0; i < LAYERS; i++) {
        const json_t *c = json_object_get(json_array_get(layers, i), "certificate");
        raised += number_at(c, "escalations") > 0;
        if (number_at(c, "escalations") > 0) {
            assert_string_equal(word_at(c, "lambda_source"), "fallback");
            assert_true(number_at(c, "lambda") > 0);
        }
    }
    assert_true(raised > LAYERS / 2);
    check_contains(
        word_at(json_array_get(warnings, 0), "detail"),
        "layer 'model.layers.0.self_attn.q_proj': 32 calibration tokens for 128 columns: H has rank 32 at most");
    check_contains(word_at(json_array_get(warnings, 1), "detail"), "damping was raised");
    assert_int_equal(number_at(job.result, "degraded_layers"), 0);
    job_fini(&job);
    remove_folder(folder);
}

/* A norm so large that squares of its outputs leave float32: H of that block's mlp is not finite, whatever the
 * damping. */
static void make_overflowing_model(const char *folder, char *model, size_t size)
{
    byte_patch patch = { "model.layers.2.post_attention_layernorm.weight", 0, 128, 0x5E8A }; /* 5e18 */
    snprintf(model, size, "%s/model", folder);
    copy_model(model);
    change_file(model, "model.safetensors", apply_patch, &patch);
}

static void layers_that_no_damping_helps_end_as_degraded_with_the_reason(void **state)
{
    (void)state;
    char folder[200], model[300];
    qd_error err = { 0 };
    make_folder(folder, sizeof folder);
    make_overflowing_model(folder, model, sizeof model);
    small_run job = { .request = QUICK, .folder = folder, .model = model, .texts = SHORT_TEXTS };
    check_ok(run_job(&job, &err));
    QD_AUTO(qd_json_fini) json_t *layers = events_of(&job.log, "layer"), *warnings = events_of(&job.log, "warning");
    double error = 0, output = 0; /* of the layers with data: the others' are in weight units */
    for (size_t i = 0; i < LAYERS; i++) {
        const json_t *layer = json_array_get(layers, i), *c = json_object_get(layer, "certificate");
        bool in_mlp = i == 2 * A_BLOCK + 4 || i == 2 * A_BLOCK + 5 || i == 2 * A_BLOCK + 6;
        assert_int_equal(json_is_true(json_object_get(layer, "degraded")), in_mlp);
        assert_string_equal(word_at(c, "method"), in_mlp ? "rtn" : "optq");
        if (in_mlp)
            check_contains(word_at(layer, "degraded_reason"), "not finite");
        assert_string_equal(word_at(c, "status"), in_mlp ? "UNCERTIFIED" : word_at(c, "status"));
        error += in_mlp ? 0 : number_at(c, "error_sq");
        output += in_mlp ? 0 : number_at(c, "output_sq");
    }
    check_near(number_at(job.result, "relative_error"), sqrt(error / output), 1e-12);
    assert_int_equal(number_at(job.result, "degraded_layers"), 3);
    assert_int_equal(number_at(job.result, "certified_layers"), LAYERS - 3);
    size_t said = 0;
    for (size_t i = 0; i < json_array_size(warnings); i++)
        said += strstr(word_at(json_array_get(warnings, i), "detail"), "rounded to nearest") != NULL;
    assert_int_equal(said, 2); /* gate and up share one input */
    job_fini(&job);
    job.request = QUICK ",\"on_degraded\":\"fail\"";
    check_fails(run_job(&job, &err), QD_ENUMERIC);
    check_contains(err.text, "model.layers.2.mlp.gate_proj");
    check_contains(err.text, "on_degraded is 'fail'");
    job_fini(&job);
    job.request = QUICK ",\"certified\":true,\"rounding\":\"stochastic\",\"bits\":8";
    check_fails(run_job(&job, &err), QD_ENUMERIC);
    check_contains(err.text, "certified is true");
    job_fini(&job);
    remove_folder(folder);
}

static void a_nan_in_a_weight_names_its_tensor(void **state)
{
    (void)state;
    char folder[200], model[300];
    qd_error err = { 0 };
    byte_patch patch = { "model.layers.3.mlp.up_proj.weight", 10, 1, 0x7FC0 };
    make_folder(folder, sizeof folder);
    snprintf(model, sizeof model, "%s/model", folder);
    copy_model(model);
    change_file(model, "model.safetensors", apply_patch, &patch);
    small_run job = { .request = QUICK, .folder = folder, .model = model, .texts = SHORT_TEXTS };
    check_fails(run_job(&job, &err), QD_ENUMERIC);
    check_contains(err.text, "model.layers.3.mlp.up_proj.weight");
    assert_int_equal(job.log.layers, 0); /* before any work */
    job_fini(&job);
    remove_folder(folder);
}

/* A request that fails before any layer: code and parts of the sentence. */
static void check_refused(const char *request, const char *calibration, qd_code code, const char *part,
                          const char *other)
{
    char folder[200];
    qd_error err = { 0 };
    small_run job = { .request = request, .calibration = calibration, .folder = make_folder(folder, sizeof folder) };
    check_fails(run_job(&job, &err), code);
    check_contains(err.text, part);
    check_contains(err.text, other);
    assert_int_equal(job.log.layers, 0);
    job_fini(&job);
    remove_folder(folder);
}

static void windows_beyond_the_models_positions_are_refused_by_field(void **state)
{
    (void)state;
    check_refused("\"calibration\":{\"length\":100000}", NULL, QD_EINVAL, "calibration.length: 100000", "1024");
    check_refused("\"calibration\":{\"samples\":2,\"length\":64},\"evaluation\":{\"length\":1025}", NULL, QD_EINVAL,
                  "evaluation.length: 1025", "1024");
}

static void a_group_size_that_does_not_divide_is_refused_by_the_packed_format(void **state)
{
    (void)state;
    check_refused(SMALL ",\"group_size\":100", NULL, QD_EINVAL, "group_size: 100", "128");
}

static void without_a_text_rtn_runs_uncertified(void **state)
{
    (void)state;
    char folder[200];
    qd_error err = { 0 };
    small_run job = { .request = SMALL ",\"algorithm\":\"rtn\"",
                      .calibration = "",
                      .evaluation = "",
                      .folder = make_folder(folder, sizeof folder) };
    check_ok(run_job(&job, &err));
    QD_AUTO(qd_json_fini) json_t *layers = events_of(&job.log, "layer");
    for (size_t i = 0; i < LAYERS; i++)
        assert_string_equal(word_at(json_object_get(json_array_get(layers, i), "certificate"), "status"),
                            "UNCERTIFIED");
    assert_int_equal(number_at(job.result, "certified_layers"), 0);
    assert_true(json_is_null(json_object_get(job.result, "calibration")));
    job_fini(&job);
    remove_folder(folder);
}

static void rtn_with_a_text_is_certified_and_is_its_own_baseline(void **state)
{
    const runs *f = *state;
    char folder[200];
    qd_error err = { 0 };
    small_run job = { .request = SMALL ",\"algorithm\":\"rtn\"", .folder = make_folder(folder, sizeof folder) };
    check_ok(run_job(&job, &err));
    const json_t *p = json_object_get(job.result, "perplexity");
    assert_int_equal(number_at(job.result, "certified_layers"), LAYERS);
    check_close(number_at(p, "rtn"), number_at(p, "quantized"), 0);
    /* the same grid as the other job's baseline: the same model */
    check_close(number_at(p, "rtn"), number_at(json_object_get(f->job.result, "perplexity"), "rtn"), 1e-12);
    assert_true(number_at(job.result, "relative_error") > number_at(f->job.result, "relative_error"));
    job_fini(&job);
    remove_folder(folder);
}

static void the_baseline_is_stored_as_the_result_is(void **state)
{
    (void)state;
    static const char *const algorithms[] = { ",\"algorithm\":\"optq\"", ",\"algorithm\":\"rtn\"" };
    double perplexity[2];
    for (size_t i = 0; i < 2; i++) { /* 8-bit codes lose as much in bf16 as in rounding */
        char folder[200], request[1000];
        qd_error err = { 0 };
        snprintf(request, sizeof request, QUICK ",\"bits\":8,\"format\":\"safetensors:bf16\"%s", algorithms[i]);
        small_run job = { .request = request, .folder = make_folder(folder, sizeof folder), .texts = SHORT_TEXTS };
        check_ok(run_job(&job, &err));
        perplexity[i] = number_at(json_object_get(job.result, "perplexity"), i == 0 ? "rtn" : "quantized");
        job_fini(&job);
        remove_folder(folder);
    }
    check_close(perplexity[0], perplexity[1], 1e-12);
}

static void every_grid_runs_into_dequantized_weights(void **state)
{
    (void)state;
    static const char *const grids[] = {
        ("\"bits\":3,\"alphabet\":{\"kind\":\"int-asymmetric\",\"zero\":\"float\"},\"group_size\":0,"
         "\"scale\":{\"rule\":\"minmax\",\"type\":\"f32\"},\"format\":\"safetensors\""),
        "\"bits\":2,\"alphabet\":\"int-asymmetric\",\"group_size\":100,\"format\":\"safetensors:bf16\"",
        "\"bits\":8,\"alphabet\":{\"kind\":\"int\",\"narrow\":true},\"group_size\":32,\"order\":\"natural\"",
        "\"bits\":5,\"scale\":{\"shrink\":0.9,\"type\":\"f16\"},\"format\":\"safetensors:f16\",\"seed\":7",
        "\"alphabet\":\"ternary\",\"group_size\":32",
        "\"bits\":1.58,\"alphabet\":{\"kind\":\"int-asymmetric\",\"zero\":\"float\"},\"format\":\"safetensors\"",
        "\"alphabet\":\"e2m1\",\"rounding\":\"stochastic\",\"format\":\"safetensors\"",
        "\"alphabet\":\"mxfp4\",\"algorithm\":\"gpfq\",\"format\":\"safetensors:bf16\"",
        "\"alphabet\":\"nf4\",\"algorithm\":\"qronos\",\"group_size\":64,\"format\":\"safetensors\"",
        "\"alphabet\":{\"levels\":[-2.5,-1,-0.25,0,0.5,1.5]},\"algorithm\":\"rtn\",\"format\":\"safetensors:f16\"",
    };
    for (size_t i = 0; i < QD_LENGTH(grids); i++) {
        char folder[200], request[1000];
        qd_error err = { 0 };
        snprintf(request, sizeof request,
                 "%s,\"calibration\":{\"samples\":4,\"length\":64,\"sampling\":\"random\"},"
                 "\"evaluation\":{\"length\":64,\"windows\":2,\"baseline\":null}",
                 grids[i]);
        small_run job = {
            .request = request, .folder = make_folder(folder, sizeof folder), .texts = SHORT_TEXTS, .threads = 2
        };
        check_ok(run_job(&job, &err));
        assert_int_equal(number_at(job.result, "certified_layers"), LAYERS);
        assert_null(json_object_get(json_object_get(job.result, "perplexity"), "rtn"));
        job_fini(&job);
        remove_folder(folder);
    }
}

static void a_folder_that_is_not_ours_is_never_removed(void **state)
{
    (void)state;
    char folder[200], out[300], letter[400];
    qd_error err = { 0 };
    make_folder(folder, sizeof folder);
    snprintf(out, sizeof out, "%s/home", folder);
    snprintf(letter, sizeof letter, "%s/letter.txt", out);
    check_ok(qd_dir_make(out, &err));
    check_ok(qd_file_write(letter, "dear", 4, &err));
    small_run job = { .request = QUICK, .folder = folder, .out = out, .texts = SHORT_TEXTS };
    check_fails(run_job(&job, &err), QD_ECONFLICT);
    check_contains(err.text, out);
    assert_true(qd_path_exists(letter));
    job_fini(&job);
    remove_folder(folder);
}

static void a_full_disk_is_said_before_any_work(void **state)
{
    (void)state;
    char folder[200], work[300];
    qd_error err = { 0 };
    make_folder(folder, sizeof folder);
    snprintf(work, sizeof work, "%s/work", folder);
    check_ok(qd_dir_make(work, &err));
    if (geteuid() != 0 || mount("tmpfs", work, "tmpfs", 0, "size=300k") != 0) {
        remove_folder(folder);
        print_message("# needs a small tmpfs, which only root may mount\n");
        skip();
    }
    small_run job = { .request = SMALL, .folder = folder };
    qd_code code = run_job(&job, &err);
    umount2(work, MNT_DETACH);
    job_fini(&job);
    remove_folder(folder);
    check_fails(code, QD_ENOSPC);
    check_contains(err.text, "space");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_reports_its_phases_layers_and_progress_in_order),
        cmocka_unit_test(every_layer_is_certified_and_its_identities_hold),
        cmocka_unit_test(the_result_has_every_number_of_the_contract),
        cmocka_unit_test(the_artifact_holds_its_records_and_nothing_of_time_or_place),
        cmocka_unit_test(one_two_and_three_threads_give_the_same_bytes),
        cmocka_unit_test(a_run_that_was_stopped_goes_on_and_ends_with_the_same_bytes),
        cmocka_unit_test(a_damaged_checkpoint_is_made_again),
        cmocka_unit_test(checkpoints_of_another_recipe_are_strangers),
        cmocka_unit_test(cancelling_is_heard_soon_in_every_long_phase),
        cmocka_unit_test(damping_of_zero_on_few_tokens_is_raised_and_said),
        cmocka_unit_test(layers_that_no_damping_helps_end_as_degraded_with_the_reason),
        cmocka_unit_test(a_nan_in_a_weight_names_its_tensor),
        cmocka_unit_test(windows_beyond_the_models_positions_are_refused_by_field),
        cmocka_unit_test(a_group_size_that_does_not_divide_is_refused_by_the_packed_format),
        cmocka_unit_test(without_a_text_rtn_runs_uncertified),
        cmocka_unit_test(rtn_with_a_text_is_certified_and_is_its_own_baseline),
        cmocka_unit_test(the_baseline_is_stored_as_the_result_is),
        cmocka_unit_test(every_grid_runs_into_dequantized_weights),
        cmocka_unit_test(a_folder_that_is_not_ours_is_never_removed),
        cmocka_unit_test(a_full_disk_is_said_before_any_work),
        cmocka_unit_test(a_finished_run_may_be_run_again_and_replaces_its_artifact),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
