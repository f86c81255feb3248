/* store.c: see store.h. Readers share a few read-only connections; WAL lets them read beside the writer. */
#include "store/store.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "store/ballast.h"
#include "store/migrate.h"
#include "store/writer.h"

enum { READERS_MAX = 8 };

struct qd_store {
    char *path, *ballast;
    qd_writer *writer;
    pthread_mutex_t mutex;
    pthread_cond_t returned;
    qd_connection *idle[READERS_MAX];
    size_t idle_count, open_count;
};

/* The database holds hub tokens: nobody else's to read. The log and shared memory take the file's mode. */
static qd_code make_private(const char *path, qd_error *err)
{
    QD_AUTO(qd_close_fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return fd < 0 ? qd_fail_errno(err, "open '%s'", path) : QD_OK;
}

static qd_code open_database(qd_store *store, qd_store_opening how, qd_connection *out, qd_error *err)
{
    qd_code code = QD_FAULT_CODE("store.open", err);
    if (code == QD_OK)
        code = make_private(store->path, err);
    if (code == QD_OK)
        code = qd_connection_open(store->path, QD_READ_WRITE, out, err);
    if (code == QD_OK && how == QD_STORE_AS_IT_IS)
        code = qd_migrate_check(out, store->path, qd_migrations, qd_migration_count, err);
    else if (code == QD_OK)
        code = qd_migrate(out, store->path, qd_migrations, qd_migration_count, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("store.migrated", err);
    if (code != QD_OK)
        qd_connection_close(out);
    return code;
}

/* Opening takes room too: a full disk is tried once more with the ballast given back. */
static qd_code start(qd_store *store, qd_store_opening how, qd_error *err)
{
    qd_connection connection = { 0 };
    qd_code code = open_database(store, how, &connection, err);
    if (code == QD_ENOSPC && qd_ballast_release(store->ballast))
        code = open_database(store, how, &connection, err);
    if (code == QD_OK)
        code = qd_writer_create(&connection, store->ballast, &store->writer, err);
    qd_connection_close(&connection);
    if (code == QD_OK)
        qd_ballast_restore(store->ballast);
    return code;
}

qd_code qd_store_open_as(const char *dir, qd_store_opening how, qd_store **out, qd_error *err)
{
    qd_store *store = NULL;
    qd_code code = qd_dir_make(dir, err);
    if (code == QD_OK)
        code = qd_alloc(1, sizeof *store, (void **)&store, err);
    if (code != QD_OK)
        return code;
    pthread_mutex_init(&store->mutex, NULL);
    pthread_cond_init(&store->returned, NULL);
    store->path = qd_path_join(dir, "quantd.db");
    store->ballast = qd_path_join(dir, "quantd.ballast");
    if (store->path == NULL || store->ballast == NULL)
        code = qd_fail(err, QD_ENOMEM, "out of memory");
    if (code == QD_OK)
        code = start(store, how, err);
    if (code != QD_OK) {
        qd_store_close(store);
        return code;
    }
    *out = store;
    return QD_OK;
}

qd_code qd_store_open(const char *dir, qd_store **out, qd_error *err)
{
    return qd_store_open_as(dir, QD_STORE_MIGRATED, out, err);
}

void qd_store_close(qd_store *store)
{
    if (store == NULL)
        return;
    for (size_t i = 0; i < store->idle_count; i++) {
        qd_connection_close(store->idle[i]);
        free(store->idle[i]);
    }
    qd_writer_destroy(store->writer); /* last: the last connection to close folds the log into the database */
    pthread_cond_destroy(&store->returned);
    pthread_mutex_destroy(&store->mutex);
    free(store->path);
    free(store->ballast);
    free(store);
}

qd_code qd_store_write(qd_store *store, qd_change change, void *ctx, qd_error *err)
{
    return qd_writer_submit(store->writer, change, ctx, err);
}

static qd_code new_reader(qd_store *store, qd_connection **out, qd_error *err)
{
    qd_connection *c = NULL;
    qd_code code = qd_alloc(1, sizeof *c, (void **)&c, err);
    if (code == QD_OK)
        code = qd_connection_open(store->path, QD_READ_ONLY, c, err);
    if (code == QD_OK)
        *out = c;
    else
        free(c);
    return code;
}

static qd_code borrow_reader(qd_store *store, qd_connection **out, qd_error *err)
{
    pthread_mutex_lock(&store->mutex);
    while (store->idle_count == 0 && store->open_count == READERS_MAX)
        pthread_cond_wait(&store->returned, &store->mutex);
    qd_connection *c = store->idle_count > 0 ? store->idle[--store->idle_count] : NULL;
    store->open_count += c == NULL;
    pthread_mutex_unlock(&store->mutex);
    qd_code code = c == NULL ? new_reader(store, &c, err) : QD_OK;
    if (code == QD_OK) {
        *out = c;
        return QD_OK;
    }
    pthread_mutex_lock(&store->mutex);
    store->open_count--;
    pthread_cond_signal(&store->returned);
    pthread_mutex_unlock(&store->mutex);
    return code;
}

static void return_reader(qd_store *store, qd_connection *c)
{
    pthread_mutex_lock(&store->mutex);
    store->idle[store->idle_count++] = c;
    pthread_cond_signal(&store->returned);
    pthread_mutex_unlock(&store->mutex);
}

qd_code qd_store_read(qd_store *store, qd_change view, void *ctx, qd_error *err)
{
    qd_connection *c = NULL;
    qd_code code = borrow_reader(store, &c, err);
    if (code != QD_OK)
        return code;
    code = qd_sql_script(c, "BEGIN", err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("store.read", err);
    if (code == QD_OK)
        code = view(ctx, c, err);
    if (!sqlite3_get_autocommit(c->db))
        qd_sql_script(c, "ROLLBACK", NULL);
    return_reader(store, c);
    return code;
}

uint64_t qd_store_commits(qd_store *store)
{
    return qd_writer_commits(store->writer);
}

qd_code qd_store_health(qd_store *store, qd_error *err)
{
    return qd_writer_health(store->writer, err);
}

static qd_code touch(void *ctx, qd_tx *tx, qd_error *err)
{
    (void)ctx;
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query, "UPDATE probe SET time_ms = ?", err);
    if (code == QD_OK) {
        qd_query_number(&query, 1, qd_clock_wall_ms());
        code = qd_query_run(&query, err);
    }
    qd_query_close(&query);
    return code;
}

qd_code qd_store_probe(qd_store *store, qd_error *err)
{
    return qd_store_write(store, touch, NULL, err);
}

void qd_store_restore_ballast(qd_store *store)
{
    qd_ballast_restore(store->ballast);
}
