/* algorithm.h: the registry of rounding algorithms, and the one call that rounds a layer and certifies it.
 * Room: core/quant. May use: base, linalg. One file an algorithm, one row in algorithm_table.c.
 * Threads: called from one thread; rows of W are cut into fixed panels over the pool.
 * Source: algorithms.md §6.1 (RTN), §6.2 (OPTQ, feedback form); performance.md §5 (panels). */
#ifndef QD_QUANT_ALGORITHM_H
#define QD_QUANT_ALGORITHM_H

#include "quant/certificate.h"
#include "quant/factor.h"
#include "quant/gram.h"
#include "quant/grid.h"
#include "quant/holdout.h"
#include "quant/mismatch.h"
#include "quant/scale.h"

typedef enum qd_rounding { QD_ROUND_NEAREST, QD_ROUND_STOCHASTIC } qd_rounding;
const char *qd_rounding_name(size_t index); /* NULL past the end */
int qd_rounding_find(const char *name);
/* The largest error of a value inside the grid, in steps, and the mean square of errors over its square. */
double qd_rounding_reach(qd_rounding rounding);
double qd_rounding_variance(qd_rounding rounding);
/* Values further past the end of the grid, in steps, count as clipped: half a step, or what rounding noise explains (stochastic: bias). */
double qd_rounding_grace(qd_rounding rounding);
/* Added to a value before it goes to the nearest code, to make that stochastic: uniform in (-1/2, 1/2), a function of the arguments alone
 * and no multiple of 2^-40, so that a value on a code stays there. seed: of job and layer. */
double qd_rounding_dither(uint64_t seed, size_t row, size_t column);

enum { QD_BEAM_MAX = 64, QD_DESCENT_MAX = 64 };
/* What is done to the codes of a sweep: refine.h. Zeros: nothing. */
typedef struct qd_refine {
    size_t beam;                     /* partial roundings kept of a row; 0 or 1 = the sweep's only */
    size_t rounds;                   /* of coordinate descent */
    bool refit;                      /* each round fits scales and zeros to the codes first */
    const qd_scale_type *scale_type; /* of what is fitted; NULL = float32 */
} qd_refine;

typedef struct qd_weight_target qd_weight_target; /* what is rounded instead of w: aim.h, target.h */

/* What an algorithm reads. w: O x I in original column order. */
typedef struct qd_layer_input {
    qd_cmatf w;
    qd_cmatf v; /* what QD_START_ORIGINAL leaves the columns after the first at; no rows = w */
    const qd_grid *grid;
    const qd_factor *factor;        /* shared by all layers with this input */
    const qd_holdout *holdout;      /* NULL = none: the error is not measured on held-out inputs */
    const qd_mismatch *mismatch;    /* likewise shared; read by QD_NEEDS_MISMATCH */
    qd_mismatch_use use;            /* how they read it */
    const qd_weight_target *target; /* made before the grid was (aim.h); NULL = the algorithm makes it */
    qd_refine refine;               /* read by those that refine */
    qd_grid *fitted;                /* zeroed; gets the grid that the codes are of, where refine.refit is set */
    size_t tokens;                  /* m, for the record; 0 = H is the identity (no data) */
    qd_rounding rounding;
    uint64_t seed;
    qd_pool *pool;
} qd_layer_input;

/* By how much steps were raised over those of the scale rule: factors of at least 1 over rows and groups. */
typedef struct qd_growth {
    double largest, mean;
} qd_growth;

typedef struct qd_algorithm {
    const char *name;  /* "rtn", "optq" */
    const char *alias; /* "gptq" for optq; NULL = none */
    const char *summary;
    const qd_param *params;
    bool starts;  /* reads use.start */
    bool refines; /* reads refine */
    enum qd_needs { QD_NEEDS_NOTHING = 0, QD_NEEDS_HESSIAN = 1, QD_NEEDS_MISMATCH = 2 } needs;
    /* What it rounds instead of w, which scale rules that weigh by H are shown; NULL = it rounds w. */
    qd_code (*aim)(const qd_layer_input *input, qd_weight_target *out, qd_error *err);
    qd_drift_kind drift; /* what the errors of earlier steps come back through */
    /* Stochastic rounding: raises the steps of the input's grid until nothing can clip (guarantee.h). */
    qd_code (*raise)(const qd_layer_input *input, const qd_scale_type *type, qd_grid *grid, qd_growth *out,
                     qd_error *err);
    /* Writes codes (O x I, original column order, code - grid->low) and the certificate. */
    qd_code (*round)(const qd_layer_input *input, uint8_t *out_codes, qd_certificate *out, qd_error *err);
} qd_algorithm;
const qd_algorithm *qd_algorithm_at(size_t index);
const qd_algorithm *qd_algorithm_find(const char *name); /* by name or alias */

/* Checks finite input and shapes, calls algorithm->round, checks finite output. QD_EINTERNAL when the certificate is
 * VIOLATED. */
qd_code qd_layer_round(const qd_algorithm *algorithm, const qd_layer_input *input, uint8_t *out_codes,
                       qd_certificate *out, qd_error *err);

#endif
