/* refine_beam.c: K-best search: the K partial roundings of a row with the least sum over its columns so far of (z_j - q_j)^2 C_jj^2; each goes on
 * with the nearest and the second nearest code to its argument. K = 1 is the sweep; K = 2^columns would be the best there is.
 * Source: algorithms.md §13.1. With d = target - q, (z_j - q_j) C_jj = (d C)_j: the sum is the energy itself, and
 * z_j = target_j + (sum over k < j of d_k C_kj) / C_jj.
 *
 * A node is a slot with what the block under way has of its row: products (d C)_j so far, d, codes. What lies before the block is in the
 * history of the slot it came from when the block began, which moves once a block. Nearest children stay in their parent's slot. Nodes of a
 * row soon have the same codes but in the last columns, so one product a row and block is made, and the others by the difference. */
#include <math.h>
#include <string.h>

#include "linalg/gemm.h"
#include "quant/refine_rows.h"

enum { BLOCK = QD_REFINE_BLOCK };

typedef struct beam {
    const qd_refine_rows *rows;
    size_t width, batch, first; /* slots a row; rows of a batch, from row `first` of the panel */
    double *history, *spare;    /* slots x I: d of finished blocks; where they move to */
    double *product, *error;    /* slots x BLOCK */
    uint8_t *codes, *spare_codes, *block_codes;
    double *cost;
    size_t *root;                  /* slot that the node was in when the block began */
    size_t alive[QD_REFINE_ROWS];  /* nodes of each row of the batch */
    size_t shared[QD_REFINE_ROWS]; /* leading columns in which they have the same codes */
} beam;

/* Slots of a batch. */
static size_t slots_of(size_t width)
{
    size_t rows = QD_REFINE_NODES / width;
    return (rows < 1 ? 1 : rows > QD_REFINE_ROWS ? QD_REFINE_ROWS : rows) * width;
}

size_t qd_beam_scratch(size_t features, size_t width)
{
    size_t slots = slots_of(width), bytes = slots * (2 * features + BLOCK);
    return slots * (2 * features + 2 * BLOCK + 2) + bytes / sizeof(double) + 1;
}

static beam beam_at(const qd_refine_rows *rows, size_t width, double *scratch)
{
    size_t features = rows->steps->count, slots = slots_of(width);
    static_assert(sizeof(size_t) <= sizeof(double), "slots fit where numbers do");
    beam b = { .rows = rows, .width = width, .history = scratch, .spare = scratch + slots * features };
    b.product = b.spare + slots * features;
    b.error = b.product + slots * BLOCK;
    b.cost = b.error + slots * BLOCK;
    b.root = (size_t *)(void *)(b.cost + slots);
    b.codes = (uint8_t *)(b.root + slots);
    b.spare_codes = b.codes + slots * features;
    b.block_codes = b.spare_codes + slots * features;
    return b;
}

/* What a node may do next; costs are those of the node after it. */
typedef struct child {
    double error, cost;
    uint8_t code;
} child;

/* What all nodes of a row share in a column. */
typedef struct place {
    size_t row, step;
    double target, pivot, inverse, scale, zero;
} place;

static place place_of(const beam *b, size_t row, size_t step)
{
    const qd_grid *grid = b->rows->grid;
    size_t at = b->rows->start + row, group = b->rows->steps->group[step];
    double pivot = qd_matd_row(b->rows->input->factor->c.view, step)[step];
    return (place){ row,
                    step,
                    qd_matd_row(b->rows->target, row)[step],
                    pivot,
                    1.0 / pivot,
                    (double)qd_matf_row(grid->scale.view, at)[group],
                    (double)qd_matf_row(grid->zero.view, at)[group] };
}

static child child_of(const beam *b, const place *at, double product, double cost, int code)
{
    double error = at->target - (qd_grid_level(b->rows->grid, (uint8_t)code) - at->zero) * at->scale;
    double part = error * at->pivot + product;
    return (child){ error, cost + part * part, (uint8_t)code };
}

/* The nearest and the second nearest code; of a grid with one code the second costs infinity. */
static void children(const beam *b, const place *at, double product, double cost, child *near, child *next)
{
    double argument = at->target + product * at->inverse;
    int last = b->rows->grid->high - b->rows->grid->low;
    int code = qd_refine_nearest(b->rows, at->row, at->step, argument);
    *near = child_of(b, at, product, cost, code);
    int other = near->error + product * at->inverse > 0.0 ? code + 1 : code - 1; /* argument above the value? */
    if (other < 0 || other > last)
        other = 2 * code - other; /* at the end of the grid: the one inside */
    *next = (child){ 0.0, INFINITY, (uint8_t)code };
    if (other < 0 || other > last)
        return;
    *next = child_of(b, at, product, cost, other);
    if (next->cost < near->cost)
        next->cost = near->cost; /* ties by grid.h, whatever the last bit says */
}

/* Of the block: d and codes of the columns before `at`, products of those after it. */
static void copy_node(const beam *b, size_t from, size_t to, size_t at)
{
    memcpy(b->product + to * BLOCK + at, b->product + from * BLOCK + at, (BLOCK - at) * sizeof *b->product);
    memcpy(b->error + to * BLOCK, b->error + from * BLOCK, at * sizeof *b->error);
    memcpy(b->block_codes + to * BLOCK, b->block_codes + from * BLOCK, at);
    b->root[to] = b->root[from];
}

static size_t cheapest(const child *children, size_t count)
{
    size_t best = 0;
    for (size_t m = 1; m < count; m++)
        best = children[m].cost < children[best].cost ? m : best;
    return best;
}

static size_t dearest(const child *children, size_t count)
{
    size_t worst = 0;
    for (size_t m = 1; m < count; m++)
        worst = children[m].cost >= children[worst].cost ? m : worst;
    return worst;
}

/* near: a child a slot. The cheapest second children come in: into free slots, then in place of dearer ones; of equals the earlier stays. */
static size_t select_nodes(const beam *b, size_t k, size_t at, child *near, child *next)
{
    size_t base = k * b->width, alive = b->alive[k], parents = alive;
    for (;;) {
        size_t from = cheapest(next, parents), to = alive;
        if (next[from].cost == INFINITY)
            return alive;
        if (alive < b->width)
            alive++;
        else {
            to = dearest(near, alive);
            if (!(next[from].cost < near[to].cost))
                return alive;
        }
        copy_node(b, base + from, base + to, at);
        near[to] = next[from];
        next[from].cost = INFINITY;
        if (to < parents)
            next[to].cost = INFINITY; /* what it would come from is gone */
    }
}

/* Column `at` of the block for one row of the batch. */
static void expand(beam *b, size_t k, size_t start, size_t at, size_t length)
{
    child near[QD_BEAM_MAX], next[QD_BEAM_MAX];
    size_t base = k * b->width;
    const place here = place_of(b, b->first + k, start + at);
    for (size_t m = 0; m < b->alive[k]; m++)
        children(b, &here, b->product[(base + m) * BLOCK + at], b->cost[base + m], &near[m], &next[m]);
    if (b->width > 1)
        b->alive[k] = select_nodes(b, k, at, near, next);
    const double *c = qd_matd_row(b->rows->input->factor->c.view, start + at) + start;
    for (size_t m = 0; m < b->alive[k]; m++) {
        size_t slot = base + m, spot = slot * BLOCK + at;
        b->error[spot] = near[m].error;
        b->block_codes[spot] = near[m].code;
        b->cost[slot] = near[m].cost;
        qd_axpy_f64(near[m].error, c + at + 1, b->product + spot + 1, length - at - 1);
    }
}

/* Every node takes the history of the slot it came from, and the block's columns behind it. */
static void keep_block(beam *b, size_t start, size_t length)
{
    size_t features = b->rows->steps->count;
    for (size_t slot = 0; slot < b->batch * b->width; slot++) {
        size_t from = b->root[slot] * features, to = slot * features;
        memcpy(b->spare + to, b->history + from, start * sizeof *b->spare);
        memcpy(b->spare + to + start, b->error + slot * BLOCK, length * sizeof *b->spare);
        memcpy(b->spare_codes + to, b->codes + from, start);
        memcpy(b->spare_codes + to + start, b->block_codes + slot * BLOCK, length);
    }
    double *history = b->history;
    uint8_t *codes = b->codes;
    b->history = b->spare;
    b->spare = history;
    b->codes = b->spare_codes;
    b->spare_codes = codes;
}

static bool agree(const beam *b, size_t k, size_t t)
{
    size_t features = b->rows->steps->count;
    const uint8_t *codes = b->codes + k * b->width * features + t;
    for (size_t m = 1; m < b->alive[k]; m++)
        if (codes[m * features] != *codes)
            return false;
    return true;
}

/* Products of a row's other nodes: those of its first, and what the few codes change that they do not have in common. */
static void multiply_others(beam *b, size_t k, size_t start, size_t length)
{
    size_t features = b->rows->steps->count, base = k * b->width;
    const uint8_t *codes = b->codes + base * features;
    const double *history = b->history + base * features;
    while (b->shared[k] < start && agree(b, k, b->shared[k]))
        b->shared[k]++;
    for (size_t m = 1; m < b->alive[k]; m++) {
        double *product = b->product + (base + m) * BLOCK;
        memcpy(product, b->product + base * BLOCK, length * sizeof *product);
        for (size_t t = b->shared[k]; t < start; t++)
            if (codes[m * features + t] != codes[t])
                qd_axpy_f64(history[m * features + t] - history[t],
                            qd_matd_row(b->rows->input->factor->c.view, t) + start, product, length);
    }
}

static void search_block(beam *b, size_t start)
{
    size_t features = b->rows->steps->count, length = features - start < BLOCK ? features - start : BLOCK;
    qd_cmatd c = qd_matd_const(b->rows->input->factor->c.view);
    for (size_t slot = 0; slot < b->batch * b->width; slot++)
        b->root[slot] = slot;
    if (start == 0)
        memset(b->product, 0, b->batch * b->width * BLOCK * sizeof *b->product);
    else /* of the first node of every row */
        qd_gemm_f64(QD_PLAIN, QD_PLAIN, 1.0, (qd_cmatd){ b->batch, start, b->width * features, b->history },
                    (qd_cmatd){ start, length, c.ld, c.data + start }, 0.0,
                    (qd_matd){ b->batch, length, b->width * BLOCK, b->product });
    for (size_t k = 0; k < b->batch; k++)
        multiply_others(b, k, start, length);
    for (size_t k = 0; k < b->batch; k++)
        for (size_t at = 0; at < length; at++)
            expand(b, k, start, at, length);
    keep_block(b, start, length);
}

static void search_batch(beam *b, uint8_t *out_codes, double *out_cost)
{
    size_t features = b->rows->steps->count;
    for (size_t k = 0; k < b->batch; k++) {
        b->alive[k] = 1;
        b->shared[k] = 0;
        b->cost[k * b->width] = 0.0;
    }
    for (size_t start = 0; start < features; start += BLOCK)
        search_block(b, start);
    for (size_t k = 0; k < b->batch; k++) {
        size_t best = k * b->width;
        for (size_t m = 1; m < b->alive[k]; m++)
            best = b->cost[k * b->width + m] < b->cost[best] ? k * b->width + m : best;
        memcpy(out_codes + (b->first + k) * features, b->codes + best * features, features);
        out_cost[b->first + k] = b->cost[best];
    }
}

void qd_beam_search(const qd_refine_rows *rows, size_t width, double *scratch, uint8_t *out_codes, double *out_cost)
{
    size_t batch = slots_of(width) / width;
    beam b = beam_at(rows, width, scratch);
    for (b.first = 0; b.first < rows->count; b.first += batch) {
        b.batch = rows->count - b.first < batch ? rows->count - b.first : batch;
        search_batch(&b, out_codes, out_cost);
    }
}
