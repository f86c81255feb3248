/* test_faults.c: runs that die, hang, lie; a service that is killed or stopped; a disk that fills. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

extern char **environ;

static int set_up(void **state)
{
    static bench b;
    bench_init(&b);
    *state = &b;
    return 0;
}

static int tear_down(void **state)
{
    bench *b = *state;
    bench_stop(b);
    umount2(b->dir, MNT_DETACH); /* where a claim had mounted something, and only there */
    bench_fini(b);
    return 0;
}

static void a_run_that_always_dies_is_tried_three_times_and_named_with_its_signal(void **state)
{
    bench *b = *state;
    char id[27];
    qd_job job;
    bench_start(b);
    bench_submit(b, "always-dies", id);
    bench_wait(b, id, "failed", &job);
    const char *detail = json_string_value(json_object_get(job.problem, "detail"));
    check_contains(detail, "signal 9");
    check_contains(detail, "KILL");
    check_contains(detail, "3 times");
    assert_int_equal(job.attempt, 3);
    assert_int_equal(job.resumed, 2);
    qd_job_fini(&job);
    bench_submit(b, "exits", id);
    bench_ends(b, id, "failed", "exit status 7");
}

static void a_run_that_dies_after_each_new_layer_comes_to_its_end(void **state)
{
    bench *b = *state;
    char id[27];
    qd_job job;
    bench_start(b);
    bench_submit(b, "dies-after-each-layer", id);
    bench_wait(b, id, "succeeded", &job);
    assert_int_equal(job.attempt, 6);
    assert_int_equal(job.resumed, 5);
    qd_job_fini(&job);
    assert_int_equal(bench_count(b, id, "layer"), 5); /* a layer that was there already is no news */
}

static void a_silent_run_is_ended_and_tried_again_even_if_it_is_deaf(void **state)
{
    bench *b = *state;
    char id[27];
    qd_job job;
    /* A sound attempt must not look silent because a shell starts slowly. */
    b->config.heartbeat_seconds = 1.5 * fmin(check_patience(), 4);
    bench_start(b);
    bench_submit(b, "silent", id);
    bench_wait(b, id, "succeeded", &job);
    assert_int_equal(job.attempt, 2);
    qd_job_fini(&job);
    json_t *events = bench_events(b, id);
    char *text = qd_json_print(events);
    check_contains(text, "silent");
    free(text);
    json_decref(events);
}

static void a_run_that_lies_is_heard_only_where_it_keeps_to_the_protocol(void **state)
{
    bench *b = *state;
    char id[27];
    qd_job job;
    json_t *layers = NULL;
    qd_error err = { 0 };
    bench_start(b);
    bench_submit(b, "hostile", id);
    bench_wait(b, id, "succeeded", &job);
    check_close(json_number_value(json_object_get(job.result, "relative_error")), 0.25, 1e-12);
    assert_true(json_is_null(json_object_get(job.result, "perplexity"))); /* the early result was no result */
    qd_job_fini(&job);
    check_ok(qd_service_layers(b->service, id, &layers, &err));
    assert_int_equal(json_array_size(layers), 1);
    json_decref(layers);
    assert_int_equal(bench_count(b, id, "warning"), 0);
    bench_submit(b, "unfinished-line", id);
    bench_ends(b, id, "failed", "without a result");
}

static void an_artifact_that_does_not_verify_is_quarantined_and_not_served(void **state)
{
    bench *b = *state;
    static const struct {
        const char *name, *reason;
    } cases[] = { { "does-not-verify", "what was read back differs" },
                  { "escapes", "bare relative" },
                  { "links", "secret" },
                  { "no-artifact", "no artifact" } };
    bench_start(b);
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        char id[27], *path = NULL;
        qd_error err = { 0 };
        bench_submit(b, cases[i].name, id);
        bench_ends(b, id, "quarantined", cases[i].reason);
        check_fails(qd_service_artifact_dir(b->service, id, &path, &err), QD_ENOTFOUND);
        assert_false(bench_exists(b, "artifacts", id));
    }
}

static void a_reason_that_a_run_gives_is_the_jobs_reason(void **state)
{
    bench *b = *state;
    char id[27];
    qd_job job;
    bench_start(b);
    bench_submit(b, "fails", id);
    bench_wait(b, id, "failed", &job);
    assert_string_equal(json_string_value(json_object_get(job.problem, "code")), "format");
    assert_string_equal(json_string_value(json_object_get(job.problem, "phase")), "quantizing");
    assert_int_equal(job.attempt, 1);
    qd_job_fini(&job);
    bench_submit(b, "out-of-space", id);
    bench_ends(b, id, "failed", "No space left");
    bench_submit(b, "good", id);
    bench_ends(b, id, "succeeded", NULL);
}

static void a_program_that_is_not_there_fails_the_job_with_its_name(void **state)
{
    bench *b = *state;
    char id[27];
    snprintf(b->program, sizeof b->program, "%s/no-such-program", b->dir);
    bench_start(b);
    bench_submit(b, "good", id);
    bench_ends(b, id, "failed", NULL);
}

static void the_launcher_stands_before_the_program(void **state)
{
    bench *b = *state;
    static const char *const launcher[] = { "env", "LAUNCHED=yes", NULL };
    char id[27];
    b->config.launcher = launcher;
    bench_start(b);
    bench_submit(b, "good", id);
    bench_ends(b, id, "succeeded", NULL);
}

/* The process that the job's lock names is gone, or waits to be reaped by whoever inherited it. */
static int run_is_gone(const bench *b, const char *id)
{
    char path[700];
    long pid = 0;
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    qd_error err = { 0 };
    snprintf(path, sizeof path, "%s/jobs/%s/lock", b->state, id);
    check_ok(qd_file_read(path, 100, &text, &err));
    assert_int_equal(sscanf(qd_str_borrow(&text), "%ld", &pid), 1);
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    if (qd_file_read(path, 4096, &text, &err) != QD_OK)
        return 1;
    const char *after_name = strrchr(qd_str_borrow(&text), ')');
    return after_name != NULL && strncmp(after_name, ") Z", 3) == 0;
}

static void a_stopped_service_ends_its_runs_and_the_next_one_resumes_them(void **state)
{
    bench *b = *state;
    char id[27];
    qd_job job;
    bench_start(b);
    bench_submit(b, "slow", id);
    bench_wait_layer(b, id);
    bench_stop(b);
    assert_true(run_is_gone(b, id));
    bench_start(b);
    bench_wait(b, id, "succeeded", &job);
    assert_int_equal(job.resumed, 1);
    assert_int_equal(job.attempt, 2);
    qd_job_fini(&job);
    assert_int_equal(bench_count(b, id, "layer"), 2);
}

/* ---- a service in a process of its own: this program as --serve, which prints the id of its job ---- */

static void serve(void)
{
    bench b = { 0 };
    char id[27];
    bench_init(&b);
    qd_dir_remove(b.dir, NULL);
    snprintf(b.state, sizeof b.state, "%s", getenv("STATE_OF_TEST"));
    bench_start(&b);
    bench_submit(&b, "slow", id);
    bench_wait_layer(&b, id);
    printf("%s\n", id);
    fflush(stdout);
    for (;;)
        pause();
}

static void kill_9_of_the_service_ends_its_run_and_loses_nothing(void **state)
{
    bench *b = *state;
    char id[27] = "", self[512], flag[] = "--serve", program[] = "test_faults";
    char *const words[] = { program, flag, NULL };
    int fds[2];
    pid_t pid = 0;
    qd_job job;
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length] = '\0';
    setenv("STATE_OF_TEST", b->state, 1);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    assert_int_equal(posix_spawn(&pid, self, &actions, NULL, words, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    FILE *lines = fdopen(fds[0], "r");
    assert_int_equal(fscanf(lines, "%26s", id), 1);
    fclose(lines);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    double killed = qd_clock_seconds();
    while (!run_is_gone(b, id) && qd_clock_seconds() - killed < 10 * check_patience())
        bench_sleep(5);
    assert_true(qd_clock_seconds() - killed < 1 * check_patience()); /* server.md §5: gone within 1 s */
    bench_start(b);
    bench_wait(b, id, "succeeded", &job);
    assert_int_equal(job.resumed, 1);
    qd_job_fini(&job);
    assert_int_equal(bench_count(b, id, "layer"), 2);
}

static void folders_that_nobody_owns_are_swept_at_the_start(void **state)
{
    bench *b = *state;
    char path[700], id[27];
    qd_error err = { 0 };
    static const char stranger[] = "00000000000000000000000000";
    static const char *const folders[] = { "jobs", "artifacts" };
    bench_start(b);
    bench_submit(b, "fails", id);
    bench_ends(b, id, "failed", NULL);
    bench_stop(b);
    for (size_t i = 0; i < QD_LENGTH(folders); i++) {
        snprintf(path, sizeof path, "%s/%s/%s/work", b->state, folders[i], stranger);
        check_ok(qd_dir_make(path, &err));
    }
    snprintf(path, sizeof path, "%s/artifacts/%s", b->state, id);
    check_ok(qd_dir_make(path, &err));
    bench_start(b);
    assert_false(bench_exists(b, "jobs", stranger));
    assert_false(bench_exists(b, "artifacts", stranger));
    assert_false(bench_exists(b, "artifacts", id)); /* of a job that has not succeeded */
    assert_true(bench_exists(b, "jobs", id));
}

/* What a killed process was about to rename. */
static void temporaries_in_a_job_s_folder_are_swept_at_the_start(void **state)
{
    bench *b = *state;
    char kept[700], left[720], id[27];
    qd_error err = { 0 };
    bench_start(b);
    bench_submit(b, "fails", id);
    bench_ends(b, id, "failed", NULL);
    bench_stop(b);
    snprintf(kept, sizeof kept, "%s/jobs/%s/job.json", b->state, id);
    snprintf(left, sizeof left, "%s.tmp.1.0", kept);
    check_ok(qd_file_write(left, "{", 1, &err));
    bench_start(b);
    assert_false(qd_path_exists(left));
    assert_true(qd_path_exists(kept));
}

/* All of the disk, but for `left` bytes. */
static void fill(const char *path, off_t left)
{
    static const char block[4096];
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (write(fd, block, sizeof block) > 0)
        continue;
    assert_int_equal(ftruncate(fd, lseek(fd, 0, SEEK_END) - left), 0);
    close(fd);
}

static void check_full_disk(bench *b)
{
    char id[27], filler[400];
    qd_error err = { 0 };
    snprintf(filler, sizeof filler, "%s/filler", b->dir);
    bench_start(b);
    bench_submit(b, "good", id);
    bench_ends(b, id, "succeeded", NULL);
    fill(filler, 0);
    bench_submit(b, "big", id); /* with the ballast given back */
    bench_ends(b, id, "failed", "are free above the floor");
    assert_int_equal(unlink(filler), 0);
    fill(filler, 5000000); /* enough for what is forecast, a ballast and the log of the database */
    bench_submit(b, "big", id);
    bench_ends(b, id, "failed", "pace left");
    check_ok(qd_service_ready(b->service, &err)); /* a row can still be written */
    assert_int_equal(unlink(filler), 0);
    check_ok(qd_service_retry(b->service, &(qd_caller){ .scopes = QD_SCOPE_ADMIN }, id, NULL, NULL, &err));
    bench_ends(b, id, "succeeded", NULL);
    bench_stop(b);
}

static void a_full_disk_fails_the_job_and_space_heals_it(void **state)
{
    bench *b = *state;
    if (geteuid() != 0 || mount("tmpfs", b->dir, "tmpfs", 0, "size=16m") != 0) {
        print_message("# skipped: needs a small tmpfs, which only root may mount\n");
        skip();
    }
    check_full_disk(b);
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--serve") == 0)
        serve();
    const struct CMUnitTest tests[] = {
        CLAIM(a_run_that_always_dies_is_tried_three_times_and_named_with_its_signal),
        CLAIM(a_run_that_dies_after_each_new_layer_comes_to_its_end),
        CLAIM(a_silent_run_is_ended_and_tried_again_even_if_it_is_deaf),
        CLAIM(a_run_that_lies_is_heard_only_where_it_keeps_to_the_protocol),
        CLAIM(an_artifact_that_does_not_verify_is_quarantined_and_not_served),
        CLAIM(a_reason_that_a_run_gives_is_the_jobs_reason),
        CLAIM(a_program_that_is_not_there_fails_the_job_with_its_name),
        CLAIM(the_launcher_stands_before_the_program),
        CLAIM(a_stopped_service_ends_its_runs_and_the_next_one_resumes_them),
        CLAIM(kill_9_of_the_service_ends_its_run_and_loses_nothing),
        CLAIM(folders_that_nobody_owns_are_swept_at_the_start),
        CLAIM(temporaries_in_a_job_s_folder_are_swept_at_the_start),
        CLAIM(a_full_disk_fails_the_job_and_space_heals_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
