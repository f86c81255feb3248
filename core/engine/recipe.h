/* recipe.h: a job as one validated struct.
 * Room: core/engine. May use: everything in core. No HTTP, no SQL.
 * Threads: a parsed recipe is read-only.
 * Source: api.md "Creating a job": the fields that exist now, with their defaults. */
#ifndef QD_ENGINE_RECIPE_H
#define QD_ENGINE_RECIPE_H

#include <jansson.h>

#include "export/format.h"
#include "quant/algorithm.h"
#include "quant/transform.h"
#include "text/corpus.h"

typedef enum qd_on_degraded { QD_DEGRADED_WARN, QD_DEGRADED_FAIL } qd_on_degraded;

enum { QD_FORMATS_MAX = 8 };

typedef struct qd_effort qd_effort; /* engine/effort.h: a row of the registry of presets */

typedef struct qd_recipe {
    /* label */
    char *name;   /* NULL = none; <= 200 characters */
    json_t *tags; /* object string -> string, never NULL */
    /* what the service does with it; no byte of an artifact depends on these */
    uint64_t priority;                  /* 0..100; 50 */
    uint64_t limit_memory, limit_disk;  /* bytes; 0 = the service's own */
    double limit_runtime;               /* seconds; -1 = the service's own */
    char *webhook_url, *webhook_secret; /* NULL = none; the secret is write-only */
    char *publish_url;                  /* s3:// or https://, or NULL */
    /* model */
    char *model_url, *model_revision /* "main" */, *model_token /* write-only */;
    json_t *model_sha256; /* object or NULL */
    /* rounding */
    const qd_algorithm *algorithm;     /* default qronos */
    const qd_effort *effort;           /* balanced; what it decides and the job does not is filled in by the parser */
    qd_rounding rounding;              /* nearest */
    uint64_t seed;                     /* 0 */
    bool certified;                    /* false; steps for which the alphabet guarantee holds, or no artifact */
    qd_grid_spec grid;                 /* int, 4 bits, group 128, rule by effort, shrink 1, bf16 */
    const qd_order *order;             /* by effort */
    const qd_regularizer *regularizer; /* by effort */
    double regularization;             /* for "auto" what it falls back to */
    qd_scope scope;                    /* by effort, like the two below; gpfq and qronos */
    qd_mismatch_use mismatch;          /* start: qronos */
    bool residual;                     /* the residual stream's error is repaired too; in scope model */
    qd_refine refine;                  /* by effort; optq and qronos */
    qd_on_degraded on_degraded;        /* warn */
    qd_transforms transforms;          /* none */
    /* calibration */
    char *calibration_source; /* URL of a text, or NULL = the operator's */
    size_t calibration_samples,
        calibration_length;           /* 128, 2048 (length 0 = default: 2048, at most the model's positions) */
    bool calibration_bos;             /* true */
    qd_split calibration_split;       /* whole */
    qd_sampling calibration_sampling; /* even */
    double calibration_phase;         /* 0 */
    qd_first_position first_position; /* by effort */
    /* evaluation */
    char *evaluation_text; /* URL or NULL = the operator's; none at all = no evaluation, said so in the result */
    size_t evaluation_length, evaluation_windows; /* 2048 (0 = default as above), 0 = all */
    qd_split evaluation_split;
    qd_bos_policy evaluation_bos; /* every-window */
    const qd_algorithm *baseline; /* rtn, or NULL when "baseline": null */
    /* what an artifact must hold to be published; below 0 = nothing is asked */
    double gate_ratio; /* perplexity of the artifact over the source's, at most */
    double gate_kl;    /* mean KL(source || artifact), nats a token, at most */
    /* artifact */
    qd_format_choice formats[QD_FORMATS_MAX]; /* compressed-tensors; each once, in the order of the job */
    size_t format_count;                      /* 1..QD_FORMATS_MAX */
} qd_recipe;
void qd_recipe_destroy(qd_recipe *recipe); /* NULL is fine */

/* What cannot do without a calibration text: the algorithm, or a transform; NULL = nothing. */
const char *qd_recipe_calibrated(const qd_recipe *recipe);
/* Does the job ask for what only an evaluation text can tell? */
bool qd_recipe_gated(const qd_recipe *recipe);
/* The finding for such a job where there is none. */
qd_code qd_recipe_gate_refuse(const qd_recipe *recipe, qd_error *err);
/* Are scales what the rule chooses from weights alone, or moved from there: to a target, to the codes, up to a guarantee? */
bool qd_recipe_moves_scales(const qd_recipe *recipe);

/* The grid of one layer: the job's, or the one that a container of the job falls back to where it does not fit the layer's rows (of several
 * containers, the first that does). Engine code asks this wherever a layer is meant. */
qd_code qd_recipe_layer_spec(const qd_recipe *recipe, const qd_linear *linear, qd_grid_spec *out, qd_error *err);

/* One finding of the parser: a JSON Pointer and a sentence "bits: 17 is not in 2, 3, 4, 5, 6, 7, 8". */
typedef struct qd_issue {
    char pointer[160];
    char detail[400];
} qd_issue;
enum { QD_ISSUES_MAX = 16 };
typedef struct qd_issues {
    qd_issue items[QD_ISSUES_MAX];
    size_t count;
} qd_issues;

/* JSON -> recipe. All findings are collected (up to QD_ISSUES_MAX): unknown fields by name with the known ones, wrong
 * types, ranges, and combinations (format x grid: says which two fields disagree and what would work). QD_EINVAL when
 * there is any; err has the first. */
qd_code qd_recipe_parse(const json_t *request, qd_recipe **out, qd_issues *issues, qd_error *err);
/* The recipe as a request with every default filled in; the token is left out (new reference). Parsing it again gives
 * the same recipe. */
json_t *qd_recipe_print(const qd_recipe *recipe);
/* Removes what recipe.json of an artifact does not say: labels, the place of the model, how the job is run and who is told. */
void qd_recipe_drop_labels(json_t *printed);
/* Drops from a printed recipe what does not change a layer's bytes: the rest is part of every layer's key. (calibration: the
 * token ids count, however they came about, and which of them are seen; effort: what it filled in counts.) */
void qd_recipe_keep_layers(json_t *printed);
/* A request without its secrets (model.token removed), for echoing (new reference). */
json_t *qd_recipe_redact(const json_t *request);
/* JSON Schema of a request, generated from the registries and the field table (new reference): GET /schema/job.json. */
json_t *qd_recipe_schema(void);
/* Every registry with typed parameters (new reference): GET /catalog. */
json_t *qd_catalog_print(void);

#endif
