/* sse.h: events as frames of a text/event-stream.
 * Room: server/http. May use: base, jansson. Never: MHD.
 * Threads: any.
 * Source: WHATWG HTML §9.2. */
#ifndef QD_HTTP_SSE_H
#define QD_HTTP_SSE_H

#include <jansson.h>
#include <stdint.h>

#include "base/str.h"

/* First bytes of a stream: a comment, and how long a client waits before it reconnects. */
void qd_sse_add_opening(qd_str *out);
/* "id: N", "event: TYPE", "data: EVENT"; an event without a usable id is left out. Returns its id, 0 when left out. */
uint64_t qd_sse_add_event(qd_str *out, const json_t *event);
/* The job has ended and nothing will follow: clients close instead of reconnecting. Has no id. */
void qd_sse_add_end(qd_str *out, const char *state);
void qd_sse_add_heartbeat(qd_str *out);
/* The client's place is none of this job's: it goes on after event `place`. */
void qd_sse_add_resync(qd_str *out, uint64_t place);

#endif
