/* child.c: see child.h. Between vfork and exec the child shares our memory: it makes system calls and nothing else. */
#define _GNU_SOURCE
#include "jobs/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

/* Everything the child needs, made before there is a child. Descriptors are above those it will have. */
typedef struct plan {
    const qd_child_spec *spec;
    char **environment; /* the array is owned, not its words */
    char parent_text[40];
    pid_t parent;
    int null_fd, log_fd, events_fd, lock_fd;
    const char *volatile failed; /* the step; NULL = none did */
    volatile int failed_errno;
} plan;

enum { FIRST_FREE_FD = 10 };

/* The words of the spec and one of ours: whom a run must not outlive. */
static qd_code make_environment(plan *p, qd_error *err)
{
    size_t count = 0;
    while (p->spec->environment[count] != NULL)
        count++;
    qd_code code = qd_alloc(count + 2, sizeof *p->environment, (void **)&p->environment, err);
    if (code != QD_OK)
        return code;
    memcpy(p->environment, p->spec->environment, count * sizeof *p->environment);
    snprintf(p->parent_text, sizeof p->parent_text, "QUANTD_PARENT_PID=%ld", (long)p->parent);
    if (p->spec->tie == QD_TIE_DIRECT)
        p->environment[count] = p->parent_text;
    return QD_OK;
}

static void reset_signals(void)
{
    struct sigaction standard = { .sa_handler = SIG_DFL };
    sigset_t none;
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &standard, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* What it will have open; all else is closed. NULL, or what failed. */
static const char *take_descriptors(const plan *p)
{
    if (dup2(p->null_fd, 0) < 0 || dup2(p->log_fd, 1) < 0 || dup2(p->log_fd, 2) < 0 ||
        dup2(p->events_fd, QD_CHILD_EVENTS_FD) < 0 || dup2(p->lock_fd, QD_CHILD_LOCK_FD) < 0 ||
        close_range(QD_CHILD_LOCK_FD + 1, ~0u, 0) != 0)
        return "its descriptors";
    return NULL;
}

/* In the child; never returns. */
static void become(plan *p)
{
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != p->parent)
        _exit(127); /* the server died before the line above */
    qd_limits_step_back();
    const char *failed =
        p->spec->cage == NULL ? NULL : qd_cage_enter(p->spec->cage); /* its descriptors may be our targets */
    if (failed == NULL)
        failed = take_descriptors(p);
    if (failed == NULL) {
        reset_signals();
        execvpe(p->spec->command[0], p->spec->command, p->environment);
        failed = p->spec->command[0];
    }
    p->failed_errno = errno;
    p->failed = failed;
    _exit(127);
}

/* A close-on-exec copy of fd that no dup2 of `become` hits. */
static qd_code lift(int fd, int *out, qd_error *err)
{
    *out = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    return *out < 0 ? qd_fail_errno(err, "a descriptor for the run") : QD_OK;
}

static qd_code spawn(plan *p, pid_t *out, qd_error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* no handler of ours may run in the child */
    pid_t pid = vfork();
    if (pid == 0)
        become(p);
    int number = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = number;
    if (pid < 0)
        return qd_fail_errno(err, "start a process");
    if (p->failed != NULL) {
        waitpid(pid, NULL, 0);
        errno = p->failed_errno;
        return qd_fail_errno(err, "run '%s': %s", p->spec->command[0], p->failed);
    }
    *out = pid;
    return QD_OK;
}

static void plan_fini(plan *p)
{
    qd_close_fd(&p->null_fd);
    qd_close_fd(&p->log_fd);
    qd_close_fd(&p->events_fd);
    qd_close_fd(&p->lock_fd);
    free(p->environment);
}

/* pipe_fds[1] is closed here, so that the last writer is the child. */
static qd_code start(const int pipe_fds[2], plan *p, qd_child *out, qd_error *err)
{
    QD_AUTO(qd_close_fd) int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    QD_AUTO(qd_close_fd) int write_fd = pipe_fds[1];
    qd_code code = null_fd < 0 ? qd_fail_errno(err, "open /dev/null") : lift(null_fd, &p->null_fd, err);
    if (code == QD_OK)
        code = lift(p->spec->log_fd, &p->log_fd, err);
    if (code == QD_OK)
        code = lift(p->spec->lock_fd, &p->lock_fd, err);
    if (code == QD_OK)
        code = lift(write_fd, &p->events_fd, err);
    if (code == QD_OK)
        code = make_environment(p, err);
    if (code == QD_OK)
        code = spawn(p, &out->pid, err);
    return code;
}

qd_code qd_child_start(const qd_child_spec *spec, qd_child *out, qd_error *err)
{
    int pipe_fds[2];
    qd_child child = { .pid = -1, .pid_fd = -1, .events_fd = -1 };
    plan p = { .spec = spec, .parent = getpid(), .null_fd = -1, .log_fd = -1, .events_fd = -1, .lock_fd = -1 };
    if (pipe2(pipe_fds, O_CLOEXEC) != 0)
        return qd_fail_errno(err, "a pipe for the run");
    child.events_fd = pipe_fds[0];
    qd_code code = fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK) != 0 ? qd_fail_errno(err, "a pipe for the run") : QD_OK;
    if (code == QD_OK)
        code = start(pipe_fds, &p, &child, err);
    else
        close(pipe_fds[1]);
    plan_fini(&p);
    if (code == QD_OK && (child.pid_fd = pidfd_open(child.pid, 0)) < 0) {
        code = qd_fail_errno(err, "watch the run");
        qd_child_reap(&child, &(qd_child_end){ 0 });
    }
    if (code == QD_OK)
        *out = child;
    else
        qd_close_fd(&child.events_fd);
    return code;
}

void qd_child_signal(const qd_child *child, int number)
{
    kill(-child->pid, number);
}

void qd_child_reap(qd_child *child, qd_child_end *out)
{
    struct rusage used = { 0 };
    /* Not reaped yet, so the group's number is still its own. */
    kill(-child->pid, SIGKILL);
    kill(child->pid, SIGKILL);
    while (wait4(child->pid, &out->status, 0, &used) < 0 && errno == EINTR)
        continue;
    out->peak_bytes = (uint64_t)used.ru_maxrss << 10;
    qd_close_fd(&child->pid_fd);
    qd_close_fd(&child->events_fd);
    *child = (qd_child){ .pid = -1, .pid_fd = -1, .events_fd = -1 };
}
