/* sweep.h: the OPTQ sweep: panels of 64 rows of W^T, a packed feedback matrix, and kernels for each instruction set.
 * Room: core/quant, private to it, its tests and its benchmark. May use: base, linalg.
 * Threads: qd_sweep_run cuts rows into fixed panels over the pool; the bytes do not depend on the number of threads.
 * Source: algorithms.md §6.2 (feedback form), performance.md §5.2.
 *
 * For every instruction set each element is summed in the same order. Sets with fused multiply-add (AVX2+FMA,
 * AVX-512, NEON) give the same bits; portable x86-64 code has none, and differs from them in the last bit of the
 * sums. */
#ifndef QD_QUANT_SWEEP_H
#define QD_QUANT_SWEEP_H

#include "quant/certify.h"

typedef enum qd_precision { QD_FLOAT64, QD_FLOAT32 } qd_precision;
const char *qd_precision_name(qd_precision precision); /* "float64", "float32" */

enum {
    QD_SWEEP_ROWS = 64,   /* rows of a panel */
    QD_SWEEP_BLOCK = 128, /* columns of a block of the feedback matrix */
    QD_SWEEP_STRIP = 4,   /* columns side by side in it */
};

/* One panel: arrays are [step][64 rows], columns rounded up to QD_SWEEP_STRIP; REAL is float or double. */
typedef struct qd_sweep_panel {
    size_t columns;
    const void *feedback;     /* packed, see qd_feedback */
    void *argument;           /* REAL: starts as the target, ends as z, what the quantizer was given */
    void *error;              /* REAL: starts as the target, ends as target - q */
    uint8_t *codes;           /* code - low */
    const void *scale, *zero; /* REAL [group][64] */
    const double *inverse;    /* 1 / step, [group][64] */
    const uint32_t *group;    /* of each step */
    const double *r2;         /* of each step: what its squared error weighs */
    double path;              /* 1 for path following, where the energy is less than that sum; else 0 */
    const double *first;      /* 64: target minus argument of the first step, or NULL */
    double reach, grace;      /* of the rounding, in levels */
    const void *dither;       /* REAL, like argument: added before a value is rounded; NULL = nothing is */
    int32_t low, high;        /* codes of integers; low is 0 where there are levels */
    double lowest, highest;   /* levels */
    /* A set of levels, or 0 of them: REAL, in ascending order, and for each but the last what lies between it and the next: the distance, and
     * the value above which nearest rounding takes the next. */
    size_t levels;
    const void *level, *gap, *threshold;
    const double *exact; /* the levels again */
    qd_neuron *neurons;  /* 64, set */
} qd_sweep_panel;

/* A set of instructions the sweep was compiled for. */
typedef struct qd_sweep_kernel {
    const char *name; /* "portable", "avx2", "avx512" */
    bool (*supported)(void);
    void (*sweep_f32)(const qd_sweep_panel *panel);
    void (*sweep_f64)(const qd_sweep_panel *panel);
} qd_sweep_kernel;
const qd_sweep_kernel *qd_sweep_kernel_at(size_t index); /* fastest first; NULL past the end */
const qd_sweep_kernel *qd_sweep_kernel_best(void);       /* fastest this processor has */

/* U = C diag(C)^-1, strictly above the diagonal, in blocks of 128 x 128 (block row k <= block column j at j (j+1)/2 +
 * k), each in strips of 4 columns: [strip][row][4]. */
typedef struct qd_feedback {
    size_t columns;
    qd_precision precision;
    void *data;
} qd_feedback;
qd_code qd_feedback_init(const qd_factor *factor, qd_precision precision, qd_pool *pool, qd_feedback *out,
                         qd_error *err);
/* The same from any upper triangular matrix; columns with a zero on the diagonal get no feedback. */
qd_code qd_feedback_init_upper(qd_cmatd upper, qd_precision precision, qd_pool *pool, qd_feedback *out, qd_error *err);
void qd_feedback_fini(qd_feedback *feedback);

/* Rounds the layer: codes (O x I, original order) and what each neuron saw. */
qd_code qd_sweep_run(const qd_layer_input *input, const qd_steps *steps, const qd_feedback *feedback,
                     const qd_sweep_kernel *kernel, uint8_t *out_codes, qd_neuron *out_neurons, qd_error *err);

/* float32 from QD_FLOAT32_COLUMNS columns on, rounding to nearest. */
qd_precision qd_sweep_precision(const qd_layer_input *input);
/* Rounds a layer in one precision. */
typedef qd_code qd_sweep_attempt(const qd_layer_input *input, qd_precision precision, uint8_t *out_codes,
                                 qd_certificate *out, qd_error *err);
/* In the layer's precision; in float64 again where float32 was not enough: not finite, or doubted by its certificate. */
qd_code qd_sweep_settle(const qd_layer_input *input, qd_sweep_attempt *attempt, uint8_t *out_codes, qd_certificate *out,
                        qd_error *err);
/* Of the identity residual: theory.md §8.2. */
double qd_sweep_tolerance(qd_precision precision);

/* optq with everything chosen by the caller; the registered algorithm takes float64 below QD_FLOAT32_COLUMNS
 * columns. */
enum { QD_FLOAT32_COLUMNS = 2048 };
qd_code qd_optq_round(const qd_layer_input *input, qd_precision precision, const qd_sweep_kernel *kernel,
                      uint8_t *out_codes, qd_certificate *out, qd_error *err);

#endif
