/* test_claim.c: whose turn it is: priority, then owners by what they have had, then age. */
#include "scratch.h"

#include <stdio.h>

#include "store/sql.h"

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

typedef struct queued {
    unsigned number, priority;
    const char *owner;
} queued;

static qd_code insert(void *ctx, qd_tx *tx, qd_error *err)
{
    const queued *q = ctx;
    char json[] = "{}";
    qd_job_row row = { .state = "queued",
                       .tags = json,
                       .request = json,
                       .recipe = json,
                       .resolved = json,
                       .priority = q->priority,
                       .created_ms = 1 };
    make_id(q->number, row.id);
    snprintf(row.owner, sizeof row.owner, "%s", q->owner);
    return qd_job_row_insert(tx, &row, err);
}

static void add(scratch *s, unsigned number, unsigned priority, const char *owner)
{
    qd_error err = { 0 };
    queued q = { number, priority, owner };
    check_ok(qd_store_write(s->store, insert, &q, &err));
}

typedef struct claimed {
    qd_job_row row;
    int64_t now;
} claimed;

static qd_code claim(void *ctx, qd_tx *tx, qd_error *err)
{
    claimed *c = ctx;
    qd_job_row_fini(&c->row);
    return qd_job_row_claim(tx, "queued", "downloading", c->now, &c->row, err);
}

/* The number of the job that is claimed at this time; 0 when there is none. */
static unsigned next(scratch *s, int64_t now)
{
    qd_error err = { 0 };
    claimed c = { .now = now };
    qd_code code = qd_store_write(s->store, claim, &c, &err);
    assert_true(code == QD_OK || code == QD_ENOTFOUND);
    unsigned number = code == QD_OK ? (unsigned)strtoul(c.row.id + 10, NULL, 10) : 0;
    qd_job_row_fini(&c.row);
    return number;
}

static qd_code end(void *ctx, qd_tx *tx, qd_error *err)
{
    char id[QD_ID_SIZE];
    make_id(*(unsigned *)ctx, id);
    qd_code code = qd_job_row_move(tx, id, 1, "downloading", "failed", err);
    return code == QD_OK ? qd_job_row_finish(tx, id, NULL, NULL, 9, err) : code;
}

static void finish(scratch *s, unsigned number)
{
    qd_error err = { 0 };
    check_ok(qd_store_write(s->store, end, &number, &err));
}

static void the_highest_priority_is_claimed_first_and_then_the_oldest(void **state)
{
    scratch *s = *state;
    add(s, 1, 50, "");
    add(s, 2, 10, "");
    add(s, 3, 90, "");
    add(s, 4, 90, "");
    add(s, 5, 50, "");
    const unsigned wanted[] = { 3, 4, 1, 5, 2, 0 };
    for (size_t i = 0; i < QD_LENGTH(wanted); i++)
        assert_int_equal(next(s, (int64_t)i + 1), wanted[i]);
}

static void an_owner_with_many_jobs_does_not_keep_two_others_waiting(void **state)
{
    scratch *s = *state;
    for (unsigned i = 1; i <= 20; i++)
        add(s, i, 50, "a");
    add(s, 21, 50, "b");
    add(s, 22, 50, "b");
    add(s, 23, 50, "c");
    /* nobody has anything: the oldest; then those who have less under way */
    const unsigned wanted[] = { 1, 21, 23, 2, 22, 3, 4 };
    for (size_t i = 0; i < QD_LENGTH(wanted); i++)
        assert_int_equal(next(s, (int64_t)i + 1), wanted[i]);
}

static void of_owners_with_as_much_under_way_the_one_served_least_recently_is_next(void **state)
{
    scratch *s = *state;
    for (unsigned i = 0; i < 3; i++) {
        add(s, 1 + 3 * i, 50, "a");
        add(s, 2 + 3 * i, 50, "b");
        add(s, 3 + 3 * i, 50, "c");
    }
    /* one at a time: they take turns */
    const unsigned wanted[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
    for (size_t i = 0; i < QD_LENGTH(wanted); i++) {
        assert_int_equal(next(s, (int64_t)i + 1), wanted[i]);
        finish(s, wanted[i]);
    }
    add(s, 10, 50, "c");
    add(s, 11, 50, "d"); /* new here: never served */
    assert_int_equal(next(s, 20), 11);
}

static void priority_goes_before_fairness(void **state)
{
    scratch *s = *state;
    add(s, 1, 90, "a");
    add(s, 2, 90, "a");
    add(s, 3, 50, "b");
    assert_int_equal(next(s, 1), 1);
    assert_int_equal(next(s, 2), 2);
    assert_int_equal(next(s, 3), 3);
}

typedef struct fill {
    unsigned jobs, owners;
} fill;

static qd_code insert_many(void *ctx, qd_tx *tx, qd_error *err)
{
    const fill *f = ctx;
    qd_code code = QD_OK;
    for (unsigned i = 1; code == QD_OK && i <= f->jobs; i++) {
        char owner[24];
        snprintf(owner, sizeof owner, "owner-%u", i % f->owners);
        queued q = { i, 50, owner };
        code = insert(&q, tx, err);
    }
    return code;
}

/* Steps of SQLite's machine that a claim takes. */
static int64_t cost_of_claim(const char *dir)
{
    char path[300];
    qd_error err = { 0 };
    qd_connection c = { 0 };
    snprintf(path, sizeof path, "%s/quantd.db", dir);
    check_ok(qd_connection_open(path, QD_READ_WRITE, &c, &err));
    qd_job_row row = { 0 };
    check_ok(qd_sql_script(&c, "BEGIN IMMEDIATE", &err));
    check_ok(qd_job_row_claim(&c, "queued", "downloading", 1, &row, &err));
    int64_t steps = 0;
    for (size_t i = 0; i < c.kept_count; i++)
        steps += sqlite3_stmt_status(c.kept[i].statement, SQLITE_STMTSTATUS_VM_STEP, 0);
    check_ok(qd_sql_script(&c, "ROLLBACK", &err));
    qd_job_row_fini(&row);
    qd_connection_close(&c);
    return steps;
}

static void a_claim_costs_the_same_in_a_queue_a_hundred_times_as_long(void **state)
{
    scratch *s = *state;
    qd_error err = { 0 };
    fill some = { 40, 4 };
    check_ok(qd_store_write(s->store, insert_many, &some, &err));
    int64_t few = cost_of_claim(s->dir);
    drop_scratch(s);
    open_scratch(s);
    fill all = { 4000, 4 };
    check_ok(qd_store_write(s->store, insert_many, &all, &err));
    int64_t many = cost_of_claim(s->dir);
    assert_true(few > 0);
    assert_true(many < 2 * few);
}

int main(void)
{
#define CLAIM(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CLAIM(the_highest_priority_is_claimed_first_and_then_the_oldest),
        CLAIM(an_owner_with_many_jobs_does_not_keep_two_others_waiting),
        CLAIM(of_owners_with_as_much_under_way_the_one_served_least_recently_is_next),
        CLAIM(priority_goes_before_fairness),
        CLAIM(a_claim_costs_the_same_in_a_queue_a_hundred_times_as_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
