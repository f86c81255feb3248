/* once.h: a request that is sent twice is carried out once: its answer is kept under the key that came with it.
 * Room: server/jobs. May use: base, store. Never: http.
 * Threads: any; a qd_once belongs to the thread that began it.
 * Source: api.md "Idempotency-Key"; draft-ietf-httpapi-idempotency-key-header. */
#ifndef QD_JOBS_ONCE_H
#define QD_JOBS_ONCE_H

#include "base/digest.h"
#include "jobs/service.h"
#include "store/store.h"

enum { QD_ONCE_KEY_MAX = 200, QD_ONCE_SECONDS = 24 * 3600 };

typedef struct qd_once {
    char owner[QD_JOB_ID]; /* who asks: two clients may use the same key */
    char key[QD_ONCE_KEY_MAX + 1];
    char body_sha256[QD_DIGEST_HEX];
    /* The answer for the job just made, JSON text on the heap; NULL counts as out of memory. */
    char *(*print)(const qd_job *job);
    char *answer; /* owned: the one kept earlier, or, after qd_service_submit, that of the job just made */
    struct qd_once *next;
} qd_once;
void qd_once_fini(qd_once *once);

/* Is the text 1 to 200 visible ASCII characters? */
bool qd_once_key_ok(const char *key);

/* Fills in owner, key and digest, and holds the key until qd_once_end. once->answer is what was answered within the
 * last day, or NULL: go on. QD_EINVAL: the key came with another body. QD_ECONFLICT: the first such request is still
 * under way. After a failure there is nothing to end. */
qd_code qd_once_begin(qd_service *service, qd_once *once, const qd_caller *caller, const char *key, const void *body,
                      size_t length, qd_error *err);
void qd_once_end(qd_service *service, qd_once *once);

/* Keeps once->answer for `job`; inside the transaction that makes the job. */
qd_code qd_once_keep(qd_tx *tx, const qd_once *once, const char *job, qd_error *err);

#endif
