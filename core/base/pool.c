/* pool.c: see pool.h. */
#include "base/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"

typedef struct worker {
    qd_pool *pool;
    size_t index;
    pthread_t thread;
} worker;

struct qd_pool {
    size_t threads;
    worker *workers; /* threads - 1 of them; the caller is worker 0 */
    size_t started;
    pthread_mutex_t mutex;
    pthread_cond_t wake, idle;
    unsigned long generation; /* guarded by mutex, like all below but `next` and `failed` */
    bool quit;
    size_t busy;
    qd_task task;
    void *ctx;
    size_t count;
    atomic_size_t next;
    atomic_bool failed;
    size_t failed_index;
    qd_error failure;
};

static void run_tasks(qd_pool *pool, size_t worker_index)
{
    while (!atomic_load(&pool->failed)) {
        size_t index = atomic_fetch_add(&pool->next, 1);
        if (index >= pool->count)
            return;
        qd_error err = { 0 };
        qd_code code = pool->task(pool->ctx, index, worker_index, &err);
        if (code == QD_OK)
            continue;
        pthread_mutex_lock(&pool->mutex);
        if (!atomic_load(&pool->failed) || index < pool->failed_index) {
            pool->failed_index = index;
            pool->failure = err;
            pool->failure.code = code;
        }
        atomic_store(&pool->failed, true);
        pthread_mutex_unlock(&pool->mutex);
    }
}

/* Of the OpenMP library that some other library brought; absent where none did. It counts by calling thread. */
extern void omp_set_num_threads(int threads) __attribute__((weak));

void qd_thread_keep_single(void)
{
    if (omp_set_num_threads != NULL)
        omp_set_num_threads(1);
}

static void *worker_main(void *arg)
{
    worker *self = arg;
    qd_pool *pool = self->pool;
    unsigned long seen = 0;
    qd_thread_keep_single();
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        while (pool->generation == seen && !pool->quit)
            pthread_cond_wait(&pool->wake, &pool->mutex);
        if (pool->quit)
            break;
        seen = pool->generation;
        pthread_mutex_unlock(&pool->mutex);
        run_tasks(pool, self->index);
        pthread_mutex_lock(&pool->mutex);
        if (--pool->busy == 0)
            pthread_cond_signal(&pool->idle);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

qd_code qd_pool_create(size_t threads, qd_pool **out, qd_error *err)
{
    qd_pool *pool = NULL;
    qd_code code = qd_alloc(1, sizeof *pool, (void **)&pool, err);
    if (code != QD_OK)
        return code;
    qd_thread_keep_single(); /* the caller is worker 0 */
    pool->threads = threads < 1 ? 1 : threads;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->idle, NULL);
    code = qd_alloc(pool->threads, sizeof *pool->workers, (void **)&pool->workers, err);
    for (size_t i = 1; code == QD_OK && i < pool->threads; i++) {
        pool->workers[i] = (worker){ .pool = pool, .index = i };
        if (pthread_create(&pool->workers[i].thread, NULL, worker_main, &pool->workers[i]) != 0)
            code = qd_fail(err, QD_EBUSY, "thread %zu of %zu could not be started", i + 1, pool->threads);
        else
            pool->started = i;
    }
    if (code != QD_OK) {
        qd_pool_destroy(pool);
        return code;
    }
    *out = pool;
    return QD_OK;
}

void qd_pool_destroy(qd_pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->quit = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (size_t i = 1; i <= pool->started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->idle);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->workers);
    free(pool);
}

size_t qd_pool_threads(const qd_pool *pool)
{
    return pool == NULL ? 1 : pool->threads;
}

static qd_code run_inline(size_t count, qd_task task, void *ctx, qd_error *err)
{
    for (size_t i = 0; i < count; i++) {
        qd_code code = task(ctx, i, 0, err);
        if (code != QD_OK)
            return code;
    }
    return QD_OK;
}

qd_code qd_pool_for(qd_pool *pool, size_t count, qd_task task, void *ctx, qd_error *err)
{
    if (pool == NULL || pool->threads == 1 || count <= 1)
        return run_inline(count, task, ctx, err);
    pthread_mutex_lock(&pool->mutex);
    pool->task = task;
    pool->ctx = ctx;
    pool->count = count;
    atomic_store(&pool->next, 0);
    atomic_store(&pool->failed, false);
    pool->busy = pool->threads - 1;
    pool->generation++;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    run_tasks(pool, 0);
    pthread_mutex_lock(&pool->mutex);
    while (pool->busy > 0)
        pthread_cond_wait(&pool->idle, &pool->mutex);
    qd_code code = atomic_load(&pool->failed) ? pool->failure.code : QD_OK;
    if (code != QD_OK && err != NULL)
        *err = pool->failure;
    pthread_mutex_unlock(&pool->mutex);
    return code;
}
