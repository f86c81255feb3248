/* gram_panels.c: moments of inputs rounded to bf16: some chunks of tokens are packed once, by all threads, then multiplied tile by tile. */
#include "quant/gram_tiles.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

/* Packed at once, if that is more than a chunk: fewer waits of threads for each other. PACK_ROWS tokens are a task. */
enum { PASS_BYTES = 16 << 20, PACK_ROWS = 64, WIDEST = 128, LINE = 64 };

/* Summed one by one, squares lose the more the more they are: a quarter of a chunk keeps 1e-6. */
enum { SQUARES = QD_GRAM_CHUNK / 4 };

typedef struct operand {
    qd_cmatf x; /* the tokens of this pass */
    qd_panel_side side;
    int exponent;
    uint16_t *panels; /* of `depth` products */
} operand;

typedef struct pass {
    const qd_product_kernel *kernel;
    qd_symmetry symmetry;
    size_t depth;
    operand operands[2]; /* left, right */
    size_t count;        /* of them: 1 where one serves for both */
    uint32_t (*largest)[2];
} pass;

/* Features from i on of some tokens. */
static uint32_t pack_piece(const pass *p, const operand *o, qd_cmatf x, uint16_t *panel)
{
    _Alignas(64) float scaled[PACK_ROWS * WIDEST];
    if (o->exponent != 0) {
        for (size_t t = 0; t < x.rows; t++)
            for (size_t i = 0; i < x.cols; i++)
                scaled[t * x.cols + i] = (float)ldexp((double)qd_cmatf_row(x, t)[i], -o->exponent);
        x = qd_cmatf_view(scaled, x.rows, x.cols);
    }
    return p->kernel->pack_columns(x, o->side, panel);
}

/* Panel by panel, one side behind the other: where both are made of the same inputs these are read from the first cache the second time. */
static qd_code pack_tokens(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const pass *p = ctx;
    (void)err;
    size_t width = p->kernel->width, t = index * PACK_ROWS;
    size_t features = qd_max_size(p->operands[0].x.cols, p->operands[p->count - 1].x.cols);
    for (size_t i = 0; i < features; i += width)
        for (size_t k = 0; k < p->count; k++) {
            const operand *o = &p->operands[k];
            if (i >= o->x.cols)
                continue;
            qd_cmatf x =
                qd_cmatf_block(o->x, t, i, qd_min_size(PACK_ROWS, o->x.rows - t), qd_min_size(width, o->x.cols - i));
            uint32_t largest = pack_piece(p, o, x, o->panels + i * p->depth + t * width);
            if (largest > p->largest[worker][k])
                p->largest[worker][k] = largest;
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
    for (size_t w = 0; w < threads; w++)
        p->largest[w][0] = p->largest[w][1] = 0;
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

static void multiply_panels(const void *ctx, size_t t, size_t count, size_t i0, size_t j0, qd_matf product)
{
    const pass *p = ctx;
    size_t width = p->kernel->width, share = qd_panel_share(qd_min_size(p->kernel->depth, SQUARES), count);
    void (*multiply)(const uint16_t *, size_t, const uint16_t *, size_t, float, qd_matf) =
        p->kernel->multiply_rights != NULL ? p->kernel->multiply_rights : p->kernel->multiply;
    const uint16_t *left = p->operands[0].panels, *right = p->operands[p->count - 1].panels;
    for (size_t k = 0; k < count; k += share) {
        size_t depth = qd_panel_depth(qd_min_size(share, count - k)), at = (t + k) * width;
        for (size_t j = 0; j < product.cols; j += width) {
            size_t cols = qd_min_size(width, product.cols - j);
            size_t rows = p->symmetry == QD_SYMMETRIC && i0 == j0 ? j + cols : product.rows;
            multiply(left + i0 * p->depth + at, width * p->depth, right + (j0 + j) * p->depth + at, depth,
                     k == 0 ? 0 : 1, qd_matf_block(product, 0, j, rows, cols));
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

static qd_code add_pass(pass *p, qd_matd sum, qd_pool *pool, qd_error *err)
{
    const operand *left = &p->operands[0], *right = &p->operands[p->count - 1];
    p->depth = qd_panel_depth(left->x.rows);
    qd_code code = pack_scaled(p, pool, err);
    qd_gram_tiles tiles = {
        .symmetry = p->symmetry,
        .sum = sum,
        .tokens = left->x.rows,
        .height = tile_of(p->kernel, qd_min_size(sum.rows, sum.cols)),
        .width = tile_of(p->kernel, qd_min_size(sum.rows, sum.cols)),
        .unit = ldexp(1.0, left->exponent + right->exponent),
        .multiply = multiply_panels,
        .ctx = p,
    };
    return code == QD_OK ? qd_gram_add_tiles(&tiles, pool, err) : code;
}

/* Whole chunks, as many as fit. */
static size_t tokens_at_once(size_t tokens, size_t features)
{
    size_t chunks = PASS_BYTES / (features * sizeof(uint16_t)) / QD_GRAM_CHUNK;
    return qd_min_size(tokens, (chunks < 1 ? 1 : chunks) * QD_GRAM_CHUNK);
}

qd_code qd_gram_add_panels(const qd_product_kernel *kernel, qd_matd sum, qd_cmatf left, qd_cmatf right,
                           qd_symmetry symmetry, qd_pool *pool, qd_error *err)
{
    assert(kernel->width <= WIDEST);
    QD_AUTO(qd_free_pointer) void *memory = NULL, *largest = NULL;
    pass p = { .kernel = kernel, .symmetry = symmetry };
    p.count = symmetry == QD_SYMMETRIC && kernel->multiply_rights != NULL ? 1 : 2;
    qd_cmatf x[2] = { left, right };
    size_t features[2] = { qd_panel_count(kernel, left.cols) * kernel->width,
                           p.count == 1 ? 0 : qd_panel_count(kernel, right.cols) * kernel->width };
    size_t step = tokens_at_once(left.rows, features[0] + features[1]), depth = qd_panel_depth(step);
    size_t bytes = (features[0] + features[1]) * depth * sizeof(uint16_t);
    qd_code code = qd_alloc(qd_pool_threads(pool), sizeof *p.largest, &largest, err);
    /* Not qd_alloc: packing writes all of it, and to clear it first takes a tenth of a small product. */
    if (code == QD_OK && (memory = aligned_alloc(LINE, bytes)) == NULL)
        code = qd_fail(err, QD_ENOMEM, "out of memory: %zu bytes were wanted", bytes);
    p.largest = largest;
    for (size_t t = 0; code == QD_OK && t < left.rows; t += step) {
        for (size_t k = 0; k < p.count; k++)
            p.operands[k] =
                (operand){ .x = qd_cmatf_block(x[k], t, 0, qd_min_size(step, left.rows - t), x[k].cols),
                           .side = k == 0 && kernel->multiply_rights == NULL ? QD_PANEL_LEFT : QD_PANEL_RIGHT,
                           .panels = (uint16_t *)memory + k * features[0] * depth };
        code = add_pass(&p, sum, pool, err);
    }
    return code;
}
