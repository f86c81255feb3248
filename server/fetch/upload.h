/* upload.h: a file on its way to a bucket or folder, shared by upload.c and multipart.c.
 * Room: server/fetch, private to it. May use: base, libcurl.
 * Threads: a qd_uploading belongs to one thread. */
#ifndef QD_FETCH_UPLOAD_H
#define QD_FETCH_UPLOAD_H

#include "fetch/answer.h"
#include "fetch/send.h"

typedef struct qd_uploading {
    const qd_fetcher *fetcher;
    const qd_upload *upload;
    qd_sent *sent;
    qd_egress egress;
    qd_line line;
    qd_s3_name name;
    char *checksum; /* what the storage should say of the object, base64 */
} qd_uploading;

/* With retries; a status that is not 2xx is QD_ENETWORK with what the storage said. */
qd_code qd_upload_ask(qd_uploading *u, const qd_ask *ask, qd_answer *answer, qd_error *err);
/* Of a piece of a file, hex. */
qd_code qd_range_sha256(int fd, uint64_t offset, uint64_t size, const qd_cancel *cancel, char out[QD_DIGEST_HEX],
                        qd_error *err);
/* Of 64 hex digits; heap string. */
qd_code qd_base64_of_hex(const char *hex, char **out, qd_error *err);

/* The object in parts; sets u->checksum. What a failure leaves at the storage is given up. */
qd_code qd_multipart_send(qd_uploading *u, qd_error *err);
/* An upload that is unknown by now is fine; NULL and "" are nothing. Tells upload->note. */
qd_code qd_multipart_give_up(qd_uploading *u, const char *id, qd_error *err);

#endif
