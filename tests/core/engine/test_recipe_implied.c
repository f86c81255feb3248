/* test_recipe_implied.c: fields that a container decides where the job does not name them, and the grid of each layer. */
#include "recipe.h"

typedef void each_variant(const qd_format *format, size_t variant, const qd_format_field *fields);

/* Every variant of every format that implies anything; how many. */
static size_t for_each(each_variant *what)
{
    size_t count = 0;
    for (size_t i = 0; qd_format_at(i) != NULL; i++) {
        const qd_format *f = qd_format_at(i);
        for (size_t v = 0; f->implied != NULL && (v == 0 || (f->variants != NULL && f->variants[v] != NULL)); v++)
            if (f->implied(v) != NULL) {
                what(f, v, f->implied(v));
                count++;
            }
    }
    return count;
}

static json_t *request_for(const qd_format *format, size_t variant)
{
    char name[QD_FORMAT_NAME];
    qd_format_print(format, variant, name);
    json_t *request = parse_text("{\"model\": \"file:///m\"}");
    json_object_set_new(request, "format", json_string(name));
    return request;
}

/* A request with nothing but the format is a job that has the fields, and says so. */
static void check_variant(const qd_format *format, size_t variant, const qd_format_field *fields)
{
    QD_AUTO(qd_json_fini) json_t *request = request_for(format, variant);
    QD_AUTO(qd_json_fini) json_t *printed = print_parsed(request);
    for (const qd_format_field *f = fields; f->path != NULL; f++) {
        QD_AUTO(qd_json_fini) json_t *want = parse_text(f->value);
        assert_non_null(qd_field_at_path(f->path));
        json_t *got = value_at(printed, f->path);
        const char *key;
        json_t *member;
        if (json_is_object(got) && json_is_string(want)) /* a shorthand */
            check_equal_json(json_object_get(got, "kind"), want, f->path);
        else if (json_is_object(want)) {
            json_object_foreach(want, key, member) check_equal_json(json_object_get(got, key), member, f->path);
        } else
            check_equal_json(got, want, f->path);
    }
    QD_AUTO(qd_json_fini) json_t *again = print_parsed(printed);
    check_equal_json(again, printed, format->name);
}

static void a_job_that_names_its_container_has_what_that_has_only_one_of(void **state)
{
    (void)state;
    assert_true(for_each(check_variant) > 10);
}

static void what_the_job_names_is_taken_from_the_job(void **state)
{
    (void)state;
    QD_AUTO(qd_json_fini)
    json_t *half = parse_text("{\"model\": \"file:///m\", \"format\": \"gguf:q8_0\", \"scale\": {\"type\": \"half\"}}");
    QD_AUTO(qd_json_fini) json_t *printed = print_parsed(half);
    assert_string_equal(json_string_value(value_at(printed, "scale/type")), "half");
    assert_int_equal(json_integer_value(json_object_get(printed, "group_size")), 32);
    QD_AUTO(qd_json_fini)
    json_t *rule =
        parse_text("{\"model\": \"file:///m\", \"format\": \"gguf:q4_k\", \"scale\": {\"rule\": \"minmax\"}}");
    QD_AUTO(qd_json_fini) json_t *with_rule = print_parsed(rule);
    assert_string_equal(json_string_value(value_at(with_rule, "scale/rule")), "minmax");
    assert_string_equal(json_string_value(value_at(with_rule, "scale/type")), "q4_k");
    QD_AUTO(qd_json_fini)
    json_t *wrong = parse_text("{\"model\": \"file:///m\", \"format\": \"gguf:q4_k\", \"bits\": 3}");
    check_finding(wrong, "/bits", "q4_k");
    QD_AUTO(qd_json_fini)
    json_t *named = parse_text("{\"model\": \"file:///m\", \"format\": \"gguf:q4_k\", \"alphabet\": \"int\"}");
    check_finding(named, "/alphabet/zero",
                  "scale.type 'q4_k'"); /* the alphabet's zero is its own, not the container's */
}

/* Several containers have one grid: that of the first which has only one, whatever stands before it. */
static void check_scale_type(const char *formats, const char *scale_type)
{
    QD_AUTO(qd_json_fini) json_t *request = parse_text("{\"model\": \"file:///m\"}");
    json_object_set_new(request, "format", parse_text(formats));
    QD_AUTO(qd_json_fini) json_t *printed = print_parsed(request);
    assert_string_equal(json_string_value(value_at(printed, "scale/type")), scale_type);
}

static void of_several_containers_the_first_with_a_grid_of_its_own_decides(void **state)
{
    (void)state;
    check_scale_type("[\"gguf:q4_k\", \"safetensors:f32\"]", "q4_k");
    check_scale_type("[\"safetensors:f32\", \"gguf:q4_k\"]", "q4_k");
    check_scale_type("[\"gptq\", \"compressed-tensors\"]", "half");
    check_scale_type("[\"compressed-tensors\", \"gptq\"]", "half");
    check_scale_type("[\"compressed-tensors\", \"safetensors\"]", "bf16");
    QD_AUTO(qd_json_fini)
    json_t *other = parse_text("{\"model\": \"file:///m\", \"format\": [\"gptq\", \"gguf:q4_k\"]}");
    qd_error err = { 0 };
    qd_recipe *recipe = NULL;
    check_fails(qd_recipe_parse(other, &recipe, NULL, &err), QD_EINVAL); /* scales of a group each, not of blocks */
    check_contains(err.text, "gguf:q4_k");
}

static void a_layer_has_the_jobs_grid_where_it_fits_and_its_containers_elsewhere(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_recipe *recipe = NULL;
    qd_grid_spec spec;
    QD_AUTO(qd_json_fini)
    json_t *request = parse_text("{\"model\": \"file:///m\", \"format\": [\"gguf:q4_k\", \"safetensors:f32\"]}");
    check_ok(qd_recipe_parse(request, &recipe, NULL, &err));
    const qd_linear wide = { .name = "wide", .out = 8, .in = 512 }, narrow = { .name = "narrow", .out = 8, .in = 96 };
    check_ok(qd_recipe_layer_spec(recipe, &wide, &spec, &err));
    assert_true(qd_grid_spec_equal(&spec, &recipe->grid));
    check_ok(qd_recipe_layer_spec(recipe, &narrow, &spec, &err));
    assert_false(qd_grid_spec_equal(&spec, &recipe->grid));
    assert_int_equal(narrow.in % spec.group_size, 0);
    check_ok(qd_grid_spec_check(&spec, &err));
    assert_ptr_equal(spec.rule, recipe->grid.rule);
    qd_recipe_destroy(recipe);
    QD_AUTO(qd_json_fini) json_t *plain = parse_text("{\"model\": \"file:///m\", \"format\": \"safetensors:f32\"}");
    check_ok(qd_recipe_parse(plain, &recipe, NULL, &err));
    check_ok(qd_recipe_layer_spec(recipe, &narrow, &spec, &err));
    assert_true(qd_grid_spec_equal(&spec, &recipe->grid));
    qd_recipe_destroy(recipe);
}

static void the_catalog_lists_what_is_implied(void **state)
{
    (void)state;
    QD_AUTO(qd_json_fini) json_t *catalog = qd_catalog_print();
    const json_t *formats = json_object_get(catalog, "formats");
    size_t found = 0;
    for (size_t i = 0; i < json_array_size(formats); i++) {
        json_t *implied = json_object_get(json_array_get(formats, i), "implied");
        assert_true(json_is_object(implied));
        if (strcmp(qd_format_at(i)->name, "gguf") != 0)
            continue;
        found++;
        json_t *fields = json_object_get(implied, "q4_k");
        assert_int_equal(json_integer_value(json_object_get(fields, "bits")), 4);
        assert_string_equal(json_string_value(json_object_get(fields, "scale/type")), "q4_k");
    }
    assert_int_equal(found, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_that_names_its_container_has_what_that_has_only_one_of),
        cmocka_unit_test(what_the_job_names_is_taken_from_the_job),
        cmocka_unit_test(of_several_containers_the_first_with_a_grid_of_its_own_decides),
        cmocka_unit_test(a_layer_has_the_jobs_grid_where_it_fits_and_its_containers_elsewhere),
        cmocka_unit_test(the_catalog_lists_what_is_implied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
