/* test_migrations.c: a database of the first schema, with rows in every table, under each later one; and a program killed in
 * the middle of it. */
#include "scratch.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "base/digest.h"
#include "base/rng.h"
#include "store/migrate.h"

static const char *const tables[] = { "job", "tag", "event", "layer", "artifact" };
enum { JOBS = 200, EVENTS_EACH = 50, KILLS = 20 };

static sqlite3 *open_plain(const char *path)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

static void run_sql(sqlite3 *db, const char *sql)
{
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
}

static int64_t number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

/* As a service of the first schema would have left it: every column used, every state and type, text beyond ASCII. */
static void fill(sqlite3 *db, unsigned jobs)
{
    char sql[1600];
    static const char *const states[] = { "queued", "downloading", "quantizing", "succeeded", "failed", "cancelled" };
    static const char *const types[] = {
        "state", "phase", "progress", "layer", "stream", "warning", "problem", "result"
    };
    run_sql(db, "BEGIN");
    for (unsigned i = 0; i < jobs; i++) {
        char id[QD_ID_SIZE];
        make_id(i, id);
        snprintf(sql, sizeof sql,
                 "INSERT INTO job VALUES ('%s', '%s', 'Größe %u', '{\"team\":\"%u\"}', '{\"model\":\"m\"}', '{}', "
                 "'{\"a\":1}', NULL, '{\"kl\":0.5}', NULL, 'hf_secret', %u, 2, 3, %u, 1, 0, 7, %d);"
                 "INSERT INTO tag VALUES ('team', '%u', '%s');"
                 "INSERT INTO layer VALUES ('%s', %u, 'model.layers.0', '{\"n\":%u}');"
                 "INSERT INTO artifact VALUES ('%s', 'model.safetensors', %u, '%064u');",
                 id, states[i % QD_LENGTH(states)], i, i, i + 1, i % 4, (int)EVENTS_EACH, i, id, id, i, i, id, i, i);
        run_sql(db, sql);
        for (unsigned e = 1; e <= EVENTS_EACH; e++) {
            snprintf(sql, sizeof sql, "INSERT INTO event VALUES ('%s', %u, %u, '%s', '{\"text\":\"é %u\"}')", id, e,
                     1000 + e, types[e % QD_LENGTH(types)], e);
            run_sql(db, sql);
        }
    }
    run_sql(db, "COMMIT");
}

static void make_first(const char *path, unsigned jobs)
{
    sqlite3 *db = open_plain(path);
    run_sql(db, "PRAGMA journal_mode = WAL");
    assert_int_equal(qd_migrations[0].version, 1);
    run_sql(db, qd_migrations[0].sql);
    run_sql(db, "PRAGMA user_version = 1");
    fill(db, jobs);
    sqlite3_close(db);
}

/* The columns a table has in the first schema, with commas. */
static void first_columns(const char *table, char *out, size_t size)
{
    sqlite3 *db = open_plain(":memory:");
    sqlite3_stmt *statement = NULL;
    char sql[80];
    run_sql(db, qd_migrations[0].sql);
    snprintf(sql, sizeof sql, "SELECT group_concat(name) FROM pragma_table_info('%s')", table);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    snprintf(out, size, "%s", (const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    sqlite3_close(db);
}

/* A digest of all rows as far as the first schema has them. */
static void digest_rows(sqlite3 *db, const char *table, char out[QD_DIGEST_HEX])
{
    char columns[600], sql[800];
    sqlite3_stmt *statement = NULL;
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    qd_error err = { 0 };
    first_columns(table, columns, sizeof columns);
    snprintf(sql, sizeof sql, "SELECT %s FROM %s ORDER BY 1, 2, 3", columns, table);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    while (sqlite3_step(statement) == SQLITE_ROW)
        for (int i = 0; i < sqlite3_column_count(statement); i++) {
            const char *value = (const char *)sqlite3_column_text(statement, i);
            qd_str_addf(&text, "%d:%s|", sqlite3_column_type(statement, i), value == NULL ? "" : value);
        }
    sqlite3_finalize(statement);
    check_ok(qd_sha256(qd_str_borrow(&text), text.length, out, &err));
}

typedef struct picture {
    char rows[QD_LENGTH(tables)][QD_DIGEST_HEX];
} picture;

static picture look(const char *path)
{
    picture p;
    sqlite3 *db = open_plain(path);
    for (size_t i = 0; i < QD_LENGTH(tables); i++)
        digest_rows(db, tables[i], p.rows[i]);
    sqlite3_close(db);
    return p;
}

static void check_same(const picture *before, const char *path)
{
    picture now = look(path);
    for (size_t i = 0; i < QD_LENGTH(tables); i++)
        if (strcmp(before->rows[i], now.rows[i]) != 0)
            fail_msg("the rows of %s are others", tables[i]);
}

static void check_sound(const char *path)
{
    sqlite3 *db = open_plain(path);
    assert_int_equal(number(db, "PRAGMA user_version"), qd_migrations[qd_migration_count - 1].version);
    assert_int_equal(number(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
    assert_int_equal(number(db, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    sqlite3_close(db);
}

static void path_of(const scratch *s, const char *name, char *out, size_t size)
{
    snprintf(out, size, "%s/%s", s->dir, name);
}

static void a_database_of_the_first_schema_keeps_all_its_rows(void **state)
{
    (void)state;
    scratch s;
    qd_error err = { 0 };
    char path[300], backup[300];
    make_scratch(&s);
    path_of(&s, "quantd.db", path, sizeof path);
    path_of(&s, "quantd.db.backup-v1", backup, sizeof backup);
    make_first(path, JOBS);
    picture before = look(path);
    check_ok(qd_store_open(s.dir, &s.store, &err));
    check_same(&before, path);
    check_sound(path);
    check_same(&before, backup);
    sqlite3 *db = open_plain(backup);
    assert_int_equal(number(db, "PRAGMA user_version"), 1);
    sqlite3_close(db);
    drop_scratch(&s);
}

static qd_code delete_first(void *ctx, qd_tx *tx, qd_error *err)
{
    (void)ctx;
    char id[QD_ID_SIZE];
    make_id(0, id);
    return qd_job_row_delete(tx, id, err);
}

static void the_rows_of_a_migrated_database_hang_together(void **state)
{
    (void)state;
    scratch s;
    qd_error err = { 0 };
    char path[300];
    make_scratch(&s);
    path_of(&s, "quantd.db", path, sizeof path);
    make_first(path, 3);
    check_ok(qd_store_open(s.dir, &s.store, &err));
    check_ok(qd_store_write(s.store, delete_first, NULL, &err));
    sqlite3 *db = open_plain(path);
    for (size_t i = 0; i < QD_LENGTH(tables); i++) {
        char sql[100];
        snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", tables[i]);
        assert_int_equal(number(db, sql), strcmp(tables[i], "event") == 0 ? 2 * EVENTS_EACH : 2);
    }
    run_sql(db, "PRAGMA foreign_keys = ON");
    assert_int_equal(number(db, "SELECT count(*) FROM job WHERE priority = 50 AND owner = ''"), 2);
    run_sql(db, "INSERT INTO event SELECT id, 900, 1, 'delivery', '{}' FROM job LIMIT 1");
    assert_int_not_equal(sqlite3_exec(db, "INSERT INTO event VALUES ('nobody', 1, 1, 'state', '{}')", NULL, NULL, NULL),
                         SQLITE_OK);
    sqlite3_close(db);
    drop_scratch(&s);
}

/* In a process of its own, so that it can be killed. */
static void migrate_until_killed(const char *dir, uint64_t microseconds)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        qd_store *store = NULL;
        qd_error err = { 0 };
        _exit(qd_store_open(dir, &store, &err) == QD_OK ? 0 : 1);
    }
    const struct timespec pause = { .tv_sec = (time_t)(microseconds / 1000000),
                                    .tv_nsec = (long)(microseconds % 1000000) * 1000 };
    nanosleep(&pause, NULL);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static uint64_t time_of_one(const char *dir)
{
    qd_error err = { 0 };
    qd_store *store = NULL;
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    check_ok(qd_store_open(dir, &store, &err));
    clock_gettime(CLOCK_MONOTONIC, &to);
    qd_store_close(store);
    return (uint64_t)(to.tv_sec - from.tv_sec) * 1000000 + (uint64_t)((to.tv_nsec - from.tv_nsec) / 1000);
}

static void a_kill_during_migration_is_made_good_by_the_next_start(void **state)
{
    (void)state;
    char path[300];
    scratch timed;
    unsigned in_between = 0;
    make_scratch(&timed);
    path_of(&timed, "quantd.db", path, sizeof path);
    make_first(path, JOBS);
    picture before = look(path);
    uint64_t whole = time_of_one(timed.dir);
    drop_scratch(&timed);
    for (unsigned turn = 0; turn < KILLS; turn++) {
        scratch s;
        qd_error err = { 0 };
        make_scratch(&s);
        path_of(&s, "quantd.db", path, sizeof path);
        make_first(path, JOBS);
        for (unsigned kill_number = 0; kill_number < 2; kill_number++)
            migrate_until_killed(s.dir, qd_rng_below(qd_rng_key(20261125, turn, kill_number), 0, whole + whole / 4));
        sqlite3 *db = open_plain(path);
        in_between += number(db, "PRAGMA user_version") < qd_migrations[qd_migration_count - 1].version;
        sqlite3_close(db);
        check_ok(qd_store_open(s.dir, &s.store, &err));
        check_same(&before, path);
        check_sound(path);
        drop_scratch(&s);
    }
    print_message("# %d times 2 kills over %llu us; %u times the migration was not done yet\n", (int)KILLS,
                  (unsigned long long)whole, in_between);
    assert_true(in_between > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_database_of_the_first_schema_keeps_all_its_rows),
        cmocka_unit_test(the_rows_of_a_migrated_database_hang_together),
        cmocka_unit_test(a_kill_during_migration_is_made_good_by_the_next_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
