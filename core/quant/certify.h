/* certify.h: how an algorithm fills a certificate.
 * Room: core/quant, private to it. May use: base, linalg.
 * Threads: called from one thread; work is cut into fixed panels over the pool.
 * Source: theory.md §2-3, §8.2. */
#ifndef QD_QUANT_CERTIFY_H
#define QD_QUANT_CERTIFY_H

#include "quant/steps.h"

/* What the loop saw of one neuron. */
typedef struct qd_neuron {
    double energy;       /* sum of eps_t^2 r_t^2 (I2), or the quadratic form of w - q */
    double overload;     /* bound on energy from the arguments of the quantizer (T2) */
    double weight_error; /* ||w - q||^2 */
    double max_excess;   /* steps past the end of the grid */
    uint64_t clips;
} qd_neuron;

/* What an algorithm that knows both streams measured, summed over the rows, apart from its loop. target.h says how. */
typedef struct qd_measure {
    const char *start; /* of Qronos; NULL for the others */
    double share;
    double mismatch_sq;       /* ||e + (X - X~) w||^2; e = 0 unless the residual stream's error is to be repaired too */
    double cross_sq;          /* <e + (X - X~) w, X~ (w - q)> */
    double residual_sq;       /* ||e||^2 */
    double residual_cross;    /* <e, X w - X~ q> */
    double base_sq, total_sq; /* objective of the shrunken problem at the target, and at q */
    double output_sq;         /* ||X w||^2 */
    double weight_error_sq;   /* ||w - q||^2 */
    double shift_max;         /* largest |target - w|, in steps */
    /* On held-out inputs, where there are some: the error at q and at the target, and ||X w||^2. */
    double heldout_sq, heldout_base_sq, heldout_output_sq;
} qd_measure;

typedef struct qd_evidence {
    const char *method, *precision;
    const qd_layer_input *input;
    const qd_steps *steps;
    const uint8_t *codes;
    const qd_neuron *neurons;         /* O of them */
    const struct qd_refined *refined; /* what became of the neurons' codes (refine.h); NULL = nothing */
    double bound_sq, expected_sq;
    double heldout_expected_sq; /* 0 without a hold-out */
    double tolerance;           /* of the identity residual: energies against (w-q) H_lambda (w-q)^T */
    const qd_cmatd *upper;      /* of the feedback, A_kj / A_jj; NULL = no feedback */
    const qd_measure *measure;  /* NULL where only X~ is known */
} qd_evidence;
qd_code qd_certify(const qd_evidence *evidence, qd_certificate *out, qd_error *err);

/* sum over neurons of d^T M d with d = half a step: M = diag(r^2) for T1. */
double qd_bound_pivots(const qd_layer_input *input, const qd_steps *steps);

/* The same with the mean square of errors in the steps that the weights lie in. bound: the sum above. */
double qd_expected_pivots(const qd_layer_input *input, const qd_steps *steps, double bound);

/* sum over neurons and columns of the mean squared rounding error times column[j * stride], j in original order. */
double qd_expected_columns(const qd_layer_input *input, const double *column, size_t stride);

/* out[i] for every row of the layer: quadratic form of its target, error or reach. QD_FORM_FACTOR: ||x C||^2;
 * QD_FORM_DIRECT: x H_lambda x^T; with `matrix` NULL the factor's own. Rows: all when `rows` is NULL. */
typedef enum qd_form { QD_FORM_FACTOR, QD_FORM_DIRECT } qd_form;
typedef enum qd_shift { QD_SHIFT_LAMBDA, QD_SHIFT_NONE } qd_shift;
/* QD_PRODUCTS_FAST: in float32 where the layer is large (O I^2 > QD_ALL_FLOAT64): of what a record describes, as H itself was summed. */
typedef enum qd_products { QD_PRODUCTS_FLOAT64, QD_PRODUCTS_FAST } qd_products;
#define QD_ALL_FLOAT64 2e8
typedef struct qd_form_job {
    const qd_layer_input *input;
    const qd_steps *steps;
    qd_rows_kind kind;
    qd_form form;
    const qd_cmatd *matrix; /* replaces H (QD_FORM_DIRECT), in processing order */
    qd_shift shift;         /* what is added to its diagonal (QD_FORM_DIRECT) */
    qd_products products;   /* QD_FORM_DIRECT */
    const uint8_t *codes;
    const uint32_t *rows;
    size_t count;
} qd_form_job;
qd_code qd_form_run(const qd_form_job *job, double *out, qd_error *err);
bool qd_form_in_float32(const qd_layer_input *input, qd_products products);
/* out = h, in float32. */
qd_code qd_form_narrow(qd_cmatd h, qd_pool *pool, qd_matf_buf *out, qd_error *err);
/* The same of a matrix that is not asked for next: where it lies on disk, rows that were read are not kept resident. */
qd_code qd_form_narrow_away(const qd_matd_buf *h, qd_pool *pool, qd_matf_buf *out, qd_error *err);

#endif
