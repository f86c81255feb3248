/* backup.h: a state folder's database and artifacts, put elsewhere and brought back.
 * Room: server/jobs. May use: base, store.
 * Threads: any; a backup is made beside the service, a state is restored without one.
 *
 * A backup is a folder: quantd.db, and artifacts/ID/ if they were wanted. It appears by one rename. Checkpoints, logs, the
 * model cache and quarantined artifacts are not in it: jobs that were not finished begin anew. */
#ifndef QD_JOBS_BACKUP_H
#define QD_JOBS_BACKUP_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef enum qd_backup_parts { QD_BACKUP_DATABASE, QD_BACKUP_WITH_ARTIFACTS } qd_backup_parts;

typedef struct qd_backup_report {
    size_t jobs, artifacts, files; /* artifacts: that are whole */
    uint64_t bytes;                /* of their files */
    char **absent;                 /* ids of jobs whose artifact is not there, or not what it was */
    size_t absent_count;
} qd_backup_report;
void qd_backup_report_fini(qd_backup_report *report);

/* Makes TO, which must not exist yet. Files are hard links where that is possible, else copies. */
qd_code qd_backup_make(const char *state, const char *to, qd_backup_parts parts, qd_backup_report *out, qd_error *err);
/* FROM: a backup, or a database file. STATE must be empty (or a restore that was broken off) and not in use. Digests are
 * verified; a job whose artifact is absent has none any more (410), but keeps its result. */
qd_code qd_backup_restore(const char *from, const char *state, qd_backup_report *out, qd_error *err);

#endif
