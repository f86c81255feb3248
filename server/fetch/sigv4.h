/* sigv4.h: AWS Signature Version 4 of a request, as a header.
 * Room: server/fetch, private to it and its tests. May use: base.
 * Threads: nothing is shared.
 * Source: "AWS Signature Version 4 for API requests" (canonical request, string to sign, signing key), with S3's rule that
 * a path is encoded once and never normalized. */
#ifndef QD_FETCH_SIGV4_H
#define QD_FETCH_SIGV4_H

#include <stddef.h>
#include <stdint.h>

#include "fetch/fetch.h"
#include "fetch/url.h"

/* Who signs; owned. */
typedef struct qd_aws_keys {
    char *id, *secret, *token; /* token: of temporary keys, or NULL */
} qd_aws_keys;
void qd_aws_keys_fini(qd_aws_keys *keys); /* wipes them */

enum { QD_SIGNED_HEADERS_MAX = 12, QD_AMZ_DATE = 17 };

typedef struct qd_sigv4_request {
    const char *method;
    const qd_url *url;            /* path and query percent-encoded, as they will be sent */
    const qd_ask_header *headers; /* what is signed beside host; each name once; at most QD_SIGNED_HEADERS_MAX - 1 */
    size_t header_count;
    const char *payload_sha256; /* hex */
    const char *date;           /* "20130524T000000Z" */
    const char *region, *service;
} qd_sigv4_request;

/* The value of the Authorization header; heap string. */
qd_code qd_sigv4_sign(const qd_sigv4_request *request, const qd_aws_keys *keys, char **out, qd_error *err);
/* The text whose digest is signed; heap string. For messages of tests. */
qd_code qd_sigv4_canonical(const qd_sigv4_request *request, char **out, qd_error *err);

void qd_amz_date(int64_t wall_ms, char out[QD_AMZ_DATE]);

/* Percent-encodes all but letters, digits, '-', '.', '_', '~' (and '/' in a path), as signatures want it. */
typedef enum qd_encode_slash { QD_SLASH_STAYS, QD_SLASH_ENCODED } qd_encode_slash;
qd_code qd_aws_encode(const char *text, qd_encode_slash slash, char **out, qd_error *err);

/* SHA-256 of nothing. */
extern const char qd_empty_sha256[];

#endif
