/* test_certified.c: whole runs with "certified": steps with a guarantee in every layer, or no artifact and what would do. */
#include "job.h"

#include "engine/verify.h"

#define DATA "\"calibration\":{\"samples\":10,\"length\":48},\"evaluation\":{\"length\":64,\"windows\":1}"
#define CERTIFIED DATA ",\"certified\":true,\"rounding\":\"stochastic\""

static double number_at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        fail_msg("'%s' is no number", key);
    return json_number_value(value);
}

static const json_t *certificate_at(const json_t *layers, size_t i)
{
    return json_object_get(json_array_get(layers, i), "certificate");
}

static void check_sound(const char *folder)
{
    char model[4096], out[4200];
    qd_error err = { 0 };
    json_t *report = NULL;
    SOURCE_PATH(model, "tests/models/novella-1m");
    snprintf(out, sizeof out, "%s/out", folder);
    check_ok(qd_verify(out, model, &report, &err));
    if (!json_is_true(json_object_get(report, "ok")))
        fail_msg("%s",
                 json_string_value(json_object_get(json_array_get(json_object_get(report, "findings"), 0), "detail")));
    json_decref(report);
}

static void every_layer_has_the_guarantee_and_clips_nothing(void **state)
{
    (void)state;
    static const char *const requests[] = {
        CERTIFIED ",\"bits\":8,\"group_size\":32",
        CERTIFIED ",\"bits\":4,\"algorithm\":\"rtn\",\"alphabet\":\"int-asymmetric\"",
        CERTIFIED ",\"bits\":4,\"algorithm\":\"qronos\",\"mismatch\":{\"start\":\"projected\"},"
                  "\"regularization\":{\"mean_diagonal\":0.3},\"alphabet\":\"int-asymmetric\"",
        CERTIFIED ",\"bits\":8,\"algorithm\":\"gpfq\",\"scale\":{\"type\":\"f16\"},\"format\":\"safetensors:f32\"",
        CERTIFIED
        ",\"bits\":6,\"alphabet\":{\"kind\":\"int\",\"zero\":\"float\"},\"scale\":{\"type\":\"f32\"},\"group_size\":48,"
        "\"format\":\"safetensors:f32\",\"regularization\":\"auto\",\"order\":\"auto\"",
    };
    for (size_t k = 0; k < QD_LENGTH(requests); k++) {
        char folder[200];
        qd_error err = { 0 };
        small_run job = { .request = requests[k], .folder = make_folder(folder, sizeof folder), .texts = SHORT_TEXTS };
        check_ok(run_job(&job, &err));
        QD_AUTO(qd_json_fini) json_t *layers = events_of(&job.log, "layer");
        for (size_t i = 0; i < LAYERS; i++) {
            const json_t *c = certificate_at(layers, i);
            assert_string_equal(json_string_value(json_object_get(c, "guarantee")), "holds");
            assert_string_equal(json_string_value(json_object_get(c, "status")), "CERTIFIED");
            assert_true(number_at(c, "clip_count") == 0 && number_at(c, "delta_cert_ratio") <= 1);
            assert_true(number_at(c, "eta") == 0.05);
            assert_true(number_at(c, "step_growth_max") >= number_at(c, "step_growth_mean"));
            assert_true(number_at(c, "step_growth_mean") >= 1 && number_at(c, "identity_resid") < 1e-9);
        }
        check_sound(folder);
        job_fini(&job);
        remove_folder(folder);
    }
}

/* Orders and lambdas are chosen by all layers of a group, also by those that are finished already. */
static void threads_and_stops_change_no_byte(void **state)
{
    (void)state;
    char first[QD_DIGEST_HEX], digest[QD_DIGEST_HEX];
    qd_error err = { 0 };
    for (size_t k = 0; k < 2; k++) {
        char folder[200];
        small_run job = { .request = CERTIFIED ",\"bits\":4,\"regularization\":\"auto\",\"order\":\"auto\"",
                          .folder = make_folder(folder, sizeof folder),
                          .texts = SHORT_TEXTS,
                          .threads = 1 + k,
                          .log.cancel_after = k == 0 ? 0 : 9 };
        if (k == 1) {
            check_fails(run_job(&job, &err), QD_ECANCELLED);
            job_fini(&job);
            job.log.cancel_after = 0;
        }
        check_ok(run_job(&job, &err));
        digest_out(&job, k == 0 ? first : digest);
        job_fini(&job);
        remove_folder(folder);
    }
    assert_string_equal(digest, first);
}

/* What the message says would do, does; a bit less does not. */
static void what_is_too_small_says_what_would_do(void **state)
{
    (void)state;
    char folder[200], request[400];
    qd_error err = { 0 };
    unsigned bits = 0;
    double damping = 0;
    small_run job = { .request = CERTIFIED ",\"bits\":2,\"scale\":{\"rule\":\"minmax\"}",
                      .folder = make_folder(folder, sizeof folder),
                      .texts = SHORT_TEXTS };
    check_fails(run_job(&job, &err), QD_EINVAL);
    job_fini(&job);
    check_contains(err.text, "layer 'model.layers.0.self_attn.q_proj'");
    check_contains(err.text, "GUARANTEE_INFEASIBLE: alphabet too small for the guarantee");
    assert_int_equal(
        sscanf(strstr(err.text, "; ") + 2, "%u bits would do, or a regularization of %lf", &bits, &damping), 2);
    assert_true(bits > 2 && bits <= 8 && damping > 0.01);
    snprintf(request, sizeof request,
             CERTIFIED ",\"bits\":%u,\"scale\":{\"rule\":\"minmax\"},\"format\":\"safetensors:f32\"", bits);
    job.request = request;
    qd_code code = run_job(&job, &err); /* of the first layer; a later one may want more */
    assert_true(code == QD_OK || strstr(err.text, "layers.0.self_attn.q_proj") == NULL);
    job_fini(&job);
    remove_folder(folder);
    static const double times[] = { 1.02, 0.6 }; /* two digits are printed */
    for (size_t k = 0; k < 2; k++) {
        snprintf(request, sizeof request,
                 CERTIFIED ",\"bits\":2,\"scale\":{\"rule\":\"minmax\"},\"regularization\":{\"mean_diagonal\":%.3f}",
                 times[k] * damping);
        job.folder = make_folder(folder, sizeof folder);
        code = run_job(&job, &err);
        assert_true((code != QD_OK && strstr(err.text, "layers.0.self_attn.q_proj") != NULL) == (k == 1));
        job_fini(&job);
        remove_folder(folder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layer_has_the_guarantee_and_clips_nothing),
        cmocka_unit_test(threads_and_stops_change_no_byte),
        cmocka_unit_test(what_is_too_small_says_what_would_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
