/* run.h: one fetch in progress, the fetcher behind it, and the files it brings.
 * Room: server/fetch, private to it. May use: base, libcurl.
 * Threads: qd_fetcher is read-only after creation; of a qd_fetch_run the atomics are shared by its transfer threads, an item
 * belongs to the thread that works on it. */
#ifndef QD_FETCH_RUN_H
#define QD_FETCH_RUN_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/stat.h>

#include "fetch/cache.h"
#include "fetch/fetch.h"
#include "fetch/policy.h"
#include "fetch/s3.h"
#include "fetch/transfer.h"
#include "fetch/url.h"

enum { QD_PARALLEL_FILES = 4 };

/* A folder that file:// may read. URLs may name it as the operator wrote it, or as it really is. */
typedef struct qd_root {
    char *given, *real;
} qd_root;

typedef struct qd_fetcher {
    qd_cache cache;
    qd_address_policy addresses;
    qd_url hub;
    qd_s3 s3;
    qd_root *roots;
    size_t root_count;
    bool allow_http;
    uint64_t max_file_bytes, max_total_bytes, disk_floor_bytes;
    long low_speed_seconds;
    unsigned retries;
    double retry_base_seconds;
} qd_fetcher;

typedef struct qd_fetch_run {
    const qd_fetcher *fetcher;
    qd_egress egress;
    const qd_fetch_progress *progress; /* may be NULL */
    const char
        *headers_only; /* folder that gets the headers of weight files (peek_item.h); NULL = they are brought whole */
    atomic_bool stop;
    atomic_uint_fast64_t done, total, downloaded; /* bytes: in hand, announced, transferred */
    atomic_int unannounced;                       /* files whose size nobody said yet: while > 0 the total is unknown */
} qd_fetch_run;

/* What a missing file (404) means. */
typedef enum qd_need {
    QD_NEED_ALWAYS,  /* QD_ENOTFOUND */
    QD_NEED_INDEXED, /* a shard that the index names: QD_EFORMAT */
    QD_NEED_NOT      /* then the model goes without */
} qd_need;
/* May what is at this URL change? */
typedef enum qd_fresh { QD_FRESH_ASK, QD_FRESH_PINNED } qd_fresh;
typedef enum qd_presence { QD_PENDING, QD_PRESENT, QD_ABSENT } qd_presence;
typedef enum qd_announced { QD_UNANNOUNCED, QD_ANNOUNCED } qd_announced;
typedef enum qd_origin { QD_ORIGIN_CACHE, QD_ORIGIN_NETWORK } qd_origin;

/* One file: what is known beforehand, then what came. */
typedef struct qd_item {
    char *name; /* in the snapshot */
    qd_url url;
    qd_need need;
    qd_fresh fresh;
    uint64_t cap;              /* largest size taken */
    uint64_t size;             /* promised, or QD_SIZE_UNKNOWN */
    uint64_t hint;             /* what a HEAD said: for totals and free space only; QD_SIZE_UNKNOWN */
    char etag[QD_HEADER_TEXT]; /* what was listed: another one is another file; "" = not known */
    char want_sha256[QD_DIGEST_HEX], want_git_sha1[QD_DIGEST_HEX], commit[QD_DIGEST_HEX]; /* "" = not known */
    qd_announced announced; /* its size is in the run's total */
    qd_presence presence;
    qd_origin origin;
    char sha256[QD_DIGEST_HEX];
    uint64_t bytes;
} qd_item;

typedef struct qd_items {
    qd_item *rows;
    size_t count, capacity;
} qd_items;
void qd_items_fini(qd_items *items);
/* A zeroed row but for cap, name and size unknown; url is the caller's to fill. The pointer holds until the next
 * add. */
qd_code qd_items_add(qd_items *items, const char *name, qd_need need, uint64_t cap, qd_item **out, qd_error *err);
/* Present one of that name, or NULL. */
const qd_item *qd_items_find(const qd_items *items, const char *name);

/* Brings one file into the cache: from there, or by as many transfers as it takes. (item.c) */
qd_code qd_item_obtain(qd_fetch_run *run, qd_line *line, qd_item *item, qd_error *err);
/* Every PENDING row from `first` on, QD_PARALLEL_FILES at once; progress is called from here. (team.c) */
qd_code qd_items_obtain(qd_fetch_run *run, qd_items *items, size_t first, qd_error *err);
/* Puts the item's size into the total, once; QD_ETOOBIG beyond its cap or max_total_bytes. (item.c) */
qd_code qd_item_announce(qd_fetch_run *run, qd_item *item, uint64_t size, qd_error *err);
/* The source has no such file, or will not give it: what that means by the item's need. (item.c) */
qd_code qd_item_absent(qd_item *item, long status, qd_error *err);
qd_code qd_item_forbidden(const qd_fetch_run *run, qd_item *item, const qd_reply_head *head, qd_trouble *out_trouble,
                          qd_error *err);
/* Reports now, throttled by the caller. */
void qd_fetch_run_report(qd_fetch_run *run, const char *file);

/* Where a model folder's files come from: puts items of these names, from row `first` on, into the cache. */
typedef struct qd_supply {
    qd_code (*obtain)(void *ctx, qd_fetch_run *run, qd_items *items, size_t first, qd_error *err);
    /* fills url and what else is known of the file that is called `name` there */
    qd_code (*locate)(void *ctx, const char *name, qd_item *item, qd_error *err);
    void *ctx;
    const char *gguf; /* what its listing has instead of safetensors: the only .gguf; NULL = none, or no listing */
} qd_supply;
/* Which files a model folder has: formats.md §1.4. weights: the one .safetensors or .gguf file asked for, or NULL. A
 * GGUF is "model.gguf" in the snapshot, one of several files "model-00001-of-00003.gguf". (contents.c) */
qd_code qd_contents_obtain(qd_fetch_run *run, const qd_supply *supply, const char *weights, const json_t *sha256,
                           qd_items *items, qd_error *err);
/* Of a source whose listing is known: the only .gguf where no safetensors are; *out = NULL when there is none, or
 * safetensors are. Borrowed from names. Several are QD_EINVAL, which names them. */
qd_code qd_contents_find_gguf(const char *const *names, size_t count, const char **out, qd_error *err);
/* QD_EINVAL when the request enforces a digest for a file that the model does not have. */
qd_code qd_check_all_wanted(const json_t *sha256, const qd_items *items, const char *weights, qd_error *err);
/* May it be reached at all, as far as that can be said without a network? QD_EDENIED, QD_EINVAL. (fetcher.c) */
qd_code qd_destination_check(const qd_fetcher *fetcher, const qd_url *url, qd_error *err);
/* No config, tokenizer or template is larger. */
uint64_t qd_side_file_cap(const qd_fetcher *fetcher);
/* The digest that the request enforces for `name`, into out ("" = none); QD_EINVAL when it is not 64 hex digits. */
qd_code qd_wanted_sha256(const json_t *sha256, const char *name, char out[QD_DIGEST_HEX], qd_error *err);
/* Distinct shard names of an index file, checked (QD_EFORMAT names the bad one). names: qd_names_free. */
qd_code qd_index_shards(const char *path, char ***out_names, size_t *out_count, qd_error *err);

/* The name is one of those that a model has: weights and side files, no pickles or code. (hub_tree.c) */
qd_same qd_name_is_of_model(const char *name);

/* The kinds of source. commit: heap string, hub only. */
qd_code qd_directory_obtain(qd_fetch_run *run, const qd_source *source, const json_t *sha256, qd_items *items,
                            qd_error *err);
qd_code qd_folder_obtain(qd_fetch_run *run, const qd_source *source, const json_t *sha256, qd_items *items,
                         qd_error *err);
qd_code qd_hub_obtain(qd_fetch_run *run, const qd_source *source, const char *revision, const json_t *sha256,
                      qd_items *items, char **out_commit, qd_error *err);
qd_code qd_s3_obtain(qd_fetch_run *run, const qd_source *source, const json_t *sha256, qd_items *items, qd_error *err);
/* The one object that is meant, into row 0. */
qd_code qd_s3_obtain_file(qd_fetch_run *run, const qd_source *source, qd_items *items, qd_error *err);
/* QD_EDENIED unless `path` lies below a root. (folder.c) */
qd_code qd_folder_check(const qd_fetcher *fetcher, const char *path, qd_error *err);
/* Is this what the cache has of a local file? (folder.c) */
qd_same qd_folder_cached(const qd_fetcher *fetcher, const char *path, const struct stat *info);
/* One file at an absolute path below a root into the cache. */
qd_code qd_folder_obtain_file(qd_fetch_run *run, const char *path, qd_item *item, qd_error *err);

#endif
