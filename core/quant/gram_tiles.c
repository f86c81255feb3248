/* gram_tiles.c: see gram_tiles.h. */
#include "quant/gram_tiles.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "linalg/rows.h"

/* Beyond the width of a tile's rows: rows a power of two apart share few places of the caches. */
enum { APART = 16 };

/* Squares of inputs below 2^-32 leave float32: where the largest input of a chunk is so small, all are scaled by a power of two. Else such
 * a layer would pass for dead, be rounded to zeros and be certified as exact. (Squares that overflow are found and reported.) */
enum { SMALL_EXPONENT = -32 };

int qd_gram_exponent(uint32_t bits)
{
    int exponent = 0;
    float largest;
    memcpy(&largest, &bits, sizeof largest);
    if (largest > 0.0f && isfinite(largest)) /* the others are found at the end */
        (void)frexp((double)largest, &exponent);
    return exponent < SMALL_EXPONENT ? exponent : 0;
}

typedef struct addition {
    const qd_gram_tiles *tiles; /* of each product */
    size_t count;
    size_t size;     /* of the largest tile */
    float *products; /* one tile a worker */
} addition;

static size_t tiles_along(size_t features, size_t side)
{
    return (features - 1) / side + 1;
}

static size_t tile_count(const qd_gram_tiles *s)
{
    size_t high = tiles_along(s->sum.rows, s->height), wide = tiles_along(s->sum.cols, s->width);
    return s->symmetry == QD_SYMMETRIC ? wide * (wide + 1) / 2 : high * wide;
}

/* Task index -> (row, column) of a tile; for QD_SYMMETRIC only row <= column are tasks: whole tiles first, then those on the diagonal, which take
 * half as long, so that threads come to the end at about the same time. */
static void tile_of(const qd_gram_tiles *s, size_t index, size_t *out_row, size_t *out_column)
{
    size_t wide = tiles_along(s->sum.cols, s->width), above = wide * (wide - 1) / 2, row = 0;
    if (s->symmetry == QD_GENERAL) {
        *out_row = index / wide;
        *out_column = index % wide;
        return;
    }
    if (index >= above) {
        *out_row = *out_column = index - above;
        return;
    }
    for (; index >= wide - 1 - row; row++)
        index -= wide - 1 - row;
    *out_row = row;
    *out_column = row + 1 + index;
}

static void add_product(const qd_gram_tiles *s, qd_cmatf product, size_t i0, size_t j0)
{
    const qd_rows *rows = qd_rows_best();
    for (size_t i = 0; i < product.rows; i++) {
        size_t start = s->symmetry == QD_SYMMETRIC && i0 == j0 ? qd_min_size(i, product.cols) : 0;
        rows->add_wide(s->unit, qd_cmatf_row(product, i) + start, product.cols - start,
                       qd_matd_row(s->sum, i0 + i) + j0 + start);
    }
}

/* Products from `first` on that go into one sum: its tile of all of them is one task, which nobody else writes. */
static size_t products_of_sum(const addition *a, size_t first)
{
    size_t count = 1;
    while (first + count < a->count && a->tiles[first + count].sum.data == a->tiles[first].sum.data)
        count++;
    return count;
}

/* Chunk by chunk, and of a chunk product by product: the same order however many chunks are packed at once. */
static qd_code add_tile(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const addition *a = ctx;
    size_t first = 0, row, column;
    (void)err;
    for (; index >= tile_count(&a->tiles[first]); first += products_of_sum(a, first))
        index -= tile_count(&a->tiles[first]);
    const qd_gram_tiles *s = &a->tiles[first];
    tile_of(s, index, &row, &column);
    size_t i0 = row * s->height, j0 = column * s->width, products = products_of_sum(a, first);
    size_t rows = qd_min_size(s->height, s->sum.rows - i0), cols = qd_min_size(s->width, s->sum.cols - j0);
    qd_matf product = { rows, cols, s->width + APART, a->products + worker * a->size };
    for (size_t t = 0; t < s->tokens; t += QD_GRAM_CHUNK)
        for (size_t k = 0; k < products; k++) {
            s[k].multiply(s[k].ctx, t, qd_min_size(QD_GRAM_CHUNK, s->tokens - t), i0, j0, product);
            add_product(&s[k], qd_matf_const(product), i0, j0);
        }
    return QD_OK;
}

qd_code qd_gram_add_tiles(const qd_gram_tiles *tiles, size_t count, qd_pool *pool, qd_error *err)
{
    QD_AUTO(qd_free_pointer) void *products = NULL;
    addition a = { .tiles = tiles, .count = count };
    size_t tasks = 0;
    for (size_t i = 0; i < count; i += products_of_sum(&a, i)) {
        a.size = qd_max_size(a.size, tiles[i].height * (tiles[i].width + APART));
        tasks += tile_count(&tiles[i]);
    }
    qd_code code = qd_alloc(qd_pool_threads(pool) * a.size, sizeof(float), &products, err);
    a.products = products;
    return code == QD_OK ? qd_pool_for(pool, tasks, add_tile, &a, err) : code;
}
