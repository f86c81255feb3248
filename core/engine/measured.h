/* measured.h: what the evaluation texts told of the models of a run, and how it stands in result and manifest.
 * Room: core/engine, private to it. May use: core.
 * Threads: values. */
#ifndef QD_ENGINE_MEASURED_H
#define QD_ENGINE_MEASURED_H

#include <jansson.h>
#include <stdbool.h>

#include "base/digest.h"
#include "engine/recipe.h"
#include "engine/run.h"
#include "eval/divergence.h"

enum { QD_EVALUATION_TEXTS = 1 + QD_TEXTS_MAX };

/* A text as it is measured. */
typedef struct qd_evaluation_text {
    char name[QD_TEXT_NAME];
    qd_windows windows;
    char digest[QD_DIGEST_HEX];        /* of the file; "" = there is none: the source model's own words */
    char tokens_digest[QD_DIGEST_HEX]; /* of the ids in its windows */
} qd_evaluation_text;

typedef struct qd_evaluation {
    qd_protocol_use use;
    qd_window_cut cut;                             /* of every text */
    qd_evaluation_text texts[QD_EVALUATION_TEXTS]; /* evaluation.text, then the further ones */
    size_t text_count;                             /* 0 = not evaluated */
} qd_evaluation;
void qd_evaluation_fini(qd_evaluation *evaluation);
qd_origin qd_evaluation_origin(const qd_evaluation_text *text);
size_t qd_evaluation_windows(const qd_evaluation *evaluation); /* of all texts */

/* What one text told. Gaps: how much more is lost than by the other, nats a token. */
typedef struct qd_measured_text {
    qd_perplexity source;
    qd_divergence baseline;
    qd_window_mean baseline_gap; /* to the source */
    double *baseline_nll;        /* of each window; NULL = no baseline yet */
    /* each as it was opened again; by format of the recipe */
    qd_divergence artifacts[QD_FORMATS_MAX];
    qd_window_mean source_gap[QD_FORMATS_MAX], artifact_gap[QD_FORMATS_MAX]; /* to the source; to the baseline */
} qd_measured_text;

typedef struct qd_measured {
    bool made; /* all of it; false = there is no evaluation text, or the artifacts are not measured yet */
    bool with_baseline;
    qd_measured_text texts[QD_EVALUATION_TEXTS];
} qd_measured;
void qd_measured_fini(qd_measured *measured);

/* {"source","quantized","rtn","standard_error":{..},"difference":{..},"windows","predictions","length","origin":"text"|"self"} of one artifact on the first text (new
 * reference); null where nothing was measured. "rtn" is there with a baseline. */
json_t *qd_measured_perplexity(const qd_measured *measured, const qd_evaluation *evaluation, size_t format);
/* {"quantized":{"mean","standard_error","median","p99","max","same_top","same_top_error"},"rtn":{..}}: KL(source || ..) in nats a token. */
json_t *qd_measured_kl(const qd_measured *measured, size_t format);
/* [{"name","text_sha256","tokens_sha256","perplexity","kl"}] of all texts; empty where nothing was measured. */
json_t *qd_measured_texts(const qd_measured *measured, const qd_evaluation *evaluation, size_t format);
/* The artifact's own part of both, for lists of formats: a number, and its members of "quantized". null where nothing was measured. */
json_t *qd_measured_own_perplexity(const qd_measured *measured, size_t format);
json_t *qd_measured_own_kl(const qd_measured *measured, size_t format);
/* As qd_protocol_print has it; null where nothing is evaluated. */
json_t *qd_evaluation_print(const qd_evaluation *evaluation);

/* A warning where a model's perplexity is no number: `who` is "source", "quantized", ... */
void qd_measured_warn(const qd_sink *sink, const char *who, const qd_perplexity *perplexity);

#endif
