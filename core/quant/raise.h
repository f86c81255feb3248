/* raise.h: how an algorithm asks for steps with a guarantee: with its own feedback and target.
 * Room: core/quant, private to it. May use: base, linalg.
 * Threads: as guarantee.h. */
#ifndef QD_QUANT_RAISE_H
#define QD_QUANT_RAISE_H

#include <stdbool.h>

#include "quant/steps.h"

typedef struct qd_raise_job {
    const qd_layer_input *input;
    const qd_steps *steps;     /* with the target */
    const qd_cmatd *upper;     /* of the feedback; NULL = none */
    const qd_scale_type *type; /* of the steps */
    bool damped;               /* the feedback is the factor's: another lambda would change it */
} qd_raise_job;
/* guarantee.h, for one algorithm. */
qd_code qd_raise_steps(const qd_raise_job *job, qd_grid *grid, qd_growth *out, qd_error *err);

#endif
