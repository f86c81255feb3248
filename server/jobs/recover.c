/* recover.c: see recover.h. */
#include "jobs/recover.h"

#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "jobs/paths.h"
#include "jobs/record.h"
#include "jobs/standings.h"
#include "store/job_rows.h"

typedef struct found {
    char id[QD_ID_SIZE];
    unsigned attempt;
    qd_state_id state;
} found;

typedef struct findings {
    found *items;
    size_t count, capacity;
    qd_state_id state; /* that is being looked through */
} findings;

static qd_code add(void *ctx, const char *id, unsigned attempt, qd_error *err)
{
    findings *f = ctx;
    qd_code code = qd_grow((void **)&f->items, &f->capacity, f->count + 1, sizeof *f->items, err);
    if (code != QD_OK)
        return code;
    found *item = &f->items[f->count++];
    *item = (found){ .attempt = attempt, .state = f->state };
    snprintf(item->id, sizeof item->id, "%s", id);
    return QD_OK;
}

static qd_code requeue(qd_tx *tx, const found *item, qd_error *err)
{
    uint64_t event = 0;
    qd_code code = QD_FAULT_CODE("recover.requeue", err);
    if (code == QD_OK)
        code = qd_job_row_move(tx, item->id, item->attempt, qd_state_at(item->state)->name,
                               qd_state_at(QD_STATE_QUEUED)->name, err);
    if (code == QD_OK)
        code = qd_job_row_add_resumed(tx, item->id, err);
    return code == QD_OK ? qd_record_state_event(tx, item->id, QD_STATE_QUEUED, &event, err) : code;
}

/* All running jobs, in one transaction. */
static qd_code requeue_running(void *ctx, qd_tx *tx, qd_error *err)
{
    size_t *out_count = ctx;
    findings f = { 0 };
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < QD_STATE_COUNT; i++) {
        f.state = (qd_state_id)i;
        if (qd_state_at(i)->kind == QD_STATE_RUNNING)
            code = qd_job_row_each(tx, qd_state_at(i)->name, add, &f, err);
    }
    for (size_t i = 0; code == QD_OK && i < f.count; i++)
        code = requeue(tx, &f.items[i], err);
    *out_count = f.count;
    free(f.items);
    return code;
}

/* What a killed process was about to rename. Nobody else writes here: the state folder is locked. */
static void sweep_temporaries(const char *dir)
{
    char **names = NULL;
    size_t count = 0;
    if (qd_dir_list(dir, &names, &count, NULL) != QD_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        QD_AUTO(qd_free_pointer) char *path = strstr(names[i], ".tmp.") == NULL ? NULL : qd_path_join(dir, names[i]);
        if (path != NULL)
            qd_dir_remove(path, NULL);
    }
    qd_names_free(names, count);
}

static qd_code sweep_one(qd_service *service, const qd_standings *standings, const char *id, qd_error *err)
{
    const qd_standing *job = qd_standings_find(standings, id);
    QD_AUTO(qd_job_paths_fini) qd_job_paths paths = { 0 };
    qd_code code = qd_job_paths_init(service->settings.state_dir, id, &paths, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("recover.sweep", err);
    if (code == QD_OK && job == NULL)
        code = qd_dir_remove(paths.dir, err);
    sweep_temporaries(paths.dir);
    if (code == QD_OK && !(job != NULL && job->state == QD_STATE_QUARANTINED))
        code = qd_dir_remove(paths.quarantine, err);
    if (code == QD_OK && !(job != NULL && job->state == QD_STATE_SUCCEEDED && job->has_artifact))
        code = qd_dir_remove(paths.artifact, err);
    if (code != QD_OK || job == NULL || job->state != QD_STATE_SUCCEEDED)
        return code;
    code = qd_dir_remove(paths.work, err);
    return code == QD_OK ? qd_dir_remove(paths.out, err) : code;
}

/* Best effort: what cannot be removed now is met again at the next start. */
static void sweep(qd_service *service, const char *folder)
{
    char **names = NULL;
    size_t count = 0;
    qd_error err = { 0 };
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(service->settings.state_dir, folder);
    QD_AUTO(qd_standings_fini) qd_standings standings = { 0 };
    if (path == NULL || qd_dir_list(path, &names, &count, &err) != QD_OK)
        return;
    bool known = qd_standings_read(service, &standings, &err) == QD_OK;
    for (size_t i = 0; known && i < count; i++)
        if (qd_ident_ok(names[i]) && sweep_one(service, &standings, names[i], &err) != QD_OK)
            qd_service_say(service, "warn", "sweep.failed", "job=%s reason=\"%s\"", names[i], err.text);
    qd_names_free(names, count);
}

qd_code qd_recover(qd_service *service, qd_error *err)
{
    size_t count = 0;
    qd_code code = qd_store_write(service->store, requeue_running, &count, err);
    if (code != QD_OK)
        return qd_within(err, code, "recovery");
    QD_FAULT("recover.requeued");
    service->tally.resumes += count;
    if (count > 0)
        qd_service_say(service, "info", "recovered", "jobs=%zu", count);
    sweep(service, "jobs");
    sweep(service, "artifacts");
    sweep(service, "quarantine");
    return QD_OK;
}
