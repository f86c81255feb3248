/* send.h: what goes out to addresses of a client's choosing: a POST, or the files of an artifact.
 * Room: server/fetch. May use: base, libcurl, expat. Knows no job, no SQL.
 * Threads: any, several at once.
 * The egress policy is that of downloads (address judged at the socket); redirects are not followed. */
#ifndef QD_FETCH_SEND_H
#define QD_FETCH_SEND_H

#include "fetch/fetch.h"

/* How one try ended. */
typedef struct qd_sent {
    long status;                                   /* HTTP, of the last answer; 0 = there was none */
    long retry_after;                              /* seconds; -1 = not said */
    enum { QD_SENT_AGAIN, QD_SENT_NEVER } outlook; /* of a failure: may another try help? */
    uint64_t bytes;                                /* of files, taken by the other side */
} qd_sent;

/* Syntax and policy without a network, for POST time. */
typedef enum qd_purpose { QD_FOR_POST /* https, http */, QD_FOR_UPLOAD /* s3 too */ } qd_purpose;
qd_code qd_fetch_check_destination(const qd_fetcher *fetcher, const char *url, qd_purpose purpose, qd_error *err);

typedef struct qd_post {
    const char *url;
    const qd_ask_header *headers;
    size_t header_count;
    const void *body;
    size_t length;
    double timeout_seconds;
} qd_post;
/* QD_OK: a status of 2xx. Otherwise QD_EDENIED (by the policy: never again), QD_ENETWORK, QD_ETIMEOUT, QD_ECANCELLED;
 * *out is set in any case. */
qd_code qd_fetch_post(const qd_fetcher *fetcher, const qd_post *post, const qd_cancel *cancel, qd_sent *out,
                      qd_error *err);

/* A file beyond this goes in parts. */
#define QD_UPLOAD_PART (UINT64_C(64) << 20)

typedef struct qd_upload {
    const char *url;  /* of the folder: s3://bucket/prefix, or an http(s) folder that takes PUT */
    const char *name; /* of the file below it: parts of letters, digits, '.', '_', '-' and slashes between */
    int fd;
    uint64_t size;
    const char *sha256; /* hex; a file that is another is not sent: QD_EFORMAT */
    const char *stale;  /* upload in parts that an earlier try did not end: given up first; NULL = none */
    /* Called with the name of an upload in parts before the first of them, and with "" when it is over. It has to be
     * kept, so that what is left behind can be given up. */
    qd_code (*note)(void *ctx, const char *upload, qd_error *err);
    void *ctx;
} qd_upload;
/* QD_OK: the other side has said that it holds these very bytes (S3), or that it took them. Statuses worth it are tried
 * again as downloads are. */
qd_code qd_fetch_upload(const qd_fetcher *fetcher, const qd_upload *upload, const qd_cancel *cancel, qd_sent *out,
                        qd_error *err);

#endif
