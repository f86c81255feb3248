/* test_recipe_pairs.c: fields of a job that do not go together: both are named, with what would work. */
#include "recipe.h"

#include "engine/recipe_issues.h"

static void fields_that_disagree_are_both_named_with_what_would_work(void **state)
{
    (void)state;
    QD_AUTO(qd_json_fini)
    json_t *five = parse_text("{\"model\": \"file:///m\", \"bits\": 5, \"format\": \"gptq\"}");
    check_finding(five, "/bits", "format 'gptq");
    check_finding(five, "/bits", "2, 3, 4");
    QD_AUTO(qd_json_fini)
    json_t *zero = parse_text("{\"model\": \"file:///m\", \"alphabet\": {\"kind\": \"int\", \"zero\": \"float\"}}");
    qd_error err = { 0 };
    qd_recipe *recipe = NULL;
    qd_issues issues;
    check_fails(qd_recipe_parse(zero, &recipe, &issues, &err), QD_EINVAL);
    check_contains(err.text, "zero");
    check_contains(err.text, "safetensors");
    QD_AUTO(qd_json_fini) json_t *nearest = parse_text("{\"model\": \"file:///m\", \"certified\": true}");
    check_finding(nearest, "/certified",
                  "certified: true does not go with rounding 'nearest'; rounding 'stochastic' does");
    QD_AUTO(qd_json_fini)
    json_t *original = parse_text("{\"model\": \"file:///m\", \"certified\": true, \"rounding\": \"stochastic\","
                                  " \"algorithm\": \"qronos\", \"mismatch\": {\"start\": \"original\"}}");
    check_finding(original, "/certified", "mismatch.start 'original'; mismatch.start 'projected' does");
}

static void refining_is_refused_where_nothing_could_be_refined(void **state)
{
    (void)state;
    static const char *const algorithms[] = { "rtn", "gpfq" };
    for (size_t i = 0; i < QD_LENGTH(algorithms); i++) {
        QD_AUTO(qd_json_fini)
        json_t *request = parse_text("{\"model\": \"file:///m\", \"refine\": {\"beam\": 8}}");
        json_object_set_new(request, "algorithm", json_string(algorithms[i]));
        check_finding(request, "/refine/beam", "refine.beam: means nothing for algorithm");
        check_finding(request, "/refine/beam", algorithms[i]);
        check_finding(request, "/refine/beam", "it wants algorithm optq or qronos");
    }
    QD_AUTO(qd_json_fini)
    json_t *random = parse_text("{\"model\": \"file:///m\", \"algorithm\": \"qronos\", \"rounding\": \"stochastic\","
                                " \"refine\": {\"coordinate_descent\": 1}}");
    check_finding(random, "/refine",
                  "refine: does not go with rounding 'stochastic', which it would undo; 'nearest' does");
    json_object_set_new(random, "refine", parse_text("{\"beam\": 1, \"coordinate_descent\": 0}"));
    json_decref(print_parsed(random)); /* nothing is asked for */
}

static void shaping_is_refused_where_scales_do_not_see_it(void **state)
{
    (void)state;
    QD_AUTO(qd_json_fini)
    json_t *idle =
        parse_text("{\"model\": \"file:///m\", \"transforms\": [\"magr\"], \"scale\": {\"rule\": \"hessian-mse\"}}");
    check_finding(idle, "/transforms/0",
                  "transforms[0]: 'magr' does nothing beside scale.rule 'hessian-mse', which 'qronos'");
    check_finding(idle, "/transforms/0", "'minmax' and 'mse' go by the weights");
    json_object_del(idle, "scale"); /* the preset then takes a rule that does */
    QD_AUTO(qd_json_fini) json_t *printed = print_parsed(idle);
    assert_string_equal(json_string_value(value_at(printed, "scale/rule")), "mse");
    json_object_set_new(idle, "algorithm", json_string("optq"));
    QD_AUTO(qd_json_fini) json_t *other = print_parsed(idle);
    assert_string_equal(json_string_value(value_at(other, "scale/rule")), "hessian-mse");
}

static void how_a_text_is_read_is_refused_where_there_is_none(void **state)
{
    (void)state;
    static const char *const fields[][2] = { { "format", "\"jsonl\"" },
                                             { "documents", "\"within\"" },
                                             { "split", "\"lines\"" },
                                             { "sampling", "\"random\"" },
                                             { "phase", "0.5" } };
    for (size_t i = 0; i < QD_LENGTH(fields); i++) {
        QD_AUTO(qd_str_fini) qd_str text = { 0 };
        qd_pointer where = qd_pointer_to("/calibration", fields[i][0]);
        qd_str_addf(&text, "{\"model\": \"file:///m\", \"calibration\": {\"source\": \"self\", \"%s\": %s}}",
                    fields[i][0], fields[i][1]);
        QD_AUTO(qd_json_fini) json_t *request = parse_text(text.data);
        check_finding(request, where.text, "calibration.source 'self' has none");
        json_object_del(json_object_get(request, "calibration"), "source");
        json_decref(print_parsed(request));
    }
    QD_AUTO(qd_json_fini)
    json_t *harmless = parse_text("{\"model\": \"file:///m\", \"calibration\": {\"source\": \"self\", "
                                  "\"format\": \"auto\", \"documents\": \"joined\"}}");
    json_decref(print_parsed(harmless));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_that_disagree_are_both_named_with_what_would_work),
        cmocka_unit_test(refining_is_refused_where_nothing_could_be_refined),
        cmocka_unit_test(shaping_is_refused_where_scales_do_not_see_it),
        cmocka_unit_test(how_a_text_is_read_is_refused_where_there_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
