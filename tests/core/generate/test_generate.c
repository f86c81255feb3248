/* test_generate.c: sequences that a model makes itself: against whole forward passes, alone and beside others. */
#include "forward.h"

#include "base/json.h"
#include "base/rng.h"
#include "generate/generate.h"
#include "linalg/gemm.h"
#include "linalg/vexp.h"

enum { BOS = 0, EOS = 1 }; /* of novella-1m */

static const qd_draw_rule plain_rule = { .temperature = 1, .top_p = 1 }, greedy = { .temperature = 0, .top_p = 1 };

static qd_model *open_small(void)
{
    qd_error err = { 0 };
    char path[4096];
    qd_model *model = NULL;
    check_ok(qd_model_open(SOURCE_PATH(path, "tests/models/novella-1m"), &model, &err));
    return model;
}

/* count x length, to be freed. */
static uint32_t *generate(const qd_model *model, const qd_generation *request, size_t threads)
{
    qd_error err = { 0 };
    qd_pool *pool = NULL;
    uint32_t *ids = calloc(request->count * request->length, sizeof *ids);
    check_ok(qd_pool_create(threads, &pool, &err));
    check_ok(qd_generate(model, request, pool, NULL, NULL, ids, &err));
    qd_pool_destroy(pool);
    return ids;
}

/* The likeliest next word of a whole forward pass over the tokens so far. */
static uint32_t likeliest_next(const qd_model *model, const uint32_t *ids, size_t length)
{
    qd_error err = { 0 };
    size_t words = qd_model_borrow_config(model)->vocabulary, best = 0;
    qd_matf_buf logits = { 0 };
    check_ok(qd_matf_buf_init(&logits, length, words, &err));
    forward_logits(model, ids, BY_BLOCK, logits.view);
    const float *last = qd_matf_row(logits.view, length - 1);
    for (size_t i = 0; i < words; i++)
        best = last[i] > last[best] ? i : best;
    qd_matf_buf_fini(&logits);
    return (uint32_t)best;
}

static void greedy_tokens_are_those_of_whole_passes(void **state)
{
    (void)state;
    qd_model *model = open_small();
    const qd_generation request = { .count = 1, .length = 24, .bos = BOS, .rule = greedy };
    uint32_t *ids = generate(model, &request, 1);
    assert_int_equal(ids[0], BOS);
    for (size_t t = 1; t < request.length; t++)
        assert_int_equal(ids[t], likeliest_next(model, ids, t));
    free(ids);
    qd_model_destroy(model);
}

static void greedy_tokens_of_stories260K_are_the_reference(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char folder[4096], path[4200];
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    QD_AUTO(qd_json_fini) json_t *reference = NULL;
    qd_model *model = NULL;
    snprintf(folder, sizeof folder, "%s/models/stories260K", shared_folder());
    snprintf(path, sizeof path, "%s/reference.json", folder);
    check_ok(qd_file_read(path, 1 << 24, &text, &err));
    check_ok(qd_json_parse_object(qd_str_borrow(&text), text.length, 16, &reference, &err));
    const json_t *wanted = json_object_get(reference, "greedy_from_bos_ids");
    check_ok(qd_model_open(folder, &model, &err));
    const qd_generation request = { .count = 1, .length = json_array_size(wanted), .bos = 1, .rule = greedy };
    uint32_t *ids = generate(model, &request, 1);
    assert_int_equal(request.length, 256);
    for (size_t t = 0; t < request.length; t++)
        assert_int_equal(ids[t], json_integer_value(json_array_get(wanted, t)));
    free(ids);
    qd_model_destroy(model);
}

/* Whatever stands beside it, and however many threads there are. */
static void a_sequence_is_the_same_alone_and_among_others(void **state)
{
    (void)state;
    qd_model *model = open_small();
    qd_generation few = { .count = 3, .length = 40, .seed = 5, .bos = BOS, .rule = plain_rule }, many = few;
    many.count = 2 * QD_GENERATE_GROUP + 2;
    uint32_t *alone = generate(model, &few, 1), *one = generate(model, &many, 1), *two = generate(model, &many, 2);
    assert_memory_equal(alone, one, few.count * few.length * sizeof *alone);
    assert_memory_equal(one, two, many.count * many.length * sizeof *one);
    for (size_t i = 1; i < many.count; i++)
        assert_memory_not_equal(one, one + i * many.length, many.length * sizeof *one);
    free(alone);
    free(one);
    free(two);
    qd_model_destroy(model);
}

static void seeds_and_streams_have_nothing_in_common(void **state)
{
    (void)state;
    qd_model *model = open_small();
    qd_generation request = { .count = 4, .length = 24, .bos = BOS, .rule = plain_rule };
    uint32_t *made[3];
    made[0] = generate(model, &request, 1);
    request.stream = 1;
    made[1] = generate(model, &request, 1);
    request.stream = 0;
    request.seed = 1;
    made[2] = generate(model, &request, 1);
    for (size_t a = 0; a < 3; a++)
        for (size_t b = a + 1; b < 3; b++)
            for (size_t i = 0; i < 16; i++)
                assert_memory_not_equal(made[a] + i / 4 * request.length, made[b] + i % 4 * request.length,
                                        request.length * sizeof(uint32_t));
    for (size_t a = 0; a < 3; a++)
        free(made[a]);
    qd_model_destroy(model);
}

/* The first words lie at even quantiles of what the model predicts behind BOS: each comes as often as its share says, nearly. */
static void documents_open_as_the_model_predicts(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_model *model = open_small();
    size_t words = qd_model_borrow_config(model)->vocabulary;
    const qd_generation request = { .count = 128, .length = 2, .seed = 2, .bos = BOS, .rule = plain_rule };
    uint32_t *ids = generate(model, &request, 1), first = BOS;
    qd_matf_buf share = { 0 };
    double *count = calloc(words, sizeof *count), sum = 0;
    check_ok(qd_matf_buf_init(&share, 1, words, &err));
    forward_logits(model, &first, BY_BLOCK, share.view);
    qd_softmax_row(share.view.data, words);
    for (size_t i = 0; i < request.count; i++)
        count[ids[2 * i + 1]]++;
    double got = 0;
    for (size_t i = 0; i < words; i++) { /* the distribution function, word by word */
        sum += (double)share.view.data[i];
        got += count[i];
        check_near(got, sum * (double)request.count, 3);
    }
    free(count);
    free(ids);
    qd_matf_buf_fini(&share);
    qd_model_destroy(model);
}

static void without_bos_documents_open_with_frequent_pieces(void **state)
{
    (void)state;
    qd_model *model = open_small();
    const qd_generation request = { .count = 40, .length = 3, .bos = -1, .rule = plain_rule };
    uint32_t *ids = generate(model, &request, 1);
    size_t different = 0, frequent = qd_model_borrow_config(model)->vocabulary / 4;
    for (size_t i = 0; i < request.count; i++) {
        assert_true(ids[3 * i] < frequent);
        different += i == 0 || ids[3 * i] != ids[3 * i - 3];
    }
    assert_true(different > 30);
    free(ids);
    qd_model_destroy(model);
}

/* The small model with another config. */
static qd_model *open_edited(const char *folder, const char *key, json_t *value)
{
    qd_error err = { 0 };
    char from[4096], path[4200];
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    QD_AUTO(qd_json_fini) json_t *config = NULL;
    qd_model *model = NULL;
    copy_folder(SOURCE_PATH(from, "tests/models/novella-1m"), folder);
    snprintf(path, sizeof path, "%s/config.json", folder);
    check_ok(qd_file_read(path, 1 << 20, &text, &err));
    check_ok(qd_json_parse_object(qd_str_borrow(&text), text.length, 16, &config, &err));
    json_object_set_new(config, key, value);
    QD_AUTO(qd_free_pointer) char *printed = json_dumps(config, 0);
    check_ok(qd_file_write(path, printed, strlen(printed), &err));
    check_ok(qd_model_open(folder, &model, &err));
    return model;
}

static void behind_an_end_a_new_document_begins(void **state)
{
    (void)state;
    char folder[4096];
    qd_error err = { 0 };
    enum { COUNT = 8, LENGTH = 48 };
    qd_model *usual = open_small();
    const qd_generation request = { .count = COUNT, .length = LENGTH, .bos = BOS, .rule = plain_rule };
    uint32_t *free_running = generate(usual, &request, 1), common = free_running[20];
    temporary_folder(folder, sizeof folder);
    qd_model *model = open_edited(folder, "eos_token_id", json_pack("[i, i]", EOS, (int)common));
    uint32_t *ids = generate(model, &request, 1);
    size_t ends = 0, same = 0;
    while (free_running[same] != common) /* up to its first end nothing is different */
        same++;
    assert_memory_equal(ids, free_running, (same + 1) * sizeof *ids);
    for (size_t i = 0; i < COUNT; i++)
        for (size_t t = 0; t + 1 < LENGTH; t++)
            if (ids[i * LENGTH + t] == common || ids[i * LENGTH + t] == EOS) {
                assert_int_equal(ids[i * LENGTH + t + 1], BOS);
                ends++;
            }
    assert_true(ends > 0);
    free(ids);
    free(free_running);
    qd_model_destroy(model);
    qd_model_destroy(usual);
    check_ok(qd_dir_remove(folder, &err));
}

typedef struct steps {
    size_t calls, last;
    qd_cancel *cancel;
    size_t cancel_at;
} steps;

static void on_step(void *ctx, size_t done, size_t total, const char *unit)
{
    steps *s = ctx;
    assert_string_equal(unit, "tokens");
    assert_true(done > s->last && done <= total);
    s->last = done;
    if (++s->calls == s->cancel_at)
        qd_cancel_request(s->cancel);
}

static void progress_ends_with_every_token_and_cancel_is_heard(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_model *model = open_small();
    const qd_generation request = { .count = 20, .length = 40, .bos = BOS, .rule = plain_rule };
    uint32_t *ids = calloc(request.count * request.length, sizeof *ids);
    qd_cancel cancel = { 0 };
    steps s = { .cancel = &cancel, .cancel_at = SIZE_MAX };
    const qd_progress progress = { on_step, &s };
    check_ok(qd_generate(model, &request, NULL, &progress, &cancel, ids, &err));
    assert_int_equal(s.last, request.count * request.length);
    assert_true(s.calls > 3);
    s = (steps){ .cancel = &cancel, .cancel_at = 2 };
    check_fails(qd_generate(model, &request, NULL, &progress, &cancel, ids, &err), QD_ECANCELLED);
    assert_int_equal(s.calls, 2);
    free(ids);
    qd_model_destroy(model);
}

static void what_the_model_cannot_hold_is_refused(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_model *model = open_small();
    qd_generation request = { .count = 1, .length = 1025, .bos = BOS, .rule = plain_rule };
    check_fails(qd_generate(model, &request, NULL, NULL, NULL, NULL, &err), QD_EINVAL);
    check_contains(err.text, "max_position_embeddings of 1024");
    request.length = 4;
    request.bos = 2048;
    check_fails(qd_generate(model, &request, NULL, NULL, NULL, NULL, &err), QD_EINVAL);
    check_contains(err.text, "BOS 2048");
    qd_model_destroy(model);
}

int main(void)
{
    qd_blas_single_thread();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_tokens_are_those_of_whole_passes),
        SHARED_TEST("greedy tokens of stories260K are the reference", greedy_tokens_of_stories260K_are_the_reference,
                    NULL),
        cmocka_unit_test(a_sequence_is_the_same_alone_and_among_others),
        cmocka_unit_test(seeds_and_streams_have_nothing_in_common),
        cmocka_unit_test(documents_open_as_the_model_predicts),
        cmocka_unit_test(without_bos_documents_open_with_frequent_pieces),
        cmocka_unit_test(behind_an_end_a_new_document_begins),
        cmocka_unit_test(progress_ends_with_every_token_and_cancel_is_heard),
        cmocka_unit_test(what_the_model_cannot_hold_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
