/* error.h: one failure type, a code and a sentence, owned by the caller.
 * Room: core/base. May use: libc. Everyone may include it.
 * Threads: a qd_error belongs to one thread at a time. */
#ifndef QD_BASE_ERROR_H
#define QD_BASE_ERROR_H

#include "base/auto.h"

/* Codes are split by what the caller does next. The server's mapping to HTTP is in http/problem.c. */
typedef enum qd_code {
    QD_OK = 0,
    QD_EINVAL,       /* the request is wrong: fix it                                  */
    QD_EFORMAT,      /* a file is not what it should be: name it, refuse it           */
    QD_ESHAPE,       /* sizes disagree                                                */
    QD_ENUMERIC,     /* no answer for these numbers (not positive definite, NaN, ...) */
    QD_EGATE,        /* made, and not as good as was asked for                         */
    QD_EUNSUPPORTED, /* may exist; we cannot                                          */
    QD_ENOTFOUND,    /* no such thing                                                 */
    QD_EGONE,        /* it was there, and was removed on purpose                      */
    QD_ECONFLICT,    /* not in this state                                             */
    QD_ETOOBIG,      /* over a limit                                                  */
    QD_EBUSY,        /* try later                                                     */
    QD_ENOMEM,       /* out of memory                                                 */
    QD_ENOSPC,       /* disk full                                                     */
    QD_EIO,          /* the system refused a read or write                            */
    QD_EDENIED,      /* not allowed by policy or credentials                          */
    QD_ENETWORK,     /* the other side could not be reached or broke off              */
    QD_ETIMEOUT,     /* took longer than allowed                                      */
    QD_ECANCELLED,   /* somebody asked to stop                                        */
    QD_EINTERNAL,    /* our bug, found in time                                        */
} qd_code;

/* No allocation on the failure path; `text` reads outside in: "layer 'x': cholesky: ...". */
typedef struct qd_error {
    qd_code code;
    char text[600];
} qd_error;

/* Sets *err (NULL is fine) and returns `code`, so that failing is one line. */
qd_code qd_fail(qd_error *err, qd_code code, const char *format, ...) QD_PRINTF(3, 4);
/* As qd_fail, and appends ": strerror(errno)"; ENOSPC/EDQUOT become QD_ENOSPC, ENOMEM QD_ENOMEM, ENOENT
 * QD_ENOTFOUND. */
qd_code qd_fail_errno(qd_error *err, const char *format, ...) QD_PRINTF(2, 3);
/* Puts "context: " before the text already in *err and returns `code` unchanged. */
qd_code qd_within(qd_error *err, qd_code code, const char *format, ...) QD_PRINTF(3, 4);
/* "invalid", "format", ...: the stable word for a code, used in problem types and logs. */
const char *qd_code_name(qd_code code);

#endif
