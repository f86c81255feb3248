/* validator.h: entity tags, and the conditions of requests on them.
 * Room: server/http. May use: base, jobs. Never: MHD.
 * Threads: any; there is no state.
 * Source: RFC 9110 §8.8.3, §13.1, §14.
 *
 * A job's tag is "EDITION-VERSION": EDITION is a digest of what clients may change (name, tags, recipe), VERSION grows
 * with everything that happens, progress included. If-None-Match compares all of it; If-Match only EDITION, because
 * it is there so that one client does not undo another's change, and a running job's progress is nobody's change. */
#ifndef QD_HTTP_VALIDATOR_H
#define QD_HTTP_VALIDATOR_H

#include "http/message.h"
#include "jobs/service.h"

enum { QD_ETAG_LENGTH = 72 };

void qd_job_etag(const qd_job *job, char out[QD_ETAG_LENGTH]);

/* If-Match: "*", or a list with a strong tag of this edition. header NULL = true. */
bool qd_if_match(const char *header, const char *edition);

/* The reply's bytes get their digest as ETag unless they have one; a 200 that the client has already becomes 304. */
qd_code qd_reply_validate(qd_reply *reply, const qd_request *request, qd_error *err);
/* Which bytes of a representation of `size` bytes under the strong `tag` go: true: status, offset and length are set
 * (200 or 206); false: the reply is 304 or 416. */
bool qd_reply_select(qd_reply *reply, const qd_request *request, uint64_t size, const char *tag);

#endif
