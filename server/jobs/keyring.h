/* keyring.h: what the files of the keyring share.
 * Room: server/jobs, private to it. May use: base, store.
 * Threads: members below `mutex` are guarded by it; it is never held while the store is called. */
#ifndef QD_JOBS_KEYRING_H
#define QD_JOBS_KEYRING_H

#include <pthread.h>

#include "jobs/keys.h"
#include "store/key_rows.h"
#include "store/store.h"

/* A key as requests are judged by it. */
typedef struct qd_key_entry {
    qd_key_row row;
    unsigned scopes;
    double tokens, filled_at; /* requests it may make at once, as of a time of qd_clock_seconds */
    int64_t used_ms;          /* last request; 0 = none since the start */
} qd_key_entry;

struct qd_keyring {
    qd_store *store, *owned; /* owned: opened by the keyring itself, or NULL */
    int lock_fd;
    bool beside; /* a running service has the folder */
    qd_idents idents;
    qd_access_rules rules;

    pthread_mutex_t mutex;
    qd_key_entry *entries; /* in the order of ids */
    size_t count;
    double loaded_at;    /* 0 = what is here is known to be old */
    uint64_t generation; /* grows when a change of ours made it old */
    bool loading;
};

/* The service's own keyring on its own store. */
qd_code qd_keyring_create(qd_store *store, const qd_access_rules *rules, qd_keyring **out, qd_error *err);
/* Of the rules only the rate changes while the service runs. */
void qd_keyring_set_rate(qd_keyring *keyring, uint64_t rate_per_minute);
/* What is remembered is read again before it is used again. */
void qd_keyring_forget(qd_keyring *keyring);
/* Returns when the running service beside us, if there is one, knows what we changed. */
void qd_keyring_settle(const qd_keyring *keyring);
/* Writes down when keys were used last, at most once a minute each; at the end (QD_FLUSH_ALL) all that is newer. */
typedef enum qd_flush { QD_FLUSH_SOME, QD_FLUSH_ALL } qd_flush;
void qd_keyring_flush(qd_keyring *keyring, qd_flush what);

void qd_key_of_row(const qd_key_row *row, qd_key *out);

#endif
