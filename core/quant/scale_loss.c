/* scale_loss.c: which of some scales and zeros rounds a group with the least error. Eight at a time, a lane each: every lane's sum goes in the
 * order of the weights and nothing is fused, so all instruction sets, and the plain loop, choose the same. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "quant/scale_rules.h"

enum { LANES = 8, SIDE = 16 }; /* weights between two looks at the sums */
#define MAGIC 0x1.8p52         /* adding and subtracting it rounds a small number half to even, as rint does */

typedef struct group {
    const qd_group_stat *stat;
    const float *weights;
    const double *importance;
    size_t count;
} group;

#define VECTOR_BYTES 16
#define TARGET
#define NAME(x) x##_portable
#define KEPT(x) (void)(x)
#include "quant/scale_loss.inc"
#undef VECTOR_BYTES
#undef TARGET
#undef NAME

#if defined(__x86_64__) && defined(__GNUC__)
#define VECTOR_BYTES 32
#define TARGET __attribute__((target("avx2")))
#define NAME(x) x##_avx2
#include "quant/scale_loss.inc"
#undef VECTOR_BYTES
#undef TARGET
#undef NAME
#undef KEPT

#define VECTOR_BYTES 64
#define TARGET __attribute__((target("avx512f,avx512dq")))
#define NAME(x) x##_avx512
#define KEPT(x) __asm__("" : "+v"(x)) /* the set has fused multiply-add */
#include "quant/scale_loss.inc"

static void losses(const group *g, const double *scale, const double *zero, double enough, double *out)
{
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
        losses_avx512(g, scale, zero, enough, out);
    else if (__builtin_cpu_supports("avx2"))
        losses_avx2(g, scale, zero, enough, out);
    else
        losses_portable(g, scale, zero, enough, out);
}
#else
static void losses(const group *g, const double *scale, const double *zero, double enough, double *out)
{
    losses_portable(g, scale, zero, enough, out);
}
#endif

static double loss_of_levels(const group *g, double scale, double enough)
{
    const qd_levels *levels = g->stat->levels;
    double loss = 0.0;
    for (size_t i = 0; i < g->count && (i % SIDE != 0 || loss < enough); i++) {
        double w = (double)g->weights[i], error = w - levels->value[qd_levels_nearest(levels, w / scale)] * scale;
        loss += g->importance == NULL ? error * error : g->importance[i] * error * error;
    }
    return loss;
}

size_t qd_group_least(const qd_group_stat *stat, const float *weights, const double *importance, size_t count,
                      const qd_candidates *candidates)
{
    const group g = { stat, weights, importance, count };
    double least = INFINITY;
    size_t best = 0;
    for (size_t start = 0; start < candidates->count; start += LANES) {
        _Alignas(64) double scale[LANES], zero[LANES], loss[LANES];
        size_t length = qd_min_size(LANES, candidates->count - start);
        for (size_t k = 0; k < LANES; k++) { /* lanes that are left over do what the last one does */
            scale[k] = (double)candidates->scale[start + qd_min_size(k, length - 1)];
            zero[k] = (double)candidates->zero[start + qd_min_size(k, length - 1)];
        }
        if (stat->levels == NULL)
            losses(&g, scale, zero, least, loss);
        for (size_t k = 0; k < length; k++) {
            if (stat->levels != NULL)
                loss[k] = loss_of_levels(&g, scale[k], least);
            if (loss[k] < least) {
                least = loss[k];
                best = start + k;
            }
        }
    }
    return best;
}
