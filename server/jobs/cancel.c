/* cancel.c: cancel and delete; see service.h. A cancelled job's row says so before its run has ended; the run's next
 * write then finds that it has lost the job. */
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "jobs/audit.h"
#include "jobs/courier.h"
#include "jobs/delivery.h"
#include "jobs/paths.h"
#include "jobs/record.h"
#include "jobs/service_private.h"
#include "store/job_rows.h"

typedef struct wish {
    qd_service *service;
    const qd_caller *caller;
    const char *id;
    unsigned attempt;
    uint64_t last_event;
} wish;

static qd_code cancel(void *ctx, qd_tx *tx, qd_error *err)
{
    wish *w = ctx;
    QD_AUTO(qd_job_row_fini) qd_job_row row = { 0 };
    qd_state_id state = QD_STATE_QUEUED;
    const char *cancelled = qd_state_at(QD_STATE_CANCELLED)->name;
    w->last_event = 0;
    qd_code code = qd_job_row_read(tx, w->id, &row, err);
    w->attempt = row.attempt;
    if (code == QD_OK)
        code = qd_state_read(row.id, row.state, &state, err);
    if (code != QD_OK || state == QD_STATE_CANCELLED)
        return code;
    if (!qd_state_may_follow(state, QD_STATE_CANCELLED))
        return qd_fail(err, QD_ECONFLICT, "job '%s' has %s already", row.id, row.state);
    code = qd_job_row_move(tx, row.id, row.attempt, row.state, cancelled, err);
    if (code == QD_OK)
        code = qd_job_row_finish(tx, row.id, NULL, NULL, qd_clock_wall_ms(), err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("cancel.row", err);
    if (code == QD_OK)
        code = qd_record_state_event(tx, row.id, QD_STATE_CANCELLED, &w->last_event, err);
    if (code == QD_OK)
        code = qd_delivery_enqueue(w->service, tx, row.id, QD_STATE_CANCELLED, err);
    return code == QD_OK ? qd_audit_add_take(tx, w->caller, QD_AUDIT_JOB_CANCEL, row.id,
                                             json_pack("{s:s}", "from", row.state), err)
                         : code;
}

qd_code qd_service_cancel(qd_service *service, const qd_caller *caller, const char *id, qd_error *err)
{
    wish w = { .service = service, .caller = caller, .id = id };
    qd_code code = qd_store_write(service->store, cancel, &w, err);
    if (code != QD_OK || w.last_event == 0)
        return code;
    QD_FAULT("cancel.recorded");
    qd_active_stop(service, id, w.attempt);
    qd_bell_ring(service->bell, id, w.last_event);
    qd_courier_wake(service->courier);
    qd_service_say(service, "info", "job.cancelled", "job=%s request_id=%s", id, caller->request_id);
    return QD_OK;
}

static qd_code delete (void *ctx, qd_tx *tx, qd_error *err)
{
    wish *w = ctx;
    QD_AUTO(qd_job_row_fini) qd_job_row row = { 0 };
    qd_state_id state = QD_STATE_QUEUED;
    qd_code code = qd_job_row_read(tx, w->id, &row, err);
    if (code == QD_OK)
        code = qd_state_read(row.id, row.state, &state, err);
    if (code == QD_OK && qd_state_at(state)->kind != QD_STATE_FINAL)
        return qd_fail(err, QD_ECONFLICT, "job '%s' is %s: cancel it first", row.id, row.state);
    if (code == QD_OK)
        code = QD_FAULT_CODE("delete.row", err);
    if (code == QD_OK)
        code = qd_job_row_delete(tx, row.id, err);
    return code == QD_OK ? qd_audit_add_take(tx, w->caller, QD_AUDIT_JOB_DELETE, row.id,
                                             json_pack("{s:s}", "from", row.state), err)
                         : code;
}

/* The rows go first: what is left after a crash in between is swept at the next start. The artifact is nobody's any
 * more; the job's own folder may still be in the hands of a worker on its way out, who then removes it. */
qd_code qd_service_delete(qd_service *service, const qd_caller *caller, const char *id, qd_error *err)
{
    wish w = { .caller = caller, .id = id };
    QD_AUTO(qd_job_paths_fini) qd_job_paths paths = { 0 };
    qd_code code = qd_job_paths_init(service->settings.state_dir, id, &paths, err);
    if (code == QD_OK)
        code = qd_store_write(service->store, delete, &w, err);
    if (code != QD_OK)
        return code;
    qd_service_say(service, "info", "job.deleted", "job=%s request_id=%s", id, caller->request_id);
    bool in_use = qd_active_has(service, id);
    QD_FAULT("delete.recorded");
    code = qd_dir_remove(paths.artifact, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("delete.artifact", err);
    if (code == QD_OK)
        code = qd_dir_remove(paths.quarantine, err);
    if (code == QD_OK && !in_use)
        code = qd_dir_remove(paths.dir, err);
    return code == QD_ENOTFOUND ? QD_OK : code; /* a worker removed a folder under our hands */
}
