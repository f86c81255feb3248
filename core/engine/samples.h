/* samples.h: windows of tokens that the source model makes itself: calibration.source and evaluation.text "self".
 * Room: core/engine, private to it. May use: core.
 * Threads: called from the run's thread; its pool does the work.
 *
 * Calibration and evaluation are two streams of one seed: no sequence of the one is in the other. What was sampled is kept
 * in work_dir (samples-calibration.safetensors), with its digest and a key of all it depends on: a resumed run reads it. */
#ifndef QD_ENGINE_SAMPLES_H
#define QD_ENGINE_SAMPLES_H

#include "engine/context.h"

typedef enum qd_samples_use { QD_SAMPLES_CALIBRATION, QD_SAMPLES_EVALUATION } qd_samples_use;

/* Wants context->model_files. bos < 0: documents begin without one. Progress is the quantizing phase's, in tokens. */
qd_code qd_samples_make(const qd_context *context, qd_samples_use use, size_t count, size_t length, int64_t bos,
                        qd_windows *out, qd_error *err);
/* {"seed","stream","temperature","top_k","top_p","opening"}: with the model, count and length all that the tokens depend on (new
 * reference); null where they are a text's. */
json_t *qd_samples_print(const qd_context *context, qd_samples_use use);

#endif
