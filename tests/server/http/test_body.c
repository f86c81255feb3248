/* test_body.c: a request's JSON: its limits, and where a finding points. */
#include "check.h"

#include "base/json.h"
#include "http/body.h"

static void put(qd_request *request, const char *before, const char *repeated, size_t times, const char *after)
{
    qd_str_clear(&request->body);
    qd_str_add(&request->body, before);
    for (size_t i = 0; i < times; i++)
        qd_str_add(&request->body, repeated);
    qd_str_add(&request->body, after);
}

static qd_code parse(const qd_request *request, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *value = NULL;
    return qd_body_parse(request, &value, err);
}

static void strings_lists_and_names_have_limits_and_are_pointed_at(void **state)
{
    (void)state;
    static const struct {
        const char *before, *repeated, *after, *pointer;
        size_t most;
    } cases[] = {
        { "{\"name\":\"", "a", "\"}", "/name: a string of 4097; at most 4096", QD_BODY_STRING },
        { "{\"model\":{\"url\":\"", "a", "\"}}", "/model/url: a string of 4097", QD_BODY_STRING },
        { "{\"", "a", "\":1}", "/aaaaaaaa", QD_BODY_STRING },
        { "{\"a\":[[0", ",0", "]]}", "/a/0: a list of 257; at most 256", QD_BODY_ITEMS - 1 },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        QD_AUTO(qd_request_fini) qd_request request = { 0 };
        qd_error err = { 0 };
        put(&request, cases[i].before, cases[i].repeated, cases[i].most, cases[i].after);
        assert_int_equal(parse(&request, &err), QD_OK);
        put(&request, cases[i].before, cases[i].repeated, cases[i].most + 1, cases[i].after);
        assert_int_equal(parse(&request, &err), QD_ETOOBIG);
        check_contains(err.text, cases[i].pointer);
    }
}

static void a_long_pointer_is_cut_before_the_finding(void **state)
{
    (void)state;
    QD_AUTO(qd_request_fini) qd_request request = { 0 };
    qd_error err = { 0 };
    for (int i = 0; i < 12; i++)
        qd_str_add(&request.body, "{\"a rather long name of a member of an object of no use\":");
    for (int i = 0; i < 5000; i++)
        qd_str_add(&request.body, i == 0 ? "\"" : "b");
    qd_str_add(&request.body, "\"");
    for (int i = 0; i < 12; i++)
        qd_str_add(&request.body, "}");
    assert_int_equal(parse(&request, &err), QD_ETOOBIG);
    check_contains(err.text, "a string of 4999; at most 4096");
}

static void depth_and_repeated_names_are_no_json_of_ours(void **state)
{
    (void)state;
    QD_AUTO(qd_request_fini) qd_request request = { 0 };
    qd_error err = { 0 };
    put(&request, "{\"a\":", "[", QD_BODY_DEPTH - 1, "");
    for (int i = 0; i < QD_BODY_DEPTH - 1; i++)
        qd_str_add(&request.body, "]");
    qd_str_add(&request.body, "}");
    assert_int_equal(parse(&request, &err), QD_OK);
    put(&request, "{\"a\":", "[", QD_BODY_DEPTH, "");
    assert_int_equal(parse(&request, &err), QD_EFORMAT);
    put(&request, "{\"a\":1", ",\"a\":2", 1, "}");
    assert_int_equal(parse(&request, &err), QD_EFORMAT);
    put(&request, "[1", "", 0, "]");
    assert_int_equal(parse(&request, &err), QD_EFORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_lists_and_names_have_limits_and_are_pointed_at),
        cmocka_unit_test(a_long_pointer_is_cut_before_the_finding),
        cmocka_unit_test(depth_and_repeated_names_are_no_json_of_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
