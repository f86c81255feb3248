/* layer.h: one layer rounded: its grid, codes and record.
 * Room: core/engine, private to it. May use: core.
 * Threads: one thread calls; the context's pool does the work. */
#ifndef QD_ENGINE_LAYER_H
#define QD_ENGINE_LAYER_H

#include "engine/context.h"
#include "engine/group_guard.h"
#include "engine/starved.h"
#include "engine/transformed.h"

/* What layers with the same input share. Initialized with QD_SHARED_NOTHING = no data: rounded to nearest, uncertified. */
typedef struct qd_shared {
    qd_input_basis input;                     /* what follows is in its basis */
    qd_group_guard guard;                     /* what order and damping are asked for, if anything */
    qd_factor *factor;                        /* NULL = no data, or degraded */
    qd_mismatch mismatch;                     /* of both streams, for algorithms that want it */
    double *diagonal;                         /* diag(H) in original order, or NULL */
    qd_holdout holdout;                       /* tokens 0 = nothing was held out */
    size_t tokens;                            /* m */
    qd_fate fate;                             /* of the expert whose layers they are */
    char reason[sizeof((qd_error *)0)->text]; /* why the layers are degraded; "" = they are not */
    double seconds;                           /* each layer's share of statistics and factor */
} qd_shared;
#define QD_SHARED_NOTHING \
    { \
        .fate = {.expert = QD_NO_EXPERT } \
    }
void qd_shared_fini(qd_shared *shared);
/* Fills `diagonal` from the factor. */
qd_code qd_shared_diagonal(qd_shared *shared, qd_error *err);

/* Rounds layer `index` (w: O x I, as in the model), transformed as the recipe says: by the recipe's algorithm, or to nearest where that is not possible (degraded,
 * with the reason; QD_ENUMERIC when the recipe says fail). */
qd_code qd_layer_make(const qd_context *context, size_t index, qd_cmatf w, const qd_shared *shared, qd_checkpoint *out,
                      qd_error *err);

#endif
