/* audit.h: what the service writes down of every change: who, from where, what, to what.
 * Room: server/jobs, private to it. May use: base, store.
 * Threads: inside a change. */
#ifndef QD_JOBS_AUDIT_H
#define QD_JOBS_AUDIT_H

#include <jansson.h>

#include "jobs/caller.h"
#include "store/store.h"

/* What is written down; the words are in audit.c (qd_audit_word). */
typedef enum qd_audit_action {
    QD_AUDIT_JOB_CREATE,
    QD_AUDIT_JOB_CANCEL,
    QD_AUDIT_JOB_RETRY,
    QD_AUDIT_JOB_DELETE,
    QD_AUDIT_JOB_UPDATE,
    QD_AUDIT_DELIVERY_RETRY,
    QD_AUDIT_KEY_CREATE,
    QD_AUDIT_KEY_REVOKE,
    QD_AUDIT_LOGIN,
    QD_AUDIT_LOGOUT,
    QD_AUDIT_ACTIONS,
} qd_audit_action;

/* In the transaction of the change itself. `target`: the job's or key's id. `detail`: an object without secrets, taken
 * even on failure; NULL = {}. */
qd_code qd_audit_add_take(qd_tx *tx, const qd_caller *caller, qd_audit_action action, const char *target,
                          json_t *detail, qd_error *err);

#endif
