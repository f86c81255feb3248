/* s3_xml.h: S3's answers, which are foreign bytes: lists of objects, single values, errors.
 * Room: server/fetch, private to it and its tests. May use: base, expat.
 * Threads: nothing is shared. */
#ifndef QD_FETCH_S3_XML_H
#define QD_FETCH_S3_XML_H

#include "fetch/transfer.h"

/* An object directly below the prefix that was listed. */
typedef struct qd_s3_object {
    char *name; /* what follows the key's last slash */
    uint64_t size;
    char etag[QD_HEADER_TEXT]; /* with its quotes */
} qd_s3_object;

typedef struct qd_s3_list {
    qd_s3_object *objects;
    size_t count, capacity;
    char *next; /* continuation token of the next page, or NULL */
} qd_s3_list;
void qd_s3_list_fini(qd_s3_list *list);
const qd_s3_object *qd_s3_list_find(const qd_s3_list *list, const char *name);

/* Adds a page of ListObjectsV2 (encoding-type=url): of its objects those with a plain name. A document type is
 * QD_EFORMAT. */
qd_code qd_s3_read_list(const char *text, size_t length, qd_s3_list *list, qd_error *err);
/* The text of the first element of this name without elements in it: "Code", "UploadId". QD_DIFFERENT: there is none,
 * or it does not fit. */
qd_same qd_s3_read_text(const char *text, size_t length, const char *element, char *out, size_t out_size);

#endif
