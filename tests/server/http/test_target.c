/* test_target.c: request targets, percent-decoding, whole numbers. */
#include "check.h"

#include "http/number.h"
#include "http/target.h"

static void a_path_and_its_query_are_decoded(void **state)
{
    (void)state;
    qd_error err;
    qd_target target = { 0 };
    check_ok(qd_target_parse("/jobs?tag=team%3Aa+b&limit=2&&state=", &target, &err));
    assert_string_equal(target.path, "/jobs");
    assert_string_equal(qd_target_parameter(&target, "tag"), "team:a b");
    assert_string_equal(qd_target_parameter(&target, "limit"), "2");
    assert_null(qd_target_parameter(&target, "state")); /* empty counts as absent */
    assert_int_equal(target.parameter_count, 3);
    qd_target_fini(&target);
}

static void a_plus_in_a_path_stays_a_plus(void **state)
{
    (void)state;
    qd_error err;
    qd_target target = { 0 };
    check_ok(qd_target_parse("/a+b%20c", &target, &err));
    assert_string_equal(target.path, "/a+b c");
    qd_target_fini(&target);
}

static void the_absolute_form_loses_its_authority(void **state)
{
    (void)state;
    qd_error err;
    qd_target target = { 0 };
    check_ok(qd_target_parse("http://localhost:8080/jobs?limit=1", &target, &err));
    assert_string_equal(target.path, "/jobs");
    qd_target_fini(&target);
    check_ok(qd_target_parse("HTTP://localhost", &target, &err));
    assert_string_equal(target.path, "/");
    qd_target_fini(&target);
}

static void hostile_targets_are_refused(void **state)
{
    (void)state;
    static const char *const hostile[] = {
        "",       "*",      "jobs",    "/a%00b",  "/a%2fb", "/a%2Fb",     "/a%",    "/a%4", "/a%zz",
        "/a%0ab", "/a\x7f", "/?a=%00", "/?%00=a", "/#x",    "http://x?y", "/?a%=1", "/%1f", "/a\x01",
    };
    for (size_t i = 0; i < QD_LENGTH(hostile); i++) {
        qd_error err = { 0 };
        qd_target target = { 0 };
        if (qd_target_parse(hostile[i], &target, &err) != QD_EINVAL)
            fail_msg("'%s' was taken", hostile[i]);
        assert_null(target.storage);
        assert_true(err.text[0] != '\0');
    }
}

static void a_parameter_given_twice_is_there_twice_in_its_order(void **state)
{
    (void)state;
    qd_error err;
    qd_target target = { 0 };
    check_ok(qd_target_parse("/?a=1&b&a=2&a", &target, &err));
    assert_int_equal(target.parameter_count, 4);
    assert_string_equal(target.parameters[2].name, "a");
    assert_string_equal(target.parameters[2].value, "2");
    assert_string_equal(qd_target_parameter(&target, "a"), "1");
    qd_target_fini(&target);
}

static void too_many_parameters_are_refused(void **state)
{
    (void)state;
    qd_error err;
    qd_target target = { 0 };
    char text[256] = "/?";
    for (int i = 0; i < QD_PARAMETERS_MAX; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "p%d&", i);
    check_ok(qd_target_parse(text, &target, &err));
    assert_int_equal(target.parameter_count, QD_PARAMETERS_MAX);
    qd_target_fini(&target);
    snprintf(text + strlen(text), sizeof text - strlen(text), "one_more=1");
    check_fails(qd_target_parse(text, &target, &err), QD_EINVAL);
}

/* Every byte but controls survives encoding by hand and decoding. */
static void decoding_undoes_encoding_of_every_byte(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        qd_error err;
        char text[8], out[8];
        snprintf(text, sizeof text, "%%%02x", (unsigned)byte);
        qd_code code = qd_percent_decode(text, 3, QD_PLUS_IS_PLUS, out, &err);
        if (byte < 0x20 || byte == 0x7f)
            assert_int_equal(code, QD_EINVAL);
        else {
            check_ok(code);
            assert_int_equal((unsigned char)out[0], byte);
            assert_int_equal(out[1], 0);
        }
    }
}

static void numbers_are_digits_within_their_range(void **state)
{
    (void)state;
    qd_error err;
    uint64_t value = 7;
    check_ok(qd_number_read("limit", NULL, 1, 200, &value, &err));
    assert_int_equal(value, 7);
    check_ok(qd_number_read("limit", "200", 1, 200, &value, &err));
    assert_int_equal(value, 200);
    check_ok(qd_number_read("after", "9223372036854775807", 0, INT64_MAX, &value, &err));
    assert_true(value == INT64_MAX);
    static const char *const wrong[] = {
        "", "0", "201", "-1", "+1", " 1", "1 ", "1.0", "1e2", "0x10", "99999999999999999999999"
    };
    for (size_t i = 0; i < QD_LENGTH(wrong); i++) {
        check_fails(qd_number_read("limit", wrong[i], 1, 200, &value, &err), QD_EINVAL);
        check_contains(err.text, "limit");
        check_contains(err.text, "1 to 200");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_and_its_query_are_decoded),
        cmocka_unit_test(a_plus_in_a_path_stays_a_plus),
        cmocka_unit_test(the_absolute_form_loses_its_authority),
        cmocka_unit_test(hostile_targets_are_refused),
        cmocka_unit_test(a_parameter_given_twice_is_there_twice_in_its_order),
        cmocka_unit_test(too_many_parameters_are_refused),
        cmocka_unit_test(decoding_undoes_encoding_of_every_byte),
        cmocka_unit_test(numbers_are_digits_within_their_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
