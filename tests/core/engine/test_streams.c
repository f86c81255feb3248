/* test_streams.c: what the calibration streams add up, against the rows they hold: with and without the first position of every sequence, and
 * the error of the residual stream. */
#include "config.h"

#include "job.h"

#include "base/mem.h"
#include "engine/kept.h"
#include "engine/streams.h"
#include "linalg/half.h"

enum { COUNT = 11, LENGTH = 12, MOST = 1024 };

typedef struct walk {
    char folder[200];
    uint32_t ids[COUNT * LENGTH];
    qd_model *model;
    qd_pool *pool;
    qd_block *block, *other; /* the second with other weights, as if rounded */
    qd_streams streams;
} walk;

static void walk_over(walk *w, const qd_windows *windows, qd_streams_way way, size_t threads)
{
    char path[4096];
    qd_error err = { 0 };
    check_ok(qd_pool_create(threads, &w->pool, &err));
    check_ok(qd_model_open(SOURCE_PATH(path, "tests/models/novella-1m"), &w->model, &err));
    check_ok(qd_streams_init(w->model, windows, make_folder(w->folder, sizeof w->folder), w->pool, NULL, way,
                             &w->streams, &err));
    check_ok(qd_block_load(w->model, 0, NULL, way.arithmetic, &w->block, &err));
    check_ok(qd_block_load(w->model, 0, NULL, way.arithmetic, &w->other, &err));
    for (size_t k = 0; k < qd_model_block_size(w->model, 0); k++) {
        const qd_linear *linear = qd_model_linear_at(w->model, k);
        QD_AUTO(qd_matf_buf_fini) qd_matf_buf m = { 0 };
        check_ok(qd_matf_buf_init(&m, linear->out, linear->in, &err));
        check_ok(qd_linear_read(w->model, k, NULL, m.view, &err));
        for (size_t i = 0; i < m.view.rows; i++)
            for (size_t j = 0; j < m.view.cols; j++)
                qd_matf_row(m.view, i)[j] *= 1.0f + 0.1f * (float)((i + j + k) % 3);
        check_ok(qd_block_set_weight(w->other, k, qd_matf_const(m.view), &err));
    }
    check_ok(qd_streams_enter(&w->streams, w->block, w->other, &err));
}

static void walk_init(walk *w, qd_streams_way way, size_t threads)
{
    *w = (walk){ 0 };
    for (uint32_t i = 0; i < COUNT * LENGTH; i++)
        w->ids[i] = 10 + i * 7 % 300;
    walk_over(w, &(qd_windows){ .ids = w->ids, .count = COUNT, .length = LENGTH }, way, threads);
}

static void walk_fini(walk *w)
{
    qd_streams_fini(&w->streams);
    qd_block_destroy(w->block);
    qd_block_destroy(w->other);
    qd_model_destroy(w->model);
    qd_pool_destroy(w->pool);
    remove_folder(w->folder);
}

static double input_at(const walk *w, qd_stream stream, size_t row, size_t column)
{
    float values[MOST];
    size_t width = w->streams.input[stream].width;
    assert_true(width <= MOST);
    qd_streams_input(&w->streams, stream, row / LENGTH, row % LENGTH, qd_matf_view(values, 1, width));
    return (double)values[column];
}

/* A difference of the streams as products see it. */
static double seen(const walk *w, double x, double y)
{
    double difference = x - y;
    return w->streams.way.arithmetic == QD_ARITHMETIC_FLOAT32
               ? difference
               : (double)qd_bf16_to_float(qd_float_to_bf16((float)difference));
}

static double error_at(const walk *w, size_t row, size_t column)
{
    return seen(w, (double)qd_matf_row(w->streams.residual[QD_STREAM_FLOAT], row)[column],
                (double)qd_matf_row(w->streams.residual[QD_STREAM_QUANTIZED], row)[column]);
}

/* Diagonal sums of the kept input, by hand; sequences for which `takes` holds, tokens from `first` on. */
static double square_of(const walk *w, size_t column, size_t first, bool (*takes)(size_t))
{
    double sum = 0.0;
    for (size_t s = 0; s < COUNT; s++)
        for (size_t t = first; takes(s) && t < LENGTH; t++)
            sum += pow(input_at(w, QD_STREAM_QUANTIZED, s * LENGTH + t, column), 2);
    return sum;
}

static bool is_held(size_t sequence)
{
    return sequence == 4 || sequence == 9;
}

static bool is_fit(size_t sequence)
{
    return !is_held(sequence);
}

/* Inputs that are kept and inputs that are made again alike. */
static void sums_are_of_the_rows_that_count(void **state)
{
    (void)state;
    for (size_t first = 0; first < 2; first++) {
        qd_error err = { 0 };
        walk w;
        walk_init(&w, (qd_streams_way){ .first = first == 0 ? QD_FIRST_COUNTED : QD_FIRST_LEFT_OUT }, 2);
        for (size_t group = 0; group < qd_block_groups(w.block); group++) {
            qd_gram fit = { 0 }, held = { 0 }, all = { 0 };
            size_t n = qd_block_group_width(w.block, group);
            check_ok(qd_gram_init(&fit, n, &err));
            check_ok(qd_gram_init(&held, n, &err));
            check_ok(qd_gram_init(&all, n, &err));
            check_ok(qd_streams_gram(&w.streams, QD_STREAM_QUANTIZED, group, QD_TOKENS_ROUTED, &fit, &held, &err));
            check_ok(qd_streams_gram(&w.streams, QD_STREAM_QUANTIZED, group, QD_TOKENS_ROUTED, &all, NULL, &err));
            assert_int_equal(fit.tokens, 9 * (LENGTH - first));
            assert_int_equal(held.tokens, 2 * (LENGTH - first));
            assert_int_equal(all.tokens, COUNT * (LENGTH - first));
            for (size_t j = 0; j < n; j++) {
                double whole = qd_matd_row(all.sum.view, j)[j];
                check_close(qd_matd_row(fit.sum.view, j)[j] + qd_matd_row(held.sum.view, j)[j], whole, 1e-5);
                if (group != w.streams.stored)
                    continue;
                check_close(qd_matd_row(held.sum.view, j)[j], square_of(&w, j, first, is_held), 1e-5);
                check_close(qd_matd_row(fit.sum.view, j)[j], square_of(&w, j, first, is_fit), 1e-5);
            }
            check_ok(qd_streams_advance(&w.streams, group, &err));
            qd_gram_fini(&fit);
            qd_gram_fini(&held);
            qd_gram_fini(&all);
        }
        walk_fini(&w);
    }
}

static size_t outputs_of(const walk *w, size_t group)
{
    return qd_block_group_writes_residual(w->block, group) ? qd_model_borrow_config(w->model)->hidden : 0;
}

/* Means of E X~, E D and E squared over the rows that count. */
static void check_residual(const walk *w, const qd_mismatch *m, size_t group, size_t first)
{
    double used = COUNT * (double)(LENGTH - first);
    size_t width = group == w->streams.stored ? qd_block_group_width(w->block, group) : 0;
    for (size_t i = 0; i < m->residual.outputs; i += 5) {
        double c = 0.0;
        for (size_t row = 0; row < COUNT * LENGTH; row++)
            c += row % LENGTH < first ? 0.0 : error_at(w, row, i) * error_at(w, row, i) / used;
        check_close(m->residual.square[i], c, 1e-5);
        for (size_t j = 0; j < width; j += 7) {
            double a = 0.0, b = 0.0;
            for (size_t row = 0; row < COUNT * LENGTH; row++) {
                if (row % LENGTH < first)
                    continue;
                double x = input_at(w, QD_STREAM_QUANTIZED, row, j),
                       d = seen(w, input_at(w, QD_STREAM_FLOAT, row, j), x);
                a += error_at(w, row, i) * x / used;
                b += error_at(w, row, i) * d / used;
            }
            check_near(qd_matd_row(m->residual.input.view, i)[j], a, 1e-6 + 1e-5 * sqrt(c));
            check_near(qd_matd_row(m->residual.difference.sum.view, i)[j], b, 1e-6 + 1e-5 * sqrt(c));
        }
    }
}

/* The first block's o finds a stream without error, its down finds what o did; in the second block o does as well. */
static void the_residual_is_what_the_streams_differ_by_before_the_addition(void **state)
{
    (void)state;
    for (size_t run = 0; run < 4; run++) {
        qd_error err = { 0 };
        walk w;
        size_t writers = 0, first = run % 2;
        walk_init(&w,
                  (qd_streams_way){ .first = first == 0 ? QD_FIRST_COUNTED : QD_FIRST_LEFT_OUT,
                                    .arithmetic = run < 2 ? QD_ARITHMETIC_FLOAT32 : QD_ARITHMETIC_BFLOAT16 },
                  2);
        for (size_t pass = 0; pass < 2; pass++) {
            for (size_t group = 0; group < qd_block_groups(w.block); group++) {
                qd_mismatch m;
                size_t outputs = outputs_of(&w, group);
                check_ok(qd_mismatch_init(&m, qd_block_group_width(w.block, group), outputs, &err));
                check_ok(qd_streams_mismatch(&w.streams, group, QD_TOKENS_ROUTED, &m, &err));
                check_ok(qd_mismatch_finish(&m, &err));
                assert_int_equal(m.tokens, COUNT * (LENGTH - first));
                check_residual(&w, &m, group, first);
                if (outputs > 0)
                    assert_true((m.residual.square[0] > 0) == (writers++ > 0));
                qd_mismatch_fini(&m);
                check_ok(qd_streams_advance(&w.streams, group, &err));
            }
            check_ok(qd_streams_enter(&w.streams, w.block, w.other, &err));
        }
        assert_int_equal(writers, 4);
        walk_fini(&w);
    }
}

static void in_scope_block_the_streams_begin_alike(void **state)
{
    (void)state;
    qd_error err = { 0 };
    walk w;
    walk_init(&w, (qd_streams_way){ .scope = QD_SCOPE_BLOCK, .first = QD_FIRST_LEFT_OUT }, 1);
    for (size_t group = 0; group < qd_block_groups(w.block); group++)
        check_ok(qd_streams_advance(&w.streams, group, &err));
    assert_true(error_at(&w, 5, 0) != 0.0);
    check_ok(qd_streams_enter(&w.streams, w.block, w.other, &err));
    for (size_t row = 0; row < COUNT * LENGTH; row++)
        assert_true(error_at(&w, row, row % 7) == 0.0);
    walk_fini(&w);
}

static void digest_both(qd_streams_way way, size_t threads, char *out_hex)
{
    qd_error err = { 0 };
    walk w;
    QD_AUTO(qd_str_fini) qd_str all = { 0 };
    walk_init(&w, way, threads);
    for (size_t group = 0; group < qd_block_groups(w.block); group++) {
        qd_mismatch m;
        char hex[QD_DIGEST_HEX];
        size_t n = qd_block_group_width(w.block, group), outputs = outputs_of(&w, group);
        check_ok(qd_mismatch_init(&m, n, outputs, &err));
        check_ok(qd_streams_mismatch(&w.streams, group, QD_TOKENS_ROUTED, &m, &err));
        check_ok(qd_mismatch_finish(&m, &err));
        const struct {
            const void *data;
            size_t count;
        } parts[] = { { m.hessian.view.data, n * n },
                      { m.cross.view.data, n * n },
                      { m.residual.input.view.data, outputs * n },
                      { m.residual.difference.sum.view.data, outputs * n },
                      { m.residual.square, outputs } };
        for (size_t i = 0; i < QD_LENGTH(parts) && (i < 2 || outputs > 0); i++) {
            check_ok(qd_sha256(parts[i].data, parts[i].count * sizeof(double), hex, &err));
            qd_str_addf(&all, "%s\n", hex);
        }
        qd_mismatch_fini(&m);
        check_ok(qd_streams_advance(&w.streams, group, &err));
    }
    check_ok(qd_sha256(all.data, all.length, out_hex, &err));
    walk_fini(&w);
}

static void any_number_of_threads_adds_the_same_bytes(void **state)
{
    (void)state;
    for (qd_arithmetic a = QD_ARITHMETIC_FLOAT32; a <= QD_ARITHMETIC_BFLOAT16; a++) {
        static const size_t threads[] = { 1, 2, 5 };
        char digests[QD_LENGTH(threads)][QD_DIGEST_HEX];
        for (size_t k = 0; k < QD_LENGTH(threads); k++)
            digest_both((qd_streams_way){ .first = QD_FIRST_LEFT_OUT, .arithmetic = a }, threads[k], digests[k]);
        assert_string_equal(digests[1], digests[0]);
        assert_string_equal(digests[2], digests[0]);
    }
}

/* The rule, on numbers worked out by hand: D and F of the tests' model, two streams of a float32 residual and an input in two or four bytes. */
static void what_is_kept_is_within_the_jobs_limits(void **state)
{
    (void)state;
    char path[4096];
    qd_error err = { 0 };
    qd_model *model = NULL;
    check_ok(qd_model_open(SOURCE_PATH(path, "tests/models/novella-1m"), &model, &err));
    uint64_t hidden = qd_model_borrow_config(model)->hidden, wide = 0;
    for (size_t i = 0; i < qd_model_linear_count(model); i++)
        wide = qd_max_size(wide, qd_model_linear_at(model, i)->in);
    assert_true(wide > hidden);
    assert_int_equal(qd_kept_width(model, QD_KEEP_NARROW), hidden);
    assert_int_equal(qd_kept_width(model, QD_KEEP_WIDE), wide);
    const struct {
        const char *request;
        uint64_t bytes; /* a token */
    } jobs[] = { { "\"algorithm\":\"optq\",\"arithmetic\":\"bfloat16\"", 4 * hidden + 2 * wide },
                 { "\"algorithm\":\"optq\",\"arithmetic\":\"float32\"", 4 * hidden + 4 * wide },
                 { "\"algorithm\":\"qronos\",\"arithmetic\":\"bfloat16\"", 2 * (4 * hidden + 2 * wide) } };
    for (size_t i = 0; i < QD_LENGTH(jobs); i++) {
        const uint64_t tokens = 100000, bytes = tokens * jobs[i].bytes;
        qd_recipe *recipe = recipe_of(jobs[i].request);
        assert_int_equal(qd_kept_bytes(recipe, model, tokens, QD_KEEP_WIDE), bytes);
        assert_true(qd_kept_bytes(recipe, model, tokens, QD_KEEP_NARROW) < bytes);
        assert_int_equal(qd_kept_by(recipe, model, tokens), QD_KEEP_WIDE);
        assert_int_equal(qd_kept_by(recipe, model, QD_KEPT_MOST / jobs[i].bytes + 1), QD_KEEP_NARROW);
        recipe->limit_memory = bytes;
        recipe->limit_disk = 2 * bytes;
        assert_int_equal(qd_kept_by(recipe, model, tokens), QD_KEEP_WIDE);
        recipe->limit_memory--;
        assert_int_equal(qd_kept_by(recipe, model, tokens), QD_KEEP_NARROW);
        recipe->limit_memory = 0;
        recipe->limit_disk -= 2;
        assert_int_equal(qd_kept_by(recipe, model, tokens), QD_KEEP_NARROW);
        qd_recipe_destroy(recipe);
    }
    qd_model_destroy(model);
}

/* Sums of every group of two blocks in the quantized stream, by parts, and what it ends with. */
static void digest_quantized(qd_streams_way way, size_t threads, char *out_hex)
{
    qd_error err = { 0 };
    walk w;
    QD_AUTO(qd_str_fini) qd_str all = { 0 };
    walk_init(&w, way, threads);
    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t group = 0; group < qd_block_groups(w.other); group++) {
            qd_gram sums[3]; /* of all; fit, held */
            size_t n = qd_block_group_width(w.other, group);
            for (size_t i = 0; i < QD_LENGTH(sums); i++)
                check_ok(qd_gram_init(&sums[i], n, &err));
            check_ok(qd_streams_gram(&w.streams, QD_STREAM_QUANTIZED, group, QD_TOKENS_ROUTED, &sums[0], NULL, &err));
            check_ok(
                qd_streams_gram(&w.streams, QD_STREAM_QUANTIZED, group, QD_TOKENS_ROUTED, &sums[1], &sums[2], &err));
            for (size_t i = 0; i < QD_LENGTH(sums); i++) {
                char hex[QD_DIGEST_HEX];
                check_ok(qd_sha256(sums[i].sum.view.data, n * n * sizeof(double), hex, &err));
                qd_str_addf(&all, "%s\n", hex);
                qd_gram_fini(&sums[i]);
            }
            check_ok(qd_streams_advance(&w.streams, group, &err));
        }
        check_ok(qd_streams_enter(&w.streams, w.block, w.other, &err));
    }
    double distance = -1.0;
    check_ok(qd_streams_difference(&w.streams, &distance, &err));
    assert_true(way.walk == QD_WALK_BOTH ? distance > 0.0 : isnan(distance));
    qd_matf last = w.streams.residual[QD_STREAM_QUANTIZED];
    qd_str_add_bytes(&all, (const char *)last.data, last.rows * last.cols * sizeof(float));
    check_ok(qd_sha256(all.data, all.length, out_hex, &err));
    walk_fini(&w);
}

static void one_stream_alone_is_the_same_stream(void **state)
{
    (void)state;
    for (qd_arithmetic a = QD_ARITHMETIC_FLOAT32; a <= QD_ARITHMETIC_BFLOAT16; a++) {
        char both[QD_DIGEST_HEX], alone[QD_DIGEST_HEX], counted[QD_DIGEST_HEX];
        digest_quantized((qd_streams_way){ .first = QD_FIRST_LEFT_OUT, .arithmetic = a }, 1, both);
        digest_quantized((qd_streams_way){ .first = QD_FIRST_LEFT_OUT, .arithmetic = a, .walk = QD_WALK_QUANTIZED }, 2,
                         alone);
        digest_quantized((qd_streams_way){ .arithmetic = a, .walk = QD_WALK_QUANTIZED }, 1, counted);
        assert_string_equal(alone, both);
        assert_string_not_equal(counted, both);
    }
}

/* What is kept decides what is computed twice, and nothing else; of both streams by way of the moments of their difference. */
static void kept_or_made_again_inputs_are_the_same(void **state)
{
    (void)state;
    for (qd_arithmetic a = QD_ARITHMETIC_FLOAT32; a <= QD_ARITHMETIC_BFLOAT16; a++)
        for (qd_first_position first = QD_FIRST_COUNTED; first <= QD_FIRST_LEFT_OUT; first++) {
            char again[QD_DIGEST_HEX], kept[QD_DIGEST_HEX];
            digest_quantized((qd_streams_way){ .first = first, .arithmetic = a }, 2, again);
            digest_quantized((qd_streams_way){ .first = first, .arithmetic = a, .keep = QD_KEEP_WIDE }, 1, kept);
            assert_string_equal(again, kept);
        }
    for (qd_arithmetic a = QD_ARITHMETIC_FLOAT32; a <= QD_ARITHMETIC_BFLOAT16; a++) {
        char again[QD_DIGEST_HEX], kept[QD_DIGEST_HEX];
        digest_both((qd_streams_way){ .first = QD_FIRST_LEFT_OUT, .arithmetic = a }, 1, again);
        digest_both((qd_streams_way){ .first = QD_FIRST_LEFT_OUT, .arithmetic = a, .keep = QD_KEEP_WIDE }, 2, kept);
        assert_string_equal(again, kept);
    }
}

/* Longer than a piece, and no multiple of one: what inputs give their places to each other must not meet. */
static void a_long_sequence_in_pieces_is_the_blocks_own_forward(void **state)
{
    (void)state;
    enum { TOKENS = 700, SEQUENCES = 2 };
    static uint32_t ids[SEQUENCES * TOKENS];
    for (uint32_t i = 0; i < SEQUENCES * TOKENS; i++)
        ids[i] = 10 + i * 7 % 300;
    const qd_windows windows = { .ids = ids, .count = SEQUENCES, .length = TOKENS };
    for (qd_keep keep = QD_KEEP_NARROW; keep <= QD_KEEP_WIDE; keep++) {
        walk w = { 0 };
        char path[4096];
        qd_error err = { 0 };
        qd_scratch *scratch = NULL;
        qd_matf_buf x = { 0 };
        const qd_streams_way way = { .arithmetic = QD_ARITHMETIC_BFLOAT16, .walk = QD_WALK_QUANTIZED, .keep = keep };
        check_ok(qd_pool_create(2, &w.pool, &err));
        check_ok(qd_model_open(SOURCE_PATH(path, "tests/models/novella-1m"), &w.model, &err));
        check_ok(qd_streams_init(w.model, &windows, make_folder(w.folder, sizeof w.folder), w.pool, NULL, way,
                                 &w.streams, &err));
        check_ok(qd_block_load(w.model, 0, NULL, way.arithmetic, &w.block, &err));
        check_ok(qd_streams_enter(&w.streams, NULL, w.block, &err));
        for (size_t group = 0; group < qd_block_groups(w.block); group++)
            check_ok(qd_streams_advance(&w.streams, group, &err));
        check_ok(qd_scratch_create(w.model, TOKENS, &scratch, &err));
        qd_matf residual = w.streams.residual[QD_STREAM_QUANTIZED];
        check_ok(qd_matf_buf_init(&x, TOKENS, residual.cols, &err));
        for (size_t s = 0; s < SEQUENCES; s++) {
            check_ok(qd_model_embed(w.model, ids + s * TOKENS, x.view, &err));
            check_ok(qd_block_forward(w.block, x.view, scratch, &err));
            assert_memory_equal(qd_matf_row(residual, s * TOKENS), x.view.data, TOKENS * residual.cols * sizeof(float));
        }
        qd_matf_buf_fini(&x);
        qd_scratch_destroy(scratch);
        walk_fini(&w);
    }
}

/* Kept or made again: each is a bf16 number. */
static void inputs_in_bfloat16_are_rounded(void **state)
{
    (void)state;
    qd_error err = { 0 };
    walk w;
    walk_init(&w, (qd_streams_way){ .arithmetic = QD_ARITHMETIC_BFLOAT16 }, 1);
    for (size_t group = 0; group < qd_block_groups(w.block); group++) {
        qd_gram gram = { 0 };
        size_t n = qd_block_group_width(w.block, group);
        check_ok(qd_gram_init(&gram, n, &err));
        check_ok(qd_streams_gram(&w.streams, QD_STREAM_FLOAT, group, QD_TOKENS_ROUTED, &gram, NULL, &err));
        assert_int_equal(gram.arithmetic, QD_ARITHMETIC_BFLOAT16);
        for (size_t j = 0; group == w.streams.stored && j < n; j += 3) {
            double sum = 0.0;
            for (size_t row = 0; row < COUNT * LENGTH; row++) {
                float value = (float)input_at(&w, QD_STREAM_FLOAT, row, j);
                assert_true(value == qd_bf16_to_float(qd_float_to_bf16(value)));
                sum += pow((double)value, 2);
            }
            check_close(qd_matd_row(gram.sum.view, j)[j], sum, 1e-5);
        }
        qd_gram_fini(&gram);
        check_ok(qd_streams_advance(&w.streams, group, &err));
    }
    walk_fini(&w);
}

/* Rows of one part, sequence after sequence, in floats: X~, and X - X~ as products see it. */
static size_t gather_part(const qd_streams *s, qd_part part, qd_matf x, qd_matf difference)
{
    size_t rows = 0, first = s->way.first == QD_FIRST_LEFT_OUT ? 1 : 0, count = s->length - first;
    for (size_t i = 0; i < s->sequences; i++) {
        if (qd_part_of(i, s->sequences) != part)
            continue;
        qd_matf from = qd_matf_block(x, rows, 0, count, x.cols), to = qd_matf_block(difference, rows, 0, count, x.cols);
        qd_streams_input(s, QD_STREAM_QUANTIZED, i, first, from);
        qd_streams_input(s, QD_STREAM_FLOAT, i, first, to);
        for (size_t v = 0; v < count * x.cols; v++)
            to.data[v] = qd_bf16_to_float(qd_float_to_bf16(to.data[v] - from.data[v]));
        rows += count;
    }
    return rows;
}

static void check_same_sum(const qd_gram *found, const qd_gram *want)
{
    size_t values = want->sum.view.rows * want->sum.view.cols;
    assert_int_equal(found->tokens, want->tokens);
    assert_true(fabs(want->sum.view.data[values - 1]) > 0);
    assert_memory_equal(found->sum.view.data, want->sum.view.data, values * sizeof(double));
}

static void check_sums_of_floats(walk *w)
{
    enum { GROUP = 1 }; /* group 0 of the first block sees the same in both streams */
    qd_error err = { 0 };
    qd_mismatch found = { 0 }, want = { 0 };
    qd_matf_buf x = { 0 }, difference = { 0 };
    check_ok(qd_streams_advance(&w->streams, 0, &err));
    assert_int_equal(w->streams.stored, GROUP);
    size_t width = qd_block_group_width(w->block, GROUP), tokens = w->streams.sequences * w->streams.length;
    check_ok(qd_matf_buf_init(&x, tokens, width, &err));
    check_ok(qd_matf_buf_init(&difference, tokens, width, &err));
    check_ok(qd_mismatch_init(&found, width, 0, &err));
    check_ok(qd_mismatch_init(&want, width, 0, &err));
    qd_mismatch_compute_in(&want, QD_ARITHMETIC_BFLOAT16);
    check_ok(qd_streams_mismatch(&w->streams, GROUP, QD_TOKENS_ALL, &found, &err));
    for (qd_part part = QD_PART_FIT; part < QD_PART_COUNT; part++) {
        size_t rows = gather_part(&w->streams, part, x.view, difference.view);
        const qd_pairs pairs = { .x = qd_cmatf_view(x.view.data, rows, width),
                                 .difference = qd_cmatf_view(difference.view.data, rows, width) };
        check_ok(qd_mismatch_add(&want, part, &pairs, w->pool, &err));
        check_same_sum(&found.part[part].hessian, &want.part[part].hessian);
        check_same_sum(&found.part[part].cross, &want.part[part].cross);
        check_same_sum(&found.part[part].own, &want.part[part].own);
    }
    qd_mismatch_fini(&found);
    qd_mismatch_fini(&want);
    qd_matf_buf_fini(&x);
    qd_matf_buf_fini(&difference);
}

/* Longer and shorter than what is packed at a time, which lies in one sequence, in two or in many. */
static void stored_bfloat16_adds_the_bytes_of_its_floats(void **state)
{
    (void)state;
    enum { SEQUENCES = 6, LONGEST = 300 };
    static const size_t lengths[] = { 7, 65, LONGEST };
    static uint32_t ids[SEQUENCES * LONGEST];
    for (uint32_t i = 0; i < SEQUENCES * LONGEST; i++)
        ids[i] = 10 + i * 7 % 300;
    for (size_t l = 0; l < QD_LENGTH(lengths); l++)
        for (qd_first_position first = QD_FIRST_COUNTED; first <= QD_FIRST_LEFT_OUT; first++) {
            walk w = { 0 };
            const qd_windows windows = { .ids = ids, .count = SEQUENCES, .length = lengths[l] };
            walk_over(&w, &windows, (qd_streams_way){ .first = first, .arithmetic = QD_ARITHMETIC_BFLOAT16 }, 2);
            check_sums_of_floats(&w);
            walk_fini(&w);
        }
}

static void nothing_is_left_of_sequences_of_one_token(void **state)
{
    (void)state;
    char path[4096], folder[200];
    qd_error err = { 0 };
    uint32_t ids[3] = { 1, 2, 3 };
    qd_model *model = NULL;
    qd_pool *pool = NULL;
    qd_streams streams = { 0 };
    const qd_windows windows = { .ids = ids, .count = 3, .length = 1 };
    check_ok(qd_pool_create(1, &pool, &err));
    check_ok(qd_model_open(SOURCE_PATH(path, "tests/models/novella-1m"), &model, &err));
    check_fails(qd_streams_init(model, &windows, make_folder(folder, sizeof folder), pool, NULL,
                                (qd_streams_way){ .first = QD_FIRST_LEFT_OUT }, &streams, &err),
                QD_EINVAL);
    check_contains(err.text, "calibration.first_position: 'left-out' leaves nothing");
    qd_model_destroy(model);
    qd_pool_destroy(pool);
    remove_folder(folder);
}

/* Tokens cost disk, not memory: of the scratch file only what a task is at is resident. */
static void residency_does_not_grow_with_sequences(void **state)
{
    (void)state;
    enum { MANY = 160, LONG = 128 };
    static uint32_t ids[MANY * LONG];
    char path[4096], folder[200];
    qd_error err = { 0 };
    qd_model *model = NULL;
    qd_pool *pool = NULL;
    qd_block *block = NULL;
    qd_streams streams = { 0 };
    qd_gram gram = { 0 };
    const qd_windows windows = { .ids = ids, .count = MANY, .length = LONG };
    for (uint32_t i = 0; i < MANY * LONG; i++)
        ids[i] = 10 + i * 7 % 300;
    check_ok(qd_pool_create(2, &pool, &err));
    check_ok(qd_model_open(SOURCE_PATH(path, "tests/models/novella-1m"), &model, &err));
    check_ok(qd_block_load(model, 0, NULL, QD_ARITHMETIC_FLOAT32, &block, &err));
    check_ok(qd_gram_init(&gram, qd_block_group_width(block, 0), &err));
    uint64_t before = qd_resident_bytes();
    check_ok(qd_streams_init(model, &windows, make_folder(folder, sizeof folder), pool, NULL,
                             (qd_streams_way){ .scope = QD_SCOPE_MODEL }, &streams, &err));
    assert_true(streams.file.size > (size_t)30 << 20);
    check_ok(qd_streams_enter(&streams, block, block, &err));
    check_ok(qd_streams_gram(&streams, QD_STREAM_QUANTIZED, 0, QD_TOKENS_ALL, &gram, NULL, &err));
    for (size_t group = 0; group < qd_block_groups(block); group++)
        check_ok(qd_streams_advance(&streams, group, &err));
    if (strcmp(QD_SANITIZERS, "no") == 0) /* their own memory grows with what is touched */
        assert_true(qd_resident_bytes() < before + streams.file.size / 3);
    qd_gram_fini(&gram);
    qd_streams_fini(&streams);
    qd_block_destroy(block);
    qd_model_destroy(model);
    qd_pool_destroy(pool);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_of_the_rows_that_count),
        cmocka_unit_test(the_residual_is_what_the_streams_differ_by_before_the_addition),
        cmocka_unit_test(in_scope_block_the_streams_begin_alike),
        cmocka_unit_test(any_number_of_threads_adds_the_same_bytes),
        cmocka_unit_test(one_stream_alone_is_the_same_stream),
        cmocka_unit_test(kept_or_made_again_inputs_are_the_same),
        cmocka_unit_test(what_is_kept_is_within_the_jobs_limits),
        cmocka_unit_test(a_long_sequence_in_pieces_is_the_blocks_own_forward),
        cmocka_unit_test(inputs_in_bfloat16_are_rounded),
        cmocka_unit_test(stored_bfloat16_adds_the_bytes_of_its_floats),
        cmocka_unit_test(nothing_is_left_of_sequences_of_one_token),
        cmocka_unit_test(residency_does_not_grow_with_sequences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
