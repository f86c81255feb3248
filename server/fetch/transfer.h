/* transfer.h: one request by libcurl, redirects included, under the egress policy; the answer's body goes to a sink.
 * Room: server/fetch. May use: base, libcurl.
 * Threads: a qd_line (its curl handle) belongs to one thread at a time; the policy it points to is read-only.
 * Source: server.md §3. Redirects are followed here, hop by hop, not by libcurl: each hop is parsed by our parser,
 * judged by scheme, and gets the token only where its origin is the token's. */
#ifndef QD_FETCH_TRANSFER_H
#define QD_FETCH_TRANSFER_H

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cancel.h"
#include "fetch/policy.h"
#include "fetch/sigv4.h"
#include "fetch/url.h"

#define QD_SIZE_UNKNOWN UINT64_MAX
enum { QD_MAX_REDIRECTS = 5, QD_HEADER_TEXT = 512 };

/* Requests to `home` are signed (sigv4.h); nothing of it goes anywhere else. */
typedef struct qd_signing {
    const qd_aws_keys *keys;
    const char *region;
    const qd_url *home; /* its origin is meant */
} qd_signing;

/* What every transfer of a fetch shares. */
typedef struct qd_egress {
    const qd_address_policy *addresses;
    bool allow_http;
    long low_speed_seconds;
    const char *token;         /* NULL = none */
    const qd_url *token_home;  /* the one origin that gets it */
    const qd_signing *signing; /* NULL = none */
    const qd_cancel *cancel;
    const atomic_bool *stop; /* another file of this fetch failed: give up quietly */
} qd_egress;

/* NONE: a redirect is the answer. */
typedef enum qd_redirects { QD_REDIRECTS_ANYWHERE, QD_REDIRECTS_SAME_ORIGIN, QD_REDIRECTS_NONE } qd_redirects;

/* Of the last hop; text fields are "" when absent. `hub_*` are of the first hop (the hub's own answer). */
typedef struct qd_reply_head {
    long status;
    uint64_t length;                   /* Content-Length, or QD_SIZE_UNKNOWN */
    uint64_t range_start, range_total; /* Content-Range of a 206/416; QD_SIZE_UNKNOWN when absent */
    char etag[QD_HEADER_TEXT], last_modified[QD_HEADER_TEXT], link[2048], checksum[QD_HEADER_TEXT];
    long retry_after; /* seconds; -1 = absent */
    char hub_commit[QD_HEADER_TEXT], hub_etag[QD_HEADER_TEXT];
    uint64_t hub_size;
    qd_same final_origin; /* of the last hop and the first */
} qd_reply_head;

/* begin: after the last hop's header, before its body (also of an empty one). Failing stops the transfer with that
 * code. It answers in *out_wanted whether bytes shall follow. */
typedef enum qd_wanted { QD_BODY_DROP, QD_BODY_TAKE } qd_wanted;
typedef struct qd_body_sink {
    qd_code (*begin)(void *ctx, const qd_reply_head *head, qd_wanted *out_wanted, qd_error *err);
    qd_code (*bytes)(void *ctx, const void *bytes, size_t length, qd_error *err);
    void *ctx;
} qd_body_sink;

/* What is sent along: bytes, or a piece of a file. */
typedef struct qd_ask_body {
    const void *bytes; /* NULL = from fd */
    int fd;
    uint64_t offset, size;
    const char *sha256; /* hex, of these bytes; wanted where requests are signed */
} qd_ask_body;

typedef enum qd_ask_method { QD_ASK_GET, QD_ASK_HEAD, QD_ASK_PUT, QD_ASK_POST, QD_ASK_DELETE } qd_ask_method;
typedef struct qd_ask {
    const qd_url *url;
    qd_ask_method method;
    qd_redirects redirects;
    const qd_ask_body *body;      /* of PUT and POST; NULL = empty */
    const qd_ask_header *headers; /* signed, where requests are */
    size_t header_count;
    double timeout_seconds; /* of the whole request; 0 = none but the egress's low_speed_seconds */
    const char *if_match;   /* or NULL */
    const char *range;      /* "n-" or NULL */
    const char *if_range;   /* with range; NULL = none */
    const char *if_none_match, *if_modified_since;
} qd_ask;

typedef struct qd_line {
    CURL *curl;
} qd_line;
qd_code qd_line_init(qd_line *line, qd_error *err);
void qd_line_fini(qd_line *line);

/* How a failure came about, for the retry rule. */
typedef enum qd_trouble {
    QD_TROUBLE_NONE,
    QD_TROUBLE_FINAL,       /* asking again gives the same */
    QD_TROUBLE_UNREACHABLE, /* did not resolve, refused, no route */
    QD_TROUBLE_BROKEN       /* broke off, too slow */
} qd_trouble;

/* QD_OK: an HTTP answer came whole, whatever its status; look at out_head->status. Statuses >= 300 never reach
 * `bytes` unless begin asks. QD_EDENIED: address, scheme of a redirect; QD_ENETWORK, QD_ETIMEOUT, QD_ECANCELLED; what
 * the sink said. */
qd_code qd_transfer(qd_line *line, const qd_egress *egress, const qd_ask *ask, const qd_body_sink *sink,
                    qd_reply_head *out_head, qd_trouble *out_trouble, qd_error *err);

/* Where a redirect from `from` to the absolute URL `text` leads, if the policy lets us go: QD_EDENIED otherwise. The
 * address is judged later, at the socket. first: the URL asked for in the beginning. */
qd_code qd_redirect_target(const qd_url *first, const qd_url *from, const char *text, qd_redirects redirects,
                           qd_url *out, qd_error *err);

/* 'W/...' or not quoted: not good for If-Range. */
bool qd_etag_is_strong(const char *etag);

#endif
