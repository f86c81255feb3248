/* fetch.h: brings a model's files from a URL into the content-addressed cache.
 * Room: server/fetch. May use: base, libcurl, expat. Knows no job, no SQL. The only includer of curl.h.
 * Threads: a qd_fetcher may be used from several threads at once (one qd_fetch_model each).
 * Source: server.md §3, formats.md §1.4, api.md `model`.
 *
 * Cache layout below `cache_dir`:
 *   blobs/<aa>/<sha256>        complete, verified files; never changed
 *   partial/<key>              a download in flight, with <key>.json {url, etag, size, sha256, got}; resumed
 *   index/<key>.json           what a URL gave last time {url, etag, last_modified, size, sha256}, for a conditional
 *                              request
 *   snapshots/<id>/NAME        hard links to blobs: a model folder; <id> = digest of its names and digests
 */
#ifndef QD_FETCH_FETCH_H
#define QD_FETCH_FETCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"

/* S3-compatible storage: sources and uploads of s3:// names. Strings are borrowed for the time of qd_fetcher_create. */
typedef struct qd_s3_settings {
    const char *endpoint, *region; /* NULL = Amazon's, us-east-1 */
    const char *credentials;       /* file; NULL = AWS_ACCESS_KEY_ID and its like; without any s3:// is refused */
    const char *const *allow;      /* BUCKET or BUCKET/PREFIX; NULL-terminated; NULL = s3:// is refused */
} qd_s3_settings;

/* Egress policy and limits; strings are borrowed for the fetcher's life. */
typedef struct qd_fetch_policy {
    const char *cache_dir;
    const char *hub_url;           /* "https://huggingface.co" */
    const char *const *allow_net;  /* CIDRs to reach besides public addresses; NULL-terminated, may be NULL */
    const char *const *file_roots; /* folders file:// may read; NULL-terminated, may be NULL = none */
    bool allow_http;               /* plain http sources */
    uint64_t max_file_bytes;       /* 0: 64 GiB */
    uint64_t max_total_bytes;      /* 0: 512 GiB */
    uint64_t disk_floor_bytes;     /* free space that must remain; 0: none */
    long low_speed_seconds;        /* 0: 60; a transfer below 1 KiB/s for so long is cut and retried */
    unsigned retries;              /* 0: 8 tries a file; >= 1 MiB of progress resets the count */
    qd_s3_settings s3;
    double retry_base_seconds; /* 0: 0.5; full jitter rand(0, min(60, base * 2^n)), Retry-After honoured up to 120 s */
} qd_fetch_policy;

/* A header of a request. */
typedef struct qd_ask_header {
    const char *name; /* lower case */
    const char *value;
} qd_ask_header;

typedef struct qd_fetcher qd_fetcher;
/* Checks CIDRs and folders; makes the cache folders; collects partial files older than a week. */
qd_code qd_fetcher_create(const qd_fetch_policy *policy, qd_fetcher **out, qd_error *err);
void qd_fetcher_destroy(qd_fetcher *fetcher); /* NULL is fine; no fetch may be running */

typedef struct qd_fetch_request {
    /* hf://org/name, hub page URL, http(s) directory URL, http(s) URL of one .safetensors or .gguf,
     * file:///dir or file:///dir/x.gguf, s3://bucket/prefix or s3://bucket/x.gguf. A .gguf says all by itself: nothing beside it is taken, but for
     * the other files of its set (x-00001-of-00003.gguf). */
    const char *url;
    const char *revision; /* hub only; NULL = "main" */
    /* Bearer token, NULL = none. Only ever sent to the hub's own host (for a plain directory URL: that URL's host),
     * over https; over http only where allow_http and allow_net let it. */
    const char *token;
    const json_t *sha256; /* object name -> hex digest to be enforced, or NULL */
} qd_fetch_request;

/* Called from the fetching thread, at most ~5 times a second and at each file's end. total is 0 while unknown. */
typedef struct qd_fetch_progress {
    void (*step)(void *ctx, uint64_t done_bytes, uint64_t total_bytes, const char *file);
    void *ctx;
} qd_fetch_progress;

/* What was resolved: {"source":"hub|directory|file|folder|s3","url":...(no userinfo, no
 * query),"commit":...|null,"files":[{"name","size","sha256","cached":bool}]}. */
typedef struct qd_fetched {
    char *folder; /* the snapshot folder */
    json_t *resolved;
    uint64_t downloaded_bytes; /* bodies transferred now; 0 when everything was cached */
} qd_fetched;
void qd_fetched_fini(qd_fetched *fetched);

/* Failures, with the message naming URL (secrets removed) and file: QD_EINVAL (scheme, userinfo, syntax), QD_EDENIED
 * (address, redirect or root not allowed; 401/403 with "gated or wrong token"), QD_ENOTFOUND (404; the file that is
 * missing), QD_EFORMAT (digest or size differs, index naming ../x or a missing shard), QD_ETOOBIG, QD_ENOSPC,
 * QD_ENETWORK (does not resolve, refused, broke off after all retries), QD_ETIMEOUT, QD_ECANCELLED. */
qd_code qd_fetch_model(qd_fetcher *fetcher, const qd_fetch_request *request, const qd_fetch_progress *progress,
                       const qd_cancel *cancel, qd_fetched *out, qd_error *err);

/* One text file (calibration or evaluation text) by http(s), s3 or file URL -> path of the blob. Same policy, cap
 * `max_bytes`. */
qd_code qd_fetch_text(qd_fetcher *fetcher, const char *url, uint64_t max_bytes, const qd_cancel *cancel,
                      char **out_path, char *out_sha256_hex, qd_error *err);

/* Syntax check without any network, for POST time: QD_EINVAL/QD_EDENIED with the reason (unknown scheme, http without
 * allow-http, userinfo, literal address in a blocked range, file outside the roots). */
qd_code qd_fetch_check_url(const qd_fetcher *fetcher, const char *url, qd_error *err);

#endif
