/* attention_panels.c: attention in bf16 whose two products are made of panels (linalg/product_kernels.h), for AVX-512: see attention.h.
 *
 * A tile is QD_ATTENTION_LANES positions of one head: scores are Q K^T, positions x keys, weights times V positions x columns of the head. Keys and
 * values of all positions are packed once for all heads that share them. Scores of the next block of keys are made before the weights of
 * this one are used: what was written just now is not read yet. */
#include "model/attention_kernels.h"

#ifdef QD_ATTENTION_X86

#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "linalg/vexp.h"

#if !defined(__clang__)
#pragma GCC optimize("O3") /* vectorize the loops over a head's columns */
#endif
#define TARGET __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma")))
#define INLINE TARGET static inline __attribute__((always_inline))
enum { LANES = QD_ATTENTION_LANES, KEYS = QD_ATTENTION_KEYS, WIDTH = 16, VECTORS = KEYS / WIDTH };

typedef struct tile {
    const qd_attention_part *part;
    size_t deep, whole;                  /* columns of a head; keys: padded */
    uint16_t *keys, *values;             /* right sides: by keys over columns, by columns over keys */
    uint16_t *queries, *weights;         /* left sides: by positions */
    float *score[2], *sum;               /* LANES x KEYS, of two blocks in turn; LANES x hd */
    size_t head, first, lanes, position; /* rows [first, first + lanes) of q; the first one's position */
    _Alignas(64) float most[LANES], total[LANES], factor[LANES];
} tile;

/* 2^x for x <= 0, as in attention_kernel.inc. */
INLINE __m512 power_of_two(__m512 x)
{
    const __m512 magic = _mm512_set1_ps(0x1.8p23f);
    x = _mm512_max_ps(_mm512_set1_ps(-126), x);
    __m512 shifted = _mm512_add_ps(x, magic), r = _mm512_sub_ps(x, _mm512_sub_ps(shifted, magic));
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(1.5353362e-4f), r, _mm512_set1_ps(1.33988739e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.61843692e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.55033237e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.40226477e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.93147182e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1));
    __m512i up = _mm512_slli_epi32(_mm512_castps_si512(shifted), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), up));
}

INLINE __m512 exponential(__m512 x)
{
    return power_of_two(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)));
}

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
    size_t hd = t->part->v.cols;
    for (size_t d = 0; d < hd; d += f->width)
        f->multiply(t->weights, f->width * KEYS, t->values + d * t->whole + begin * f->width, KEYS, 1,
                    (qd_matf){ t->lanes, qd_min_size(f->width, hd - d), hd, t->sum + d });
}

/* ---- weights ---- */

/* Which of 16 keys from `key` on a position sees. */
static inline __mmask16 seen(size_t position, size_t window, size_t key)
{
    size_t end = position + 1, from = window > 0 && end > window ? end - window : 0;
    size_t above = end <= key ? 0 : qd_min_size(end - key, WIDTH),
           below = from <= key ? 0 : qd_min_size(from - key, WIDTH);
    return (__mmask16)(((1u << above) - 1) & ~((1u << below) - 1));
}

/* Scales and hides; `most` becomes the largest score up to here, `factor` what older weights are multiplied by. */
TARGET static void settle_scores(tile *t, size_t begin, float *score)
{
    const qd_attention *a = t->part->attention;
    const __m512 scale = _mm512_set1_ps(a->scale), nothing = _mm512_set1_ps(-INFINITY),
                 least = _mm512_set1_ps(-FLT_MAX);
    const size_t last = t->position + t->lanes - 1;
    const bool all_seen = begin + KEYS <= t->position + 1 && (a->window == 0 || begin + a->window > last);
    _Alignas(64) float top[LANES];
    memcpy(top, t->most, sizeof top);
    for (size_t l = 0; l < t->lanes; l++) {
        __m512 s[VECTORS], largest = least;
        for (size_t v = 0; v < VECTORS; v++)
            s[v] = _mm512_mul_ps(_mm512_load_ps(score + l * KEYS + v * WIDTH), scale);
        if (a->cap > 0) {
            for (size_t v = 0; v < VECTORS; v++)
                _mm512_store_ps(score + l * KEYS + v * WIDTH, s[v]);
            qd_tanh_row(score + l * KEYS, KEYS, 1 / a->cap, a->cap);
            for (size_t v = 0; v < VECTORS; v++)
                s[v] = _mm512_load_ps(score + l * KEYS + v * WIDTH);
        }
        for (size_t v = 0; v < VECTORS; v++) {
            if (!all_seen)
                s[v] = _mm512_mask_mov_ps(nothing, seen(t->position + l, a->window, begin + v * WIDTH), s[v]);
            largest = _mm512_max_ps(s[v], largest);
            _mm512_store_ps(score + l * KEYS + v * WIDTH, s[v]);
        }
        top[l] = fmaxf(top[l], _mm512_reduce_max_ps(largest));
    }
    for (size_t l = 0; l < LANES; l += WIDTH) {
        __m512 now = _mm512_load_ps(top + l);
        _mm512_store_ps(t->factor + l, exponential(_mm512_sub_ps(_mm512_load_ps(t->most + l), now)));
        _mm512_store_ps(t->most + l, now);
    }
}

/* Scores become weights. What was summed before is brought to the new `most`. */
TARGET static void weigh(tile *t, float *score)
{
    const __m512 nothing = _mm512_set1_ps(-INFINITY);
    size_t hd = t->part->v.cols;
    for (size_t l = 0; l < t->lanes; l++) {
        __m512 top = _mm512_set1_ps(t->most[l]), sum = _mm512_setzero_ps();
        for (size_t v = 0; v < VECTORS; v++) {
            __m512 s = _mm512_load_ps(score + l * KEYS + v * WIDTH);
            __m512 weight =
                _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(s, nothing, _CMP_NEQ_UQ), exponential(_mm512_sub_ps(s, top)));
            _mm512_store_ps(score + l * KEYS + v * WIDTH, weight);
            sum = _mm512_add_ps(sum, weight);
        }
        t->total[l] = t->total[l] * t->factor[l] + _mm512_reduce_add_ps(sum);
        if (t->factor[l] != 1)
            for (size_t d = 0; d < hd; d++)
                t->sum[l * hd + d] *= t->factor[l];
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
    memset(t->sum, 0, t->lanes * hd * sizeof *t->sum);
    pack_left(t, qd_cmatf_block(t->part->q, t->first, t->head * hd, t->lanes, hd), t->queries);
}

TARGET static void store(const tile *t)
{
    size_t hd = t->part->v.cols;
    for (size_t l = 0; l < t->lanes; l++) {
        float *to = qd_matf_row(t->part->out, t->first + l) + t->head * hd;
        for (size_t d = 0; d < hd; d++)
            to[d] = t->sum[l * hd + d] / t->total[l];
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
        pack_left(t, (qd_cmatf){ t->lanes, KEYS, KEYS, t->score[turn] }, t->weights);
        if (begin + KEYS <= last)
            score_keys(t, begin + KEYS, t->score[turn ^ 1]);
        add_values(t, begin);
    }
    store(t);
}

void qd_attention_by_panels(const qd_attention_part *part)
{
    const qd_attention *a = part->attention;
    size_t hd = a->head_dim;
    tile t = { .part = part, .deep = qd_panel_depth(hd), .whole = (part->k.rows + KEYS - 1) / KEYS * KEYS };
    t.sum = part->room;
    t.score[0] = t.sum + LANES * t.deep;
    t.score[1] = t.score[0] + LANES * KEYS;
    t.queries = (uint16_t *)(t.score[1] + LANES * KEYS);
    t.weights = t.queries + LANES * t.deep;
    t.keys = t.weights + LANES * KEYS;
    t.values = t.keys + t.whole * t.deep;
    pack_head(&t);
    for (t.head = 0; t.head < a->heads / a->kv_heads; t.head++)
        for (t.first = 0; t.first < part->q.rows; t.first += LANES) {
            t.lanes = qd_min_size(LANES, part->q.rows - t.first);
            t.position = part->k.rows - part->q.rows + t.first;
            do_tile(&t);
        }
}

#endif
