/* body.h: the JSON object in a request's body, within limits.
 * Room: server/http. May use: base. Never: MHD.
 * Threads: pure functions.
 * Source: server.md §1.4. */
#ifndef QD_HTTP_BODY_H
#define QD_HTTP_BODY_H

#include "http/message.h"

enum { QD_BODY_DEPTH = 16, QD_BODY_STRING = 4096, QD_BODY_ITEMS = 256 };

/* QD_EFORMAT: no JSON object, a key twice, or deeper than QD_BODY_DEPTH. QD_ETOOBIG: a string or a name beyond QD_BODY_STRING bytes, or a list beyond
 * QD_BODY_ITEMS; the text begins with its JSON Pointer. */
qd_code qd_body_parse(const qd_request *request, json_t **out, qd_error *err);

#endif
