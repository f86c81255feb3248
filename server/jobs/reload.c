/* reload.c: settings that change while the service runs; see service.h and service_private.h. */
#include "jobs/service_private.h"

qd_service_config qd_service_now(qd_service *service)
{
    pthread_mutex_lock(&service->mutex);
    qd_service_config config = service->settings.config;
    pthread_mutex_unlock(&service->mutex);
    return config;
}

void qd_service_reload(qd_service *service, const qd_service_config *fresh)
{
    pthread_mutex_lock(&service->mutex);
    qd_service_config *config = &service->settings.config;
    config->queue_limit = fresh->queue_limit;
    config->heartbeat_seconds = fresh->heartbeat_seconds;
    config->job_runtime_seconds = fresh->job_runtime_seconds;
    config->webhook_tries = fresh->webhook_tries;
    config->retention = fresh->retention;
    config->access.rate_per_minute = fresh->access.rate_per_minute;
    config->access.queue_quota = fresh->access.queue_quota;
    config->access.disk_quota_bytes = fresh->access.disk_quota_bytes;
    qd_settings_fill_limits(config);
    pthread_mutex_unlock(&service->mutex);
    qd_keyring_set_rate(service->keyring, fresh->access.rate_per_minute);
}
