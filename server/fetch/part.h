/* part.h: one partial file: what has arrived, what was promised, and the proof when it is whole.
 * Room: server/fetch, private to it. May use: base.
 * Threads: a qd_part belongs to one thread, which holds its key's lock.
 * Source: server.md §3: state file, offset = min(file size, synced bytes), fsync each 64 MB, space reserved early. */
#ifndef QD_FETCH_PART_H
#define QD_FETCH_PART_H

#include <stdint.h>

#include "base/digest.h"
#include "fetch/cache.h"

typedef struct qd_part {
    const qd_cache *cache;
    char *path, *state_path;
    const char *shown_url; /* borrowed */
    int fd;
    qd_digest sha256;
    uint64_t offset;  /* bytes on file, all of them digested */
    uint64_t size;    /* announced; QD_SIZE_UNKNOWN */
    uint64_t synced;  /* of them surely on disk and in the state file */
    double synced_at; /* seconds */
    uint64_t floor;   /* free bytes to be left */
    char etag[QD_HEADER_TEXT];
    enum { QD_PART_FRESH, QD_PART_RESUMED } origin;
} qd_part;

/* Opens or makes it, and takes over what an earlier try left where that can be continued: a strong ETag is on record,
 * or the content's digest is known so that a wrong continuation is found out. fini keeps the bytes for the next try. */
typedef enum qd_proof { QD_PROOF_NONE, QD_PROOF_DIGEST } qd_proof;
qd_code qd_part_init(qd_part *part, const qd_cache *cache, const char *key, const char *shown_url, qd_proof proof,
                     uint64_t floor, qd_error *err);
void qd_part_fini(qd_part *part);
/* Forgets all bytes. */
qd_code qd_part_restart(qd_part *part, qd_error *err);
/* A body of `size` bytes in all is coming, under this ETag: checks and reserves the space, writes the state file. */
qd_code qd_part_expect(qd_part *part, const char *etag, uint64_t size, qd_error *err);
qd_code qd_part_add(qd_part *part, const void *bytes, size_t length, qd_error *err);
qd_code qd_part_sync(qd_part *part, qd_error *err);
/* Everything arrived: checks the digests that are known ("" = not known), and makes it a blob. QD_EFORMAT: they
 * differ. */
qd_code qd_part_finish(qd_part *part, const char *want_sha256, const char *want_git_sha1,
                       char out_sha256[QD_DIGEST_HEX], qd_error *err);
/* Removes file and state. */
void qd_part_discard(qd_part *part);

#endif
