/* test_effort.c: every preset against every algorithm: what it fills in, what it leaves to the job, and that the result says itself again. */
#include "recipe.h"

#include "engine/effort.h"

static json_t *job_of(const qd_effort *effort, const qd_algorithm *algorithm, const char *rounding)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "model", "file:///m", "effort", effort->name, "algorithm", algorithm->name,
                     "rounding", rounding);
}

static void split_path(const char *path, char *parent, char *key)
{
    const char *slash = strchr(path, '/');
    snprintf(parent, QD_WORD, "%.*s", slash == NULL ? 0 : (int)(slash - path), path);
    snprintf(key, QD_WORD, "%s", slash == NULL ? path : slash + 1);
}

static void set_value(json_t *job, const char *path, json_t *value)
{
    char parent[QD_WORD], key[QD_WORD];
    split_path(path, parent, key);
    if (parent[0] != '\0' && json_object_get(job, parent) == NULL)
        json_object_set_new(job, parent, json_object());
    json_object_set_new(parent[0] == '\0' ? job : json_object_get(job, parent), key, value);
}

/* effort x algorithm x rounding */
#define EVERY_JOB(e, a, r) \
    for (size_t e = 0; qd_effort_at(e) != NULL; e++) \
        for (size_t a = 0; qd_algorithm_at(a) != NULL; a++) \
            for (size_t r = 0; qd_rounding_name(r) != NULL; r++)

static void every_row_is_taken_by_every_algorithm_and_says_itself_again(void **state)
{
    (void)state;
    EVERY_JOB(e, a, r)
    {
        QD_AUTO(qd_json_fini) json_t *job = job_of(qd_effort_at(e), qd_algorithm_at(a), qd_rounding_name(r));
        QD_AUTO(qd_json_fini) json_t *once = print_parsed(job);
        QD_AUTO(qd_json_fini) json_t *twice = print_parsed(once);
        assert_true(json_equal(once, twice));
        assert_string_equal(json_string_value(json_object_get(once, "effort")), qd_effort_at(e)->name);
    }
}

/* A setting that applies is one of those for its path; one that does not leaves no trace. */
static void what_is_printed_is_what_the_row_says(void **state)
{
    (void)state;
    EVERY_JOB(e, a, r)
    {
        QD_AUTO(qd_json_fini) json_t *job = job_of(qd_effort_at(e), qd_algorithm_at(a), qd_rounding_name(r));
        QD_AUTO(qd_json_fini) json_t *printed = print_parsed(job);
        for (const qd_setting *s = qd_effort_at(e)->settings; s->path != NULL; s++) {
            bool found = value_at(printed, s->path) == NULL; /* means nothing for this algorithm */
            for (const qd_setting *t = qd_effort_at(e)->settings; !found && t->path != NULL; t++) {
                QD_AUTO(qd_json_fini) json_t *value = parse_text(t->value);
                found = strcmp(t->path, s->path) == 0 && json_equal(value, value_at(printed, s->path));
            }
            if (!found)
                fail_msg("effort '%s', algorithm '%s': '%s' is not as the row says", qd_effort_at(e)->name,
                         qd_algorithm_at(a)->name, s->path);
        }
    }
}

static void every_row_names_fields_that_exist_and_the_same_ones(void **state)
{
    (void)state;
    for (size_t e = 0; qd_effort_at(e) != NULL; e++) {
        const qd_effort *effort = qd_effort_at(e);
        assert_ptr_equal(qd_effort_find(effort->name), effort);
        assert_true(effort->summary[0] != '\0' && effort->cost[0] != '\0' && effort->gain[0] != '\0');
        for (size_t f = 0; qd_field_at(f) != NULL; f++) {
            bool sets = false;
            for (const qd_setting *s = effort->settings; s->path != NULL; s++)
                sets = sets || strcmp(s->path, qd_field_at(f)->path) == 0;
            assert_int_equal(sets, qd_effort_decides(qd_field_at(f)->path));
        }
        for (const qd_setting *s = effort->settings; s->path != NULL; s++) {
            char parent[QD_WORD], key[QD_WORD];
            split_path(s->path, parent, key);
            assert_non_null(qd_field_find(parent, key));
        }
    }
    assert_null(qd_effort_find("most"));
    assert_false(qd_effort_decides("bits"));
}

/* The other rows' values, one at a time, given by the job: they stay. */
static void fields_that_are_given_win(void **state)
{
    (void)state;
    for (size_t e = 0; qd_effort_at(e) != NULL; e++)
        for (size_t o = 0; qd_effort_at(o) != NULL; o++)
            for (const qd_setting *s = qd_effort_at(o)->settings; s->path != NULL; s++) {
                QD_AUTO(qd_json_fini) json_t *job = job_of(qd_effort_at(e), qd_algorithm_find("qronos"), "nearest");
                QD_AUTO(qd_json_fini) json_t *value = parse_text(s->value);
                set_value(job, s->path, json_incref(value));
                if (strcmp(s->path, "mismatch/residual") == 0 && json_is_true(value)) /* a stream to compare with */
                    set_value(job, "mismatch/scope", json_string("model"));
                if (strcmp(s->path, "refine/refit_scales") == 0 && json_is_true(value)) /* rounds to fit in */
                    set_value(job, "refine/coordinate_descent", json_integer(1));
                QD_AUTO(qd_json_fini) json_t *printed = print_parsed(job);
                if (!json_equal(value_at(printed, s->path), value))
                    fail_msg("effort '%s': '%s' was not kept", qd_effort_at(e)->name, s->path);
            }
}

/* balanced's residual is for scope model; a job that says block gets the rest of it. */
static void settings_that_do_not_go_with_the_job_are_dropped(void **state)
{
    (void)state;
    QD_AUTO(qd_json_fini)
    json_t *block = parse_text("{\"model\": \"file:///m\", \"mismatch\": {\"scope\": \"block\"}}");
    QD_AUTO(qd_json_fini) json_t *printed = print_parsed(block);
    assert_true(json_is_false(value_at(printed, "mismatch/residual")));
    assert_string_equal(json_string_value(value_at(printed, "mismatch/shrink")), "auto");
    QD_AUTO(qd_json_fini)
    json_t *single = parse_text("{\"model\": \"file:///m\", \"calibration\": {\"samples\": 1}}");
    QD_AUTO(qd_json_fini) json_t *alone = print_parsed(single);
    assert_int_equal(json_integer_value(value_at(alone, "mismatch/shrink")), 1);
    QD_AUTO(qd_json_fini) json_t *rtn = parse_text("{\"model\": \"file:///m\", \"algorithm\": \"rtn\"}");
    QD_AUTO(qd_json_fini) json_t *plain = print_parsed(rtn);
    assert_null(json_object_get(plain, "mismatch"));
    assert_string_equal(json_string_value(value_at(plain, "calibration/first_position")), "left-out");
    QD_AUTO(qd_json_fini)
    json_t *promise = job_of(qd_effort_find("reference"), qd_algorithm_find("qronos"), "stochastic");
    QD_AUTO(qd_json_fini) json_t *published = print_parsed(promise);
    assert_string_equal(json_string_value(value_at(published, "mismatch/start")), "original");
    json_object_set_new(promise, "certified", json_true()); /* wants errors that start from the target */
    QD_AUTO(qd_json_fini) json_t *promised = print_parsed(promise);
    assert_string_equal(json_string_value(value_at(promised, "mismatch/start")), "projected");
}

static void the_published_algorithm_is_undisturbed(void **state)
{
    (void)state;
    static const struct {
        const char *algorithm, *regularization;
    } published[] = { { "optq", "{\"mean_diagonal\": 0.01}" },
                      { "gpfq", "{\"mean_diagonal\": 0.01}" }, /* of its certificate: GPFQ itself has none */
                      { "qronos", "{\"spectral\": 1e-6}" } };
    for (size_t i = 0; i < QD_LENGTH(published); i++) {
        QD_AUTO(qd_json_fini)
        json_t *job = job_of(qd_effort_find("reference"), qd_algorithm_find(published[i].algorithm), "nearest");
        QD_AUTO(qd_json_fini) json_t *printed = print_parsed(job);
        QD_AUTO(qd_json_fini) json_t *damping = parse_text(published[i].regularization);
        assert_true(json_equal(json_object_get(printed, "regularization"), damping));
        assert_string_equal(json_string_value(value_at(printed, "calibration/first_position")), "counted");
        if (i == 0)
            continue;
        assert_string_equal(json_string_value(value_at(printed, "mismatch/scope")), "block");
        assert_true(json_is_false(value_at(printed, "mismatch/residual")));
        assert_int_equal(json_integer_value(value_at(printed, "mismatch/shrink")), 1);
    }
}

/* Findings of a job are not hidden, and none is added, by a preset that is wrong or cannot be applied. */
static void findings_are_those_of_the_job(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_recipe *recipe = NULL;
    qd_issues issues;
    QD_AUTO(qd_json_fini)
    json_t *job =
        parse_text("{\"model\": \"file:///m\", \"effort\": \"most\", \"algorithm\": \"magic\", \"order\": 3}");
    check_fails(qd_recipe_parse(job, &recipe, &issues, &err), QD_EINVAL);
    assert_int_equal(issues.count, 3);
    assert_string_equal(issues.items[0].pointer, "/effort");
    assert_string_equal(issues.items[1].pointer, "/algorithm");
    assert_string_equal(issues.items[2].pointer, "/order");
}

static void the_catalog_shows_every_row_with_its_settings(void **state)
{
    (void)state;
    QD_AUTO(qd_json_fini) json_t *catalog = qd_catalog_print();
    json_t *rows = json_object_get(catalog, "efforts");
    for (size_t e = 0; qd_effort_at(e) != NULL; e++) {
        json_t *row = json_array_get(rows, e);
        assert_string_equal(json_string_value(json_object_get(row, "name")), qd_effort_at(e)->name);
        assert_string_equal(json_string_value(json_object_get(row, "cost")), qd_effort_at(e)->cost);
        for (const qd_setting *s = qd_effort_at(e)->settings; s->path != NULL; s++)
            assert_true(json_array_size(json_object_get(json_object_get(row, "settings"), s->path)) > 0);
    }
    assert_null(json_array_get(rows, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_taken_by_every_algorithm_and_says_itself_again),
        cmocka_unit_test(what_is_printed_is_what_the_row_says),
        cmocka_unit_test(every_row_names_fields_that_exist_and_the_same_ones),
        cmocka_unit_test(fields_that_are_given_win),
        cmocka_unit_test(settings_that_do_not_go_with_the_job_are_dropped),
        cmocka_unit_test(the_published_algorithm_is_undisturbed),
        cmocka_unit_test(findings_are_those_of_the_job),
        cmocka_unit_test(the_catalog_shows_every_row_with_its_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
