/* test_perplexity.c: the same number by several ways, by any number of threads, and the published ones. */
#include "forward.h"

#include "base/clock.h"
#include "base/rng.h"
#include "eval/perplexity.h"
#include "linalg/gemm.h"
#include "text/tokenizer.h"

enum { COUNT = 7, LENGTH = 70 }; /* beyond the 64 rows that attention takes at a time */

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
        s->windows.ids[i] = i % LENGTH == 0 ? 0 : (uint32_t)qd_rng_below(3, i, s->vocabulary);
}

static void close_setting(setting *s)
{
    qd_model_destroy(s->model);
    free(s->windows.ids);
}

static qd_code measure(const setting *s, const qd_overlay *overlay, qd_pool *pool, const qd_cancel *cancel,
                       qd_perplexity *out, qd_error *err)
{
    return qd_perplexity_measure(s->model, overlay, &s->windows, pool, NULL, cancel, NULL, out, err);
}

static void is_exp_of_the_mean_loss_of_the_logits(void **state)
{
    (void)state;
    qd_error err = { 0 };
    setting s;
    open_setting(&s);
    qd_matf_buf logits = { 0 }, alone = { 0 };
    qd_perplexity got = { 0 };
    check_ok(qd_matf_buf_init(&logits, COUNT * LENGTH, s.vocabulary, &err));
    check_ok(qd_matf_buf_init(&alone, LENGTH, s.vocabulary, &err));
    check_ok(qd_logits_compute(s.model, NULL, s.windows.ids, COUNT, LENGTH, NULL, logits.view, &err));
    check_ok(measure(&s, NULL, NULL, NULL, &got, &err));
    double mean = 0, square = 0, loss[COUNT] = { 0 };
    for (size_t w = 0; w < COUNT; w++) {
        const uint32_t *ids = s.windows.ids + w * LENGTH;
        forward_logits(s.model, ids, BY_GROUP, alone.view); /* a window alone, by the walk of the quantizer */
        for (size_t t = 0; t < LENGTH; t++) {
            const float *row = qd_matf_row(logits.view, w * LENGTH + t);
            assert_memory_equal(row, qd_matf_row(alone.view, t), s.vocabulary * sizeof(float));
            loss[w] += t + 1 < LENGTH ? naive_nll(row, s.vocabulary, ids[t + 1]) / (LENGTH - 1) : 0;
        }
        mean += loss[w] / COUNT;
    }
    for (size_t w = 0; w < COUNT; w++)
        square += (loss[w] - mean) * (loss[w] - mean);
    check_close(got.mean_nll, mean, 1e-7);
    check_close(got.perplexity, exp(mean), 1e-6);
    check_close(got.standard_error, sqrt(square / (COUNT - 1) / COUNT), 1e-5);
    assert_int_equal(got.windows, COUNT);
    assert_int_equal(got.predictions, COUNT * (LENGTH - 1));
    qd_matf_buf_fini(&logits);
    qd_matf_buf_fini(&alone);
    close_setting(&s);
}

/* A text in windows that overlap: each window whole and alone, sums of the tokens that no window before has scored. */
static void windows_that_overlap_score_each_token_once(void **state)
{
    enum { TEXT = 300, WINDOW = 64, STRIDE = 24, CONTEXT = 10 };
    (void)state;
    qd_error err = { 0 };
    setting s;
    open_setting(&s);
    uint32_t text[TEXT];
    for (size_t i = 0; i < TEXT; i++)
        text[i] = (uint32_t)qd_rng_below(11, i, s.vocabulary);
    const qd_ids ids = { .data = text, .count = TEXT };
    const qd_window_cut cut = {
        .length = WINDOW, .stride = STRIDE, .context = CONTEXT, .policy = QD_BOS_NONE, .bos = -1
    };
    qd_windows windows = { 0 };
    qd_perplexity got = { 0 };
    qd_matf_buf logits = { 0 };
    check_ok(qd_matf_buf_init(&logits, WINDOW, s.vocabulary, &err));
    check_ok(qd_windows_cut(&ids, &cut, &windows, &err));
    check_ok(qd_perplexity_measure(s.model, NULL, &windows, NULL, NULL, NULL, NULL, &got, &err));
    double loss[16] = { 0 }, counts[16] = { 0 }, sum = 0, square = 0;
    size_t done = CONTEXT, all = 0, count = 0; /* tokens of the text before `done` are scored, or context for ever */
    for (size_t start = 0; start + WINDOW <= TEXT; start += STRIDE, count++) {
        forward_logits(s.model, text + start, BY_GROUP, logits.view);
        for (; done < start + WINDOW; done++, all++) {
            loss[count] += naive_nll(qd_matf_row(logits.view, done - 1 - start), s.vocabulary, text[done]);
            counts[count]++;
        }
        sum += loss[count];
    }
    for (size_t w = 0; w < count; w++)
        square += pow(loss[w] - sum / (double)all * counts[w], 2);
    assert_int_equal(got.windows, count);
    assert_int_equal(got.predictions, all);
    check_close(got.mean_nll, sum / (double)all, 1e-7);
    check_close(got.standard_error, sqrt(square * (double)count / (double)(count - 1)) / (double)all, 1e-5);
    qd_matf_buf_fini(&logits);
    qd_windows_fini(&windows);
    close_setting(&s);
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    qd_error err = { 0 };
    setting s;
    open_setting(&s);
    qd_perplexity one = { 0 };
    qd_matf_buf first = { 0 }, other = { 0 };
    check_ok(qd_matf_buf_init(&first, COUNT * LENGTH, s.vocabulary, &err));
    check_ok(qd_matf_buf_init(&other, COUNT * LENGTH, s.vocabulary, &err));
    check_ok(measure(&s, NULL, NULL, NULL, &one, &err));
    check_ok(qd_logits_compute(s.model, NULL, s.windows.ids, COUNT, LENGTH, NULL, first.view, &err));
    for (size_t threads = 1; threads <= 3; threads++) {
        qd_pool *pool = NULL;
        qd_perplexity many = { 0 };
        check_ok(qd_pool_create(threads, &pool, &err));
        check_ok(measure(&s, NULL, pool, NULL, &many, &err));
        assert_memory_equal(&one, &many, sizeof one);
        check_ok(qd_logits_compute(s.model, NULL, s.windows.ids, COUNT, LENGTH, pool, other.view, &err));
        assert_memory_equal(first.view.data, other.view.data, COUNT * LENGTH * s.vocabulary * sizeof(float));
        qd_pool_destroy(pool);
    }
    qd_matf_buf_fini(&first);
    qd_matf_buf_fini(&other);
    close_setting(&s);
}

typedef struct changed {
    size_t at; /* linear */
    float factor;
    qd_cancel *cancel; /* requested when the linear is asked for */
    qd_code code;
} changed;

static qd_code stored_but_one(void *ctx, size_t index, const qd_linear *linear, qd_matf w, qd_error *err)
{
    const changed *c = ctx;
    qd_code code = qd_tensor_to_floats(linear->weight, w.data, err);
    if (code != QD_OK || index != c->at)
        return code;
    for (size_t i = 0; i < w.rows * w.cols; i++)
        w.data[i] *= c->factor;
    if (c->cancel != NULL)
        qd_cancel_request(c->cancel);
    return c->code == QD_OK ? QD_OK : qd_fail(err, c->code, "no weight for '%s'", linear->name);
}

static void an_overlay_is_what_is_measured(void **state)
{
    (void)state;
    qd_error err = { 0 };
    setting s;
    open_setting(&s);
    qd_perplexity stored = { 0 }, same = { 0 }, other = { 0 };
    changed none = { SIZE_MAX, 1, NULL, QD_OK }, halved = { 20, 0.5f, NULL, QD_OK };
    const qd_overlay same_weights = { stored_but_one, &none }, other_weights = { stored_but_one, &halved };
    check_ok(measure(&s, NULL, NULL, NULL, &stored, &err));
    check_ok(measure(&s, &same_weights, NULL, NULL, &same, &err));
    check_ok(measure(&s, &other_weights, NULL, NULL, &other, &err));
    assert_memory_equal(&stored, &same, sizeof stored);
    assert_true(fabs(other.mean_nll - stored.mean_nll) > 1e-4);
    changed failing = { 30, 1, NULL, QD_EIO };
    const qd_overlay failing_weights = { stored_but_one, &failing };
    check_fails(measure(&s, &failing_weights, NULL, NULL, &other, &err), QD_EIO);
    check_contains(err.text, "no weight for 'model.layers.4.self_attn.v_proj'");
    close_setting(&s);
}

static void cancelling_stops_before_and_within(void **state)
{
    (void)state;
    qd_error err = { 0 };
    setting s;
    open_setting(&s);
    qd_pool *pool = NULL;
    check_ok(qd_pool_create(2, &pool, &err));
    qd_perplexity out = { .perplexity = -1 };
    for (size_t at = 0; at < 42; at += 41) { /* asked for during the first block's load, and the last one's */
        qd_cancel cancel = { 0 };
        changed c = { at, 1, &cancel, QD_OK };
        const qd_overlay overlay = { stored_but_one, &c };
        check_fails(measure(&s, &overlay, pool, &cancel, &out, &err), QD_ECANCELLED);
    }
    qd_cancel cancel = { 0 };
    check_ok(measure(&s, NULL, pool, &cancel, &out, &err));
    qd_cancel_request(&cancel);
    out.perplexity = -1;
    check_fails(measure(&s, NULL, pool, &cancel, &out, &err), QD_ECANCELLED);
    assert_true(out.perplexity == -1);
    qd_pool_destroy(pool);
    close_setting(&s);
}

static void a_loss_that_is_not_finite_is_an_error(void **state)
{
    (void)state;
    qd_error err = { 0 };
    setting s;
    open_setting(&s);
    qd_perplexity out = { 0 };
    changed huge = { 6, 3e38f, NULL, QD_OK };
    const qd_overlay overlay = { stored_but_one, &huge };
    check_fails(measure(&s, &overlay, NULL, NULL, &out, &err), QD_ENUMERIC);
    check_contains(err.text, "the loss of window 0 of 7 is not finite");
    close_setting(&s);
}

static void windows_that_cannot_be_measured_are_refused(void **state)
{
    (void)state;
    qd_error err = { 0 };
    setting s;
    open_setting(&s);
    qd_perplexity out = { 0 };
    float row[1];
    s.windows.count = 0;
    check_fails(measure(&s, NULL, NULL, NULL, &out, &err), QD_EINVAL);
    s.windows = (qd_windows){ .ids = s.windows.ids, .count = 1, .length = 1 };
    check_fails(measure(&s, NULL, NULL, NULL, &out, &err), QD_EINVAL);
    check_contains(err.text, "at least 1 of 2");
    s.windows.length = 1025;
    check_fails(measure(&s, NULL, NULL, NULL, &out, &err), QD_EINVAL);
    check_contains(err.text, "max_position_embeddings of 1024");
    check_fails(qd_logits_compute(s.model, NULL, s.windows.ids, 1, 0, NULL, qd_matf_view(row, 0, 1), &err), QD_EINVAL);
    s.windows.length = 4;
    s.windows.ids[3] = 2048; /* as a target only, then as an input */
    check_fails(measure(&s, NULL, NULL, NULL, &out, &err), QD_EINVAL);
    check_contains(err.text, "token id 2048");
    close_setting(&s);
}

typedef struct seen {
    size_t calls, done, total;
} seen;

static void note(void *ctx, size_t done, size_t total, const char *unit)
{
    seen *s = ctx;
    assert_string_equal(unit, "windows");
    assert_true(done > s->done && done <= total);
    *s = (seen){ s->calls + 1, done, total };
}

static void progress_ends_at_the_number_of_windows(void **state)
{
    (void)state;
    qd_error err = { 0 };
    setting s;
    open_setting(&s);
    seen counted = { 0 };
    const qd_progress progress = { note, &counted };
    qd_perplexity out = { 0 };
    check_ok(qd_perplexity_measure(s.model, NULL, &s.windows, NULL, &progress, NULL, NULL, &out, &err));
    assert_int_equal(counted.done, COUNT);
    assert_int_equal(counted.total, COUNT);
    close_setting(&s);
}

/* Perplexity of a text by the protocol of the reference numbers: lines, one BOS, windows of 512, BOS in each. */
static void measure_text(const char *model_path, const char *text, qd_split split, size_t most, qd_perplexity *out)
{
    qd_error err = { 0 };
    qd_model *model = NULL;
    qd_tokenizer *tokenizer = NULL;
    QD_AUTO(qd_corpus_fini) qd_corpus corpus = { 0 };
    qd_windows windows = { 0 };
    qd_pool *pool = NULL;
    check_ok(qd_model_open(model_path, &model, &err));
    check_ok(qd_tokenizer_open(model_path, &tokenizer, &err));
    check_ok(qd_corpus_read(tokenizer, text, &(qd_corpus_way){ .split = split, .limit = 64 << 20 }, &corpus, &err));
    const qd_window_cut cut = { .length = 512, .max_windows = most, .bos = qd_model_borrow_config(model)->bos };
    check_ok(qd_windows_cut(&corpus.ids, &cut, &windows, &err));
    check_ok(qd_pool_create(2, &pool, &err));
    double start = qd_clock_seconds();
    check_ok(qd_perplexity_measure(model, NULL, &windows, pool, NULL, NULL, NULL, out, &err));
    double seconds = qd_clock_seconds() - start;
    print_message("# %s: %zu windows, perplexity %.5f (se of the loss %.5f), %.1f s, %.0f tokens/s\n", model_path,
                  out->windows, out->perplexity, out->standard_error, seconds, (double)windows.count * 512 / seconds);
    qd_pool_destroy(pool);
    qd_windows_fini(&windows);
    qd_tokenizer_destroy(tokenizer);
    qd_model_destroy(model);
}

/* The text was sampled from a sibling of the model: it finds it easier than a book, much easier than noise. */
static void a_text_is_easier_than_noise(void **state)
{
    (void)state;
    char model[4096], text[4096];
    qd_perplexity got = { 0 };
    measure_text(SOURCE_PATH(model, "tests/models/novella-1m"), SOURCE_PATH(text, "tests/texts/novella-heldout.txt"),
                 QD_SPLIT_LINES, 4, &got);
    assert_true(got.perplexity > 5 && got.perplexity < 60);
}

typedef struct published {
    const char *model;
    size_t windows; /* 0 = all */
    double perplexity, tolerance;
    size_t all;
} published;

static void perplexity_is_the_published_one(void **state)
{
    const published *p = *state;
    char model[4096], text[4096];
    qd_perplexity got = { 0 };
    snprintf(model, sizeof model, "%s/models/%s", shared_folder(), p->model);
    snprintf(text, sizeof text, "%s/data/text/middlemarch.txt", shared_folder());
    measure_text(model, text, QD_SPLIT_LINES, p->windows, &got);
    check_close(got.perplexity, p->perplexity, p->tolerance);
    if (p->windows == 0)
        assert_int_equal(got.windows, p->all);
}

int main(void)
{
    qd_blas_single_thread();
    static published all_1m = { "novella-1m", 0, 34.0185, 1e-4, 1084 },
                     all_15m = { "novella-15m", 0, 61.5683, 1e-3, 888 },
                     first_15m = { "novella-15m", 100, 63.484, 1e-4, 0 };
    bool hurried = shared_folder() == NULL || getenv("QUANTD_LONG_TESTS") == NULL;
#define PUBLISHED(claim, p) SHARED_TEST(claim, perplexity_is_the_published_one, &(p))
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_exp_of_the_mean_loss_of_the_logits),
        cmocka_unit_test(windows_that_overlap_score_each_token_once),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(an_overlay_is_what_is_measured),
        cmocka_unit_test(cancelling_stops_before_and_within),
        cmocka_unit_test(a_loss_that_is_not_finite_is_an_error),
        cmocka_unit_test(windows_that_cannot_be_measured_are_refused),
        cmocka_unit_test(progress_ends_at_the_number_of_windows),
        cmocka_unit_test(a_text_is_easier_than_noise),
        PUBLISHED("novella-1m, all windows: 34.0185", all_1m),
        PUBLISHED("novella-15m, 100 windows: 63.484", first_15m),
        { hurried ? "novella-15m, all windows: 61.5683 # SKIP minutes long; QUANTD_LONG_TESTS and QUANTD_SHARED run it"
                  : "novella-15m, all windows: 61.5683",
          hurried ? shared_is_absent : perplexity_is_the_published_one, NULL, NULL, &all_15m },
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
