/* test_range.c: Range, If-Range and If-None-Match (RFC 9110 §13, §14). */
#include "check.h"

#include "http/range.h"

enum { SIZE = 1000 };

static void expect(const char *header, qd_range_kind kind, uint64_t first, uint64_t length)
{
    qd_range range = qd_range_parse(header, SIZE);
    if (range.kind != kind || (kind != QD_RANGE_UNSATISFIABLE && (range.first != first || range.length != length)))
        fail_msg("'%s': kind %d, first %llu, length %llu", header, (int)range.kind, (unsigned long long)range.first,
                 (unsigned long long)range.length);
}

static void one_range_gives_its_part(void **state)
{
    (void)state;
    expect("bytes=0-0", QD_RANGE_PART, 0, 1);
    expect("bytes=100-199", QD_RANGE_PART, 100, 100);
    expect("bytes=999-999", QD_RANGE_PART, 999, 1);
    expect("bytes=990-", QD_RANGE_PART, 990, 10);
    expect("bytes=990-5000", QD_RANGE_PART, 990, 10);
    expect("bytes=-5", QD_RANGE_PART, 995, 5);
    expect("bytes=-5000", QD_RANGE_PART, 0, 1000);
    expect("BYTES= 1-2 ", QD_RANGE_PART, 1, 2);
    expect("bytes=0-99999999999999999999999999", QD_RANGE_PART, 0, 1000);
}

static void what_is_no_single_byte_range_gives_the_whole(void **state)
{
    (void)state;
    static const char *const others[] = { "",           "bytes",      "bytes=",        "bytes=-",   "bytes=a-b",
                                          "bytes=1",    "bytes=2-1",  "bytes=1-2,4-5", "items=0-1", "bytes=--1",
                                          "bytes=1--2", "bytes=1-2x", "bytes=+1-2",    "bytes 0-1" };
    for (size_t i = 0; i < QD_LENGTH(others); i++)
        expect(others[i], QD_RANGE_WHOLE, 0, SIZE);
    assert_int_equal(qd_range_parse(NULL, SIZE).kind, QD_RANGE_WHOLE);
}

static void what_lies_outside_cannot_be_satisfied(void **state)
{
    (void)state;
    expect("bytes=1000-", QD_RANGE_UNSATISFIABLE, 0, 0);
    expect("bytes=1000-1001", QD_RANGE_UNSATISFIABLE, 0, 0);
    expect("bytes=-0", QD_RANGE_UNSATISFIABLE, 0, 0);
    expect("bytes=99999999999999999999999-", QD_RANGE_UNSATISFIABLE, 0, 0);
    assert_int_equal(qd_range_parse("bytes=0-", 0).kind, QD_RANGE_UNSATISFIABLE);
    assert_int_equal(qd_range_parse("bytes=-1", 0).kind, QD_RANGE_UNSATISFIABLE);
}

/* All spellings of all parts of a small file, against the definition. */
static void every_part_of_a_small_file_is_what_it_says(void **state)
{
    (void)state;
    for (unsigned size = 1; size < 7; size++)
        for (unsigned first = 0; first < 8; first++)
            for (unsigned last = first; last < 9; last++) {
                char header[40];
                snprintf(header, sizeof header, "bytes=%u-%u", first, last);
                qd_range range = qd_range_parse(header, size);
                if (first >= size) {
                    assert_int_equal(range.kind, QD_RANGE_UNSATISFIABLE);
                    continue;
                }
                unsigned end = last < size ? last : size - 1;
                assert_int_equal(range.kind, QD_RANGE_PART);
                assert_int_equal(range.first, first);
                assert_int_equal(range.length, end - first + 1);
            }
}

static void if_range_holds_for_our_strong_tag_alone(void **state)
{
    (void)state;
    assert_true(qd_if_range_ok(NULL, NULL));
    assert_true(qd_if_range_ok(NULL, "\"a\""));
    assert_true(qd_if_range_ok("\"a\"", "\"a\""));
    assert_false(qd_if_range_ok("\"b\"", "\"a\""));
    assert_false(qd_if_range_ok("W/\"a\"", "\"a\""));
    assert_false(qd_if_range_ok("W/\"a\"", "W/\"a\""));
    assert_false(qd_if_range_ok("a", "\"a\""));
    assert_false(qd_if_range_ok("Tue, 24 Nov 2026 15:04:05 GMT", "\"a\""));
    assert_false(qd_if_range_ok("\"a\"", NULL));
}

static void if_none_match_finds_our_tag_in_a_list(void **state)
{
    (void)state;
    assert_true(qd_if_none_match("\"a\"", "\"a\""));
    assert_true(qd_if_none_match("W/\"a\"", "\"a\""));
    assert_true(qd_if_none_match("\"b\", \"a\"", "\"a\""));
    assert_true(qd_if_none_match("\"b\",W/\"a\" , \"c\"", "\"a\""));
    assert_true(qd_if_none_match("*", "\"a\""));
    assert_true(qd_if_none_match("\"x,y\"", "\"x,y\""));
    assert_false(qd_if_none_match("\"b\"", "\"a\""));
    assert_false(qd_if_none_match("a", "\"a\""));
    assert_false(qd_if_none_match("\"a", "\"a\""));
    assert_false(qd_if_none_match("\"aa\"", "\"a\""));
    assert_false(qd_if_none_match("\"b\" \"a\"", "\"a\"")); /* no list */
    assert_false(qd_if_none_match("", "\"a\""));
    assert_false(qd_if_none_match(NULL, "\"a\""));
    assert_false(qd_if_none_match("*", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_range_gives_its_part),
        cmocka_unit_test(what_is_no_single_byte_range_gives_the_whole),
        cmocka_unit_test(what_lies_outside_cannot_be_satisfied),
        cmocka_unit_test(every_part_of_a_small_file_is_what_it_says),
        cmocka_unit_test(if_range_holds_for_our_strong_tag_alone),
        cmocka_unit_test(if_none_match_finds_our_tag_in_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
