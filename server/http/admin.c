/* admin.c: what an operator asks for. */
#include "http/handlers.h"
#include "http/problem.h"

/* ?dry_run=true: what would be removed. */
qd_code qd_post_collect(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    QD_AUTO(qd_collected_fini) qd_collected collected = { 0 };
    bool dry = false;
    if (qd_target_flag(&request->target, "dry_run", &dry, err) != QD_OK) {
        qd_reply_problem(reply, request, QD_PROBLEM_BAD_REQUEST, NULL, "%s", err->text);
        return QD_OK;
    }
    qd_collect_mode mode = dry ? QD_COLLECT_LIST : QD_COLLECT_REMOVE;
    qd_code code = qd_service_collect(app->service, mode, &collected, err);
    if (code != QD_OK)
        return code;
    return qd_reply_json_take(reply, 200,
                              json_pack("{s:b, s:O, s:I, s:I, s:I, s:I}", "dry_run", mode == QD_COLLECT_LIST, "removed",
                                        collected.items, "bytes", (json_int_t)collected.removed_bytes, "rows",
                                        (json_int_t)collected.rows, "cache_bytes", (json_int_t)collected.cache_bytes,
                                        "artifacts_bytes", (json_int_t)collected.artifacts_bytes),
                              err);
}
