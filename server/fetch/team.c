/* team.c: several files at once; see run.h. The caller's thread only reports and waits. */
#include "fetch/run.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "fetch/peek_item.h"

static const double report_seconds = 0.2;

typedef struct team {
    qd_fetch_run *run;
    qd_items *items;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    size_t next, finished; /* rows; next moves over all, finished counts workers' rows */
    unsigned working;
    const char *last; /* name of the file finished or started last; borrowed from items */
    qd_code code;
    qd_error failure; /* of the first that failed */
} team;

void qd_items_fini(qd_items *items)
{
    for (size_t i = 0; i < items->count; i++) {
        free(items->rows[i].name);
        qd_url_fini(&items->rows[i].url);
    }
    free(items->rows);
    *items = (qd_items){ 0 };
}

qd_code qd_items_add(qd_items *items, const char *name, qd_need need, uint64_t cap, qd_item **out, qd_error *err)
{
    qd_item item = { .need = need, .cap = cap, .size = QD_SIZE_UNKNOWN, .hint = QD_SIZE_UNKNOWN };
    qd_code code = qd_grow((void **)&items->rows, &items->capacity, items->count + 1, sizeof item, err);
    if (code == QD_OK)
        code = qd_dup(name, &item.name, err);
    if (code != QD_OK)
        return code;
    items->rows[items->count] = item;
    *out = &items->rows[items->count++];
    return QD_OK;
}

const qd_item *qd_items_find(const qd_items *items, const char *name)
{
    for (size_t i = 0; i < items->count; i++)
        if (items->rows[i].presence == QD_PRESENT && strcmp(items->rows[i].name, name) == 0)
            return &items->rows[i];
    return NULL;
}

void qd_fetch_run_report(qd_fetch_run *run, const char *file)
{
    if (run->progress == NULL || run->progress->step == NULL)
        return;
    uint64_t total = atomic_load(&run->unannounced) > 0 ? 0 : atomic_load(&run->total);
    run->progress->step(run->progress->ctx, atomic_load(&run->done), total, file);
}

/* The next row to work on, under the mutex; NULL when there is none or something failed. */
static qd_item *next_item(team *t)
{
    while (t->code == QD_OK && t->next < t->items->count) {
        qd_item *item = &t->items->rows[t->next++];
        if (item->presence == QD_PENDING)
            return item;
    }
    return NULL;
}

static void *work(void *ctx)
{
    team *t = ctx;
    qd_error err;
    QD_AUTO(qd_line_fini) qd_line line = { 0 };
    qd_code code = qd_line_init(&line, &err);
    pthread_mutex_lock(&t->mutex);
    for (qd_item *item; code == QD_OK && (item = next_item(t)) != NULL;) {
        t->last = item->name;
        pthread_mutex_unlock(&t->mutex);
        code = qd_peek_takes(t->run, item) == QD_SAME ? qd_peek_item(t->run, &line, item, &err)
                                                      : qd_item_obtain(t->run, &line, item, &err);
        pthread_mutex_lock(&t->mutex);
        t->last = item->name;
        t->finished++;
        pthread_cond_signal(&t->changed);
    }
    if (code != QD_OK && t->code == QD_OK) {
        t->code = code;
        t->failure = err;
        atomic_store(&t->run->stop, true); /* the others' cancellation is not the story to tell */
    }
    t->working--;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->mutex);
    return NULL;
}

/* Threads take no signals: those are for the program's own. */
static unsigned start_threads(team *t, pthread_t *threads, unsigned wanted)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    unsigned started = 0;
    while (started < wanted && pthread_create(&threads[started], NULL, work, t) == 0)
        started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_mutex_lock(&t->mutex);
    t->working -= wanted - started;
    pthread_mutex_unlock(&t->mutex);
    return started;
}

/* Until every worker is done; reports five times a second and at each file's end. */
static void wait_and_report(team *t)
{
    size_t seen = 0;
    pthread_mutex_lock(&t->mutex);
    while (t->working > 0) {
        const struct timespec until = qd_clock_deadline(report_seconds);
        int waited = 0;
        while (t->working > 0 && t->finished == seen && waited != ETIMEDOUT)
            waited = pthread_cond_clockwait(&t->changed, &t->mutex, CLOCK_MONOTONIC, &until);
        seen = t->finished;
        const char *name = t->last;
        pthread_mutex_unlock(&t->mutex);
        if (name != NULL)
            qd_fetch_run_report(t->run, name);
        pthread_mutex_lock(&t->mutex);
    }
    pthread_mutex_unlock(&t->mutex);
}

/* Sizes known beforehand are judged before the first byte: caps, total, free space. */
static qd_code check_ahead(qd_fetch_run *run, qd_items *items, size_t first, unsigned *out_pending, qd_error *err)
{
    uint64_t needed = 0, size;
    for (size_t i = first; i < items->count; i++) {
        qd_item *item = &items->rows[i];
        if (item->presence != QD_PENDING)
            continue;
        ++*out_pending;
        atomic_fetch_add(&run->unannounced, 1);
        uint64_t expected = item->size != QD_SIZE_UNKNOWN ? item->size : item->hint;
        if (expected == QD_SIZE_UNKNOWN)
            continue;
        qd_code code = qd_item_announce(run, item, expected, err);
        if (code != QD_OK)
            return qd_within(err, code, "'%s'", item->name);
        if (qd_peek_takes(run, item) == QD_DIFFERENT &&
            (item->want_sha256[0] == '\0' ||
             qd_cache_has(&run->fetcher->cache, item->want_sha256, item->size, &size) != QD_SAME))
            needed += expected; /* no overflow: the total was checked */
    }
    return needed == 0 ? QD_OK
                       : qd_cache_check_space(&run->fetcher->cache, needed, run->fetcher->disk_floor_bytes, err);
}

qd_code qd_items_obtain(qd_fetch_run *run, qd_items *items, size_t first, qd_error *err)
{
    pthread_t threads[QD_PARALLEL_FILES];
    unsigned pending = 0;
    qd_code code = check_ahead(run, items, first, &pending, err);
    if (code != QD_OK || pending == 0)
        return code;
    unsigned wanted = pending < QD_PARALLEL_FILES ? pending : QD_PARALLEL_FILES;
    team t = { .run = run, .items = items, .next = first, .working = wanted };
    pthread_mutex_init(&t.mutex, NULL);
    pthread_cond_init(&t.changed, NULL);
    unsigned started = start_threads(&t, threads, wanted);
    wait_and_report(&t);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_cond_destroy(&t.changed);
    pthread_mutex_destroy(&t.mutex);
    if (started == 0)
        return qd_fail(err, QD_EBUSY, "a download thread could not be started");
    return t.code == QD_OK ? QD_OK : qd_fail(err, t.code, "%s", t.failure.text);
}
