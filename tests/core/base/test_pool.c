/* test_pool.c: the pool visits every index once, reports the lowest failure, and can be used again. */
#include "check.h"

#include <unistd.h>

#include "base/mem.h"
#include "base/pool.h"

enum { COUNT = 1000 };

typedef struct visits {
    int seen[COUNT];
    size_t fail_from;
} visits;

static qd_code visit(void *ctx, size_t index, size_t worker, qd_error *err)
{
    visits *v = ctx;
    (void)worker;
    v->seen[index]++;
    return index >= v->fail_from ? qd_fail(err, QD_ENUMERIC, "index %zu", index) : QD_OK;
}

static void every_index_is_visited_once(void **state)
{
    (void)state;
    qd_error err = { 0 };
    for (size_t threads = 1; threads <= 4; threads++) {
        qd_pool *pool = NULL;
        check_ok(qd_pool_create(threads, &pool, &err));
        assert_int_equal(qd_pool_threads(pool), threads);
        for (int round = 0; round < 20; round++) {
            static visits v;
            v = (visits){ .fail_from = COUNT };
            check_ok(qd_pool_for(pool, COUNT, visit, &v, &err));
            for (size_t i = 0; i < COUNT; i++)
                assert_int_equal(v.seen[i], 1);
        }
        qd_pool_destroy(pool);
    }
}

static void a_failure_is_reported_and_stops_the_rest(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_pool *pool = NULL;
    check_ok(qd_pool_create(3, &pool, &err));
    static visits v;
    v = (visits){ .fail_from = 0 };
    check_fails(qd_pool_for(pool, COUNT, visit, &v, &err), QD_ENUMERIC);
    check_contains(err.text, "index ");
    int visited = 0;
    for (size_t i = 0; i < COUNT; i++)
        visited += v.seen[i];
    assert_true(visited >= 1 && visited <= 3);
    v = (visits){ .fail_from = COUNT };
    check_ok(qd_pool_for(pool, COUNT, visit, &v, &err));
    qd_pool_destroy(pool);
}

static void no_pool_runs_in_the_caller(void **state)
{
    (void)state;
    qd_error err = { 0 };
    static visits v;
    v = (visits){ .fail_from = 5 };
    check_fails(qd_pool_for(NULL, COUNT, visit, &v, &err), QD_ENUMERIC);
    assert_string_equal(err.text, "index 5");
    assert_int_equal(v.seen[6], 0);
    check_ok(qd_pool_for(NULL, 0, visit, &v, &err));
}

static void a_quota_pays_for_so_many_processors(void **state)
{
    (void)state;
    static const struct {
        const char *cpu_max;
        size_t most, processors;
    } cases[] = {
        { "max 100000\n", 64, 64 },
        { "200000 100000\n", 64, 2 },
        { "250000 100000\n", 64, 3 },
        { "1000 100000\n", 64, 1 },
        { "800000 100000\n", 4, 4 },
        { "", 8, 8 },
        { "0 0", 8, 8 },
        { "7", 8, 8 },
        { "18446744073709551615 1", 8, 8 },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++)
        assert_int_equal(qd_processors_of_quota(cases[i].cpu_max, cases[i].most), cases[i].processors);
    assert_true(qd_pool_processors() >= 1 && qd_pool_processors() <= (size_t)sysconf(_SC_NPROCESSORS_ONLN));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quota_pays_for_so_many_processors),
        cmocka_unit_test(every_index_is_visited_once),
        cmocka_unit_test(a_failure_is_reported_and_stops_the_rest),
        cmocka_unit_test(no_pool_runs_in_the_caller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
