/* world.h: a temporary folder with model folders, a real fake_hub.py over it, and fetchers on fresh caches.
 * Room: tests/server/fetch. May use: base, fetch.
 * Threads: one world a test program. */
#ifndef QD_TESTS_FETCH_WORLD_H
#define QD_TESTS_FETCH_WORLD_H

#include <jansson.h>
#include <sys/types.h>

#include "check.h"
#include "fetch/fetch.h"

typedef struct world {
    char folder[256], models[300]; /* models: what the hub serves */
    char origin[64], cdn[64];      /* http://127.0.0.1:PORT */
    char tls[64]; /* https://..., by a certificate that nobody trusts; "" where openssl is not at hand to make one */
    int port;
    pid_t hub;
} world;

enum { TINY_WEIGHTS = 3 * 1024 * 1024 + 17, TINY_OTHERS = 300000 + 38 + 2, SHARD_BYTES = 256 * 1024 + 5, SHARDS = 6 };

/* Makes the models and starts the hub; fails the test program with a reason where that is impossible. */
void world_open(world *w);
void world_close(world *w);
/* The hub's counters; the caller owns them. */
json_t *world_stats(const world *w);
void world_reset(const world *w);
long world_count(const world *w, const char *key); /* "body_bytes", "requests" */
/* Requests whose log line contains `part`. */
size_t world_requests_with(const world *w, const char *part);

/* A policy that reaches the hub, with quick retries, on a new cache folder (kept until world_close). */
typedef struct setting {
    char cache[300];
    const char *allow[4], *roots[2];
    char hub_url[512];
    qd_fetch_policy policy;
} setting;
void setting_init(setting *s, const world *w);
qd_fetcher *setting_fetcher(const setting *s);

/* Replaces {ORIGIN}, {TLS}, {CDN}, {CDN2} (percent-encoded twice), {MODELS} in a pattern. */
void world_expand(const world *w, const char *pattern, char *out, size_t size);
/* One fetch of such a pattern through its own fetcher. */
typedef struct outcome {
    qd_code code;
    qd_error err;
    qd_fetched fetched;
} outcome;
void world_fetch(const world *w, const setting *s, const char *pattern, const char *token, outcome *out);
void outcome_fini(outcome *o);
#define check_outcome(o, wanted) check_code_at((o).code, (wanted), &(o).err, __FILE__, __LINE__)

/* Every file of the snapshot equals the model's file of that name; returns how many there are. */
size_t check_snapshot(const world *w, const char *snapshot, const char *model);
/* No file below cache/blobs but such as are named by their own digest; returns how many. */
size_t check_blobs(const char *cache);

#endif
