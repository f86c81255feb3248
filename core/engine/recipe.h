/* recipe.h: a job as one validated struct.
 * Room: core/engine. May use: everything in core. No HTTP, no SQL.
 * Threads: a parsed recipe is read-only.
 * Source: api.md "Creating a job": the fields that exist now, with their defaults. */
#ifndef QD_ENGINE_RECIPE_H
#define QD_ENGINE_RECIPE_H

#include <jansson.h>

#include "eval/protocol.h"
#include "eval/task.h"
#include "export/format.h"
#include "quant/algorithm.h"
#include "quant/transform.h"
#include "text/sequences.h"

typedef enum qd_on_degraded { QD_DEGRADED_WARN, QD_DEGRADED_FAIL } qd_on_degraded;
/* A model whose architecture has no row: refused, or rounded to nearest as far as names and shapes tell (model/unknown.h). */
typedef enum qd_on_unknown { QD_ON_UNKNOWN_REFUSE, QD_ON_UNKNOWN_DATA_FREE } qd_on_unknown;

/* What an expert gets that too few tokens were sent to: statistics of all tokens of its block, or none. */
typedef enum qd_fallback { QD_FALLBACK_SHARED, QD_FALLBACK_NEAREST } qd_fallback;
const char *qd_fallback_name(size_t index); /* "shared", "rtn"; NULL past the end */

enum { QD_FORMATS_MAX = 8, QD_TASKS_MAX = 16, QD_TEXTS_MAX = 8, QD_TEXT_NAME = 64 };

/* A zero-shot task of a job. */
typedef struct qd_task_choice {
    const qd_eval_task *task;
    size_t examples; /* the first so many; 0 = all */
    char *data;      /* URL of its JSON Lines, or NULL = the operator's */
} qd_task_choice;

/* Further texts of an evaluation, by different names. */
typedef struct qd_text {
    char *name, *url;
} qd_text;
typedef struct qd_texts {
    qd_text items[QD_TEXTS_MAX];
    size_t count;
} qd_texts;
/* What a text without a name is called: the last part of its URL or path. */
void qd_text_name(const char *url, char out[QD_TEXT_NAME]);

typedef struct qd_effort qd_effort;                   /* engine/effort.h: a row of the registry of presets */
typedef struct qd_arithmetic_rule qd_arithmetic_rule; /* engine/arithmetic.h: likewise, of arithmetics */

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
    json_t *model_sha256;     /* object or NULL */
    qd_on_unknown on_unknown; /* refuse */
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
    const qd_arithmetic_rule *arithmetic; /* auto */
    qd_on_degraded on_degraded;           /* warn */
    size_t expert_tokens; /* below so many an expert is starved; 0 = twice as many as its widest input has features */
    qd_fallback fallback; /* shared */
    qd_transforms transforms; /* none */
    /* calibration */
    char *calibration_source; /* URL of a text, "self", or NULL = the operator's, else "self" where data is needed */
    size_t calibration_samples,
        calibration_length;            /* 128, 2048 (length 0 = default: 2048, at most the model's positions) */
    bool calibration_bos;              /* true */
    qd_split calibration_split;        /* whole */
    qd_sampling calibration_sampling;  /* even */
    double calibration_phase;          /* 0 */
    qd_text_format calibration_format; /* auto */
    qd_boundary calibration_documents; /* joined */
    qd_first_position first_position;  /* by effort */
    /* evaluation */
    char *evaluation_text;              /* URL, "self", or NULL = the operator's, else "self" */
    qd_texts evaluation_also;           /* measured beside it */
    qd_protocol_use evaluation;         /* plain; what the job leaves out is the protocol's */
    qd_text_format evaluation_format;   /* auto */
    qd_task_choice tasks[QD_TASKS_MAX]; /* each once, in the order of the job */
    size_t task_count;                  /* 0 */
    const qd_algorithm *baseline;       /* rtn, or NULL when "baseline": null */
    /* what an artifact must hold to be published; below 0 = nothing is asked */
    double gate_ratio; /* perplexity of the artifact over the source's, at most */
    double gate_kl;    /* mean KL(source || artifact), nats a token, at most */
    bool gate_every;   /* on every text, not on the first alone */
    /* artifact */
    qd_format_choice formats[QD_FORMATS_MAX]; /* compressed-tensors; each once, in the order of the job */
    size_t format_count;                      /* 1..QD_FORMATS_MAX */
} qd_recipe;
void qd_recipe_destroy(qd_recipe *recipe); /* NULL is fine */

/* What cannot do without calibration: the algorithm, or a transform; NULL = nothing. */
const char *qd_recipe_calibrated(const qd_recipe *recipe);
/* Does anything read the float model's own activations: an algorithm that knows of the mismatch, or a transform that keeps its outputs? Else the
 * quantized stream is all that a job walks. */
bool qd_recipe_compares_streams(const qd_recipe *recipe);

#define QD_SELF "self" /* in place of a text's URL: the source model's own sequences */
/* Where a job's tokens come from. */
typedef enum qd_origin {
    QD_FROM_NOWHERE, /* there are none */
    QD_FROM_TEXT,    /* the job's or the operator's */
    QD_FROM_MODEL,   /* the source model samples them: "self" */
} qd_origin;
const char *qd_origin_name(qd_origin origin); /* "none", "text", "self" */
/* Is it the word for the source model, not a URL? NULL is not. */
bool qd_source_is_self(const char *source);
/* The URL in it; NULL where there is none. */
const char *qd_source_url(const char *source);
/* text: is there one, the job's or the operator's? What needs no data gets none from the model unless it is asked for. */
typedef enum qd_text_there { QD_TEXT_ABSENT, QD_TEXT_THERE } qd_text_there;
qd_origin qd_recipe_calibration_origin(const qd_recipe *recipe, qd_text_there text);
qd_origin qd_recipe_evaluation_origin(const qd_recipe *recipe, qd_text_there text);
/* Evaluation windows of the source model's own where the job does not say how many. */
enum { QD_SELF_WINDOWS = 16 };

/* Does the job ask for what only an evaluation can tell? */
bool qd_recipe_gated(const qd_recipe *recipe);
/* The finding for such a job where nobody names a text, nor "self": nobody's gate is held against the model's own words unasked. */
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
/* Removes what recipe.json of an artifact does not say: labels, the place of the model, how the job is run and who is told. Of the model only
 * "unknown" stays, where it is not the default. */
void qd_recipe_drop_labels(json_t *printed);
/* Drops from a printed recipe what does not change a layer's bytes: the rest is part of every layer's key. (calibration: the
 * token ids count, however they came about, and which of them are seen; effort: what it filled in counts; arithmetic: what the rule comes to.) */
void qd_recipe_keep_layers(json_t *printed);
/* A request without its secrets (model.token removed), for echoing (new reference). */
json_t *qd_recipe_redact(const json_t *request);
/* JSON Schema of a request, generated from the registries and the field table (new reference): GET /schema/job.json. */
json_t *qd_recipe_schema(void);
/* Every registry with typed parameters (new reference): GET /catalog. */
json_t *qd_catalog_print(void);

#endif
