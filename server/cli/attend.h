/* attend.h: the main thread of a running service: signals, signs of life, the way to the end.
 * Room: server/cli. May use: config, jobs, http.
 * Threads: the main thread. */
#ifndef QD_CLI_ATTEND_H
#define QD_CLI_ATTEND_H

#include "cli/notify.h"
#include "cli/signals.h"
#include "config/log.h"
#include "http/server.h"

typedef struct qd_attendance {
    qd_service *service;
    qd_http *http;
    qd_log *log;
    const qd_notifier *notifier;
    const uint64_t *drain_seconds; /* a reload may change it */
    void (*reload)(void *ctx);     /* SIGHUP */
    void *ctx;
} qd_attendance;

/* Says READY, then returns when the service shall end: told to, and its runs are done, or were given their time, or it was
 * told again. */
void qd_attend(const qd_attendance *a);

#endif
