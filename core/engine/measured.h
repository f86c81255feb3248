/* measured.h: what the evaluation text told of the models of a run, and how it stands in result and manifest.
 * Room: core/engine, private to it. May use: core.
 * Threads: values. */
#ifndef QD_ENGINE_MEASURED_H
#define QD_ENGINE_MEASURED_H

#include <jansson.h>
#include <stdbool.h>

#include "engine/recipe.h"
#include "engine/run.h"
#include "eval/divergence.h"

typedef struct qd_measured {
    bool made;     /* all of it; false = there is no evaluation text, or the artifacts are not measured yet */
    size_t length; /* tokens a window */
    qd_perplexity source;
    bool with_baseline;
    qd_divergence baseline;
    qd_divergence artifacts[QD_FORMATS_MAX]; /* each as it was opened again; by format of the recipe */
} qd_measured;

/* {"source","quantized","rtn","standard_error":{..},"windows","predictions","length"} of one artifact (new reference); null where nothing was
 * measured. "rtn" is there with a baseline. */
json_t *qd_measured_perplexity(const qd_measured *measured, size_t format);
/* {"quantized":{"mean","standard_error","p99","max","same_top"},"rtn":{..}}: KL(source || ..) in nats a token. */
json_t *qd_measured_kl(const qd_measured *measured, size_t format);
/* The artifact's own part of both, for lists of formats: a number, and its members of "quantized". null where nothing was measured. */
json_t *qd_measured_own_perplexity(const qd_measured *measured, size_t format);
json_t *qd_measured_own_kl(const qd_measured *measured, size_t format);

/* A warning where a model's perplexity is no number: `who` is "source", "quantized", ... */
void qd_measured_warn(const qd_sink *sink, const char *who, const qd_perplexity *perplexity);

#endif
