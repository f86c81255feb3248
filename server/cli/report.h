/* report.h: where a run's events go: JSON lines on a descriptor, a progress bar on a terminal, notes on stderr.
 * Room: server/cli. May use: engine and below.
 * Threads: qd_report_event from any thread; a line is written whole. */
#ifndef QD_CLI_REPORT_H
#define QD_CLI_REPORT_H

#include <pthread.h>
#include <stdbool.h>

#include "engine/run.h"

typedef struct qd_report {
    int fd;   /* JSON lines, or -1 */
    bool bar; /* stderr is a terminal */
    char phase[32];
    pthread_mutex_t mutex;
    pthread_cond_t stop;
    pthread_t heart;
    bool beating, stopping;
    bool tied; /* ends with its reader: below a launcher, the kernel does not see to it */
} qd_report;

enum { QD_HEARTBEAT_SECONDS = 5 };

/* fd -1: no JSON lines and no heartbeat. A descriptor whose reader has gone is given up silently: the run goes on, unless
 * QUANTD_TIED is in the environment: then the process ends within half a second. */
qd_code qd_report_init(qd_report *report, int fd, qd_error *err);
/* Stops the heartbeat; ends the bar's line. */
void qd_report_fini(qd_report *report);
/* The sink of qd_run: ctx is the qd_report. */
void qd_report_event(void *ctx, const json_t *event);

#endif
