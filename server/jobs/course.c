/* course.c: see course.h. */
#include "jobs/course.h"

#include <stdarg.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/json.h"
#include "jobs/service_private.h"

enum { BAD_LINES_LOGGED = 20, WARNINGS_MAX = 1000 };
static const uint64_t kept_bytes_max = UINT64_C(256) << 20;

void qd_course_fini(qd_course *course)
{
    json_decref(course->result);
    json_decref(course->forecast);
    json_decref(course->pace);
    qd_job_paths_fini(&course->paths);
}

qd_record qd_course_record(const qd_course *course)
{
    return (qd_record){
        .id = course->active->id, .attempt = course->active->attempt, .from = course->state, .to = course->state
    };
}

static void count_phase(qd_course *course)
{
    double now = qd_clock_seconds();
    double spent = now - course->phase_started;
    course->phase_started = now;
    if (course->state < QD_STATE_DOWNLOADING || course->state > QD_STATE_VERIFYING)
        return;
    if (course->state == QD_STATE_DOWNLOADING)
        course->downloading = spent;
    pthread_mutex_lock(&course->service->mutex);
    course->service->tally.phase_seconds[course->state - QD_STATE_DOWNLOADING] += spent;
    pthread_mutex_unlock(&course->service->mutex);
}

qd_code qd_course_move(qd_course *course, qd_record *record, qd_state_id to, qd_error *err)
{
    record->to = to;
    qd_code code = QD_FAULT_CODE("state.record", err);
    if (code == QD_OK)
        code = qd_record_commit(course->service, record, err);
    if (code == QD_OK) {
        count_phase(course);
        course->state = to;
    }
    return code;
}

/* A child that says more than a run can have to say is not one. */
static qd_code keep(qd_course *course, size_t length, qd_error *err)
{
    course->kept_bytes += length;
    if (course->kept_bytes > kept_bytes_max)
        return qd_fail(err, QD_ETOOBIG, "the run reported more than %llu bytes", (unsigned long long)kept_bytes_max);
    return QD_OK;
}

static qd_code on_phase(qd_course *course, const qd_child_event *event, qd_error *err)
{
    qd_record record = qd_course_record(course);
    record.type = "phase";
    record.data = event->data;
    if (event->phase == course->state)
        return QD_OK;
    if (!qd_state_may_follow(course->state, event->phase))
        return qd_fail(err, QD_EFORMAT, "phase '%s' does not follow '%s'", qd_state_at(event->phase)->name,
                       qd_state_at(course->state)->name);
    return qd_course_move(course, &record, event->phase, err);
}

qd_code qd_course_progress_take(qd_course *course, json_t *progress, qd_error *err)
{
    qd_code code = QD_OK;
    double now = qd_clock_seconds();
    char time[QD_TIME_TEXT];
    if (progress == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    qd_clock_format(qd_clock_wall_ms(), time);
    json_object_set_new(progress, "last_activity", json_string(time));
    if (now - course->last_kept >= 1) {
        qd_record record = qd_course_record(course);
        record.type = "progress";
        record.data = progress;
        record.progress = progress;
        course->last_kept = now;
        code = qd_record_commit(course->service, &record, err);
    }
    qd_active_set_progress_take(course->service, course->active, progress);
    return code;
}

static json_t *number_or_null(const json_t *value)
{
    return json_is_number(value) ? json_real(json_number_value(value)) : json_null();
}

/* Only what api.md names, from the phase the job is in. */
static qd_code on_progress(qd_course *course, const qd_child_event *event, qd_error *err)
{
    const json_t *eta = json_object_get(event->data, "eta");
    const char *unit = json_string_value(json_object_get(event->data, "unit"));
    if (event->phase != course->state)
        return qd_fail(err, QD_EFORMAT, "progress of '%s' in '%s'", qd_state_at(event->phase)->name,
                       qd_state_at(course->state)->name);
    qd_run_limits_reached(&course->limits, event->data);
    qd_slow_watch_hear(&course->slow, event->data);
    json_t *progress = json_pack("{s:s, s:I, s:I, s:s, s:o}", "phase", qd_state_at(event->phase)->name, "done",
                                 json_integer_value(json_object_get(event->data, "done")), "total",
                                 json_integer_value(json_object_get(event->data, "total")), "unit",
                                 unit == NULL ? "" : unit, "eta", number_or_null(eta));
    if (json_object_get(event->data, "layer") != NULL) {
        json_object_set_new(progress, "eta_low", number_or_null(json_object_get(event->data, "eta_low")));
        json_object_set_new(progress, "eta_high", number_or_null(json_object_get(event->data, "eta_high")));
        json_object_set_new(progress, "layer",
                            course->slow.layer[0] == '\0' ? json_null() : json_string(course->slow.layer));
    }
    return qd_course_progress_take(course, progress, err);
}

/* The event says the main things; the row has all. */
static json_t *layer_summary(const qd_child_event *event)
{
    static const char *const keys[] = { "index", "name",     "shape",           "bits",    "order",  "lambda",
                                        "error", "degraded", "degraded_reason", "seconds", "routing" };
    json_t *summary = json_object();
    for (size_t i = 0; i < QD_LENGTH(keys); i++) {
        json_t *value = json_object_get(event->data, keys[i]);
        if (value != NULL)
            json_object_set(summary, keys[i], value);
    }
    json_t *status = json_object_get(json_object_get(event->data, "certificate"), "status");
    if (status != NULL)
        json_object_set(summary, "status", status);
    json_object_set_new(summary, "resumed", json_boolean(event->resumed));
    return summary;
}

static void count_layer(qd_course *course, const qd_child_event *event)
{
    qd_tally *tally = &course->service->tally;
    pthread_mutex_lock(&course->service->mutex);
    tally->layers++;
    tally->degraded_layers += event->degraded;
    if (isfinite(event->relative_error))
        tally->last_relative_error = event->relative_error;
    pthread_mutex_unlock(&course->service->mutex);
}

static qd_code on_layer(qd_course *course, const qd_child_event *event, qd_error *err)
{
    qd_record record = qd_course_record(course);
    if (course->state != QD_STATE_QUANTIZING)
        return qd_fail(err, QD_EFORMAT, "a layer in '%s'", qd_state_at(course->state)->name);
    QD_AUTO(qd_json_fini) json_t *summary = layer_summary(event);
    record.type = "layer";
    record.data = summary;
    record.layer = event->data;
    record.layer_number = event->number;
    record.layer_name = event->name;
    record.crash_rule = event->resumed ? QD_CRASHES_LEAVE : QD_CRASHES_CLEAR;
    qd_code code = QD_FAULT_CODE("layer.record", err);
    if (code == QD_OK)
        code = qd_record_commit(course->service, &record, err);
    if (code == QD_OK && !event->resumed) {
        course->crashes = 0;
        count_layer(course, event);
    }
    return code;
}

qd_code qd_course_note(qd_course *course, const char *type, const json_t *data, qd_error *err)
{
    qd_record record = qd_course_record(course);
    record.type = type;
    record.data = data;
    return qd_record_commit(course->service, &record, err);
}

static qd_code on_warning(qd_course *course, const qd_child_event *event, qd_error *err)
{
    if (++course->warnings > WARNINGS_MAX)
        return qd_fail(err, QD_EFORMAT, "more than %d warnings", (int)WARNINGS_MAX);
    return qd_course_note(course, "warning", event->data, err);
}

qd_code qd_course_look_for_slowness(qd_course *course, qd_error *err)
{
    char detail[300];
    if (course->state != QD_STATE_QUANTIZING || !qd_slow_watch_look(&course->slow, detail, sizeof detail))
        return QD_OK;
    QD_AUTO(qd_json_fini) json_t *warning = json_pack("{s:s}", "detail", detail);
    qd_course_say(course, "warn", "run.slow-layer", "reason=\"%s\"", detail);
    return warning == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_course_note(course, "warning", warning, err);
}

static qd_code on_result(qd_course *course, const qd_child_event *event, qd_error *err)
{
    if (course->state != QD_STATE_VERIFYING || course->result != NULL)
        return qd_fail(err, QD_EFORMAT, "a result in '%s'", qd_state_at(course->state)->name);
    course->result = json_incref(event->data);
    return QD_OK;
}

static qd_code handle(qd_course *course, const qd_child_event *event, size_t length, qd_error *err)
{
    qd_code code = QD_OK;
    if (event->kind == QD_CHILD_LAYER || event->kind == QD_CHILD_WARNING || event->kind == QD_CHILD_STREAM)
        code = keep(course, length, err);
    if (code != QD_OK)
        return code;
    switch (event->kind) {
    case QD_CHILD_PHASE:
        return on_phase(course, event, err);
    case QD_CHILD_PROGRESS:
        return on_progress(course, event, err);
    case QD_CHILD_LAYER:
        return on_layer(course, event, err);
    case QD_CHILD_STREAM:
        return qd_course_note(course, "stream", event->data, err);
    case QD_CHILD_WARNING:
        return on_warning(course, event, err);
    case QD_CHILD_HEARTBEAT:
        qd_active_set_rss(course->service, course->active, event->rss);
        return QD_OK;
    case QD_CHILD_RESULT:
        return on_result(course, event, err);
    case QD_CHILD_PROBLEM:
        course->problem = qd_fail(&course->problem_err, event->problem, "%s", event->detail);
        return QD_OK;
    }
    return QD_OK;
}

static void bad_line(qd_course *course, const qd_error *err)
{
    if (++course->bad_lines <= BAD_LINES_LOGGED)
        qd_course_say(course, "warn", "run.bad-line", "reason=\"%s\"", err->text);
}

void qd_course_line(void *ctx, const char *line, size_t length)
{
    qd_course *course = ctx;
    qd_child_event event = { 0 };
    qd_error err = { 0 };
    if (course->fault != QD_OK)
        return; /* it is being ended */
    qd_code code = qd_child_event_parse(line, length, &event, &err);
    QD_FAULT("child.line");
    if (code == QD_OK) {
        course->last_heard = qd_clock_seconds();
        qd_active_set_heard(course->service, course->active, course->last_heard);
        code = handle(course, &event, length, &err);
        qd_child_event_fini(&event);
    }
    if (code == QD_EFORMAT) {
        bad_line(course, &err);
    } else if (code != QD_OK) {
        course->fault = code; /* lost the job, or its rows cannot be written, or it says too much */
        course->fault_err = err;
    }
}

void qd_course_say(const qd_course *course, const char *level, const char *event, const char *format, ...)
{
    char details[1400];
    va_list args;
    va_start(args, format);
    vsnprintf(details, sizeof details, format, args);
    va_end(args);
    qd_service_say(course->service, level, event, "job=%s request_id=%s %s", course->active->id,
                   course->active->request_id, details);
}
