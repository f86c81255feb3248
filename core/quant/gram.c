/* gram.c: see gram.h. */
#include "quant/gram.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "linalg/gemm.h"
#include "linalg/rows.h"
#include "quant/gram_tiles.h"

/* Tiles by the number of features: large ones are faster, small ones give two threads something to do. */
enum { LARGEST_TILE = 256, SURVEY_ROWS = 256 };

/* A piece is some pages of rows on both sides of the diagonal, a square some lines. */
enum { MIRROR = 16, MIRROR_PIECE = 512 };

static size_t tile_size(size_t features)
{
    size_t largest = features <= 128 ? 64 : features <= 512 ? 128 : LARGEST_TILE;
    size_t tiles = (features - 1) / largest + 1;
    return (features - 1) / tiles + 1; /* equal shares */
}

qd_code qd_gram_init(qd_gram *gram, size_t features, qd_error *err)
{
    return qd_gram_init_cross(gram, features, features, err);
}

qd_code qd_gram_init_cross(qd_gram *gram, size_t left, size_t right, qd_error *err)
{
    return qd_gram_init_in(gram, left, right, NULL, err);
}

qd_code qd_gram_init_in(qd_gram *gram, size_t left, size_t right, const char *folder, qd_error *err)
{
    *gram = (qd_gram){ 0 };
    return qd_matd_buf_init_in(&gram->sum, left, right, folder, err);
}

void qd_gram_fini(qd_gram *gram)
{
    qd_matd_buf_fini(&gram->sum);
    *gram = (qd_gram){ 0 };
}

typedef struct survey {
    qd_cmatf x;
    uint32_t *largest; /* a worker */
} survey;

static qd_code survey_rows(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const survey *s = ctx;
    (void)err;
    size_t end = qd_min_size((index + 1) * SURVEY_ROWS, s->x.rows);
    for (size_t t = index * SURVEY_ROWS; t < end; t++)
        s->largest[worker] = qd_largest_bits(qd_cmatf_row(s->x, t), s->x.cols, s->largest[worker]);
    return QD_OK;
}

/* What x is to be divided by, as an exponent of 2: 0 nearly always. */
static qd_code choose_exponent(qd_cmatf x, qd_pool *pool, int *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) uint32_t *workers = NULL;
    size_t threads = qd_pool_threads(pool);
    qd_code code = qd_alloc(threads, sizeof *workers, (void **)&workers, err);
    survey s = { x, workers };
    if (code == QD_OK)
        code = qd_pool_for(pool, (x.rows - 1) / SURVEY_ROWS + 1, survey_rows, &s, err);
    if (code != QD_OK)
        return code;
    uint32_t bits = 0;
    for (size_t i = 0; i < threads; i++)
        bits = workers[i] > bits ? workers[i] : bits;
    *out = qd_gram_exponent(bits);
    return QD_OK;
}

/* x, or a copy of it divided by 2^exponent, which is exact where it matters. */
static qd_code bring_near_one(qd_cmatf *x, qd_pool *pool, qd_matf_buf *copy, int *out_exponent, qd_error *err)
{
    qd_code code = choose_exponent(*x, pool, out_exponent, err);
    if (code != QD_OK || *out_exponent == 0)
        return code;
    code = qd_matf_buf_init(copy, x->rows, x->cols, err);
    for (size_t t = 0; code == QD_OK && t < x->rows; t++)
        for (size_t i = 0; i < x->cols; i++)
            qd_matf_row(copy->view, t)[i] = (float)ldexp((double)qd_cmatf_row(*x, t)[i], -*out_exponent);
    *x = qd_matf_const(copy->view);
    return code;
}

typedef struct streams {
    qd_cmatf left, right; /* T x O, T x I */
    qd_symmetry symmetry;
} streams;

static void multiply_f32(const void *ctx, size_t t, size_t count, size_t i, size_t j, qd_matf product)
{
    const streams *s = ctx;
    qd_cmatf left = qd_cmatf_block(s->left, t, i, count, product.rows);
    if (s->symmetry == QD_SYMMETRIC && i == j)
        qd_syrk_f32(left, product);
    else
        qd_gemm_f32(QD_TRANSPOSED, QD_PLAIN, 1.0f, left, qd_cmatf_block(s->right, t, j, count, product.cols), 0.0f,
                    product);
}

static qd_code add_f32(qd_matd sum, qd_cmatf left, qd_cmatf right, qd_symmetry symmetry, qd_pool *pool, qd_error *err)
{
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf left_copy = { 0 }, right_copy = { 0 };
    int left_exponent = 0, right_exponent = 0;
    qd_code code = bring_near_one(&left, pool, &left_copy, &left_exponent, err);
    if (code == QD_OK && symmetry == QD_GENERAL)
        code = bring_near_one(&right, pool, &right_copy, &right_exponent, err);
    if (code != QD_OK)
        return code;
    if (symmetry == QD_SYMMETRIC) {
        right = left;
        right_exponent = left_exponent;
    }
    streams s = { left, right, symmetry };
    qd_gram_tiles tiles = {
        .symmetry = symmetry,
        .sum = sum,
        .tokens = left.rows,
        .height = tile_size(sum.rows),
        .width = tile_size(sum.cols),
        .unit = ldexp(1.0, left_exponent + right_exponent),
        .multiply = multiply_f32,
        .ctx = &s,
    };
    return qd_gram_add_tiles(&tiles, 1, pool, err);
}

static qd_symmetry symmetry_of(const qd_gram_term *term)
{
    return term->left == term->right ? QD_SYMMETRIC : QD_GENERAL;
}

static qd_code check_term(const qd_gram_term *term, qd_cmatf left, qd_cmatf right, qd_error *err)
{
    qd_matd sum = term->gram->sum.view;
    if (left.cols != sum.rows || right.cols != sum.cols)
        return qd_fail(err, QD_ESHAPE, "gram: inputs of %zu and %zu features, %zu and %zu were wanted", left.cols,
                       right.cols, sum.rows, sum.cols);
    if (left.rows != right.rows)
        return qd_fail(err, QD_ESHAPE, "gram: %zu and %zu tokens in the two streams", left.rows, right.rows);
    qd_gram_part part = symmetry_of(term) == QD_SYMMETRIC ? QD_GRAM_UPPER : QD_GRAM_WHOLE;
    assert(term->gram->part == QD_GRAM_NOTHING || term->gram->part == part);
    return QD_OK;
}

static bool is_empty(qd_cmatf left, qd_cmatf right)
{
    return left.rows == 0 || left.cols == 0 || right.cols == 0;
}

static qd_code add_bf16(const qd_gram_inputs *inputs, const qd_gram_term *terms, size_t count, qd_pool *pool,
                        qd_error *err)
{
    qd_gram_sum sums[QD_GRAM_TERMS];
    for (size_t i = 0; i < count; i++)
        sums[i] = (qd_gram_sum){ terms[i].gram->sum.view, terms[i].left, terms[i].right, symmetry_of(&terms[i]) };
    return qd_gram_add_panels(qd_product_kernel_best(), inputs, sums, count, pool, err);
}

/* x = high + low, but for 2^-17 of it. */
static void split(const float *x, size_t count, uint16_t *high, uint16_t *low)
{
    enum { RUN = 512 };
    float rest[RUN], rounded[RUN];
    const qd_rows *f = qd_rows_best();
    for (size_t i = 0; i < count; i += RUN) {
        size_t run = qd_min_size(RUN, count - i);
        f->narrow(x + i, run, high + i);
        f->widen(high + i, run, rounded);
        memcpy(rest, x + i, run * sizeof *rest);
        f->add(-1, rounded, run, rest);
        f->narrow(rest, run, low + i);
    }
}

/* Input k in its two terms, as inputs 2 k and 2 k + 1. */
static qd_code read_terms(void *ctx, size_t first, qd_gram_rows *rows, qd_error *err)
{
    const qd_gram_inputs *of = ctx;
    (void)err;
    for (size_t k = 0; k < of->count; k++)
        for (size_t t = 0; t < rows[2 * k].x.rows; t++) {
            size_t features = of->input[k].cols;
            split(qd_cmatf_row(of->input[k], first + t), features, rows[2 * k].room + t * features,
                  rows[2 * k + 1].room + t * features);
        }
    return QD_OK;
}

/* What two low terms make is left out: 2^-16 of the product. */
static qd_code add_two_terms(const qd_gram_inputs *inputs, const qd_gram_term *terms, size_t count, qd_pool *pool,
                             qd_error *err)
{
    enum { PRODUCTS = 3 };
    static const size_t low[PRODUCTS][2] = { { 0, 0 }, { 0, 1 }, { 1, 0 } };
    qd_gram_inputs both = { .count = 2 * inputs->count, .read = read_terms, .room = inputs->room };
    qd_gram_inputs of = *inputs;
    qd_gram_sum sums[QD_GRAM_SUMS];
    both.ctx = &of;
    for (size_t k = 0; k < both.count; k++)
        both.input[k] = (qd_cmatf){ of.input[k / 2].rows, of.input[k / 2].cols, of.input[k / 2].cols, NULL };
    for (size_t i = 0; i < PRODUCTS * count; i++) {
        const qd_gram_term *term = &terms[i / PRODUCTS];
        const size_t *terms_of = low[i % PRODUCTS];
        sums[i] = (qd_gram_sum){ term->gram->sum.view, 2 * term->left + terms_of[0], 2 * term->right + terms_of[1],
                                 symmetry_of(term) };
    }
    return qd_gram_add_panels(qd_product_kernel_best(), &both, sums, PRODUCTS * count, pool, err);
}

/* Terms of one arithmetic, none of them empty. */
static qd_code add_products(const qd_gram_inputs *inputs, const qd_gram_term *terms, size_t count, qd_pool *pool,
                            qd_error *err)
{
    const qd_arithmetic arithmetic = terms[0].gram->arithmetic;
    if (arithmetic == QD_ARITHMETIC_BFLOAT16)
        return add_bf16(inputs, terms, count, pool, err);
    assert(inputs->read == NULL);
    if (arithmetic == QD_ARITHMETIC_TWO_TERMS)
        return add_two_terms(inputs, terms, count, pool, err);
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < count; i++)
        code = add_f32(terms[i].gram->sum.view, inputs->input[terms[i].left], inputs->input[terms[i].right],
                       symmetry_of(&terms[i]), pool, err);
    return code;
}

qd_code qd_gram_add_terms(const qd_gram_inputs *inputs, const qd_gram_term *terms, size_t count, qd_pool *pool,
                          qd_error *err)
{
    qd_gram_term some[QD_GRAM_TERMS];
    size_t wanted = 0;
    assert(inputs->count <= QD_GRAM_TERM_INPUTS && count <= QD_GRAM_TERMS);
    for (size_t i = 0; i < count; i++) {
        qd_cmatf left = inputs->input[terms[i].left], right = inputs->input[terms[i].right];
        qd_code code = check_term(&terms[i], left, right, err);
        if (code != QD_OK)
            return code;
        assert(terms[i].gram->arithmetic == terms[0].gram->arithmetic);
        if (!is_empty(left, right))
            some[wanted++] = terms[i];
    }
    qd_code code = wanted == 0 ? QD_OK : add_products(inputs, some, wanted, pool, err);
    for (size_t i = 0; i < wanted; i++) {
        some[i].gram->part = symmetry_of(&some[i]) == QD_SYMMETRIC ? QD_GRAM_UPPER : QD_GRAM_WHOLE;
        some[i].gram->tokens += code == QD_OK ? inputs->input[some[i].left].rows : 0;
        qd_matd_buf_release(&some[i].gram->sum);
    }
    return code;
}

qd_code qd_gram_add(qd_gram *gram, qd_cmatf x, qd_pool *pool, qd_error *err)
{
    const qd_gram_inputs inputs = { .count = 1, .input = { x } };
    return qd_gram_add_terms(&inputs, &(qd_gram_term){ gram, 0, 0 }, 1, pool, err);
}

qd_code qd_gram_add_cross(qd_gram *gram, qd_cmatf left, qd_cmatf x, qd_pool *pool, qd_error *err)
{
    const qd_gram_inputs inputs = { .count = 2, .input = { left, x } };
    return qd_gram_add_terms(&inputs, &(qd_gram_term){ gram, 0, 1 }, 1, pool, err);
}

qd_code qd_gram_merge(qd_gram *gram, const qd_gram *other, qd_error *err)
{
    qd_matd to = gram->sum.view, from = other->sum.view;
    if (to.rows != from.rows || to.cols != from.cols)
        return qd_fail(err, QD_ESHAPE, "gram: %zu features, %zu were wanted", from.rows, to.rows);
    assert(gram->part == QD_GRAM_NOTHING || other->part == QD_GRAM_NOTHING || gram->part == other->part);
    gram->part = other->part == QD_GRAM_NOTHING ? gram->part : other->part;
    for (size_t i = 0; i < to.rows; i++) {
        for (size_t j = 0; j < to.cols; j++)
            qd_matd_row(to, i)[j] += qd_matd_row(from, i)[j];
        qd_matd_buf_release_rows(&gram->sum, i, 1);
        qd_matd_buf_release_rows(&other->sum, i, 1);
    }
    gram->tokens += other->tokens;
    return QD_OK;
}

/* Copies a piece above the diagonal to the other side, in squares that fit the first cache on both. */
static void mirror(qd_matd sum, size_t i0, size_t j0)
{
    size_t rows = qd_min_size(i0 + MIRROR_PIECE, sum.rows), cols = qd_min_size(j0 + MIRROR_PIECE, sum.cols);
    for (size_t ib = i0; ib < rows; ib += MIRROR)
        for (size_t jb = j0; jb < cols; jb += MIRROR)
            for (size_t j = jb; j < qd_min_size(jb + MIRROR, cols); j++)
                for (size_t i = ib; i < qd_min_size(ib + MIRROR, rows) && i < j; i++)
                    qd_matd_row(sum, j)[i] = qd_matd_row(sum, i)[j];
}

void qd_gram_complete(qd_gram *gram)
{
    qd_matd sum = gram->sum.view;
    if (gram->part != QD_GRAM_UPPER)
        return;
    for (size_t i = 0; i < sum.rows; i += MIRROR_PIECE)
        for (size_t j = i; j < sum.cols; j += MIRROR_PIECE)
            mirror(sum, i, j);
    gram->part = QD_GRAM_WHOLE;
}

qd_code qd_gram_finish(qd_gram *gram, qd_error *err)
{
    if (gram->tokens == 0)
        return qd_fail(err, QD_ENUMERIC, "gram: no tokens were added");
    double tokens = (double)gram->tokens;
    qd_matd sum = gram->sum.view;
    qd_gram_complete(gram);
    for (size_t i = 0; i < sum.rows; i++)
        for (size_t j = 0; j < sum.cols; j++) {
            double value = qd_matd_row(sum, i)[j] / tokens;
            if (!isfinite(value))
                return qd_fail(err, QD_ENUMERIC, "gram: entry (%zu, %zu) is not finite", i, j);
            qd_matd_row(sum, i)[j] = value;
        }
    qd_matd_buf_release(&gram->sum);
    return QD_OK;
}
