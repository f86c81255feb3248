/* paths.h: where a job's files are.
 * Room: server/jobs, private to it. May use: base.
 * Threads: any. */
#ifndef QD_JOBS_PATHS_H
#define QD_JOBS_PATHS_H

#include "base/error.h"

/* Paths of one job, owned. */
typedef struct qd_job_paths {
    char *dir;        /* STATE/jobs/ID */
    char *job;        /* dir/job.json */
    char *log;        /* dir/log.txt */
    char *lock;       /* dir/lock */
    char *work;       /* dir/work: checkpoints */
    char *texts;      /* dir/texts: what the run reads besides the model; only while it runs */
    char *out;        /* dir/out: the artifact in the making */
    char *artifact;   /* STATE/artifacts/ID */
    char *quarantine; /* STATE/quarantine/ID: an artifact that is not served */
} qd_job_paths;
qd_code qd_job_paths_init(const char *state_dir, const char *id, qd_job_paths *out, qd_error *err);
void qd_job_paths_fini(qd_job_paths *paths);

/* Removes a job's folders. */
qd_code qd_job_paths_remove(const char *state_dir, const char *id, qd_error *err);

#endif
