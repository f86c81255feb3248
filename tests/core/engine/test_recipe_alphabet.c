/* test_recipe_alphabet.c: what an alphabet decides of the fields around it, and what does not go with it. */
#include "recipe.h"

/* The grid fields of a printed request. */
static void check_grid_fields(const char *request_text, const char *bits, const char *group_size, const char *type)
{
    QD_AUTO(qd_json_fini) json_t *request = parse_text(request_text);
    QD_AUTO(qd_json_fini) json_t *got = print_parsed(request);
    json_t *const found[] = { json_object_get(got, "bits"), json_object_get(got, "group_size"),
                              json_object_get(json_object_get(got, "scale"), "type") };
    const char *const wanted[] = { bits, group_size, type };
    for (size_t i = 0; i < 3; i++) {
        QD_AUTO(qd_json_fini) json_t *want = parse_text(wanted[i]);
        assert_true(json_equal(found[i], want));
    }
    QD_AUTO(qd_json_fini) json_t *again = print_parsed(got);
    assert_true(json_equal(again, got));
}

#define FREE "{\"model\": \"file:///m\", \"format\": \"safetensors\", "
static void an_alphabet_decides_what_it_has_only_one_of(void **state)
{
    (void)state;
    check_grid_fields(FREE "\"alphabet\": \"nf4\"}", "4", "128", "\"bf16\"");
    check_grid_fields(FREE "\"alphabet\": \"mxfp4\"}", "4", "32", "\"e8m0\"");
    check_grid_fields(FREE "\"alphabet\": \"mxfp4\", \"bits\": 4, \"group_size\": 32}", "4", "32", "\"e8m0\"");
    check_grid_fields(FREE "\"alphabet\": \"ternary\"}", "1.58", "128", "\"bf16\"");
    check_grid_fields(FREE "\"alphabet\": {\"levels\": [0, 1, 2]}}", "2", "128", "\"bf16\"");
    check_grid_fields(FREE "\"alphabet\": {\"levels\": [0, 1, 2]}, \"bits\": 2}", "2", "128", "\"bf16\"");
    static const struct {
        const char *given, *pointer, *first, *second;
    } pairs[] = {
        { "\"alphabet\": \"nf4\", \"bits\": 3}", "/bits", "bits: 3 does not go with alphabet 'nf4'", "4 bits" },
        { "\"alphabet\": \"ternary\", \"bits\": 2}", "/bits", "alphabet 'ternary'", "1.58 bits" },
        { "\"alphabet\": {\"levels\": [0, 1, 3]}, \"bits\": 4}", "/bits", "alphabet.levels of 3 numbers", "2 bits" },
        { "\"alphabet\": \"mxfp4\", \"group_size\": 128}", "/group_size", "group_size: 128 does not go with",
          "'mxfp4', which has groups of 32" },
        { "\"alphabet\": \"mxfp4\", \"scale\": {\"type\": \"f16\"}}", "/scale/type",
          "scale.type: 'f16' does not go with", "'mxfp4', whose scales are e8m0" },
    };
    for (size_t i = 0; i < QD_LENGTH(pairs); i++) {
        char text[300];
        snprintf(text, sizeof text, FREE "%s", pairs[i].given);
        QD_AUTO(qd_json_fini) json_t *request = parse_text(text);
        check_finding(request, pairs[i].pointer, pairs[i].first);
        check_finding(request, pairs[i].pointer, pairs[i].second);
    }
    QD_AUTO(qd_json_fini) json_t *packed = parse_text("{\"model\": \"file:///m\", \"alphabet\": \"nf4\"}");
    check_finding(packed, "/alphabet", "alphabet: 'nf4' does not go with format 'compressed-tensors'");
    check_finding(packed, "/alphabet", "'safetensors'");
    QD_AUTO(qd_json_fini) json_t *three = parse_text("{\"model\": \"file:///m\", \"alphabet\": \"ternary\"}");
    QD_AUTO(qd_json_fini) json_t *printed = print_parsed(three); /* integers: the packed format takes them */
    assert_non_null(printed);
}

/* A name of a format without a variant is the first variant that holds the grid, and is printed as what it became. */
static void a_grid_chooses_the_variant_of_a_format_that_names_none(void **state)
{
    (void)state;
    static const struct {
        const char *given, *printed;
    } cases[] = {
        { "\"format\": \"compressed-tensors\"", "\"compressed-tensors\"" },
        { "\"alphabet\": \"mxfp4\"", "\"compressed-tensors:mxfp4-pack-quantized\"" },
        { "\"alphabet\": \"nvfp4\", \"format\": \"compressed-tensors\"",
          "\"compressed-tensors:nvfp4-pack-quantized\"" },
        { "\"format\": \"gptq\"", "\"gptq\"" },
        { "\"alphabet\": \"int-asymmetric\", \"format\": \"gptq\"", "\"gptq:v2\"" },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        char text[300];
        snprintf(text, sizeof text, "{\"model\": \"file:///m\", %s}", cases[i].given);
        QD_AUTO(qd_json_fini) json_t *request = parse_text(text), *want = parse_text(cases[i].printed);
        QD_AUTO(qd_json_fini) json_t *got = print_parsed(request);
        check_equal_json(json_object_get(got, "format"), want, text);
    }
    QD_AUTO(qd_json_fini)
    json_t *named = parse_text("{\"model\": \"file:///m\", \"alphabet\": \"mxfp4\", \"format\": "
                               "\"compressed-tensors:pack-quantized\"}");
    check_finding(named, "/alphabet", "which holds integers");
    QD_AUTO(qd_json_fini)
    json_t *twice =
        parse_text("{\"model\": \"file:///m\", \"alphabet\": \"mxfp4\", \"format\": [\"compressed-tensors\", "
                   "\"compressed-tensors:mxfp4-pack-quantized\"]}");
    check_finding(twice, "/format", "one that the list has too");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_alphabet_decides_what_it_has_only_one_of),
        cmocka_unit_test(a_grid_chooses_the_variant_of_a_format_that_names_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
