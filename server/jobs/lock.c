/* lock.c: see lock.h. A process is known by its id and its start time, so that a later owner of the id is not hit. */
#include "jobs/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"

enum { PATIENCE_SECONDS = 30 };

/* Field 22 of /proc/PID/stat; 0 when there is no such process. */
static unsigned long long start_time(pid_t pid)
{
    char path[64];
    unsigned long long ticks = 0;
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    if (qd_file_read(path, 65536, &text, NULL) != QD_OK)
        return 0;
    const char *at = strrchr(qd_str_borrow(&text), ')'); /* the name before it may hold anything */
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (at == NULL || sscanf(at, " %llu", &ticks) != 1)
        return 0;
    return ticks;
}

static void end_holder(int fd)
{
    char text[64] = "";
    long pid = 0;
    unsigned long long ticks = 0;
    if (pread(fd, text, sizeof text - 1, 0) <= 0 || sscanf(text, "%ld %llu", &pid, &ticks) != 2 || pid <= 1)
        return;
    if (pid == getpgrp()) /* the note is in the run's hands: whatever it says, it is not us */
        return;
    if (ticks != 0 && start_time((pid_t)pid) == ticks)
        kill((pid_t)-pid, SIGKILL);
}

qd_code qd_lock_take(const char *path, double grace_seconds, const qd_cancel *cancel, int *out_fd, qd_error *err)
{
    QD_AUTO(qd_close_fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    double started = qd_clock_seconds();
    if (fd < 0)
        return qd_fail_errno(err, "open '%s'", path);
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        double waited = qd_clock_seconds() - started;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return qd_fail_errno(err, "lock '%s'", path);
        if (qd_cancel_requested(cancel))
            return qd_fail(err, QD_ECANCELLED, "cancelled");
        if (waited > PATIENCE_SECONDS)
            return qd_fail(err, QD_EBUSY, "an earlier run of this job does not end ('%s' is locked)", path);
        if (waited > grace_seconds)
            end_holder(fd);
        nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
    }
    *out_fd = fd;
    fd = -1;
    return QD_OK;
}

qd_code qd_lock_note(int fd, pid_t pid, qd_error *err)
{
    char text[64];
    int length = snprintf(text, sizeof text, "%ld %llu\n", (long)pid, start_time(pid));
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)length, 0) != length)
        return qd_fail_errno(err, "note the run's process");
    return QD_OK;
}

qd_code qd_state_lock_take(const char *state_dir, double patience_seconds, int *out_fd, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(state_dir, "quantd.lock");
    double started = qd_clock_seconds();
    if (path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    QD_AUTO(qd_close_fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return qd_fail_errno(err, "open '%s'", path);
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return qd_fail_errno(err, "lock '%s'", path);
        if (qd_clock_seconds() - started > patience_seconds)
            return qd_fail(err, QD_EBUSY, "another quantd uses the state folder '%s'", state_dir);
        nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
    }
    *out_fd = fd;
    fd = -1;
    return QD_OK;
}
