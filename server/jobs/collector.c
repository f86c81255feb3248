/* collector.c: the thread that collects; see collect.h. */
#include "base/clock.h"
#include "jobs/collect.h"

static const double period_seconds = 60, first_seconds = 10, shortage_seconds = 5;

static bool is_short(const qd_service *service)
{
    uint64_t floor_bytes = service->settings.config.disk_floor_bytes;
    return service->free_bytes / 2 < floor_bytes;
}

/* In a shortage the next one comes sooner, but not in vain again and again. */
typedef enum outcome { FRUITFUL, IN_VAIN } outcome;

/* Called with the mutex held. */
static void wait_for_time(qd_service *service, double pause, outcome last)
{
    double since = qd_clock_seconds();
    while (!service->stopping) {
        double waited = qd_clock_seconds() - since;
        if (waited >= pause || (waited >= shortage_seconds && last == FRUITFUL && is_short(service)))
            return;
        const struct timespec until = qd_clock_deadline(1);
        pthread_cond_timedwait(&service->changed, &service->mutex, &until);
    }
}

static outcome collect_once(qd_service *service)
{
    qd_error err = { 0 };
    QD_AUTO(qd_collected_fini) qd_collected collected = { 0 };
    qd_code code = qd_service_collect(service, QD_COLLECT_REMOVE, &collected, &err);
    if (code != QD_OK && code != QD_EBUSY)
        qd_service_say(service, "warn", "collect.failed", "reason=\"%s\"", err.text);
    return collected.removed_bytes > 0 ? FRUITFUL : IN_VAIN;
}

static void *run_collector(void *arg)
{
    qd_service *service = arg;
    double pause = first_seconds;
    outcome last = FRUITFUL;
    pthread_mutex_lock(&service->mutex);
    for (;; pause = period_seconds) {
        wait_for_time(service, pause, last);
        if (service->stopping)
            break;
        pthread_mutex_unlock(&service->mutex);
        last = collect_once(service);
        pthread_mutex_lock(&service->mutex);
    }
    pthread_mutex_unlock(&service->mutex);
    return NULL;
}

qd_code qd_collector_start(qd_service *service, qd_error *err)
{
    if (pthread_create(&service->collector, NULL, run_collector, service) != 0)
        return qd_fail(err, QD_EBUSY, "the collector thread could not be started");
    service->collected = true;
    return QD_OK;
}

void qd_collector_join(qd_service *service)
{
    if (service->collected)
        pthread_join(service->collector, NULL);
    service->collected = false;
}
