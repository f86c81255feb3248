/* test_container.c: grids of containers: everything in them can be stored, rounding to them errs no more than what the rule chose and was then
 * rounded to storage, and values are what the container's own formula gives (formats.md §6.5). */
#include "layer.h"
#include "linalg/half.h"
#include "quant/container.h"
#include "quant/guarantee.h"
#include "quant/scale.h"

typedef struct kind {
    const char *type;
    const char *alphabet;
    qd_zero_kind zero;
    double bits;
    size_t group_size;
} kind;

static const kind kinds[] = {
    { "f16-signed", "int-asymmetric", QD_ZERO_INTEGER, 4, 32 },
    { "f16-signed", "int-asymmetric", QD_ZERO_INTEGER, 5, 32 },
    { "f16-signed", "int-asymmetric", QD_ZERO_INTEGER, 2, 64 },
    { "f16-signed", "int", QD_ZERO_NONE, 4, 0 },
    { "f16-offset", "int-asymmetric", QD_ZERO_FLOAT, 4, 32 },
    { "f16-offset", "int-asymmetric", QD_ZERO_FLOAT, 5, 32 },
    { "q2_k", "int-asymmetric", QD_ZERO_FLOAT, 2, 16 },
    { "q3_k", "int-asymmetric", QD_ZERO_INTEGER, 3, 16 },
    { "q3_k", "int", QD_ZERO_NONE, 3, 16 },
    { "q4_k", "int-asymmetric", QD_ZERO_FLOAT, 4, 32 },
    { "q4_k", "int-asymmetric", QD_ZERO_FLOAT, 5, 32 },
    { "q6_k", "int-asymmetric", QD_ZERO_INTEGER, 6, 16 },
    { "e4m3", "nvfp4", QD_ZERO_NONE, 4, 16 },
    { "half", "int", QD_ZERO_NONE, 4, 32 },
    { "half", "int-asymmetric", QD_ZERO_INTEGER, 4, 32 },
};
static const char *const rules[] = { "minmax", "mse", "hessian-mse" };

static qd_grid_spec spec_of(const kind *r, const char *rule)
{
    return (qd_grid_spec){ .alphabet = qd_alphabet_find(r->alphabet),
                           .zero = r->zero,
                           .bits = r->bits,
                           .group_size = r->group_size,
                           .rule = qd_scale_rule_find(rule),
                           .shrink = 1.0,
                           .scale_type = qd_scale_type_find(r->type) };
}

/* Weights of every size that models have, blocks of different sizes, some that are all alike or nothing; importance over four decades. */
static void fill(uint64_t seed, qd_matf w, double *importance)
{
    for (size_t i = 0; i < w.rows; i++)
        for (size_t j = 0; j < w.cols; j++) {
            uint64_t at = i * w.cols + j;
            double size = exp(2.0 * normal(qd_rng_key(seed, 1, i), j / 16)) * (i % 7 == 6 ? 1e-4 : 0.05);
            double value = size * normal(qd_rng_key(seed, 2, 0), at) + (i % 5 == 4 ? size : 0.0);
            value = i == 2 && j / 16 % 3 == 1 ? 0.0 : i == 3 && j / 16 % 3 == 2 ? -size : value;
            qd_matf_row(w, i)[j] = (float)value;
        }
    for (size_t j = 0; j < w.cols; j++)
        importance[j] = j % 29 == 28 ? 0.0 : exp(2.0 * normal(qd_rng_key(seed, 3, 0), j));
}

typedef struct problem {
    qd_matf_buf w;
    double *importance;
    qd_grid grid;
} problem;

static problem problem_make(const qd_grid_spec *spec, size_t count, size_t cols, uint64_t seed)
{
    qd_error err = { 0 };
    problem p = { 0 };
    check_ok(qd_matf_buf_init(&p.w, count, cols, &err));
    check_ok(qd_alloc(cols, sizeof(double), (void **)&p.importance, &err));
    fill(seed, p.w.view, p.importance);
    check_ok(qd_grid_build(spec, qd_matf_const(p.w.view), p.importance, NULL, &p.grid, &err));
    return p;
}

static void problem_free(problem *p)
{
    qd_matf_buf_fini(&p->w);
    free(p->importance);
    qd_grid_fini(&p->grid);
}

/* Of rounding a row to nearest, with importance where the rule uses it. */
static double loss(const qd_grid_spec *spec, const qd_grid *grid, qd_cmatf w, size_t row, const double *importance)
{
    double sum = 0.0;
    for (size_t j = 0; j < w.cols; j++) {
        size_t g = j / grid->group_size;
        double value = (double)qd_cmatf_row(w, row)[j];
        double q = ((double)qd_grid_level(grid, (uint8_t)(qd_grid_nearest(grid, row, j, value) - grid->low)) -
                    (double)qd_matf_row(grid->zero.view, row)[g]) *
                   (double)qd_matf_row(grid->scale.view, row)[g];
        sum += (spec->rule->candidate != NULL ? importance[j] : 1.0) * (value - q) * (value - q);
    }
    return sum;
}

static void every_grid_is_what_its_type_stores(void **state)
{
    (void)state;
    static const size_t widths[] = { 256, 512, 16, 40, 300, 768 };
    for (size_t k = 0; k < QD_LENGTH(kinds); k++)
        for (size_t r = 0; r < QD_LENGTH(rules); r++)
            for (size_t c = 0; c < QD_LENGTH(widths); c++) {
                qd_error err = { 0 };
                qd_grid_spec spec = spec_of(&kinds[k], rules[r]);
                problem p = problem_make(&spec, 10, widths[c], k + 100 * c);
                if (qd_container_check(spec.scale_type, &p.grid, &err) != QD_OK)
                    fail_msg("%s %s %zu: %s", kinds[k].type, rules[r], widths[c], err.text);
                problem_free(&p);
            }
}

static void a_value_that_is_not_stored_is_found(void **state)
{
    (void)state;
    for (size_t k = 0; k < QD_LENGTH(kinds); k++) {
        qd_error err = { 0 };
        qd_grid_spec spec = spec_of(&kinds[k], "mse");
        problem p = problem_make(&spec, 3, 256, k);
        const char *name;
        const qd_matf_buf *part;
        for (size_t i = 0; (part = qd_grid_part(&p.grid, i, &name)) != NULL; i++) {
            if (part->view.rows == 0 || (i == 1 && spec.zero == QD_ZERO_NONE && !spec.scale_type->offset))
                continue;
            float *value = &qd_matf_row(part->view, 2)[0], kept = *value;
            *value = nextafterf(kept, INFINITY);
            check_fails(qd_container_check(spec.scale_type, &p.grid, &err), QD_EINVAL);
            check_contains(err.text, kinds[k].type);
            *value = kept;
        }
        check_ok(qd_container_check(spec.scale_type, &p.grid, &err));
        problem_free(&p);
    }
}

/* The plain way: the rule's real scales, a unit of the largest, everything rounded to storage. */
static void store_plainly(const qd_grid_spec *spec, const problem *p, qd_grid *grid)
{
    qd_error err = { 0 };
    const qd_scale_type *type = spec->scale_type;
    qd_grid_spec bare = *spec;
    bare.scale_type = qd_scale_type_find(type->per_block > 0 ? "f32" : "f16");
    bare.zero = type->offset ? spec->zero : QD_ZERO_NONE;
    if (!type->offset)
        bare.alphabet = qd_alphabet_find("int");
    check_ok(qd_grid_build(&bare, qd_matf_const(p->w.view), p->importance, NULL, grid, &err));
    check_ok(qd_container_allocate(type, p->w.view.rows, grid, &err));
    for (size_t i = 0; i < p->w.view.rows; i++)
        for (size_t g = 0; g < grid->groups; g++) {
            float *scale = qd_matf_row(grid->scale.view, i), *zero = qd_matf_row(grid->zero.view, i), offset = 0.0f;
            if (type->per_block > 0 && g % type->per_block == 0) {
                float most = 0.0f, most_offset = 0.0f;
                for (size_t other = g; other < g + type->per_block && other < grid->groups; other++) {
                    most = fmaxf(most, scale[other]);
                    most_offset = fmaxf(most_offset, scale[other] * zero[other]);
                }
                size_t block = g / type->per_block;
                qd_matf_row(grid->unit.view, i)[block] =
                    fmaxf(qd_f16_to_float(qd_float_to_f16(most / (float)type->scale_high)), 0x1p-24f);
                if (type->offset)
                    qd_matf_row(grid->offset_unit.view, i)[block] =
                        fmaxf(qd_f16_to_float(qd_float_to_f16(most_offset / (float)type->offset_high)), 0x1p-24f);
            }
            double wanted = (double)zero[g] * (double)scale[g];
            scale[g] = qd_container_scale(type, grid, i, g, (double)scale[g]);
            zero[g] = qd_container_zero(type, grid, i, g, scale[g], wanted / (double)scale[g], &offset);
            if (type->offset)
                qd_matf_row(grid->offset.view, i)[g] = offset;
        }
}

static void searching_errs_no_more_than_storing_what_the_rule_chose(void **state)
{
    (void)state;
    for (size_t k = 0; k < QD_LENGTH(kinds); k++)
        for (size_t r = 0; r < QD_LENGTH(rules); r++) {
            qd_grid_spec spec = spec_of(&kinds[k], rules[r]);
            if (!qd_scale_type_searches(spec.scale_type))
                continue;
            problem p = problem_make(&spec, 30, 512, 1000 + k);
            QD_AUTO(qd_grid_fini) qd_grid plain = { 0 };
            store_plainly(&spec, &p, &plain);
            double all = 0.0, all_plain = 0.0;
            for (size_t i = 0; i < 30; i++) {
                double ours = loss(&spec, &p.grid, qd_matf_const(p.w.view), i, p.importance),
                       theirs = loss(&spec, &plain, qd_matf_const(p.w.view), i, p.importance);
                /* ties of rounding go by other digits here than in the search */
                if (!(ours <= theirs * (1.0 + 1e-4) + 1e-15))
                    fail_msg("%s %s row %zu: %.9g, plainly %.9g", kinds[k].type, rules[r], i, ours, theirs);
                all += ours;
                all_plain += theirs;
            }
            assert_true(all < 0.999 * all_plain);
            problem_free(&p);
        }
}

static void a_scale_of_the_other_sign_is_the_grid_of_the_opposite_weights(void **state)
{
    (void)state;
    for (size_t k = 0; k < QD_LENGTH(kinds); k++) {
        qd_error err = { 0 };
        qd_grid_spec spec = spec_of(&kinds[k], rules[k % 3]);
        if (!spec.scale_type->mirrored || spec.zero != QD_ZERO_INTEGER)
            continue;
        problem p = problem_make(&spec, 20, 512, 2000 + k);
        qd_grid other = { 0 };
        size_t mirrored = 0, groups = 20 * p.grid.groups;
        for (size_t i = 0; i < 20 * 512; i++)
            p.w.view.data[i] = -p.w.view.data[i];
        check_ok(qd_grid_build(&spec, qd_matf_const(p.w.view), p.importance, NULL, &other, &err));
        double middle = pow(2.0, kinds[k].bits - 1.0);
        for (size_t g = 0; g < groups; g++) {
            double a = (double)p.grid.zero.view.data[g], b = (double)other.zero.view.data[g];
            assert_true((a == middle || a == middle - 1.0) && (b == middle || b == middle - 1.0));
            mirrored += a == middle - 1.0;
        }
        assert_true(mirrored > groups / 4 && mirrored < groups - groups / 4); /* both signs are used */
        for (size_t i = 0; i < 20; i++) { /* with the same scales, unless either sign is as good */
            double there = loss(&spec, &other, qd_matf_const(p.w.view), i, p.importance);
            for (size_t j = 0; j < 512; j++)
                qd_matf_row(p.w.view, i)[j] *= -1.0f;
            check_close(loss(&spec, &p.grid, qd_matf_const(p.w.view), i, p.importance), there, 1e-4);
        }
        qd_grid_fini(&other);
        problem_free(&p);
    }
}

/* What a container's decoder computes, in float32 as it does: formats.md §6.5. */
static float decode(const qd_scale_type *type, const qd_grid *grid, size_t i, size_t g, uint8_t code)
{
    size_t block = type->per_block == 0 ? 0 : g / type->per_block;
    float scale = qd_matf_row(grid->scale.view, i)[g], middle = (float)((grid->high + 1) / 2);
    if (type->per_block == 0 && type->offset)
        return (float)code * scale + -qd_matf_row(grid->offset.view, i)[g]; /* u d + m */
    if (type->per_block == 0) {
        bool negative = qd_matf_row(grid->zero.view, i)[g] != middle;
        return ((float)(negative ? grid->high - code : code) - middle) * (negative ? -scale : scale);
    }
    float d = qd_matf_row(grid->unit.view, i)[block];
    int k = (int)rintf(scale / d);
    assert_true(k >= 1 && k <= type->scale_high && (float)k * d == scale);
    if (type->offset) {
        float dmin = qd_matf_row(grid->offset_unit.view, i)[block];
        int m = (int)rintf(qd_matf_row(grid->offset.view, i)[g] / dmin);
        assert_true(m >= 0 && m <= type->offset_high);
        return d * (float)k * (float)code - dmin * (float)m;
    }
    bool negative = qd_matf_row(grid->zero.view, i)[g] != middle;
    return d * (float)(negative ? -k : k) * ((float)(negative ? grid->high - code : code) - middle);
}

static void values_are_what_the_container_decodes(void **state)
{
    (void)state;
    for (size_t k = 0; k < QD_LENGTH(kinds); k++) {
        qd_error err = { 0 };
        qd_grid_spec spec = spec_of(&kinds[k], "hessian-mse");
        if (!qd_scale_type_searches(spec.scale_type) || spec.zero == QD_ZERO_NONE)
            continue;
        problem p = problem_make(&spec, 12, 512, 3000 + k);
        uint8_t codes[12 * 512];
        QD_AUTO(qd_matf_buf_fini) qd_matf_buf out = { 0 };
        check_ok(qd_matf_buf_init(&out, 12, 512, &err));
        for (size_t i = 0; i < sizeof codes; i++)
            codes[i] = (uint8_t)qd_rng_below(k, i, (uint64_t)p.grid.high + 1);
        qd_grid_dequantize(&p.grid, codes, out.view);
        for (size_t i = 0; i < sizeof codes; i++)
            assert_true(out.view.data[i] ==
                        decode(spec.scale_type, &p.grid, i / 512, i % 512 / p.grid.group_size, codes[i]));
        problem_free(&p);
    }
}

static void what_sweeps_round_to_is_what_is_stored(void **state)
{
    (void)state;
    for (size_t k = 0; k < QD_LENGTH(kinds); k++) {
        qd_grid_spec spec = spec_of(&kinds[k], "mse");
        problem p = problem_make(&spec, 8, 256, 4000 + k);
        for (size_t i = 0; i < 8; i++)
            for (size_t g = 0; p.grid.offset.view.rows > 0 && g < p.grid.groups; g++) {
                double scale = (double)qd_matf_row(p.grid.scale.view, i)[g];
                double by_zero = scale * (double)qd_matf_row(p.grid.zero.view, i)[g];
                check_near(by_zero, (double)qd_matf_row(p.grid.offset.view, i)[g], 0x1p-23 * fabs(by_zero));
            }
        problem_free(&p);
    }
}

/* Refitted scales are stored ones; codes and scales together err less. */
static void refitting_keeps_to_what_is_stored(void **state)
{
    (void)state;
    for (size_t k = 0; k < QD_LENGTH(kinds); k++) {
        qd_error err = { 0 };
        qd_grid_spec spec = spec_of(&kinds[k], "mse");
        layer l = layer_make((layer_spec){ .rows = 20, .cols = 256, .seed = 5000 + k });
        qd_grid_fini(&l.grid);
        check_ok(qd_grid_build(&spec, qd_matf_const(l.w.view), NULL, NULL, &l.grid, &err));
        QD_AUTO(qd_grid_fini) qd_grid before = { 0 }, fitted = { 0 };
        check_ok(qd_grid_copy(&l.grid, &before, &err));
        qd_layer_input input = layer_input(&l);
        input.refine = (qd_refine){ .rounds = 3, .refit = true, .scale_type = spec.scale_type };
        input.fitted = &fitted;
        check_ok(qd_layer_round(qd_algorithm_find("optq"), &input, l.codes, &l.certificate, &err));
        check_ok(qd_container_check(spec.scale_type, &fitted, &err));
        assert_true(l.certificate.scales_fitted > 0 && l.certificate.energy_sq < l.certificate.swept_sq);
        const char *name;
        const qd_matf_buf *part;
        for (size_t i = 0; (part = qd_grid_part(&before, i, &name)) != NULL; i++) /* the sweep's grid is as it was */
            for (size_t row = 0; row < part->view.rows; row++)
                assert_memory_equal(qd_matf_row(part->view, row),
                                    qd_matf_row(qd_grid_part(&l.grid, i, &name)->view, row),
                                    part->view.cols * sizeof(float));
        layer_free(&l);
    }
}

static void a_guarantee_is_refused_by_name(void **state)
{
    (void)state;
    for (size_t k = 0; k < QD_LENGTH(kinds); k++) {
        qd_error err = { 0 };
        qd_grid_spec spec = spec_of(&kinds[k], "minmax");
        if (qd_scale_type_raises(spec.scale_type))
            continue;
        layer l = layer_make((layer_spec){ .rows = 3, .cols = 256, .seed = k });
        qd_grid_fini(&l.grid);
        check_ok(qd_grid_build(&spec, qd_matf_const(l.w.view), NULL, NULL, &l.grid, &err));
        qd_layer_input input = layer_input(&l);
        input.rounding = QD_ROUND_STOCHASTIC;
        qd_growth growth;
        check_fails(qd_layer_guarantee(qd_algorithm_find("rtn"), &input, spec.scale_type, &l.grid, &growth, &err),
                    QD_EINVAL);
        if (l.grid.levels.count == 0)
            check_contains(err.text, kinds[k].type);
        layer_free(&l);
    }
}

static void what_does_not_go_together_is_refused_by_field(void **state)
{
    (void)state;
    static const struct {
        const char *type, *alphabet;
        qd_zero_kind zero;
        double bits, shrink;
        size_t group_size;
        bool narrow;
        const char *wanted;
    } bad[] = {
        { "q4_k", "int-asymmetric", QD_ZERO_INTEGER, 4, 1, 32, false, "alphabet.zero: 'integer'" },
        { "q4_k", "int", QD_ZERO_NONE, 4, 1, 32, false, "alphabet.zero: 'none'" },
        { "q4_k", "int-asymmetric", QD_ZERO_FLOAT, 3, 1, 32, false,
          "bits: 3 does not go with scale.type 'q4_k', which has 4, 5" },
        { "q4_k", "int-asymmetric", QD_ZERO_FLOAT, 4, 1, 64, false, "group_size: 64" },
        { "q4_k", "int-asymmetric", QD_ZERO_FLOAT, 4, 0.9, 32, false, "scale.shrink: 0.9" },
        { "q4_k", "nf4", QD_ZERO_NONE, 4, 1, 32, false, "scale.type: 'q4_k' does not go with alphabet 'nf4'" },
        { "q6_k", "int-asymmetric", QD_ZERO_FLOAT, 6, 1, 16, false, "alphabet.zero: 'float'" },
        { "f16-signed", "int-asymmetric", QD_ZERO_INTEGER, 4, 1, 32, true, "alphabet.narrow" },
        { "f16-signed", "ternary", QD_ZERO_NONE, 1.58, 1, 32, false, "bits: 1.58" },
        { "e4m3", "int", QD_ZERO_NONE, 4, 1, 16, false, "scale.type: 'e4m3' does not go with alphabet 'int'" },
        { "f16", "nvfp4", QD_ZERO_NONE, 4, 1, 16, false, "scale.type: 'f16' does not go with alphabet 'nvfp4'" },
    };
    for (size_t i = 0; i < QD_LENGTH(bad); i++) {
        qd_error err = { 0 };
        kind r = { bad[i].type, bad[i].alphabet, bad[i].zero, bad[i].bits, bad[i].group_size };
        qd_grid_spec spec = spec_of(&r, "mse");
        spec.shrink = bad[i].shrink;
        spec.narrow = bad[i].narrow;
        check_fails(qd_grid_spec_check(&spec, &err), QD_EINVAL);
        check_contains(err.text, bad[i].wanted);
    }
}

static void a_layers_unit_brings_its_largest_scale_to_the_top(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 6; seed++) {
        qd_grid_spec spec = spec_of(&kinds[12], rules[seed % 3]);
        problem p = problem_make(&spec, 9, 320, seed);
        float unit = p.grid.unit.view.data[0], most = 0.0f;
        for (size_t i = 0; i < 9 * p.grid.groups; i++)
            most = fmaxf(most, p.grid.scale.view.data[i]);
        assert_true(most <= 448.0f * unit);
        if (strcmp(rules[seed % 3], "minmax") == 0)
            assert_true(most > 216.0f * unit);
        problem_free(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_grid_is_what_its_type_stores),
        cmocka_unit_test(a_value_that_is_not_stored_is_found),
        cmocka_unit_test(searching_errs_no_more_than_storing_what_the_rule_chose),
        cmocka_unit_test(a_scale_of_the_other_sign_is_the_grid_of_the_opposite_weights),
        cmocka_unit_test(values_are_what_the_container_decodes),
        cmocka_unit_test(what_sweeps_round_to_is_what_is_stored),
        cmocka_unit_test(refitting_keeps_to_what_is_stored),
        cmocka_unit_test(a_guarantee_is_refused_by_name),
        cmocka_unit_test(what_does_not_go_together_is_refused_by_field),
        cmocka_unit_test(a_layers_unit_brings_its_largest_scale_to_the_top),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
