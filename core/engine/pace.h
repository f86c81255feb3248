/* pace.h: how fast a run gets on, leg by leg, by what its layers cost: what is left, with a range, and what the next layer should take.
 * Room: core/engine, private to it. May use: core.
 * Threads: the run's thread.
 *
 * Walking, moments and rounding each have a pace of their own: seconds that layers took over those that their cost is priced at. What has not been
 * done yet goes by what the probe found (probe.h), and by how the rest compares with what was expected of it. */
#ifndef QD_ENGINE_PACE_H
#define QD_ENGINE_PACE_H

#include "engine/forecast.h"

/* Of one leg of all layers. */
typedef struct qd_pace_leg {
    double *cost;             /* of each layer: seconds on the machine that pricing is for */
    size_t done;              /* layers before this one are behind it */
    size_t steps;             /* it took so many; resumed ones do not count */
    double expected, seconds; /* of these */
    double squares;           /* sum of seconds^2 / expected: how much steps differ */
    double prior;             /* seconds over those expected, before any step; 0 = not known */
} qd_pace_leg;

typedef struct qd_pace {
    const qd_model *model;
    qd_pace_leg leg[QD_LEGS]; /* QD_LEG_WALK, QD_LEG_MOMENTS and QD_LEG_ROUNDING; nothing of the others */
    size_t count;             /* layers */
    double last;              /* qd_clock_seconds at the end of the step before */
} qd_pace;
/* For costs as they are on `machine`: it is known, or { .threads = 1, .flops = 1 } before anything is. */
qd_code qd_pace_init(const qd_recipe *recipe, const qd_model *model, const qd_volume *volume, const qd_machine *machine,
                     qd_pace *out, qd_error *err);
void qd_pace_fini(qd_pace *pace);

/* Before the first step: the leg should take so many times what its cost says; 0 = nothing is known of it. */
void qd_pace_expect(qd_pace *pace, qd_leg leg, double prior);
/* What comes now is layers, after something that was none. */
void qd_pace_begin(qd_pace *pace, double now);
/* The leg is done up to layer `end`, in the time since the step before. */
void qd_pace_made(qd_pace *pace, qd_leg leg, size_t end, double now);
/* The same, without work: layers that were there already. */
void qd_pace_passed(qd_pace *pace, qd_leg leg, size_t end, double now);

/* NaN while nothing is known. */
typedef struct qd_pace_left {
    double eta, low, high;
} qd_pace_left;
qd_pace_left qd_pace_rest(const qd_pace *pace);
/* Seconds that layer `index` may take with what it waits for; NaN while no layer was made. */
double qd_pace_expected(const qd_pace *pace, size_t index);

#endif
