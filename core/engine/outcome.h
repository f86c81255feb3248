/* outcome.h: what the legs of a run took, beside what they are expected to take on a machine as fast as this one: what later forecasts go by.
 * Room: core/engine, private to it. May use: core.
 * Threads: the run's thread. */
#ifndef QD_ENGINE_OUTCOME_H
#define QD_ENGINE_OUTCOME_H

#include "engine/context.h"
#include "engine/pace.h"

/* Measures the machine, unless the run is a matter of a second or two. */
qd_code qd_outcome_begin(qd_context *context, qd_error *err);
/* The run's tokens, as they are; of zero-shot tasks nothing. */
qd_volume qd_outcome_volume(const qd_context *context);
/* Walk, moments and rounding; of layers that were made, not of those that were there. */
void qd_outcome_take(qd_context *context, const qd_pace *pace);
/* A leg that is a phase. */
void qd_outcome_note(qd_context *context, qd_leg leg, double seconds);
/* {"arithmetic","threads","flops","flops_bfloat16","legs":{"walk":{"expected","seconds"},..}}, new reference; null where the machine was not measured. */
json_t *qd_outcome_print(const qd_context *context);

#endif
