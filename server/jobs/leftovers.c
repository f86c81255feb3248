/* leftovers.c: see leftovers.h. Folders are listed before rows are read: a folder without a row is then nobody's. */
#include "jobs/leftovers.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "jobs/paths.h"
#include "jobs/run_limits.h"
#include "jobs/standings.h"
#include "store/retention_rows.h"

enum { TEMPORARY_SECONDS = 24 * 3600 };

/* A folder's job: its id, and where it stands; NULL = there is none. */
typedef struct place {
    const char *id;
    const qd_standing *job;
} place;

/* As it is now. */
typedef struct question {
    const char *id;
    qd_standing answer;
    bool known;
} question;

static qd_code ask(void *ctx, qd_tx *tx, qd_error *err)
{
    question *q = ctx;
    QD_AUTO(qd_job_row_fini) qd_job_row row = { 0 };
    qd_code code = qd_job_row_read(tx, q->id, &row, err);
    q->known = code == QD_OK;
    if (code == QD_ENOTFOUND)
        return QD_OK;
    if (code == QD_OK)
        code = qd_state_read(row.id, row.state, &q->answer.state, err);
    q->answer.finished_ms = row.finished_ms;
    return code == QD_OK ? qd_retention_has_artifact(tx, q->id, &q->answer.has_artifact, err) : code;
}

static bool is_final(const place *s)
{
    return s->job != NULL && qd_state_at(s->job->state)->kind == QD_STATE_FINAL;
}

static bool may_lose_its_work(const qd_leftovers *l, const place *s)
{
    double age = (double)(qd_clock_wall_ms() - s->job->finished_ms) * 1e-3;
    return is_final(s) && (s->job->state == QD_STATE_SUCCEEDED || (l->keep_failed > 0 && age > l->keep_failed));
}

static void remove_one(const qd_leftovers *l, const char *kind, const char *name, const char *path)
{
    qd_error err = { 0 };
    if (!qd_path_exists(path))
        return;
    uint64_t bytes = qd_dir_bytes(path);
    qd_code code = l->mode == QD_COLLECT_REMOVE ? qd_dir_remove(path, &err) : QD_OK;
    if (code == QD_OK)
        l->removed(l->ctx, kind, name, bytes);
    else
        qd_service_say(l->service, "warn", "collect.not-removed", "path=%s reason=\"%s\"", path, err.text);
}

/* With the job's lock held, or where there is no job. */
static void clear(const qd_leftovers *l, const place *s, const qd_job_paths *paths)
{
    if (s->job == NULL) {
        remove_one(l, "orphan", s->id, paths->artifact);
        remove_one(l, "orphan", s->id, paths->quarantine);
        remove_one(l, "orphan", s->id, paths->dir);
        return;
    }
    if (!is_final(s))
        return;
    if (!s->job->has_artifact || s->job->state != QD_STATE_SUCCEEDED)
        remove_one(l, "orphan", s->id, paths->artifact);
    if (s->job->state != QD_STATE_QUARANTINED || may_lose_its_work(l, s))
        remove_one(l, "quarantine", s->id, paths->quarantine);
    remove_one(l, "texts", s->id, paths->texts);
    if (may_lose_its_work(l, s)) {
        remove_one(l, "checkpoints", s->id, paths->work);
        remove_one(l, "checkpoints", s->id, paths->out);
    }
}

/* Is there anything to be done at all? Most jobs of most minutes: no. */
static bool holds_leftovers(const qd_leftovers *l, const place *s, const qd_job_paths *paths)
{
    if (s->job == NULL)
        return true;
    if (!is_final(s))
        return false;
    bool work = may_lose_its_work(l, s) && (qd_path_exists(paths->work) || qd_path_exists(paths->out));
    bool quarantine =
        (s->job->state != QD_STATE_QUARANTINED || may_lose_its_work(l, s)) && qd_path_exists(paths->quarantine);
    bool artifact = (!s->job->has_artifact || s->job->state != QD_STATE_SUCCEEDED) && qd_path_exists(paths->artifact);
    return work || quarantine || artifact || qd_path_exists(paths->texts);
}

static void look_at(const qd_leftovers *l, const qd_standings *standings, const char *id)
{
    place s = { .id = id, .job = qd_standings_find(standings, id) };
    question q = { .id = id };
    QD_AUTO(qd_job_paths_fini) qd_job_paths paths = { 0 };
    QD_AUTO(qd_close_fd) int lock = -1;
    if ((s.job != NULL && !is_final(&s)) ||
        qd_job_paths_init(l->service->settings.state_dir, id, &paths, NULL) != QD_OK ||
        !holds_leftovers(l, &s, &paths) || qd_active_has(l->service, id))
        return;
    if (s.job != NULL) {
        lock = open(paths.lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) != 0)
            return; /* a run has it; or its folder is gone, and the next start looks after the rest */
        if (qd_store_read(l->service->store, ask, &q, NULL) != QD_OK || !q.known)
            return;
        s.job = &q.answer;
    }
    clear(l, &s, &paths);
}

static void look_through(const qd_leftovers *l, const char *folder)
{
    char **names = NULL;
    size_t count = 0;
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(l->service->settings.state_dir, folder);
    QD_AUTO(qd_standings_fini) qd_standings standings = { 0 };
    if (path == NULL || qd_dir_list(path, &names, &count, NULL) != QD_OK)
        return;
    bool known = qd_standings_read(l->service, &standings, NULL) == QD_OK;
    for (size_t i = 0; known && i < count && !qd_service_stopping(l->service); i++)
        if (qd_ident_ok(names[i]))
            look_at(l, &standings, names[i]);
    qd_names_free(names, count);
}

/* Files that were being written when their writer was killed. */
static void remove_temporary(const qd_leftovers *l)
{
    char **names = NULL;
    size_t count = 0;
    const char *folder = l->service->settings.state_dir;
    if (qd_dir_list(folder, &names, &count, NULL) != QD_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        QD_AUTO(qd_free_pointer) char *path = qd_path_join(folder, names[i]);
        struct stat info;
        if (path != NULL && strstr(names[i], ".tmp") != NULL && lstat(path, &info) == 0 && S_ISREG(info.st_mode) &&
            time(NULL) - info.st_mtime > TEMPORARY_SECONDS)
            remove_one(l, "temporary", names[i], path);
    }
    qd_names_free(names, count);
}

void qd_leftovers_remove(const qd_leftovers *l)
{
    look_through(l, "jobs");
    look_through(l, "artifacts");
    look_through(l, "quarantine");
    remove_temporary(l);
}
