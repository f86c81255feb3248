/* test_limits.c: what runs may take: memory side by side, disk, time. */
#include "bench.h"

#include "jobs/machine_memory.h"
#include "jobs/memory_gate.h"

/* ---- the rule by itself ---- */

static void runs_are_let_in_as_far_as_memory_goes_and_small_ones_pass(void **state)
{
    (void)state;
    qd_memory_gate gate = { .limit = 100 };
    qd_gate_ticket first = { .bytes = 60, .since = 0 }, large = { .bytes = 50, .since = 1 },
                   small = { .bytes = 40, .since = 2 };
    qd_gate_come(&gate, &first);
    assert_true(qd_gate_try(&gate, &first, 0));
    qd_gate_come(&gate, &large);
    assert_false(qd_gate_try(&gate, &large, 1));
    qd_gate_come(&gate, &small);
    assert_true(qd_gate_try(&gate, &small, 2)); /* fits beside the first */
    assert_int_equal(gate.inside_bytes, 100);
    qd_gate_leave(&gate, &first);
    assert_true(qd_gate_try(&gate, &large, 3));
    assert_int_equal(gate.inside_bytes, 90);
    qd_gate_leave(&gate, &large);
    qd_gate_leave(&gate, &small);
    assert_int_equal(gate.inside_bytes, 0);
    assert_null(gate.line);
}

static void nobody_passes_one_who_has_waited_long(void **state)
{
    (void)state;
    qd_memory_gate gate = { .limit = 100 };
    qd_gate_ticket first = { .bytes = 60 }, large = { .bytes = 90, .since = 1 }, small = { .bytes = 10, .since = 100 };
    qd_gate_come(&gate, &first);
    assert_true(qd_gate_try(&gate, &first, 0));
    qd_gate_come(&gate, &large);
    qd_gate_come(&gate, &small);
    assert_false(qd_gate_try(&gate, &small, 1 + QD_GATE_PATIENCE + 1));
    assert_false(qd_gate_try(&gate, &large, 1 + QD_GATE_PATIENCE + 1));
    qd_gate_leave(&gate, &first);
    assert_false(qd_gate_try(&gate, &small, 1 + QD_GATE_PATIENCE + 2)); /* its turn comes after */
    assert_true(qd_gate_try(&gate, &large, 1 + QD_GATE_PATIENCE + 2));
    assert_true(qd_gate_try(&gate, &small, 1 + QD_GATE_PATIENCE + 2));
}

static void one_who_leaves_the_line_holds_nobody_up(void **state)
{
    (void)state;
    qd_memory_gate gate = { .limit = 100, .inside_bytes = 50 };
    qd_gate_ticket large = { .bytes = 90 }, small = { .bytes = 10 }, never = { .bytes = 5 };
    qd_gate_come(&gate, &large);
    qd_gate_come(&gate, &small);
    assert_false(qd_gate_try(&gate, &small, QD_GATE_PATIENCE + 1));
    qd_gate_leave(&gate, &large);
    assert_true(qd_gate_try(&gate, &small, QD_GATE_PATIENCE + 1));
    qd_gate_leave(&gate, &never);
    assert_int_equal(gate.inside_bytes, 60);
}

static void the_memory_of_the_machine_is_found(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_str text = { 0 };
    unsigned long long kibibytes = 0;
    check_ok(qd_file_read("/proc/meminfo", 1 << 16, &text, &err));
    assert_int_equal(sscanf(strstr(qd_str_borrow(&text), "MemTotal:"), "MemTotal: %llu", &kibibytes), 1);
    qd_str_fini(&text);
    assert_true(qd_machine_memory() > 1 << 20 && qd_machine_memory() <= 1024 * kibibytes);
}

/* ---- a service ---- */

static bench the_bench;

static int open_bench(void **state)
{
    bench_init(&the_bench);
    *state = &the_bench;
    return 0;
}

static int close_bench(void **state)
{
    bench_fini(*state);
    return 0;
}

static json_int_t forecast_of(bench *b, const char *id, const char *key)
{
    qd_job job;
    bench_get(b, id, &job);
    json_int_t value = json_integer_value(json_object_get(job.forecast, key));
    qd_job_fini(&job);
    return value;
}

/* What such a job is forecast to need. */
static uint64_t learn_memory(bench *b)
{
    char id[27];
    bench_start(b);
    bench_submit(b, "good", id);
    bench_ends(b, id, "succeeded", NULL);
    json_int_t least = forecast_of(b, id, "least_memory");
    assert_true(least > 1 << 20);
    assert_true(forecast_of(b, id, "peak_memory") >= least);
    bench_stop(b);
    return (uint64_t)least;
}

/* Until the job's progress says that it waits; 30 s at most on an idle machine. */
static void wait_until_waiting(bench *b, const char *id)
{
    double started = qd_clock_seconds();
    for (bool waits = false; !waits;) {
        qd_job job;
        bench_get(b, id, &job);
        const char *text = json_string_value(json_object_get(job.progress, "waiting"));
        waits = text != NULL;
        if (waits) {
            check_contains(text, "memory");
            assert_string_equal(job.state, "downloading");
        }
        qd_job_fini(&job);
        assert_true(qd_clock_seconds() - started < 30 * check_patience());
        bench_sleep(10);
    }
}

static bool has_run(const bench *b, const char *id)
{
    char path[700];
    snprintf(path, sizeof path, "%s/jobs/%s/log.txt", b->state, id);
    return qd_path_exists(path);
}

static void cancel(bench *b, const char *id)
{
    qd_error err = { 0 };
    const qd_caller own = qd_caller_own();
    check_ok(qd_service_cancel(b->service, &own, id, &err));
}

static void two_jobs_do_not_overcommit_memory_and_the_one_that_waits_says_so(void **state)
{
    bench *b = *state;
    qd_job job;
    char first[27], second[27], third[27];
    b->config.memory_bytes = learn_memory(b) * 3 / 2;
    bench_start(b);
    bench_submit(b, "slow", first);
    bench_wait(b, first, "quantizing", &job);
    qd_job_fini(&job);
    bench_submit(b, "slow", second);
    wait_until_waiting(b, second);
    assert_false(has_run(b, second)); /* no child */
    cancel(b, first);
    bench_wait_layer(b, second);
    assert_true(has_run(b, second));
    bench_submit(b, "slow", third);
    wait_until_waiting(b, third);
    cancel(b, third); /* one that waits goes at once */
    bench_ends(b, third, "cancelled", NULL);
    assert_false(has_run(b, third));
    cancel(b, second);
    bench_ends(b, second, "cancelled", NULL);
}

static void a_job_that_can_never_fit_fails_instead_of_waiting(void **state)
{
    bench *b = *state;
    char id[27];
    b->config.memory_bytes = learn_memory(b) / 2;
    bench_start(b);
    bench_submit(b, "good", id);
    bench_ends(b, id, "failed", "could never start");
    assert_false(has_run(b, id));
}

/* Submits with limits; false = refused. */
static void submit_limited(bench *b, const char *name, const char *algorithm, json_t *limits, char id[27])
{
    qd_error err = { 0 };
    json_t *request = bench_request(b, name);
    json_object_set_new(request, "limits", limits);
    json_object_set_new(request, "algorithm", json_string(algorithm));
    check_ok(bench_try_submit(b, request, id, &err));
    json_decref(request);
}

static void a_limit_below_the_forecast_is_refused_with_the_smallest_that_will_do(void **state)
{
    bench *b = *state;
    char id[27], text[40];
    qd_job job;
    uint64_t least = learn_memory(b);
    bench_start(b);
    submit_limited(b, "good", "optq", json_pack("{s:I}", "memory", (json_int_t)least - 1), id);
    snprintf(text, sizeof text, "%llu", (unsigned long long)least);
    bench_ends(b, id, "failed", text);
    bench_get(b, id, &job);
    assert_string_equal(json_string_value(json_object_get(job.problem, "code")), "too-big");
    qd_job_fini(&job);
    submit_limited(b, "good", "optq", json_pack("{s:I}", "memory", (json_int_t)least), id);
    bench_ends(b, id, "succeeded", NULL);
}

static void a_limit_of_memory_above_the_forecast_is_what_the_job_is_let_in_with(void **state)
{
    bench *b = *state;
    qd_job job;
    char first[27], second[27];
    uint64_t least = learn_memory(b);
    b->config.memory_bytes = 3 * least;
    bench_start(b);
    submit_limited(b, "slow", "optq", json_pack("{s:I}", "memory", (json_int_t)(5 * least / 2)), first);
    bench_wait(b, first, "quantizing", &job);
    qd_job_fini(&job);
    bench_submit(b, "slow", second);
    wait_until_waiting(b, second);
    cancel(b, first);
    cancel(b, second);
}

static void a_run_beyond_its_time_ends_with_what_was_reached_and_goes_on_when_it_gets_more(void **state)
{
    bench *b = *state;
    qd_job job;
    char id[27];
    qd_error err = { 0 };
    qd_issues issues = { 0 };
    const qd_caller own = qd_caller_own();
    /* Long enough for a shell to begin to quantize. */
    int seconds = (int)fmin(check_patience(), 5);
    char text[80];
    snprintf(text, sizeof text, "limits.runtime: %d seconds are over while quantizing, after", seconds);
    bench_start(b);
    submit_limited(b, "slow", "optq", json_pack("{s:i}", "runtime", seconds), id);
    bench_ends(b, id, "failed", text);
    bench_get(b, id, &job);
    assert_string_equal(json_string_value(json_object_get(job.problem, "code")), "timeout");
    check_contains(json_string_value(json_object_get(job.problem, "detail")), "of 1000 layers");
    qd_job_fini(&job);
    json_t *changes = json_pack("{s:{s:i}}", "limits", "runtime", 600);
    check_ok(qd_service_retry(b->service, &own, id, changes, &issues, &err));
    json_decref(changes);
    bench_ends(b, id, "succeeded", NULL); /* the stand-in finds its checkpoint and finishes */
}

static void the_services_runtime_holds_for_jobs_without_one(void **state)
{
    bench *b = *state;
    char id[27];
    b->config.job_runtime_seconds = 1;
    bench_start(b);
    bench_submit(b, "slow", id);
    bench_ends(b, id, "failed", "limits.runtime: 1 seconds");
}

static void a_run_that_takes_more_disk_than_it_may_is_ended(void **state)
{
    bench *b = *state;
    qd_job job;
    char id[27];
    b->config.calibration_text = NULL; /* no streams: a small forecast */
    bench_start(b);
    submit_limited(b, "hog", "rtn", json_pack("{s:i}", "disk", 1 << 20), id);
    bench_ends(b, id, "failed", "limits.disk: 1048576 bytes, and");
    assert_false(has_run(b, id));
    submit_limited(b, "hog", "rtn", json_pack("{s:i}", "disk", 6 << 20), id);
    bench_ends(b, id, "failed", "limits.disk: checkpoints and artifact in the making take");
    assert_true(has_run(b, id));
    bench_get(b, id, &job);
    assert_string_equal(json_string_value(json_object_get(job.problem, "code")), "too-big");
    qd_job_fini(&job);
}

static void a_layer_that_takes_thrice_its_time_is_warned_of_once(void **state)
{
    bench *b = *state;
    qd_job job;
    char id[27];
    bench_start(b);
    bench_submit(b, "crawls", id);
    bench_wait_layer(b, id);
    double started = qd_clock_seconds();
    while (bench_count(b, id, "warning") == 0) {
        assert_true(qd_clock_seconds() - started < 60 * check_patience());
        bench_sleep(50);
    }
    bench_get(b, id, &job);
    assert_string_equal(json_string_value(json_object_get(job.progress, "layer")), "layer.1");
    check_close(json_number_value(json_object_get(job.progress, "eta_high")), 4.5, 0);
    assert_true(json_is_string(json_object_get(job.progress, "last_activity")));
    qd_job_fini(&job);
    bench_ends(b, id, "succeeded", NULL);
    assert_int_equal(bench_count(b, id, "warning"), 1);
}

int main(void)
{
#define CLAIM(test) cmocka_unit_test_setup_teardown(test, open_bench, close_bench)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_are_let_in_as_far_as_memory_goes_and_small_ones_pass),
        cmocka_unit_test(nobody_passes_one_who_has_waited_long),
        cmocka_unit_test(one_who_leaves_the_line_holds_nobody_up),
        cmocka_unit_test(the_memory_of_the_machine_is_found),
        CLAIM(two_jobs_do_not_overcommit_memory_and_the_one_that_waits_says_so),
        CLAIM(a_job_that_can_never_fit_fails_instead_of_waiting),
        CLAIM(a_limit_below_the_forecast_is_refused_with_the_smallest_that_will_do),
        CLAIM(a_limit_of_memory_above_the_forecast_is_what_the_job_is_let_in_with),
        CLAIM(a_run_beyond_its_time_ends_with_what_was_reached_and_goes_on_when_it_gets_more),
        CLAIM(the_services_runtime_holds_for_jobs_without_one),
        CLAIM(a_run_that_takes_more_disk_than_it_may_is_ended),
        CLAIM(a_layer_that_takes_thrice_its_time_is_warned_of_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
