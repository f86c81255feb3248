/* cancel.h: a token a long loop can ask "shall I stop?".
 * Room: core/base. May use: libc.
 * Threads: any; setting it is async-signal-safe. */
#ifndef QD_BASE_CANCEL_H
#define QD_BASE_CANCEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct qd_cancel {
    atomic_bool requested;
} qd_cancel;

static inline void qd_cancel_request(qd_cancel *cancel)
{
    atomic_store(&cancel->requested, true);
}

/* NULL never cancels. */
static inline bool qd_cancel_requested(const qd_cancel *cancel)
{
    return cancel != NULL && atomic_load(&((qd_cancel *)(uintptr_t)cancel)->requested);
}

/* QD_ECANCELLED when requested. */
static inline qd_code qd_cancel_check(const qd_cancel *cancel, qd_error *err)
{
    return qd_cancel_requested(cancel) ? qd_fail(err, QD_ECANCELLED, "cancelled") : QD_OK;
}

#endif
