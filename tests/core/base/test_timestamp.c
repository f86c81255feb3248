/* test_timestamp.c: times as clients write them, against the C library's own calendar. */
#include "check.h"

#include <time.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/timestamp.h"

static void what_is_printed_is_read_back(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 20000; i++) {
        int64_t want = (int64_t)qd_rng_below(1, i, 7258118400000), got = -1; /* up to 2200 */
        char text[QD_TIME_TEXT];
        qd_clock_format(want, text);
        assert_true(qd_timestamp_parse(text, &got));
        assert_int_equal(got, want);
    }
}

static void every_day_of_four_centuries_is_the_librarys(void **state)
{
    (void)state;
    for (int64_t day = 0; day < 146097; day++) {
        time_t seconds = (time_t)(day * 86400);
        struct tm utc;
        char text[16];
        int64_t got = -1;
        gmtime_r(&seconds, &utc);
        strftime(text, sizeof text, "%Y-%m-%d", &utc);
        assert_true(qd_timestamp_parse(text, &got));
        assert_int_equal(got, day * 86400000);
    }
}

static void offsets_and_fractions_count(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t want;
    } cases[] = { { "1970-01-01T00:00:00Z", 0 },
                  { "1970-01-01t01:00:00+01:00", 0 },
                  { "1969-12-31T23:30:00-00:30", -1 },
                  { "1970-01-01 00:00:00.5z", 500 },
                  { "1970-01-01T00:00:00.123456789Z", 123 },
                  { "1970-01-01T00:00:01-00:30", 1801000 },
                  { "2024-02-29", 1709164800000 } };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        int64_t got = -1;
        assert_int_equal(qd_timestamp_parse(cases[i].text, &got), cases[i].want >= 0);
        assert_int_equal(got, cases[i].want);
    }
}

static void what_is_no_time_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = { "",
                                         "now",
                                         "2026",
                                         "2026-1-01",
                                         "2026-02-29",
                                         "2026-13-01",
                                         "2026-00-10",
                                         "2026-01-32",
                                         "1969-12-31",
                                         "2026-01-01T",
                                         "2026-01-01T00:00Z",
                                         "2026-01-01T00:00:00",
                                         "2026-01-01T24:00:00Z",
                                         "2026-01-01T00:60:00Z",
                                         "2026-01-01T00:00:61Z",
                                         "2026-01-01T00:00:00.Z",
                                         "2026-01-01T00:00:00Zx",
                                         "2026-01-01T00:00:00+1:00",
                                         "2026-01-01T00:00:00+01:00x",
                                         "2026-01-01T00:00:00+24:00",
                                         "2026-01-01X00:00:00Z",
                                         "-026-01-01",
                                         "20260-01-01",
                                         "1970-01-01T00:00:00+00:01" };
    for (size_t i = 0; i < QD_LENGTH(wrong); i++) {
        int64_t got = 7;
        if (qd_timestamp_parse(wrong[i], &got) || got != 7)
            fail_msg("'%s' was taken", wrong[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_printed_is_read_back),
        cmocka_unit_test(every_day_of_four_centuries_is_the_librarys),
        cmocka_unit_test(offsets_and_fractions_count),
        cmocka_unit_test(what_is_no_time_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
