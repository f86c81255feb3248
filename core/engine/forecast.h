/* forecast.h: what a job will take, before it is run: seconds by phase, memory, disk.
 * Room: core/engine. May use: core.
 * Threads: pure functions.
 *
 * Seconds are counts (cost.h) times what one of each took on the reference models, in units of the machine's own speed. They are for a machine that
 * has nothing else to do; `factor`, or `leg`, is what finished jobs took over that. Memory is what the process will have resident at most. Of the
 * streams' scratch file (where they are not in memory) and of the model's files that is what is being worked on, however large they are. */
#ifndef QD_ENGINE_FORECAST_H
#define QD_ENGINE_FORECAST_H

#include <jansson.h>

#include "engine/machine.h"
#include "linalg/product.h"

/* Texts of a job as files, or as guesses where they are not here. */
typedef struct qd_text_sizes {
    uint64_t calibration;                  /* bytes; 0 = none */
    uint64_t evaluation[1 + QD_TEXTS_MAX]; /* evaluation.text, then the further ones */
    double bytes_per_token;                /* 0 = 4 */
    uint64_t document;                     /* bytes of the longest document at most; 0 = texts are one each */
    uint64_t task_bytes;                   /* of all that zero-shot tasks put to a model (task_files.h) */
    uint64_t task_requests;                /* pieces it comes in */
} qd_text_sizes;

/* Where a group's moments and factors lie while its layers are made: on disk (in the work folder) no more of them is resident than one step
 * needs, and every step pays for page faults and for what the kernel writes. */
typedef enum qd_matrices { QD_MATRICES_IN_MEMORY, QD_MATRICES_ON_DISK, QD_MATRICES_COUNT } qd_matrices;
const char *qd_matrices_name(size_t index); /* "memory", "disk"; NULL past the end */

/* One of the ways to run a job, and what it takes. */
typedef struct qd_memory_choice {
    uint64_t peak_memory;
    uint64_t disk_bytes; /* of the matrices */
    double seconds;      /* more than in memory */
} qd_memory_choice;

typedef enum qd_forecast_phase {
    QD_FORECAST_QUANTIZING,
    QD_FORECAST_EVALUATING,
    QD_FORECAST_EXPORTING,
    QD_FORECAST_VERIFYING,
    QD_FORECAST_PHASES
} qd_forecast_phase;

typedef struct qd_forecast {
    double seconds[QD_FORECAST_PHASES], total;
    double low, high;          /* of total */
    double factor;             /* in total: what it is over what it were for a machine of which no job has told */
    uint64_t peak_memory;      /* resident at most, as the job will run */
    uint64_t least_memory;     /* the same with matrices on disk: the smallest limit that will do */
    uint64_t least_with_texts; /* the same, were there texts instead of tokens that the source model samples */
    uint64_t artifact_bytes, checkpoint_bytes, scratch_bytes;
    uint64_t disk_bytes; /* at most at once, beside the model */
    qd_memory_choice choices[QD_MATRICES_COUNT];
    qd_matrices matrices; /* the one that the job's limit leaves: the first where it has none */
    qd_volume volume;
} qd_forecast;
qd_code qd_forecast_make(const qd_recipe *recipe, const qd_model *model, const qd_text_sizes *texts,
                         const qd_machine *machine, qd_forecast *out, qd_error *err);
/* {"seconds":{"quantizing",..,"total","low","high"},"peak_memory","least_memory","memory_choices":[{"matrices","peak_memory","disk","seconds","chosen"}],"disk":{"artifact","checkpoints","scratch","total"},
 * "calibration_tokens","evaluation_tokens","threads","factor","witnesses"} (new reference). */
json_t *qd_forecast_print(const qd_forecast *forecast, const qd_machine *machine);
/* The same for a model folder. */
qd_code qd_forecast_folder(const qd_recipe *recipe, const char *model_dir, const qd_text_sizes *texts,
                           const qd_machine *machine, qd_forecast *out, qd_error *err);

/* Seconds that the work of a leg takes on this machine, as if no job had told: without `factor` and `leg`. */
double qd_forecast_cost(const qd_cost *cost, qd_arithmetic arithmetic, const qd_machine *machine);
/* What the products of a leg are made of: the evaluation's are float32 in any job. */
qd_arithmetic qd_forecast_leg_arithmetic(size_t leg, qd_arithmetic of_job);

#endif
