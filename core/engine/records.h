/* records.h: C structs of a run as JSON: grids, certificates, layer records, events.
 * Room: core/engine, private to it. May use: core.
 * Threads: any. */
#ifndef QD_ENGINE_RECORDS_H
#define QD_ENGINE_RECORDS_H

#include "engine/evaluation_json.h"
#include "engine/recipe.h"
#include "engine/run.h"

/* New references; NULL only when out of memory. Field names are those of theory.md §8.2. */
json_t *qd_certificate_print(const qd_certificate *certificate);
json_t *qd_grid_spec_print(const qd_grid_spec *spec, const qd_grid *grid);

/* What is known of a rounded layer besides its certificate. */
typedef struct qd_layer_facts {
    size_t index;
    const qd_linear *linear;
    const qd_grid_spec *spec;
    const json_t *transforms; /* what was done to the weights before */
    const json_t *routing;    /* which tokens came to its expert; NULL = it has none, or there is no data */
    const qd_grid *grid;
    const qd_certificate *certificate;
    const char *degraded_reason; /* NULL = not degraded */
    double seconds;
} qd_layer_facts;
/* The layer event without "event" and "resumed". */
json_t *qd_layer_print(const qd_layer_facts *facts);

/* Sends and releases an event (NULL is ignored). */
void qd_emit_take(const qd_sink *sink, json_t *event);
void qd_emit_phase(const qd_sink *sink, const char *phase);
void qd_emit_warning(const qd_sink *sink, const char *format, ...) QD_PRINTF(2, 3);

/* Progress of one phase with an estimate of what is left, at most five events a second. */
typedef struct qd_meter {
    const qd_sink *sink;
    const char *phase, *unit;
    size_t total, free_of_charge; /* units that cost nothing (resumed): not counted in the rate */
    size_t before;                /* units of passages that are over: qd_meter_progress counts from there */
    double started, last;
    struct qd_pace *pace; /* of layers; NULL = all units cost the same */
} qd_meter;
void qd_meter_start(qd_meter *meter, const qd_sink *sink, const char *phase, const char *unit, size_t total);
void qd_meter_step(qd_meter *meter, size_t done);
/* For one of several passages that a phase is made of, which counts its own units. */
qd_progress qd_meter_progress(qd_meter *meter);

#endif
