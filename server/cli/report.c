/* report.c: see report.h. */
#include "cli/report.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/verb.h"

enum { BAR_WIDTH = 30 };

/* Dying is cheap, checkpoints make it so; two runs of one job would not be. */
static void leave(void)
{
    _exit(QD_EXIT_CANCELLED);
}

/* Called with the mutex held. */
static void write_line(qd_report *report, const json_t *event)
{
    if (report->fd < 0)
        return;
    char *text = json_dumps(event, JSON_COMPACT);
    if (text == NULL)
        return;
    size_t length = strlen(text);
    text[length] = '\n'; /* the NUL's place: one write, one line */
    qd_error err;
    QD_FAULT("report.line");
    if (qd_write_all(report->fd, text, length + 1, &err) != QD_OK) {
        if (report->tied)
            leave();
        report->fd = -1; /* the reader is gone (EPIPE): the work is worth finishing, the checkpoints stay */
    }
    free(text);
}

static void leave_with_reader(const qd_report *report)
{
    struct pollfd pipe = { .fd = report->fd };
    if (report->tied && poll(&pipe, 1, 0) > 0 && (pipe.revents & POLLERR) != 0)
        leave();
}

static void *beat(void *arg)
{
    static const double look_seconds = 0.5;
    qd_report *report = arg;
    double spoken = qd_clock_seconds();
    pthread_mutex_lock(&report->mutex);
    while (!report->stopping) {
        const struct timespec until = qd_clock_deadline(report->tied ? look_seconds : QD_HEARTBEAT_SECONDS);
        if (pthread_cond_timedwait(&report->stop, &report->mutex, &until) != ETIMEDOUT)
            continue;
        leave_with_reader(report);
        if (report->tied && qd_clock_seconds() - spoken < QD_HEARTBEAT_SECONDS)
            continue;
        spoken = qd_clock_seconds();
        json_t *event = json_pack("{s:s, s:I}", "event", "heartbeat", "rss", (json_int_t)qd_resident_bytes());
        write_line(report, event);
        json_decref(event);
    }
    pthread_mutex_unlock(&report->mutex);
    return NULL;
}

qd_code qd_report_init(qd_report *report, int fd, qd_error *err)
{
    *report = (qd_report){ .fd = fd, .bar = isatty(STDERR_FILENO) != 0, .tied = getenv("QUANTD_TIED") != NULL };
    pthread_mutex_init(&report->mutex, NULL);
    qd_clock_condition_init(&report->stop);
    if (fd >= 0 && pthread_create(&report->heart, NULL, beat, report) != 0)
        return qd_fail(err, QD_EBUSY, "the heartbeat thread could not be started");
    report->beating = fd >= 0;
    return QD_OK;
}

void qd_report_fini(qd_report *report)
{
    pthread_mutex_lock(&report->mutex);
    report->stopping = true;
    pthread_cond_signal(&report->stop);
    pthread_mutex_unlock(&report->mutex);
    if (report->beating)
        pthread_join(report->heart, NULL);
    pthread_cond_destroy(&report->stop);
    pthread_mutex_destroy(&report->mutex);
    if (report->bar)
        fprintf(stderr, "\r\033[K");
}

static const char *text_of(const json_t *event, const char *key)
{
    const char *text = json_string_value(json_object_get(event, key));
    return text == NULL ? "" : text;
}

static void draw_bar(const qd_report *report, const json_t *event)
{
    json_int_t done = json_integer_value(json_object_get(event, "done"));
    json_int_t total = json_integer_value(json_object_get(event, "total"));
    const json_t *eta = json_object_get(event, "eta");
    int filled = total > 0 ? (int)(done * BAR_WIDTH / total) : 0;
    fprintf(stderr, "\r\033[K%-11s [%.*s%*s] %lld of %lld %s", report->phase, filled, "##############################",
            BAR_WIDTH - filled, "", (long long)done, (long long)total, text_of(event, "unit"));
    if (json_is_number(eta))
        fprintf(stderr, ", %.0f s left", json_number_value(eta));
    fflush(stderr);
}

/* One line of the run's log (stderr) for events a reader of the log wants. */
static void write_note(const qd_report *report, const json_t *event, const char *type)
{
    const char *clear = report->bar ? "\r\033[K" : "";
    if (strcmp(type, "phase") == 0)
        fprintf(stderr, "%s%s\n", clear, text_of(event, "phase"));
    else if (strcmp(type, "warning") == 0 || strcmp(type, "problem") == 0)
        fprintf(stderr, "%s%s: %s\n", clear, type, text_of(event, "detail"));
    else if (strcmp(type, "layer") == 0 && !report->bar)
        fprintf(stderr, "layer %lld %s: relative error %.5f, %s%s%s, %.2f s%s\n",
                (long long)json_integer_value(json_object_get(event, "index")), text_of(event, "name"),
                json_number_value(json_object_get(json_object_get(event, "error"), "calibration")),
                text_of(json_object_get(event, "certificate"), "status"),
                json_is_true(json_object_get(event, "degraded")) ? ", degraded" : "",
                json_is_true(json_object_get(json_object_get(event, "routing"), "starved")) ? ", starved expert" : "",
                json_number_value(json_object_get(event, "seconds")),
                json_is_true(json_object_get(event, "resumed")) ? " (from its checkpoint)" : "");
}

void qd_report_event(void *ctx, const json_t *event)
{
    qd_report *report = ctx;
    const char *type = text_of(event, "event");
    pthread_mutex_lock(&report->mutex);
    if (strcmp(type, "phase") == 0)
        snprintf(report->phase, sizeof report->phase, "%s", text_of(event, "phase"));
    write_line(report, event);
    write_note(report, event, type);
    if (report->bar && strcmp(type, "progress") == 0)
        draw_bar(report, event);
    pthread_mutex_unlock(&report->mutex);
}
