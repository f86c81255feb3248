/* plan.h: what a job would do to a model, without doing it: layer by layer, how large it gets, how long it takes, who loads it.
 * Room: core/engine. May use: core.
 * Threads: pure functions.
 *
 * Of the model only headers, configuration and tokenizer are read: a folder whose weight files are holes will do. */
#ifndef QD_ENGINE_PLAN_H
#define QD_ENGINE_PLAN_H

#include "engine/forecast.h"

/* What the model folder does not say. */
typedef struct qd_plan_terms {
    qd_machine machine;
    const char *calibration_text, *evaluation_text; /* files, or NULL */
    const char *const *tasks;                       /* as qd_run_paths has them; one that is NULL is not here yet */
    uint64_t calibration_guess, evaluation_guess;   /* bytes of texts that are not here; 0 = there is none */
    uint64_t also_guess;                            /* of each further text of the evaluation */
    uint64_t download_bytes;
} qd_plan_terms;

typedef struct qd_plan {
    /* {"possible":bool,"architecture":text|null,
     *  "layers":[{"tensor","layer":name|null,"shape","action":"quantized|kept|left out|unknown","dtype","why","bits","group_size","alphabet","scale_type"}],
     *  "totals":{"layers","weights","kept_weights","bits_per_weight","artifact_bytes","download_bytes","checkpoint_bytes"},
     *  "forecast":forecast.h|null,"compatibility":[{"format","loader","loads":"yes|no","note"}],
     *  "problems":[{"pointer","detail"}],"warnings":[text]} */
    json_t *document;
    qd_forecast forecast; /* where the document has one */
} qd_plan;
void qd_plan_fini(qd_plan *plan);

/* Findings about recipe and model are no failure: they are in the document. QD_ENOMEM, QD_EIO and such are. */
qd_code qd_plan_make(const qd_recipe *recipe, const char *model_dir, const qd_plan_terms *terms, qd_plan *out,
                     qd_error *err);
/* Adds a finding: the job cannot be done as it is. */
void qd_plan_object(qd_plan *plan, const char *pointer, const char *format, ...) QD_PRINTF(3, 4);
void qd_plan_warn(qd_plan *plan, const char *format, ...) QD_PRINTF(2, 3);

#endif
