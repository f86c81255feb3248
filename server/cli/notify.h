/* notify.h: tells the service manager how the service is: sd_notify(3), by hand.
 * Room: server/cli. May use: base.
 * Threads: one.
 * Source: sd_notify(3): one datagram of VARIABLE=value lines to the socket that NOTIFY_SOCKET names. */
#ifndef QD_CLI_NOTIFY_H
#define QD_CLI_NOTIFY_H

#include <sys/socket.h>
#include <sys/un.h>

#include "base/error.h"

typedef struct qd_notifier {
    struct sockaddr_un address;
    socklen_t length;        /* 0 = nobody wants to know */
    double watchdog_seconds; /* a sign of life is wanted at least so often; 0 = none is */
} qd_notifier;

/* Reads NOTIFY_SOCKET (a path, or @NAME of the abstract kind), WATCHDOG_USEC and WATCHDOG_PID, and takes them out of the
 * environment: runs have nothing to tell. A socket it does not understand counts as none. */
void qd_notifier_init(qd_notifier *notifier);
/* Sends the lines; best effort, never waits. */
void qd_notify(const qd_notifier *notifier, const char *format, ...) QD_PRINTF(2, 3);
/* RELOADING=1 with the time that the manager wants beside it. READY=1 follows when it is done. */
void qd_notify_reloading(const qd_notifier *notifier);

#endif
