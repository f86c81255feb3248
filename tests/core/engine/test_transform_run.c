/* test_transform_run.c: whole runs with transforms: same bytes whatever happens, every layer certified and verified, turned back to what the
 * model computes, and refusals. */
#include "job.h"

#include "engine/group_guard.h"
#include "engine/transformed.h"

#define REST "\"calibration\":{\"samples\":5,\"length\":64},\"evaluation\":{\"length\":64,\"windows\":1}"
#define ROWS "\"group_size\":0,\"alphabet\":{\"kind\":\"int-asymmetric\",\"zero\":\"float\"}," REST
#define FEW_STEPS "{\"kind\":\"magr\",\"iterations\":5}"

static const char *const kinds[] = {
    "\"algorithm\":\"qronos\",\"transforms\":[\"hadamard\"," FEW_STEPS "],\"format\":\"safetensors:f32\","
    "\"mismatch\":{\"start\":\"original\"},\"scale\":{\"rule\":\"minmax\"}," ROWS,
    "\"algorithm\":\"gpfq\",\"transforms\":[" FEW_STEPS ",\"hadamard\"],\"format\":\"safetensors:bf16\",\"bits\":3,"
    "\"mismatch\":{\"scope\":\"block\"},\"scale\":{\"rule\":\"minmax\"}," ROWS,
    "\"algorithm\":\"optq\",\"transforms\":[\"hadamard\"],\"format\":\"safetensors:f16\",\"regularization\":\"auto\","
    "\"scale\":{\"rule\":\"hessian-mse\"},\"group_size\":32," REST,
    "\"algorithm\":\"qronos\",\"transforms\":[\"hadamard\"],\"format\":\"safetensors\",\"regularization\":\"auto\","
    "\"scale\":{\"rule\":\"minmax\",\"type\":\"f32\"},\"bits\":8," ROWS,
    "\"algorithm\":\"optq\",\"transforms\":[{\"kind\":\"magr\",\"iterations\":5,\"normalization\":\"published\","
    "\"alpha\":1e-4}],"
    "\"format\":\"compressed-tensors\",\"scale\":{\"rule\":\"minmax\"},\"group_size\":64," REST,
    "\"algorithm\":\"rtn\",\"transforms\":[{\"kind\":\"magr\",\"iterations\":5,\"target\":\"weights\"}],"
    "\"format\":\"compressed-tensors\",\"scale\":{\"rule\":\"minmax\"},\"group_size\":64," REST,
};

static small_run job_of(const char *request, char *folder, size_t size)
{
    return (small_run){ .request = request, .folder = make_folder(folder, size), .texts = SHORT_TEXTS };
}

static void finish(small_run *job)
{
    job_fini(job);
    remove_folder(job->folder);
}

static void threads_and_stops_change_no_byte(void **state)
{
    (void)state;
    for (size_t k = 0; k < QD_LENGTH(kinds); k++) {
        char folder[200], want[QD_DIGEST_HEX], got[QD_DIGEST_HEX];
        qd_error err = { 0 };
        small_run job = job_of(kinds[k], folder, sizeof folder);
        check_ok(run_job(&job, &err));
        digest_out(&job, want);
        finish(&job);
        job = job_of(kinds[k], folder, sizeof folder);
        job.threads = 2;
        job.log.cancel_after = 19;
        check_fails(run_job(&job, &err), QD_ECANCELLED);
        job_fini(&job);
        job.log.cancel_after = 0;
        job.threads = 3;
        check_ok(run_job(&job, &err));
        digest_out(&job, got);
        assert_string_equal(got, want);
        finish(&job);
    }
}

static double number_in(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        fail_msg("'%s' is no number", key);
    return json_number_value(value);
}

static void check_verified(const small_run *job)
{
    char out[300], model[4096];
    qd_error err = { 0 };
    QD_AUTO(qd_json_fini) json_t *report = NULL;
    snprintf(out, sizeof out, "%s/out", job->folder);
    SOURCE_PATH(model, "tests/models/novella-1m");
    check_ok(qd_verify(out, model, &report, &err));
    const json_t *findings = json_object_get(report, "findings");
    if (json_array_size(findings) != 0)
        fail_msg("%s", json_string_value(json_object_get(json_array_get(findings, 0), "detail")));
}

static void check_transforms(const json_t *layer, bool any_shape)
{
    const json_t *done = json_object_get(layer, "transforms");
    bool shaped = false;
    for (size_t i = 0; i < json_array_size(done); i++) {
        const json_t *one = json_array_get(done, i);
        if (strcmp(json_string_value(json_object_get(one, "kind")), "magr") == 0) {
            shaped = true;
            assert_true(number_in(one, "relative_change") > 0 && number_in(one, "relative_change") < 0.2);
            assert_true(number_in(one, "range_ratio") > 0 && number_in(one, "range_ratio") < 1);
        } else {
            json_int_t in = json_integer_value(json_array_get(json_object_get(layer, "shape"), 1));
            assert_true(json_is_true(json_object_get(one, "mixed")));
            assert_int_equal(number_in(one, "order") * number_in(one, "run"), in);
        }
    }
    assert_int_equal(shaped, any_shape);
}

static void every_layer_is_certified_and_the_artifact_verified(void **state)
{
    (void)state;
    for (size_t k = 0; k < QD_LENGTH(kinds); k++) {
        char folder[200];
        qd_error err = { 0 };
        small_run job = job_of(kinds[k], folder, sizeof folder);
        check_ok(run_job(&job, &err));
        QD_AUTO(qd_json_fini) json_t *layers = events_of(&job.log, "layer");
        assert_int_equal(json_array_size(layers), LAYERS);
        for (size_t i = 0; i < LAYERS; i++) {
            const json_t *layer = json_array_get(layers, i), *c = json_object_get(layer, "certificate");
            assert_true(number_in(c, "identity_resid") < 1e-9);
            assert_true(number_in(c, "energy_sq") <= number_in(c, "overload_bound_sq") * (1 + 1e-9));
            assert_int_equal(strncmp(json_string_value(json_object_get(c, "status")), "CERTIFIED", 9), 0);
            check_transforms(layer, strstr(kinds[k], "magr") != NULL);
        }
        check_verified(&job);
        finish(&job);
    }
}

/* 8 bits are fine enough that only turning there and back could make a difference. */
static void eight_bits_in_another_basis_are_the_model(void **state)
{
    (void)state;
    static const char request[] =
        "\"algorithm\":\"rtn\",\"transforms\":[\"hadamard\"],\"format\":\"safetensors:f32\",\"bits\":8,"
        "\"scale\":{\"rule\":\"minmax\",\"type\":\"f32\"}," ROWS;
    char folder[200];
    qd_error err = { 0 };
    small_run job = job_of(request, folder, sizeof folder);
    check_ok(run_job(&job, &err));
    const json_t *perplexity = json_object_get(job.result, "perplexity");
    check_close(number_in(perplexity, "quantized"), number_in(perplexity, "source"), 5e-3);
    QD_AUTO(qd_json_fini) json_t *layers = events_of(&job.log, "layer");
    for (size_t i = 0; i < LAYERS; i++)
        assert_true(number_in(json_object_get(json_array_get(layers, i), "error"), "calibration") < 0.02);
    finish(&job);
}

/* Two ways to the same number: beside another algorithm, and as the algorithm. */
static void the_baseline_is_rounded_in_the_same_basis(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "\"algorithm\":\"optq\",\"transforms\":[\"hadamard\"],\"format\":\"safetensors:f32\",\"bits\":3,\"seed\":"
        "5," ROWS,
        "\"algorithm\":\"rtn\",\"transforms\":[\"hadamard\"],\"format\":\"safetensors:f32\",\"bits\":3,\"seed\":"
        "5," ROWS,
        "\"algorithm\":\"rtn\",\"format\":\"safetensors:f32\",\"bits\":3,\"seed\":5," ROWS,
        /* scales that were fitted to other codes are not RTN's */
        "\"algorithm\":\"optq\",\"transforms\":[\"hadamard\"],\"format\":\"safetensors:f32\",\"bits\":3,\"seed\":"
        "5,\"refine\":{\"coordinate_descent\":1,\"refit_scales\":true}," ROWS,
    };
    static const char *const members[] = { "rtn", "quantized", "quantized", "rtn" };
    double got[4];
    for (size_t i = 0; i < 4; i++) {
        char folder[200];
        qd_error err = { 0 };
        small_run job = job_of(requests[i], folder, sizeof folder);
        check_ok(run_job(&job, &err));
        got[i] = number_in(json_object_get(job.result, "perplexity"), members[i]);
        finish(&job);
    }
    assert_true(got[0] == got[1]);
    assert_true(got[0] != got[2]);
    assert_true(got[0] == got[3]);
}

/* Two ways to the same numbers: largest |w| of q, k and v, turned by itself. */
static void a_guard_sees_weights_in_the_basis_of_the_codes(void **state)
{
    (void)state;
    char path[4096];
    qd_error err = { 0 };
    qd_context c = { 0 };
    qd_block *block = NULL;
    qd_input_basis input = { 0 };
    qd_group_guard guard = { 0 };
    SOURCE_PATH(path, "tests/models/novella-1m");
    check_ok(qd_model_open(path, &c.model, &err));
    qd_recipe *recipe = recipe_of("\"certified\":true,\"rounding\":\"stochastic\",\"algorithm\":\"optq\","
                                  "\"transforms\":[\"hadamard\"],\"format\":\"safetensors\"");
    c.recipe = recipe;
    check_ok(qd_block_load(c.model, 0, NULL, QD_ARITHMETIC_FLOAT32, &block, &err));
    check_ok(qd_basis_create(recipe, c.model, 0, &input.basis, &err));
    check_ok(qd_group_guard_init(&c, 0, 0, &input, &guard, &err));
    size_t width = qd_block_group_width(block, 0);
    double *largest = calloc(width, sizeof *largest);
    for (size_t i = 0; i < 3; i++) {
        qd_matf w = qd_block_weight(block, i);
        check_ok(qd_hadamard_weights(input.basis, QD_TURN, qd_matf_const(w), w, NULL, &err));
        for (size_t row = 0; row < w.rows; row++)
            for (size_t j = 0; j < width; j++)
                largest[j] = fmax(largest[j], fabs((double)qd_matf_row(w, row)[j]));
    }
    for (size_t j = 0; j < width; j++)
        assert_true(qd_group_guard_borrow(&guard)->reach[j] == largest[j]);
    free(largest);
    qd_group_guard_fini(&guard);
    qd_input_basis_fini(&input);
    qd_block_destroy(block);
    qd_recipe_destroy(recipe);
    qd_model_destroy(c.model);
}

static void layers_with_the_same_input_share_its_basis(void **state)
{
    (void)state;
    char path[4096];
    qd_error err = { 0 };
    qd_model *model = NULL;
    SOURCE_PATH(path, "tests/models/novella-1m");
    check_ok(qd_model_open(path, &model, &err));
    qd_recipe *recipe = recipe_of("\"transforms\":[\"hadamard\"],\"format\":\"safetensors\"");
    qd_hadamard *of[LAYERS];
    for (size_t i = 0; i < LAYERS; i++)
        check_ok(qd_basis_create(recipe, model, i, &of[i], &err));
    for (size_t i = 0; i < LAYERS; i++)
        for (size_t k = 0; k < i; k++) {
            bool same = qd_model_linear_at(model, i)->group == qd_model_linear_at(model, k)->group &&
                        i / A_BLOCK == k / A_BLOCK;
            if (of[i]->features == of[k]->features)
                assert_true((memcmp(of[i]->signs, of[k]->signs, of[i]->features * sizeof(double)) == 0) == same);
        }
    qd_hadamard *other = NULL;
    recipe->seed = 1;
    check_ok(qd_basis_create(recipe, model, 0, &other, &err));
    assert_memory_not_equal(other->signs, of[0]->signs, other->features * sizeof(double));
    qd_hadamard_destroy(other);
    for (size_t i = 0; i < LAYERS; i++)
        qd_hadamard_destroy(of[i]);
    qd_recipe_destroy(recipe);
    qd_model_destroy(model);
}

/* One weight of a row, turned, is in all of its values: none of them is on the grid any more. */
static void a_changed_weight_is_found_in_the_basis_of_the_codes(void **state)
{
    (void)state;
    static const char request[] =
        "\"algorithm\":\"rtn\",\"transforms\":[\"hadamard\"],\"format\":\"safetensors:f32\",\"bits\":4,"
        "\"scale\":{\"rule\":\"minmax\",\"type\":\"f32\"}," ROWS;
    static const char tensor[] = "model.layers.1.mlp.down_proj.weight";
    char folder[200], out[300], model[4096];
    qd_error err = { 0 };
    small_run job = job_of(request, folder, sizeof folder);
    check_ok(run_job(&job, &err));
    snprintf(out, sizeof out, "%s/out", folder);
    byte_patch patch = {
        .tensor = tensor, .first = 1001, .count = 1, .bits = 0x3E00
    }; /* half of a float32 near 0.125 */
    change_file(out, "model.safetensors", apply_patch, &patch);
    QD_AUTO(qd_json_fini) json_t *report = NULL, *alone = NULL;
    SOURCE_PATH(model, "tests/models/novella-1m");
    check_ok(qd_verify(out, model, &report, &err));
    check_ok(qd_verify(out, NULL, &alone, &err));
    const json_t *reports[] = { report, alone };
    for (size_t r = 0; r < 2; r++) {
        const json_t *findings = json_object_get(reports[r], "findings");
        size_t about_values = 0, about_grid = 0;
        for (size_t i = 0; i < json_array_size(findings); i++) {
            const char *detail = json_string_value(json_object_get(json_array_get(findings, i), "detail"));
            about_values += strstr(detail, "values in a group") != NULL;
            about_grid += strstr(detail, "not on the grid") != NULL;
        }
        assert_int_equal(about_values, 1);
        assert_int_equal(about_grid, r == 0);
    }
    finish(&job);
}

static void a_transform_that_needs_data_has_the_models_own(void **state)
{
    (void)state;
    char folder[200];
    qd_error err = { 0 };
    small_run job =
        job_of("\"algorithm\":\"rtn\",\"transforms\":[\"magr\"],\"calibration\":{\"samples\":4,\"length\":32},"
               "\"evaluation\":{\"length\":64,\"windows\":1}",
               folder, sizeof folder);
    job.calibration = "";
    check_ok(run_job(&job, &err));
    assert_true(json_is_object(json_object_get(job.result, "calibration")));
    finish(&job);
    /* turning does not */
    job = job_of("\"algorithm\":\"rtn\",\"transforms\":[\"hadamard\"],\"format\":\"safetensors\","
                 "\"evaluation\":{\"length\":64,\"windows\":1}",
                 folder, sizeof folder);
    job.calibration = "";
    check_ok(run_job(&job, &err));
    assert_true(json_is_null(json_object_get(job.result, "calibration")));
    check_verified(&job);
    finish(&job);
}

static void a_basis_and_a_packed_format_refuse_each_other(void **state)
{
    (void)state;
    static const struct {
        const char *request, *pointer;
    } cases[] = {
        { "{\"model\": \"file:///m\", \"transforms\": [\"hadamard\"]}", "/transforms/0" },
        { "{\"model\": \"file:///m\", \"transforms\": [\"magr\", \"hadamard\"], \"format\": \"compressed-tensors\"}",
          "/transforms/1" },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        qd_error err = { 0 };
        qd_recipe *recipe = NULL;
        qd_issues issues;
        QD_AUTO(qd_json_fini) json_t *request = NULL;
        check_ok(qd_json_parse_object(cases[i].request, strlen(cases[i].request), 16, &request, &err));
        check_fails(qd_recipe_parse(request, &recipe, &issues, &err), QD_EINVAL);
        assert_int_equal(issues.count, 1);
        assert_string_equal(issues.items[0].pointer, cases[i].pointer);
        check_contains(issues.items[0].detail, "'hadamard' does not go with format 'compressed-tensors'");
        check_contains(issues.items[0].detail, "use format 'safetensors'");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_and_stops_change_no_byte),
        cmocka_unit_test(every_layer_is_certified_and_the_artifact_verified),
        cmocka_unit_test(eight_bits_in_another_basis_are_the_model),
        cmocka_unit_test(the_baseline_is_rounded_in_the_same_basis),
        cmocka_unit_test(a_guard_sees_weights_in_the_basis_of_the_codes),
        cmocka_unit_test(layers_with_the_same_input_share_its_basis),
        cmocka_unit_test(a_changed_weight_is_found_in_the_basis_of_the_codes),
        cmocka_unit_test(a_transform_that_needs_data_has_the_models_own),
        cmocka_unit_test(a_basis_and_a_packed_format_refuse_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
