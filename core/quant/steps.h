/* steps.h: the columns of a layer in processing order: what a step rounds and what it weighs.
 * Room: core/quant, private to it. May use: base, linalg.
 * Threads: finished steps are read-only.
 * Source: theory.md §1: r_t^2 = C_tt^2. */
#ifndef QD_QUANT_STEPS_H
#define QD_QUANT_STEPS_H

#include "quant/algorithm.h"

typedef enum qd_dead { QD_DEAD_AS_IS, QD_DEAD_ZERO } qd_dead;

typedef struct qd_steps {
    size_t count;     /* I */
    uint32_t *column; /* step -> original column */
    uint32_t *group;  /* step -> group of the grid */
    double *r2;       /* pivots: 1 without a factor */
    float *live;      /* factor of the weight: 0 for a dead column under QD_DEAD_ZERO, else 1 */
    bool narrow;      /* the target, where there is one, is solved in float32 */
    double damping;   /* lambda in the energies: that of the factor, unless the algorithm has none */
    /* Borrowed from the algorithm that sets them; NULL for the others. */
    const double *target; /* O x I, in processing order: what is rounded instead of w */
    const double *first;  /* O: target minus the argument of the first step, where that is not the target */
    const double *path;   /* I: H_tt, for path following: the weights of the steps instead of r2 */
} qd_steps;
/* Without a grid (what is rounded comes first) all steps are of group 0. */
qd_code qd_steps_init(const qd_layer_input *input, qd_dead dead, qd_steps *out, qd_error *err);
void qd_steps_fini(qd_steps *steps);

/* The distance of the two values around weight t of a row, in processing order: what its error is expected to be uniform in, or drawn from. */
double qd_steps_expected(const qd_layer_input *input, const qd_steps *steps, size_t row, size_t t);

typedef enum qd_rows_kind {
    QD_ROWS_WEIGHT, /* w, dead columns as the steps say */
    QD_ROWS_TARGET, /* what is rounded: w, or the target of the steps */
    QD_ROWS_ERROR,  /* target - q, q = (level - zero) * scale in float64 */
    QD_ROWS_CHANGE, /* w - q */
    QD_ROWS_REACH, /* bound on |w - q| in float64: the larger of the rounding's reach and the distance past the end of the grid */
} qd_rows_kind;
/* out (count x I): rows[0..count) of the layer, columns in processing order. codes may be NULL where q is not wanted. */
void qd_steps_rows(const qd_layer_input *input, const qd_steps *steps, qd_rows_kind kind, const uint8_t *codes,
                   const uint32_t *rows, size_t count, qd_matd out);

#endif
