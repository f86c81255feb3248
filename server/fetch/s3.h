/* s3.h: S3-compatible storage: names of objects, where they are, who may, and what signs a request.
 * Room: server/fetch, private to it and its tests. May use: base.
 * Threads: a qd_s3 is read-only once made; keys are read anew for every use, so that rotated ones are taken up.
 * Source: "Amazon S3 API Reference"; virtual-hosted-style requests for amazonaws.com, path-style for everybody else. */
#ifndef QD_FETCH_S3_H
#define QD_FETCH_S3_H

#include "fetch/fetch.h"
#include "fetch/sigv4.h"

/* Where jobs may read and write. */
typedef struct qd_s3_place {
    char *bucket, *prefix; /* prefix: without slashes at its ends; "" = the whole bucket */
} qd_s3_place;

typedef struct qd_s3 {
    qd_url endpoint;
    char *region;
    char *
        credentials; /* file, or NULL = the environment's AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN */
    qd_s3_place *places;
    size_t place_count;
} qd_s3;
/* QD_EINVAL names the setting. A credentials file must be readable now. */
qd_code qd_s3_init(const qd_s3_settings *settings, qd_s3 *out, qd_error *err);
void qd_s3_fini(qd_s3 *s3);

/* What s3://bucket/key means: the key is decoded and has no slash in front. */
typedef struct qd_s3_name {
    char *bucket, *key;
} qd_s3_name;
void qd_s3_name_fini(qd_s3_name *name);
/* QD_EINVAL: no bucket's name, a port, a query, a key with an empty part, '.' or '..'. A slash at the end may stand. */
qd_code qd_s3_name_parse(const qd_url *url, qd_s3_name *out, qd_error *err);
/* QD_EDENIED unless s3-allow covers the name. */
qd_code qd_s3_allow(const qd_s3 *s3, const qd_s3_name *name, qd_error *err);
/* The same, and keys are at hand. */
qd_code qd_s3_check(const qd_s3 *s3, const qd_s3_name *name, qd_error *err);

/* The URL of an object, or of the bucket (key ""); query: encoded, or NULL. */
qd_code qd_s3_url(const qd_s3 *s3, const char *bucket, const char *key, const char *query, qd_url *out, qd_error *err);
/* QD_EDENIED: there are none. */
qd_code qd_s3_keys(const qd_s3 *s3, qd_aws_keys *out, qd_error *err);

#endif
