/* worker.c: see worker.h. */
#include "jobs/worker.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "jobs/attempt.h"
#include "jobs/paths.h"
#include "jobs/record.h"
#include "store/job_rows.h"

typedef struct claim {
    qd_job_row row;
    uint64_t last_event;
} claim;

static qd_code claim_oldest(void *ctx, qd_tx *tx, qd_error *err)
{
    claim *c = ctx;
    qd_job_row_fini(&c->row); /* of a try that was undone */
    qd_code code = qd_job_row_claim(tx, qd_state_at(QD_STATE_QUEUED)->name, qd_state_at(QD_STATE_DOWNLOADING)->name,
                                    qd_clock_wall_ms(), &c->row, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("claim.row", err);
    return code == QD_OK ? qd_record_state_event(tx, c->row.id, QD_STATE_DOWNLOADING, &c->last_event, err) : code;
}

/* Out of descriptors: the job waits for better times, and so does this worker. */
static void give_back(qd_service *service, const qd_job_row *row, const qd_error *reason)
{
    qd_error err = { 0 };
    qd_record record = { .id = row->id,
                         .attempt = row->attempt,
                         .from = QD_STATE_DOWNLOADING,
                         .to = QD_STATE_QUEUED,
                         .ending = QD_RECORD_RESUME };
    qd_service_say(service, "error", "job.not-begun", "job=%s reason=\"%s\"", row->id, reason->text);
    if (qd_record_commit(service, &record, &err) != QD_OK)
        qd_service_say(service, "error", "job.not-given-back", "job=%s reason=\"%s\"", row->id, err.text);
    nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
}

static qd_code read_row(void *ctx, qd_tx *tx, qd_error *err)
{
    QD_AUTO(qd_job_row_fini) qd_job_row row = { 0 };
    return qd_job_row_read(tx, ctx, &row, err);
}

/* Whoever deleted the job left its folder to the worker that had it. Looked up after qd_active_end: one of the two
 * removes it. */
static void remove_if_deleted(qd_service *service, const char *id)
{
    char copy[QD_ID_SIZE];
    qd_error err = { 0 };
    snprintf(copy, sizeof copy, "%s", id);
    if (qd_store_read(service->store, read_row, copy, &err) != QD_ENOTFOUND)
        return;
    if (qd_job_paths_remove(service->settings.state_dir, id, &err) != QD_OK)
        qd_service_say(service, "warn", "job.not-removed", "job=%s reason=\"%s\"", id, err.text);
}

static void work_on(qd_service *service, const qd_job_row *row)
{
    qd_error err = { 0 };
    qd_active active;
    if (qd_active_begin(service, row->id, row->attempt, &active, &err) != QD_OK) {
        give_back(service, row, &err);
        return;
    }
    active.request_id = row->request_id;
    qd_service_say(service, "info", "job.claimed", "job=%s request_id=%s attempt=%u", row->id, row->request_id,
                   row->attempt);
    qd_attempt(service, row, &active);
    qd_active_end(service, &active);
    remove_if_deleted(service, row->id);
}

/* QD_ENOTFOUND: nothing is queued. */
static qd_code claim_and_work(qd_service *service, qd_error *err)
{
    claim c = { 0 };
    qd_code code = qd_store_write(service->store, claim_oldest, &c, err);
    if (code == QD_OK) {
        QD_FAULT("claim.taken");
        qd_bell_ring(service->bell, c.row.id, c.last_event);
        work_on(service, &c.row);
    }
    qd_job_row_fini(&c.row);
    return code;
}

/* Called with the mutex held. Looks again when a job was queued, and every second in case something kept it from
 * claiming. */
static void wait_for_turn(qd_service *service, uint64_t seen)
{
    const struct timespec until = qd_clock_deadline(1);
    while (!service->stopping && service->queue_turn == seen)
        if (pthread_cond_timedwait(&service->changed, &service->mutex, &until) != 0)
            return;
}

static void *work_loop(void *arg)
{
    qd_service *service = arg;
    uint64_t floor_bytes = service->settings.config.disk_floor_bytes;
    pthread_mutex_lock(&service->mutex);
    while (!service->stopping) {
        uint64_t seen = service->queue_turn;
        bool room = service->free_bytes >= floor_bytes && !service->draining;
        qd_error err = { 0 };
        pthread_mutex_unlock(&service->mutex);
        qd_code code = room ? claim_and_work(service, &err) : QD_ENOSPC;
        if (code != QD_OK && code != QD_ENOTFOUND && room)
            qd_service_say(service, "error", "claim.failed", "reason=\"%s\"", err.text);
        pthread_mutex_lock(&service->mutex);
        if (code != QD_OK)
            wait_for_turn(service, seen);
    }
    service->workers_alive--;
    pthread_mutex_unlock(&service->mutex);
    return NULL;
}

/* A worker counts from its start, not from its first turn on a processor: a service that says where it listens is
 * ready. */
static qd_code start_worker(qd_service *service, pthread_t *worker, qd_error *err)
{
    pthread_mutex_lock(&service->mutex);
    bool started = pthread_create(worker, NULL, work_loop, service) == 0;
    service->workers_alive += started;
    pthread_mutex_unlock(&service->mutex);
    return started ? QD_OK : qd_fail(err, QD_EBUSY, "a worker thread could not be started");
}

qd_code qd_workers_start(qd_service *service, qd_error *err)
{
    size_t count = service->settings.config.workers;
    qd_code code = qd_alloc(count, sizeof *service->workers, (void **)&service->workers, err);
    for (size_t i = 0; code == QD_OK && i < count; i++) {
        code = start_worker(service, &service->workers[i], err);
        service->worker_count += code == QD_OK;
    }
    return code;
}

void qd_workers_join(qd_service *service)
{
    for (size_t i = 0; i < service->worker_count; i++)
        pthread_join(service->workers[i], NULL);
    service->worker_count = 0;
    free(service->workers);
    service->workers = NULL;
}
