/* certificate.h: the error certificate of one layer.
 * Room: core/quant. May use: base, linalg.
 * Threads: values.
 * Source: theory.md §2-3 (identities, T1, T2, T4), §8.2 (the record). Sums over all neurons; everything squared is in
 * units of output^2 per token (H is a mean over tokens, gram_scale = 1/m). Float64 throughout. */
#ifndef QD_QUANT_CERTIFICATE_H
#define QD_QUANT_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum qd_certificate_status {
    QD_CERTIFIED,          /* nothing clipped, energy <= T1 bound */
    QD_CERTIFIED_OVERLOAD, /* clipped: T2 holds, T1 is not applicable */
    QD_NUMERIC_SUSPECT,    /* identity residual over tolerance */
    QD_VIOLATED,           /* energy over the T2 bound: software bug, the job fails */
    QD_UNCERTIFIED,        /* no calibration data: H is the identity, errors are in weight space */
} qd_certificate_status;
const char *qd_certificate_status_name(qd_certificate_status status); /* "CERTIFIED", ... */

/* Can no step clip, with probability 1 - eta? */
typedef enum qd_guarantee { QD_GUARANTEED, QD_NOT_GUARANTEED, QD_ALPHABET_TOO_SMALL } qd_guarantee;
const char *
qd_guarantee_name(qd_guarantee guarantee); /* "holds", "does not hold", "alphabet too small for the guarantee" */

/* Of stochastic rounding: theory.md §6. NaN where something does not apply. Statements about a layer that clipped nothing. */
typedef struct qd_chance {
    double eta;               /* probability that a statement fails; 0 = rounding was not stochastic */
    double mean_bound_sq;     /* bound on the expected energy */
    double probable_bound_sq; /* bound on the energy with probability 1 - eta */
    double output_bound;      /* T6: on every output of every calibration token */
    double kappa_max;         /* T10: largest deviation of an argument from its target, in steps */
    uint32_t kappa_column;    /* where */
    double steps_required;    /* least K > kappa_max */
    unsigned bits_required;   /* least b with 2^(b-1) - 1 > kappa_max */
    double step_ratio; /* what the steps would have to grow by; <= 1: the guarantee holds, infinity: no step would do */
    qd_guarantee guarantee;
    /* A run with "certified": how much larger than the rule's its steps are, over rows and groups; 0 = they are the rule's. */
    double growth_largest, growth_mean;
} qd_chance;

typedef struct qd_certificate {
    const char *method;   /* "optq" */
    const char *rounding; /* "nearest" */
    const char *order;
    char permutation_hash[17]; /* first 16 hex digits of the SHA-256 of the permutation */
    size_t tokens, in, out;    /* m, N, d */
    double gram_scale;
    double lambda, lambda_relative;
    const char *lambda_source; /* "user", "auto-holdout", "fallback" (escalated, or nothing to hold out) */
    unsigned escalations;
    double s, r2_max, r2_min, am_gm, gap_db, trace_ratio;
    double bound_sq; /* T1 (for rtn: its own a-priori bound, see CERTIFICATES.md) */
    double expected_sq;
    double energy_sq;      /* measured, regularized */
    double error_sq;       /* energy - lambda ||w - q||^2 */
    double output_sq;      /* ||X W^T||^2 / m */
    double relative_error; /* sqrt(error_sq / output_sq) */
    double sqnr_db;
    double ratio;             /* sqrt(energy / bound) */
    double identity_residual; /* | (w-q)^T H_lambda (w-q) - energy | / energy */
    const char *precision;    /* arithmetic of the sweep: "float64" or "float32" */
    uint64_t clip_count;      /* weights whose argument lay outside the grid by more than half a step */
    size_t clip_neurons;
    double max_excess;        /* in steps */
    double overload_bound_sq; /* T2 */
    double weight_error_sq;   /* ||w - q||^2 */
    size_t dead_columns;
    /* gpfq and qronos, which know the float stream X besides X~; zeros and NULL for the others. */
    bool mismatched;
    const char *start;             /* qronos: "projected" or "original" */
    double share;                  /* of the mismatch that was corrected */
    double mismatch_sq;            /* ||E + (X - X~) W^T||^2 / m; E = 0 unless residual */
    double cross_sq;               /* <E + (X - X~) W^T, X~ (W - Q)^T> / m */
    bool residual;                 /* the error E of the residual stream was to be repaired too */
    double residual_sq;            /* ||E||^2 / m */
    double residual_cross;         /* <E, X W^T - X~ Q^T> / m */
    double base_sq;                /* what the target leaves */
    double total_sq;               /* what the codes leave: of the regularized, shrunken problem */
    double shift_max;              /* largest |target - w| in steps */
    size_t heldout_tokens;         /* 0 = nothing was held out: the four below are 0 */
    double heldout_t;              /* T(lambda) per token; NaN when no lambda could be tried */
    double heldout_expected_sq;    /* prediction, made before rounding; NaN with heldout_t */
    double heldout_sq;             /* ||X_hold (w - q)^T||^2 / m_hold */
    double heldout_relative_error; /* over ||X_hold w^T||^2 / m_hold; square root */
    /* Of a sweep that was refined; else false and zeros. bound_sq, overload_bound_sq and the clip fields are those of the sweep. */
    bool refined;
    double swept_sq;      /* energy of the sweep's codes, on the grid that it rounded to */
    double searched_sq;   /* after the beam search, on the same grid */
    size_t codes_changed; /* since the sweep */
    size_t scales_fitted; /* groups of rows whose scale or zero is no more what the rule chose */
    size_t refine_rounds;
    qd_chance chance;
    qd_certificate_status status;
} qd_certificate;

#endif
