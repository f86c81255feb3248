/* job_edit_rows.h: what clients may change in rows of table job.
 * Room: server/store. May use: base, SQLite.
 * Threads: inside a change of store.h. */
#ifndef QD_STORE_JOB_EDIT_ROWS_H
#define QD_STORE_JOB_EDIT_ROWS_H

#include "store/store.h"

/* Texts are borrowed; JSON but for the name, which may be NULL. */
typedef struct qd_job_edit {
    const char *id;
    const char *name, *tags, *recipe;
    unsigned priority;
} qd_job_edit;
/* The tags are also made findable in the place of those that were; the version grows. */
qd_code qd_job_row_edit(qd_tx *tx, const qd_job_edit *edit, qd_error *err);

#endif
