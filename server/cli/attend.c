/* attend.c: see attend.h. */
#include "cli/attend.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"

static const double status_seconds = 30, drain_look_seconds = 0.2;
/* The supervisor looks once a second, and waits for the database's writer in between. */
static const double supervisor_patience_seconds = 5;

static void say_status(const qd_attendance *a)
{
    qd_service_stats stats = { 0 };
    if (a->notifier->length > 0 && qd_service_stats_read(a->service, &stats, NULL) == QD_OK)
        qd_notify(a->notifier, "STATUS=%zu running, %zu queued\n", stats.running, stats.queue_depth);
}

/* The manager restarts what gives no sign of life; it is given only when those who do the work gave theirs. A writer that
 * hangs keeps us here, which says the same. */
static void beat(const qd_attendance *a)
{
    char details[sizeof((qd_error *)NULL)->text + 16];
    qd_error err = { 0 };
    double patience = a->notifier->watchdog_seconds / 4;
    qd_code code = qd_service_beat(a->service, supervisor_patience_seconds + 4 * patience, &err);
    if (code == QD_OK)
        code = qd_http_beat(a->http, patience, &err);
    if (code == QD_OK) {
        qd_notify(a->notifier, "WATCHDOG=1\n");
        return;
    }
    snprintf(details, sizeof details, "reason=\"%s\"", err.text);
    qd_log_line(a->log, QD_LOG_ERROR, "serve.no-sign-of-life", details);
}

/* What is due every so often; the wish that ended the pause. */
static qd_wish pause_and_beat(const qd_attendance *a, double seconds, double *last_beat, double *last_status)
{
    double watchdog = a->notifier->watchdog_seconds;
    double until_beat = *last_beat + watchdog / 2 - qd_clock_seconds();
    if (watchdog > 0 && until_beat < seconds)
        seconds = until_beat > 0 ? until_beat : 0;
    qd_wish wish = qd_signals_wait(seconds);
    double now = qd_clock_seconds();
    if (watchdog > 0 && now - *last_beat >= watchdog / 2) {
        *last_beat = now;
        beat(a);
    }
    if (now - *last_status >= status_seconds) {
        *last_status = now;
        say_status(a);
    }
    return wish;
}

static void reload(const qd_attendance *a)
{
    qd_notify_reloading(a->notifier);
    a->reload(a->ctx);
    qd_notify(a->notifier, "READY=1\n");
}

/* No claims, no event streams; runs have their time, unless the operator asks again. */
static void drain(const qd_attendance *a, double *last_beat, double *last_status)
{
    char details[120];
    double seconds = (double)*a->drain_seconds, end = qd_clock_seconds() + seconds;
    qd_service_drain(a->service);
    qd_notify(a->notifier, "STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=%" PRIu64 "\n",
              (*a->drain_seconds + 10) * 1000000);
    snprintf(details, sizeof details, "signal=%s running=%zu drain=%.0f", qd_signals_name(),
             qd_service_running(a->service), seconds);
    qd_log_line(a->log, QD_LOG_INFO, "serve.stop", details);
    qd_http_drain(a->http);
    *last_status = end; /* it stays "stopping" */
    while (qd_service_running(a->service) > 0 && qd_clock_seconds() < end)
        if (pause_and_beat(a, drain_look_seconds, last_beat, last_status) == QD_WISH_STOP) {
            qd_log_line(a->log, QD_LOG_INFO, "serve.stop-now", "reason=\"told again\"");
            break;
        }
}

void qd_attend(const qd_attendance *a)
{
    double last_beat = qd_clock_seconds(), last_status = last_beat - status_seconds;
    qd_notify(a->notifier, "READY=1\n");
    for (qd_wish wish = QD_WISH_NONE; wish != QD_WISH_STOP;) {
        wish = pause_and_beat(a, status_seconds, &last_beat, &last_status);
        if (wish == QD_WISH_RELOAD)
            reload(a);
    }
    drain(a, &last_beat, &last_status);
}
