/* refine_beam.c: K-best search: the K partial roundings of a row with the least sum over its columns so far of (z_j - q_j)^2 C_jj^2; each goes on
 * with the nearest and the second nearest code to its argument. K = 1 is the sweep; K = 2^columns would be the best there is.
 * Source: algorithms.md §13.1. With d = target - q, (z_j - q_j) C_jj = (d C)_j: the sum is the energy itself, and
 * z_j = target_j + (sum over k < j of d_k C_kj) / C_jj.
 *
 * A node is a slot. Nearest children stay in their parent's slot; the kernel says of each column and slot which slot it came from, and codes are
 * put in order once a block. Nodes of a row soon have the same codes but in the last columns, so one product of a block with C is made for all
 * first nodes of the panel, and the others are brought about by the difference. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "linalg/gemm.h"
#include "quant/refine_rows.h"

enum { BLOCK = QD_BEAM_BLOCK, LANES = QD_BEAM_LANES };

typedef struct beam {
    const qd_refine_rows *rows;
    size_t width, slots;
    uint8_t *codes;                              /* of finished blocks: [row][column][slots] */
    double *cost;                                /* [row][slots] */
    qd_matd first;                               /* rows x I: d of each row's first node; the panel's error */
    qd_matd first_product;                       /* rows x BLOCK: the panel's gradient */
    double *product, *scale, *zero, *difference; /* of one row and block */
    uint8_t *block_codes, *parent;
    size_t alive[QD_REFINE_ROWS];  /* nodes of each row */
    size_t shared[QD_REFINE_ROWS]; /* leading columns in which they have the same codes */
} beam;

static size_t slots_of(size_t width)
{
    return (width + LANES - 1) / LANES * LANES;
}

size_t qd_beam_scratch(size_t rows, size_t features, size_t width)
{
    size_t slots = slots_of(width), bytes = slots * (rows * features + 2 * BLOCK);
    return slots * (rows + BLOCK + 1) + 2 * BLOCK + LANES + bytes / sizeof(double);
}

static beam beam_at(const qd_refine_rows *rows, size_t width, double *scratch)
{
    size_t slots = slots_of(width);
    beam b = { .rows = rows, .width = width, .slots = slots, .product = scratch, .first = rows->error };
    b.first_product = qd_matd_block(rows->gradient, 0, 0, rows->count, qd_min_size(BLOCK, rows->steps->count));
    b.difference = b.product + slots * BLOCK;
    b.cost = b.difference + slots;
    b.scale = b.cost + slots * rows->count;
    b.zero = b.scale + BLOCK;
    b.codes = (uint8_t *)(b.zero + BLOCK);
    b.block_codes = b.codes + slots * rows->count * rows->steps->count;
    b.parent = b.block_codes + slots * BLOCK;
    return b;
}

static uint8_t *codes_at(const beam *b, size_t row, size_t column)
{
    return b->codes + (row * b->rows->steps->count + column) * b->slots;
}

static void load_block(const beam *b, size_t row, size_t start, size_t length)
{
    const qd_grid *grid = b->rows->grid;
    const float *scale = qd_matf_row(grid->scale.view, b->rows->start + row);
    const float *zero = qd_matf_row(grid->zero.view, b->rows->start + row);
    for (size_t j = 0; j < length; j++) {
        size_t group = b->rows->steps->group[start + j];
        b->scale[j] = (double)scale[group];
        b->zero[j] = (double)zero[group];
        double product = start == 0 ? 0.0 : qd_matd_row(b->first_product, row)[j];
        for (size_t m = 0; m < b->slots; m++)
            b->product[j * b->slots + m] = product;
    }
}

static bool agree(const beam *b, size_t row, size_t column)
{
    const uint8_t *codes = codes_at(b, row, column);
    for (size_t m = 1; m < b->alive[row]; m++)
        if (codes[m] != *codes)
            return false;
    return true;
}

/* Products of a row's other nodes: those of its first, and what the few codes change that they do not have in common. */
static void spread_others(beam *b, const qd_beam_row *kernel_row, size_t row, size_t start)
{
    const qd_refine_rows *rows = b->rows;
    qd_cmatd c = qd_matd_const(rows->input->factor->c.view);
    while (b->shared[row] < start && agree(b, row, b->shared[row]))
        b->shared[row]++;
    for (size_t t = b->shared[row]; t < start; t++) {
        const uint8_t *codes = codes_at(b, row, t);
        double target = qd_matd_row(rows->target, row)[t], first = qd_matd_row(b->first, row)[t];
        if (agree(b, row, t))
            continue;
        for (size_t m = 0; m < b->slots; m++)
            b->difference[m] = m < b->alive[row] ? target - qd_refine_value(rows, row, t, codes[m]) - first : 0.0;
        rows->kernel->spread(kernel_row, b->difference, qd_cmatd_row(c, t) + start);
    }
}

/* Codes of the block as the nodes have them at its end, and of the columns before it those of the slots that they came from when it began. */
static void keep_block(const beam *b, size_t row, size_t start, size_t length)
{
    uint8_t at[QD_BEAM_MAX], was[QD_BEAM_MAX];
    for (size_t m = 0; m < b->slots; m++)
        at[m] = (uint8_t)m;
    for (size_t j = length; j-- > 0;) {
        uint8_t *to = codes_at(b, row, start + j);
        for (size_t m = 0; m < b->alive[row]; m++) {
            to[m] = b->block_codes[j * b->slots + at[m]];
            at[m] = b->parent[j * b->slots + at[m]];
        }
    }
    for (size_t t = b->shared[row]; t < start; t++) {
        uint8_t *to = codes_at(b, row, t);
        memcpy(was, to, b->slots);
        for (size_t m = 0; m < b->alive[row]; m++)
            to[m] = was[at[m]];
    }
    for (size_t t = b->shared[row]; t < start + length; t++)
        qd_matd_row(b->first, row)[t] =
            qd_matd_row(b->rows->target, row)[t] - qd_refine_value(b->rows, row, t, *codes_at(b, row, t));
}

static void search_row(beam *b, size_t row, size_t start, size_t length)
{
    qd_cmatd c = qd_matd_const(b->rows->input->factor->c.view);
    qd_beam_row block = { .grid = b->rows->grid,
                          .columns = length,
                          .width = b->width,
                          .slots = b->slots,
                          .target = qd_matd_row(b->rows->target, row) + start,
                          .scale = b->scale,
                          .zero = b->zero,
                          .c = qd_cmatd_row(c, start) + start,
                          .ld = c.ld,
                          .alive = b->alive[row],
                          .cost = b->cost + row * b->slots,
                          .product = b->product,
                          .codes = b->block_codes,
                          .parent = b->parent };
    load_block(b, row, start, length);
    spread_others(b, &block, row, start);
    b->rows->kernel->expand(&block);
    b->alive[row] = block.alive;
    keep_block(b, row, start, length);
}

static void search_block(beam *b, size_t start)
{
    size_t length = qd_min_size(BLOCK, b->rows->steps->count - start);
    qd_cmatd c = qd_matd_const(b->rows->input->factor->c.view);
    if (start > 0)
        qd_gemm_f64(QD_PLAIN, QD_PLAIN, 1.0, (qd_cmatd){ b->rows->count, start, b->first.ld, b->first.data },
                    (qd_cmatd){ start, length, c.ld, c.data + start }, 0.0,
                    qd_matd_block(b->first_product, 0, 0, b->rows->count, length));
    for (size_t row = 0; row < b->rows->count; row++)
        search_row(b, row, start, length);
}

void qd_beam_search(const qd_refine_rows *rows, size_t width, double *scratch, uint8_t *out_codes, double *out_cost)
{
    size_t features = rows->steps->count;
    beam b = beam_at(rows, width, scratch);
    for (size_t row = 0; row < rows->count; row++) {
        b.alive[row] = 1;
        b.shared[row] = 0;
    }
    memset(b.cost, 0, rows->count * b.slots * sizeof *b.cost);
    for (size_t start = 0; start < features; start += BLOCK)
        search_block(&b, start);
    for (size_t row = 0; row < rows->count; row++) {
        const double *cost = b.cost + row * b.slots;
        size_t best = 0;
        for (size_t m = 1; m < b.alive[row]; m++)
            best = cost[m] < cost[best] ? m : best;
        out_cost[row] = cost[best];
        for (size_t t = 0; t < features; t++)
            out_codes[row * features + t] = codes_at(&b, row, t)[best];
    }
}
