/* audit.c: see audit.h. */
#include "jobs/audit.h"

#include <stdlib.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "store/audit_rows.h"

static const char *const words[QD_AUDIT_ACTIONS] = {
    [QD_AUDIT_JOB_CREATE] = "job.create", [QD_AUDIT_JOB_CANCEL] = "job.cancel", [QD_AUDIT_JOB_RETRY] = "job.retry",
    [QD_AUDIT_JOB_DELETE] = "job.delete", [QD_AUDIT_JOB_UPDATE] = "job.update", [QD_AUDIT_KEY_CREATE] = "key.create",
    [QD_AUDIT_KEY_REVOKE] = "key.revoke", [QD_AUDIT_LOGIN] = "login",           [QD_AUDIT_LOGOUT] = "logout",
};

const char *qd_audit_action_name(size_t index)
{
    return index < QD_AUDIT_ACTIONS ? words[index] : NULL;
}

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
