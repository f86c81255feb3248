/* layer.h: random layers for the tests of quant: weights, correlated inputs with outlier features, their H, grid and
 * factor.
 * Room: tests. May use: everything of quant.
 * Threads: none. */
#ifndef QD_TESTS_QUANT_LAYER_H
#define QD_TESTS_QUANT_LAYER_H

#include "base/mem.h"
#include "base/rng.h"
#include "check.h"
#include "quant/sweep.h"

typedef struct layer {
    size_t rows, cols, tokens;
    qd_matf_buf w, x;
    qd_gram gram;
    qd_mismatch mismatch; /* of layer_streams */
    qd_grid grid;
    qd_factor *factor;
    uint8_t *codes;
    qd_certificate certificate;
} layer;

/* What a layer is made of; zeros mean: natural order, lambda 0.01, 4 bits int minmax, whole row, f32 scales; an alphabet that has only one
 * width, group size or scale type has that. */
typedef struct layer_spec {
    size_t rows, cols, tokens;
    const char *alphabet, *rule, *order, *scale_type;
    double bits, damping, shrink;
    size_t group_size;
    qd_zero_kind zero;
    uint64_t seed;
    size_t rank;      /* of the inputs; 0 = full */
    size_t duplicate; /* column 0 again in this column; 0 = none */
    size_t dead;      /* this column of X is zero; 0 = none */
    bool narrow;
    const double *levels; /* of alphabet "levels" */
    size_t level_count;
} layer_spec;

static inline double normal(uint64_t key, uint64_t at)
{
    double u = 1.0 - qd_rng_uniform(key, 2 * at), v = qd_rng_uniform(key, 2 * at + 1);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

/* Token features: an AR(1) process over features, three of them 8 times larger; low rank on request. */
static inline void fill_inputs(const layer_spec *spec, qd_matf x)
{
    uint64_t key = qd_rng_key(spec->seed, 1, 0);
    for (size_t t = 0; t < x.rows; t++) {
        float *row = qd_matf_row(x, t);
        double last = 0.0;
        for (size_t j = 0; j < x.cols; j++) {
            size_t source = spec->rank == 0 ? j : j % spec->rank;
            double mixed = spec->rank == 0 ? 1.0 : 1.0 + (double)(j / spec->rank);
            last = 0.7 * last + normal(key, t * x.cols + source);
            row[j] = (float)((spec->rank == 0 ? last : normal(key, t * x.cols + source) * mixed) *
                             (j % 11 == 3 && j < 33 ? 8.0 : 1.0));
        }
        if (spec->duplicate > 0)
            row[spec->duplicate] = row[0];
        if (spec->dead > 0)
            row[spec->dead] = 0.0f;
    }
}

static inline qd_grid_spec grid_spec_of(const layer_spec *spec)
{
    const qd_alphabet *alphabet = qd_alphabet_find(spec->alphabet == NULL ? "int" : spec->alphabet);
    const char *scale_type = alphabet->scale_type != NULL ? alphabet->scale_type : spec->scale_type;
    qd_grid_spec out = {
        .alphabet = alphabet,
        .zero = alphabet->zero == QD_ZERO_NONE ? QD_ZERO_NONE
                : spec->zero == QD_ZERO_NONE   ? QD_ZERO_INTEGER
                                               : spec->zero,
        .narrow = spec->narrow,
        .bits = alphabet->bits[1] == 0 ? alphabet->bits[0]
                : spec->bits == 0      ? 4
                                       : spec->bits,
        .group_size = alphabet->group_size != 0 ? alphabet->group_size : spec->group_size,
        .rule = qd_scale_rule_find(spec->rule == NULL ? "minmax" : spec->rule),
        .shrink = spec->shrink == 0 ? 1.0 : spec->shrink,
        .scale_type = qd_scale_type_find(scale_type == NULL ? "f32" : scale_type),
    };
    if (alphabet->codes == QD_CODES_OWN_LEVELS) {
        qd_error err = { 0 };
        check_ok(qd_levels_init(spec->levels, spec->level_count, &out.levels, &err));
        out.bits = qd_levels_bits(spec->level_count);
    }
    return out;
}

static inline void layer_factor(layer *l, const layer_spec *spec)
{
    qd_error err = { 0 };
    qd_factor_destroy(l->factor);
    l->factor = NULL;
    check_ok(qd_factor_create(
        qd_matd_const(l->gram.sum.view), qd_order_find(spec->order == NULL ? "natural" : spec->order),
        qd_regularizer_find("mean_diagonal"), spec->damping == 0 ? 0.01 : spec->damping, NULL, &l->factor, &err));
}

static inline void layer_grid(layer *l, const layer_spec *spec)
{
    qd_error err = { 0 };
    qd_grid_spec grid = grid_spec_of(spec);
    qd_grid_fini(&l->grid);
    check_ok(qd_grid_build(&grid, qd_matf_const(l->w.view), NULL, NULL, &l->grid, &err));
}

static inline layer layer_make(layer_spec spec)
{
    qd_error err = { 0 };
    layer l = { .rows = spec.rows, .cols = spec.cols, .tokens = spec.tokens == 0 ? 4 * spec.cols + 8 : spec.tokens };
    check_ok(qd_matf_buf_init(&l.w, l.rows, l.cols, &err));
    check_ok(qd_matf_buf_init(&l.x, l.tokens, l.cols, &err));
    uint64_t key = qd_rng_key(spec.seed, 2, 0);
    for (size_t i = 0; i < l.rows * l.cols; i++)
        l.w.view.data[i] = (float)normal(key, i);
    fill_inputs(&spec, l.x.view);
    check_ok(qd_gram_init(&l.gram, l.cols, &err));
    check_ok(qd_gram_add(&l.gram, qd_matf_const(l.x.view), NULL, &err));
    check_ok(qd_gram_finish(&l.gram, &err));
    check_ok(qd_alloc(l.rows, l.cols, (void **)&l.codes, &err));
    layer_grid(&l, &spec);
    layer_factor(&l, &spec);
    return l;
}

static inline void layer_free(layer *l)
{
    qd_matf_buf_fini(&l->w);
    qd_matf_buf_fini(&l->x);
    qd_gram_fini(&l->gram);
    qd_mismatch_fini(&l->mismatch);
    qd_grid_fini(&l->grid);
    qd_factor_destroy(l->factor);
    free(l->codes);
    *l = (layer){ 0 };
}

static inline qd_layer_input layer_input(const layer *l)
{
    return (qd_layer_input){ .w = qd_matf_const(l->w.view),
                             .grid = &l->grid,
                             .factor = l->factor,
                             .tokens = l->tokens,
                             .mismatch = l->mismatch.tokens == 0 ? NULL : &l->mismatch,
                             .use = { QD_SHRINK_FIXED, 1.0, QD_START_PROJECTED } };
}

/* Gives the layer moments of two equal streams, for algorithms that want both. */
static inline void layer_streams(layer *l)
{
    qd_error err = { 0 };
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf zeros = { 0 };
    check_ok(qd_matf_buf_init(&zeros, l->tokens, l->cols, &err));
    check_ok(qd_mismatch_init(&l->mismatch, l->cols, 0, &err));
    const qd_pairs pairs = { .difference = qd_matf_const(zeros.view), .x = qd_matf_const(l->x.view) };
    check_ok(qd_mismatch_add(&l->mismatch, QD_PART_FIT, &pairs, NULL, &err));
    check_ok(qd_mismatch_finish(&l->mismatch, &err));
}

static inline void layer_round(layer *l, const char *algorithm)
{
    qd_error err = { 0 };
    qd_layer_input input = layer_input(l);
    check_ok(qd_layer_round(qd_algorithm_find(algorithm), &input, l->codes, &l->certificate, &err));
}

static inline void layer_optq(layer *l, qd_precision precision, const qd_sweep_kernel *kernel)
{
    qd_error err = { 0 };
    qd_layer_input input = layer_input(l);
    check_ok(qd_optq_round(&input, precision, kernel, l->codes, &l->certificate, &err));
}

static inline double value_at(const layer *l, size_t row, size_t column, uint8_t code)
{
    size_t g = column / l->grid.group_size;
    double scale = (double)qd_matf_row(l->grid.scale.view, row)[g],
           zero = (double)qd_matf_row(l->grid.zero.view, row)[g];
    return (qd_grid_level(&l->grid, code) - zero) * scale;
}

#endif
