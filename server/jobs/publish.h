/* publish.h: the artifact a run left becomes the job's: checked against its manifest, moved by one rename.
 * Room: server/jobs, private to it. May use: base.
 * Threads: the job's worker. */
#ifndef QD_JOBS_PUBLISH_H
#define QD_JOBS_PUBLISH_H

#include "jobs/paths.h"
#include "jobs/record.h"

typedef struct qd_publication {
    qd_record_file *files;
    size_t count;
} qd_publication;
void qd_publication_fini(qd_publication *publication);

/* Reads out/manifest.json, checks names and sizes, syncs, renames out to artifacts/ID. QD_EFORMAT: the manifest does
 * not describe the folder. */
qd_code qd_publish(const qd_job_paths *paths, qd_publication *out, qd_error *err);

#endif
