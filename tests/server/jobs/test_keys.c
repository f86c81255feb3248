/* test_keys.c: keys are made, shown, revoked and counted; two keyrings on one folder stand for two processes. */
#include "bench.h"

#include <sys/stat.h>

#include "jobs/keys.h"

typedef struct world {
    char dir[256];
    qd_keyring *ring, *other;
} world;

static int set_up(void **state)
{
    static world w;
    qd_error err = { 0 };
    temporary_folder(w.dir, sizeof w.dir);
    check_ok(qd_keyring_open(w.dir, &w.ring, &err));
    check_ok(qd_keyring_open(w.dir, &w.other, &err));
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    world *w = *state;
    qd_keyring_close(w->other);
    qd_keyring_close(w->ring);
    remove_folder(w->dir);
    return 0;
}

static const qd_caller someone = { .key_id = "", .scopes = QD_SCOPE_ADMIN, .address = "192.0.2.7", .request_id = "r1" };

static void make(qd_keyring *ring, const char *name, unsigned scopes, int64_t lifetime_ms, char text[QD_KEY_TEXT],
                 qd_key *out)
{
    qd_error err = { 0 };
    const qd_key_wish wish = { .name = name, .scopes = scopes, .lifetime_ms = lifetime_ms };
    check_ok(qd_keyring_make(ring, &someone, &wish, text, out, &err));
}

static qd_code admit(qd_keyring *ring, const char *text, qd_caller *out, qd_error *err)
{
    *out = (qd_caller){ 0 };
    return qd_keyring_admit(ring, text, out, err);
}

static void a_key_lets_in_with_its_scopes_and_one_that_differs_by_a_letter_does_not(void **state)
{
    world *w = *state;
    char text[QD_KEY_TEXT], other[QD_KEY_TEXT];
    qd_key key, second;
    qd_caller caller;
    qd_error err = { 0 };
    make(w->ring, "ci", QD_SCOPE_JOBS_READ | QD_SCOPE_JOBS_WRITE, 0, text, &key);
    make(w->ring, "ops", QD_SCOPE_ADMIN, 0, other, &second);
    assert_string_not_equal(text, other);
    assert_int_equal(strlen(text), 35); /* "qd_" and 32 characters of 5 bits */
    assert_int_equal(strncmp(text, "qd_", 3), 0);
    check_ok(admit(w->ring, text, &caller, &err));
    assert_string_equal(caller.key_id, key.id);
    assert_int_equal(caller.scopes, QD_SCOPE_JOBS_READ | QD_SCOPE_JOBS_WRITE);
    assert_true(qd_caller_may(&caller, QD_SCOPE_JOBS_WRITE));
    assert_false(qd_caller_may(&caller, QD_SCOPE_ARTIFACTS_READ));
    for (size_t i = 0; i < strlen(text); i++) {
        char wrong[QD_KEY_TEXT];
        memcpy(wrong, text, sizeof wrong);
        wrong[i] = wrong[i] == 'z' ? 'y' : 'z';
        check_fails(admit(w->ring, wrong, &caller, &err), QD_EDENIED);
        assert_null(strstr(err.text, wrong));
        assert_int_equal(caller.scopes, 0);
    }
    check_fails(admit(w->ring, "", &caller, &err), QD_EDENIED);
}

static void scan(const char *dir, const char *needle, size_t *out_found)
{
    char **names = NULL;
    size_t count = 0;
    qd_error err = { 0 };
    check_ok(qd_dir_list(dir, &names, &count, &err));
    for (size_t i = 0; i < count; i++) {
        QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, names[i]);
        QD_AUTO(qd_str_fini) qd_str bytes = { 0 };
        if (strcmp(names[i], "quantd.ballast") == 0)
            continue;
        check_ok(qd_file_read(path, 64 << 20, &bytes, &err));
        *out_found += bytes.length > 0 && memmem(bytes.data, bytes.length, needle, strlen(needle)) != NULL;
    }
    qd_names_free(names, count);
}

static void the_text_of_a_key_is_in_no_file_only_its_digest(void **state)
{
    world *w = *state;
    char text[QD_KEY_TEXT], digest[QD_DIGEST_HEX];
    qd_key key;
    qd_error err = { 0 };
    size_t texts = 0, digests = 0;
    make(w->ring, "ci", QD_SCOPE_JOBS_READ, 0, text, &key);
    check_ok(qd_sha256(text, strlen(text), digest, &err));
    scan(w->dir, text, &texts);
    scan(w->dir, text + 3, &texts);
    scan(w->dir, digest, &digests);
    assert_int_equal(texts, 0);
    assert_true(digests > 0);
}

/* The other process knows within a second; asked all the while, so that what it remembers is at its youngest. */
static void comes_to_know(qd_keyring *ring, const char *text, qd_code wanted)
{
    qd_caller caller;
    qd_error err = { 0 };
    double started = qd_clock_seconds();
    while (admit(ring, text, &caller, &err) != wanted) {
        assert_true(qd_clock_seconds() - started < 1 * check_patience());
        bench_sleep(5);
    }
}

static void what_another_process_makes_or_revokes_is_known_within_a_second(void **state)
{
    world *w = *state;
    char first[QD_KEY_TEXT], text[QD_KEY_TEXT];
    qd_key key;
    qd_caller caller;
    qd_error err = { 0 };
    bool asks = true;
    check_ok(qd_keyring_asks(w->ring, &asks, &err));
    assert_false(asks);
    make(w->other, "first", QD_SCOPE_ADMIN, 0, first, &key);
    comes_to_know(w->ring, first, QD_OK);
    check_ok(qd_keyring_asks(w->ring, &asks, &err));
    assert_true(asks);
    make(w->other, "second", QD_SCOPE_ADMIN, 0, text, &key);
    comes_to_know(w->ring, text, QD_OK);
    check_ok(qd_keyring_revoke(w->other, &someone, "second", &err));
    comes_to_know(w->ring, text, QD_EDENIED);
    check_fails(admit(w->ring, text, &caller, &err), QD_EDENIED);
    check_contains(err.text, "revoked");
    check_ok(admit(w->ring, first, &caller, &err));
}

static void revoking_is_at_once_in_the_process_that_does_it_and_the_last_key_opens_nothing(void **state)
{
    world *w = *state;
    char text[QD_KEY_TEXT];
    qd_key key;
    qd_caller caller = { 0 };
    qd_error err = { 0 };
    bool asks = false;
    make(w->ring, "only", QD_SCOPE_ADMIN, 0, text, &key);
    check_ok(admit(w->ring, text, &caller, &err));
    check_ok(qd_keyring_revoke(w->ring, &someone, key.id, &err));
    check_fails(admit(w->ring, text, &caller, &err), QD_EDENIED);
    check_fails(qd_keyring_admit_id(w->ring, key.id, &caller, &err), QD_EDENIED);
    check_ok(qd_keyring_asks(w->ring, &asks, &err));
    assert_true(asks);
    check_ok(qd_keyring_revoke(w->ring, &someone, key.id, &err)); /* once more changes nothing */
    check_fails(qd_keyring_revoke(w->ring, &someone, "nobody", &err), QD_ENOTFOUND);
}

static void a_key_expires(void **state)
{
    world *w = *state;
    char text[QD_KEY_TEXT];
    qd_key key;
    qd_caller caller;
    qd_error err = { 0 };
    make(w->ring, "brief", QD_SCOPE_JOBS_READ, 60000, text, &key);
    check_ok(admit(w->ring, text, &caller, &err));
    assert_int_equal(key.expires_ms - key.created_ms, 60000);
    make(w->ring, "briefer", QD_SCOPE_JOBS_READ, 1, text, &key);
    bench_sleep(5);
    check_fails(admit(w->ring, text, &caller, &err), QD_EDENIED);
    check_contains(err.text, "expired");
}

static void wishes_that_make_no_key_say_why(void **state)
{
    world *w = *state;
    static const struct {
        qd_key_wish wish;
        qd_code code;
        const char *part;
    } cases[] = {
        { { .name = NULL, .scopes = QD_SCOPE_ADMIN }, QD_EINVAL, "name" },
        { { .name = "", .scopes = QD_SCOPE_ADMIN }, QD_EINVAL, "name" },
        { { .name = "two words", .scopes = QD_SCOPE_ADMIN }, QD_EINVAL, "two words" },
        { { .name = "line\nbreak", .scopes = QD_SCOPE_ADMIN }, QD_EINVAL, "letters" },
        { { .name = "ci", .scopes = 0 }, QD_EINVAL, "artifacts:read" },
        { { .name = "ci", .scopes = QD_SCOPE_ADMIN, .lifetime_ms = -1 }, QD_EINVAL, "past" },
        { { .name = "taken", .scopes = QD_SCOPE_ADMIN }, QD_ECONFLICT, "taken" },
    };
    char text[QD_KEY_TEXT] = "";
    qd_key key, *keys = NULL;
    size_t count = 0;
    unsigned scopes = 0;
    qd_error err = { 0 };
    make(w->ring, "taken", QD_SCOPE_ADMIN, 0, text, &key);
    check_ok(qd_keyring_revoke(w->ring, &someone, "taken", &err));
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        check_fails(qd_keyring_make(w->ring, &someone, &cases[i].wish, text, &key, &err), cases[i].code);
        check_contains(err.text, cases[i].part);
    }
    check_ok(qd_keyring_list(w->ring, &keys, &count, &err));
    assert_int_equal(count, 1);
    assert_string_equal(keys[0].name, "taken");
    assert_true(keys[0].revoked_ms >= keys[0].created_ms);
    free(keys);
    check_ok(qd_scopes_parse("jobs:read, admin", &scopes, &err));
    assert_int_equal(scopes, QD_SCOPE_JOBS_READ | QD_SCOPE_ADMIN);
    check_fails(qd_scopes_parse("jobs:read,jobs:all", &scopes, &err), QD_EINVAL);
    check_contains(err.text, "jobs:all");
}

static void a_key_may_make_its_minutes_requests_and_no_more(void **state)
{
    world *w = *state;
    char text[QD_KEY_TEXT];
    qd_key key;
    qd_caller caller = { 0 }, nobody = { 0 };
    qd_error err = { 0 };
    double seconds = 0;
    const qd_key_wish wish = { .name = "busy", .scopes = QD_SCOPE_JOBS_READ, .rate_per_minute = 600 };
    check_ok(qd_keyring_make(w->ring, &someone, &wish, text, &key, &err));
    check_ok(qd_keyring_admit(w->ring, text, &caller, &err));
    double started = qd_clock_seconds();
    size_t made = 0;
    while (made < 5000 && qd_keyring_turn(w->ring, &caller, &seconds, &err) == QD_OK)
        made++;
    double passed = qd_clock_seconds() - started;
    assert_true(made >= 600 && (double)made <= 601 + 10 * passed); /* 10 a second come back */
    check_contains(err.text, "600 requests a minute");
    assert_true(seconds > 0 && seconds <= 0.1);
    bench_sleep(150);
    check_ok(qd_keyring_turn(w->ring, &caller, &seconds, &err));
    check_ok(qd_keyring_turn(w->ring, &nobody, &seconds, &err)); /* who shows no key has no rate */
}

static void what_is_remembered_of_a_rate_outlives_a_reading_of_the_rows(void **state)
{
    world *w = *state;
    char text[QD_KEY_TEXT], other[QD_KEY_TEXT];
    qd_key key;
    qd_caller caller = { 0 };
    qd_error err = { 0 };
    double seconds = 0;
    const qd_key_wish wish = { .name = "slow", .scopes = QD_SCOPE_JOBS_READ, .rate_per_minute = 2 };
    check_ok(qd_keyring_make(w->ring, &someone, &wish, text, &key, &err));
    check_ok(qd_keyring_admit(w->ring, text, &caller, &err));
    check_ok(qd_keyring_turn(w->ring, &caller, &seconds, &err));
    check_ok(qd_keyring_turn(w->ring, &caller, &seconds, &err));
    make(w->ring, "new", QD_SCOPE_ADMIN, 0, other, &key);
    check_ok(qd_keyring_admit(w->ring, text, &caller, &err));
    check_fails(qd_keyring_turn(w->ring, &caller, &seconds, &err), QD_EBUSY);
    assert_true(seconds > 20 && seconds <= 30);
}

static const char *member(const json_t *row, const char *name)
{
    return json_string_value(json_object_get(row, name));
}

static void every_change_of_keys_is_in_the_audit_and_what_failed_is_not(void **state)
{
    world *w = *state;
    char text[QD_KEY_TEXT];
    qd_key key;
    qd_error err = { 0 };
    json_t *rows = NULL, *first;
    const qd_key_wish again = { .name = "ci", .scopes = QD_SCOPE_ADMIN };
    make(w->ring, "ci", QD_SCOPE_JOBS_READ, 0, text, &key);
    check_fails(qd_keyring_make(w->ring, &someone, &again, text, &key, &err), QD_ECONFLICT);
    check_ok(qd_keyring_revoke(w->ring, &someone, "ci", &err));
    check_ok(qd_keyring_revoke(w->ring, &someone, "ci", &err));
    check_ok(qd_keyring_audit(w->other, &(qd_audit_filter){ .limit = 100 }, &rows, &err));
    assert_int_equal(json_array_size(rows), 2);
    first = json_array_get(rows, 0);
    assert_string_equal(member(first, "action"), "key.create");
    assert_string_equal(member(first, "address"), "192.0.2.7");
    assert_string_equal(member(first, "request_id"), "r1");
    assert_string_equal(member(json_object_get(first, "detail"), "name"), "ci");
    assert_string_equal(member(json_object_get(first, "detail"), "scopes"), "jobs:read");
    assert_string_equal(member(json_array_get(rows, 1), "action"), "key.revoke");
    const qd_audit_filter after = { .after = (uint64_t)json_integer_value(json_object_get(first, "id")), .limit = 100 };
    json_decref(rows);
    check_ok(qd_keyring_audit(w->other, &after, &rows, &err));
    assert_int_equal(json_array_size(rows), 1);
    json_decref(rows);
    check_ok(qd_keyring_audit(w->other, &(qd_audit_filter){ .action = "key.create", .limit = 1 }, &rows, &err));
    assert_int_equal(json_array_size(rows), 1);
    json_decref(rows);
    check_ok(qd_keyring_audit(w->other, &(qd_audit_filter){ .target = "nothing", .limit = 1 }, &rows, &err));
    assert_int_equal(json_array_size(rows), 0);
    json_decref(rows);
}

static void what_root_makes_belongs_to_the_owner_of_the_folder(void **state)
{
    world *w = *state;
    char dir[600];
    qd_keyring *ring = NULL;
    char **names = NULL;
    size_t count = 0;
    struct stat info;
    qd_error err = { 0 };
    if (geteuid() != 0)
        return; /* nobody else can make files for others */
    snprintf(dir, sizeof dir, "%s/state", w->dir);
    check_ok(qd_dir_make(dir, &err));
    assert_int_equal(chown(dir, 12345, 12346), 0);
    check_ok(qd_keyring_open(dir, &ring, &err));
    check_ok(qd_dir_list(dir, &names, &count, &err));
    assert_true(count >= 3);
    for (size_t i = 0; i < count; i++) {
        QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, names[i]);
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_uid, 12345);
        assert_int_equal(info.st_gid, 12346);
    }
    qd_names_free(names, count);
    qd_keyring_close(ring);
}

/* ---- with a service ---- */

static int start_bench(void **state)
{
    static bench b;
    bench_init(&b);
    b.config.workers = 1;
    bench_start(&b);
    *state = &b;
    return 0;
}

static int end_bench(void **state)
{
    bench_fini(*state);
    return 0;
}

static qd_code submit_as(bench *b, const qd_caller *caller, const char *name, char id[27], qd_error *err)
{
    qd_recipe *recipe = NULL;
    qd_issues issues = { 0 };
    json_t *request = bench_request(b, name);
    const qd_submission submission = { .request = request, .caller = caller };
    qd_code code = qd_recipe_parse(request, &recipe, &issues, err);
    qd_submission whole = submission;
    whole.recipe = recipe;
    if (code == QD_OK)
        code = qd_service_submit(b->service, &whole, id, err);
    qd_recipe_destroy(recipe);
    json_decref(request);
    return code;
}

static void login(bench *b, const qd_key_wish *wish, qd_caller *out)
{
    char text[QD_KEY_TEXT];
    qd_key key;
    qd_error err = { 0 };
    check_ok(qd_keyring_make(qd_service_keyring(b->service), &someone, wish, text, &key, &err));
    check_ok(admit(qd_service_keyring(b->service), text, out, &err));
    snprintf(out->address, sizeof out->address, "198.51.100.9");
    snprintf(out->request_id, sizeof out->request_id, "r2");
}

static void a_key_has_so_many_unfinished_jobs_and_a_retry_is_one_more(void **state)
{
    bench *b = *state;
    qd_caller mine, theirs;
    char first[27], second[27], third[27];
    qd_error err = { 0 };
    login(b, &(qd_key_wish){ .name = "mine", .scopes = QD_SCOPE_JOBS_WRITE, .queue_quota = 2 }, &mine);
    login(b, &(qd_key_wish){ .name = "theirs", .scopes = QD_SCOPE_JOBS_WRITE }, &theirs);
    check_ok(submit_as(b, &mine, "slow", first, &err));
    check_ok(submit_as(b, &mine, "good", second, &err));
    check_fails(submit_as(b, &mine, "good", third, &err), QD_EBUSY);
    check_contains(err.text, "key 'mine' has 2 unfinished jobs, 2 are allowed");
    check_ok(submit_as(b, &theirs, "good", third, &err)); /* of another key */
    check_ok(qd_service_cancel(b->service, &theirs, third, &err));
    check_ok(qd_service_cancel(b->service, &mine, second, &err));
    check_ok(submit_as(b, &mine, "good", third, &err));
    check_fails(qd_service_retry(b->service, &mine, second, NULL, NULL, &err), QD_EBUSY);
    check_ok(qd_service_cancel(b->service, &mine, third, &err));
    check_ok(qd_service_retry(b->service, &mine, second, NULL, NULL, &err));
    check_ok(qd_service_cancel(b->service, &mine, second, &err));
    check_ok(qd_service_cancel(b->service, &mine, first, &err));
}

static void a_key_has_so_many_bytes_of_artifacts_until_some_are_deleted(void **state)
{
    bench *b = *state;
    qd_caller mine;
    char first[27], second[27];
    qd_error err = { 0 };
    login(b, &(qd_key_wish){ .name = "mine", .scopes = QD_SCOPE_JOBS_WRITE, .disk_quota_bytes = 16 }, &mine);
    check_ok(submit_as(b, &mine, "good", first, &err));
    bench_ends(b, first, "succeeded", NULL);
    check_fails(submit_as(b, &mine, "good", second, &err), QD_ENOSPC);
    check_contains(err.text, "16 are allowed: delete jobs");
    check_ok(qd_service_ready(b->service, &err)); /* the disk itself is fine */
    check_ok(qd_service_delete(b->service, &mine, first, &err));
    check_ok(submit_as(b, &mine, "good", second, &err));
    bench_ends(b, second, "succeeded", NULL);
}

static void every_change_of_a_job_is_in_the_audit_with_who_did_it(void **state)
{
    bench *b = *state;
    static const char *const wanted[] = { "job.create", "job.cancel", "job.retry", "job.cancel", "job.delete" };
    qd_caller mine;
    char id[27];
    json_t *rows = NULL;
    qd_error err = { 0 };
    login(b, &(qd_key_wish){ .name = "mine", .scopes = QD_SCOPE_JOBS_WRITE }, &mine);
    check_ok(submit_as(b, &mine, "slow", id, &err));
    check_fails(qd_service_delete(b->service, &mine, id, &err), QD_ECONFLICT); /* no change, no row */
    check_ok(qd_service_cancel(b->service, &mine, id, &err));
    check_ok(qd_service_cancel(b->service, &mine, id, &err));
    check_ok(qd_service_retry(b->service, &mine, id, NULL, NULL, &err));
    check_ok(qd_service_cancel(b->service, &mine, id, &err));
    check_ok(qd_service_delete(b->service, &mine, id, &err));
    const qd_audit_filter filter = { .target = id, .limit = 100 };
    check_ok(qd_keyring_audit(qd_service_keyring(b->service), &filter, &rows, &err));
    assert_int_equal(json_array_size(rows), QD_LENGTH(wanted));
    for (size_t i = 0; i < QD_LENGTH(wanted); i++) {
        const json_t *row = json_array_get(rows, i);
        assert_string_equal(member(row, "action"), wanted[i]);
        assert_string_equal(member(row, "key"), mine.key_id);
        assert_string_equal(member(row, "address"), "198.51.100.9");
        assert_string_equal(member(row, "request_id"), "r2");
    }
    json_decref(rows);
}

static void the_last_use_of_a_key_is_written_down_at_the_end(void **state)
{
    bench *b = *state;
    qd_caller mine;
    qd_key *keys = NULL;
    size_t count = 0;
    qd_keyring *ring = NULL;
    qd_error err = { 0 };
    login(b, &(qd_key_wish){ .name = "mine", .scopes = QD_SCOPE_JOBS_WRITE }, &mine);
    bench_stop(b);
    check_ok(qd_keyring_open(b->state, &ring, &err));
    check_ok(qd_keyring_list(ring, &keys, &count, &err));
    assert_int_equal(count, 1);
    assert_true(keys[0].last_used_ms >= keys[0].created_ms);
    free(keys);
    qd_keyring_close(ring);
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define SERVICE_CLAIM(name) cmocka_unit_test_setup_teardown(name, start_bench, end_bench)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(a_key_lets_in_with_its_scopes_and_one_that_differs_by_a_letter_does_not),
        CLAIM(the_text_of_a_key_is_in_no_file_only_its_digest),
        CLAIM(what_another_process_makes_or_revokes_is_known_within_a_second),
        CLAIM(revoking_is_at_once_in_the_process_that_does_it_and_the_last_key_opens_nothing),
        CLAIM(a_key_expires),
        CLAIM(wishes_that_make_no_key_say_why),
        CLAIM(a_key_may_make_its_minutes_requests_and_no_more),
        CLAIM(what_is_remembered_of_a_rate_outlives_a_reading_of_the_rows),
        CLAIM(every_change_of_keys_is_in_the_audit_and_what_failed_is_not),
        CLAIM(what_root_makes_belongs_to_the_owner_of_the_folder),
        SERVICE_CLAIM(a_key_has_so_many_unfinished_jobs_and_a_retry_is_one_more),
        SERVICE_CLAIM(a_key_has_so_many_bytes_of_artifacts_until_some_are_deleted),
        SERVICE_CLAIM(every_change_of_a_job_is_in_the_audit_with_who_did_it),
        SERVICE_CLAIM(the_last_use_of_a_key_is_written_down_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
