/* test_confinement.c: hostile_child in the place of `quantd run`: what it tries is refused where runs are confined, and works
 * where they are not; what takes too much ends its job, and nothing else. */
#include <sys/stat.h>

#include "../confine/delegated.h"
#include "bench.h"

#include "confine/cage.h"

enum { MEMORY = 256 << 20 };

static int set_up(void **state)
{
    static bench b;
    char program[4000], *end;
    bench_init(&b);
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    assert_true(length > 0);
    program[length] = '\0';
    end = strrchr(program, '/');
    assert_non_null(end);
    *end = '\0';
    snprintf(b.program, sizeof b.program, "%s/hostile_child", program);
    b.config.confine = QD_CONFINE_AUTO;
    *state = &b;
    return 0;
}

static int tear_down(void **state)
{
    bench_fini(*state);
    return 0;
}

/* What a try ended with: "ok", "EPERM"; "" when it was not made. */
static void outcome(const json_t *events, const char *name, char *out, size_t size)
{
    size_t index, length = strlen(name);
    const json_t *event;
    out[0] = '\0';
    json_array_foreach(events, index, event)
    {
        const char *text = json_string_value(json_object_get(json_object_get(event, "data"), "detail"));
        if (text != NULL && strncmp(text, name, length) == 0 && text[length] == '=')
            snprintf(out, size, "%s", text + length + 1);
    }
}

static bool is_refusal(const char *outcome)
{
    return strcmp(outcome, "EPERM") == 0 || strcmp(outcome, "EACCES") == 0;
}

typedef enum means_part { BY_LANDLOCK, BY_FILTER, BY_EITHER } means_part;

/* What is refused inside and is not outside; in a sanitized build tracing is left to Landlock. */
static const struct {
    const char *name;
    means_part by;
} refused[] = {
    { "read-passwords", BY_LANDLOCK },
    { "read-database", BY_LANDLOCK },
    { "read-other-job", BY_LANDLOCK },
    { "list-jobs", BY_LANDLOCK },
    { "read-secret", BY_LANDLOCK },
    { "read-log", BY_LANDLOCK },
    { "rewrite-job", BY_LANDLOCK },
    { "write-in-state", BY_LANDLOCK },
    { "write-in-tmp", BY_LANDLOCK },
    { "move-out", BY_LANDLOCK },
    { "read-parent-memory", BY_LANDLOCK },
    { "change-mode", BY_FILTER },
    { "cut-file", BY_FILTER },
    { "watch-files", BY_FILTER },
    { "tcp", BY_FILTER },
    { "unix-socket", BY_FILTER },
    { "socket-pair", BY_FILTER },
    { "io-uring", BY_FILTER },
    { "signal-parent", BY_FILTER },
    { "limit-parent", BY_FILTER },
    { "fork", BY_FILTER },
    { "run-shell", BY_EITHER },
    { "keyring", BY_FILTER },
    { "memfd", BY_FILTER },
    { "trace-parent", BY_EITHER },
};

/* What must be possible either way. */
static const char *const needed[] = { "own-files", "own-model", "own-status", "thread", "locale", "niceness" };

static bool can(const qd_confine_means *means, means_part by)
{
    bool files = means->landlock_abi > 0, calls = means->filters;
    return by == BY_LANDLOCK ? files : by == BY_FILTER ? calls : files && calls;
}

static void make_victims(const bench *b)
{
    char path[700];
    qd_error err = { 0 };
    snprintf(path, sizeof path, "%s/jobs/neighbour", b->state);
    check_ok(qd_dir_make(path, &err));
    snprintf(path, sizeof path, "%s/jobs/neighbour/job.json", b->state);
    check_ok(qd_file_write(path, "{}", 2, &err));
    snprintf(path, sizeof path, "%s/secret", b->dir);
    check_ok(qd_file_write(path, "secret", 6, &err));
    assert_int_equal(chmod(path, 0600), 0);
}

/* The events of a job that tried everything. */
static json_t *tried(bench *b)
{
    static const char *const variables[] = { "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "QUANTD_SIGNING_KEY", "SLURM_JOB_ID",
                                             "LC_ALL" };
    char id[27];
    for (size_t i = 0; i < QD_LENGTH(variables); i++)
        setenv(variables[i], "C", 1);
    bench_start(b);
    make_victims(b);
    bench_submit(b, "tries-all", id);
    bench_ends(b, id, "succeeded", NULL);
    return bench_events(b, id);
}

static void check_outcome(const json_t *events, const char *name, const char *want)
{
    char found[40];
    outcome(events, name, found, sizeof found);
    if (strcmp(found, want) != 0)
        fail_msg("%s: got '%s', want '%s'", name, found, want);
}

static void a_confined_run_reaches_nothing_but_its_own(void **state)
{
    bench *b = *state;
    const qd_confine_means means = qd_confine_probe();
    json_t *events = tried(b);
    for (size_t i = 0; i < QD_LENGTH(refused); i++) {
        char found[40];
        outcome(events, refused[i].name, found, sizeof found);
        if (can(&means, refused[i].by) && !is_refusal(found))
            fail_msg("%s: '%s'", refused[i].name, found);
    }
    for (size_t i = 0; i < QD_LENGTH(needed); i++)
        check_outcome(events, needed[i], "ok");
    check_outcome(events, "descriptors", "ENOENT");
    check_outcome(events, "secrets", "ENOENT");
    check_outcome(events, "bolt", "ok");
    if (means.filters) {
        check_outcome(events, "become-shell", "EPERM");
        check_outcome(events, "future-call", "ENOSYS");
        check_outcome(events, "thread-behind-bolt", "ok");
        check_outcome(events, "mount", "EPERM");
        check_outcome(events, "bpf", "EPERM");
        check_outcome(events, "new-namespace", "EPERM");
    }
    json_decref(events);
}

static void what_is_refused_works_where_runs_are_not_confined(void **state)
{
    bench *b = *state;
    b->config.confine = QD_CONFINE_OFF;
    json_t *events = tried(b);
    for (size_t i = 0; i < QD_LENGTH(refused); i++) {
        char found[40];
        outcome(events, refused[i].name, found, sizeof found);
        bool root_only = strcmp(refused[i].name, "trace-parent") == 0;
        if ((is_refusal(found) || found[0] == '\0') && !(root_only && geteuid() != 0))
            fail_msg("%s: '%s'", refused[i].name, found);
    }
    for (size_t i = 0; i < QD_LENGTH(needed); i++)
        check_outcome(events, needed[i], "ok");
    check_outcome(events, "descriptors", "ENOENT");
    check_outcome(events, "secrets", "ENOENT"); /* whatever `confine` says */
    json_decref(events);
}

static void the_job_and_its_log_say_what_held_it(void **state)
{
    bench *b = *state;
    char id[27], means_text[QD_MEANS_TEXT], *path = NULL;
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str log = { 0 };
    const qd_confine_means means = qd_confine_probe();
    qd_service_confinement told;
    bench_start(b);
    bench_submit(b, "chatters", id);
    bench_ends(b, id, "succeeded", NULL);
    qd_confine_describe(&means, means_text);
    qd_service_confinement_read(b->service, &told);
    check_contains(told.applied, means_text);
    assert_string_equal(told.mode, "auto");
    assert_int_equal(told.landlock_abi, means.landlock_abi);
    json_t *events = bench_events(b, id), *event;
    size_t index, found = 0;
    json_array_foreach(events, index, event)
    {
        if (strcmp(json_string_value(json_object_get(event, "type")), "run") != 0)
            continue;
        found++;
        assert_string_equal(json_string_value(json_object_get(json_object_get(event, "data"), "confined")),
                            told.applied);
    }
    assert_int_equal(found, 1);
    json_decref(events);
    check_ok(qd_service_log_path(b->service, id, &path, &err));
    check_ok(qd_file_read(path, 1 << 20, &log, &err));
    check_contains(qd_str_borrow(&log), told.applied);
    free(path);
}

static void require_is_refused_where_a_part_is_missing(void **state)
{
    bench *b = *state;
    qd_error err = { 0 };
    qd_service *service = NULL;
    char missing[QD_MEANS_TEXT];
    const qd_confine_means means = qd_confine_probe();
    qd_confine_missing(&means, missing);
    b->config.confine = QD_CONFINE_REQUIRE;
    b->config.cgroup = b->dir; /* no cgroup: that is missing on any kernel */
    check_fails(qd_service_create(&b->config, &service, &err), QD_EUNSUPPORTED);
    check_contains(err.text, "cgroup");
    check_contains(err.text, missing);
    b->config.cgroup = NULL;
    if (missing[0] != '\0')
        check_fails(qd_service_create(&b->config, &service, &err), QD_EUNSUPPORTED);
    else
        bench_start(b);
}

/* ---- what takes too much ---- */

static void submit_with(bench *b, const char *name, const char *limit, json_int_t bytes, char id[27])
{
    qd_error err = { 0 };
    json_t *request = bench_request(b, name);
    json_object_set_new(request, "limits", json_pack("{s:I}", limit, bytes));
    check_ok(bench_try_submit(b, request, id, &err));
    json_decref(request);
}

static void check_problem(bench *b, const char *id, const char *code, const char *part)
{
    qd_job job;
    bench_wait(b, id, "failed", &job);
    assert_string_equal(json_string_value(json_object_get(job.problem, "code")), code);
    check_contains(json_string_value(json_object_get(job.problem, "detail")), part);
    qd_job_fini(&job);
    bench_submit(b, "chatters", (char[27]){ 0 }); /* the service goes on */
}

static void a_run_beyond_its_memory_fails_with_limit_and_peak_and_the_next_one_runs(void **state)
{
    bench *b = *state;
    char id[27];
    bench_start(b);
    submit_with(b, "eats-memory", "memory", MEMORY, id);
    check_problem(b, id, "out-of-memory", "its memory limit is 268435456 bytes, its peak was ");
    bench_submit(b, "chatters", id);
    bench_ends(b, id, "succeeded", NULL);
}

static void memory_that_is_grabbed_at_once_is_refused(void **state)
{
    bench *b = *state;
    char id[27];
    bench_start(b);
    submit_with(b, "grabs-memory", "memory", MEMORY, id);
    check_problem(b, id, "out-of-memory",
                  "10737418240 bytes of memory; its memory limit is 268435456 bytes, its peak was ");
    bench_submit(b, "grabs-memory", id); /* without a limit it is no matter */
    bench_ends(b, id, "succeeded", NULL);
}

static void a_cgroup_ends_a_run_beyond_its_memory(void **state)
{
    bench *b = *state;
    char id[27], dir[200];
    qd_service_confinement told;
    assert_true(delegated_folder(dir, sizeof dir));
    b->config.cgroup = dir;
    bench_start(b);
    qd_service_confinement_read(b->service, &told);
    assert_true(told.cgroup);
    check_contains(told.applied, "cgroup");
    submit_with(b, "eats-memory", "memory", MEMORY, id);
    check_problem(b, id, "out-of-memory",
                  "went beyond its memory limit and was ended by the kernel; its memory limit is 268435456 ");
    bench_submit(b, "chatters", id);
    bench_ends(b, id, "succeeded", NULL);
    bench_stop(b);
    assert_int_equal(rmdir(dir), 0); /* no run's group is left in it */
}

static void a_file_beyond_its_limit_ends_the_run(void **state)
{
    bench *b = *state;
    char id[27];
    bench_start(b);
    submit_with(b, "fills-disk", "disk", 400 << 20, id); /* less is refused: the job is forecast to take 270 MB */
    check_problem(b, id, "too-big", "a file of the run grew beyond limits.disk");
    submit_with(b, "fills-disk", "disk", 600 << 20, id);
    bench_ends(b, id, "succeeded", NULL);
}

static void a_log_without_end_ends_the_run(void **state)
{
    bench *b = *state;
    char id[27], path[700];
    uint64_t size = 0;
    qd_error err = { 0 };
    bench_start(b);
    bench_submit(b, "floods-log", id);
    check_problem(b, id, "too-big", "log grew beyond");
    snprintf(path, sizeof path, "%s/jobs/%s/log.txt", b->state, id);
    check_ok(qd_file_size(path, &size, &err));
    assert_true(size < UINT64_C(1) << 30); /* it would have been 10 GB */
}

static void a_run_that_talks_nonsense_is_heard_where_it_makes_sense(void **state)
{
    bench *b = *state;
    char id[27];
    bench_start(b);
    bench_submit(b, "chatters", id);
    bench_ends(b, id, "succeeded", NULL);
}

/* Stopped by a signal, or busy and saying nothing: both are silent, both are tried again. */
static void a_run_that_stops_reporting_is_ended_and_tried_again(void **state)
{
    bench *b = *state;
    static const char *const names[] = { "stops-itself", "spins" };
    b->config.heartbeat_seconds = 1.5;
    bench_start(b);
    for (size_t i = 0; i < QD_LENGTH(names); i++) {
        char id[27];
        qd_job job;
        bench_submit(b, names[i], id);
        bench_wait(b, id, "succeeded", &job);
        assert_int_equal(job.attempt, 2);
        qd_job_fini(&job);
        json_t *events = bench_events(b, id);
        char *text = qd_json_print(events);
        check_contains(text, "silent for 2 seconds and was ended by signal 6 (ABRT)");
        free(text);
        json_decref(events);
    }
}

static void a_run_that_gets_on_a_little_before_each_death_is_ended_some_day(void **state)
{
    bench *b = *state;
    char id[27];
    qd_job job;
    bench_start(b);
    bench_submit(b, "dies-with-progress", id);
    bench_wait(b, id, "failed", &job);
    assert_int_equal(job.attempt, 20);
    assert_string_equal(json_string_value(json_object_get(job.problem, "code")), "crash");
    check_contains(json_string_value(json_object_get(job.problem, "detail")), "20 times in all");
    qd_job_fini(&job);
}

static void a_kill_from_outside_is_told_apart_from_a_crash(void **state)
{
    bench *b = *state;
    char id[27];
    bench_start(b);
    bench_submit(b, "is-killed", id);
    bench_ends(b, id, "failed", "signal 9 (KILL), which the service did not send");
}

static void cannot_be_tried(void **state)
{
    (void)state;
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    char dir[200] = "";
    const qd_confine_means means = qd_confine_probe();
    const bool delegated = delegated_folder(dir, sizeof dir) && delegated_memory(dir);
    rmdir(dir);
    const struct CMUnitTest tests[] = {
        means.landlock_abi > 0 || means.filters
            ? (struct CMUnitTest)CLAIM(a_confined_run_reaches_nothing_but_its_own)
            : (struct CMUnitTest){ "a_confined_run # SKIP this kernel has neither Landlock nor filters",
                                   cannot_be_tried, NULL, NULL, NULL },
        CLAIM(what_is_refused_works_where_runs_are_not_confined),
        CLAIM(the_job_and_its_log_say_what_held_it),
        CLAIM(require_is_refused_where_a_part_is_missing),
        CLAIM(a_run_beyond_its_memory_fails_with_limit_and_peak_and_the_next_one_runs),
        QD_LIMITS_CAN_HOLD_MEMORY ? (struct CMUnitTest)CLAIM(memory_that_is_grabbed_at_once_is_refused)
                                  : (struct CMUnitTest){ "memory_that_is_grabbed_at_once # SKIP a sanitizer's shadow "
                                                         "does not fit below RLIMIT_DATA",
                                                         cannot_be_tried, NULL, NULL, NULL },
        delegated
            ? (struct CMUnitTest)CLAIM(a_cgroup_ends_a_run_beyond_its_memory)
            : (struct CMUnitTest){ "a_cgroup_ends_a_run # SKIP no cgroup v2 with a memory controller that is ours",
                                   cannot_be_tried, NULL, NULL, NULL },
        CLAIM(a_file_beyond_its_limit_ends_the_run),
        CLAIM(a_log_without_end_ends_the_run),
        CLAIM(a_run_that_talks_nonsense_is_heard_where_it_makes_sense),
        CLAIM(a_run_that_stops_reporting_is_ended_and_tried_again),
        CLAIM(a_run_that_gets_on_a_little_before_each_death_is_ended_some_day),
        CLAIM(a_kill_from_outside_is_told_apart_from_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
