/* grid.h: the alphabet of one layer: integers or a set of levels, with a scale and zero for each row and group of input features.
 * Room: core/quant. May use: base, linalg.
 * Threads: a built qd_grid is read-only.
 * Source: algorithms.md §2. value = (level - zero) * scale, where the level of an integer alphabet's code is the code itself; groups are
 * static: by original column index j / group_size. */
#ifndef QD_QUANT_GRID_H
#define QD_QUANT_GRID_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/pool.h"
#include "linalg/mat.h"
#include "quant/levels.h"
#include "quant/param.h"

/* QD_ZERO_NONE: signed codes -2^(b-1)..2^(b-1)-1, zero = 0. QD_ZERO_INTEGER / QD_ZERO_FLOAT: unsigned codes
 * 0..2^b-1. */
typedef enum qd_zero_kind { QD_ZERO_NONE, QD_ZERO_INTEGER, QD_ZERO_FLOAT } qd_zero_kind;
const char *qd_zero_kind_name(qd_zero_kind kind); /* "none", "integer", "float" */
int qd_zero_kind_find(const char *name);          /* -1 unknown */

/* ---- scale types: what the artifact stores ---- */
typedef struct qd_scale_type {
    const char *name;                       /* "f32", "bf16", "f16", "e8m0", "q4_k", ... */
    float (*round)(float value);            /* to the nearest value of the type */
    float (*fit)(double reach, double top); /* the scale that brings `reach` to the level `top`, or about there */
    unsigned wider;    /* candidates above the whole range that a search tries too: fractions 2, 4, ... of it */
    const char *dtype; /* safetensors name of the smallest type our containers hold it in: "F32" */
    float smallest;    /* smallest scale used; one that would round to 0 becomes this */
    const char *summary;
    /* What containers with grids of their own add (formats.md §6.5); all 0 for the others. */
    bool
        mirrored; /* the stored scale has a sign: integer zeros are 2^(b-1) or, mirrored, 2^(b-1) - 1, codes unsigned */
    bool offset;  /* a float zero is stored as an offset: value = level * scale - offset */
    bool layer_unit; /* scale = unit * a value of the type, the unit one power of two for the layer: O x 1, all alike */
    size_t
        per_block; /* groups that share a unit: scale = unit * 1..scale_high, offset = offset_unit * 0..offset_high; 0 = free */
    int scale_high, offset_high;
    size_t group_size;  /* the only one it has; 0 = any */
    const double *bits; /* widths it goes with, ends with 0; NULL = any */
} qd_scale_type;
const qd_scale_type *qd_scale_type_at(size_t index);
const qd_scale_type *qd_scale_type_find(const char *name);
/* Does the type choose scales by error, several together or of two signs, from where the scale rule begins (container.h)? */
static inline bool qd_scale_type_searches(const qd_scale_type *type)
{
    return type->mirrored || type->offset || type->per_block > 0;
}
/* Which zeros there are beside its scales: of an offset floats, of a signed scale codes or none, of levels none. */
static inline bool qd_scale_type_takes(const qd_scale_type *type, qd_zero_kind zero)
{
    return type->offset     ? zero == QD_ZERO_FLOAT
           : type->mirrored ? zero != QD_ZERO_FLOAT
                            : !type->layer_unit || zero == QD_ZERO_NONE;
}
/* May a scale be any larger value of the type, and its zero any of the kind, as steps with a guarantee want? */
static inline bool qd_scale_type_raises(const qd_scale_type *type)
{
    return !qd_scale_type_searches(type) && !type->layer_unit;
}

struct qd_scale_rule; /* scale.h */

/* ---- alphabets: a name in a job -> codes, their levels, and zero ---- */
typedef struct qd_alphabet {
    const char *name; /* "int", "int-asymmetric", "nf4" */
    const char *summary;
    qd_zero_kind zero;  /* default zero; an object {"kind":"int","zero":...} overrides it where params has it */
    const double *bits; /* widths it offers, ascending, ends with 0; a single one is its default */
    const qd_param *params;
    enum qd_alphabet_codes { QD_CODES_INTEGER, QD_CODES_LEVELS, QD_CODES_OWN_LEVELS } codes; /* own: the spec's */
    const qd_levels *levels;                                                                 /* QD_CODES_LEVELS */
    size_t group_size;      /* the only one it has; 0 = any */
    const char *scale_type; /* likewise; NULL = any */
} qd_alphabet;
const qd_alphabet *qd_alphabet_at(size_t index);
const qd_alphabet *qd_alphabet_find(const char *name);

/* Three levels: the width log2(3), as everybody writes it. */
#define QD_BITS_THREE_LEVELS 1.58

/* Everything that determines a grid besides the weights. */
typedef struct qd_grid_spec {
    const qd_alphabet *alphabet;
    qd_zero_kind zero;
    bool narrow;       /* drop the lowest (signed) or highest (unsigned) code */
    double bits;       /* 1.58, 2, 3, 4, 5, 6, 7, 8 */
    size_t group_size; /* input features that share a scale; 0 = the whole row; the last group may be short */
    const struct qd_scale_rule *rule;
    double shrink; /* rho of algorithms.md §2.2, 1 = none */
    const qd_scale_type *scale_type;
    qd_levels levels; /* of an alphabet without its own */
} qd_grid_spec;
/* QD_EINVAL begins with the field that is wrong, as "bits: ...", and says what goes with the others. */
qd_code qd_grid_spec_check(const qd_grid_spec *spec, qd_error *err);
bool qd_grid_spec_equal(const qd_grid_spec *a, const qd_grid_spec *b);
/* NULL for integers. */
const qd_levels *qd_grid_spec_levels(const qd_grid_spec *spec);
/* Bits that hold any code: 2 for 1.58. */
unsigned qd_grid_code_bits(const qd_grid_spec *spec);

typedef struct qd_grid {
    int32_t low, high; /* codes, inclusive; 0 <= high - low <= 255; low is 0 where there are levels */
    qd_levels levels;  /* count 0 = integers */
    size_t group_size; /* resolved: 1..I */
    size_t groups;     /* G = ceil(I / group_size) */
    qd_zero_kind zero_kind;
    qd_matf_buf scale, zero; /* O x G each; zero is 0 for QD_ZERO_NONE, integral for QD_ZERO_INTEGER */
    /* Of scale types that have them, else no rows. With offsets, O x G, values are level * scale - offset in float32, and zero = offset / scale
     * as nearly as float32 holds it. Units, O x B, B = ceil(G / per_block): scale / unit and offset / offset_unit are whole, exactly. Of a
     * layer's unit, O x 1: scale / unit is a value of the type. */
    qd_matf_buf offset, unit, offset_unit;
} qd_grid;
void qd_grid_fini(qd_grid *grid);
qd_code qd_grid_copy(const qd_grid *from, qd_grid *out, qd_error *err);
/* Its matrices by name, for whoever stores or compares them: "scale", "zero", "offset", "unit", "offset_unit"; NULL past the last. Those that a grid
 * does not have, have no rows. */
const qd_matf_buf *qd_grid_part(const qd_grid *grid, size_t index, const char **out_name);

/* Scales from w (O x I) by spec->rule, each rounded to the scale type before anything is rounded to it. Every scale
 * is > 0 and finite. diagonal: diag(H), I long, for rules that weigh by it; may be NULL. */
qd_code qd_grid_build(const qd_grid_spec *spec, qd_cmatf w, const double *diagonal, qd_pool *pool, qd_grid *out,
                      qd_error *err);
/* Everything of a grid for rows of `cols` weights but its scales and zeros. */
void qd_grid_shape(const qd_grid_spec *spec, size_t cols, qd_grid *out);
/* The matrices of a shaped grid, as the scale type has them, all 0. */
qd_code qd_grid_allocate(const qd_scale_type *type, size_t rows, qd_grid *grid, qd_error *err);
/* Code range of a spec, without weights (formats check against it). */
void qd_grid_range(const qd_grid_spec *spec, int32_t *out_low, int32_t *out_high);

/* Level of a stored code, in steps, before zero and scale. */
static inline double qd_grid_level(const qd_grid *grid, uint8_t code)
{
    return grid->levels.count > 0 ? grid->levels.value[code] : (double)(grid->low + code);
}
/* The ends of the range, as levels. */
static inline double qd_grid_lowest(const qd_grid *grid)
{
    return qd_grid_level(grid, 0);
}
static inline double qd_grid_highest(const qd_grid *grid)
{
    return qd_grid_level(grid, (uint8_t)(grid->high - grid->low));
}
/* Largest distance of neighbouring levels: times the scale, that is the step of bounds and counts. */
static inline double qd_grid_widest(const qd_grid *grid)
{
    return grid->levels.count > 0 ? grid->levels.widest : 1.0;
}
/* Distance of the levels around a value, times the scale: the step that is expected there. */
static inline double qd_grid_step_at(const qd_grid *grid, size_t row, size_t group, double value)
{
    double scale = (double)qd_matf_row(grid->scale.view, row)[group];
    return grid->levels.count > 0 ? scale * qd_levels_gap(&grid->levels, value / scale) : scale;
}

/* Codes (O x I, row-major, stored as code - low, so 0..255) -> weights, in float32: (level - zero) * scale. */
void qd_grid_dequantize(const qd_grid *grid, const uint8_t *codes, qd_matf out);
/* Arguments are first rounded to multiples of QD_TIE steps, then half to even: 0.2 % of bf16 weights lie exactly between two codes of a
 * 4-bit grid of real numbers, and a scale stored in float32 would send each row's to one side or the other. At most QD_HALF_STEP is lost.
 * The float32 sweep has no digits for it. Levels have the same ties, by the distance of the two (levels.h). */
#define QD_TIE (2 * QD_LEVELS_TIE)
#define QD_HALF_STEP (0.5 + QD_TIE / 2)
static inline double qd_grid_code(double argument)
{
    return rint(rint(argument / QD_TIE) * QD_TIE);
}
/* Nearest code of one value (rounded, then clamped); the twin of what the sweep does. */
int32_t qd_grid_nearest(const qd_grid *grid, size_t row, size_t column, double value);

#endif
