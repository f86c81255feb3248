/* pool.h: fixed thread pool with one operation, parallel_for over indices.
 * Room: core/base. May use: libc, pthreads.
 * Threads: one parallel_for at a time per pool; call it from the thread that made the pool (never nested).
 *
 * Determinism rule of the tree: work is cut into tasks whose number and extent never depend on the number of
 * threads; a task writes only what is its own; sums over tasks are made in task order afterwards. */
#ifndef QD_BASE_POOL_H
#define QD_BASE_POOL_H

#include <stddef.h>

#include "base/error.h"

/* Processors that this process may use, at least 1: those it may run on, and no more than the quotas of its control groups (cpu.max) pay for. */
size_t qd_pool_processors(void);
/* Of `most` as many as the text of a cpu.max pays for, a part counted as one. */
size_t qd_processors_of_quota(const char *cpu_max, size_t most);

/* Libraries that bring OpenMP threads of their own (they would nest in ours, and wait by spinning) use none of them when called from this
 * thread. A pool's threads have it done. */
void qd_thread_keep_single(void);

typedef struct qd_pool qd_pool;

/* threads >= 1; threads == 1 makes no thread at all. Waiting is passive (condition variables). */
qd_code qd_pool_create(size_t threads, qd_pool **out, qd_error *err);
void qd_pool_destroy(qd_pool *pool); /* NULL is fine */
/* NULL counts as one thread. */
size_t qd_pool_threads(const qd_pool *pool);

/* task(ctx, index, worker, err) for every index in [0, count), dynamically scheduled; `worker` in [0, threads) names
 * the thread, for per-thread scratch. Returns the failure of the lowest failing index that ran (its text in err);
 * after a failure no new index starts. pool == NULL runs in the caller. */
typedef qd_code (*qd_task)(void *ctx, size_t index, size_t worker, qd_error *err);
qd_code qd_pool_for(qd_pool *pool, size_t count, qd_task task, void *ctx, qd_error *err);

#endif
