/* problem.h: the kinds of problem documents, their statuses, and which kind a qd_code becomes.
 * Room: server/http. May use: core, api. Never: MHD.
 * Threads: any. */
#ifndef QD_HTTP_PROBLEM_H
#define QD_HTTP_PROBLEM_H

#include "http/message.h"

/* Rows of the table in problem.c. */
typedef enum qd_problem_kind {
    QD_PROBLEM_BAD_REQUEST,
    QD_PROBLEM_NOT_JSON,
    QD_PROBLEM_UNAUTHORIZED,
    QD_PROBLEM_FORBIDDEN,
    QD_PROBLEM_NOT_FOUND,
    QD_PROBLEM_METHOD,
    QD_PROBLEM_CONFLICT,
    QD_PROBLEM_UNDER_WAY,
    QD_PROBLEM_PRECONDITION,
    QD_PROBLEM_GONE,
    QD_PROBLEM_TOO_LARGE,
    QD_PROBLEM_MEDIA_TYPE,
    QD_PROBLEM_RANGE,
    QD_PROBLEM_INVALID,
    QD_PROBLEM_INVALID_KEY,
    QD_PROBLEM_KEY_REUSED,
    QD_PROBLEM_BUSY,
    QD_PROBLEM_INTERNAL,
    QD_PROBLEM_UNSUPPORTED,
    QD_PROBLEM_UPSTREAM,
    QD_PROBLEM_UNAVAILABLE,
    QD_PROBLEM_NO_SPACE,
    QD_PROBLEM_KINDS,
} qd_problem_kind;

typedef struct qd_problem_row {
    const char *slug, *title;
    unsigned status;
    unsigned retry_after; /* seconds; 0 = no such header */
} qd_problem_row;
const qd_problem_row *qd_problem_row_at(qd_problem_kind kind);
qd_problem_kind qd_problem_kind_of(qd_code code);

/* Makes the reply a problem document; earlier content is forgotten. Never fails: without memory the document has no
 * body. */
void qd_reply_problem(qd_reply *reply, const qd_request *request, qd_problem_kind kind, const qd_issues *issues,
                      const char *format, ...) QD_PRINTF(5, 6);
/* By code. The text of a failure of ours (5xx without a remedy) stays in the log. */
void qd_reply_failure(qd_reply *reply, const qd_request *request, qd_code code, const qd_error *err);

#endif
