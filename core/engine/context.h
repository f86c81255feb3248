/* context.h: what the phases of one run share.
 * Room: core/engine, private to it. May use: core.
 * Threads: one thread owns it; its pool does the work. */
#ifndef QD_ENGINE_CONTEXT_H
#define QD_ENGINE_CONTEXT_H

#include "base/digest.h"
#include "engine/calibration.h"
#include "engine/checkpoint.h"
#include "engine/machine.h"
#include "engine/measured.h"
#include "engine/records.h"
#include "engine/streams.h"
#include "engine/summary.h"
#include "engine/tasks.h"
#include "engine/transformed.h"

struct qd_context {
    const qd_recipe *recipe;
    const qd_run_paths *paths;
    qd_run_paths without_texts; /* what `paths` is for a model that nothing can be run through */
    const qd_sink *sink;
    const qd_cancel *cancel;
    qd_pool *pool;
    qd_model *model;
    qd_tokenizer *tokenizer;              /* NULL when no text is read */
    int64_t bos;                          /* -1 = the model has none */
    qd_windows calibration;               /* count 0 = data-free */
    qd_calibration_text calibration_text; /* where they come from */
    qd_evaluation evaluation;             /* text_count 0 = not evaluated */
    qd_origin calibration_origin, evaluation_origin;
    char calibration_digest[QD_DIGEST_HEX], text_digest[QD_DIGEST_HEX]; /* token ids; the text file. "" = none */
    char (*keys)[QD_DIGEST_HEX];                                        /* checkpoint key of each layer */
    json_t *model_files;       /* [{"name","size","sha256"}]: config.json and the weights */
    json_t *quantized;         /* how the source is quantized already (source.h); NULL = it is not */
    const char *matrix_folder; /* where moments and factors lie; NULL = in memory (forecast_memory.h) */
    size_t finished;           /* leading layers whose checkpoint holds */
    qd_summary summary;
    qd_measured measured;
    qd_task_scores tasks;
    size_t resumed;
    qd_machine machine; /* as it was measured, with the run's threads; flops 0 = it was not (outcome.h) */
    qd_leg_time legs[QD_LEGS];
    bool told_residual; /* that some layers cannot repair the residual stream */
};

/* Opens model, tokenizer and calibration windows; digests; checkpoint keys. */
qd_code qd_context_init(qd_context *context, qd_error *err);
void qd_context_fini(qd_context *context);

/* Tokens a window: the recipe's, or 2048 where it is 0, at most the model's positions. QD_EINVAL names `field` when
 * an explicit one is longer. */
qd_code qd_context_length(const qd_context *context, const char *field, size_t wanted, size_t *out, qd_error *err);

/* What the calibration streams are computed in, by name; NULL = there are none. */
const char *qd_context_arithmetic_name(const qd_context *context);

/* Fills `evaluation` from the text; nothing where there is none. Part of qd_context_init: a text that will not do is found
 * before any work. */
qd_code qd_evaluation_cut(qd_context *context, qd_error *err);
/* Fills it with sequences of the model's own. */
qd_code qd_evaluation_sample(qd_context *context, qd_error *err);
/* The BOS that evaluation windows begin with; -1 = none. */
int64_t qd_evaluation_bos(const qd_context *context);

/* The phases, in order. */
qd_code qd_phase_quantize(qd_context *context, qd_error *err);
/* The source and the baseline. */
qd_code qd_phase_evaluate(qd_context *context, qd_error *err);
/* What text `text` told of the source and the rivals beside it. nll: what each of its windows loses, of the source and of each rival. */
typedef qd_code (*qd_take_measured)(void *ctx, size_t text, const qd_perplexity *source, const qd_divergence *rivals,
                                    const double *nll, qd_error *err);
/* The source and what stands beside it on every text, with progress of `phase` over all of them. */
qd_code qd_measure_beside_source(const qd_context *context, const char *phase, const qd_rival *rivals, size_t count,
                                 qd_take_measured take, void *ctx, qd_error *err);
/* Writes out_dir: the container of each format, with the records that are known before it was measured. */
qd_code qd_phase_export(qd_context *context, qd_error *err);
/* Opens each container again, compares it with what was decided, measures it, holds it against the gate, and writes the last records (seal.h).
 * out_manifest: new reference. Whatever is wrong with an artifact puts it into quarantine: QD_EGATE, QD_EFORMAT, QD_ESHAPE or
 * QD_ENUMERIC says what. */
qd_code qd_phase_verify(qd_context *context, json_t **out_manifest, qd_error *err);

/* The folder of a format's artifact: out_dir itself where the job has one format, else the sub-folder of its name. NULL only when out of
 * memory. */
char *qd_context_folder(const qd_context *context, size_t format);
/* That folder within out_dir, "." or "gguf-q4_k"; out has QD_FORMAT_NAME bytes. */
const char *qd_context_place(const qd_context *context, size_t format, char *out);

/* out_dir is removed and made afresh only when it is ours: absent, empty, an artifact, or begun by this work_dir. */
qd_code qd_publish_check(const qd_context *context, qd_error *err);

/* Finished layers as export and evaluation want them; holds one layer at a time. */
typedef struct qd_finished {
    const qd_context *context;
    qd_checkpoint current;
    qd_matf_buf turned; /* back, where the recipe turns; else no rows */
} qd_finished;
void qd_finished_fini(qd_finished *finished);
/* A layer's checkpoint, on the layer's grid. */
qd_code qd_context_read_layer(const qd_context *context, size_t index, qd_checkpoint *out, qd_error *err);
/* A qd_rounded_source's function. */
qd_code qd_finished_layer(void *finished, size_t linear_index, qd_rounded *out, qd_error *err);

#endif
