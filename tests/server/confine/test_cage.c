/* test_cage.c: each part of a cage by itself: Landlock without a filter, a filter without Landlock, a cgroup, an environment. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "delegated.h"
#include "folder.h"

#include "base/clock.h"
#include "base/mem.h"
#include "confine/cage.h"
#include "confine/environment.h"
#include "confine/landlock.h"
#include "confine/program.h"

/* What a child of ours, inside the cage, comes to: 0, or an errno. */
static int inside(const qd_cage *cage, int (*attempt)(void *ctx), void *ctx)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        errno = 0;
        if (qd_cage_enter(cage) != NULL)
            _exit(250);
        errno = 0;
        _exit(attempt(ctx) < 0 ? errno : 0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

typedef struct world {
    char dir[256], mine[300], secret[300];
    const char *readable[1], *writable[2];
} world;

static int set_up(void **state)
{
    static world w;
    qd_error err = { 0 };
    temporary_folder(w.dir, sizeof w.dir);
    snprintf(w.mine, sizeof w.mine, "%s/mine", w.dir);
    snprintf(w.secret, sizeof w.secret, "%s/secret", w.dir);
    check_ok(qd_dir_make(w.mine, &err));
    check_ok(qd_file_write(w.secret, "x", 1, &err));
    w.writable[0] = w.mine;
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    world *w = *state;
    remove_folder(w->dir);
    return 0;
}

static void make(const world *w, qd_confine_means means, qd_cage *out)
{
    qd_error err = { 0 };
    const qd_cage_spec spec = {
        .means = means, .program = "/proc/self/exe", .readable = w->readable, .writable = w->writable
    };
    check_ok(qd_cage_make(&spec, out, &err));
}

static int open_to_read(void *path)
{
    return open(path, O_RDONLY | O_CLOEXEC);
}

static int make_file_in(void *folder)
{
    char path[400];
    snprintf(path, sizeof path, "%s/file", (const char *)folder);
    return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

static int connect_tcp(void *port)
{
    const struct sockaddr_in address = { .sin_family = AF_INET,
                                         .sin_port = *(const in_port_t *)port,
                                         .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? fd : connect(fd, (const struct sockaddr *)&address, sizeof address);
}

static int bind_tcp(void *nothing)
{
    const struct sockaddr_in address = { .sin_family = AF_INET,
                                         .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                         .sin_port = htons(1) };
    (void)nothing;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? fd : bind(fd, (const struct sockaddr *)&address, sizeof address);
}

static int signal_parent(void *nothing)
{
    (void)nothing;
    return kill(getppid(), 0);
}

static int make_socket(void *nothing)
{
    (void)nothing;
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* By way of a pipe whose owner it is made: SIGIO, or whichever signal is asked for. */
static int signal_parent_by_pipe(void *nothing)
{
    int ends[2];
    (void)nothing;
    return pipe2(ends, O_CLOEXEC) != 0 ? -1 : fcntl(ends[0], F_SETOWN, getppid());
}

static int signal_parent_by_pipe_too(void *nothing)
{
    int ends[2];
    const struct f_owner_ex owner = { .type = F_OWNER_PID, .pid = getppid() };
    (void)nothing;
    return pipe2(ends, O_CLOEXEC) != 0 ? -1 : fcntl(ends[0], F_SETOWN_EX, &owner);
}

static int look_at_flags(void *nothing)
{
    (void)nothing;
    return fcntl(0, F_GETFD);
}

/* Of a file that may only be read: the cache's, which other jobs read too. */
static int change_mode(void *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? fd : fchmod(fd, 0400);
}

static int call_32_bit_number(void *nothing)
{
    (void)nothing;
    return (int)syscall(0x40000000 | SYS_getpid);
}

/* Exec fails with what the filter says, not for want of a file. */
static int exec_behind_bolt(void *nothing)
{
    char *const words[] = { (char[]){ "none" }, NULL };
    qd_error err = { 0 };
    (void)nothing;
    if (qd_cage_bolt(&err) != QD_OK) {
        errno = ENOTSUP;
        return -1;
    }
    return execve("/does/not/exist", words, words + 1);
}

static int listen_somewhere(in_port_t *out_port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    *out_port = address.sin_port;
    return fd;
}

static void files_are_landlocks(void **state)
{
    world *w = *state;
    QD_AUTO(qd_cage_fini) qd_cage none = { .ruleset_fd = -1 }, cage = { .ruleset_fd = -1 };
    make(w, (qd_confine_means){ 0 }, &none);
    make(w, (qd_confine_means){ .landlock_abi = qd_landlock_abi() }, &cage);
    static char passwords[] = "/etc/passwd", self[] = "/proc/self/statm", libraries[] = "/usr/lib";
    assert_int_equal(inside(&none, open_to_read, passwords), 0);
    assert_int_equal(inside(&cage, open_to_read, passwords), EACCES);
    assert_int_equal(inside(&none, open_to_read, w->secret), 0);
    assert_int_equal(inside(&cage, open_to_read, w->secret), EACCES);
    assert_int_equal(inside(&cage, make_file_in, w->dir), EACCES);
    assert_int_equal(inside(&cage, make_file_in, w->mine), 0);
    assert_int_equal(inside(&cage, open_to_read, self), 0);
    assert_int_equal(inside(&cage, open_to_read, libraries), 0);
    assert_int_equal(inside(&cage, make_socket, NULL), 0); /* that is the filter's */
}

static void every_abi_can_be_asked_for(void **state)
{
    world *w = *state;
    static char passwords[] = "/etc/passwd";
    for (int abi = 1; abi <= qd_landlock_abi(); abi++) { /* a kernel knows all before its own */
        QD_AUTO(qd_cage_fini) qd_cage cage = { .ruleset_fd = -1 };
        make(w, (qd_confine_means){ .landlock_abi = abi }, &cage);
        assert_int_equal(inside(&cage, open_to_read, passwords), EACCES);
        assert_int_equal(inside(&cage, make_file_in, w->mine), 0);
    }
}

static void tcp_is_landlocks_from_abi_4(void **state)
{
    in_port_t port = 0;
    int listener = listen_somewhere(&port);
    QD_AUTO(qd_cage_fini) qd_cage none = { .ruleset_fd = -1 }, cage = { .ruleset_fd = -1 };
    make(*state, (qd_confine_means){ 0 }, &none);
    make(*state, (qd_confine_means){ .landlock_abi = qd_landlock_abi() }, &cage);
    assert_int_equal(inside(&none, connect_tcp, &port), 0);
    assert_int_equal(inside(&cage, connect_tcp, &port), EACCES);
    assert_int_equal(inside(&cage, bind_tcp, NULL), EACCES);
    close(listener);
}

static void signals_are_landlocks_from_abi_6(void **state)
{
    QD_AUTO(qd_cage_fini) qd_cage none = { .ruleset_fd = -1 }, cage = { .ruleset_fd = -1 };
    make(*state, (qd_confine_means){ 0 }, &none);
    make(*state, (qd_confine_means){ .landlock_abi = qd_landlock_abi() }, &cage);
    assert_int_equal(inside(&none, signal_parent, NULL), 0);
    assert_int_equal(inside(&cage, signal_parent, NULL), EPERM);
}

static void calls_are_the_filters(void **state)
{
    static char passwords[] = "/etc/passwd";
    QD_AUTO(qd_cage_fini) qd_cage cage = { .ruleset_fd = -1 };
    make(*state, (qd_confine_means){ .filters = true }, &cage);
    assert_int_equal(inside(&cage, make_socket, NULL), EPERM);
    assert_int_equal(inside(&cage, signal_parent, NULL), EPERM);
    assert_int_equal(inside(&cage, signal_parent_by_pipe, NULL), EPERM);
    assert_int_equal(inside(&cage, signal_parent_by_pipe_too, NULL), EPERM);
    assert_int_equal(inside(&cage, look_at_flags, NULL), 0);
    assert_int_equal(inside(&cage, call_32_bit_number, NULL), ENOSYS);
    assert_int_equal(inside(&cage, change_mode, ((world *)*state)->secret), EPERM);
    assert_int_equal(inside(&cage, open_to_read, passwords), 0); /* that is Landlock's */
    assert_int_equal(inside(&cage, exec_behind_bolt, NULL), EPERM);
}

/* A table that names a call twice, with different answers, would hide one of them. */
static void no_call_is_refused_twice_without_a_test(void **state)
{
    (void)state;
    for (size_t i = 0; qd_filter_row_at(i) != NULL; i++)
        for (size_t j = 0; j < i; j++) {
            const qd_filter_row *a = qd_filter_row_at(i), *b = qd_filter_row_at(j);
            if (a->call >= 0 && a->call == b->call && a->test == QD_REFUSE_ALWAYS)
                fail_msg("call %d stands twice", a->call);
        }
}

static void means_are_told_in_words(void **state)
{
    static const struct {
        qd_confine_means means;
        const char *text, *missing;
    } cases[] = { { { 7, true }, "landlock abi 7, seccomp", "" },
                  { { 2, false }, "landlock abi 2", "seccomp" },
                  { { 0, true }, "seccomp", "landlock" },
                  { { 0, false }, "nothing", "landlock" } };
    char text[QD_MEANS_TEXT];
    (void)state;
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        qd_confine_describe(&cases[i].means, text);
        assert_string_equal(text, cases[i].text);
        qd_confine_missing(&cases[i].means, text);
        check_contains(text, cases[i].missing);
        assert_int_equal(text[0] == '\0', cases[i].missing[0] == '\0');
    }
}

static void an_environment_is_an_allow_list_and_leaves_libraries_one_thread(void **state)
{
    char *from[] = { (char[]){ "PATH=/bin" },
                     (char[]){ "PATHOLOGY=1" },
                     (char[]){ "AWS_SECRET_ACCESS_KEY=1" },
                     (char[]){ "HF_TOKEN=1" },
                     (char[]){ "QUANTD_LISTEN=1" },
                     (char[]){ "LC_ALL=C" },
                     (char[]){ "SLURM_JOB_ID=7" },
                     (char[]){ "ASAN_OPTIONS=a=b" },
                     (char[]){ "HOME=/root" },
                     (char[]){ "OPENBLAS_X=1" },
                     (char[]){ "OPENBLAS_NUM_THREADS=64" },
                     (char[]){ "OMP_PROC_BIND=true" },
                     (char[]){ "OMP_NUM_THREADS=64" },
                     NULL };
    static const char *const extra[] = { "MORE=1", NULL };
#define ONE_THREAD "OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1"
    static const char *const run[] = { "PATH=/bin", "LC_ALL=C", "ASAN_OPTIONS=a=b", "OPENBLAS_X=1", ONE_THREAD,
                                       "MORE=1",    NULL };
    static const char *const launcher[] = { "PATH=/bin",        "LC_ALL=C",   "SLURM_JOB_ID=7",
                                            "ASAN_OPTIONS=a=b", "HOME=/root", "OPENBLAS_X=1",
                                            ONE_THREAD,         "MORE=1",     NULL };
    const char *const *wanted[] = { [QD_FOR_RUN] = run, [QD_FOR_LAUNCHER] = launcher };
    qd_error err = { 0 };
    (void)state;
    for (size_t whom = 0; whom < QD_LENGTH(wanted); whom++) {
        QD_AUTO(qd_free_pointer) char **out = NULL;
        check_ok(qd_environment_make(from, (qd_environment_for)whom, extra, &out, &err));
        size_t i = 0;
        for (; wanted[whom][i] != NULL; i++) {
            assert_non_null(out[i]);
            assert_string_equal(out[i], wanted[whom][i]);
        }
        assert_null(out[i]);
    }
}

static void a_programs_interpreter_is_read_from_it(void **state)
{
    const world *w = *state;
    QD_AUTO(qd_free_pointer) char *own = NULL, *none = NULL;
    qd_error err = { 0 };
    check_ok(qd_program_interpreter("/proc/self/exe", &own, &err));
    assert_non_null(own);
    assert_int_equal(access(own, X_OK), 0);
    check_ok(qd_program_interpreter(w->secret, &none, &err));
    assert_null(none);
    check_fails(qd_program_interpreter("/does/not/exist", &none, &err), QD_ENOTFOUND);
}

/* ---- cgroups: the real hierarchy, where this process may make a group in it ---- */

/* A child in the group, and one of its own that has left its session. */
static pid_t start_in(const qd_cgroup *group)
{
    int fds[2];
    char ready = 0;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (qd_cgroup_enter(group) != 0)
            _exit(1);
        if (fork() == 0)
            setsid();
        if (write(fds[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(read(fds[0], &ready, 1), 1);
    close(fds[0]);
    close(fds[1]);
    return pid;
}

static void a_cgroup_ends_with_all_that_is_in_it(void **state)
{
    char dir[200];
    qd_error err = { 0 };
    QD_AUTO(qd_cgroups_fini) qd_cgroups groups = { 0 };
    qd_cgroup group = { .procs_fd = -1 };
    qd_cgroup_report report;
    int status = 0;
    (void)state;
    assert_true(delegated_folder(dir, sizeof dir));
    check_ok(qd_cgroups_open(dir, &groups, &err));
    check_ok(qd_cgroup_make(&groups, "one", 0, &group, &err));
    pid_t pid = start_in(&group);
    qd_cgroup_end(&group, &report);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    char path[260];
    snprintf(path, sizeof path, "%s/run-one", dir);
    assert_false(qd_path_exists(path)); /* nobody is left in it */
    assert_int_equal(report.oom_kills, 0);
    assert_int_equal(rmdir(dir), 0);
}

static void what_an_earlier_service_left_is_swept(void **state)
{
    char dir[200], path[260];
    qd_error err = { 0 };
    QD_AUTO(qd_cgroups_fini) qd_cgroups groups = { 0 }, again = { 0 };
    qd_cgroup group = { .procs_fd = -1 };
    (void)state;
    assert_true(delegated_folder(dir, sizeof dir));
    check_ok(qd_cgroups_open(dir, &groups, &err));
    check_ok(qd_cgroup_make(&groups, "left", 0, &group, &err));
    pid_t pid = start_in(&group);
    snprintf(path, sizeof path, "%s/run-left", dir);
    check_ok(qd_cgroups_open(dir, &again, &err));
    assert_false(qd_path_exists(path));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    qd_cgroup_end(&group, &(qd_cgroup_report){ 0 });
    assert_int_equal(rmdir(dir), 0);
}

/* The kernel's own limit; 64 MiB, and 512 are wanted. */
static void memory_beyond_a_cgroups_limit_is_reported(void **state)
{
    char dir[200];
    qd_error err = { 0 };
    QD_AUTO(qd_cgroups_fini) qd_cgroups groups = { 0 };
    qd_cgroup group = { .procs_fd = -1 };
    qd_cgroup_report report;
    int status = 0;
    (void)state;
    assert_true(delegated_folder(dir, sizeof dir));
    check_ok(qd_cgroups_open(dir, &groups, &err));
    check_ok(qd_cgroup_make(&groups, "eater", 64 << 20, &group, &err));
    pid_t pid = fork();
    if (pid == 0) {
        enum { WANTED = 512 << 20, PAGE = 4096 };
        volatile char *all =
            qd_cgroup_enter(&group) == 0 ? malloc(WANTED) : NULL; /* volatile: touched, not thought away */
        for (size_t i = 0; all != NULL && i < WANTED; i += PAGE)
            all[i] = 1;
        _exit(all == NULL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    qd_cgroup_end(&group, &report);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_true(report.oom_kills >= 1);
    assert_true(report.peak_bytes == 0 || report.peak_bytes <= 64 << 20); /* memory.peak came with Linux 5.19 */
    assert_int_equal(rmdir(dir), 0);
}

static void a_folder_that_is_no_cgroup_is_refused(void **state)
{
    const world *w = *state;
    qd_cgroups groups = { 0 };
    qd_error err = { 0 };
    check_fails(qd_cgroups_open(w->dir, &groups, &err), QD_EINVAL);
    check_contains(err.text, "cgroup v2");
    check_fails(qd_cgroups_open("/does/not/exist", &groups, &err), QD_ENOTFOUND);
}

static void cannot_be_tried(void **state)
{
    (void)state;
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define CLAIM_IF(condition, name, reason) \
    (condition) ? (struct CMUnitTest)CLAIM(name) : (struct CMUnitTest) \
    { \
#name " # SKIP " reason, cannot_be_tried, NULL, NULL, NULL \
    }

int main(void)
{
    char dir[200] = "";
    const int abi = qd_landlock_abi();
    const bool filters = qd_filter_available(), delegated = delegated_folder(dir, sizeof dir);
    const bool memory = delegated_memory(dir);
    rmdir(dir);
    const struct CMUnitTest tests[] = {
        CLAIM_IF(abi > 0, files_are_landlocks, "this kernel has no Landlock"),
        CLAIM_IF(abi > 0, every_abi_can_be_asked_for, "this kernel has no Landlock"),
        CLAIM_IF(abi >= 4, tcp_is_landlocks_from_abi_4, "this kernel's Landlock is older than ABI 4"),
        CLAIM_IF(abi >= 6, signals_are_landlocks_from_abi_6, "this kernel's Landlock is older than ABI 6"),
        CLAIM_IF(filters, calls_are_the_filters, "there are no seccomp filters here"),
        CLAIM(no_call_is_refused_twice_without_a_test),
        CLAIM(means_are_told_in_words),
        CLAIM(an_environment_is_an_allow_list_and_leaves_libraries_one_thread),
        CLAIM(a_programs_interpreter_is_read_from_it),
        CLAIM_IF(delegated, a_cgroup_ends_with_all_that_is_in_it,
                 "no cgroup v2 in which this process may make a group"),
        CLAIM_IF(delegated, what_an_earlier_service_left_is_swept,
                 "no cgroup v2 in which this process may make a group"),
        CLAIM_IF(memory, memory_beyond_a_cgroups_limit_is_reported,
                 "the cgroup v2 hierarchy here has no memory controller"),
        CLAIM(a_folder_that_is_no_cgroup_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
