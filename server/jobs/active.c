/* active.c: see active.h. */
#include "jobs/active.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "jobs/service_private.h"

static void ask_to_stop(qd_active *active)
{
    const uint64_t one = 1;
    qd_cancel_request(&active->cancel);
    ssize_t ignored = write(active->wake_fd, &one, sizeof one); /* full means that it is awake */
    (void)ignored;
}

qd_code qd_active_begin(qd_service *service, const char *id, unsigned attempt, qd_active *active, qd_error *err)
{
    *active = (qd_active){ .attempt = attempt, .request_id = "", .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
    if (active->wake_fd < 0)
        return qd_fail_errno(err, "a descriptor for the job");
    memcpy(active->id, id, sizeof active->id);
    pthread_mutex_lock(&service->mutex);
    active->next = service->active;
    service->active = active;
    if (service->stopping)
        ask_to_stop(active);
    pthread_mutex_unlock(&service->mutex);
    return QD_OK;
}

void qd_active_end(qd_service *service, qd_active *active)
{
    pthread_mutex_lock(&service->mutex);
    for (qd_active **at = &service->active; *at != NULL; at = &(*at)->next) {
        if (*at == active) {
            *at = active->next;
            break;
        }
    }
    pthread_mutex_unlock(&service->mutex);
    json_decref(active->progress);
    close(active->wake_fd);
}

void qd_active_stop(qd_service *service, const char *id, unsigned attempt)
{
    pthread_mutex_lock(&service->mutex);
    for (qd_active *a = service->active; a != NULL; a = a->next)
        if (strcmp(a->id, id) == 0 && a->attempt <= attempt)
            ask_to_stop(a);
    pthread_mutex_unlock(&service->mutex);
}

void qd_active_stop_all(qd_service *service)
{
    pthread_mutex_lock(&service->mutex);
    for (qd_active *a = service->active; a != NULL; a = a->next)
        ask_to_stop(a);
    pthread_mutex_unlock(&service->mutex);
}

bool qd_active_has(qd_service *service, const char *id)
{
    bool found = false;
    pthread_mutex_lock(&service->mutex);
    for (const qd_active *a = service->active; a != NULL; a = a->next)
        found |= strcmp(a->id, id) == 0;
    pthread_mutex_unlock(&service->mutex);
    return found;
}

void qd_active_set_progress_take(qd_service *service, qd_active *active, json_t *progress)
{
    pthread_mutex_lock(&service->mutex);
    json_t *old = active->progress;
    active->progress = progress;
    active->steps++;
    pthread_mutex_unlock(&service->mutex);
    json_decref(old);
}

void qd_active_set_rss(qd_service *service, qd_active *active, uint64_t bytes)
{
    pthread_mutex_lock(&service->mutex);
    active->rss = bytes;
    pthread_mutex_unlock(&service->mutex);
}

void qd_active_set_heard(qd_service *service, qd_active *active, double when)
{
    pthread_mutex_lock(&service->mutex);
    active->heard = when;
    pthread_mutex_unlock(&service->mutex);
}

json_t *qd_active_progress(qd_service *service, const char *id, unsigned attempt, uint64_t *out_steps)
{
    json_t *copy = NULL;
    *out_steps = 0;
    pthread_mutex_lock(&service->mutex);
    for (qd_active *a = service->active; a != NULL; a = a->next) {
        if (a->attempt == attempt && strcmp(a->id, id) == 0) {
            copy = json_deep_copy(a->progress); /* NULL stays NULL */
            *out_steps = a->steps;
        }
    }
    pthread_mutex_unlock(&service->mutex);
    return copy;
}
