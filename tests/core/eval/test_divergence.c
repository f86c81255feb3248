/* test_divergence.c: KL by another way: whole logits of each window alone, in long double; what must hold of it, with windows side by side and
 * with windows that overlap; and threads. */
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
    long double kl[TOKENS], of_window[COUNT], same_of_window[COUNT], loss;
    size_t scored[COUNT], tokens, same;
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

/* Which tokens of a window are scored, in words: none of the first `context`, and behind the first window only the `fresh` last. */
static bool is_scored(const qd_windows *w, size_t window, size_t t)
{
    return t >= 1 && t >= w->context && (window == 0 || w->fresh == 0 || t + w->fresh >= w->length);
}

static void make_twin(const setting *s, const qd_overlay *overlay, twin *out)
{
    qd_matf_buf x = { 0 }, y = { 0 };
    logits_of(s, NULL, &x);
    logits_of(s, overlay, &y);
    memset(out, 0, sizeof *out);
    for (size_t row = 0; row + 1 < COUNT * LENGTH; row++) {
        size_t w = row / LENGTH;
        if (row % LENGTH == EACH || !is_scored(&s->windows, w, row % LENGTH + 1))
            continue;
        const float *p = qd_matf_row(x.view, row), *q = qd_matf_row(y.view, row);
        long double lp = lse(p, s->vocabulary), lq = lse(q, s->vocabulary), kl = 0;
        for (size_t v = 0; v < s->vocabulary; v++)
            kl += expl(p[v] - lp) * ((p[v] - lp) - (q[v] - lq));
        bool same = top_of(p, s->vocabulary) == top_of(q, s->vocabulary);
        out->kl[out->tokens++] = kl;
        out->of_window[w] += kl;
        out->same_of_window[w] += same;
        out->scored[w]++;
        out->loss += lq - q[s->windows.ids[row + 1]];
        out->same += same;
    }
    qd_matf_buf_fini(&x);
    qd_matf_buf_fini(&y);
}

static int compare_kl(const void *a, const void *b)
{
    long double x = *(const long double *)a, y = *(const long double *)b;
    return (x > y) - (x < y);
}

static double error_of(const long double *sums, const twin *t)
{
    long double mean = 0, square = 0;
    for (size_t w = 0; w < COUNT; w++)
        mean += sums[w] / (long double)t->tokens;
    for (size_t w = 0; w < COUNT; w++)
        square += powl(sums[w] - mean * (long double)t->scored[w], 2);
    return (double)(sqrtl(square * COUNT / (COUNT - 1)) / (long double)t->tokens);
}

/* The smallest value that a share of the tokens does not exceed. */
static void check_percentile(const twin *t, double got, double share)
{
    size_t below = 0;
    for (size_t i = 0; i < t->tokens; i++)
        below += (double)t->kl[i] <= got * (1 + 1e-6);
    assert_true((double)below >= share * (double)t->tokens && (double)below - 1 < share * (double)t->tokens);
}

static void check_twin(const qd_divergence *got, twin *want)
{
    long double sum = 0;
    for (size_t w = 0; w < COUNT; w++)
        sum += want->of_window[w];
    qsort(want->kl, want->tokens, sizeof *want->kl, compare_kl);
    check_close(got->mean, (double)(sum / (long double)want->tokens), 1e-6);
    check_close(got->standard_error, error_of(want->of_window, want), 1e-6);
    check_close(got->max, (double)want->kl[want->tokens - 1], 1e-6);
    check_percentile(want, got->median, 0.5);
    check_percentile(want, got->percentile_99, 0.99);
    check_close(got->same_top, (double)want->same / (double)want->tokens, 1e-12);
    check_close(got->same_top_error, error_of(want->same_of_window, want), 1e-9);
    check_close(got->perplexity.mean_nll, (double)(want->loss / (long double)want->tokens), 1e-7);
    assert_int_equal(got->perplexity.predictions, want->tokens);
}

static void is_the_sum_over_all_words_of_whole_logits(void **state)
{
    static const size_t scorings[][2] = { { 0, 0 }, { 35, 0 }, { 1, 23 }, { 50, 33 } }; /* context, fresh */
    (void)state;
    qd_error err = { 0 };
    setting s;
    open_setting(&s);
    noise small = { 0.01f, 5 }, large = { 0.8f, 9 };
    const qd_overlay overlays[] = { { noisy, &small }, { noisy, &large } };
    const qd_rival source = { s.model, NULL }, rivals[] = { { s.model, &overlays[0] }, { s.model, &overlays[1] } };
    twin *want = malloc(sizeof *want);
    for (size_t k = 0; k < QD_LENGTH(scorings); k++) {
        qd_perplexity own = { 0 }, alone = { 0 };
        qd_divergence got[2] = { 0 };
        double nll[3 * COUNT], alone_nll[COUNT];
        s.windows.context = scorings[k][0];
        s.windows.fresh = scorings[k][1];
        check_ok(qd_divergence_measure(&source, rivals, 2, &s.windows, NULL, NULL, NULL, nll, &own, got, &err));
        check_ok(qd_perplexity_measure(s.model, NULL, &s.windows, NULL, NULL, NULL, alone_nll, &alone, &err));
        check_close(own.mean_nll, alone.mean_nll, 1e-7);
        check_close(own.standard_error, alone.standard_error, 1e-5);
        for (size_t w = 0; w < COUNT; w++)
            check_close(nll[w], alone_nll[w], 1e-7);
        for (size_t i = 0; i < 2; i++) {
            make_twin(&s, &overlays[i], want);
            check_twin(&got[i], want);
        }
        assert_true(got[0].mean > 1e-7 && got[0].mean < 0.1 * got[1].mean);
    }
    free(want);
    close_setting(&s);
}

/* What a text's hardness adds to all models alike is in no difference of them. */
static void a_gap_is_surer_than_the_perplexities_it_is_between(void **state)
{
    (void)state;
    qd_error err = { 0 };
    setting s;
    open_setting(&s);
    noise some = { 0.05f, 5 };
    const qd_overlay overlay = { noisy, &some };
    const qd_rival source = { s.model, NULL }, rival = { s.model, &overlay };
    qd_perplexity own = { 0 };
    qd_divergence got = { 0 };
    double nll[2 * COUNT], difference[COUNT], mean = 0, square = 0;
    check_ok(qd_divergence_measure(&source, &rival, 1, &s.windows, NULL, NULL, NULL, nll, &own, &got, &err));
    const qd_window_mean gap = qd_perplexity_gap(nll + COUNT, nll, &s.windows);
    for (size_t w = 0; w < COUNT; w++) {
        difference[w] = (nll[COUNT + w] - nll[w]) / EACH;
        mean += difference[w] / COUNT;
    }
    for (size_t w = 0; w < COUNT; w++)
        square += (difference[w] - mean) * (difference[w] - mean);
    check_close(gap.mean, got.perplexity.mean_nll - own.mean_nll, 1e-9);
    check_close(gap.standard_error, sqrt(square / (COUNT - 1) / COUNT), 1e-9);
    assert_true(gap.standard_error < 0.5 * own.standard_error);
    const qd_window_mean none = qd_perplexity_gap(nll, nll, &s.windows);
    assert_true(none.mean == 0 && none.standard_error == 0);
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
    check_ok(qd_divergence_measure(&source, &source, 1, &s.windows, NULL, NULL, NULL, NULL, &own, &got, &err));
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
    check_ok(qd_divergence_measure(&source, rivals, 1, &s.windows, NULL, NULL, NULL, NULL, &own, &first, &err));
    for (size_t threads = 1; threads <= 3; threads++) {
        qd_pool *pool = NULL;
        qd_divergence got[2] = { 0 };
        check_ok(qd_pool_create(threads, &pool, &err));
        check_ok(qd_divergence_measure(&source, rivals, 2, &s.windows, pool, NULL, NULL, NULL, &again, got, &err));
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
    check_fails(qd_divergence_measure(&source, &stranger, 1, &s.windows, NULL, NULL, NULL, NULL, &own, &got, &err),
                QD_ESHAPE);
    check_contains(err.text, "beside the source's 2048");
    noise huge = { 3e38f, 1 };
    const qd_overlay overlay = { noisy, &huge };
    const qd_rival broken = { s.model, &overlay };
    check_fails(qd_divergence_measure(&source, &broken, 1, &s.windows, NULL, NULL, NULL, NULL, &own, &got, &err),
                QD_ENUMERIC);
    check_contains(err.text, "is not finite");
    qd_cancel cancel = { 0 };
    qd_cancel_request(&cancel);
    check_fails(qd_divergence_measure(&source, &source, 1, &s.windows, NULL, NULL, &cancel, NULL, &own, &got, &err),
                QD_ECANCELLED);
    s.windows.ids[LENGTH - 1] = 2048; /* a target only */
    check_fails(qd_divergence_measure(&source, NULL, 0, &s.windows, NULL, NULL, NULL, NULL, &own, NULL, &err),
                QD_EINVAL);
    check_contains(err.text, "token id 2048");
    qd_model_destroy(other);
    close_setting(&s);
}

int main(void)
{
    qd_blas_single_thread();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_the_sum_over_all_words_of_whole_logits),
        cmocka_unit_test(a_gap_is_surer_than_the_perplexities_it_is_between),
        cmocka_unit_test(a_model_beside_itself_is_zero_exactly),
        cmocka_unit_test(threads_and_company_change_no_bit),
        cmocka_unit_test(what_cannot_be_compared_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
