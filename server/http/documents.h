/* documents.h: what is served as it is: the contract, the catalogue, the dashboard.
 * Room: server/http. May use: core. Never: MHD.
 * Threads: read-only once made. */
#ifndef QD_HTTP_DOCUMENTS_H
#define QD_HTTP_DOCUMENTS_H

#include <stddef.h>

#include "base/error.h"

/* A file compiled in: web/ and schema/openapi.json, by embed.sh at build time. */
typedef struct qd_embedded {
    const char *name; /* "index.html" */
    const char *text;
    size_t length;
} qd_embedded;
extern const qd_embedded qd_embedded_files[]; /* ends with name NULL */

typedef struct qd_document {
    const char *path; /* of its route: "/app.js" */
    const char *content_type;
    const char *text;
    size_t length;
    char etag[67]; /* quoted digest of the text */
} qd_document;

typedef struct qd_documents qd_documents;
qd_code qd_documents_create(qd_documents **out, qd_error *err);
void qd_documents_destroy(qd_documents *documents); /* NULL is fine */
const qd_document *qd_documents_find(const qd_documents *documents, const char *path);

#endif
