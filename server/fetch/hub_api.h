/* hub_api.h: the hub's JSON answers: which commit a revision is, which files it holds.
 * Room: server/fetch, private to it. May use: base, libcurl.
 * Threads: nothing is shared.
 * Source: server.md §3 "Hugging Face protocol". */
#ifndef QD_FETCH_HUB_API_H
#define QD_FETCH_HUB_API_H

#include "fetch/run.h"

enum { QD_GIT_HEX = 41 };

/* One file at the top level of a repository. */
typedef struct qd_hub_file {
    char *name;
    uint64_t size;
    char sha256[QD_DIGEST_HEX];   /* of large files; "" = none */
    char git_sha1[QD_DIGEST_HEX]; /* of small ones */
} qd_hub_file;

typedef struct qd_hub_tree {
    qd_hub_file *files;
    size_t count, capacity;
} qd_hub_tree;
void qd_hub_tree_fini(qd_hub_tree *tree);
const qd_hub_file *qd_hub_tree_find(const qd_hub_tree *tree, const char *name);

/* GET /api/models/REPO/revision/REV -> the commit. */
qd_code qd_hub_commit(qd_fetch_run *run, qd_line *line, const qd_url *hub, const char *repo, const char *revision,
                      char out_commit[QD_GIT_HEX], qd_error *err);
/* GET /api/models/REPO/tree/COMMIT?recursive=true and its further pages. Only top-level files with plain names of the
 * allow-list are kept; a path with '..' or a leading '/' is QD_EFORMAT. */
qd_code qd_hub_list(qd_fetch_run *run, qd_line *line, const qd_url *hub, const char *repo, const char *commit,
                    qd_hub_tree *out, qd_error *err);
/* Adds one page's entries: the parser of foreign bytes, apart from the network. */
qd_code qd_hub_read_page(const char *text, size_t length, qd_hub_tree *tree, qd_error *err);
/* The URL of rel="next" in a Link header; QD_DIFFERENT when there is none. */
qd_same qd_link_next(const char *link, char *out, size_t out_size);

#endif
