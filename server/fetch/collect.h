/* collect.h: makes the cache smaller, and never takes what somebody needs.
 * Room: server/fetch. May use: base. Knows no job.
 * Threads: any; one collection at a time. One service collects in a cache; others may fetch into it meanwhile only through
 * the same qd_fetcher.
 *
 * What goes together is a snapshot; its blobs go with it unless another snapshot has them (hard links are counted). Blobs of
 * no snapshot are texts, and files of a model that is being fetched. When something was last used is the time of its
 * snapshot's folder, or of its blob, which every use sets. */
#ifndef QD_FETCH_COLLECT_H
#define QD_FETCH_COLLECT_H

#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "fetch/fetch.h"

/* From before a fetch until what it brought is on record elsewhere: nothing used since then is removed. */
typedef struct qd_fetch_lease {
    int64_t since_ms;
    struct qd_fetch_lease *next;
} qd_fetch_lease;
void qd_fetch_lease_begin(qd_fetcher *fetcher, qd_fetch_lease *lease);
void qd_fetch_lease_end(qd_fetcher *fetcher, qd_fetch_lease *lease);

/* Name of the snapshot that has these files ([{"name", "sha256"}] as in qd_fetched.resolved). QD_EFORMAT when they are
 * not such a list. */
qd_code qd_fetch_snapshot_id(const json_t *files, char out_id[QD_DIGEST_HEX], qd_error *err);

typedef enum qd_collect_mode { QD_COLLECT_REMOVE, QD_COLLECT_LIST } qd_collect_mode;

/* 0 = no such rule. */
typedef struct qd_cache_rules {
    double keep_seconds;   /* unused for so long: removed */
    uint64_t limit_bytes;  /* beyond it, what was used longest ago is removed */
    uint64_t wanted_bytes; /* so much is to be freed, the same way */
    char *const *kept;     /* snapshots that stay, sorted; NULL when there is none */
    size_t kept_count;
    qd_collect_mode mode;
    /* what was removed, or would be */
    void (*removed)(void *ctx, const char *kind /* "model", "file" */, const char *name, uint64_t bytes);
    void *ctx;
} qd_cache_rules;

/* Also removes partial downloads that nobody went on with for a week, and records of what is gone. *out_bytes: what the
 * blobs take afterwards. */
qd_code qd_fetch_collect(qd_fetcher *fetcher, const qd_cache_rules *rules, uint64_t *out_bytes, qd_error *err);

#endif
