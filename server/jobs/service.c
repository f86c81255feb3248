/* service.c: the service is put together and taken apart; see service.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "jobs/courier.h"
#include "jobs/collect.h"
#include "jobs/lock.h"
#include "jobs/outlook.h"
#include "jobs/recover.h"
#include "jobs/service_private.h"
#include "jobs/supervise.h"
#include "jobs/worker.h"
#include "store/job_rows.h"

/* A killed service's lock goes with it, but not in the same instant. */
static const double lock_patience_seconds = 2;

void qd_service_say(qd_service *service, const char *level, const char *event, const char *format, ...)
{
    char details[1600];
    va_list args;
    const qd_service_log *log = &service->settings.config.log;
    if (log->line == NULL)
        return;
    va_start(args, format);
    vsnprintf(details, sizeof details, format, args);
    va_end(args);
    log->line(log->ctx, level, event, details);
}

bool qd_service_stopping(qd_service *service)
{
    pthread_mutex_lock(&service->mutex);
    bool stopping = service->stopping;
    pthread_mutex_unlock(&service->mutex);
    return stopping;
}

void qd_service_queued(qd_service *service)
{
    pthread_mutex_lock(&service->mutex);
    service->queue_turn++;
    pthread_cond_broadcast(&service->changed);
    pthread_mutex_unlock(&service->mutex);
}

static qd_code read_newest_id(void *ctx, qd_tx *tx, qd_error *err)
{
    return qd_job_row_newest_id(tx, ctx, err);
}

/* Whether a job or an artifact has left its folder here. */
static bool holds_jobs(const qd_service *service, const char *folder)
{
    char **names = NULL;
    size_t count = 0, found = 0;
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(service->settings.state_dir, folder);
    if (path == NULL || qd_dir_list(path, &names, &count, NULL) != QD_OK)
        return false;
    for (size_t i = 0; i < count; i++)
        found += qd_ident_ok(names[i]);
    qd_names_free(names, count);
    return found > 0;
}

/* One page holds no table: if there is one, it is in the write-ahead log. */
static bool holds_tables(const char *database)
{
    enum { PAGE = 4096 };
    uint64_t size = 0, logged = 0;
    QD_AUTO(qd_str_fini) qd_str log = { 0 };
    qd_str_addf(&log, "%s-wal", database);
    if (qd_file_size(database, &size, NULL) != QD_OK)
        return false;
    return size > PAGE || (size > 0 && qd_file_size(qd_str_borrow(&log), &logged, NULL) == QD_OK && logged > 0);
}

/* A new database beside old jobs would have every one of their files swept as nobody's. */
static qd_code check_database(const qd_service *service, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(service->settings.state_dir, "quantd.db");
    if (path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    if (holds_tables(path) || (!holds_jobs(service, "artifacts") && !holds_jobs(service, "jobs")))
        return QD_OK;
    return qd_fail(err, QD_EFORMAT,
                   "'%s' is missing or empty, but jobs/ and artifacts/ beside it hold files of jobs: put the database "
                   "back, or move those folders away to begin anew",
                   path);
}

/* Keys that others of this machine can read are not the service's alone. */
static void warn_of_credentials(qd_service *service)
{
    const char *path = service->settings.config.fetch.s3.credentials;
    struct stat info;
    if (path != NULL && stat(path, &info) == 0 && (info.st_mode & 077) != 0)
        qd_service_say(service, "warn", "s3-credentials.readable", "file=\"%s\" mode=%04o wanted=0600", path,
                       (unsigned)info.st_mode & 07777);
}

static qd_code open_parts(qd_service *service, qd_error *err)
{
    char newest[QD_ID_SIZE] = "";
    qd_code code = qd_state_lock_take(service->settings.state_dir, lock_patience_seconds, &service->lock_fd, err);
    if (code == QD_OK)
        code = qd_confinement_init(&service->settings.config, &service->confinement, err);
    if (code == QD_OK)
        code = check_database(service, err);
    if (code == QD_OK)
        code = qd_store_open(service->settings.state_dir, &service->store, err);
    if (code == QD_OK)
        code = qd_keyring_create(service->store, &service->settings.config.access, &service->keyring, err);
    if (code == QD_OK)
        code = qd_fetcher_create(&service->settings.config.fetch, &service->fetcher, err);
    warn_of_credentials(service);
    service->settings.config.fetch.s3 = (qd_s3_settings){ 0 }; /* nobody else has to know */
    if (code == QD_OK)
        code = qd_bell_create(&service->bell, err);
    if (code == QD_OK)
        code = qd_store_read(service->store, read_newest_id, newest, err);
    qd_idents_init(&service->idents, newest);
    return code;
}

static qd_code start_threads(qd_service *service, qd_error *err)
{
    service->free_bytes = qd_free_bytes(service);
    service->looked_at = qd_clock_seconds();
    qd_code code = qd_outlook_begin(service, err);
    if (code == QD_OK)
        code = qd_recover(service, err);
    if (code == QD_OK)
        code = qd_supervisor_start(service, err);
    if (code == QD_OK)
        code = qd_courier_start(service, &service->courier, err);
    if (code == QD_OK)
        code = qd_collector_start(service, err);
    return code == QD_OK ? qd_workers_start(service, err) : code;
}

static void init_locks(qd_service *service)
{
    qd_clock_condition_init(&service->changed);
    pthread_mutex_init(&service->mutex, NULL);
}

qd_code qd_service_create(const qd_service_config *config, qd_service **out, qd_error *err)
{
    qd_service *service = NULL;
    qd_code code = qd_alloc(1, sizeof *service, (void **)&service, err);
    if (code != QD_OK)
        return code;
    service->lock_fd = -1;
    code = qd_settings_init(config, &service->settings, err);
    if (code != QD_OK) {
        free(service);
        return code;
    }
    init_locks(service);
    code = open_parts(service, err);
    if (code == QD_OK)
        code = start_threads(service, err);
    if (code != QD_OK) {
        qd_service_destroy(service);
        return code;
    }
    *out = service;
    return QD_OK;
}

void qd_service_destroy(qd_service *service)
{
    if (service == NULL)
        return;
    pthread_mutex_lock(&service->mutex);
    service->stopping = true;
    pthread_cond_broadcast(&service->changed);
    pthread_mutex_unlock(&service->mutex);
    qd_active_stop_all(service);
    qd_workers_join(service);
    qd_courier_destroy(service->courier);
    qd_collector_join(service);
    qd_supervisor_join(service);
    qd_bell_destroy(service->bell); /* wakes all watchers for the last time */
    qd_fetcher_destroy(service->fetcher);
    if (service->keyring != NULL)
        qd_keyring_flush(service->keyring, QD_FLUSH_ALL);
    qd_keyring_close(service->keyring);
    qd_store_close(service->store);
    qd_idents_fini(&service->idents);
    qd_close_fd(&service->lock_fd);
    pthread_cond_destroy(&service->changed);
    pthread_mutex_destroy(&service->mutex);
    qd_confinement_fini(&service->confinement);
    qd_settings_fini(&service->settings);
    free(service);
}

qd_code qd_service_watch(qd_service *service, const char *id,
                         void (*woken)(void *ctx, const char *id, uint64_t last_event_id), void *ctx, qd_watch **out,
                         qd_error *err)
{
    return qd_bell_watch(service->bell, id, woken, ctx, out, err);
}

void qd_service_unwatch(qd_service *service, qd_watch *watch)
{
    qd_bell_unwatch(service->bell, watch);
}

qd_keyring *qd_service_keyring(qd_service *service)
{
    return service->keyring;
}

qd_code qd_service_check_url(qd_service *service, const char *url, qd_error *err)
{
    return qd_fetch_check_url(service->fetcher, url, err);
}
