/* child.h: a run as a process of its own: start, signal, reap.
 * Room: server/jobs, private to it. May use: base, confine.
 * Threads: the thread that starts a child must outlive it (the kernel ends the child when that thread ends).
 * Source: server.md §5. */
#ifndef QD_JOBS_CHILD_H
#define QD_JOBS_CHILD_H

#include <sys/types.h>

#include "base/error.h"
#include "confine/cage.h"

/* Descriptors the child finds. */
enum { QD_CHILD_EVENTS_FD = 3, QD_CHILD_LOCK_FD = 4 };

typedef enum qd_child_tie {
    QD_TIE_DIRECT,     /* the command is the program itself: it checks who its parent is */
    QD_TIE_BY_LAUNCHER /* the program is somewhere below the command */
} qd_child_tie;

typedef struct qd_child_spec {
    char *const *command;     /* NULL-terminated; command[0] is searched in PATH unless it has a slash */
    char *const *environment; /* the same; what tells it of its parent is added */
    int log_fd;               /* becomes stdout and stderr */
    int lock_fd;              /* stays open in it */
    qd_child_tie tie;
    const qd_cage *cage; /* closed behind it, or NULL */
} qd_child_spec;

typedef struct qd_child {
    pid_t pid;     /* also its session and process group */
    int pid_fd;    /* readable once it has ended */
    int events_fd; /* non-blocking */
} qd_child;

qd_code qd_child_start(const qd_child_spec *spec, qd_child *out, qd_error *err);
/* To the whole group. */
void qd_child_signal(const qd_child *child, int number);

typedef struct qd_child_end {
    int status;          /* as waitpid gives it */
    uint64_t peak_bytes; /* the most memory that it, or one of its children, had at a time */
} qd_child_end;
/* Ends what is left of the group, waits for the child, closes the descriptors. */
void qd_child_reap(qd_child *child, qd_child_end *out);

#endif
