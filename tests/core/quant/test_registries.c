/* test_registries.c: every row of every registry of quant keeps the contract that parsers, /catalog and --help read. */
#include "layer.h"
#include "quant/container.h"
#include "quant/transform.h"

static void check_text(const char *text, size_t most)
{
    assert_non_null(text);
    assert_true(strlen(text) > 0 && strlen(text) <= most);
    assert_null(strchr(text, '\n'));
}

static void check_name(const char *name)
{
    check_text(name, 40);
    for (const char *c = name; *c != '\0'; c++)
        assert_true((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '-' || *c == '_');
}

static void check_params(const qd_param *params)
{
    assert_non_null(params);
    for (const qd_param *p = params; p->name != NULL; p++) {
        check_name(p->name);
        check_text(p->help, 160);
        for (const qd_param *other = params; other != p; other++)
            assert_string_not_equal(p->name, other->name);
        if (p->type == QD_PARAM_CHOICE) {
            size_t count = 0;
            while (p->choices[count] != NULL)
                check_name(p->choices[count++]);
            assert_true(p->def >= 0 && p->def < (double)count && p->def == floor(p->def));
            continue;
        }
        assert_true(isfinite(p->min) && isfinite(p->max) && p->min < p->max);
        assert_true(p->def >= p->min && p->def <= p->max);
        if (p->type == QD_PARAM_BOOLEAN)
            assert_true(p->min == 0 && p->max == 1 && (p->def == 0 || p->def == 1));
    }
}

static void transforms_turn_or_shape_and_have_sound_defaults(void **state)
{
    (void)state;
    size_t count = 0;
    for (const qd_transform *t; (t = qd_transform_at(count)) != NULL; count++) {
        size_t params = 0;
        check_name(t->name);
        check_text(t->summary, 160);
        check_params(t->params);
        while (t->params[params].name != NULL)
            params++;
        assert_true(params <= QD_TRANSFORM_PARAMS);
        assert_true((t->turn == NULL) != (t->shape == NULL));
        assert_true((t->keeps_target == NULL) == (t->shape == NULL));
        assert_ptr_equal(qd_transform_find(t->name), t);
        qd_transforms list = { .items = { qd_transform_default(t) }, .count = 1 };
        assert_ptr_equal(qd_transforms_turning(&list), t->turn == NULL ? NULL : &list.items[0]);
        assert_ptr_equal(qd_transforms_shaping(&list), t->shape == NULL ? NULL : &list.items[0]);
        for (size_t i = 0; i < params; i++)
            assert_true(list.items[0].values[i] == t->params[i].def);
    }
    assert_true(count >= 2);
    assert_null(qd_transform_find("fourier"));
}

static void algorithms_are_found_by_their_unique_names(void **state)
{
    (void)state;
    size_t count = 0;
    for (const qd_algorithm *a; (a = qd_algorithm_at(count)) != NULL; count++) {
        check_name(a->name);
        check_text(a->summary, 160);
        check_params(a->params);
        assert_non_null(a->round);
        assert_ptr_equal(qd_algorithm_find(a->name), a);
        if (a->alias != NULL)
            assert_ptr_equal(qd_algorithm_find(a->alias), a);
        for (size_t i = 0; i < count; i++)
            assert_string_not_equal(qd_algorithm_at(i)->name, a->name);
    }
    assert_true(count >= 2);
    assert_null(qd_algorithm_at(count + 1));
    assert_null(qd_algorithm_find("magic"));
    assert_null(qd_algorithm_find(""));
    assert_string_equal(qd_algorithm_find("gptq")->name, "optq");
}

/* A table's levels fill its width, and what is written beside them is what they give. */
static void check_levels(const qd_alphabet *a)
{
    qd_error err = { 0 };
    qd_levels made;
    check_ok(qd_levels_init(a->levels->value, a->levels->count, &made, &err));
    assert_int_equal(made.anchor, a->levels->anchor);
    check_close(made.widest, a->levels->widest, 0.0);
    check_close(made.narrowest, a->levels->narrowest, 0.0);
    check_close(made.top, a->levels->top, 0.0);
    for (size_t k = 0; k < made.count; k++)
        assert_true(made.value[k] == a->levels->value[k]); /* float32 */
    assert_true(a->bits[1] == 0 && a->bits[0] == qd_levels_bits(made.count));
}

static void alphabets_have_ascending_widths_that_fit_a_byte(void **state)
{
    (void)state;
    size_t count = 0;
    for (const qd_alphabet *a; (a = qd_alphabet_at(count)) != NULL; count++) {
        check_name(a->name);
        check_text(a->summary, 160);
        check_params(a->params);
        assert_ptr_equal(qd_alphabet_find(a->name), a);
        assert_true(a->bits[0] > 0);
        for (const double *b = a->bits; *b > 0; b++) {
            assert_true(b == a->bits || b[-1] < *b);
            for (int zero = QD_ZERO_NONE; zero <= QD_ZERO_FLOAT; zero++)
                for (int narrow = 0; narrow < 2; narrow++) {
                    int32_t low, high;
                    qd_grid_spec spec = {
                        .alphabet = a, .zero = (qd_zero_kind)zero, .narrow = narrow == 1, .bits = *b
                    };
                    int32_t levels = *b == QD_BITS_THREE_LEVELS ? 3 : (1 << (int)*b) - narrow;
                    if (a->codes != QD_CODES_INTEGER)
                        continue;
                    qd_grid_range(&spec, &low, &high);
                    assert_true(high - low == levels - 1 && high - low <= 255);
                    assert_true(high - low < 1 << qd_grid_code_bits(&spec));
                }
        }
        assert_true((a->codes == QD_CODES_LEVELS) == (a->levels != NULL));
        assert_true(a->scale_type == NULL || qd_scale_type_find(a->scale_type) != NULL);
        if (a->levels != NULL)
            check_levels(a);
    }
    assert_int_equal(count, 10);
    assert_null(qd_alphabet_find("real"));
    for (int zero = QD_ZERO_NONE; zero <= QD_ZERO_FLOAT; zero++)
        assert_int_equal(qd_zero_kind_find(qd_zero_kind_name((qd_zero_kind)zero)), zero);
    assert_int_equal(qd_zero_kind_find("complex"), -1);
}

/* Rounding is idempotent, monotone and near, where the type has its full precision. */
static void check_rounding(const qd_scale_type *t)
{
    bool powers = strcmp(t->name, "e8m0") == 0, three_bits = strcmp(t->name, "e4m3") == 0;
    double near = powers ? 1.0 / 3.0 : three_bits ? 0x1p-4 : 0x1p-8, low = three_bits ? 0.1 : exp(-8.0);
    double high = three_bits ? 440.0 : exp(10.0);
    for (uint64_t i = 0; i < 1000; i++) {
        float a = (float)(low * exp(log(high / low) * qd_rng_uniform(1, i))), b = a * 1.01f;
        assert_true(t->round(t->round(a)) == t->round(a) && t->round(a) <= t->round(b));
        check_close((double)t->round(a), (double)a, near);
        float fitted = t->fit((double)a, 6.0);
        assert_true(t->round(fitted) == fitted);
        check_close((double)fitted, (double)a / 6.0, powers ? 0.5 : near);
    }
}

/* What a container adds goes together, and there are grids that have it. */
static void check_container(const qd_scale_type *t)
{
    assert_true(!t->mirrored || !t->offset);
    assert_true((t->per_block > 0) == (t->scale_high > 0) && (t->offset_high > 0) == (t->per_block > 0 && t->offset));
    assert_true(t->scale_high <= 127 && t->offset_high <= 63 && t->per_block <= QD_CONTAINER_BLOCK);
    assert_true(t->per_block == 0 || t->per_block * t->group_size == 256);
    const double *bits = t->bits;
    for (const double *b = bits; b != NULL && *b > 0; b++)
        assert_true(*b <= 8 && (b == bits || b[-1] < *b));
    size_t fit = 0;
    for (size_t i = 0; qd_alphabet_at(i) != NULL; i++)
        for (int zero = QD_ZERO_NONE; zero <= QD_ZERO_FLOAT; zero++)
            for (const double *b = qd_alphabet_at(i)->bits; *b > 0; b++) {
                qd_grid_spec spec = { .alphabet = qd_alphabet_at(i),
                                      .zero = (qd_zero_kind)zero,
                                      .bits = *b,
                                      .group_size = t->group_size == 0 ? 32 : t->group_size,
                                      .rule = qd_scale_rule_at(0),
                                      .shrink = 1.0,
                                      .scale_type = t };
                fit += qd_grid_spec_check(&spec, NULL) == QD_OK;
            }
    assert_true(fit > 0);
}

static void scale_rules_and_types_are_found_and_do_what_they_say(void **state)
{
    (void)state;
    size_t count = 0;
    for (const qd_scale_rule *r; (r = qd_scale_rule_at(count)) != NULL; count++) {
        check_name(r->name);
        check_text(r->summary, 160);
        check_params(r->params);
        assert_non_null(r->choose);
        assert_ptr_equal(qd_scale_rule_find(r->name), r);
    }
    assert_int_equal(count, 3);
    assert_null(qd_scale_rule_find("max"));
    count = 0;
    for (const qd_scale_type *t; (t = qd_scale_type_at(count)) != NULL; count++) {
        check_name(t->name);
        check_text(t->summary, 160);
        check_text(t->dtype, 8);
        assert_ptr_equal(qd_scale_type_find(t->name), t);
        assert_true(t->smallest > 0.0f && t->round(t->smallest) == t->smallest);
        check_rounding(t);
        check_container(t);
    }
    assert_int_equal(count, 12);
    assert_null(qd_scale_type_find("f64"));
}

static void orders_give_permutations(void **state)
{
    (void)state;
    qd_error err = { 0 };
    layer l = layer_make((layer_spec){ .rows = 1, .cols = 41, .dead = 3, .duplicate = 8, .seed = 111 });
    size_t count = 0;
    for (const qd_order *o; (o = qd_order_at(count)) != NULL; count++) {
        check_name(o->name);
        check_text(o->summary, 160);
        check_params(o->params);
        assert_ptr_equal(qd_order_find(o->name), o);
        uint32_t permutation[41];
        int seen[41] = { 0 };
        const qd_order *chosen = NULL;
        check_ok(o->permute(qd_matd_const(l.gram.sum.view), 0.01, permutation, &chosen, &err));
        assert_non_null(chosen);
        for (size_t t = 0; t < 41; t++) {
            assert_true(permutation[t] < 41 && !seen[permutation[t]]);
            seen[permutation[t]] = 1;
        }
    }
    assert_int_equal(count, 4);
    assert_null(qd_order_find("random"));
    layer_free(&l);
}

static void regularizers_scale_with_the_hessian_and_check_their_range(void **state)
{
    (void)state;
    qd_error err = { 0 };
    size_t count = 0;
    const double h[4] = { 2, 1, 1, 6 }, larger[4] = { 20, 10, 10, 60 };
    for (const qd_regularizer *r; (r = qd_regularizer_at(count)) != NULL; count++) {
        double lambda, ten;
        check_name(r->name);
        check_text(r->summary, 160);
        check_params(r->params);
        assert_ptr_equal(qd_regularizer_find(r->name), r);
        assert_true((r->params->name == NULL) == (r->value == QD_VALUE_HELD_OUT));
        const qd_param *range = r->value == QD_VALUE_GIVEN ? r->params : qd_regularizer_find("mean_diagonal")->params;
        check_ok(r->lambda((qd_cmatd){ 2, 2, 2, h }, range->def, &lambda, &err));
        check_ok(r->lambda((qd_cmatd){ 2, 2, 2, larger }, range->def, &ten, &err));
        assert_true(lambda >= 0.0);
        check_close(ten, strcmp(r->name, "absolute") == 0 ? lambda : 10.0 * lambda, 1e-14);
        check_fails(r->lambda((qd_cmatd){ 2, 2, 2, h }, range->min - 1.0, &lambda, &err), QD_EINVAL);
        check_fails(r->lambda((qd_cmatd){ 2, 2, 2, h }, 2.0 * range->max + 1.0, &lambda, &err), QD_EINVAL);
        check_contains(err.text, range->name);
    }
    assert_int_equal(count, 4);
    assert_null(qd_regularizer_find("none"));
}

static void roundings_are_found(void **state)
{
    (void)state;
    assert_int_equal(qd_rounding_find("nearest"), QD_ROUND_NEAREST);
    assert_int_equal(qd_rounding_find("up"), -1);
    for (size_t i = 0; qd_rounding_name(i) != NULL; i++)
        assert_int_equal(qd_rounding_find(qd_rounding_name(i)), i);
}

static void sweep_kernels_end_with_one_that_runs_anywhere(void **state)
{
    (void)state;
    size_t count = 0;
    for (const qd_sweep_kernel *k; (k = qd_sweep_kernel_at(count)) != NULL; count++) {
        check_name(k->name);
        assert_true(k->supported != NULL && k->sweep_f32 != NULL && k->sweep_f64 != NULL);
        for (size_t i = 0; i < count; i++)
            assert_string_not_equal(qd_sweep_kernel_at(i)->name, k->name);
    }
    assert_true(count >= 1 && qd_sweep_kernel_at(count - 1)->supported());
}

/* Whatever a later row does: the contract of qd_layer_round. */
static void check_algorithm(layer *l, const qd_algorithm *a)
{
    memset(l->codes, 0xFF, l->rows * l->cols);
    layer_round(l, a->name);
    for (size_t i = 0; i < l->rows * l->cols; i++)
        assert_true(l->codes[i] <= l->grid.high - l->grid.low);
    assert_true(l->certificate.identity_residual < 1e-9);
    assert_true(l->certificate.energy_sq <= l->certificate.overload_bound_sq * (1 + 1e-9));
    assert_true(l->certificate.relative_error > 0.0 && l->certificate.relative_error < 1.0);
    assert_string_equal(l->certificate.method, a->name);
}

static void every_algorithm_rounds_a_layer_to_every_alphabet_and_certifies_it(void **state)
{
    (void)state;
    static const double own[] = { -3, -0.5, 0.25, 2 };
    for (size_t i = 0; qd_alphabet_at(i) != NULL; i++) {
        layer_spec spec = { .rows = 10,
                            .cols = 40,
                            .alphabet = qd_alphabet_at(i)->name,
                            .order = "norm-descending",
                            .rule = "mse",
                            .seed = 112 };
        spec.levels = own;
        spec.level_count = QD_LENGTH(own);
        layer l = layer_make(spec);
        layer_streams(&l);
        for (size_t a = 0; qd_algorithm_at(a) != NULL; a++)
            check_algorithm(&l, qd_algorithm_at(a));
        layer_free(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(algorithms_are_found_by_their_unique_names),
        cmocka_unit_test(transforms_turn_or_shape_and_have_sound_defaults),
        cmocka_unit_test(alphabets_have_ascending_widths_that_fit_a_byte),
        cmocka_unit_test(scale_rules_and_types_are_found_and_do_what_they_say),
        cmocka_unit_test(orders_give_permutations),
        cmocka_unit_test(regularizers_scale_with_the_hessian_and_check_their_range),
        cmocka_unit_test(roundings_are_found),
        cmocka_unit_test(sweep_kernels_end_with_one_that_runs_anywhere),
        cmocka_unit_test(every_algorithm_rounds_a_layer_to_every_alphabet_and_certifies_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
