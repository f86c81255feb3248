/* outbound.h: what a request says: its headers, its signature, its body.
 * Room: server/fetch, private to it. May use: base, libcurl.
 * Threads: a qd_outbound belongs to its transfer's thread. */
#ifndef QD_FETCH_OUTBOUND_H
#define QD_FETCH_OUTBOUND_H

#include "fetch/transfer.h"

/* A body on its way out. */
typedef struct qd_outbound {
    const qd_ask_body *body;
    uint64_t at;
    qd_code code; /* why reading stopped; QD_OK = it did not */
    qd_error failure;
} qd_outbound;

bool qd_outbound_has_token(const qd_egress *egress, const qd_url *url);
bool qd_outbound_is_signed(const qd_egress *egress, const qd_url *url);
/* The headers of one hop, added to *list, which is the caller's to free even after a failure. */
qd_code qd_outbound_headers(const qd_egress *egress, const qd_ask *ask, const qd_url *url, struct curl_slist **list,
                            qd_error *err);
/* Method, range and body; `outbound` must stay where it is until the transfer is over. */
void qd_outbound_set(qd_outbound *outbound, CURL *curl, const qd_ask *ask);
/* Retry-After as seconds, also where it was written as a date. */
void qd_outbound_answered(CURL *curl, qd_reply_head *head);

#endif
