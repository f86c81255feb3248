/* pace.h: how fast a run's layers come, by what each costs: what is left, with a range, and what the next one should take.
 * Room: core/engine, private to it. May use: core.
 * Threads: the run's thread. */
#ifndef QD_ENGINE_PACE_H
#define QD_ENGINE_PACE_H

#include "engine/cost.h"

typedef struct qd_pace {
    const qd_model *model;
    double *cost;  /* of each layer, in float32 operations as forecast.h prices them */
    double *group; /* of all layers with its input: the first of them waits for what they share */
    size_t count;
    double made_cost, made_seconds;   /* of the layers made so far */
    double group_cost, group_seconds; /* of the group at hand */
    double fastest, slowest;          /* seconds a unit, of whole groups; 0 = none yet */
    double last;                      /* qd_clock_seconds at the end of the layer before */
} qd_pace;
qd_code qd_pace_init(const qd_recipe *recipe, const qd_model *model, const qd_volume *volume, qd_pace *out,
                     qd_error *err);
void qd_pace_fini(qd_pace *pace);

/* What comes now is layers, after something that was none. */
void qd_pace_begin(qd_pace *pace, double now);
/* The layer is made. */
void qd_pace_made(qd_pace *pace, size_t index, double now);

/* NaN while nothing is known. */
typedef struct qd_pace_left {
    double eta, low, high;
} qd_pace_left;
qd_pace_left qd_pace_rest(const qd_pace *pace, size_t next);
/* Seconds that layer `index` may take with what it waits for. */
double qd_pace_expected(const qd_pace *pace, size_t index);

#endif
