/* test_json.c: jobs, pages and foreign text as JSON. */
#include "check.h"

#include "api/compare_json.h"
#include "api/job_json.h"
#include "api/problem_json.h"
#include "api/text.h"

static qd_job sample(const char *id, const char *job_state, int64_t finished_ms)
{
    qd_job job = {
        .state = job_state, .created_ms = 1764000000123, .finished_ms = finished_ms, .attempt = 1, .version = 4
    };
    snprintf(job.id, sizeof job.id, "%s", id);
    return job;
}

static const char *const id_a = "aaaaaaaaaaaaaaaaaaaaaaaaaa", *const id_b = "bbbbbbbbbbbbbbbbbbbbbbbbbb";

static void a_job_has_every_member_of_the_contract(void **state)
{
    (void)state;
    const qd_job job = sample(id_a, "queued", 0);
    json_t *printed = qd_job_print(&job);
    static const char *const members[] = { "id",         "name",        "tags",    "state",    "created_at",
                                           "started_at", "finished_at", "request", "resolved", "progress",
                                           "result",     "problem",     "links" };
    for (size_t i = 0; i < QD_LENGTH(members); i++)
        if (json_object_get(printed, members[i]) == NULL)
            fail_msg("no member '%s'", members[i]);
    assert_string_equal(json_string_value(json_object_get(printed, "created_at")), "2025-11-24T16:00:00.123Z");
    assert_true(json_is_null(json_object_get(printed, "started_at")));
    assert_true(json_is_null(json_object_get(printed, "problem")));
    assert_true(json_is_object(json_object_get(printed, "tags")));
    json_decref(printed);
}

static void links_name_only_what_answers_now(void **state)
{
    (void)state;
    qd_job job = sample(id_a, "quantizing", 0);
    json_t *printed = qd_job_print(&job);
    const json_t *links = json_object_get(printed, "links");
    assert_string_equal(json_string_value(json_object_get(links, "self")), "/jobs/aaaaaaaaaaaaaaaaaaaaaaaaaa");
    assert_non_null(json_object_get(links, "cancel"));
    assert_null(json_object_get(links, "artifacts"));
    json_decref(printed);
    job = sample(id_a, "succeeded", 1764000001000);
    printed = qd_job_print(&job);
    links = json_object_get(printed, "links");
    assert_string_equal(json_string_value(json_object_get(links, "artifacts")),
                        "/jobs/aaaaaaaaaaaaaaaaaaaaaaaaaa/artifacts");
    assert_null(json_object_get(links, "cancel"));
    assert_null(json_object_get(links, "retry"));
    json_decref(printed);
}

/* Every place that a URL has in a request, each with a signature. */
static json_t *signed_request(const char *host)
{
    char text[1000];
    snprintf(text, sizeof text,
             "{'model': '%1$s/m?SECRET', 'calibration': {'source': '%1$s/c?SECRET'}, 'publish': '%1$s/p?SECRET',"
             " 'webhook': {'url': '%1$s/w?SECRET'}, 'evaluation': {'text': '%1$s/e?SECRET', 'also': ['%1$s/a?SECRET',"
             " {'name': 'b', 'text': '%1$s/b?SECRET'}], 'tasks': ['piqa', {'task': 'copa', 'data': '%1$s/d?SECRET'}]}}",
             host);
    for (char *c = text; *c != '\0'; c++)
        *c = *c == '\'' ? '"' : *c;
    json_t *out = json_loads(text, 0, NULL);
    assert_non_null(out);
    return out;
}

static void check_shown(json_t *printed, const char *host)
{
    char *text = json_dumps(printed, JSON_COMPACT);
    if (strstr(text, "SECRET") != NULL || strstr(text, host) == NULL)
        fail_msg("%s", text);
    free(text);
    json_decref(printed);
}

static void signatures_of_urls_are_shown_to_nobody(void **state)
{
    (void)state;
    qd_job jobs[] = { sample(id_a, "queued", 0), sample(id_b, "queued", 0) };
    jobs[0].request = jobs[0].resolved = signed_request("https://one.example");
    jobs[1].request = jobs[1].resolved = signed_request("https://two.example");
    check_shown(qd_job_print(&jobs[0]), "https://one.example/d");
    check_shown(qd_compare_print(jobs, 2), "https://two.example/d");
    for (size_t i = 0; i < QD_LENGTH(jobs); i++)
        json_decref(jobs[i].request);
}

static void a_page_ends_with_the_cursor_of_its_last_job(void **state)
{
    (void)state;
    const qd_job jobs[] = { sample(id_b, "queued", 0), sample(id_a, "queued", 0) };
    json_t *page = qd_job_page_print(jobs, 2, 1);
    assert_int_equal(json_array_size(json_object_get(page, "data")), 2);
    assert_true(json_is_true(json_object_get(page, "has_more")));
    assert_string_equal(json_string_value(json_object_get(page, "next_cursor")), id_a);
    json_decref(page);
    page = qd_job_page_print(jobs, 2, 0);
    assert_true(json_is_false(json_object_get(page, "has_more")));
    assert_true(json_is_null(json_object_get(page, "next_cursor")));
    json_decref(page);
}

static void one_event_too_many_says_that_there_is_more(void **state)
{
    (void)state;
    json_t *page = qd_event_page_print_take(json_pack("[i, i, i]", 1, 2, 3), 2);
    assert_int_equal(json_array_size(json_object_get(page, "data")), 2);
    assert_true(json_is_true(json_object_get(page, "has_more")));
    json_decref(page);
    page = qd_event_page_print_take(json_pack("[i, i]", 1, 2), 2);
    assert_true(json_is_false(json_object_get(page, "has_more")));
    json_decref(page);
}

static void expect_text(const char *given, const char *want)
{
    json_t *value = qd_text_print(given);
    assert_non_null(value);
    assert_string_equal(json_string_value(value), want);
    json_decref(value);
}

#define REPLACED "\xef\xbf\xbd"

static void bytes_that_are_no_utf8_are_replaced(void **state)
{
    (void)state;
    expect_text("plain", "plain");
    expect_text("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    expect_text("a\xff"
                "b",
                "a" REPLACED "b");
    expect_text("cut \xe2\x82", "cut " REPLACED REPLACED);
    expect_text("\xc0\xaf", REPLACED REPLACED);              /* overlong */
    expect_text("\xed\xa0\x80", REPLACED REPLACED REPLACED); /* surrogate */
    expect_text("\xf4\x90\x80\x80", REPLACED REPLACED REPLACED REPLACED);
    json_t *none = qd_text_print(NULL);
    assert_true(json_is_null(none));
}

static void a_problem_whose_detail_was_cut_is_still_json(void **state)
{
    (void)state;
    const qd_problem problem = {
        .slug = "not-found", .title = "t", .status = 404, .detail = "no '\xe2\x82", .request_id = "r"
    };
    json_t *printed = qd_problem_print(&problem);
    assert_true(json_is_string(json_object_get(printed, "detail")));
    assert_null(json_object_get(printed, "errors"));
    json_decref(printed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_has_every_member_of_the_contract),
        cmocka_unit_test(links_name_only_what_answers_now),
        cmocka_unit_test(signatures_of_urls_are_shown_to_nobody),
        cmocka_unit_test(a_page_ends_with_the_cursor_of_its_last_job),
        cmocka_unit_test(one_event_too_many_says_that_there_is_more),
        cmocka_unit_test(bytes_that_are_no_utf8_are_replaced),
        cmocka_unit_test(a_problem_whose_detail_was_cut_is_still_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
