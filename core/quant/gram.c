/* gram.c: see gram.h. */
#include "quant/gram.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "linalg/gemm.h"

/* Fixed, so that sums do not depend on the number of threads: 2048 tokens a float32 product, and tiles by the number
 * of features: large ones are faster, small ones give two threads something to do. */
enum { CHUNK = 2048, LARGEST_TILE = 256, MIRROR = 16 };

/* Squares of inputs below 2^-32 leave float32: where the largest input of a chunk is so small, all are scaled by a power of two. Else such
 * a layer would pass for dead, be rounded to zeros and be certified as exact. (Squares that overflow are found and reported.) */
enum { SMALL_EXPONENT = -32, LANES = 16, SURVEY_ROWS = 256 };

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
    *gram = (qd_gram){ 0 };
    return qd_matd_buf_init(&gram->sum, left, right, err);
}

void qd_gram_fini(qd_gram *gram)
{
    qd_matd_buf_fini(&gram->sum);
    *gram = (qd_gram){ 0 };
}

/* Of the largest magnitude in a run: bits of floats without their sign are ordered as the floats are, NaN last. */
static uint32_t largest_bits(const float *values, size_t count, uint32_t largest)
{
    uint32_t lanes[LANES] = { 0 }, bits[LANES];
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        memcpy(bits, values + i, sizeof bits);
        for (size_t l = 0; l < LANES; l++)
            lanes[l] = (bits[l] & 0x7fffffffu) > lanes[l] ? bits[l] & 0x7fffffffu : lanes[l];
    }
    memset(bits, 0, sizeof bits);
    memcpy(bits, values + i, (count - i) * sizeof *values);
    for (size_t l = 0; l < LANES; l++) {
        lanes[l] = (bits[l] & 0x7fffffffu) > lanes[l] ? bits[l] & 0x7fffffffu : lanes[l];
        largest = lanes[l] > largest ? lanes[l] : largest;
    }
    return largest;
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
        s->largest[worker] = largest_bits(qd_cmatf_row(s->x, t), s->x.cols, s->largest[worker]);
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
    float largest;
    memcpy(&largest, &bits, sizeof largest);
    *out = 0;
    if (largest > 0.0f && isfinite(largest)) /* the others are found at the end */
        (void)frexp((double)largest, out);
    *out = *out < SMALL_EXPONENT ? *out : 0;
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

typedef enum symmetry { SYMMETRIC, GENERAL } symmetry;

typedef struct addition {
    qd_cmatf left, right; /* T x O, T x I; the same for SYMMETRIC */
    symmetry symmetry;
    qd_matd sum;
    size_t height, width; /* of a tile */
    size_t tiles;         /* tiles along a row of them */
    float *products;      /* one tile a worker */
    double unit;          /* of the products: 1 unless inputs were scaled */
} addition;

/* Task index -> (row, column) of a tile; for SYMMETRIC only row <= column are tasks. */
static void tile_of(const addition *a, size_t index, size_t *out_row, size_t *out_column)
{
    size_t row = 0, width = a->tiles;
    while (index >= width) {
        index -= width;
        row++;
        width = a->symmetry == SYMMETRIC ? a->tiles - row : a->tiles;
    }
    *out_row = row;
    *out_column = a->symmetry == SYMMETRIC ? row + index : index;
}

static void add_product(const addition *a, qd_cmatf product, size_t i0, size_t j0)
{
    for (size_t i = 0; i < product.rows; i++) {
        const float *from = qd_cmatf_row(product, i);
        double *to = qd_matd_row(a->sum, i0 + i) + j0;
        size_t start = a->symmetry == SYMMETRIC && i0 == j0 ? i : 0;
        for (size_t j = start; j < product.cols; j++)
            to[j] += a->unit * (double)from[j];
    }
}

/* Copies a tile to the other side of the diagonal, in squares that fit the first cache on both sides. */
static void mirror(const addition *a, size_t i0, size_t j0, size_t rows, size_t cols)
{
    for (size_t ib = i0; ib < i0 + rows; ib += MIRROR)
        for (size_t jb = j0; jb < j0 + cols; jb += MIRROR)
            for (size_t j = jb; j < qd_min_size(jb + MIRROR, j0 + cols); j++)
                for (size_t i = ib; i < qd_min_size(ib + MIRROR, i0 + rows) && i < j; i++)
                    qd_matd_row(a->sum, j)[i] = qd_matd_row(a->sum, i)[j];
}

static qd_code add_tile(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const addition *a = ctx;
    (void)err;
    size_t ti, tj;
    tile_of(a, index, &ti, &tj);
    size_t i0 = ti * a->height, j0 = tj * a->width;
    size_t rows = qd_min_size(a->height, a->left.cols - i0), cols = qd_min_size(a->width, a->right.cols - j0);
    qd_matf product = qd_matf_view(a->products + worker * a->height * a->width, rows, cols);
    for (size_t t = 0; t < a->left.rows; t += CHUNK) {
        size_t count = qd_min_size(CHUNK, a->left.rows - t);
        qd_cmatf left = qd_cmatf_block(a->left, t, i0, count, rows);
        if (a->symmetry == SYMMETRIC && ti == tj)
            qd_syrk_f32(left, product);
        else
            qd_gemm_f32(QD_TRANSPOSED, QD_PLAIN, 1.0f, left, qd_cmatf_block(a->right, t, j0, count, cols), 0.0f,
                        product);
        add_product(a, qd_matf_const(product), i0, j0);
    }
    if (a->symmetry == SYMMETRIC)
        mirror(a, i0, j0, rows, cols);
    return QD_OK;
}

static qd_code add(qd_gram *gram, qd_cmatf left, qd_cmatf right, symmetry kind, qd_pool *pool, qd_error *err)
{
    qd_matd sum = gram->sum.view;
    if (left.cols != sum.rows || right.cols != sum.cols)
        return qd_fail(err, QD_ESHAPE, "gram: inputs of %zu and %zu features, %zu and %zu were wanted", left.cols,
                       right.cols, sum.rows, sum.cols);
    if (left.rows != right.rows)
        return qd_fail(err, QD_ESHAPE, "gram: %zu and %zu tokens in the two streams", left.rows, right.rows);
    if (left.rows == 0 || sum.rows == 0 || sum.cols == 0)
        return QD_OK;
    QD_AUTO(qd_free_pointer) void *products = NULL;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf left_copy = { 0 }, right_copy = { 0 };
    size_t height = tile_size(sum.rows), width = tile_size(sum.cols);
    int left_exponent = 0, right_exponent = 0;
    qd_code code = qd_alloc(qd_pool_threads(pool) * height * width, sizeof(float), &products, err);
    if (code == QD_OK)
        code = bring_near_one(&left, pool, &left_copy, &left_exponent, err);
    if (code == QD_OK && kind == GENERAL)
        code = bring_near_one(&right, pool, &right_copy, &right_exponent, err);
    if (code != QD_OK)
        return code;
    if (kind == SYMMETRIC) {
        right = left;
        right_exponent = left_exponent;
    }
    double unit = ldexp(1.0, left_exponent + right_exponent);
    size_t high = (sum.rows - 1) / height + 1, wide = (sum.cols - 1) / width + 1;
    addition a = { left, right, kind, sum, height, width, wide, products, unit };
    size_t tasks = kind == SYMMETRIC ? wide * (wide + 1) / 2 : high * wide;
    code = qd_pool_for(pool, tasks, add_tile, &a, err);
    if (code == QD_OK)
        gram->tokens += left.rows;
    return code;
}

qd_code qd_gram_add(qd_gram *gram, qd_cmatf x, qd_pool *pool, qd_error *err)
{
    return add(gram, x, x, SYMMETRIC, pool, err);
}

qd_code qd_gram_add_cross(qd_gram *gram, qd_cmatf left, qd_cmatf x, qd_pool *pool, qd_error *err)
{
    return add(gram, left, x, GENERAL, pool, err);
}

qd_code qd_gram_merge(qd_gram *gram, const qd_gram *other, qd_error *err)
{
    qd_matd to = gram->sum.view, from = other->sum.view;
    if (to.rows != from.rows || to.cols != from.cols)
        return qd_fail(err, QD_ESHAPE, "gram: %zu features, %zu were wanted", from.rows, to.rows);
    for (size_t i = 0; i < to.rows; i++)
        for (size_t j = 0; j < to.cols; j++)
            qd_matd_row(to, i)[j] += qd_matd_row(from, i)[j];
    gram->tokens += other->tokens;
    return QD_OK;
}

qd_code qd_gram_finish(qd_gram *gram, qd_error *err)
{
    if (gram->tokens == 0)
        return qd_fail(err, QD_ENUMERIC, "gram: no tokens were added");
    double tokens = (double)gram->tokens;
    qd_matd sum = gram->sum.view;
    for (size_t i = 0; i < sum.rows; i++)
        for (size_t j = 0; j < sum.cols; j++) {
            double value = qd_matd_row(sum, i)[j] / tokens;
            if (!isfinite(value))
                return qd_fail(err, QD_ENUMERIC, "gram: entry (%zu, %zu) is not finite", i, j);
            qd_matd_row(sum, i)[j] = value;
        }
    return QD_OK;
}
