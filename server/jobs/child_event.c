/* child_event.c: see child_event.h. One row a kind of event. */
#include "jobs/child_event.h"

#include <math.h>
#include <string.h>

#include "base/json.h"

enum { DEPTH_MAX = 12, NAME_MAX_BYTES = 512, DETAIL_MAX_BYTES = 4096 };

typedef struct event_row {
    const char *name;
    qd_child_event_kind kind;
    qd_code (*read)(qd_child_event *event, qd_error *err);
} event_row;

static qd_code read_text(const json_t *object, const char *key, size_t limit, const char **out, qd_error *err)
{
    qd_code code = qd_json_text(object, key, NULL, out, err);
    if (code == QD_OK && *out == NULL)
        return qd_fail(err, QD_EFORMAT, "'%s' is missing", key);
    if (code == QD_OK && strlen(*out) > limit)
        return qd_fail(err, QD_EFORMAT, "'%s' is longer than %zu bytes", key, limit);
    return code;
}

static qd_code read_phase(qd_child_event *event, qd_error *err)
{
    const char *name = NULL;
    qd_code code = read_text(event->data, "phase", NAME_MAX_BYTES, &name, err);
    if (code == QD_OK && (!qd_state_find(name, &event->phase) || event->phase <= QD_STATE_DOWNLOADING ||
                          event->phase > QD_STATE_VERIFYING))
        return qd_fail(err, QD_EFORMAT, "'%.40s' is no phase of a run", name);
    return code;
}

static qd_code read_progress(qd_child_event *event, qd_error *err)
{
    size_t done = 0, total = 0;
    const char *unit = NULL;
    qd_code code = read_phase(event, err);
    if (code == QD_OK)
        code = qd_json_size(event->data, "done", 0, &done, err);
    if (code == QD_OK)
        code = qd_json_size(event->data, "total", 0, &total, err);
    if (code == QD_OK)
        code = qd_json_text(event->data, "unit", "", &unit, err);
    if (code == QD_OK && strlen(unit) > NAME_MAX_BYTES)
        return qd_fail(err, QD_EFORMAT, "'unit' is longer than %d bytes", (int)NAME_MAX_BYTES);
    return code;
}

static qd_code read_layer(qd_child_event *event, qd_error *err)
{
    size_t number = 0;
    const json_t *error = json_object_get(event->data, "error");
    const json_t *relative = json_object_get(error, "calibration");
    if (json_object_get(event->data, "index") == NULL)
        return qd_fail(err, QD_EFORMAT, "'index' is missing");
    qd_code code = qd_json_size(event->data, "index", 0, &number, err);
    if (code == QD_OK && number >= QD_CHILD_LAYERS_MAX)
        code = qd_fail(err, QD_EFORMAT, "index %zu is not below %d", number, (int)QD_CHILD_LAYERS_MAX);
    if (code == QD_OK)
        code = read_text(event->data, "name", NAME_MAX_BYTES, &event->name, err);
    if (code == QD_OK)
        code = qd_json_bool(event->data, "degraded", false, &event->degraded, err);
    if (code == QD_OK)
        code = qd_json_bool(event->data, "resumed", false, &event->resumed, err);
    event->number = number;
    event->relative_error = json_is_number(relative) ? json_number_value(relative) : NAN;
    json_object_del(event->data, "resumed");
    return code;
}

static qd_code read_detail(qd_child_event *event, qd_error *err)
{
    return read_text(event->data, "detail", DETAIL_MAX_BYTES, &event->detail, err);
}

static qd_code read_problem(qd_child_event *event, qd_error *err)
{
    const char *name = NULL;
    qd_code code = read_detail(event, err);
    if (code == QD_OK)
        code = read_text(event->data, "code", NAME_MAX_BYTES, &name, err);
    event->problem = QD_EINTERNAL;
    for (int i = QD_OK + 1; code == QD_OK && i < QD_EINTERNAL; i++)
        if (strcmp(qd_code_name((qd_code)i), name) == 0)
            event->problem = (qd_code)i;
    return code;
}

static qd_code read_heartbeat(qd_child_event *event, qd_error *err)
{
    size_t rss = 0;
    qd_code code = qd_json_size(event->data, "rss", 0, &rss, err);
    event->rss = rss;
    return code;
}

static qd_code read_any(qd_child_event *event, qd_error *err)
{
    (void)event;
    (void)err;
    return QD_OK;
}

static const event_row rows[] = {
    { "phase", QD_CHILD_PHASE, read_phase },      { "progress", QD_CHILD_PROGRESS, read_progress },
    { "layer", QD_CHILD_LAYER, read_layer },      { "stream", QD_CHILD_STREAM, read_any },
    { "warning", QD_CHILD_WARNING, read_detail }, { "heartbeat", QD_CHILD_HEARTBEAT, read_heartbeat },
    { "result", QD_CHILD_RESULT, read_any },      { "problem", QD_CHILD_PROBLEM, read_problem },
};

static const event_row *find_row(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(rows); i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

void qd_child_event_fini(qd_child_event *event)
{
    json_decref(event->data);
    *event = (qd_child_event){ 0 };
}

qd_code qd_child_event_parse(const char *line, size_t length, qd_child_event *out, qd_error *err)
{
    qd_child_event event = { 0 };
    const char *name = NULL;
    qd_code code = qd_json_parse_object(line, length, DEPTH_MAX, &event.data, err);
    if (code == QD_OK)
        code = read_text(event.data, "event", NAME_MAX_BYTES, &name, err);
    const event_row *row = code == QD_OK ? find_row(name) : NULL;
    if (code == QD_OK && row == NULL)
        code = qd_fail(err, QD_EFORMAT, "there is no event '%.40s'", name);
    if (code == QD_OK) {
        event.kind = row->kind;
        json_object_del(event.data, "event");
        code = row->read(&event, err);
    }
    if (code == QD_OK)
        *out = event;
    else
        qd_child_event_fini(&event);
    return code;
}
