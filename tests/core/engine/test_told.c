/* test_told.c: who is told of a job, and how it is run, are no part of what it makes. */
#include "job.h"

#define TOLD \
    ",\"name\":\"mine\",\"tags\":{\"team\":\"a\"},\"priority\":7,\"limits\":{\"runtime\":3600}," \
    "\"webhook\":{\"url\":\"https://told.example/?token=hidden\"},\"publish\":{\"url\":\"https://store.example/" \
    "models/\"}"

static void run_one(const char *request, char digest[QD_DIGEST_HEX], qd_str *recipe)
{
    char folder[200], path[260];
    qd_error err = { 0 };
    small_run job = { .request = request, .folder = make_folder(folder, sizeof folder), .texts = SHORT_TEXTS };
    check_ok(run_job(&job, &err));
    digest_out(&job, digest);
    snprintf(path, sizeof path, "%s/out/recipe.json", folder);
    check_ok(qd_file_read(path, 1 << 20, recipe, &err));
    job_fini(&job);
    remove_folder(folder);
}

static void who_is_told_and_how_it_is_run_change_no_byte(void **state)
{
    (void)state;
    char plain[QD_DIGEST_HEX], told[QD_DIGEST_HEX];
    QD_AUTO(qd_str_fini) qd_str first = { 0 }, second = { 0 };
    run_one(QUICK, plain, &first);
    run_one(QUICK TOLD, told, &second);
    assert_string_equal(qd_str_borrow(&second), qd_str_borrow(&first));
    assert_null(strstr(qd_str_borrow(&second), "example"));
    assert_string_equal(told, plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(who_is_told_and_how_it_is_run_change_no_byte) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
