/* test_choice.c: likelihoods of continuations by another way: logits of each request alone; what requests share; threads; and whole sets. */
#include "forward.h"

#include "base/rng.h"
#include "eval/task_set.h"
#include "linalg/gemm.h"

enum { REQUESTS = 40, LONGEST = 90 };

typedef struct setting {
    qd_model *model;
    qd_tokenizer *tokenizer;
    size_t vocabulary;
    uint32_t ids[REQUESTS][LONGEST];
    qd_continuation asked[REQUESTS];
} setting;

/* Random ids; every third request begins with the ids of the one before, every fourth is the one before with another last id. */
static void open_setting(setting *s)
{
    qd_error err = { 0 };
    char path[4096];
    check_ok(qd_model_open(SOURCE_PATH(path, "tests/models/novella-1m"), &s->model, &err));
    check_ok(qd_tokenizer_open(SOURCE_PATH(path, "tests/models/novella-1m"), &s->tokenizer, &err));
    s->vocabulary = qd_model_borrow_config(s->model)->vocabulary;
    for (size_t i = 0; i < REQUESTS; i++) {
        size_t count = 2 + qd_rng_below(1, i, LONGEST - 1), before = i == 0 ? 0 : s->asked[i - 1].count;
        if (i % 4 == 3)
            count = before;
        for (size_t k = 0; k < count; k++)
            s->ids[i][k] = (uint32_t)qd_rng_below(7 + i, k, s->vocabulary);
        if (i % 3 == 2)
            memcpy(s->ids[i], s->ids[i - 1], qd_min_size(before, count) * sizeof(uint32_t));
        if (i % 4 == 3)
            memcpy(s->ids[i], s->ids[i - 1], (count - 1) * sizeof(uint32_t));
        s->asked[i] = (qd_continuation){ s->ids[i], count, 1 + qd_rng_below(2, i, count - 1) };
    }
}

static void close_setting(setting *s)
{
    qd_tokenizer_destroy(s->tokenizer);
    qd_model_destroy(s->model);
}

static qd_code weaker(void *ctx, size_t index, const qd_linear *linear, qd_matf w, qd_error *err)
{
    qd_code code = qd_tensor_to_floats(linear->weight, w.data, err);
    (void)ctx;
    for (size_t i = 0; code == QD_OK && i < w.rows * w.cols; i++)
        w.data[i] *= 0.9f + 0.1f * (float)qd_rng_below(index, i, 2);
    return code;
}

/* One request alone, by its definition. */
static qd_likelihood twin(const setting *s, const qd_overlay *overlay, const qd_continuation *c)
{
    qd_error err = { 0 };
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf logits = { 0 };
    qd_likelihood out = { 0, true };
    check_ok(qd_matf_buf_init(&logits, c->count - 1, s->vocabulary, &err));
    check_ok(qd_logits_compute(s->model, overlay, c->ids, 1, c->count - 1, NULL, logits.view, &err));
    for (size_t t = c->count - c->asked; t < c->count; t++) {
        const float *row = qd_matf_row(logits.view, t - 1);
        out.log_p -= naive_nll(row, s->vocabulary, c->ids[t]);
        for (size_t v = 0; v < s->vocabulary; v++)
            out.greedy = out.greedy && row[v] <= row[c->ids[t]];
    }
    return out;
}

static void are_those_of_each_request_alone(void **state)
{
    (void)state;
    qd_error err = { 0 };
    setting s;
    open_setting(&s);
    const qd_overlay other = { weaker, NULL };
    const qd_rival models[] = { { s.model, NULL }, { s.model, &other } };
    qd_likelihood got[2 * REQUESTS];
    check_ok(qd_choice_measure(models, 2, s.asked, REQUESTS, NULL, NULL, NULL, got, &err));
    for (size_t i = 0; i < 2 * REQUESTS; i++) {
        qd_likelihood want = twin(&s, models[i / REQUESTS].overlay, &s.asked[i % REQUESTS]);
        check_close(got[i].log_p, want.log_p, 2e-6);
        assert_int_equal(got[i].greedy, want.greedy);
    }
    close_setting(&s);
}

/* Of a model that turns positions by the sequence's length, nothing that differs in it walks together. */
static void lengths_that_matter_are_kept_apart(void **state)
{
    (void)state;
    enum { COUNT = 12 };
    qd_error err = { 0 };
    char path[4096];
    setting s = { 0 };
    check_ok(qd_model_open(SOURCE_PATH(path, "tests/core/model/architectures/phi3-longrope-long"), &s.model, &err));
    s.vocabulary = qd_model_borrow_config(s.model)->vocabulary;
    for (size_t i = 0; i < COUNT; i++) {
        size_t count = 12 + i;
        for (size_t k = 0; k < count; k++)
            s.ids[i][k] = (uint32_t)qd_rng_below(k < 11 ? 3 : 3 + i / 2, k, s.vocabulary);
        s.asked[i] = (qd_continuation){ s.ids[i], count, count - 10 };
    }
    const qd_rival model = { s.model, NULL };
    qd_likelihood got[COUNT];
    check_ok(qd_choice_measure(&model, 1, s.asked, COUNT, NULL, NULL, NULL, got, &err));
    for (size_t i = 0; i < COUNT; i++)
        check_close(got[i].log_p, twin(&s, NULL, &s.asked[i]).log_p, 2e-6);
    qd_model_destroy(s.model);
}

/* What the model itself would say is greedy, whatever the rest. */
static void likeliest_words_are_greedy(void **state)
{
    (void)state;
    qd_error err = { 0 };
    setting s;
    open_setting(&s);
    enum { PROMPT = 5, TOTAL = 9 };
    uint32_t ids[TOTAL];
    memcpy(ids, s.ids[0], PROMPT * sizeof *ids);
    for (size_t t = PROMPT; t < TOTAL; t++) {
        QD_AUTO(qd_matf_buf_fini) qd_matf_buf logits = { 0 };
        check_ok(qd_matf_buf_init(&logits, t, s.vocabulary, &err));
        check_ok(qd_logits_compute(s.model, NULL, ids, 1, t, NULL, logits.view, &err));
        const float *row = qd_matf_row(logits.view, t - 1);
        for (size_t v = ids[t] = 0; v < s.vocabulary; v++)
            ids[t] = row[v] > row[ids[t]] ? (uint32_t)v : ids[t];
    }
    const qd_rival model = { s.model, NULL };
    qd_continuation asked[2] = { { ids, TOTAL, TOTAL - PROMPT }, { ids, TOTAL, TOTAL - 1 } };
    qd_likelihood got[2];
    check_ok(qd_choice_measure(&model, 1, asked, 2, NULL, NULL, NULL, got, &err));
    assert_true(got[0].greedy);
    assert_false(got[1].greedy); /* random ids are not what it would say */
    close_setting(&s);
}

typedef struct counted {
    size_t last, total, calls;
} counted;

static void count_step(void *ctx, size_t done, size_t total, const char *unit)
{
    counted *c = ctx;
    assert_string_equal(unit, "requests");
    assert_true(done >= c->last && done <= total);
    c->last = done;
    c->total = total;
    c->calls++;
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    qd_error err = { 0 };
    setting s;
    open_setting(&s);
    qd_likelihood one[REQUESTS], two[REQUESTS];
    qd_pool *pool = NULL;
    counted steps = { 0 };
    const qd_progress progress = { count_step, &steps };
    const qd_rival model = { s.model, NULL };
    check_ok(qd_pool_create(2, &pool, &err));
    memset(one, 0, sizeof one);
    memset(two, 0, sizeof two);
    check_ok(qd_choice_measure(&model, 1, s.asked, REQUESTS, NULL, &progress, NULL, one, &err));
    check_ok(qd_choice_measure(&model, 1, s.asked, REQUESTS, pool, NULL, NULL, two, &err));
    for (size_t i = 0; i < REQUESTS; i++) {
        assert_memory_equal(&one[i].log_p, &two[i].log_p, sizeof one[i].log_p);
        assert_int_equal(one[i].greedy, two[i].greedy);
    }
    assert_int_equal(steps.last, REQUESTS);
    assert_int_equal(steps.total, REQUESTS);
    assert_true(steps.calls > 1);
    qd_pool_destroy(pool);
    close_setting(&s);
}

static void what_cannot_be_asked_is_refused(void **state)
{
    (void)state;
    qd_error err = { 0 };
    setting s;
    open_setting(&s);
    qd_likelihood got;
    qd_cancel cancel = { 0 };
    const qd_rival model = { s.model, NULL };
    uint32_t beyond[] = { 1, (uint32_t)s.vocabulary };
    const qd_continuation bad[] = { { s.ids[0], 1, 1 }, { s.ids[0], 3, 0 }, { s.ids[0], 3, 3 }, { beyond, 2, 1 } };
    for (size_t i = 0; i < QD_LENGTH(bad); i++)
        check_fails(qd_choice_measure(&model, 1, &bad[i], 1, NULL, NULL, NULL, &got, &err), QD_EINVAL);
    qd_cancel_request(&cancel);
    check_fails(qd_choice_measure(&model, 1, s.asked, 1, NULL, NULL, &cancel, &got, &err), QD_ECANCELLED);
    close_setting(&s);
}

static void check_encoded(const qd_task_terms *terms, const char *context, const char *continuation)
{
    qd_error err = { 0 };
    qd_pair pair = { (char *)(uintptr_t)context, (char *)(uintptr_t)continuation, 0 };
    QD_AUTO(qd_ids_fini) qd_ids ids = { 0 }, whole = { 0 }, alone = { 0 };
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    size_t asked = 0, kept = strlen(context);
    while (kept > 0 && strchr(" \n\t", context[kept - 1]) != NULL)
        kept--;
    qd_str_addf(&text, "%s%s", context, continuation);
    check_ok(qd_pair_encode(&pair, terms, &ids, &asked, &err));
    check_ok(qd_tokenizer_encode(terms->tokenizer, text.data, text.length, QD_SPECIAL_ADD, &whole, &err));
    check_ok(qd_tokenizer_encode(terms->tokenizer, context, kept, QD_SPECIAL_ADD, &alone, &err));
    assert_int_equal(ids.count, whole.count);
    assert_memory_equal(ids.data, whole.data, ids.count * sizeof *ids.data);
    assert_int_equal(asked, whole.count - alone.count);
}

static void blanks_belong_to_what_follows(void **state)
{
    (void)state;
    qd_error err = { 0 };
    setting s;
    open_setting(&s);
    qd_task_terms terms = { .tokenizer = s.tokenizer, .bos = 0, .most = 512 };
    check_encoded(&terms, "Question: who?\nAnswer:", " the cook");
    check_encoded(&terms, "The man  ", " walked");
    check_encoded(&terms, "The man\n", "walked");
    qd_pair bare = { (char *)(uintptr_t) " ", (char *)(uintptr_t) "man", 0 };
    QD_AUTO(qd_ids_fini) qd_ids ids = { 0 }, alone = { 0 };
    size_t asked = 0;
    check_ok(qd_pair_encode(&bare, &terms, &ids, &asked, &err));
    check_ok(qd_tokenizer_encode(s.tokenizer, " man", 4, QD_SPECIAL_NONE, &alone, &err));
    assert_int_equal(ids.data[0], 0);
    assert_int_equal(asked, alone.count);
    assert_memory_equal(ids.data + 1, alone.data, asked * sizeof *ids.data);
    terms.bos = -1;
    check_fails(qd_pair_encode(&bare, &terms, &ids, &asked, &err), QD_EFORMAT);
    close_setting(&s);
}

/* Every file of tests/tasks: numbers of its examples, from likelihoods of each pair alone. */
static void sets_are_judged_by_their_examples(void **state)
{
    (void)state;
    qd_error err = { 0 };
    setting s;
    open_setting(&s);
    const qd_task_terms terms = { .tokenizer = s.tokenizer, .bos = 0, .most = 512 };
    const qd_rival model = { s.model, NULL };
    for (size_t i = 0; qd_eval_task_at(i) != NULL; i++) {
        char path[4096];
        QD_AUTO(qd_task_set_fini) qd_task_set set = { 0 };
        qd_likelihood got[64];
        double acc[16];
        snprintf(path, sizeof path, "%s/tests/tasks/%s.jsonl", source_folder(), qd_eval_task_at(i)->name);
        check_ok(qd_task_set_read(qd_eval_task_at(i), path, &terms, &set, &err));
        const qd_task_sets sets = { &set, 1 };
        check_ok(qd_task_sets_measure(&sets, &model, 1, NULL, NULL, NULL, got, &err));
        qd_task_set_judge(&set, qd_metric_find("acc"), got, acc);
        for (size_t e = 0; e < set.count; e++) {
            qd_likelihood best = { -INFINITY, false };
            size_t chosen = 0;
            for (size_t k = 0; k < set.examples[e].count; k++) {
                qd_likelihood own = twin(&s, NULL, &set.requests[set.examples[e].first + k]);
                chosen = own.log_p > best.log_p ? k : chosen;
                best = own.log_p > best.log_p ? own : best;
            }
            bool right = set.examples[e].count == 1 ? best.greedy : chosen == set.examples[e].gold;
            check_close(acc[e], right, 0);
        }
    }
    close_setting(&s);
}

static void long_contexts_lose_their_beginning(void **state)
{
    (void)state;
    qd_error err = { 0 };
    setting s;
    open_setting(&s);
    char path[4096];
    QD_AUTO(qd_task_set_fini) qd_task_set whole = { 0 };
    QD_AUTO(qd_task_set_fini) qd_task_set cut = { 0 };
    const qd_eval_task *task = qd_eval_task_find("boolq");
    qd_task_terms terms = { .tokenizer = s.tokenizer, .bos = 0, .most = 512 };
    check_ok(qd_task_set_read(task, SOURCE_PATH(path, "tests/tasks/boolq.jsonl"), &terms, &whole, &err));
    terms.most = 12;
    terms.first = 2;
    check_ok(qd_task_set_read(task, path, &terms, &cut, &err));
    assert_int_equal(whole.truncated, 0);
    assert_int_equal(cut.count, 2);
    size_t shortened = 0;
    for (size_t i = 0; i < cut.request_count; i++) {
        size_t lost = whole.requests[i].count - cut.requests[i].count;
        shortened += lost > 0;
        assert_true(cut.requests[i].count <= 13);
        assert_int_equal(cut.requests[i].asked, whole.requests[i].asked);
        assert_memory_equal(cut.requests[i].ids, whole.requests[i].ids + lost,
                            cut.requests[i].count * sizeof(uint32_t));
    }
    assert_true(shortened > 0);
    assert_int_equal(cut.truncated, shortened);
    assert_string_equal(cut.digest, whole.digest);
    close_setting(&s);
}

static void check_refused(const qd_task_terms *terms, const char *text, const char *said)
{
    char folder[200], path[300];
    qd_error err = { 0 };
    qd_task_set set = { 0 };
    temporary_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/x.jsonl", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_true(qd_task_set_read(qd_eval_task_find("boolq"), path, terms, &set, &err) != QD_OK);
    check_contains(err.text, said);
    remove_folder(folder);
}

#define GOOD "{\"passage\":\"p\",\"question\":\"q\",\"label\":1}\n"

static void lines_that_do_not_fit_are_named(void **state)
{
    (void)state;
    setting s;
    open_setting(&s);
    const qd_task_terms terms = { .tokenizer = s.tokenizer, .bos = 0, .most = 512 };
    check_refused(&terms, "", "not one example");
    check_refused(&terms, "\n \r\n", "not one example");
    check_refused(&terms, GOOD "\n{\"passage\":1}\n", "task 'boolq': line 3: field 'passage': a string is wanted");
    check_refused(&terms, GOOD "nonsense", "line 2: ");
    check_refused(&terms, GOOD "{\"passage\":\"p\",\"question\":\"q\",\"label\":2}",
                  "line 2: field 'label': 2 is not in 0..1");
    close_setting(&s);
}

int main(void)
{
    qd_blas_single_thread();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(are_those_of_each_request_alone),   cmocka_unit_test(lengths_that_matter_are_kept_apart),
        cmocka_unit_test(likeliest_words_are_greedy),        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(what_cannot_be_asked_is_refused),   cmocka_unit_test(blanks_belong_to_what_follows),
        cmocka_unit_test(sets_are_judged_by_their_examples), cmocka_unit_test(long_contexts_lose_their_beginning),
        cmocka_unit_test(lines_that_do_not_fit_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
