/* test_witnesses.c: finished jobs tell how long the legs of a run take here, and forecasts go by it. */
#include "bench.h"

#include "engine/arithmetic.h"
#include "jobs/witnesses.h"

static int open_bench(void **state)
{
    static bench b;
    bench_init(&b);
    *state = &b;
    return 0;
}

static int close_bench(void **state)
{
    bench_fini(*state);
    return 0;
}

static double number(const json_t *object, const char *outer, const char *key)
{
    const json_t *value = json_object_get(outer == NULL ? object : json_object_get(object, outer), key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

/* Its forecast's factor. */
static double factor_of(bench *b, const char *name)
{
    char id[27];
    qd_job job;
    qd_error err = { 0 };
    QD_AUTO(qd_json_fini) json_t *request = bench_request(b, name);
    json_object_set_new(request, "arithmetic", json_string("float32")); /* as the stand-in's word is */
    check_ok(bench_try_submit(b, request, id, &err));
    bench_ends(b, id, "succeeded", NULL);
    bench_get(b, id, &job);
    double factor = number(job.forecast, NULL, "factor");
    assert_true(number(job.result, "forecast", "seconds") == number(job.forecast, "seconds", "total"));
    assert_true(number(job.result, "forecast", "low") < number(job.result, "forecast", "high"));
    assert_true(number(job.result, "forecast", "peak_memory") == number(job.forecast, NULL, "peak_memory"));
    assert_true(number(job.result, "outcome", "peak_memory") == 1000000);
    check_close(number(job.result, "outcome", "seconds"), 1, 1e-12); /* of the run, without the download */
    qd_job_fini(&job);
    return factor;
}

static void what_legs_took_prices_the_next_forecast_and_outlasts_the_service(void **state)
{
    bench *b = *state;
    bench_start(b);
    check_close(factor_of(b, "sevenfold"), 1, 1e-12); /* nobody has told yet */
    check_close(factor_of(b, "twofold"), 7, 1e-9);
    check_close(factor_of(b, "twofold"), 7,
                1e-9); /* two who have worked for seconds do not outvote one who has for minutes */
    bench_stop(b);
    bench_start(b);
    check_close(factor_of(b, "good"), 7, 1e-9);
}

static void a_run_that_went_on_from_checkpoints_has_no_seconds_to_compare(void **state)
{
    bench *b = *state;
    char id[27];
    qd_job job;
    bench_start(b);
    bench_submit(b, "resumed", id);
    bench_ends(b, id, "succeeded", NULL);
    bench_get(b, id, &job);
    assert_true(json_is_null(json_object_get(json_object_get(job.result, "outcome"), "seconds")));
    assert_true(number(job.result, "outcome", "peak_memory") == 1000000);
    qd_job_fini(&job);
    check_close(factor_of(b, "good"), 1, 1e-12);
}

static void what_is_no_pace_is_not_heard(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "null",
        "[]",
        "7",
        "{\"arithmetic\": 3}",
        "{\"arithmetic\": \"float7\", \"legs\": {\"walk\": {\"expected\": 1, \"seconds\": 1}}}",
        "{\"legs\": {\"walk\": {\"expected\": 1, \"seconds\": 1}}}",
        "{\"arithmetic\": \"float32\", \"legs\": {\"walk\": {\"expected\": 0, \"seconds\": 1}}}",
        "{\"arithmetic\": \"float32\", \"legs\": {\"walk\": {\"expected\": 1, \"seconds\": -1}}}",
        "{\"arithmetic\": \"float32\", \"legs\": {\"walk\": {\"expected\": \"1\"}}}",
    };
    for (size_t i = 0; i < QD_LENGTH(texts); i++) {
        qd_machine machine = { .flops = 1, .factor = 1 };
        qd_witness_read(texts[i], &machine);
        for (size_t leg = 0; leg < QD_LEGS; leg++)
            for (size_t a = 0; a < QD_ARITHMETICS; a++)
                assert_true(machine.leg[a][leg] == 0);
        assert_true(machine.factor == 1);
    }
}

static void each_arithmetic_has_witnesses_of_its_own(void **state)
{
    (void)state;
    for (size_t told = 0; told < QD_ARITHMETICS; told++) {
        qd_machine machine = { .flops = 1, .factor = 1 };
        char text[120];
        snprintf(text, sizeof text, "{\"arithmetic\": \"%s\", \"legs\": {\"walk\": {\"expected\": 2, \"seconds\": 5}}}",
                 qd_arithmetic_name((qd_arithmetic)told));
        qd_witness_read(text, &machine);
        for (size_t a = 0; a < QD_ARITHMETICS; a++)
            check_close(machine.leg[a][QD_LEG_WALK], a == told ? 2.5 : 0, 1e-12);
        assert_true(machine.leg[told][QD_LEG_MOMENTS] == 0);
    }
}

int main(void)
{
#define CLAIM(test) cmocka_unit_test_setup_teardown(test, open_bench, close_bench)
    const struct CMUnitTest tests[] = {
        CLAIM(what_legs_took_prices_the_next_forecast_and_outlasts_the_service),
        CLAIM(a_run_that_went_on_from_checkpoints_has_no_seconds_to_compare),
        cmocka_unit_test(what_is_no_pace_is_not_heard),
        cmocka_unit_test(each_arithmetic_has_witnesses_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
