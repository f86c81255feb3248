/* answer.h: a request whose answer is small and wanted as a whole; once, or with retries.
 * Room: server/fetch, private to it. May use: base, libcurl.
 * Threads: nothing is shared. */
#ifndef QD_FETCH_ANSWER_H
#define QD_FETCH_ANSWER_H

#include "base/str.h"
#include "fetch/run.h"

typedef struct qd_answer {
    qd_reply_head head;
    qd_str body; /* at most `limit` bytes; of a longer one the transfer fails with QD_ETOOBIG */
} qd_answer;
void qd_answer_fini(qd_answer *answer);

/* QD_OK whatever the status. */
qd_code qd_answer_once(qd_line *line, const qd_egress *egress, const qd_ask *ask, size_t limit, qd_answer *answer,
                       qd_trouble *out_trouble, qd_error *err);
/* The same until the answer is neither broken off nor one of qd_retry_status, as often as the fetcher says. The last
 * such status is QD_ENETWORK; others are QD_OK. */
qd_code qd_answer_get(const qd_fetcher *fetcher, qd_line *line, const qd_egress *egress, const qd_ask *ask,
                      size_t limit, qd_answer *answer, qd_error *err);
/* What an S3 storage says in the body of an answer that is no success; "status 403: AccessDenied". */
qd_code qd_answer_fail(const qd_answer *answer, qd_code code, qd_error *err);

#endif
