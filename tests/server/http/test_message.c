/* test_message.c: headers, replies, problem documents, frames of event streams. */
#include "check.h"

#include "base/json.h"
#include "http/problem.h"
#include "http/sse.h"

static void a_single_header_may_not_come_twice_and_lists_are_joined(void **state)
{
    (void)state;
    qd_error err;
    qd_request request = { 0 };
    check_ok(qd_request_add_header(&request, "host", "a", 1, &err));
    check_fails(qd_request_add_header(&request, "Host", "a", 1, &err), QD_EINVAL);
    check_contains(err.text, "Host");
    check_ok(qd_request_add_header(&request, "If-None-Match", "\"a\"", 3, &err));
    check_ok(qd_request_add_header(&request, "if-none-match", "\"b\"", 3, &err));
    assert_string_equal(request.headers[QD_IF_NONE_MATCH], "\"a\", \"b\"");
    check_ok(qd_request_add_header(&request, "X-Other", "1", 1, &err));
    check_ok(qd_request_add_header(&request, "X-Other", "2", 1, &err));
    qd_request_fini(&request);
}

static void a_nul_in_any_header_is_refused(void **state)
{
    (void)state;
    qd_error err;
    qd_request request = { 0 };
    check_fails(qd_request_add_header(&request, "X-Other", "a\0b", 3, &err), QD_EINVAL);
    check_contains(err.text, "X-Other");
    check_fails(qd_request_add_header(&request, "Range", "bytes=0-1\0", 10, &err), QD_EINVAL);
    qd_request_fini(&request);
}

/* Every header of the table is found by its name, whatever its case; every method too. */
static void names_find_their_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < QD_HEADER_COUNT; i++)
        assert_int_equal(qd_header_find(qd_header_name((qd_header)i)), i);
    assert_int_equal(qd_header_find("x-other"), QD_HEADER_COUNT);
    for (size_t i = 0; i < QD_METHOD_COUNT; i++)
        assert_int_equal(qd_method_find(qd_method_name(i)), i);
    assert_int_equal(qd_method_find("HEAD"), QD_GET);
    assert_int_equal(qd_method_find("get"), QD_METHOD_COUNT);
    assert_int_equal(qd_method_find("BREW"), QD_METHOD_COUNT);
}

static void a_header_value_with_a_line_end_is_left_out(void **state)
{
    (void)state;
    qd_reply reply;
    qd_reply_init(&reply);
    qd_reply_header_set(&reply, "Location", "%s", "/jobs/a\r\nSet-Cookie: x");
    assert_null(qd_reply_header_get(&reply, "Location"));
    qd_reply_header_set(&reply, "Location", "%s", "/jobs/a");
    assert_string_equal(qd_reply_header_get(&reply, "location"), "/jobs/a");
    qd_reply_fini(&reply);
}

static json_t *parse(const qd_reply *reply)
{
    qd_error err = { 0 };
    json_t *value = NULL;
    check_ok(qd_json_parse_object(reply->bytes, reply->length, 8, &value, &err));
    return value;
}

static void a_problem_document_has_every_member(void **state)
{
    (void)state;
    const qd_request request = { .caller.request_id = "r1" };
    const qd_issues issues = { .count = 1, .items = { { "/bits", "bits: 17 is not in 2, 3, 4" } } };
    qd_reply reply;
    qd_reply_init(&reply);
    qd_reply_problem(&reply, &request, QD_PROBLEM_INVALID, &issues, "%s", issues.items[0].detail);
    assert_int_equal(reply.status, 422);
    assert_string_equal(reply.content_type, "application/problem+json");
    json_t *document = parse(&reply);
    assert_string_equal(json_string_value(json_object_get(document, "type")),
                        "https://quantd.dev/problems/invalid-job");
    assert_true(json_is_string(json_object_get(document, "title")));
    assert_int_equal(json_integer_value(json_object_get(document, "status")), 422);
    assert_string_equal(json_string_value(json_object_get(document, "request_id")), "r1");
    const json_t *first = json_array_get(json_object_get(document, "errors"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "pointer")), "/bits");
    check_contains(json_string_value(json_object_get(first, "detail")), "17");
    json_decref(document);
    qd_reply_fini(&reply);
}

/* Registry contract: each kind has its row; each code ends in a failure; what may be retried says when. */
static void every_kind_and_every_code_has_an_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < QD_PROBLEM_KINDS; i++) {
        const qd_problem_row *row = qd_problem_row_at((qd_problem_kind)i);
        assert_true(row->slug[0] != '\0' && row->title[0] != '\0' && row->status >= 400 && row->status < 600);
        assert_int_equal(row->retry_after > 0,
                         row->status == 429 || row->status == 503 || row->status == 507 || i == QD_PROBLEM_UNDER_WAY);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(qd_problem_row_at((qd_problem_kind)k)->slug, row->slug);
    }
    for (int code = QD_EINVAL; code <= QD_EINTERNAL; code++)
        assert_true(qd_problem_kind_of((qd_code)code) < QD_PROBLEM_KINDS);
    assert_int_equal(qd_problem_row_at(qd_problem_kind_of(QD_EINVAL))->status, 422);
    assert_int_equal(qd_problem_row_at(qd_problem_kind_of(QD_ENOTFOUND))->status, 404);
    assert_int_equal(qd_problem_row_at(qd_problem_kind_of(QD_ECONFLICT))->status, 409);
    assert_int_equal(qd_problem_row_at(qd_problem_kind_of(QD_EBUSY))->status, 429);
    assert_int_equal(qd_problem_row_at(qd_problem_kind_of(QD_ENOSPC))->status, 507);
}

static void a_failure_of_ours_stays_in_the_log(void **state)
{
    (void)state;
    const qd_request request = { .caller.request_id = "r2" };
    qd_error err;
    qd_reply reply;
    qd_reply_init(&reply);
    qd_reply_failure(&reply, &request, qd_fail(&err, QD_EIO, "read '/var/lib/secret'"), &err);
    assert_int_equal(reply.status, 500);
    assert_null(strstr(reply.bytes, "secret"));
    check_contains(reply.bytes, "r2");
    qd_reply_failure(&reply, &request, qd_fail(&err, QD_EBUSY, "10000 jobs are queued"), &err);
    assert_int_equal(reply.status, 429);
    check_contains(reply.bytes, "10000 jobs");
    assert_non_null(qd_reply_header_get(&reply, "Retry-After"));
    qd_reply_fini(&reply);
}

static void an_event_becomes_one_frame(void **state)
{
    (void)state;
    qd_str out = { 0 };
    json_t *event = json_pack("{s:i, s:s, s:s, s:{s:s}}", "id", 7, "time", "t", "type", "warning", "data", "detail",
                              "a\nb\r\ndata: c");
    assert_int_equal(qd_sse_add_event(&out, event), 7);
    assert_string_equal(
        qd_str_borrow(&out),
        "id: 7\nevent: warning\n"
        "data: {\"id\":7,\"time\":\"t\",\"type\":\"warning\",\"data\":{\"detail\":\"a\\nb\\r\\ndata: c\"}}\n\n");
    json_decref(event);
    qd_str_fini(&out);
}

static void a_type_cannot_forge_fields_and_an_id_is_needed(void **state)
{
    (void)state;
    qd_str out = { 0 };
    json_t *event = json_pack("{s:i, s:s}", "id", 1, "type", "x\nid: 99");
    assert_int_equal(qd_sse_add_event(&out, event), 1);
    assert_null(strstr(qd_str_borrow(&out), "event:"));
    assert_null(strstr(qd_str_borrow(&out), "\nid: 99"));
    json_object_set_new(event, "id", json_integer(0));
    qd_str_clear(&out);
    assert_int_equal(qd_sse_add_event(&out, event), 0);
    assert_int_equal(out.length, 0);
    json_decref(event);
    qd_str_fini(&out);
}

static void the_end_has_no_id_and_a_heartbeat_is_a_comment(void **state)
{
    (void)state;
    qd_str out = { 0 };
    qd_sse_add_end(&out, "succeeded");
    assert_string_equal(qd_str_borrow(&out), "event: end\ndata: {\"state\":\"succeeded\"}\n\n");
    qd_str_clear(&out);
    qd_sse_add_heartbeat(&out);
    assert_int_equal(qd_str_borrow(&out)[0], ':');
    check_contains(qd_str_borrow(&out), "\n\n");
    qd_str_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_single_header_may_not_come_twice_and_lists_are_joined),
        cmocka_unit_test(a_nul_in_any_header_is_refused),
        cmocka_unit_test(names_find_their_rows),
        cmocka_unit_test(a_header_value_with_a_line_end_is_left_out),
        cmocka_unit_test(a_problem_document_has_every_member),
        cmocka_unit_test(every_kind_and_every_code_has_an_answer),
        cmocka_unit_test(a_failure_of_ours_stays_in_the_log),
        cmocka_unit_test(an_event_becomes_one_frame),
        cmocka_unit_test(a_type_cannot_forge_fields_and_an_id_is_needed),
        cmocka_unit_test(the_end_has_no_id_and_a_heartbeat_is_a_comment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
