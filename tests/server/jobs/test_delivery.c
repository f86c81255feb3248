/* test_delivery.c: signatures of webhooks, secrets, pauses, rows of deliveries. */
#include "check.h"

#include "base/auto.h"
#include "folder.h"
#include "jobs/delivery.h"

static void a_signature_is_that_of_the_standards_own_libraries(void **state)
{
    (void)state;
    QD_AUTO(qd_free_pointer) char *got = NULL;
    qd_error err;
    check_ok(qd_webhook_sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330",
                             "{\"test\": 2432232314}", &got, &err));
    assert_string_equal(got, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

static void secrets_hold_24_to_64_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *secret;
        size_t bytes; /* 0 = refused */
    } rows[] = {
        { "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 24 },
        { "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 0 },
        { "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==", 64 },
        { "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 0 },
        { "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 0 },
        { "whsec_", 0 },
        { "whsec_not base64 at all, not base64 at all", 0 },
        { "", 0 },
    };
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        QD_AUTO(qd_free_pointer) unsigned char *key = NULL;
        size_t length = 0;
        qd_error err;
        print_message("# '%s'\n", rows[i].secret);
        check_code_at(qd_webhook_key(rows[i].secret, &key, &length, &err), rows[i].bytes == 0 ? QD_EINVAL : QD_OK, &err,
                      __FILE__, __LINE__);
        if (rows[i].bytes == 0)
            check_contains(err.text, "whsec_");
        else
            assert_int_equal(length, rows[i].bytes);
    }
}

static void ten_tries_take_some_28_hours(void **state)
{
    (void)state;
    double middle = 0, least = 0, most = 0;
    for (unsigned tries = 1; tries < 10; tries++) {
        middle += qd_delivery_pause(tries, 0.5, -1);
        least += qd_delivery_pause(tries, 0, -1);
        most += qd_delivery_pause(tries, 1, -1);
        if (tries > 1)
            assert_true(qd_delivery_pause(tries, 0, -1) > qd_delivery_pause(tries - 1, 1, -1));
    }
    check_close(middle, 28 * 3600.0, 0.01);
    check_close(least, 0.8 * middle, 0.001);
    check_close(most, 1.2 * middle, 0.001);
    assert_true(qd_delivery_pause(1000, 1, -1) <= 1.21 * 24 * 3600);
}

static void the_receivers_wish_wins_within_a_day(void **state)
{
    (void)state;
    check_close(qd_delivery_pause(7, 0.5, 30), 30, 0);
    check_close(qd_delivery_pause(7, 0.5, 0), 1, 0);
    check_close(qd_delivery_pause(1, 0.5, 1000000), 24 * 3600, 0);
}

/* ---- rows ---- */

#define JOB "01abcdefghjkmnpqrstvwxyz00"

static qd_code make_rows(void *ctx, qd_tx *tx, qd_error *err)
{
    (void)ctx;
    static const char *const hosts[] = { "slow", "slow", "quick" };
    qd_job_row job = { .id = JOB,
                       .state = "succeeded",
                       .tags = (char[]){ "{}" },
                       .request = (char[]){ "{}" },
                       .recipe = (char[]){ "{}" },
                       .resolved = (char[]){ "{}" },
                       .created_ms = 1 };
    qd_code code = qd_job_row_insert(tx, &job, err);
    for (int i = 0; code == QD_OK && i < 3; i++) {
        qd_delivery_row row = { .job = JOB,
                                .kind = "webhook",
                                .state = "pending",
                                .url = (char[]){ "https://x" },
                                .body = (char[]){ "{}" },
                                .next_ms = 100 + i,
                                .created_ms = 1 };
        char host[8];
        snprintf(host, sizeof host, "%s", hosts[i]);
        row.host = host;
        snprintf(row.id, sizeof row.id, "msg_%026d", i);
        code = qd_delivery_row_insert(tx, &row, err);
    }
    return code;
}

typedef struct due {
    qd_delivery_search what;
    qd_delivery_row row;
    int64_t next_ms;
} due;

static qd_code find(void *ctx, qd_tx *tx, qd_error *err)
{
    due *d = ctx;
    qd_code code = qd_delivery_row_next(tx, &d->what, &d->next_ms, err);
    return code == QD_OK ? qd_delivery_row_due(tx, &d->what, &d->row, err) : code;
}

static void what_is_due_is_found_past_what_is_busy(void **state)
{
    (void)state;
    static const struct {
        const char *ids, *hosts;
        int64_t now, next;
        int want; /* -1 = none */
    } rows[] = {
        { "[]", "[]", 99, 100, -1 },
        { "[]", "[]", 100, 100, 0 },
        { "[\"msg_00000000000000000000000000\"]", "[]", 200, 101, 1 },
        { "[]", "[\"slow\"]", 200, 102, 2 },
        { "[]", "[\"slow\"]", 101, 102, -1 },
        { "[]", "[\"slow\",\"quick\"]", 200, INT64_MAX, -1 },
    };
    char folder[256];
    qd_error err;
    qd_store *store = NULL;
    temporary_folder(folder, sizeof folder);
    check_ok(qd_store_open(folder, &store, &err));
    check_ok(qd_store_write(store, make_rows, NULL, &err));
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        due d = { .what = { "webhook", rows[i].ids, rows[i].hosts, rows[i].now } };
        char want[QD_DELIVERY_ID];
        check_code_at(qd_store_read(store, find, &d, &err), rows[i].want < 0 ? QD_ENOTFOUND : QD_OK, &err, __FILE__,
                      __LINE__);
        assert_true(d.next_ms == rows[i].next);
        snprintf(want, sizeof want, "msg_%026d", rows[i].want);
        if (rows[i].want >= 0)
            assert_string_equal(d.row.id, want);
        qd_delivery_row_fini(&d.row);
    }
    qd_store_close(store);
    qd_dir_remove(folder, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signature_is_that_of_the_standards_own_libraries),
        cmocka_unit_test(secrets_hold_24_to_64_bytes),
        cmocka_unit_test(ten_tries_take_some_28_hours),
        cmocka_unit_test(the_receivers_wish_wins_within_a_day),
        cmocka_unit_test(what_is_due_is_found_past_what_is_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
