/* ident.h: job ids: 26 characters of [a-z0-9], in the order of their making.
 * Room: server/jobs. May use: base.
 * Threads: any.
 * Form: 10 digits of milliseconds, 16 of chance, in Crockford's base 32 (a ULID in lower case). */
#ifndef QD_JOBS_IDENT_H
#define QD_JOBS_IDENT_H

#include <pthread.h>
#include <stdbool.h>

#include "base/error.h"

enum { QD_JOB_ID = 27 }; /* an id and its NUL */

typedef struct qd_idents {
    pthread_mutex_t mutex;
    char last[QD_JOB_ID]; /* ids only grow, even if the clock goes back */
} qd_idents;

/* newest: the largest id that exists, or "". */
void qd_idents_init(qd_idents *idents, const char *newest);
void qd_idents_fini(qd_idents *idents);
qd_code qd_ident_make(qd_idents *idents, char out[QD_JOB_ID], qd_error *err);
bool qd_ident_ok(const char *text);

#endif
