/* bell.c: see bell.h. */
#include "jobs/bell.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "jobs/service.h"

struct qd_watch {
    char id[QD_JOB_ID]; /* "" = all */
    qd_woken woken;
    void *ctx;
    bool removed;
    qd_watch *next;
};

typedef struct ring {
    char id[QD_JOB_ID];
    uint64_t last_event_id;
    struct ring *next;
} ring;

struct qd_bell {
    pthread_t thread;
    bool running;
    pthread_mutex_t mutex;
    pthread_cond_t rung;    /* a ring came, or stop */
    pthread_cond_t quieted; /* a callback returned */
    ring *first, **end;
    qd_watch *watches;
    qd_watch *calling; /* whose callback runs now, without the mutex */
    bool stopping;
};

/* Called with the mutex held; calls back without it. The list may change meanwhile, but not lose the watch that is
 * being called. */
static void call(qd_bell *bell, qd_watch *watch, const char *id, uint64_t last_event_id)
{
    bell->calling = watch;
    pthread_mutex_unlock(&bell->mutex);
    watch->woken(watch->ctx, id, last_event_id);
    pthread_mutex_lock(&bell->mutex);
    bell->calling = NULL;
    pthread_cond_broadcast(&bell->quieted);
}

static void call_all(qd_bell *bell, const char *id, uint64_t last_event_id)
{
    for (qd_watch *watch = bell->watches, *next; watch != NULL; watch = next) {
        if (!watch->removed && (id == NULL || watch->id[0] == '\0' || strcmp(watch->id, id) == 0))
            call(bell, watch, id, last_event_id);
        next = watch->next; /* after the call: a neighbour may have left during it */
    }
}

static void *listen_loop(void *arg)
{
    qd_bell *bell = arg;
    pthread_mutex_lock(&bell->mutex);
    while (!bell->stopping) {
        ring *heard = bell->first;
        if (heard == NULL) {
            pthread_cond_wait(&bell->rung, &bell->mutex);
            continue;
        }
        bell->first = heard->next;
        if (bell->first == NULL)
            bell->end = &bell->first;
        call_all(bell, heard->id, heard->last_event_id);
        free(heard);
    }
    call_all(bell, NULL, 0);
    pthread_mutex_unlock(&bell->mutex);
    return NULL;
}

qd_code qd_bell_create(qd_bell **out, qd_error *err)
{
    qd_bell *bell = NULL;
    qd_code code = qd_alloc(1, sizeof *bell, (void **)&bell, err);
    if (code != QD_OK)
        return code;
    pthread_mutex_init(&bell->mutex, NULL);
    pthread_cond_init(&bell->rung, NULL);
    pthread_cond_init(&bell->quieted, NULL);
    bell->end = &bell->first;
    bell->running = pthread_create(&bell->thread, NULL, listen_loop, bell) == 0;
    if (!bell->running) {
        qd_bell_destroy(bell);
        return qd_fail(err, QD_EBUSY, "the thread that wakes watchers could not be started");
    }
    *out = bell;
    return QD_OK;
}

void qd_bell_stop(qd_bell *bell)
{
    if (!bell->running)
        return;
    pthread_mutex_lock(&bell->mutex);
    bell->stopping = true;
    pthread_cond_signal(&bell->rung);
    pthread_mutex_unlock(&bell->mutex);
    pthread_join(bell->thread, NULL);
    bell->running = false;
}

void qd_bell_destroy(qd_bell *bell)
{
    if (bell == NULL)
        return;
    qd_bell_stop(bell);
    for (ring *next; bell->first != NULL; bell->first = next) {
        next = bell->first->next;
        free(bell->first);
    }
    for (qd_watch *next; bell->watches != NULL; bell->watches = next) {
        next = bell->watches->next;
        free(bell->watches);
    }
    pthread_cond_destroy(&bell->quieted);
    pthread_cond_destroy(&bell->rung);
    pthread_mutex_destroy(&bell->mutex);
    free(bell);
}

void qd_bell_ring(qd_bell *bell, const char *id, uint64_t last_event_id)
{
    pthread_mutex_lock(&bell->mutex);
    ring *found = bell->first;
    while (found != NULL && strcmp(found->id, id) != 0)
        found = found->next;
    if (found == NULL && bell->watches != NULL && !bell->stopping && (found = calloc(1, sizeof *found)) != NULL) {
        snprintf(found->id, sizeof found->id, "%s", id);
        *bell->end = found;
        bell->end = &found->next;
    }
    if (found != NULL && found->last_event_id < last_event_id)
        found->last_event_id = last_event_id;
    pthread_cond_signal(&bell->rung);
    pthread_mutex_unlock(&bell->mutex);
}

qd_code qd_bell_watch(qd_bell *bell, const char *id, qd_woken woken, void *ctx, qd_watch **out, qd_error *err)
{
    qd_watch *watch = NULL;
    qd_code code = qd_alloc(1, sizeof *watch, (void **)&watch, err);
    if (code != QD_OK)
        return code;
    snprintf(watch->id, sizeof watch->id, "%s", id == NULL ? "" : id);
    watch->woken = woken;
    watch->ctx = ctx;
    pthread_mutex_lock(&bell->mutex);
    watch->next = bell->watches;
    bell->watches = watch;
    pthread_mutex_unlock(&bell->mutex);
    *out = watch;
    return QD_OK;
}

void qd_bell_unwatch(qd_bell *bell, qd_watch *watch)
{
    pthread_mutex_lock(&bell->mutex);
    watch->removed = true;
    while (bell->calling == watch)
        pthread_cond_wait(&bell->quieted, &bell->mutex);
    for (qd_watch **at = &bell->watches; *at != NULL; at = &(*at)->next) {
        if (*at == watch) {
            *at = watch->next;
            break;
        }
    }
    pthread_mutex_unlock(&bell->mutex);
    free(watch);
}
