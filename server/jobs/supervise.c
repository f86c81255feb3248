/* supervise.c: see supervise.h. Once a second: how much room there is, whether the database writes, whether the
 * ballast is back, which keys were used. */
#include "jobs/supervise.h"

#include <sys/statvfs.h>

#include "base/clock.h"
#include "jobs/dry_run.h"

uint64_t qd_free_bytes(const qd_service *service)
{
    struct statvfs disk;
    if (statvfs(service->settings.state_dir, &disk) != 0)
        return 0;
    return (uint64_t)disk.f_bavail * disk.f_frsize;
}

static void look(qd_service *service)
{
    uint64_t free_bytes = qd_free_bytes(service), floor_bytes = service->settings.config.disk_floor_bytes;
    pthread_mutex_lock(&service->mutex);
    bool was_short = service->free_bytes < floor_bytes, is_short = free_bytes < floor_bytes;
    service->free_bytes = free_bytes;
    service->looked_at = qd_clock_seconds();
    pthread_mutex_unlock(&service->mutex);
    if (is_short != was_short)
        qd_service_say(service, is_short ? "warn" : "info", is_short ? "disk.below-floor" : "disk.above-floor",
                       "free=%llu floor=%llu", (unsigned long long)free_bytes, (unsigned long long)floor_bytes);
    if (qd_store_health(service->store, NULL) != QD_OK)
        qd_store_probe(service->store, NULL);
    else
        qd_store_restore_ballast(service->store);
    qd_keyring_flush(service->keyring, QD_FLUSH_SOME);
    qd_dry_runs_look(service);
}

static void *supervise(void *arg)
{
    qd_service *service = arg;
    pthread_mutex_lock(&service->mutex);
    while (!service->stopping) {
        pthread_mutex_unlock(&service->mutex);
        look(service);
        const struct timespec until = qd_clock_deadline(1);
        pthread_mutex_lock(&service->mutex);
        while (!service->stopping && pthread_cond_timedwait(&service->changed, &service->mutex, &until) == 0)
            continue;
    }
    pthread_mutex_unlock(&service->mutex);
    return NULL;
}

qd_code qd_supervisor_start(qd_service *service, qd_error *err)
{
    if (pthread_create(&service->supervisor, NULL, supervise, service) != 0)
        return qd_fail(err, QD_EBUSY, "the supervisor thread could not be started");
    service->supervised = true;
    return QD_OK;
}

void qd_supervisor_join(qd_service *service)
{
    if (service->supervised)
        pthread_join(service->supervisor, NULL);
    service->supervised = false;
}
