/* test_store.c: rows, fences, events, constraints, migrations. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "scratch.h"

#include "store/artifact_rows.h"
#include "store/event_rows.h"
#include "store/layer_rows.h"
#include "store/migrate.h"

static int set_up(void **state)
{
    static scratch s;
    open_scratch(&s);
    *state = &s;
    return 0;
}

static int tear_down(void **state)
{
    drop_scratch(*state);
    return 0;
}

enum { PRODUCERS = 8, JOBS_EACH = 50 };

typedef struct gang {
    qd_store *store;
    unsigned first;
    atomic_uint *claimed; /* per job number */
    atomic_uint failures;
} gang;

static void *produce(void *arg)
{
    gang *g = arg;
    for (unsigned i = 0; i < JOBS_EACH; i++) {
        unsigned number = g->first + i;
        qd_error err;
        if (qd_store_write(g->store, insert_numbered, &number, &err) != QD_OK)
            atomic_fetch_add(&g->failures, 1);
    }
    return NULL;
}

static qd_code claim(void *ctx, qd_tx *tx, qd_error *err)
{
    qd_job_row *row = ctx;
    qd_job_row_fini(row);
    return qd_job_row_claim(tx, "queued", "downloading", 5, row, err);
}

static void *claim_all(void *arg)
{
    gang *g = arg;
    for (;;) {
        qd_job_row row = { 0 };
        qd_error err;
        qd_code code = qd_store_write(g->store, claim, &row, &err);
        if (code == QD_OK)
            atomic_fetch_add(&g->claimed[strtoul(row.id + 10, NULL, 10)], 1);
        qd_job_row_fini(&row);
        if (code != QD_OK) {
            atomic_fetch_add(&g->failures, code != QD_ENOTFOUND);
            return NULL;
        }
    }
}

static void run_gangs(gang *gangs, void *(*body)(void *))
{
    pthread_t threads[PRODUCERS];
    for (size_t i = 0; i < PRODUCERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, body, &gangs[i]), 0);
    for (size_t i = 0; i < PRODUCERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(gangs[i].failures, 0);
    }
}

static void jobs_of_8_producers_are_claimed_exactly_once_by_8_claimers(void **state)
{
    scratch *s = *state;
    static atomic_uint claimed[PRODUCERS * JOBS_EACH];
    gang gangs[PRODUCERS];
    for (unsigned i = 0; i < PRODUCERS; i++)
        gangs[i] = (gang){ .store = s->store, .first = i * JOBS_EACH, .claimed = claimed };
    run_gangs(gangs, produce);
    assert_int_equal(count_jobs(s->store, "queued"), PRODUCERS * JOBS_EACH);
    run_gangs(gangs, claim_all);
    for (size_t i = 0; i < PRODUCERS * JOBS_EACH; i++)
        assert_int_equal(claimed[i], 1);
    assert_int_equal(count_jobs(s->store, "downloading"), PRODUCERS * JOBS_EACH);
}

static void waiting_changes_share_a_commit(void **state)
{
    scratch *s = *state;
    gang gangs[PRODUCERS];
    for (unsigned i = 0; i < PRODUCERS; i++)
        gangs[i] = (gang){ .store = s->store, .first = i * JOBS_EACH };
    run_gangs(gangs, produce);
    uint64_t commits = qd_store_commits(s->store);
    assert_true(commits > 0 && commits < PRODUCERS * JOBS_EACH);
}

static void the_oldest_queued_job_is_claimed_first_with_a_new_attempt(void **state)
{
    scratch *s = *state;
    qd_error err = { 0 };
    add_job(s->store, 7);
    add_job(s->store, 3);
    qd_job_row row = { 0 };
    check_ok(qd_store_write(s->store, claim, &row, &err));
    char wanted[QD_ID_SIZE];
    make_id(3, wanted);
    assert_string_equal(row.id, wanted);
    assert_string_equal(row.state, "downloading");
    assert_int_equal(row.attempt, 1);
    assert_int_equal(row.started_ms, 5);
    qd_job_row_fini(&row);
}

/* A change in the writer's thread, as a small script. */
typedef struct script {
    char id[QD_ID_SIZE];
    unsigned attempt;
    const char *from, *to, *type, *data;
    uint64_t number;
    qd_layer_put put;
    uint64_t size;
    char sha256[65];
} script;

static qd_code move(void *ctx, qd_tx *tx, qd_error *err)
{
    script *x = ctx;
    return qd_job_row_move(tx, x->id, x->attempt, x->from, x->to, err);
}

static qd_code fence(void *ctx, qd_tx *tx, qd_error *err)
{
    script *x = ctx;
    return qd_job_row_fence(tx, x->id, x->attempt, x->from, err);
}

static qd_code add_event(void *ctx, qd_tx *tx, qd_error *err)
{
    script *x = ctx;
    return qd_event_row_add(tx, x->id, x->type, x->data, 9, &x->number, err);
}

static qd_code put_layer(void *ctx, qd_tx *tx, qd_error *err)
{
    script *x = ctx;
    return qd_layer_row_put(tx, x->id, x->number, "a", x->data, &x->put, err);
}

static void a_change_of_state_needs_the_state_and_attempt_it_was_decided_on(void **state)
{
    scratch *s = *state;
    qd_error err = { 0 };
    add_job(s->store, 1);
    script x = { .from = "queued", .to = "downloading" };
    make_id(1, x.id);
    x.attempt = 1;
    check_fails(qd_store_write(s->store, move, &x, &err), QD_ECONFLICT);
    x.attempt = 0;
    check_ok(qd_store_write(s->store, move, &x, &err));
    check_fails(qd_store_write(s->store, move, &x, &err), QD_ECONFLICT);
    check_fails(qd_store_write(s->store, fence, &x, &err), QD_ECONFLICT);
    check_contains(err.text, "no longer 'queued'");
    x.from = "downloading";
    check_ok(qd_store_write(s->store, fence, &x, &err));
}

static void words_outside_the_contract_are_refused_by_the_tables(void **state)
{
    scratch *s = *state;
    qd_error err = { 0 };
    add_job(s->store, 1);
    script x = { .from = "queued", .to = "sleeping", .type = "gossip", .data = "{}" };
    make_id(1, x.id);
    check_fails(qd_store_write(s->store, move, &x, &err), QD_ECONFLICT);
    check_fails(qd_store_write(s->store, add_event, &x, &err), QD_ECONFLICT);
    x.type = "state";
    x.data = "{no json";
    check_fails(qd_store_write(s->store, add_event, &x, &err), QD_ECONFLICT);
    assert_int_equal(count_jobs(s->store, "queued"), 1);
}

typedef struct seen_events {
    char id[QD_ID_SIZE];
    uint64_t after;
    size_t limit;
    uint64_t ids[8];
    size_t count;
} seen_events;

static qd_code see_event(void *ctx, const qd_event_row *row, qd_error *err)
{
    seen_events *seen = ctx;
    (void)err;
    seen->ids[seen->count++] = row->id;
    return QD_OK;
}

static qd_code view_events(void *ctx, qd_tx *tx, qd_error *err)
{
    seen_events *seen = ctx;
    return qd_event_row_each(tx, seen->id, seen->after, seen->limit, see_event, seen, err);
}

static void events_are_numbered_from_1_without_gaps_even_after_failures(void **state)
{
    scratch *s = *state;
    qd_error err = { 0 };
    add_job(s->store, 1);
    script x = { .type = "state", .data = "{}" };
    make_id(1, x.id);
    for (int i = 0; i < 5; i++) {
        script bad = x;
        bad.data = "{";
        check_fails(qd_store_write(s->store, add_event, &bad, &err), QD_ECONFLICT);
        check_ok(qd_store_write(s->store, add_event, &x, &err));
        assert_int_equal(x.number, i + 1);
    }
    seen_events seen = { .after = 2, .limit = 2 };
    make_id(1, seen.id);
    check_ok(qd_store_read(s->store, view_events, &seen, &err));
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.ids[0], 3);
    assert_int_equal(seen.ids[1], 4);
}

static void a_layer_is_new_only_when_its_record_is(void **state)
{
    scratch *s = *state;
    qd_error err = { 0 };
    add_job(s->store, 1);
    script x = { .data = "{\"a\":1}", .number = 4 };
    make_id(1, x.id);
    check_ok(qd_store_write(s->store, put_layer, &x, &err));
    assert_int_equal(x.put, QD_LAYER_NEW);
    check_ok(qd_store_write(s->store, put_layer, &x, &err));
    assert_int_equal(x.put, QD_LAYER_SAME);
    x.data = "{\"a\":2}";
    check_ok(qd_store_write(s->store, put_layer, &x, &err));
    assert_int_equal(x.put, QD_LAYER_NEW);
}

static qd_code delete_job(void *ctx, qd_tx *tx, qd_error *err)
{
    script *x = ctx;
    return qd_job_row_delete(tx, x->id, err);
}

static qd_code put_file(void *ctx, qd_tx *tx, qd_error *err)
{
    script *x = ctx;
    return qd_artifact_row_put(tx, x->id, "a/b.json", 12, x->data, err);
}

static qd_code find_file(void *ctx, qd_tx *tx, qd_error *err)
{
    script *x = ctx;
    return qd_artifact_row_find(tx, x->id, "a/b.json", &x->size, x->sha256, err);
}

static void a_deleted_job_takes_its_rows_along(void **state)
{
    scratch *s = *state;
    qd_error err = { 0 };
    add_job(s->store, 1);
    script x = { .type = "state", .data = "{}" };
    make_id(1, x.id);
    check_ok(qd_store_write(s->store, add_event, &x, &err));
    x.data = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    check_ok(qd_store_write(s->store, put_file, &x, &err));
    check_ok(qd_store_read(s->store, find_file, &x, &err));
    assert_int_equal(x.size, 12);
    assert_string_equal(x.sha256, x.data);
    check_ok(qd_store_write(s->store, delete_job, &x, &err));
    check_fails(qd_store_read(s->store, find_file, &x, &err), QD_ENOTFOUND);
    seen_events seen = { .limit = 8 };
    make_id(1, seen.id);
    check_ok(qd_store_read(s->store, view_events, &seen, &err));
    assert_int_equal(seen.count, 0);
}

static qd_code write_in_a_view(void *ctx, qd_tx *tx, qd_error *err)
{
    return insert_numbered(ctx, tx, err);
}

static void a_reader_cannot_write(void **state)
{
    scratch *s = *state;
    qd_error err = { 0 };
    unsigned number = 1;
    assert_int_not_equal(qd_store_read(s->store, write_in_a_view, &number, &err), QD_OK);
    assert_int_equal(count_jobs(s->store, "queued"), 0);
}

typedef struct found_ids {
    qd_job_search search;
    unsigned numbers[8];
    size_t count;
} found_ids;

static qd_code take_row(void *ctx, qd_job_row *row, qd_error *err)
{
    found_ids *found = ctx;
    (void)err;
    found->numbers[found->count++] = (unsigned)strtoul(row->id + 10, NULL, 10);
    qd_job_row_fini(row);
    return QD_OK;
}

static qd_code search(void *ctx, qd_tx *tx, qd_error *err)
{
    found_ids *found = ctx;
    return qd_job_row_search(tx, &found->search, take_row, found, err);
}

static void a_search_gives_the_newest_first_before_a_cursor_and_by_tag(void **state)
{
    scratch *s = *state;
    qd_error err = { 0 };
    for (unsigned i = 1; i <= 5; i++)
        add_job(s->store, i);
    char cursor[QD_ID_SIZE];
    make_id(4, cursor);
    found_ids found = { .search = { .before = cursor, .limit = 2, .tags = "[[\"team\",\"a\"]]" } };
    check_ok(qd_store_read(s->store, search, &found, &err));
    assert_int_equal(found.count, 2);
    assert_int_equal(found.numbers[0], 3);
    assert_int_equal(found.numbers[1], 2);
    found = (found_ids){ .search = { .limit = 2, .tags = "[[\"team\",\"b\"]]" } };
    check_ok(qd_store_read(s->store, search, &found, &err));
    assert_int_equal(found.count, 0);
}

static void set_version(const char *path, int version)
{
    qd_error err = { 0 };
    qd_connection c = { 0 };
    char pragma[64];
    snprintf(pragma, sizeof pragma, "PRAGMA user_version = %d", version);
    check_ok(qd_connection_open(path, QD_READ_WRITE, &c, &err));
    check_ok(qd_sql_script(&c, pragma, &err));
    qd_connection_close(&c);
}

static void a_database_newer_than_the_program_is_refused_and_left_alone(void **state)
{
    scratch *s = *state;
    qd_error err = { 0 };
    char path[300];
    add_job(s->store, 1);
    qd_store_close(s->store);
    s->store = NULL;
    snprintf(path, sizeof path, "%s/quantd.db", s->dir);
    set_version(path, 999);
    check_fails(qd_store_open(s->dir, &s->store, &err), QD_ECONFLICT);
    check_contains(err.text, "999");
    set_version(path, 1); /* beside a service that uses it nothing is migrated */
    check_fails(qd_store_open_as(s->dir, QD_STORE_AS_IT_IS, &s->store, &err), QD_ECONFLICT);
    check_contains(err.text, "schema version 1");
    set_version(path, qd_migrations[qd_migration_count - 1].version);
    check_ok(qd_store_open(s->dir, &s->store, &err));
    assert_int_equal(count_jobs(s->store, "queued"), 1);
}

static int read_number(const char *path, const char *sql)
{
    qd_error err = { 0 };
    qd_connection c = { 0 };
    qd_query query = { 0 };
    check_ok(qd_connection_open(path, QD_READ_ONLY, &c, &err));
    check_ok(qd_query_open(&c, &query, sql, &err));
    check_ok(qd_query_one(&query, &err));
    int value = (int)qd_query_int(&query, 0);
    qd_query_close(&query);
    qd_connection_close(&c);
    return value;
}

/* The tree's steps and one more, as a later release would have. */
static qd_migration later[16];

static size_t later_steps(const char *sql)
{
    assert_true(qd_migration_count < QD_LENGTH(later));
    for (size_t i = 0; i < qd_migration_count; i++)
        later[i] = qd_migrations[i];
    later[qd_migration_count] =
        (qd_migration){ .version = qd_migrations[qd_migration_count - 1].version + 1, .name = "later.sql", .sql = sql };
    return qd_migration_count + 1;
}

static qd_code migrate(const char *path, size_t count, qd_error *err)
{
    qd_connection c = { 0 };
    qd_code code = qd_connection_open(path, QD_READ_WRITE, &c, err);
    if (code == QD_OK)
        code = qd_migrate(&c, path, later, count, err);
    qd_connection_close(&c);
    return code;
}

static void every_earlier_version_is_migrated_with_a_backup_beside_it(void **state)
{
    scratch *s = *state;
    size_t count = later_steps("ALTER TABLE job ADD COLUMN note TEXT;");
    for (size_t have = 0; have < count; have++) {
        char path[300], backup[340];
        qd_error err = { 0 };
        snprintf(path, sizeof path, "%s/from-%zu.db", s->dir, have);
        if (have > 0)
            check_ok(migrate(path, have, &err));
        check_ok(migrate(path, count, &err));
        assert_int_equal(read_number(path, "PRAGMA user_version"), later[count - 1].version);
        assert_int_equal(read_number(path, "SELECT count(*) FROM pragma_table_info('job') WHERE name = 'note'"), 1);
        snprintf(backup, sizeof backup, "%s.backup-v%d", path, have == 0 ? 0 : later[have - 1].version);
        assert_int_equal(qd_path_exists(backup), have > 0);
        if (have > 0)
            assert_int_equal(read_number(backup, "PRAGMA user_version"), later[have - 1].version);
    }
}

static void a_step_that_fails_leaves_the_version_before_it(void **state)
{
    scratch *s = *state;
    qd_error err = { 0 };
    char path[300];
    snprintf(path, sizeof path, "%s/half.db", s->dir);
    size_t count = later_steps("CREATE TABLE half (a INTEGER) STRICT; CREATE TABLE job (a INTEGER);");
    check_ok(migrate(path, count - 1, &err));
    assert_int_not_equal(migrate(path, count, &err), QD_OK);
    check_contains(err.text, "later.sql");
    assert_int_equal(read_number(path, "PRAGMA user_version"), later[count - 2].version);
    assert_int_equal(read_number(path, "SELECT count(*) FROM sqlite_schema WHERE name = 'half'"), 0);
}

static void the_database_is_in_wal_mode_and_nobody_elses_to_read(void **state)
{
    scratch *s = *state;
    char path[300];
    add_job(s->store, 1);
    snprintf(path, sizeof path, "%s/quantd.db-wal", s->dir);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 077, 0);
    qd_error err = { 0 };
    check_ok(qd_store_probe(s->store, &err));
    check_ok(qd_store_health(s->store, &err));
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(jobs_of_8_producers_are_claimed_exactly_once_by_8_claimers),
        CLAIM(waiting_changes_share_a_commit),
        CLAIM(the_oldest_queued_job_is_claimed_first_with_a_new_attempt),
        CLAIM(a_change_of_state_needs_the_state_and_attempt_it_was_decided_on),
        CLAIM(words_outside_the_contract_are_refused_by_the_tables),
        CLAIM(events_are_numbered_from_1_without_gaps_even_after_failures),
        CLAIM(a_layer_is_new_only_when_its_record_is),
        CLAIM(a_deleted_job_takes_its_rows_along),
        CLAIM(a_reader_cannot_write),
        CLAIM(a_search_gives_the_newest_first_before_a_cursor_and_by_tag),
        CLAIM(a_database_newer_than_the_program_is_refused_and_left_alone),
        CLAIM(every_earlier_version_is_migrated_with_a_backup_beside_it),
        CLAIM(a_step_that_fails_leaves_the_version_before_it),
        CLAIM(the_database_is_in_wal_mode_and_nobody_elses_to_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
