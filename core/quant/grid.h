/* grid.h: the alphabet of one layer: integer codes, with a scale and zero for each row and group of input features.
 * Room: core/quant. May use: base, linalg.
 * Threads: a built qd_grid is read-only.
 * Source: algorithms.md §2. value = (code - zero) * scale; groups are static: by original column index j /
 * group_size. */
#ifndef QD_QUANT_GRID_H
#define QD_QUANT_GRID_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/pool.h"
#include "linalg/mat.h"
#include "quant/param.h"

/* QD_ZERO_NONE: signed codes -2^(b-1)..2^(b-1)-1, zero = 0. QD_ZERO_INTEGER / QD_ZERO_FLOAT: unsigned codes
 * 0..2^b-1. */
typedef enum qd_zero_kind { QD_ZERO_NONE, QD_ZERO_INTEGER, QD_ZERO_FLOAT } qd_zero_kind;
const char *qd_zero_kind_name(qd_zero_kind kind); /* "none", "integer", "float" */
int qd_zero_kind_find(const char *name);          /* -1 unknown */

/* ---- scale types: what the artifact stores ---- */
typedef struct qd_scale_type {
    const char *name;            /* "f32", "bf16", "f16" */
    float (*round)(float value); /* to the nearest value of the type */
    const char *dtype;           /* safetensors name: "F32" */
    float smallest;              /* smallest scale used; one that would round to 0 becomes this */
    const char *summary;
} qd_scale_type;
const qd_scale_type *qd_scale_type_at(size_t index);
const qd_scale_type *qd_scale_type_find(const char *name);

struct qd_scale_rule; /* scale.h */

/* ---- alphabets: a name in a job -> code range and zero ---- */
typedef struct qd_alphabet {
    const char *name; /* "int", "int-asymmetric" */
    const char *summary;
    qd_zero_kind zero;  /* default zero; an object {"kind":"int","zero":...} overrides it */
    const double *bits; /* widths it offers, ascending, ends with 0 */
    const qd_param *params;
} qd_alphabet;
const qd_alphabet *qd_alphabet_at(size_t index);
const qd_alphabet *qd_alphabet_find(const char *name);

/* Everything that determines a grid besides the weights. */
typedef struct qd_grid_spec {
    const qd_alphabet *alphabet;
    qd_zero_kind zero;
    bool narrow;       /* drop the lowest (signed) or highest (unsigned) code */
    double bits;       /* 2, 3, 4, 5, 6, 8 */
    size_t group_size; /* input features that share a scale; 0 = the whole row; the last group may be short */
    const struct qd_scale_rule *rule;
    double shrink; /* rho of algorithms.md §2.2, 1 = none */
    const qd_scale_type *scale_type;
} qd_grid_spec;

typedef struct qd_grid {
    int32_t low, high; /* codes, inclusive; 0 <= high - low <= 255 */
    size_t group_size; /* resolved: 1..I */
    size_t groups;     /* G = ceil(I / group_size) */
    qd_zero_kind zero_kind;
    qd_matf_buf scale, zero; /* O x G each; zero is 0 for QD_ZERO_NONE, integral for QD_ZERO_INTEGER */
} qd_grid;
void qd_grid_fini(qd_grid *grid);

/* Scales from w (O x I) by spec->rule, each rounded to the scale type before anything is rounded to it. Every scale
 * is > 0 and finite. diagonal: diag(H), I long, for rules that weigh by it; may be NULL. */
qd_code qd_grid_build(const qd_grid_spec *spec, qd_cmatf w, const double *diagonal, qd_pool *pool, qd_grid *out,
                      qd_error *err);
/* Code range of a spec, without weights (formats check against it). */
void qd_grid_range(const qd_grid_spec *spec, int32_t *out_low, int32_t *out_high);

/* Level of a stored code, in steps, before zero and scale. */
static inline double qd_grid_level(const qd_grid *grid, uint8_t code)
{
    return (double)(grid->low + code);
}

/* Codes (O x I, row-major, stored as code - low, so 0..255) -> weights, in float32: (code - zero) * scale. */
void qd_grid_dequantize(const qd_grid *grid, const uint8_t *codes, qd_matf out);
/* Arguments are first rounded to multiples of QD_TIE steps, then half to even: 0.2 % of bf16 weights lie exactly between two codes of a
 * 4-bit grid of real numbers, and a scale stored in float32 would send each row's to one side or the other. At most QD_HALF_STEP is lost.
 * The float32 sweep has no digits for it. */
#define QD_TIE 0x1p-20
#define QD_HALF_STEP (0.5 + QD_TIE / 2)
static inline double qd_grid_code(double argument)
{
    return rint(rint(argument / QD_TIE) * QD_TIE);
}
/* Nearest code of one value (rounded, then clamped); the twin of what the sweep does. */
int32_t qd_grid_nearest(const qd_grid *grid, size_t row, size_t column, double value);

#endif
