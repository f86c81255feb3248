/* service_private.h: what the files of this room share.
 * Room: server/jobs, private to it. May use: base, confine, engine, store, fetch.
 * Threads: members below `mutex` are guarded by it; the others are constant between create and destroy.
 * Lock order: service->mutex is never held while the store, the fetcher or the bell is called. */
#ifndef QD_JOBS_SERVICE_PRIVATE_H
#define QD_JOBS_SERVICE_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>

#include "engine/forecast.h"
#include "jobs/active.h"
#include "jobs/bell.h"
#include "jobs/confinement.h"
#include "jobs/ident.h"
#include "jobs/keyring.h"
#include "jobs/memory_gate.h"
#include "jobs/service.h"
#include "jobs/settings.h"
#include "jobs/state.h"
#include "store/job_rows.h"
#include "store/store.h"

/* Sums since the service was started. */
typedef struct qd_tally {
    uint64_t downloaded_bytes, layers, degraded_layers, resumes;
    uint64_t runs_crashed, runs_silent, runs_out_of_memory;
    double phase_seconds[8];
    double last_relative_error, last_over_forecast;
    uint64_t uploaded_bytes;
    qd_delivery_tally deliveries[2]; /* by kind */
    uint64_t removed_bytes, collections;
} qd_tally;

struct qd_service {
    qd_settings settings;
    int lock_fd; /* one service a state folder */
    qd_confinement confinement;
    qd_store *store;
    qd_fetcher *fetcher;
    qd_bell *bell;
    struct qd_courier *courier;
    qd_idents idents;
    qd_keyring *keyring;
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
    struct qd_dry_run *dry_runs;
    qd_machine machine; /* as it was measured; constant */
    qd_memory_gate gate;
    struct qd_once *underway; /* requests with an Idempotency-Key that are being carried out */
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
/* submit.c: what only the service knows of a recipe: texts that are missing, URLs that are not allowed. */
qd_code qd_submit_check(qd_service *service, const qd_recipe *recipe, qd_issues *issues /* or NULL */, qd_error *err);
/* query.c: a job as it is inside a transaction; its edition. */
qd_code qd_query_edition(const qd_job_row *row, char out[QD_JOB_EDITION], qd_error *err);
qd_code qd_query_job(qd_service *service, qd_tx *tx, const char *id, qd_job *out, qd_error *err);

#endif
