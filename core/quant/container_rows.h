/* container_rows.h: what the search of a container's grid shares: groups, their error, and the best scale of rounded codes.
 * Room: core/quant, private to it. May use: base, linalg.
 * Threads: pure functions.
 * A weight w of a group is taken as sign * (scale * level - offset), levels low..high; without offsets that is the container's signed scale. */
#ifndef QD_QUANT_CONTAINER_ROWS_H
#define QD_QUANT_CONTAINER_ROWS_H

#include "quant/container.h"

typedef struct qd_fit {
    double sign, scale, offset, loss;
} qd_fit;

/* Sums over a group, each times the importance, of levels l and weights w that a fit gave: 1, l, l², w, l w, w². */
typedef struct qd_fit_sums {
    double h, l, ll, w, wl, ww;
} qd_fit_sums;

typedef struct qd_fit_group {
    const float *weights;
    const double *importance; /* NULL = 1 */
    size_t count;
    double low, high; /* levels */
    bool mirrored;    /* both signs */
    bool has_offset;
    double lowest_offset;
    qd_fit start, free; /* the rule's choice as it stands; the best of real numbers */
    qd_fit_sums sums;   /* of free's levels */
} qd_fit_group;

/* The error of rounding to nearest: fit->loss. */
void qd_fit_measure(const qd_fit_group *group, qd_fit *fit, qd_fit_sums *out_sums);
/* Best offset beside a scale with the levels fixed, no less than the group's lowest. */
double qd_fit_offset(const qd_fit_group *group, const qd_fit_sums *sums, double scale);
/* group->free and ->sums, from group->start. */
void qd_fit_search(qd_fit_group *group);
/* `fit` with scale and offset in binary16, no worse than group->start. */
void qd_fit_store_half(const qd_fit_group *group, qd_fit *out);

/* A block of groups on common units: fits of all of them, and the units. */
typedef struct qd_fit_block {
    double unit, offset_unit, loss;
    struct {
        qd_fit fit;
        qd_fit_sums sums;
        double k, m; /* scale = unit * k, offset = offset_unit * m */
    } at[QD_CONTAINER_BLOCK];
} qd_fit_block;
void qd_fit_units(const qd_scale_type *type, const qd_fit_group *groups, size_t count, qd_fit_block *out);

/* Nearest value of binary16 that is a unit: > 0; infinite past the range. */
double qd_fit_half(double value);

#endif
