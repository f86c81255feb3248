/* audit.c: see audit.h. */
#include "jobs/audit.h"

#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "jobs/keyring.h"
#include "store/audit_rows.h"

enum { DEPTH_MAX = 32 };

static const char *const words[QD_AUDIT_ACTIONS] = {
    [QD_AUDIT_JOB_CREATE] = "job.create", [QD_AUDIT_JOB_CANCEL] = "job.cancel",
    [QD_AUDIT_JOB_RETRY] = "job.retry",   [QD_AUDIT_JOB_DELETE] = "job.delete",
    [QD_AUDIT_JOB_UPDATE] = "job.update", [QD_AUDIT_DELIVERY_RETRY] = "delivery.retry",
    [QD_AUDIT_KEY_CREATE] = "key.create", [QD_AUDIT_KEY_REVOKE] = "key.revoke",
    [QD_AUDIT_LOGIN] = "login",           [QD_AUDIT_LOGOUT] = "logout",
};

qd_code qd_audit_add_take(qd_tx *tx, const qd_caller *caller, qd_audit_action action, const char *target,
                          json_t *detail, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *text = detail == NULL ? NULL : qd_json_print(detail);
    if (detail != NULL && text == NULL) {
        json_decref(detail);
        return qd_fail(err, QD_ENOMEM, "out of memory");
    }
    json_decref(detail);
    const qd_audit_row row = { .time_ms = qd_clock_wall_ms(),
                               .key_id = caller->key_id,
                               .address = caller->address,
                               .request_id = caller->request_id,
                               .action = words[action],
                               .target = target,
                               .detail = text == NULL ? "{}" : text };
    return qd_audit_row_add(tx, &row, err);
}

const char *qd_audit_word(size_t index)
{
    return index < QD_AUDIT_ACTIONS ? words[index] : NULL;
}

typedef struct page {
    qd_audit_search search;
    json_t *items;
} page;

static qd_code add_row(void *ctx, const qd_audit_row *row, qd_error *err)
{
    page *p = ctx;
    char time[QD_TIME_TEXT];
    json_t *detail = NULL;
    qd_code code = qd_json_parse_object(row->detail, strlen(row->detail), DEPTH_MAX, &detail, err);
    if (code != QD_OK)
        return code;
    qd_clock_format(row->time_ms, time);
    json_t *item = json_pack("{s:I, s:s, s:s?, s:s, s:s?, s:s, s:s, s:o}", "id", (json_int_t)row->id, "time", time,
                             "key", row->key_id[0] == '\0' ? NULL : row->key_id, "address", row->address, "request_id",
                             row->request_id[0] == '\0' ? NULL : row->request_id, "action", row->action, "target",
                             row->target, "detail", detail);
    return json_array_append_new(p->items, item) == 0 ? QD_OK : qd_fail(err, QD_ENOMEM, "out of memory");
}

static qd_code read_page(void *ctx, qd_tx *tx, qd_error *err)
{
    page *p = ctx;
    return qd_audit_row_search(tx, &p->search, add_row, p, err);
}

qd_code qd_keyring_audit(qd_keyring *keyring, const qd_audit_filter *filter, json_t **out, qd_error *err)
{
    page p = { .search = { .after = filter->after,
                           .action = filter->action,
                           .target = filter->target,
                           .limit = filter->limit },
               .items = json_array() };
    if (p.items == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    qd_code code = qd_store_read(keyring->store, read_page, &p, err);
    if (code == QD_OK)
        *out = p.items;
    else
        json_decref(p.items);
    return code;
}

typedef struct visit {
    const qd_caller *caller;
    qd_audit_action action;
} visit;

static qd_code add_visit(void *ctx, qd_tx *tx, qd_error *err)
{
    const visit *v = ctx;
    return qd_audit_add_take(tx, v->caller, v->action, v->caller->key_id, NULL, err);
}

qd_code qd_keyring_logged_in(qd_keyring *keyring, const qd_caller *caller, qd_error *err)
{
    visit v = { .caller = caller, .action = QD_AUDIT_LOGIN };
    return qd_store_write(keyring->store, add_visit, &v, err);
}

qd_code qd_keyring_logged_out(qd_keyring *keyring, const qd_caller *caller, qd_error *err)
{
    visit v = { .caller = caller, .action = QD_AUDIT_LOGOUT };
    return qd_store_write(keyring->store, add_visit, &v, err);
}
