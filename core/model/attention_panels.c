/* attention_panels.c: attention in bf16 whose two products are made of panels (linalg/product_kernels.h), for AVX-512: see attention.h.
 *
 * A tile is QD_ATTENTION_LANES positions of one head: scores are Q K^T, positions x keys, weights times V positions x columns of the head. Keys and
 * values of all positions are packed once for all heads that share them. Scores of the next block of keys are made before the weights of
 * this one are used: what was written just now is not read yet. Beside the multiplications of tiles a block costs two readings of its scores:
 * one for the largest of each position, one that rounds weights into the places where the second product reads them. */
#include "model/attention_kernels.h"

#ifdef QD_ATTENTION_X86

#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "linalg/vexp.h"

#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define TARGET __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx512bf16,fma")))
#define INLINE TARGET static inline __attribute__((always_inline))
#define LOG2_E 1.44269504f
enum { LANES = QD_ATTENTION_LANES, KEYS = QD_ATTENTION_KEYS, WIDTH = 16, VECTORS = KEYS / WIDTH };

typedef struct tile {
    const qd_attention_part *part;
    size_t deep, whole;                  /* columns of a head; keys: padded */
    float unit;                          /* what settled scores are multiplied by for 2's exponents */
    uint16_t *keys, *values;             /* right sides: by keys over columns, by columns over keys */
    uint16_t *queries, *weights;         /* left sides: by positions */
    float *score[2], *sum;               /* LANES x KEYS, of two blocks in turn; LANES x deep */
    size_t head, first, lanes, position; /* rows [first, first + lanes) of q; the first one's position */
    _Alignas(64) float most[LANES], total[LANES], factor[LANES]; /* most: largest exponent of 2 */
} tile;

/* 2^x: 2^floor(x), and of what is left a polynomial, fitted to 2^r on [0, 1) with the value 1 at 0; relative error below 1.5e-7 (8.3e-8 of
 * it the polynomial's) beside the 2e-3 that rounding to bf16 has. Of -inf 0 is left, and the scale is 0; no number stays none. */
INLINE __m512 power_of_two(__m512 x)
{
    enum { BEYOND_FLOOR = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }; /* of 2^0 x: the upper four bits */
    __m512 r = _mm512_reduce_ps(x, BEYOND_FLOOR), p = _mm512_set1_ps(1.86713007e-3f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.01703032e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.57999131e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.4016445e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.93151312e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1));
    return _mm512_scalef_ps(p, x);
}

TARGET void qd_attention_powers(const float *x, size_t count, float *out)
{
    for (size_t i = 0; i < count; i += WIDTH)
        _mm512_storeu_ps(out + i, power_of_two(_mm512_loadu_ps(x + i)));
}

/* Element i: OF's fold of all elements of r[i]. Halves of two vectors make one, four times. */
#define FOLD(name, of) \
    INLINE __m512 name(__m512 r[WIDTH]) \
    { \
        UNROLL for (size_t i = 0; i < WIDTH / 2; i++) r[i] = \
            of(_mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]), _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1])); \
        UNROLL for (size_t i = 0; i < WIDTH / 4; i++) \
        { \
            __m512d a = _mm512_castps_pd(r[2 * i]), b = _mm512_castps_pd(r[2 * i + 1]); \
            r[i] = of(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b))); \
        } \
        UNROLL for (size_t i = 0; i < WIDTH / 8; i++) r[i] = of(_mm512_shuffle_f32x4(r[2 * i], r[2 * i + 1], 0x88), \
                                                                _mm512_shuffle_f32x4(r[2 * i], r[2 * i + 1], 0xdd)); \
        return of(_mm512_shuffle_f32x4(r[0], r[1], 0x88), _mm512_shuffle_f32x4(r[0], r[1], 0xdd)); \
    }
FOLD(largest_of, _mm512_max_ps)
FOLD(sums_of, _mm512_add_ps)

/* ---- products ---- */

static void pack_head(tile *t)
{
    const qd_product_kernel *f = t->part->products;
    qd_cmatf k = t->part->k, v = t->part->v;
    size_t width = f->width, packed = qd_panel_depth(v.rows);
    for (size_t i = 0; i < t->whole; i += width) {
        uint16_t *panel = t->keys + i * t->deep;
        if (i < k.rows)
            f->pack_rows(qd_cmatf_block(k, i, 0, qd_min_size(width, k.rows - i), k.cols), QD_PANEL_RIGHT, panel);
        else
            memset(panel, 0, width * t->deep * sizeof *panel);
    }
    for (size_t d = 0; d < v.cols; d += width) {
        uint16_t *panel = t->values + d * t->whole;
        f->pack_columns(qd_cmatf_block(v, 0, d, v.rows, qd_min_size(width, v.cols - d)), QD_PANEL_RIGHT, panel);
        memset(panel + packed * width, 0, (t->whole - packed) * width * sizeof *panel);
    }
}

static void pack_left(const tile *t, qd_cmatf x, uint16_t *panels)
{
    const qd_product_kernel *f = t->part->products;
    for (size_t i = 0; i < x.rows; i += f->width)
        f->pack_rows(qd_cmatf_block(x, i, 0, qd_min_size(f->width, x.rows - i), x.cols), QD_PANEL_LEFT,
                     panels + i * qd_panel_depth(x.cols));
}

static void score_keys(const tile *t, size_t begin, float *score)
{
    const qd_product_kernel *f = t->part->products;
    for (size_t i = 0; i < KEYS; i += f->width)
        f->multiply(t->queries, f->width * t->deep, t->keys + (begin + i) * t->deep, t->deep, 0,
                    (qd_matf){ t->lanes, f->width, KEYS, score + i });
}

static void add_values(const tile *t, size_t begin)
{
    const qd_product_kernel *f = t->part->products;
    for (size_t d = 0; d < t->deep; d += f->width) /* panels of values are padded with zeros */
        f->multiply(t->weights, f->width * KEYS, t->values + d * t->whole + begin * f->width, KEYS, 1,
                    (qd_matf){ t->lanes, f->width, t->deep, t->sum + d });
}

/* ---- weights ---- */

/* Only then are larger products larger scores. */
static inline bool is_plain(const qd_attention *attention)
{
    return attention->cap <= 0 && attention->scale > 0;
}

/* Products become scaled scores, with a cap. */
TARGET static void scale_scores(const tile *t, float *score)
{
    const qd_attention *a = t->part->attention;
    const __m512 scale = _mm512_set1_ps(a->scale);
    for (size_t i = 0; i < t->lanes * KEYS; i += WIDTH)
        _mm512_store_ps(score + i, _mm512_mul_ps(_mm512_load_ps(score + i), scale));
    if (a->cap > 0)
        qd_tanh_row(score, t->lanes * KEYS, 1 / a->cap, a->cap);
}

/* Which of 16 keys from `key` on a position sees. */
static inline __mmask16 seen(size_t position, size_t window, size_t key)
{
    size_t end = position + 1, from = window > 0 && end > window ? end - window : 0;
    size_t above = end <= key ? 0 : qd_min_size(end - key, WIDTH),
           below = from <= key ? 0 : qd_min_size(from - key, WIDTH);
    return (__mmask16)(((1u << above) - 1) & ~((1u << below) - 1));
}

TARGET static void hide_scores(const tile *t, size_t begin, float *score)
{
    size_t window = t->part->attention->window;
    for (size_t l = 0; l < t->lanes; l++)
        for (size_t v = 0; v < KEYS; v += WIDTH)
            _mm512_mask_store_ps(score + l * KEYS + v, (__mmask16)~seen(t->position + l, window, begin + v),
                                 _mm512_set1_ps(-INFINITY));
}

/* `most` becomes the largest exponent up to here, `factor` what older weights are multiplied by. What is no number is never the largest. */
TARGET static void settle_scores(tile *t, size_t begin, float *score)
{
    const qd_attention *a = t->part->attention;
    const size_t last = t->position + t->lanes - 1;
    if (!is_plain(a))
        scale_scores(t, score);
    if (begin + KEYS > t->position + 1 || (a->window > 0 && begin + a->window <= last))
        hide_scores(t, begin, score);
    for (size_t l = 0; l < t->lanes; l += WIDTH) {
        __m512 largest[WIDTH], before = _mm512_load_ps(t->most + l);
        UNROLL for (size_t i = 0; i < WIDTH; i++)
        {
            const float *row = score + (l + i) * KEYS;
            largest[i] = _mm512_set1_ps(-FLT_MAX);
            UNROLL for (size_t v = 0; v < KEYS; v += WIDTH) largest[i] =
                _mm512_max_ps(_mm512_load_ps(row + v), largest[i]);
        }
        __m512 now = _mm512_max_ps(_mm512_mul_ps(largest_of(largest), _mm512_set1_ps(t->unit)), before);
        _mm512_store_ps(t->factor + l, power_of_two(_mm512_sub_ps(before, now)));
        _mm512_store_ps(t->most + l, now);
    }
}

/* A position's weights, rounded, as a row of a left panel; their sums, unrounded. */
INLINE __m512 weigh_row(const float *score, float unit, float most, size_t width, uint16_t *to)
{
    const __m512 units = _mm512_set1_ps(unit), top = _mm512_set1_ps(most);
    __m512 w[VECTORS];
    UNROLL for (size_t v = 0; v < VECTORS; v++) w[v] =
        power_of_two(_mm512_fmsub_ps(_mm512_load_ps(score + v * WIDTH), units, top));
    UNROLL for (size_t v = 0; v < VECTORS; v += 2)
        _mm512_store_si512(to + v * WIDTH * width, (__m512i)_mm512_cvtne2ps_pbh(w[v + 1], w[v]));
    return _mm512_add_ps(_mm512_add_ps(w[0], w[1]), _mm512_add_ps(w[2], w[3]));
}

/* Scores become weights. What was summed before is brought to the new `most`. */
TARGET static void weigh(tile *t, const float *score)
{
    const size_t width = t->part->products->width;
    for (size_t l = 0; l < t->lanes; l += WIDTH) {
        __m512 sum[WIDTH];
        uint16_t *to = t->weights + l / width * width * KEYS + l % width * QD_PANEL_STEP;
        for (size_t i = 0; i < WIDTH; i++)
            sum[i] = weigh_row(score + (l + i) * KEYS, t->unit, t->most[l + i], width, to + i * QD_PANEL_STEP);
        __m512 total = _mm512_mul_ps(_mm512_load_ps(t->total + l), _mm512_load_ps(t->factor + l));
        _mm512_store_ps(t->total + l, _mm512_add_ps(total, sums_of(sum)));
    }
    for (size_t l = 0; l < t->lanes; l++) {
        __m512 factor = _mm512_set1_ps(t->factor[l]);
        float *sum = t->sum + l * t->deep;
        if (t->factor[l] != 1)
            for (size_t d = 0; d < t->deep; d += WIDTH)
                _mm512_store_ps(sum + d, _mm512_mul_ps(_mm512_load_ps(sum + d), factor));
    }
}

/* ---- tiles ---- */

static void begin_tile(tile *t)
{
    size_t hd = t->part->v.cols;
    for (size_t l = 0; l < LANES; l++) {
        t->most[l] = -FLT_MAX;
        t->total[l] = 0;
    }
    memset(t->sum, 0, t->lanes * t->deep * sizeof *t->sum);
    if (t->lanes < LANES) /* whole vectors of lanes are weighed */
        for (size_t i = 0; i < QD_LENGTH(t->score); i++)
            memset(t->score[i] + t->lanes * KEYS, 0, (LANES - t->lanes) * KEYS * sizeof *t->score[i]);
    pack_left(t, qd_cmatf_block(t->part->q, t->first, t->head * hd, t->lanes, hd), t->queries);
}

/* By reciprocals: a division would be exact to half a step of float32, this is to one and a half, of sums whose weights have eight bits. */
TARGET static void store(const tile *t)
{
    size_t hd = t->part->v.cols;
    for (size_t l = 0; l < t->lanes; l++) {
        const __m512 share = _mm512_set1_ps(1 / t->total[l]);
        float *to = qd_matf_row(t->part->out, t->first + l) + t->head * hd;
        for (size_t d = 0; d < hd; d += WIDTH)
            _mm512_mask_storeu_ps(to + d, hd - d < WIDTH ? (__mmask16)((1u << (hd - d)) - 1) : 0xffff,
                                  _mm512_mul_ps(_mm512_load_ps(t->sum + l * t->deep + d), share));
    }
}

static void do_tile(tile *t)
{
    size_t window = t->part->attention->window, last = t->position + t->lanes - 1;
    size_t from = window > 0 && t->position + 1 > window ? t->position + 1 - window : 0, turn = 0;
    begin_tile(t);
    score_keys(t, from / KEYS * KEYS, t->score[0]);
    for (size_t begin = from / KEYS * KEYS; begin <= last;
         begin += KEYS, turn ^= 1) { /* the same blocks for every tile */
        settle_scores(t, begin, t->score[turn]);
        weigh(t, t->score[turn]);
        if (begin + KEYS <= last)
            score_keys(t, begin + KEYS, t->score[turn ^ 1]);
        add_values(t, begin);
    }
    store(t);
}

void qd_attention_by_panels(const qd_attention_part *part)
{
    const qd_attention *a = part->attention;
    tile t = { .part = part,
               .deep = qd_panel_depth(a->head_dim),
               .whole = (part->k.rows + KEYS - 1) / KEYS * KEYS,
               .unit = is_plain(a) ? a->scale * LOG2_E : LOG2_E };
    assert(part->products->left_rows && part->products->width % WIDTH == 0);
    t.sum = part->room;
    t.score[0] = t.sum + LANES * t.deep;
    t.score[1] = t.score[0] + LANES * KEYS;
    t.queries = (uint16_t *)(t.score[1] + LANES * KEYS);
    t.weights = t.queries + LANES * t.deep;
    t.keys = t.weights + LANES * KEYS;
    t.values = t.keys + t.whole * t.deep;
    pack_head(&t);
    qd_product_begin(part->products);
    for (t.head = 0; t.head < a->heads / a->kv_heads; t.head++)
        for (t.first = 0; t.first < part->q.rows; t.first += LANES) {
            t.lanes = qd_min_size(LANES, part->q.rows - t.first);
            t.position = part->k.rows - part->q.rows + t.first;
            do_tile(&t);
        }
    qd_product_end(part->products);
}

#endif
