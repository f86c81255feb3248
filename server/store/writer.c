/* writer.c: see writer.h. */
#include "store/writer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "store/ballast.h"

enum { BATCH_MAX = 256, IDLE_SECONDS = 2 };

/* One waiting change; lives on its caller's stack. */
typedef struct ticket {
    qd_change change;
    void *ctx;
    qd_code code;
    qd_error err;
    bool done;
    pthread_cond_t finished;
    struct ticket *next;
} ticket;

struct qd_writer {
    qd_connection connection;
    char *ballast;
    pthread_t thread;
    double changed_at; /* the writer thread's own: when something was last written; 0 = the log is folded since */
    pthread_mutex_t mutex;
    pthread_cond_t arrived;
    ticket *first, **end;
    bool stopping;
    uint64_t commits;
    qd_code health;
    qd_error health_err;
};

/* Runs one change in a savepoint. The result is the transaction's: a change that fails by itself is only undone. */
static qd_code run_one(qd_writer *w, ticket *t, qd_error *err)
{
    qd_code code = qd_sql_script(&w->connection, "SAVEPOINT change", err);
    if (code != QD_OK)
        return code;
    t->code = QD_FAULT_CODE("store.change", &t->err);
    if (t->code == QD_OK)
        t->code = t->change(t->ctx, &w->connection, &t->err);
    if (sqlite3_get_autocommit(w->connection.db) || t->code == QD_ENOSPC) {
        if (err != NULL)
            *err = t->err; /* SQLite undid everything, or the next statement will fail for the same reason */
        return t->code == QD_OK ? qd_fail(err, QD_EINTERNAL, "database: a change ended the transaction") : t->code;
    }
    if (t->code != QD_OK)
        code = qd_sql_script(&w->connection, "ROLLBACK TO change", err);
    return code == QD_OK ? qd_sql_script(&w->connection, "RELEASE change", err) : code;
}

static qd_code run_batch(qd_writer *w, ticket *batch, qd_error *err)
{
    qd_code code = QD_FAULT_CODE("store.begin", err);
    if (code == QD_OK)
        code = qd_sql_script(&w->connection, "BEGIN IMMEDIATE", err);
    for (ticket *t = batch; code == QD_OK && t != NULL; t = t->next)
        code = run_one(w, t, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("store.commit", err);
    if (code == QD_OK)
        code = qd_sql_script(&w->connection, "COMMIT", err);
    QD_FAULT("store.committed");
    if (code != QD_OK && !sqlite3_get_autocommit(w->connection.db))
        qd_sql_script(&w->connection, "ROLLBACK", NULL);
    return code;
}

/* The log goes into the database and back to nothing. A reader in the way is no failure, and nobody waits for it. */
static void fold_log(qd_writer *w)
{
    QD_FAULT("store.fold");
    sqlite3_busy_timeout(w->connection.db, 0);
    sqlite3_wal_checkpoint_v2(w->connection.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_busy_timeout(w->connection.db, QD_BUSY_MS);
}

/* When nothing was written for a while; workers that ask for a job and find none do not count. */
static void fold_idle_log(qd_writer *w)
{
    if (w->changed_at == 0 || qd_clock_seconds() - w->changed_at < IDLE_SECONDS)
        return;
    fold_log(w);
    w->changed_at = 0;
}

/* Of a full disk: the ballast, and then the log, which is many times what it says where the same pages were written
 * again and again (4 MB before SQLite folds it by itself). */
static void make_room(qd_writer *w)
{
    qd_ballast_release(w->ballast);
    fold_log(w);
}

/* A full disk is tried once more with room made. */
static void commit(qd_writer *w, ticket *batch)
{
    qd_error err = { 0 };
    int changes = sqlite3_total_changes(w->connection.db);
    qd_code code = run_batch(w, batch, &err);
    if (code == QD_ENOSPC) {
        make_room(w);
        code = run_batch(w, batch, &err);
    }
    for (ticket *t = batch; code != QD_OK && t != NULL; t = t->next) {
        t->code = code;
        t->err = err;
    }
    if (sqlite3_total_changes(w->connection.db) != changes)
        w->changed_at = qd_clock_seconds();
    pthread_mutex_lock(&w->mutex);
    w->health = code;
    w->health_err = err;
    w->commits += code == QD_OK;
    for (ticket *t = batch, *next; t != NULL; t = next) {
        next = t->next; /* the ticket is gone once its caller wakes */
        t->done = true;
        pthread_cond_signal(&t->finished);
    }
    pthread_mutex_unlock(&w->mutex);
}

/* Called with the mutex held: up to BATCH_MAX waiting tickets as a list of their own. */
static ticket *take_batch(qd_writer *w)
{
    ticket *batch = w->first, **at = &batch;
    for (size_t count = 0; *at != NULL && count < BATCH_MAX; count++)
        at = &(*at)->next;
    w->first = *at;
    if (w->first == NULL)
        w->end = &w->first;
    *at = NULL;
    return batch;
}

/* Called with the mutex held, for IDLE_SECONDS at most. */
static void wait_for_work(qd_writer *w)
{
    const struct timespec until = qd_clock_deadline(IDLE_SECONDS);
    while (w->first == NULL && !w->stopping)
        if (pthread_cond_timedwait(&w->arrived, &w->mutex, &until) == ETIMEDOUT)
            return;
}

static void *write_loop(void *arg)
{
    qd_writer *w = arg;
    pthread_mutex_lock(&w->mutex);
    while (!w->stopping || w->first != NULL) {
        wait_for_work(w);
        ticket *batch = take_batch(w);
        pthread_mutex_unlock(&w->mutex);
        if (batch != NULL)
            commit(w, batch);
        fold_idle_log(w);
        pthread_mutex_lock(&w->mutex);
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

static void release(qd_writer *w)
{
    qd_connection_close(&w->connection);
    pthread_cond_destroy(&w->arrived);
    pthread_mutex_destroy(&w->mutex);
    free(w->ballast);
    free(w);
}

qd_code qd_writer_create(qd_connection *connection, const char *ballast, qd_writer **out, qd_error *err)
{
    qd_writer *w = NULL;
    qd_code code = qd_alloc(1, sizeof *w, (void **)&w, err);
    if (code != QD_OK)
        return code;
    qd_clock_condition_init(&w->arrived);
    pthread_mutex_init(&w->mutex, NULL);
    w->end = &w->first;
    code = qd_dup(ballast, &w->ballast, err);
    if (code == QD_OK) {
        w->connection = *connection;
        *connection = (qd_connection){ 0 };
        if (pthread_create(&w->thread, NULL, write_loop, w) != 0)
            code = qd_fail(err, QD_EBUSY, "the database writer could not be started");
    }
    if (code != QD_OK) {
        release(w);
        return code;
    }
    *out = w;
    return QD_OK;
}

void qd_writer_destroy(qd_writer *w)
{
    if (w == NULL)
        return;
    pthread_mutex_lock(&w->mutex);
    w->stopping = true;
    pthread_cond_signal(&w->arrived);
    pthread_mutex_unlock(&w->mutex);
    pthread_join(w->thread, NULL);
    release(w);
}

qd_code qd_writer_submit(qd_writer *w, qd_change change, void *ctx, qd_error *err)
{
    ticket t = { .change = change, .ctx = ctx };
    pthread_cond_init(&t.finished, NULL);
    pthread_mutex_lock(&w->mutex);
    *w->end = &t;
    w->end = &t.next;
    pthread_cond_signal(&w->arrived);
    while (!t.done)
        pthread_cond_wait(&t.finished, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
    pthread_cond_destroy(&t.finished);
    if (t.code != QD_OK && err != NULL)
        *err = t.err;
    return t.code;
}

uint64_t qd_writer_commits(qd_writer *w)
{
    pthread_mutex_lock(&w->mutex);
    uint64_t commits = w->commits;
    pthread_mutex_unlock(&w->mutex);
    return commits;
}

qd_code qd_writer_health(qd_writer *w, qd_error *err)
{
    pthread_mutex_lock(&w->mutex);
    qd_code code = w->health;
    if (code != QD_OK && err != NULL)
        *err = w->health_err;
    pthread_mutex_unlock(&w->mutex);
    return code;
}
