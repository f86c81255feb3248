/* record.c: see record.h. */
#include "jobs/record.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/json.h"
#include "jobs/courier.h"
#include "jobs/delivery.h"
#include "jobs/service_private.h"
#include "store/artifact_rows.h"
#include "store/event_rows.h"
#include "store/job_rows.h"

static qd_code print(const json_t *value, char **out, qd_error *err)
{
    *out = value == NULL ? NULL : qd_json_print(value);
    return value != NULL && *out == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

qd_code qd_record_event(qd_tx *tx, const char *id, const char *type, const json_t *data, uint64_t *out_id,
                        qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *text = NULL;
    qd_code code = print(data, &text, err);
    return code == QD_OK ? qd_event_row_add(tx, id, type, text, qd_clock_wall_ms(), out_id, err) : code;
}

qd_code qd_record_state_event(qd_tx *tx, const char *id, qd_state_id state, uint64_t *out_id, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *data = json_pack("{s:s}", "state", qd_state_at(state)->name);
    return data == NULL ? qd_fail(err, QD_ENOMEM, "out of memory")
                        : qd_record_event(tx, id, "state", data, out_id, err);
}

/* What a transaction is given. */
typedef struct change {
    qd_service *service;
    qd_record *record;
} change;

static qd_code put_layer(qd_record *r, qd_tx *tx, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *text = NULL;
    r->put = QD_LAYER_NEW;
    qd_code code = print(r->layer, &text, err);
    if (code == QD_OK && text != NULL)
        code = qd_layer_row_put(tx, r->id, r->layer_number, r->layer_name, text, &r->put, err);
    return code;
}

static qd_code put_columns(const qd_record *r, qd_tx *tx, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *progress = NULL, *resolved = NULL, *forecast = NULL;
    qd_code code = print(r->progress, &progress, err);
    if (code == QD_OK)
        code = print(r->resolved, &resolved, err);
    if (code == QD_OK)
        code = print(r->forecast, &forecast, err);
    if (code == QD_OK && forecast != NULL)
        code = qd_job_row_set_forecast(tx, r->id, forecast, err);
    if (code == QD_OK && progress != NULL)
        code = qd_job_row_set_progress(tx, r->id, progress, err);
    if (code == QD_OK && resolved != NULL)
        code = qd_job_row_set_resolved(tx, r->id, resolved, err);
    if (code == QD_OK && r->crash_rule != QD_CRASHES_LEAVE)
        code = qd_job_row_set_crashes(tx, r->id, r->crash_rule == QD_CRASHES_SET ? r->crashes : 0, err);
    if (code == QD_OK && r->ending == QD_RECORD_RESUME)
        code = qd_job_row_add_resumed(tx, r->id, err);
    return code;
}

static qd_code put_ending(const qd_record *r, qd_tx *tx, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *result = NULL, *problem = NULL;
    qd_code code = print(r->result, &result, err);
    if (code == QD_OK)
        code = print(r->problem, &problem, err);
    if (code == QD_OK)
        code = qd_job_row_finish(tx, r->id, result, problem, qd_clock_wall_ms(), err);
    if (code == QD_OK && r->to == QD_STATE_SUCCEEDED)
        code = qd_job_row_forget_secret(tx, r->id, err);
    for (size_t i = 0; code == QD_OK && i < r->file_count; i++)
        code = qd_artifact_row_put(tx, r->id, r->files[i].path, r->files[i].size, r->files[i].sha256, err);
    return code;
}

static qd_code apply(void *ctx, qd_tx *tx, qd_error *err)
{
    const change *c = ctx;
    qd_record *r = c->record;
    const char *from = qd_state_at(r->from)->name;
    r->last_event = 0;
    qd_code code = r->from == r->to ? qd_job_row_fence(tx, r->id, r->attempt, from, err)
                                    : qd_job_row_move(tx, r->id, r->attempt, from, qd_state_at(r->to)->name, err);
    if (code == QD_OK)
        code = put_layer(r, tx, err);
    if (code == QD_OK)
        code = put_columns(r, tx, err);
    if (code == QD_OK && r->ending == QD_RECORD_FINISH)
        code = put_ending(r, tx, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("record.columns", err);
    if (code == QD_OK && r->type != NULL && r->put == QD_LAYER_NEW)
        code = qd_record_event(tx, r->id, r->type, r->data, &r->last_event, err);
    if (code == QD_OK && r->from != r->to)
        code = qd_record_state_event(tx, r->id, r->to, &r->last_event, err);
    if (code == QD_OK && r->ending == QD_RECORD_FINISH)
        code = qd_delivery_enqueue(c->service, tx, r->id, r->to, err);
    return code;
}

qd_code qd_record_commit(qd_service *service, qd_record *record, qd_error *err)
{
    if (record->from != record->to && !qd_state_may_follow(record->from, record->to))
        return qd_fail(err, QD_EINTERNAL, "'%s' may not follow '%s'", qd_state_at(record->to)->name,
                       qd_state_at(record->from)->name);
    change c = { .service = service, .record = record };
    qd_code code = qd_store_write(service->store, apply, &c, err);
    QD_FAULT("record.committed");
    if (code == QD_OK && record->last_event != 0)
        qd_bell_ring(service->bell, record->id, record->last_event);
    if (code == QD_OK && record->ending == QD_RECORD_FINISH)
        qd_courier_wake(service->courier);
    return code;
}
