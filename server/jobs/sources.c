/* sources.c: see sources.h. */
#include "jobs/sources.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "engine/arithmetic.h"
#include "engine/task_files.h"
#include "eval/task_set.h"
#include "jobs/entrance.h"
#include "jobs/service_private.h"

enum { DEPTH_MAX = 32 };

void qd_sources_fini(qd_sources *s)
{
    qd_recipe_destroy(s->recipe);
    json_decref(s->recipe_json);
    qd_fetched_fini(&s->model);
    free(s->calibration);
    free(s->evaluation);
    free(s->tasks);
    for (size_t i = 0; i < QD_TEXTS_MAX; i++)
        free(s->also[i]);
    *s = (qd_sources){ 0 };
}

json_t *qd_sources_resolved(const json_t *recipe, const json_t *fetched)
{
    json_t *resolved = json_deep_copy(recipe);
    json_t *model = json_object_get(resolved, "model");
    json_t *files = json_deep_copy(json_object_get(fetched, "files")), *file,
           *commit = json_object_get(fetched, "commit");
    size_t index;
    if (fetched == NULL || !json_is_object(model)) {
        json_decref(files);
        return resolved;
    }
    json_array_foreach(files, index, file)
    {
        json_object_del(file, "cached"); /* says how it came, not what it is */
    }
    json_object_set_new(model, "commit", commit == NULL ? json_null() : json_incref(commit));
    json_object_set_new(model, "files", files == NULL ? json_array() : files);
    return resolved;
}

/* The commit an earlier attempt found: a branch that moved since does not change the job. */
static const char *pinned(const json_t *resolved)
{
    return json_string_value(json_object_get(json_object_get(resolved, "model"), "commit"));
}

typedef struct download {
    qd_course *course;
    double started;
} download;

static void on_step(void *ctx, uint64_t done, uint64_t total, const char *file)
{
    download *d = ctx;
    double spent = qd_clock_seconds() - d->started;
    (void)file;
    json_t *eta = done > 0 && total > done ? json_real(spent * (double)(total - done) / (double)done) : json_null();
    qd_code code =
        qd_course_progress_take(d->course,
                                json_pack("{s:s, s:I, s:I, s:s, s:o}", "phase", "downloading", "done", (json_int_t)done,
                                          "total", (json_int_t)total, "unit", "bytes", "eta", eta),
                                &d->course->fault_err);
    if (code != QD_OK) { /* lost the job, or the database is full: no use in the rest of the bytes */
        d->course->fault = code;
        qd_cancel_request(&d->course->active->cancel);
    }
}

static qd_code fetch_model(qd_course *course, const qd_job_row *row, const json_t *resolved, qd_sources *s,
                           qd_error *err)
{
    const char *commit = pinned(resolved);
    const qd_fetch_request request = { .url = s->recipe->model_url,
                                       .revision = commit == NULL ? s->recipe->model_revision : commit,
                                       .token = row->secret,
                                       .sha256 = s->recipe->model_sha256 };
    download d = { .course = course, .started = qd_clock_seconds() };
    const qd_fetch_progress progress = { .step = on_step, .ctx = &d };
    qd_code code =
        qd_fetch_model(course->service->fetcher, &request, &progress, &course->active->cancel, &s->model, err);
    if (course->fault != QD_OK) {
        *err = course->fault_err;
        return course->fault;
    }
    if (code == QD_OK) {
        pthread_mutex_lock(&course->service->mutex);
        course->service->tally.downloaded_bytes += s->model.downloaded_bytes;
        pthread_mutex_unlock(&course->service->mutex);
    }
    return code;
}

/* A link, or a copy, of the cache's file, which may be collected while the run still has to read it. */
static qd_code hold_text(const qd_course *course, const char *name, const char *blob, char **out, qd_error *err)
{
    qd_code code = qd_dir_make(course->paths.texts, err);
    QD_AUTO(qd_free_pointer) char *path = code == QD_OK ? qd_path_join(course->paths.texts, name) : NULL;
    if (code == QD_OK && path == NULL)
        code = qd_fail(err, QD_ENOMEM, "out of memory");
    if (code != QD_OK)
        return code;
    unlink(path); /* of an earlier attempt */
    if (link(blob, path) != 0)
        code = qd_file_copy(blob, path, err);
    if (code == QD_OK) {
        *out = path;
        path = NULL;
    }
    return code;
}

/* A text of the job: the field that names it, and what its file is called among the job's. */
typedef struct text_place {
    const char *field, *name;
} text_place;

static qd_code fetch_text(qd_course *course, text_place place, const char *source, const char *fallback, char **out,
                          qd_error *err)
{
    char digest[QD_DIGEST_HEX];
    const char *url = qd_source_url(source);
    QD_AUTO(qd_free_pointer) char *blob = NULL;
    if (url == NULL)
        return qd_dup(source == NULL ? fallback : NULL, out, err);
    qd_code code =
        qd_fetch_text(course->service->fetcher, url, QD_TEXT_LIMIT, &course->active->cancel, &blob, digest, err);
    if (code == QD_OK)
        code = hold_text(course, place.name, blob, out, err);
    return code == QD_OK || code == QD_ECANCELLED ? code : qd_within(err, code, "%s", place.field);
}

/* The examples of one task, in the folder of the job's. */
static qd_code hold_task(qd_course *course, const char *folder, const qd_task_choice *choice, qd_error *err)
{
    char digest[QD_DIGEST_HEX];
    const char *shared = course->service->settings.config.evaluation_tasks;
    QD_AUTO(qd_free_pointer) char *from = NULL, *to = qd_task_file_in(folder, choice->task);
    qd_code code = to == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
    if (code == QD_OK && choice->data != NULL)
        code = qd_fetch_text(course->service->fetcher, choice->data, QD_TASK_FILE_LIMIT, &course->active->cancel, &from,
                             digest, err);
    else if (code == QD_OK && shared == NULL)
        code = qd_fail(err, QD_EINVAL, "it names no data, and the operator has no folder of tasks");
    else if (code == QD_OK && (from = qd_task_file_in(shared, choice->task)) == NULL)
        code = qd_fail(err, QD_ENOMEM, "out of memory");
    if (code == QD_OK)
        unlink(to);                                                     /* of an earlier attempt */
    if (code == QD_OK && (choice->data == NULL || link(from, to) != 0)) /* the operator's file may be edited in place */
        code = qd_file_copy(from, to, err);
    return code == QD_OK ? code : qd_within(err, code, "evaluation.tasks: '%s'", choice->task->name);
}

static qd_code hold_tasks(qd_course *course, qd_sources *s, qd_error *err)
{
    if (s->recipe->task_count == 0)
        return QD_OK;
    s->tasks = qd_path_join(course->paths.texts, "tasks");
    qd_code code = s->tasks == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_dir_make(s->tasks, err);
    for (size_t i = 0; code == QD_OK && i < s->recipe->task_count; i++)
        code = hold_task(course, s->tasks, &s->recipe->tasks[i], err);
    return code;
}

static qd_code read_recipe(const qd_job_row *row, qd_sources *s, qd_error *err)
{
    qd_issues issues = { 0 };
    qd_code code = qd_json_parse_object(row->recipe, strlen(row->recipe), DEPTH_MAX, &s->recipe_json, err);
    if (code == QD_OK)
        code = qd_recipe_parse(s->recipe_json, &s->recipe, &issues, err);
    return code == QD_OK ? code : qd_within(err, code, "the stored recipe");
}

static qd_code enter_quantizing(qd_course *course, const qd_sources *s, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *resolved = qd_sources_resolved(s->recipe_json, s->model.resolved);
    QD_AUTO(qd_json_fini) json_t *data = json_pack("{s:s}", "phase", qd_state_at(QD_STATE_QUANTIZING)->name);
    if (resolved == NULL || data == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    qd_arithmetic_settle(s->recipe, s->model.folder, resolved);
    qd_record record = qd_course_record(course);
    record.resolved = resolved;
    record.forecast = course->forecast;
    record.type = "phase";
    record.data = data;
    return qd_course_move(course, &record, QD_STATE_QUANTIZING, err);
}

static qd_code fetch_all(qd_course *course, const qd_job_row *row, qd_sources *out, qd_error *err)
{
    const qd_service_config *config = &course->service->settings.config;
    QD_AUTO(qd_json_fini) json_t *resolved = NULL;
    qd_code code = read_recipe(row, out, err);
    if (code == QD_OK)
        code = qd_json_parse_object(row->resolved, strlen(row->resolved), DEPTH_MAX, &resolved, err);
    if (code == QD_OK)
        code = fetch_model(course, row, resolved, out, err);
    if (code == QD_OK)
        code = fetch_text(course, (text_place){ "calibration.source", "calibration" }, out->recipe->calibration_source,
                          config->calibration_text, &out->calibration, err);
    if (code == QD_OK)
        code = fetch_text(course, (text_place){ "evaluation.text", "evaluation" }, out->recipe->evaluation_text,
                          config->evaluation_text, &out->evaluation, err);
    for (size_t i = 0; code == QD_OK && i < out->recipe->evaluation_also.count; i++) {
        char field[40], name[32];
        snprintf(field, sizeof field, "evaluation.also[%zu]", i);
        snprintf(name, sizeof name, "evaluation-%zu", i + 2);
        code = fetch_text(course, (text_place){ field, name }, out->recipe->evaluation_also.items[i].url, NULL,
                          &out->also[i], err);
    }
    if (code == QD_OK)
        code = hold_tasks(course, out, err);
    if (code == QD_OK)
        code = qd_entrance(course, out, err);
    return code == QD_OK ? enter_quantizing(course, out, err) : code;
}

qd_code qd_sources_fetch(qd_course *course, const qd_job_row *row, qd_sources *out, qd_error *err)
{
    qd_fetch_lease lease;
    qd_fetch_lease_begin(course->service->fetcher, &lease);
    qd_code code = fetch_all(course, row, out, err); /* at its end the job's row names what it uses */
    qd_fetch_lease_end(course->service->fetcher, &lease);
    return code;
}
