/* test_container_run.c: runs on grids of containers: what a sweep rounds to is frozen before it, and a stopped run goes on with the same bytes. */
#include "job.h"

#define MSE "\"calibration\":{\"samples\":4,\"length\":64},\"evaluation\":{\"length\":64,\"windows\":1}"
#define GRID_OF(type, alphabet, bits, group) \
    MSE ",\"format\":\"safetensors:f32\",\"scale\":{\"rule\":\"mse\",\"type\":\"" type "\"},\"alphabet\":" alphabet \
        ",\"bits\":" bits ",\"group_size\":" group
#define FLOAT_ZERO "{\"kind\":\"int-asymmetric\",\"zero\":\"float\"}"

static const char *const grids[] = {
    GRID_OF("q4_k", FLOAT_ZERO, "4", "32"),
    GRID_OF("q3_k", "\"int-asymmetric\"", "3", "16"),
    GRID_OF("f16-offset", FLOAT_ZERO, "4", "32"),
};

static void run_in(char *folder, size_t size, const char *request, size_t cancel_after, small_run *job)
{
    qd_error err = { 0 };
    *job = (small_run){ .request = request, .folder = make_folder(folder, size), .texts = SHORT_TEXTS };
    job->log.cancel_after = cancel_after;
    qd_code code = run_job(job, &err);
    assert_int_equal(code, cancel_after == 0 ? QD_OK : QD_ECANCELLED);
}

/* Scales, zeros, offsets and units, as far as the layers' records tell them. */
static json_t *grids_of(const small_run *job)
{
    json_t *layers = events_of(&job->log, "layer"), *out = json_array();
    for (size_t i = 0; i < json_array_size(layers); i++)
        json_array_append(out, json_object_get(json_array_get(layers, i), "grid"));
    json_decref(layers);
    assert_int_equal(json_array_size(out), LAYERS);
    return out;
}

static void every_algorithm_rounds_to_the_same_grid(void **state)
{
    (void)state;
    static const char *const algorithms[] = { "optq", "rtn", "qronos" };
    for (size_t g = 0; g < QD_LENGTH(grids); g++) {
        QD_AUTO(qd_json_fini) json_t *first = NULL;
        for (size_t a = 0; a < QD_LENGTH(algorithms); a++) {
            char folder[200], request[1000];
            small_run job;
            snprintf(request, sizeof request, "%s,\"algorithm\":\"%s\"", grids[g], algorithms[a]);
            run_in(folder, sizeof folder, request, 0, &job);
            QD_AUTO(qd_json_fini) json_t *found = grids_of(&job);
            if (first == NULL)
                first = json_incref(found);
            assert_true(json_equal(found, first));
            job_fini(&job);
            remove_folder(folder);
        }
        const json_t *grid = json_array_get(first, 0);
        assert_true((json_object_get(grid, "units") != NULL) == (g < 2));
        assert_true((json_object_get(grid, "offset_units") != NULL) == (g == 0));
        assert_true((json_object_get(grid, "negative_scales") != NULL) == (g == 1));
    }
}

static void a_stopped_run_goes_on_with_the_same_bytes(void **state)
{
    (void)state;
    for (size_t g = 0; g < QD_LENGTH(grids); g++) {
        char folder[200], other[200], whole[QD_DIGEST_HEX], parts[QD_DIGEST_HEX];
        qd_error err = { 0 };
        small_run job;
        run_in(other, sizeof other, grids[g], 0, &job);
        digest_out(&job, whole);
        job_fini(&job);
        run_in(folder, sizeof folder, grids[g], 9, &job);
        job_fini(&job);
        job.log.cancel_after = 0;
        check_ok(run_job(&job, &err));
        assert_int_equal(json_integer_value(json_object_get(job.result, "resumed_layers")), 9);
        digest_out(&job, parts);
        assert_string_equal(parts, whole);
        job_fini(&job);
        remove_folder(folder);
        remove_folder(other);
    }
}

static void flip_a_byte(qd_str *bytes, void *ctx)
{
    const char *name = ctx;
    qd_error err = { 0 };
    qd_safetensors *file = NULL;
    check_ok(qd_safetensors_parse("checkpoint", (const unsigned char *)bytes->data, bytes->length, &file, &err));
    const qd_tensor *tensor = qd_safetensors_find(file, name);
    assert_non_null(tensor);
    bytes->data[tensor->data - (const unsigned char *)bytes->data + 1] ^= 1;
    qd_safetensors_destroy(file);
}

static void a_checkpoint_with_another_offset_or_unit_is_made_again(void **state)
{
    (void)state;
    static const char *const parts[] = { "offset", "unit", "offset_unit" };
    for (size_t i = 0; i < QD_LENGTH(parts); i++) {
        char folder[200], layers[300];
        qd_error err = { 0 };
        small_run job;
        run_in(folder, sizeof folder, grids[0], 5, &job);
        job_fini(&job);
        snprintf(layers, sizeof layers, "%s/work/layers", folder);
        change_file(layers, "00003.safetensors", flip_a_byte, (void *)(uintptr_t)parts[i]);
        job.log.cancel_after = 0;
        check_ok(run_job(&job, &err));
        assert_int_equal(json_integer_value(json_object_get(job.result, "resumed_layers")), 3);
        job_fini(&job);
        remove_folder(folder);
    }
}

/* Rows of 128 and 384 are no multiples of 256. */
static void layers_that_get_another_grid_are_said(void **state)
{
    (void)state;
    char folder[200];
    small_run job;
    run_in(folder, sizeof folder, MSE ",\"format\":\"gguf:q4_k\"", 0, &job);
    QD_AUTO(qd_json_fini) json_t *warnings = events_of(&job.log, "warning"), *layers = events_of(&job.log, "layer");
    size_t said = 0;
    for (size_t i = 0; i < json_array_size(warnings); i++)
        said += strstr(json_string_value(json_object_get(json_array_get(warnings, i), "detail")),
                       "42 of 42 layers have rows that the container's grid does not fit") != NULL;
    assert_int_equal(said, 1);
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *layer = json_array_get(layers, i), *grid = json_object_get(layer, "grid");
        assert_int_equal(json_integer_value(json_object_get(layer, "bits")), 5);
        assert_string_equal(json_string_value(json_object_get(grid, "scale_type")), "f16-signed");
    }
    job_fini(&job);
    /* another container with the same fields has the fields' own grid: none of those layers is taken over */
    qd_error err = { 0 };
    job.request = MSE ",\"format\":\"safetensors:f32\",\"scale\":{\"type\":\"q4_k\"},\"alphabet\":" FLOAT_ZERO
                      ",\"bits\":4,\"group_size\":32";
    check_ok(run_job(&job, &err));
    assert_int_equal(json_integer_value(json_object_get(job.result, "resumed_layers")), 0);
    job_fini(&job);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_algorithm_rounds_to_the_same_grid),
        cmocka_unit_test(a_stopped_run_goes_on_with_the_same_bytes),
        cmocka_unit_test(a_checkpoint_with_another_offset_or_unit_is_made_again),
        cmocka_unit_test(layers_that_get_another_grid_are_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
