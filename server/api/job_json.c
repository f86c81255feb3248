/* job_json.c: see job_json.h. */
#include "api/job_json.h"

#include <stdio.h>
#include <string.h>

#include "api/text.h"
#include "base/auto.h"

enum { LINK_LENGTH = 64 };

static void set_link(json_t *links, const char *name, const char *id, const char *tail)
{
    char path[LINK_LENGTH];
    snprintf(path, sizeof path, "/jobs/%s%s", id, tail);
    json_object_set_new(links, name, json_string(path));
}

/* Only what answers now: no artifacts before the job has succeeded. */
static json_t *print_links(const qd_job *job)
{
    json_t *links = json_object();
    bool succeeded = strcmp(job->state, "succeeded") == 0;
    set_link(links, "self", job->id, "");
    set_link(links, "layers", job->id, "/layers");
    set_link(links, "events", job->id, "/events");
    set_link(links, "log", job->id, "/log");
    set_link(links, "deliveries", job->id, "/deliveries");
    if (succeeded) {
        set_link(links, "artifacts", job->id, "/artifacts");
        set_link(links, "certificate", job->id, "/certificate");
    } else if (job->finished_ms == 0)
        set_link(links, "cancel", job->id, "/cancel");
    else
        set_link(links, "retry", job->id, "/retry");
    return links;
}

static void set_borrowed(json_t *object, const char *key, json_t *value)
{
    json_object_set_new(object, key, value == NULL ? json_null() : json_incref(value));
}

/* Where a request holds URLs. What is behind a '?' may be a signature or a token, and who may read jobs need not be who may use it. */
static const struct {
    const char *field, *member;
} urls[] = { { "model", "url" },
             { "calibration", "source" },
             { "evaluation", "text" },
             { "webhook", "url" },
             { "publish", "url" } };

static json_t *without_query(const json_t *url)
{
    const char *text = json_string_value(url);
    return json_stringn(text, strcspn(text, "?#"));
}

/* Lists of URLs, or of objects that have one. */
static const struct url_list {
    const char *field, *list, *member;
} lists[] = { { "evaluation", "also", "text" }, { "evaluation", "tasks", "data" } };

/* A bare text is a URL, or a task's name, which has no query. */
static json_t *strip_item(json_t *item, const struct url_list *where)
{
    json_t *url = json_object_get(item, where->member), *copy;
    if (json_is_string(item))
        return without_query(item);
    copy = json_copy(item);
    if (json_is_string(url))
        json_object_set_new(copy, where->member, without_query(url));
    return copy;
}

static void strip_list(json_t *document, const struct url_list *where)
{
    size_t index;
    json_t *item, *field = json_object_get(document, where->field), *list = json_object_get(field, where->list);
    json_t *stripped = json_array(), *inner;
    json_array_foreach(list, index, item) json_array_append_new(stripped, strip_item(item, where));
    if (json_array_size(list) > 0) {
        inner = json_copy(field);
        json_object_set(inner, where->list, stripped);
        json_object_set_new(document, where->field, inner);
    }
    json_decref(stripped);
}

json_t *qd_job_document_print(json_t *document)
{
    json_t *copy = json_is_object(document) ? json_copy(document) : json_null();
    for (size_t i = 0; i < QD_LENGTH(urls); i++) {
        json_t *value = json_object_get(copy, urls[i].field), *url = json_object_get(value, urls[i].member);
        if (json_is_string(value))
            json_object_set_new(copy, urls[i].field, without_query(value));
        else if (json_is_string(url)) {
            json_t *inner = json_copy(value);
            json_object_set_new(inner, urls[i].member, without_query(url));
            json_object_set_new(copy, urls[i].field, inner);
        }
    }
    for (size_t i = 0; i < QD_LENGTH(lists); i++)
        strip_list(copy, &lists[i]);
    return copy;
}

json_t *qd_job_print(const qd_job *job)
{
    json_t *object = json_object();
    if (object == NULL)
        return NULL;
    json_object_set_new(object, "id", json_string(job->id));
    json_object_set_new(object, "name", qd_text_print(job->name));
    json_object_set_new(object, "tags", json_is_object(job->tags) ? json_incref(job->tags) : json_object());
    json_object_set_new(object, "state", json_string(job->state));
    json_object_set_new(object, "priority", json_integer(job->priority));
    json_object_set_new(object, "created_at", qd_time_print(job->created_ms));
    json_object_set_new(object, "started_at", qd_time_print(job->started_ms));
    json_object_set_new(object, "finished_at", qd_time_print(job->finished_ms));
    json_object_set_new(object, "attempt", json_integer(job->attempt));
    json_object_set_new(object, "resumed", json_integer(job->resumed));
    json_object_set_new(object, "request", qd_job_document_print(job->request));
    json_object_set_new(object, "resolved", qd_job_document_print(job->resolved));
    set_borrowed(object, "forecast", job->forecast);
    set_borrowed(object, "progress", job->progress);
    set_borrowed(object, "result", job->result);
    set_borrowed(object, "problem", job->problem);
    json_object_set_new(object, "links", print_links(job));
    return object;
}

json_t *qd_job_page_print(const qd_job *jobs, size_t count, bool has_more)
{
    json_t *data = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(data, qd_job_print(&jobs[i]));
    json_t *cursor = has_more && count > 0 ? json_string(jobs[count - 1].id) : json_null();
    return json_pack("{s:o, s:b, s:o}", "data", data, "has_more", has_more, "next_cursor", cursor);
}

json_t *qd_list_print_take(json_t *array)
{
    return json_pack("{s:o}", "data", array);
}

json_t *qd_event_page_print_take(json_t *events, size_t limit)
{
    bool has_more = json_array_size(events) > limit;
    while (json_array_size(events) > limit)
        json_array_remove(events, json_array_size(events) - 1);
    return json_pack("{s:o, s:b}", "data", events, "has_more", has_more);
}
