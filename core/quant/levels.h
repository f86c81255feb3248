/* levels.h: alphabets that are no range of integers: a finite set of levels, and the nearest of them.
 * Room: core/quant. May use: base.
 * Threads: values; a finished set is read-only.
 * Source: algorithms.md §2.5, §2.6. */
#ifndef QD_QUANT_LEVELS_H
#define QD_QUANT_LEVELS_H

#include <stddef.h>

#include "base/error.h"

enum { QD_LEVELS_MIN = 2, QD_LEVELS_MAX = 256 };

/* The largest magnitude lies between them: scales, which bring weights to it, are then far from the ends of what they are stored as. */
#define QD_LEVELS_TOP_MIN 0x1p-100
#define QD_LEVELS_TOP_MAX 0x1p100

/* Ascending, distinct float32 values, so that readers who multiply in float32 see the same. The code of a level is its index. */
typedef struct qd_levels {
    size_t count;  /* 0 = none: the codes are integers */
    size_t anchor; /* a tie goes to the level an even number of places from this one: 0, or the first where 0 is none */
    double widest; /* largest distance of neighbours: the step of every bound */
    double narrowest;
    double top; /* largest magnitude */
    double value[QD_LEVELS_MAX];
} qd_levels;
/* QD_EINVAL names what is wrong with the values, without the field they came from. */
qd_code qd_levels_init(const double *values, size_t count, qd_levels *out, qd_error *err);

/* Thresholds are this far from the middle between two levels, in distances of the two (2^-21: half of QD_TIE, grid.h). Whatever is nearer
 * to the middle is a tie. */
#define QD_LEVELS_TIE 0x1p-21
/* Where the way from level k to the next one is cut for nearest rounding, as a fraction of it. */
static inline double qd_levels_cut(const qd_levels *levels, size_t k)
{
    size_t places = k > levels->anchor ? k - levels->anchor : levels->anchor - k;
    return places % 2 == 0 ? 0.5 + QD_LEVELS_TIE : 0.5 - QD_LEVELS_TIE;
}
/* Bits that tell so many levels apart. */
static inline unsigned qd_levels_bits(size_t count)
{
    unsigned bits = 1;
    while (((size_t)1 << bits) < count)
        bits++;
    return bits;
}
/* Code of the nearest level. */
size_t qd_levels_nearest(const qd_levels *levels, double value);
/* Code of one of the two neighbours of a value: the upper one where value is past the fraction 1/2 - dither of the way, so that the mean
 * is right for a dither uniform in (-1/2, 1/2). Outside the range: the end. */
size_t qd_levels_dithered(const qd_levels *levels, double value, double dither);
/* Distance of the two levels around a value; of the last two outside the range. */
double qd_levels_gap(const qd_levels *levels, double value);

#endif
