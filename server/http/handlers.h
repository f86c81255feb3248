/* handlers.h: the handlers of the route table, by resource file.
 * Room: server/http. May use: core, jobs, api. Never: MHD.
 * Threads: any, several at once. */
#ifndef QD_HTTP_HANDLERS_H
#define QD_HTTP_HANDLERS_H

#include "http/route.h"

#define QD_HANDLER(name) qd_code name(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)

/* jobs_write.c */
QD_HANDLER(qd_post_job);
QD_HANDLER(qd_patch_job);
QD_HANDLER(qd_cancel_job);
QD_HANDLER(qd_retry_job);
QD_HANDLER(qd_delete_job);
/* jobs_list.c */
QD_HANDLER(qd_list_jobs);
/* compare.c */
QD_HANDLER(qd_compare_jobs);
/* archive.c */
QD_HANDLER(qd_get_archive);
/* jobs_plan.c: what qd_post_job does with ?dry_run=true */
QD_HANDLER(qd_plan_job);
/* jobs_read.c */
QD_HANDLER(qd_get_job);
QD_HANDLER(qd_get_layers);
QD_HANDLER(qd_get_certificate);
/* deliveries.c */
QD_HANDLER(qd_get_deliveries);
QD_HANDLER(qd_redeliver);
/* events.c */
QD_HANDLER(qd_get_events);
/* files.c */
QD_HANDLER(qd_get_manifest);
QD_HANDLER(qd_get_artifact);
QD_HANDLER(qd_get_log);
/* keys.c */
QD_HANDLER(qd_list_keys);
QD_HANDLER(qd_post_key);
QD_HANDLER(qd_delete_key);
QD_HANDLER(qd_list_audit);
/* login.c */
QD_HANDLER(qd_post_session);
QD_HANDLER(qd_delete_session);
/* health.c */
QD_HANDLER(qd_get_live);
QD_HANDLER(qd_get_ready);
/* admin.c */
QD_HANDLER(qd_post_collect);
/* metrics.c */
QD_HANDLER(qd_get_metrics);
/* document.c */
QD_HANDLER(qd_get_document);
QD_HANDLER(qd_get_page);

/* 200 (or `status`) with the job as it is now, and its ETag. */
qd_code qd_reply_job(const qd_app *app, const char *id, unsigned status, qd_reply *reply, qd_error *err);

#endif
