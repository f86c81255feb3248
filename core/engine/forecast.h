/* forecast.h: what a job will take, before it is run: seconds by phase, memory, disk.
 * Room: core/engine. May use: core.
 * Threads: pure functions, but for qd_machine_probe, which measures.
 *
 * Seconds are counts (cost.h) times what one of each took on the reference models, in units of the machine's own speed. They are for a machine that
 * has nothing else to do; `factor` is what finished jobs took over that. Memory is what the process will have resident at most: mapped weights and
 * the streams' scratch file are part of it, and the kernel may take those back; the rest it must have. */
#ifndef QD_ENGINE_FORECAST_H
#define QD_ENGINE_FORECAST_H

#include <jansson.h>

#include "engine/cost.h"

typedef struct qd_machine {
    size_t threads;   /* of a run */
    double flops;     /* float32 products, a second, one thread */
    double factor;    /* > 0; 1 = no job has told yet */
    size_t witnesses; /* finished jobs behind `factor` */
} qd_machine;
/* Measures `flops` with a small product, for some hundredths of a second of processor time; the rest is set to 1 thread, factor 1. */
qd_code qd_machine_probe(qd_machine *out, qd_error *err);

/* Texts of a job as files, or as guesses where they are not here. */
typedef struct qd_text_sizes {
    uint64_t calibration, evaluation; /* bytes; 0 = none */
    double bytes_per_token;           /* 0 = 4 */
} qd_text_sizes;

typedef enum qd_forecast_phase {
    QD_FORECAST_QUANTIZING,
    QD_FORECAST_EVALUATING,
    QD_FORECAST_EXPORTING,
    QD_FORECAST_VERIFYING,
    QD_FORECAST_PHASES
} qd_forecast_phase;

typedef struct qd_forecast {
    double seconds[QD_FORECAST_PHASES], total;
    double low, high;      /* of total */
    uint64_t peak_memory;  /* resident at most */
    uint64_t least_memory; /* of that, what cannot be taken back: the smallest limit that will do */
    uint64_t artifact_bytes, checkpoint_bytes, scratch_bytes;
    uint64_t disk_bytes; /* at most at once, beside the model */
    qd_volume volume;
} qd_forecast;
qd_code qd_forecast_make(const qd_recipe *recipe, const qd_model *model, const qd_text_sizes *texts,
                         const qd_machine *machine, qd_forecast *out, qd_error *err);
/* {"seconds":{"quantizing",..,"total","low","high"},"peak_memory","least_memory","disk":{"artifact","checkpoints","scratch","total"},
 * "calibration_tokens","evaluation_tokens","threads","factor","witnesses"} (new reference). */
json_t *qd_forecast_print(const qd_forecast *forecast, const qd_machine *machine);
/* The same for a model folder. */
qd_code qd_forecast_folder(const qd_recipe *recipe, const char *model_dir, const qd_text_sizes *texts,
                           const qd_machine *machine, qd_forecast *out, qd_error *err);

/* Seconds of one layer on this machine, its share of its group's statistics included. */
double qd_forecast_layer(const qd_recipe *recipe, const qd_model *model, const qd_volume *volume,
                         const qd_machine *machine, size_t index);

#endif
