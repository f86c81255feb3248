/* test_once.c: a request under a key is carried out once; others wait, are told the answer, or are refused. */
#include "bench.h"

#include "jobs/once.h"

static int open_bench(void **state)
{
    bench *b = calloc(1, sizeof *b);
    bench_init(b);
    bench_start(b);
    *state = b;
    return 0;
}

static int close_bench(void **state)
{
    bench_fini(*state);
    free(*state);
    return 0;
}

static char *print_state(const qd_job *job)
{
    json_t *answer = json_pack("{s:s, s:s}", "id", job->id, "state", job->state);
    char *text = json_dumps(answer, JSON_COMPACT);
    json_decref(answer);
    return text;
}

static qd_code begin(bench *b, qd_once *once, const char *owner, const char *body, qd_error *err)
{
    qd_caller caller = qd_caller_own();
    snprintf(caller.key_id, sizeof caller.key_id, "%s", owner);
    *once = (qd_once){ .print = print_state };
    return qd_once_begin(b->service, once, &caller, "key", body, strlen(body), err);
}

static void the_second_of_two_at_once_is_told_to_wait(void **state)
{
    bench *b = *state;
    qd_error err = { 0 };
    qd_once first, second, stranger;
    check_ok(begin(b, &first, "a", "body", &err));
    assert_null(first.answer);
    check_fails(begin(b, &second, "a", "body", &err), QD_ECONFLICT);
    check_contains(err.text, "still under way");
    check_ok(begin(b, &stranger, "b", "another body", &err)); /* another's key of the same name is another key */
    qd_once_end(b->service, &first);
    check_ok(begin(b, &second, "a", "another body", &err)); /* nothing was made under it */
    qd_once_end(b->service, &second);
    qd_once_end(b->service, &stranger);
    qd_once_end(b->service, &stranger); /* once more does no harm */
}

static void the_answer_is_that_of_the_transaction_and_stays(void **state)
{
    bench *b = *state;
    qd_error err = { 0 };
    qd_once once, again;
    qd_collected collected = { 0 };
    qd_recipe *recipe = NULL;
    const qd_caller own = qd_caller_own();
    char id[27], want[80];
    QD_AUTO(qd_json_fini) json_t *request = bench_request(b, "good");
    check_ok(qd_recipe_parse(request, &recipe, NULL, &err));
    check_ok(begin(b, &once, "", "body", &err));
    const qd_submission submission = { .recipe = recipe, .request = request, .caller = &own, .once = &once };
    check_ok(qd_service_submit(b->service, &submission, id, &err));
    qd_recipe_destroy(recipe);
    qd_once_end(b->service, &once);
    snprintf(want, sizeof want, "{\"id\":\"%s\",\"state\":\"queued\"}", id);
    assert_string_equal(once.answer, want);
    bench_ends(b, id, "succeeded", NULL);
    bench_stop(b);
    bench_start(b);
    check_ok(begin(b, &again, "", "body", &err));
    assert_string_equal(again.answer, want);
    qd_once_end(b->service, &again);
    qd_once_fini(&again);
    check_fails(begin(b, &again, "", "other", &err), QD_EINVAL);
    check_contains(err.text, "another body");
    check_ok(qd_service_collect(b->service, QD_COLLECT_REMOVE, &collected, &err)); /* it is not a day old */
    assert_int_equal(collected.rows, 0);
    qd_collected_fini(&collected);
    check_ok(begin(b, &again, "", "body", &err));
    assert_string_equal(again.answer, want);
    qd_once_end(b->service, &again);
    qd_once_fini(&again);
    qd_once_fini(&once);
}

static void keys_are_visible_ascii_of_limited_length(void **state)
{
    (void)state;
    char text[QD_ONCE_KEY_MAX + 2];
    memset(text, 'k', sizeof text);
    text[QD_ONCE_KEY_MAX] = '\0';
    assert_true(qd_once_key_ok(text));
    text[QD_ONCE_KEY_MAX] = 'k';
    text[QD_ONCE_KEY_MAX + 1] = '\0';
    assert_false(qd_once_key_ok(text));
    assert_false(qd_once_key_ok(""));
    for (int c = 1; c < 256; c++) {
        const char one[] = { (char)c, '\0' };
        assert_int_equal(qd_once_key_ok(one), c >= '!' && c <= '~');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_second_of_two_at_once_is_told_to_wait, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(the_answer_is_that_of_the_transaction_and_stays, open_bench, close_bench),
        cmocka_unit_test(keys_are_visible_ascii_of_limited_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
