/* drain.c: the way to the end, and signs of life; see service.h. */
#include "base/clock.h"
#include "jobs/service_private.h"

void qd_service_drain(qd_service *service)
{
    pthread_mutex_lock(&service->mutex);
    service->draining = true;
    pthread_cond_broadcast(&service->changed);
    pthread_mutex_unlock(&service->mutex);
}

size_t qd_service_running(qd_service *service)
{
    size_t running = 0;
    pthread_mutex_lock(&service->mutex);
    for (const qd_active *a = service->active; a != NULL; a = a->next)
        running++;
    pthread_mutex_unlock(&service->mutex);
    return running;
}

static qd_code change_nothing(void *ctx, qd_tx *tx, qd_error *err)
{
    (void)ctx;
    (void)tx;
    (void)err;
    return QD_OK;
}

qd_code qd_service_beat(qd_service *service, double patience_seconds, qd_error *err)
{
    pthread_mutex_lock(&service->mutex);
    double age = qd_clock_seconds() - service->looked_at;
    pthread_mutex_unlock(&service->mutex);
    if (age > patience_seconds)
        return qd_fail(err, QD_ETIMEOUT, "the supervisor has not looked for %.0f seconds", age);
    /* Whether it can write is another question (readyz answers it): a full disk is no reason for a restart. */
    qd_store_write(service->store, change_nothing, NULL, NULL);
    return QD_OK;
}
