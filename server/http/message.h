/* message.h: one complete request and one reply, as handlers see them.
 * Room: server/http. May use: core, jobs, api. Never: MHD (house rule: a handler is a function from request to reply).
 * Threads: a request and its reply belong to one thread at a time. */
#ifndef QD_HTTP_MESSAGE_H
#define QD_HTTP_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/recipe.h"
#include "http/target.h"
#include "jobs/caller.h"

typedef enum qd_method { QD_GET, QD_POST, QD_PATCH, QD_DELETE, QD_METHOD_COUNT } qd_method;
/* "GET", ...; NULL past the end. */
const char *qd_method_name(size_t index);
/* HEAD is a GET whose body is not sent. QD_METHOD_COUNT for a method we do not have. */
qd_method qd_method_find(const char *name);

/* The headers we read; how each may appear is in message.c. */
typedef enum qd_header {
    QD_ACCEPT,
    QD_AUTHORIZATION,
    QD_CONTENT_LENGTH,
    QD_CONTENT_TYPE,
    QD_COOKIE,
    QD_FORWARDED_FOR,
    QD_HOST,
    QD_IDEMPOTENCY_KEY,
    QD_IF_MATCH,
    QD_IF_NONE_MATCH,
    QD_IF_RANGE,
    QD_LAST_EVENT_ID,
    QD_ORIGIN,
    QD_RANGE,
    QD_SEC_FETCH_SITE,
    QD_TRANSFER_ENCODING,
    QD_HEADER_COUNT,
} qd_header;
/* QD_HEADER_COUNT for one we do not read. */
qd_header qd_header_find(const char *name);
const char *qd_header_name(qd_header header);

typedef struct qd_request {
    qd_caller caller; /* who asks; caller.request_id names this request everywhere */
    qd_method method;
    bool head; /* only the header of the reply is wanted */
    qd_target target;
    char *headers[QD_HEADER_COUNT]; /* owned; NULL = absent; lists that came in several lines are joined by ", " */
    char job[QD_JOB_ID];            /* {id} of the route, well-formed; "" when the route has none */
    const char *rest;               /* {path...} of the route: a tail of target.path */
    qd_str body;
} qd_request;
void qd_request_fini(qd_request *request);
/* Adds a header line. QD_EINVAL: one that may come once came twice, or holds a NUL (length tells). Headers we do not
 * read are ignored. */
qd_code qd_request_add_header(qd_request *request, const char *name, const char *value, size_t length, qd_error *err);

typedef enum qd_payload {
    QD_PAYLOAD_BYTES,  /* `bytes`, owned */
    QD_PAYLOAD_STATIC, /* `fixed`, outlives the server */
    QD_PAYLOAD_FILE,   /* `length` bytes of `fd` from `offset`; fd is owned */
    QD_PAYLOAD_MADE,   /* `length` bytes of `content` from `offset`, made when they are sent; it is owned */
    QD_PAYLOAD_EVENTS, /* events of `job` after `after`, until the job ends */
} qd_payload;

typedef struct qd_reply_header {
    const char *name; /* static text */
    char value[192];
} qd_reply_header;
enum { QD_REPLY_HEADERS_MAX = 8 };

typedef struct qd_reply {
    unsigned status;
    const char *content_type; /* static text; NULL = none */
    qd_payload payload;
    char *bytes;
    const void *fixed;
    int fd;
    uint64_t offset, length;
    void *content;
    /* Some of it: at least one byte, at most `room`; less than one: it cannot be gone on with. */
    ssize_t (*read)(void *content, uint64_t position, char *out, size_t room);
    void (*release)(void *content);
    char job[QD_JOB_ID];
    uint64_t after;
    qd_reply_header headers[QD_REPLY_HEADERS_MAX];
    size_t header_count;
} qd_reply;
void qd_reply_init(qd_reply *reply);
void qd_reply_fini(qd_reply *reply);
/* Forgets everything said so far. */
void qd_reply_clear(qd_reply *reply);
/* Replaces what the name had. name is static text; a value that does not fit, or holds a control character, is left out. */
void qd_reply_header_set(qd_reply *reply, const char *name, const char *format, ...) QD_PRINTF(3, 4);
/* NULL when not set. */
const char *qd_reply_header_get(const qd_reply *reply, const char *name);

/* Takes the value, even on failure; NULL counts as out of memory. */
qd_code qd_reply_json_take(qd_reply *reply, unsigned status, json_t *value, qd_error *err);
qd_code qd_reply_text_take(qd_reply *reply, unsigned status, const char *content_type, qd_str *text, qd_error *err);
void qd_reply_static(qd_reply *reply, unsigned status, const char *content_type, const void *bytes, size_t length);

#endif
