/* gram_panels.c: moments of inputs rounded to bf16: some chunks of tokens are packed once for all sums, by all threads, then multiplied tile by
 * tile. */
#include "quant/gram_tiles.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Packed at once, if that is more than a chunk: fewer waits of threads for each other. PACK_ROWS tokens are a task. */
enum { PASS_BYTES = 16 << 20, PACK_ROWS = 64, WIDEST = 128, LINE = 64 };

/* Summed one by one, squares lose the more the more they are: a quarter of a chunk keeps 1e-6. */
enum { SQUARES = QD_GRAM_CHUNK / 4 };

typedef struct operand {
    qd_cmatf x; /* the tokens of this pass */
    int exponent;
    uint16_t *side[2]; /* panels of `depth` products, as left and as right ones; NULL where they are not wanted */
} operand;

typedef struct pass {
    const qd_product_kernel *kernel;
    size_t depth;
    operand operands[QD_GRAM_INPUTS];
    size_t count;
    uint32_t (*largest)[QD_GRAM_INPUTS]; /* a worker */
} pass;

/* Features from i on of some tokens. */
static uint32_t pack_piece(const pass *p, const operand *o, qd_cmatf x, qd_panel_side side, uint16_t *panel)
{
    _Alignas(64) float scaled[PACK_ROWS * WIDEST];
    if (o->exponent != 0) {
        for (size_t t = 0; t < x.rows; t++)
            for (size_t i = 0; i < x.cols; i++)
                scaled[t * x.cols + i] = (float)ldexp((double)qd_cmatf_row(x, t)[i], -o->exponent);
        x = qd_cmatf_view(scaled, x.rows, x.cols);
    }
    return p->kernel->pack_columns(x, side, panel);
}

/* Panel by panel, one side behind the other: inputs are read from the first cache the second time. */
static qd_code pack_tokens(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const pass *p = ctx;
    size_t width = p->kernel->width, t = index * PACK_ROWS;
    (void)err;
    for (size_t k = 0; k < p->count; k++) {
        const operand *o = &p->operands[k];
        for (size_t i = 0; i < o->x.cols; i += width)
            for (qd_panel_side side = QD_PANEL_LEFT; side <= QD_PANEL_RIGHT; side++) {
                if (o->side[side] == NULL)
                    continue;
                qd_cmatf x = qd_cmatf_block(o->x, t, i, qd_min_size(PACK_ROWS, o->x.rows - t),
                                            qd_min_size(width, o->x.cols - i));
                uint32_t largest = pack_piece(p, o, x, side, o->side[side] + i * p->depth + t * width);
                if (largest > p->largest[worker][k])
                    p->largest[worker][k] = largest;
            }
    }
    return QD_OK;
}

static qd_code pack(pass *p, qd_pool *pool, qd_error *err)
{
    return qd_pool_for(pool, (p->operands[0].x.rows - 1) / PACK_ROWS + 1, pack_tokens, p, err);
}

/* Packs, and once more where inputs turn out to be so small that they must be scaled. */
static qd_code pack_scaled(pass *p, qd_pool *pool, qd_error *err)
{
    bool scaled = false;
    size_t threads = qd_pool_threads(pool);
    memset(p->largest, 0, threads * sizeof *p->largest);
    for (size_t k = 0; k < p->count; k++)
        p->operands[k].exponent = 0;
    qd_code code = pack(p, pool, err);
    for (size_t k = 0; code == QD_OK && k < p->count; k++) {
        uint32_t largest = 0;
        for (size_t w = 0; w < threads; w++)
            largest = p->largest[w][k] > largest ? p->largest[w][k] : largest;
        p->operands[k].exponent = qd_gram_exponent(largest);
        scaled = scaled || p->operands[k].exponent != 0;
    }
    return code == QD_OK && scaled ? pack(p, pool, err) : code;
}

/* ---- one of the sums ---- */

typedef struct product {
    const pass *pass;
    const uint16_t *left, *right;
    qd_symmetry symmetry;
} product;

/* Where left operands may be packed as right ones, all are: X^T X needs X only once. */
static qd_panel_side left_side(const qd_product_kernel *kernel)
{
    return kernel->multiply_rights != NULL ? QD_PANEL_RIGHT : QD_PANEL_LEFT;
}

static void multiply_panels(const void *ctx, size_t t, size_t count, size_t i0, size_t j0, qd_matf out)
{
    const product *s = ctx;
    const pass *p = s->pass;
    size_t width = p->kernel->width, share = qd_panel_share(qd_min_size(p->kernel->depth, SQUARES), count);
    void (*multiply)(const uint16_t *, size_t, const uint16_t *, size_t, float, qd_matf) =
        p->kernel->multiply_rights != NULL ? p->kernel->multiply_rights : p->kernel->multiply;
    for (size_t k = 0; k < count; k += share) {
        size_t depth = qd_panel_depth(qd_min_size(share, count - k)), at = (t + k) * width;
        for (size_t j = 0; j < out.cols; j += width) {
            size_t cols = qd_min_size(width, out.cols - j);
            size_t rows = s->symmetry == QD_SYMMETRIC && i0 == j0 ? j + cols : out.rows;
            multiply(s->left + i0 * p->depth + at, width * p->depth, s->right + (j0 + j) * p->depth + at, depth,
                     k == 0 ? 0 : 1, qd_matf_block(out, 0, j, rows, cols));
        }
    }
}

/* Features along a side of a tile: larger ones make better use of caches, smaller ones are more tasks. Equal shares. */
static size_t tile_of(const qd_product_kernel *kernel, size_t features)
{
    size_t panels = qd_panel_count(kernel, features), side = panels / kernel->tiles;
    side = qd_max_size(kernel->least, qd_min_size(side, kernel->most));
    size_t tiles = (panels + side - 1) / side;
    return kernel->width * ((panels + tiles - 1) / tiles);
}

static qd_gram_tiles tiles_of(const pass *p, const qd_gram_sum *s, product *out_product)
{
    const operand *left = &p->operands[s->left], *right = &p->operands[s->right];
    size_t side = tile_of(p->kernel, qd_min_size(s->sum.rows, s->sum.cols));
    *out_product = (product){ p, left->side[left_side(p->kernel)], right->side[QD_PANEL_RIGHT],
                              s->left == s->right ? QD_SYMMETRIC : QD_GENERAL };
    return (qd_gram_tiles){
        .symmetry = out_product->symmetry,
        .sum = s->sum,
        .tokens = left->x.rows,
        .height = side,
        .width = side,
        .unit = ldexp(1.0, left->exponent + right->exponent),
        .multiply = multiply_panels,
        .ctx = out_product,
    };
}

/* ---- all of them ---- */

static qd_code add_pass(pass *p, const qd_gram_sum *sums, size_t count, qd_pool *pool, qd_error *err)
{
    product products[QD_GRAM_SUMS];
    qd_gram_tiles tiles[QD_GRAM_SUMS];
    qd_code code = pack_scaled(p, pool, err);
    for (size_t i = 0; i < count; i++)
        tiles[i] = tiles_of(p, &sums[i], &products[i]);
    return code == QD_OK ? qd_gram_add_tiles(tiles, count, pool, err) : code;
}

/* Whole chunks, as many as fit. */
static size_t tokens_at_once(size_t tokens, size_t features)
{
    size_t chunks = PASS_BYTES / (features * sizeof(uint16_t)) / QD_GRAM_CHUNK;
    return qd_min_size(tokens, (chunks < 1 ? 1 : chunks) * QD_GRAM_CHUNK);
}

/* Which sides of which inputs are wanted. */
typedef struct wanted {
    bool side[QD_GRAM_INPUTS][2];
    size_t features; /* of all of them, padded */
} wanted;

static wanted sides_of(const qd_product_kernel *kernel, const qd_cmatf *inputs, size_t input_count,
                       const qd_gram_sum *sums, size_t count)
{
    wanted w = { 0 };
    for (size_t i = 0; i < count; i++)
        w.side[sums[i].left][left_side(kernel)] = w.side[sums[i].right][QD_PANEL_RIGHT] = true;
    for (size_t k = 0; k < input_count; k++)
        w.features += qd_panel_count(kernel, inputs[k].cols) * kernel->width *
                      ((size_t)w.side[k][QD_PANEL_LEFT] + w.side[k][QD_PANEL_RIGHT]);
    return w;
}

/* Tokens [t, t + rows), to be packed into `memory`. */
static void take_tokens(pass *p, const qd_cmatf *inputs, const wanted *w, size_t t, size_t rows, uint16_t *memory)
{
    p->depth = qd_panel_depth(rows);
    for (size_t k = 0; k < p->count; k++) {
        p->operands[k] = (operand){ .x = qd_cmatf_block(inputs[k], t, 0, rows, inputs[k].cols) };
        for (qd_panel_side side = QD_PANEL_LEFT; side <= QD_PANEL_RIGHT; side++) {
            if (!w->side[k][side])
                continue;
            p->operands[k].side[side] = memory;
            memory += qd_panel_count(p->kernel, inputs[k].cols) * p->kernel->width * p->depth;
        }
    }
}

qd_code qd_gram_add_panels(const qd_product_kernel *kernel, const qd_cmatf *inputs, size_t input_count,
                           const qd_gram_sum *sums, size_t count, qd_pool *pool, qd_error *err)
{
    assert(kernel->width <= WIDEST && input_count <= QD_GRAM_INPUTS && count <= QD_GRAM_SUMS);
    QD_AUTO(qd_free_pointer) void *memory = NULL, *largest = NULL;
    pass p = { .kernel = kernel, .count = input_count };
    wanted w = sides_of(kernel, inputs, input_count, sums, count);
    size_t tokens = inputs[0].rows, step = tokens_at_once(tokens, w.features);
    size_t bytes = w.features * qd_panel_depth(step) * sizeof(uint16_t);
    qd_code code = qd_alloc(qd_pool_threads(pool), sizeof *p.largest, &largest, err);
    /* Not qd_alloc: packing writes all of it, and to clear it first takes a tenth of a small product. */
    if (code == QD_OK && (memory = aligned_alloc(LINE, bytes)) == NULL)
        code = qd_fail(err, QD_ENOMEM, "out of memory: %zu bytes were wanted", bytes);
    p.largest = largest;
    for (size_t t = 0; code == QD_OK && t < tokens; t += step) {
        take_tokens(&p, inputs, &w, t, qd_min_size(step, tokens - t), memory);
        code = add_pass(&p, sums, count, pool, err);
    }
    return code;
}
