/* gram_panels.c: moments of inputs rounded to bf16: some chunks of tokens are packed once for all sums, by all threads, then multiplied tile by
 * tile. */
#include "quant/gram_tiles.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "linalg/half.h"

/* Packed at once, if that is more than a chunk: fewer waits of threads for each other. PACK_ROWS tokens are a task. */
enum { PASS_BYTES = 16 << 20, PACK_ROWS = 64, WIDEST = 128 };

/* Summed one by one, squares lose the more the more they are: a quarter of a chunk keeps 1e-6. */
enum { SQUARES = QD_GRAM_CHUNK / 4 };

typedef struct operand {
    qd_cmatf x;  /* the tokens of this pass; without data where they are read */
    size_t room; /* where to, in what a worker has for that */
    int exponent;
    uint16_t *side[2]; /* panels of `depth` products, as left and as right ones; NULL where they are not wanted */
} operand;

typedef struct pass {
    const qd_product_kernel *kernel;
    const qd_gram_inputs *inputs;
    size_t first, depth; /* the pass's first token; products of a panel */
    operand operands[QD_GRAM_INPUTS];
    size_t count;
    uint32_t (*largest)[QD_GRAM_INPUTS]; /* a worker */
    uint16_t *rooms;                     /* `room` values a worker, for the inputs that are read */
    size_t room;
} pass;

/* Tokens of a task of one input: of the two views the one that it has. */
typedef struct taken {
    qd_cmatf floats;
    qd_cmath halves;
} taken;

/* Features [i, i + count) of them, in floats and scaled. */
static qd_cmatf scale(const taken *x, size_t i, size_t count, int exponent, float *room)
{
    size_t rows = x->floats.rows;
    for (size_t t = 0; t < rows; t++) {
        float *to = room + t * count;
        if (x->floats.data == NULL)
            qd_bf16_to_floats(qd_cmath_row(x->halves, t) + i, count, to);
        else
            memcpy(to, qd_cmatf_row(x->floats, t) + i, count * sizeof *to);
        for (size_t j = 0; j < count; j++)
            to[j] = (float)ldexp((double)to[j], -exponent);
    }
    return qd_cmatf_view(room, rows, count);
}

static uint32_t pack_piece(const pass *p, const operand *o, const taken *x, size_t i, qd_panel_side side,
                           uint16_t *panel)
{
    _Alignas(64) float scaled[PACK_ROWS * WIDEST];
    size_t rows = x->floats.rows, count = qd_min_size(p->kernel->width, x->floats.cols - i);
    if (o->exponent != 0)
        return p->kernel->pack_columns(scale(x, i, count, o->exponent, scaled), side, panel);
    if (x->floats.data == NULL)
        return p->kernel->pack_columns_bf16(qd_cmath_block(x->halves, 0, i, rows, count), side, panel);
    return p->kernel->pack_columns(qd_cmatf_block(x->floats, 0, i, rows, count), side, panel);
}

/* Tokens [t, t + rows) of all inputs. */
static qd_code take_rows(const pass *p, size_t t, size_t rows, size_t worker, taken *out, qd_error *err)
{
    qd_gram_rows read[QD_GRAM_INPUTS] = { 0 };
    bool any = false;
    for (size_t k = 0; k < p->count; k++) {
        const operand *o = &p->operands[k];
        out[k] = (taken){ .floats = { rows, o->x.cols, o->x.ld, NULL } };
        if (o->x.data != NULL) {
            out[k].floats = qd_cmatf_block(o->x, t, 0, rows, o->x.cols);
            continue;
        }
        read[k].room = p->rooms + worker * p->room + o->room;
        read[k].x = qd_cmath_view(read[k].room, rows, o->x.cols);
        any = true;
    }
    qd_code code = any ? p->inputs->read(p->inputs->ctx, p->first + t, read, err) : QD_OK;
    for (size_t k = 0; k < p->count; k++)
        out[k].halves = read[k].x;
    return code;
}

/* Panel by panel, one side behind the other: inputs are read from the first cache the second time. */
static uint32_t pack_rows(const pass *p, const operand *o, const taken *x, size_t t)
{
    size_t width = p->kernel->width;
    uint32_t largest = 0;
    for (size_t i = 0; i < o->x.cols; i += width)
        for (qd_panel_side side = QD_PANEL_LEFT; side <= QD_PANEL_RIGHT; side++) {
            if (o->side[side] == NULL)
                continue;
            uint32_t found = pack_piece(p, o, x, i, side, o->side[side] + i * p->depth + t * width);
            largest = found > largest ? found : largest;
        }
    return largest;
}

static qd_code pack_tokens(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const pass *p = ctx;
    taken x[QD_GRAM_INPUTS];
    size_t t = index * PACK_ROWS;
    qd_code code = take_rows(p, t, qd_min_size(PACK_ROWS, p->operands[0].x.rows - t), worker, x, err);
    for (size_t k = 0; code == QD_OK && k < p->count; k++) {
        uint32_t largest = pack_rows(p, &p->operands[k], &x[k], t);
        if (largest > p->largest[worker][k])
            p->largest[worker][k] = largest;
    }
    return code;
}

static qd_code pack(pass *p, qd_pool *pool, qd_error *err)
{
    return qd_pool_for(pool, (p->operands[0].x.rows - 1) / PACK_ROWS + 1, pack_tokens, p, err);
}

/* Packs, and once more where inputs turn out to be so small that they must be scaled. out_zero: inputs that are nothing else. */
static qd_code pack_scaled(pass *p, qd_pool *pool, bool out_zero[QD_GRAM_INPUTS], qd_error *err)
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
        out_zero[k] = largest == 0;
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
    qd_product_begin(p->kernel);
    for (size_t k = 0; k < count; k += share) {
        size_t depth = qd_panel_depth(qd_min_size(share, count - k)), at = (t + k) * width;
        for (size_t j = 0; j < out.cols; j += width) {
            size_t cols = qd_min_size(width, out.cols - j);
            size_t rows = s->symmetry == QD_SYMMETRIC && i0 == j0 ? j + cols : out.rows;
            multiply(s->left + i0 * p->depth + at, width * p->depth, s->right + (j0 + j) * p->depth + at, depth,
                     k == 0 ? 0 : 1, qd_matf_block(out, 0, j, rows, cols));
        }
    }
    qd_product_end(p->kernel);
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
    *out_product = (product){ p, left->side[left_side(p->kernel)], right->side[QD_PANEL_RIGHT], s->symmetry };
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

/* Products with zeros are left out: equal streams have a difference of nothing else. */
static qd_code add_pass(pass *p, const qd_gram_sum *sums, size_t count, qd_pool *pool, qd_error *err)
{
    product products[QD_GRAM_SUMS];
    qd_gram_tiles tiles[QD_GRAM_SUMS];
    bool zero[QD_GRAM_INPUTS] = { false };
    size_t wanted = 0;
    qd_code code = pack_scaled(p, pool, zero, err);
    for (size_t i = 0; code == QD_OK && i < count; i++)
        if (!zero[sums[i].left] && !zero[sums[i].right]) {
            tiles[wanted] = tiles_of(p, &sums[i], &products[wanted]);
            wanted++;
        }
    return code == QD_OK && wanted > 0 ? qd_gram_add_tiles(tiles, wanted, pool, err) : code;
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

static wanted sides_of(const qd_product_kernel *kernel, const qd_gram_inputs *inputs, const qd_gram_sum *sums,
                       size_t count)
{
    wanted w = { 0 };
    for (size_t i = 0; i < count; i++)
        w.side[sums[i].left][left_side(kernel)] = w.side[sums[i].right][QD_PANEL_RIGHT] = true;
    for (size_t k = 0; k < inputs->count; k++)
        w.features += qd_panel_count(kernel, inputs->input[k].cols) * kernel->width *
                      ((size_t)w.side[k][QD_PANEL_LEFT] + w.side[k][QD_PANEL_RIGHT]);
    return w;
}

/* Tokens [t, t + rows), to be packed into `memory`. */
static void begin_pass(pass *p, const wanted *w, size_t t, size_t rows, uint16_t *memory)
{
    p->first = t;
    p->depth = qd_panel_depth(rows);
    p->room = 0;
    for (size_t k = 0; k < p->count; k++) {
        qd_cmatf x = p->inputs->input[k];
        p->operands[k] = (operand){ .x = { rows, x.cols, x.ld, NULL }, .room = p->room };
        if (x.data != NULL)
            p->operands[k].x = qd_cmatf_block(x, t, 0, rows, x.cols);
        else
            p->room += PACK_ROWS * x.cols;
        for (qd_panel_side side = QD_PANEL_LEFT; side <= QD_PANEL_RIGHT; side++) {
            if (!w->side[k][side])
                continue;
            p->operands[k].side[side] = memory;
            memory += qd_panel_count(p->kernel, x.cols) * p->kernel->width * p->depth;
        }
    }
}

/* A task's values of the inputs that are read. */
static size_t room_for_reading(const qd_gram_inputs *inputs)
{
    size_t room = 0;
    for (size_t k = 0; k < inputs->count; k++)
        room += inputs->input[k].data == NULL ? PACK_ROWS * inputs->input[k].cols : 0;
    return room;
}

void qd_gram_room_fini(qd_gram_room *room)
{
    free(room->panels);
    *room = (qd_gram_room){ 0 };
}

static qd_code make_room(qd_gram_room *room, size_t bytes, qd_error *err)
{
    if (bytes <= room->bytes)
        return QD_OK;
    qd_gram_room_fini(room);
    qd_code code = qd_alloc(bytes, 1, &room->panels, err);
    room->bytes = code == QD_OK ? bytes : 0;
    return code;
}

qd_code qd_gram_add_panels(const qd_product_kernel *kernel, const qd_gram_inputs *inputs, const qd_gram_sum *sums,
                           size_t count, qd_pool *pool, qd_error *err)
{
    assert(kernel->width <= WIDEST && inputs->count <= QD_GRAM_INPUTS && count <= QD_GRAM_SUMS);
    QD_AUTO(qd_free_pointer) void *largest = NULL, *rooms = NULL;
    QD_AUTO(qd_gram_room_fini) qd_gram_room own = { 0 };
    qd_gram_room *room = inputs->room != NULL ? inputs->room : &own;
    wanted w = sides_of(kernel, inputs, sums, count);
    size_t tokens = inputs->input[0].rows, step = tokens_at_once(tokens, w.features);
    size_t threads = qd_pool_threads(pool);
    pass p = { .kernel = kernel, .inputs = inputs, .count = inputs->count };
    qd_code code = qd_alloc(threads, sizeof *p.largest, &largest, err);
    if (code == QD_OK && inputs->read != NULL)
        code = qd_alloc(threads * room_for_reading(inputs), sizeof(uint16_t), &rooms, err);
    if (code == QD_OK)
        code = make_room(room, w.features * qd_panel_depth(step) * sizeof(uint16_t), err);
    p.largest = largest;
    p.rooms = rooms;
    for (size_t t = 0; code == QD_OK && t < tokens; t += step) {
        begin_pass(&p, &w, t, qd_min_size(step, tokens - t), room->panels);
        code = add_pass(&p, sums, count, pool, err);
    }
    return code;
}
