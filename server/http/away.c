/* away.c: see away.h. */
#include "http/away.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct qd_away {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    qd_away_task *first, **end;
    bool closing;
    size_t threads;
    pthread_t *ids;
};

static qd_away_task *take(qd_away *away)
{
    pthread_mutex_lock(&away->mutex);
    while (away->first == NULL && !away->closing)
        pthread_cond_wait(&away->changed, &away->mutex);
    qd_away_task *task = away->first;
    if (task != NULL) {
        away->first = task->next;
        if (away->first == NULL)
            away->end = &away->first;
    }
    pthread_mutex_unlock(&away->mutex);
    return task;
}

static void *work(void *ctx)
{
    qd_away_task *task;
    while ((task = take(ctx)) != NULL)
        task->run(task);
    return NULL;
}

void qd_away_post(qd_away *away, qd_away_task *task)
{
    task->next = NULL;
    pthread_mutex_lock(&away->mutex);
    *away->end = task;
    away->end = &task->next;
    pthread_cond_signal(&away->changed);
    pthread_mutex_unlock(&away->mutex);
}

qd_code qd_away_create(size_t threads, qd_away **out, qd_error *err)
{
    qd_away *away = NULL;
    qd_code code = qd_alloc(1, sizeof *away, (void **)&away, err);
    if (code != QD_OK)
        return code;
    pthread_mutex_init(&away->mutex, NULL);
    pthread_cond_init(&away->changed, NULL);
    away->end = &away->first;
    code = qd_alloc(threads, sizeof *away->ids, (void **)&away->ids, err);
    for (; code == QD_OK && away->threads < threads; away->threads++) {
        int failed = pthread_create(&away->ids[away->threads], NULL, work, away);
        if (failed != 0) {
            code = qd_fail(err, QD_EIO, "a handler thread could not be started: %s", strerror(failed));
            break;
        }
    }
    if (code != QD_OK) {
        qd_away_destroy(away);
        return code;
    }
    *out = away;
    return QD_OK;
}

void qd_away_destroy(qd_away *away)
{
    if (away == NULL)
        return;
    pthread_mutex_lock(&away->mutex);
    away->closing = true;
    pthread_cond_broadcast(&away->changed);
    pthread_mutex_unlock(&away->mutex);
    for (size_t i = 0; i < away->threads; i++)
        pthread_join(away->ids[i], NULL);
    pthread_cond_destroy(&away->changed);
    pthread_mutex_destroy(&away->mutex);
    free(away->ids);
    free(away);
}
