/* url.h: strict URLs and what kind of source one is; no network.
 * Room: server/fetch. May use: base.
 * Threads: any; nothing is shared.
 * Source: server.md §3, §8; api.md `model`. RFC 3986 narrowed: what is not clearly a URL is refused, so that libcurl
 * and we can never read one text differently. */
#ifndef QD_FETCH_URL_H
#define QD_FETCH_URL_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { QD_URL_MAX = 4096 };

typedef enum qd_scheme { QD_SCHEME_HTTPS, QD_SCHEME_HTTP, QD_SCHEME_FILE, QD_SCHEME_HF, QD_SCHEME_S3 } qd_scheme;

/* host: lower case, IPv6 in brackets, "" for file; of hf and s3 an organisation or bucket, as written. path: begins with '/' (still percent-encoded). query: NULL or
 * without '?'. */
typedef struct qd_url {
    qd_scheme scheme;
    char *host, *path, *query;
    uint16_t port; /* filled in: 443, 80, or as written; 0 for file, hf and s3 */
} qd_url;

/* QD_EINVAL: not a URL, an unknown scheme, userinfo, a control character, blank or backslash. */
qd_code qd_url_parse(const char *text, qd_url *out, qd_error *err);
void qd_url_fini(qd_url *url);
/* The whole URL as libcurl shall see it. Heap string; NULL = out of memory. */
char *qd_url_text(const qd_url *url);
/* For messages and records: without query and fragment (signatures, keys). Heap string; NULL = out of memory. */
char *qd_url_public(const qd_url *url);
/* The same of a text that may not even parse; at most 300 characters, control characters become '?'. */
void qd_url_redact(const char *text, char *out, size_t out_size);
/* `folder` (path ending in '/', or a file whose siblings are meant) + name, query kept. QD_ENOMEM only. */
qd_code qd_url_sibling(const qd_url *folder, const char *name, qd_url *out, qd_error *err);
qd_code qd_url_copy(const qd_url *url, qd_url *out, qd_error *err);

typedef enum qd_same { QD_DIFFERENT, QD_SAME } qd_same;
/* Scheme, host and port agree: the only place a token may go again. */
qd_same qd_url_same_origin(const qd_url *a, const qd_url *b);

/* [A-Za-z0-9._-]+ without a leading dot, at most 255 characters: the names that may appear in a snapshot. */
qd_same qd_name_is_plain(const char *name);
/* Whether a file name says GGUF. */
qd_same qd_name_is_gguf(const char *name);
/* "x-00002-of-00003.gguf" is 2 of 3; any other name is 1 of 1. */
typedef struct qd_gguf_part {
    size_t number, count;
} qd_gguf_part;
qd_gguf_part qd_gguf_part_of(const char *name);
/* The name of another file of the set, or `name` itself where it is whole. Heap string. */
qd_code qd_gguf_part_name(const char *name, size_t number, char **out, qd_error *err);
const char *qd_url_last_name(const qd_url *url); /* borrowed: what follows the path's last '/' */

typedef enum qd_source_kind {
    QD_SOURCE_HUB,
    QD_SOURCE_DIRECTORY,
    QD_SOURCE_FILE,
    QD_SOURCE_FOLDER,
    QD_SOURCE_S3
} qd_source_kind;

/* What a model URL means. */
typedef struct qd_source {
    qd_source_kind kind;
    qd_url url;     /* directory, file, folder, s3: where; hub: the configured base */
    char *repo;     /* hub: "org/name" */
    char *revision; /* hub: named by the URL; NULL = not named */
    char *weights;  /* the one .safetensors or .gguf file asked for; NULL = the folder decides */
    char *local;    /* folder: decoded absolute path of the folder */
} qd_source;

/* hub: the hub's base URL. QD_EUNSUPPORTED for weights that are neither safetensors nor GGUF. */
qd_code qd_source_classify(const char *text, const qd_url *hub, qd_source *out, qd_error *err);
/* One text file: kind FILE or S3 with url, or FOLDER with local = the file's path. */
qd_code qd_source_text(const char *text, qd_source *out, qd_error *err);
void qd_source_fini(qd_source *source);

#endif
