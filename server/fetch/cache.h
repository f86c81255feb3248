/* cache.h: the content-addressed store below cache_dir: blobs, index, locks, snapshots (layout in fetch.h).
 * Room: server/fetch, private to it. May use: base.
 * Threads: any, and several processes: every write goes through a temporary name and a rename; a key's download is
 * serialized by flock, which the kernel lets go of when its holder dies. */
#ifndef QD_FETCH_CACHE_H
#define QD_FETCH_CACHE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/digest.h"
#include "base/error.h"
#include "fetch/transfer.h"

struct qd_fetch_lease;
/* Who uses and who removes: using is setting a time, removing is looking at it first, both under the mutex. */
typedef struct qd_cache_users {
    pthread_mutex_t mutex;
    struct qd_fetch_lease *leases; /* collect.h */
} qd_cache_users;

typedef struct qd_cache {
    char *root;
    qd_cache_users *users;
} qd_cache;

/* Makes the folders and removes partial downloads and unfinished snapshots older than a week. */
qd_code qd_cache_init(qd_cache *cache, const char *root, qd_error *err);
void qd_cache_fini(qd_cache *cache);
/* Before each download: an operator who frees space by removing the cache must not have to restart the service. */
qd_code qd_cache_make_folders(const qd_cache *cache, qd_error *err);

/* Removes partial downloads that nobody went on with, and unfinished snapshots, older than a week. */
void qd_cache_collect_stale(const qd_cache *cache);
/* Notes that a blob or a snapshot is used now; QD_DIFFERENT: there is none. */
qd_same qd_cache_use(const qd_cache *cache, const char *path);

/* Heap strings; NULL = out of memory. */
char *qd_cache_blob_path(const qd_cache *cache, const char *sha256);
char *qd_cache_path(const qd_cache *cache, const char *folder, const char *key, const char *suffix);

/* QD_SAME: the blob is there, with this size unless QD_SIZE_UNKNOWN, and counts as used now; *out_size is its size. */
qd_same qd_cache_has(const qd_cache *cache, const char *sha256, uint64_t size, uint64_t *out_size);
/* 64 hex digits that name a download: by content where the digest is known beforehand, else by URL. */
qd_code qd_cache_key(const char *kind, const char *text, char out_key[QD_DIGEST_HEX], qd_error *err);
/* Moves a complete, synced file to its blob; a blob already there is kept, unless somebody cut it short. */
qd_code qd_cache_publish(const qd_cache *cache, const char *path, const char *sha256, qd_error *err);

/* What a URL gave last time. */
typedef struct qd_index_entry {
    char etag[QD_HEADER_TEXT], last_modified[QD_HEADER_TEXT], sha256[QD_DIGEST_HEX];
    uint64_t size;
} qd_index_entry;
/* QD_SAME: known, and its blob is there. An unreadable record counts as none. */
qd_same qd_cache_recall(const qd_cache *cache, const char *key, qd_index_entry *out);
qd_code qd_cache_remember(const qd_cache *cache, const char *key, const char *shown_url, const qd_index_entry *entry,
                          qd_error *err);

/* Waits for the key, looking at cancel and stop. The lock's file goes with it: a client may name any number of URLs.
 * qd_cache_unlock is fine on one that was not taken (fd -1). */
typedef struct qd_cache_hold {
    int fd;
    char *path;
} qd_cache_hold;
qd_code qd_cache_lock(const qd_cache *cache, const char *key, const qd_cancel *cancel, const atomic_bool *stop,
                      qd_cache_hold *out, qd_error *err);
void qd_cache_unlock(qd_cache_hold *hold);

/* Free bytes must cover `needed` and leave `floor`. QD_ENOSPC with both numbers. */
qd_code qd_cache_check_space(const qd_cache *cache, uint64_t needed, uint64_t floor, qd_error *err);

/* A file of a model folder. */
typedef struct qd_snapshot_file {
    const char *name, *sha256;
} qd_snapshot_file;
/* One of them into a folder: a hard link, or a copy where linking fails. */
qd_code qd_snapshot_place(const qd_cache *cache, const char *folder, const qd_snapshot_file *file, qd_error *err);
/* A pure function of names and contents, sorted by name: the same model from two places is one folder. */
qd_code qd_snapshot_id(const qd_snapshot_file *files, size_t count, char out_id[QD_DIGEST_HEX], qd_error *err);
/* files sorted by name; hard links, or copies where linking fails. Appears whole by one rename. *out_folder: heap. */
qd_code qd_snapshot_make(const qd_cache *cache, const qd_snapshot_file *files, size_t count, char **out_folder,
                         qd_error *err);

#endif
