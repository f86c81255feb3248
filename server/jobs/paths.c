/* paths.c: see paths.h. */
#include "jobs/paths.h"

#include <stdlib.h>

#include "base/file.h"
#include "base/str.h"

static char *below(const char *state_dir, const char *folder, const char *id)
{
    QD_AUTO(qd_str_fini) qd_str path = { 0 };
    qd_str_addf(&path, "%s/%s/%s", state_dir, folder, id);
    return qd_str_take(&path);
}

qd_code qd_job_paths_init(const char *state_dir, const char *id, qd_job_paths *out, qd_error *err)
{
    qd_job_paths p = { .dir = below(state_dir, "jobs", id),
                       .artifact = below(state_dir, "artifacts", id),
                       .quarantine = below(state_dir, "quarantine", id) };
    const struct {
        char **path;
        const char *name;
    } parts[] = {
        { &p.job, "job.json" }, { &p.log, "log.txt" }, { &p.lock, "lock" },
        { &p.work, "work" },    { &p.out, "out" },     { &p.texts, "texts" },
    };
    bool complete = p.dir != NULL && p.artifact != NULL && p.quarantine != NULL;
    for (size_t i = 0; complete && i < QD_LENGTH(parts); i++) {
        *parts[i].path = qd_path_join(p.dir, parts[i].name);
        complete = *parts[i].path != NULL;
    }
    if (!complete) {
        qd_job_paths_fini(&p);
        return qd_fail(err, QD_ENOMEM, "out of memory");
    }
    *out = p;
    return QD_OK;
}

void qd_job_paths_fini(qd_job_paths *p)
{
    char *all[] = { p->dir, p->job, p->log, p->lock, p->work, p->out, p->texts, p->artifact, p->quarantine };
    for (size_t i = 0; i < QD_LENGTH(all); i++)
        free(all[i]);
    *p = (qd_job_paths){ 0 };
}

qd_code qd_job_paths_remove(const char *state_dir, const char *id, qd_error *err)
{
    QD_AUTO(qd_job_paths_fini) qd_job_paths paths = { 0 };
    qd_code code = qd_job_paths_init(state_dir, id, &paths, err);
    if (code == QD_OK)
        code = qd_dir_remove(paths.artifact, err);
    if (code == QD_OK)
        code = qd_dir_remove(paths.quarantine, err);
    return code == QD_OK ? qd_dir_remove(paths.dir, err) : code;
}
