/* service_private.h: what the files of this room share.
 * Room: server/jobs, private to it. May use: base, engine, store, fetch.
 * Threads: members below `mutex` are guarded by it; the others are constant between create and destroy.
 * Lock order: service->mutex is never held while the store, the fetcher or the bell is called. */
#ifndef QD_JOBS_SERVICE_PRIVATE_H
#define QD_JOBS_SERVICE_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>

#include "jobs/active.h"
#include "jobs/bell.h"
#include "jobs/ident.h"
#include "jobs/service.h"
#include "jobs/settings.h"
#include "jobs/state.h"
#include "store/store.h"

/* Sums since the service was started. */
typedef struct qd_tally {
    uint64_t downloaded_bytes, layers, degraded_layers, resumes;
    double phase_seconds[8];
    double last_relative_error;
    uint64_t removed_bytes, collections;
} qd_tally;

struct qd_service {
    qd_settings settings;
    int lock_fd; /* one service a state folder */
    qd_store *store;
    qd_fetcher *fetcher;
    qd_bell *bell;
    qd_idents idents;
    pthread_t supervisor, collector, *workers;
    size_t worker_count;        /* threads started */
    bool supervised, collected; /* that thread was started */

    pthread_mutex_t mutex;
    pthread_cond_t changed; /* a job was queued, the service stops, room on the disk came back */
    bool stopping;
    bool draining;    /* no job is claimed any more */
    double looked_at; /* when the supervisor did, on qd_clock_seconds */
    size_t workers_alive;
    uint64_t free_bytes;
    uint64_t queue_turn; /* grows when a job was queued */
    qd_active *active;
    qd_tally tally;
    uint64_t cache_bytes, artifacts_bytes; /* when last collected */
    bool collecting;
};

/* details: key=value words, as printf makes them. */
void qd_service_say(qd_service *service, const char *level, const char *event, const char *format, ...) QD_PRINTF(4, 5);
bool qd_service_stopping(qd_service *service);
/* The configuration as it is now: settings.config may change below what `mutex` guards (reload.c); its pointers do not. */
qd_service_config qd_service_now(qd_service *service);
/* A job is waiting: some worker shall look. */
void qd_service_queued(qd_service *service);

#endif
