/* test_divergence.c: KL by another way: whole logits of each window alone, in long double; what must hold of it; and threads. */
#include "forward.h"

#include "base/rng.h"
#include "eval/divergence.h"
#include "linalg/gemm.h"

enum { COUNT = 5, LENGTH = 70, EACH = LENGTH - 1, TOKENS = COUNT * EACH };

typedef struct setting {
    qd_model *model;
    qd_windows windows; /* random ids */
    size_t vocabulary;
} setting;

static void open_setting(setting *s)
{
    qd_error err = { 0 };
    char path[4096];
    check_ok(qd_model_open(SOURCE_PATH(path, "tests/models/novella-1m"), &s->model, &err));
    s->vocabulary = qd_model_borrow_config(s->model)->vocabulary;
    s->windows = (qd_windows){ .count = COUNT, .length = LENGTH, .ids = calloc(COUNT * LENGTH, sizeof(uint32_t)) };
    for (size_t i = 0; i < COUNT * LENGTH; i++)
        s->windows.ids[i] = (uint32_t)qd_rng_below(3, i, s->vocabulary);
}

static void close_setting(setting *s)
{
    qd_model_destroy(s->model);
    free(s->windows.ids);
}

/* The stored weights with noise of a share of themselves. */
typedef struct noise {
    float share;
    uint64_t key;
} noise;

static qd_code noisy(void *ctx, size_t index, const qd_linear *linear, qd_matf w, qd_error *err)
{
    const noise *n = ctx;
    qd_code code = qd_tensor_to_floats(linear->weight, w.data, err);
    for (size_t i = 0; code == QD_OK && i < w.rows * w.cols; i++)
        w.data[i] *= 1 + n->share * ((float)qd_rng_below(n->key + index, i, 2001) / 1000 - 1);
    return code;
}

/* What qd_divergence_measure must give, from logits of every token. */
typedef struct twin {
    long double kl[TOKENS], loss;
    size_t same;
} twin;

static long double lse(const float *row, size_t count)
{
    long double sum = 0, max = row[0];
    for (size_t v = 1; v < count; v++)
        max = row[v] > max ? row[v] : max;
    for (size_t v = 0; v < count; v++)
        sum += expl((long double)row[v] - max);
    return max + logl(sum);
}

static size_t top_of(const float *row, size_t count)
{
    size_t top = 0;
    for (size_t v = 1; v < count; v++)
        top = row[v] > row[top] ? v : top;
    return top;
}

static void logits_of(const setting *s, const qd_overlay *overlay, qd_matf_buf *out)
{
    qd_error err = { 0 };
    check_ok(qd_matf_buf_init(out, COUNT * LENGTH, s->vocabulary, &err));
    check_ok(qd_logits_compute(s->model, overlay, s->windows.ids, COUNT, LENGTH, NULL, out->view, &err));
}

static void make_twin(const setting *s, const qd_overlay *overlay, twin *out)
{
    qd_matf_buf x = { 0 }, y = { 0 };
    logits_of(s, NULL, &x);
    logits_of(s, overlay, &y);
    out->loss = 0;
    out->same = 0;
    for (size_t i = 0; i < TOKENS; i++) {
        size_t row = i / EACH * LENGTH + i % EACH;
        const float *p = qd_matf_row(x.view, row), *q = qd_matf_row(y.view, row);
        long double lp = lse(p, s->vocabulary), lq = lse(q, s->vocabulary), kl = 0;
        for (size_t v = 0; v < s->vocabulary; v++)
            kl += expl(p[v] - lp) * ((p[v] - lp) - (q[v] - lq));
        out->kl[i] = kl;
        out->loss += lq - q[s->windows.ids[row + 1]];
        out->same += top_of(p, s->vocabulary) == top_of(q, s->vocabulary);
    }
    qd_matf_buf_fini(&x);
    qd_matf_buf_fini(&y);
}

static int compare_kl(const void *a, const void *b)
{
    long double x = *(const long double *)a, y = *(const long double *)b;
    return (x > y) - (x < y);
}

static void check_twin(const qd_divergence *got, twin *want)
{
    long double mean = 0, square = 0;
    for (size_t i = 0; i < TOKENS; i++)
        mean += want->kl[i] / TOKENS;
    for (size_t w = 0; w < COUNT; w++) {
        long double own = 0;
        for (size_t t = 0; t < EACH; t++)
            own += want->kl[w * EACH + t] / EACH;
        square += (own - mean) * (own - mean);
    }
    qsort(want->kl, TOKENS, sizeof *want->kl, compare_kl);
    check_close(got->mean, (double)mean, 1e-6);
    check_close(got->standard_error, (double)sqrtl(square / (COUNT - 1) / COUNT), 1e-6);
    check_close(got->max, (double)want->kl[TOKENS - 1], 1e-6);
    size_t below = 0;
    for (size_t i = 0; i < TOKENS; i++)
        below += (double)want->kl[i] <= got->percentile_99 * (1 + 1e-6);
    assert_true((double)below >= 0.99 * TOKENS && (double)below - 1 < 0.99 * TOKENS);
    check_close(got->same_top, (double)want->same / TOKENS, 0);
    check_close(got->perplexity.mean_nll, (double)(want->loss / TOKENS), 1e-7);
}

static void is_the_sum_over_all_words_of_whole_logits(void **state)
{
    (void)state;
    qd_error err = { 0 };
    setting s;
    open_setting(&s);
    noise small = { 0.01f, 5 }, large = { 0.8f, 9 };
    const qd_overlay overlays[] = { { noisy, &small }, { noisy, &large } };
    const qd_rival source = { s.model, NULL }, rivals[] = { { s.model, &overlays[0] }, { s.model, &overlays[1] } };
    qd_perplexity own = { 0 }, alone = { 0 };
    qd_divergence got[2] = { 0 };
    twin *want = malloc(sizeof *want);
    check_ok(qd_divergence_measure(&source, rivals, 2, &s.windows, NULL, NULL, NULL, &own, got, &err));
    check_ok(qd_perplexity_measure(s.model, NULL, &s.windows, NULL, NULL, NULL, &alone, &err));
    check_close(own.mean_nll, alone.mean_nll, 1e-7);
    check_close(own.standard_error, alone.standard_error, 1e-5);
    for (size_t i = 0; i < 2; i++) {
        make_twin(&s, &overlays[i], want);
        check_twin(&got[i], want);
    }
    assert_true(got[0].mean > 1e-7 && got[0].mean < 0.1 * got[1].mean);
    free(want);
    close_setting(&s);
}

static void a_model_beside_itself_is_zero_exactly(void **state)
{
    (void)state;
    qd_error err = { 0 };
    setting s;
    open_setting(&s);
    const qd_rival source = { s.model, NULL };
    qd_perplexity own = { 0 };
    qd_divergence got = { .mean = -1, .max = -1 };
    check_ok(qd_divergence_measure(&source, &source, 1, &s.windows, NULL, NULL, NULL, &own, &got, &err));
    check_close(got.mean, 0, 0);
    check_close(got.max, 0, 0);
    check_close(got.standard_error, 0, 0);
    check_close(got.percentile_99, 0, 0);
    check_close(got.same_top, 1, 0);
    assert_memory_equal(&got.perplexity, &own, sizeof own);
    close_setting(&s);
}

static void threads_and_company_change_no_bit(void **state)
{
    (void)state;
    qd_error err = { 0 };
    setting s;
    open_setting(&s);
    noise some = { 0.1f, 5 };
    const qd_overlay overlay = { noisy, &some };
    const qd_rival source = { s.model, NULL }, rivals[] = { { s.model, &overlay }, { s.model, NULL } };
    qd_perplexity own = { 0 }, again = { 0 };
    qd_divergence first = { 0 };
    check_ok(qd_divergence_measure(&source, rivals, 1, &s.windows, NULL, NULL, NULL, &own, &first, &err));
    for (size_t threads = 1; threads <= 3; threads++) {
        qd_pool *pool = NULL;
        qd_divergence got[2] = { 0 };
        check_ok(qd_pool_create(threads, &pool, &err));
        check_ok(qd_divergence_measure(&source, rivals, 2, &s.windows, pool, NULL, NULL, &again, got, &err));
        assert_memory_equal(&again, &own, sizeof own);
        assert_memory_equal(&got[0], &first, sizeof first);
        qd_pool_destroy(pool);
    }
    close_setting(&s);
}

static void what_cannot_be_compared_is_refused(void **state)
{
    (void)state;
    qd_error err = { 0 };
    setting s;
    open_setting(&s);
    char path[4096];
    qd_model *other = NULL;
    qd_perplexity own = { 0 };
    qd_divergence got = { 0 };
    check_ok(qd_model_open(SOURCE_PATH(path, "tests/core/model/fixtures/gqa-tied-bf16"), &other, &err));
    const qd_rival source = { s.model, NULL }, stranger = { other, NULL };
    check_fails(qd_divergence_measure(&source, &stranger, 1, &s.windows, NULL, NULL, NULL, &own, &got, &err),
                QD_ESHAPE);
    check_contains(err.text, "beside the source's 2048");
    noise huge = { 3e38f, 1 };
    const qd_overlay overlay = { noisy, &huge };
    const qd_rival broken = { s.model, &overlay };
    check_fails(qd_divergence_measure(&source, &broken, 1, &s.windows, NULL, NULL, NULL, &own, &got, &err),
                QD_ENUMERIC);
    check_contains(err.text, "is not finite");
    qd_cancel cancel = { 0 };
    qd_cancel_request(&cancel);
    check_fails(qd_divergence_measure(&source, &source, 1, &s.windows, NULL, NULL, &cancel, &own, &got, &err),
                QD_ECANCELLED);
    s.windows.ids[LENGTH - 1] = 2048; /* a target only */
    check_fails(qd_divergence_measure(&source, NULL, 0, &s.windows, NULL, NULL, NULL, &own, NULL, &err), QD_EINVAL);
    check_contains(err.text, "token id 2048");
    qd_model_destroy(other);
    close_setting(&s);
}

int main(void)
{
    qd_blas_single_thread();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_the_sum_over_all_words_of_whole_logits),
        cmocka_unit_test(a_model_beside_itself_is_zero_exactly),
        cmocka_unit_test(threads_and_company_change_no_bit),
        cmocka_unit_test(what_cannot_be_compared_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
