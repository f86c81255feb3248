/* test_guarantee.c: steps with a guarantee (theory.md T10, §8.3, §10 14): they hold, none of them can be smaller, and nothing ever clips. */
#include "pair.h"

#include "quant/drift.h"
#include "quant/guarantee.h"

static qd_layer_input input_of(pair *p, uint64_t seed)
{
    qd_layer_input input = layer_input(&p->layer);
    input.mismatch = &p->mismatch;
    input.use = p->use;
    input.rounding = QD_ROUND_STOCHASTIC;
    input.seed = seed;
    return input;
}

static qd_code raise_steps(pair *p, const char *algorithm, const char *type, qd_growth *out, qd_error *err)
{
    qd_layer_input input = input_of(p, 0);
    return qd_layer_guarantee(qd_algorithm_find(algorithm), &input, qd_scale_type_find(type), &p->layer.grid, out, err);
}

static void draw(pair *p, const char *algorithm, uint64_t seed)
{
    qd_error err = { 0 };
    qd_layer_input input = input_of(p, seed);
    check_ok(qd_layer_round(qd_algorithm_find(algorithm), &input, p->layer.codes, &p->layer.certificate, &err));
}

static const struct {
    const char *name, *alphabet, *type;
    qd_zero_kind zero;
    size_t group_size;
} grids[] = {
    { "signed rows", "int", "f32", QD_ZERO_NONE, 0 },
    { "signed groups", "int", "bf16", QD_ZERO_NONE, 7 },
    { "integer zeros", "int-asymmetric", "f16", QD_ZERO_INTEGER, 0 },
    { "integer zeros, groups", "int-asymmetric", "bf16", QD_ZERO_INTEGER, 8 },
    { "float zeros", "int-asymmetric", "f32", QD_ZERO_FLOAT, 0 },
    { "float zeros, groups", "int-asymmetric", "f32", QD_ZERO_FLOAT, 5 },
};

static layer_spec spec_of(size_t k)
{
    return (layer_spec){ .rows = 6,
                         .cols = 24,
                         .bits = 5,
                         .damping = 0.3,
                         .order = "norm-descending",
                         .alphabet = grids[k].alphabet,
                         .scale_type = grids[k].type,
                         .zero = grids[k].zero,
                         .group_size = grids[k].group_size,
                         .seed = 560 + k };
}

static void no_certified_run_ever_clips(void **state)
{
    (void)state;
    for (size_t k = 0; k < QD_LENGTH(grids); k++)
        for (size_t a = 0; qd_algorithm_at(a) != NULL; a++) {
            const char *name = qd_algorithm_at(a)->name;
            pair p = pair_make(spec_of(k), strcmp(name, "optq") == 0 ? 0.0 : 0.1);
            qd_error err = { 0 };
            qd_growth growth = { 0 };
            uint64_t clips = 0;
            check_ok(raise_steps(&p, name, grids[k].type, &growth, &err));
            assert_true(growth.mean >= 1.0 && growth.largest >= growth.mean * (1.0 - 1e-12));
            for (uint64_t seed = 0; seed < 200; seed++) {
                draw(&p, name, seed);
                const qd_certificate *c = &p.layer.certificate;
                clips += c->clip_count;
                assert_int_equal(c->chance.guarantee, QD_GUARANTEED);
                assert_true(c->chance.step_ratio <= 1.0);
                assert_int_equal(c->status, QD_CERTIFIED);
            }
            assert_int_equal(clips, 0);
            pair_free(&p);
        }
}

/* A step that was raised and is made smaller by a little more than its storage and the stride explain no longer holds. */
static void raised_steps_are_the_smallest(void **state)
{
    (void)state;
    for (size_t k = 0; k < QD_LENGTH(grids); k++) {
        pair p = pair_make(spec_of(k), 0.0);
        qd_error err = { 0 };
        qd_growth growth = { 0 };
        QD_AUTO(qd_matf_buf_fini) qd_matf_buf rule = { 0 };
        const qd_matf scale = p.layer.grid.scale.view;
        check_ok(qd_matf_buf_init(&rule, scale.rows, scale.cols, &err));
        memcpy(rule.view.data, scale.data, scale.rows * scale.cols * sizeof(float));
        check_ok(raise_steps(&p, "optq", grids[k].type, &growth, &err));
        double storage = strcmp(grids[k].type, "bf16") == 0 ? 0x1p-7 : strcmp(grids[k].type, "f16") == 0 ? 0x1p-10 : 0;
        size_t raised = 0;
        for (size_t i = 0; i < scale.rows; i++)
            for (size_t g = 0; g < scale.cols; g++) {
                float *at = qd_matf_row(scale, i) + g, kept = *at;
                if (kept <= qd_matf_row(rule.view, i)[g])
                    continue;
                raised++;
                *at = (float)((double)kept * (1.0 - storage - (scale.cols > 1 ? 2e-3 : 1e-6)));
                draw(&p, "optq", 1);
                assert_true(p.layer.certificate.chance.guarantee != QD_GUARANTEED);
                *at = kept;
            }
        draw(&p, "optq", 1);
        assert_int_equal(p.layer.certificate.chance.guarantee, QD_GUARANTEED);
        print_message("%s: %zu of %zu steps raised, mean factor %.3f\n", grids[k].name, raised, scale.rows * scale.cols,
                      growth.mean);
        assert_true(raised > 0);
        pair_free(&p);
    }
}

/* theory.md §6: delta_cert = max |w_t| / (K - kappa_t) for rows of one step; rounded up to its type. */
static void the_step_of_a_row_is_the_formulas(void **state)
{
    (void)state;
    static const char *const types[] = { "f32", "bf16", "f16" };
    for (size_t k = 0; k < 3; k++) {
        layer_spec spec = { .rows = 5, .cols = 30, .bits = 6, .damping = 0.1, .scale_type = types[k], .seed = 600 };
        pair p = pair_make(spec, 0.0);
        layer_factor(&p.layer, &spec); /* of the same H as the oracle's, to the last bit */
        oracle o = oracle_of(&p.layer);
        qd_error err = { 0 };
        qd_growth growth = { 0 };
        check_ok(raise_steps(&p, "optq", types[k], &growth, &err));
        for (size_t i = 0; i < 5; i++) {
            double want = 0.0, got = (double)qd_matf_row(p.layer.grid.scale.view, i)[0];
            for (size_t t = 0; t < o.n; t++) {
                double sum = 0.0, w = oracle_weight(&p.layer, i, t);
                for (size_t j = 0; j < t; j++)
                    sum += o.r[j * o.n + t] * o.r[j * o.n + t] / (o.r[j * o.n + j] * o.r[j * o.n + j]);
                double kappa = sqrt(0.5 * log(2.0 * 30.0 * 5.0 / 0.05) * sum);
                want = fmax(want, w >= 0 ? w / (31.0 - kappa) : -w / (32.0 - kappa));
            }
            if (!(got >= want))
                fail_msg("row %zu: %.9g, %.9g is wanted", i, got, want);
            const qd_scale_type *type = qd_scale_type_find(types[k]);
            assert_true(type->round((float)got) == (float)got);
            float below = nextafterf((float)got, 0.0f); /* the next one down of the type is too small */
            while (type->round(below) != below)
                below = nextafterf(below, 0.0f);
            assert_true((double)below < want * (1.0 + 1e-8));
        }
        oracle_free(&o);
        pair_free(&p);
    }
}

static void steps_that_hold_are_kept(void **state)
{
    (void)state;
    layer_spec spec = { .rows = 4, .cols = 16, .bits = 6, .shrink = 4, .damping = 0.1, .seed = 610 };
    pair p = pair_make(spec, 0.0);
    qd_error err = { 0 };
    qd_growth growth = { 0 };
    float before[4];
    memcpy(before, p.layer.grid.scale.view.data, sizeof before);
    check_ok(raise_steps(&p, "optq", "f32", &growth, &err));
    assert_memory_equal(before, p.layer.grid.scale.view.data, sizeof before);
    check_close(growth.mean, 1.0, 0);
    check_close(growth.largest, 1.0, 0);
    pair_free(&p);
}

/* bits_required is the least: one bit fewer is refused, that many are not. The lambda that is named does too. */
static void too_small_an_alphabet_is_refused_with_what_would_do(void **state)
{
    (void)state;
    layer_spec spec = { .rows = 6, .cols = 24, .bits = 2, .damping = 1e-4, .order = "norm-descending", .seed = 620 };
    qd_error err = { 0 };
    qd_growth growth = { 0 };
    unsigned bits = 0;
    double damping = 0.0;
    pair p = pair_make(spec, 0.0);
    check_fails(raise_steps(&p, "optq", "f32", &growth, &err), QD_EINVAL);
    check_contains(err.text, "GUARANTEE_INFEASIBLE: alphabet too small for the guarantee");
    assert_int_equal(
        sscanf(strstr(err.text, "; ") + 2, "%u bits would do, or a regularization of %lf", &bits, &damping), 2);
    pair_free(&p);
    assert_true(bits > 2 && bits <= 8 && damping > 1e-4);
    for (unsigned b = bits - 1; b <= bits; b++) {
        spec.bits = b;
        p = pair_make(spec, 0.0);
        qd_code code = raise_steps(&p, "optq", "f32", &growth, &err);
        assert_int_equal(code, b < bits ? QD_EINVAL : QD_OK);
        draw(&p, "optq", 3);
        assert_int_equal(p.layer.certificate.chance.bits_required, bits);
        pair_free(&p);
    }
    spec.bits = 2;
    static const double times[] = { 1.02, 0.6 };
    for (size_t k = 0; k < 2; k++) {
        spec.damping = times[k] * damping;
        p = pair_make(spec, 0.0);
        assert_int_equal(raise_steps(&p, "optq", "f32", &growth, &err), k == 0 ? QD_OK : QD_EINVAL);
        pair_free(&p);
    }
}

static void what_has_no_guarantee_is_refused_by_name(void **state)
{
    (void)state;
    pair p = pair_make(spec_of(0), 0.1);
    qd_error err = { 0 };
    qd_growth growth = { 0 };
    qd_layer_input input = input_of(&p, 0);
    input.rounding = QD_ROUND_NEAREST;
    check_fails(
        qd_layer_guarantee(qd_algorithm_find("optq"), &input, qd_scale_type_find("f32"), &p.layer.grid, &growth, &err),
        QD_EINVAL);
    check_contains(err.text, "nearest");
    p.use.start = QD_START_ORIGINAL;
    check_fails(raise_steps(&p, "qronos", "f32", &growth, &err), QD_EINVAL);
    check_contains(err.text, "original");
    qd_matf_row(p.layer.w.view, 1)[2] = NAN;
    check_fails(raise_steps(&p, "optq", "f32", &growth, &err), QD_ENUMERIC);
    pair_free(&p);
    p = pair_make(spec_of(0), 0.1);
    for (size_t j = 0; j < 24; j++) /* steps of 10^5 do not fit f16 */
        qd_matf_row(p.layer.w.view, 1)[j] = 4e6f;
    check_fails(raise_steps(&p, "rtn", "f16", &growth, &err), QD_ENUMERIC);
    check_contains(err.text, "f16");
    pair_free(&p);
}

/* ---- order and damping ---- */

static qd_guard guard_of(const layer *l, double room, double *reach)
{
    for (size_t j = 0; j < l->cols; j++) {
        reach[j] = 0.0;
        for (size_t i = 0; i < l->rows; i++)
            reach[j] = fmax(reach[j], fabs((double)qd_matf_row(l->w.view, i)[j]));
    }
    return (qd_guard){ QD_DRIFT_FACTOR, room, qd_drift_deviation(l->cols, l->rows), reach };
}

/* step^2 S, and kappa, of one order by its factor. */
static double cost_of(const layer *l, const qd_guard *guard, const char *order, double damping, double *out_kappa)
{
    qd_error err = { 0 };
    qd_factor *f = NULL;
    double sums[64], kappa, step = 0.0, s = 0.0;
    check_ok(qd_factor_create(qd_matd_const(l->gram.sum.view), qd_order_find(order),
                              qd_regularizer_find("mean_diagonal"), damping, NULL, &f, &err));
    check_ok(qd_guard_measure(guard, qd_matd_const(f->hessian.view), qd_matd_const(f->c.view), sums, &kappa, &err));
    for (size_t t = 0; t < l->cols; t++) {
        s += qd_matd_row(f->c.view, t)[t] * qd_matd_row(f->c.view, t)[t];
        step = fmax(step, guard->reach[f->permutation[t]] / (guard->room - sqrt(guard->deviation * sums[t])));
    }
    qd_factor_destroy(f);
    *out_kappa = kappa;
    return step * step * s;
}

static void auto_order_leaves_room_first_and_then_has_the_least_bound(void **state)
{
    (void)state;
    static const char *const orders[] = { "natural", "norm-descending", "min-pivot" };
    size_t other = 0, rescued = 0;
    for (uint64_t seed = 700; seed < 740; seed++) {
        double reach[64], damping = seed % 2 == 0 ? 0.01 : 0.1;
        layer l = layer_make((layer_spec){ .rows = 3, .cols = 40, .tokens = 60, .damping = damping, .seed = seed });
        qd_guard guard = guard_of(&l, seed % 3 == 0 ? 3.0 : 7.0, reach);
        qd_factor *f = NULL, *plain = NULL;
        qd_error err = { 0 };
        double kappa, best = INFINITY;
        const char *want = NULL;
        for (size_t k = 0; k < 3; k++) {
            double cost = cost_of(&l, &guard, orders[k], damping, &kappa);
            if (kappa < guard.room && cost < best * (1.0 - (strcmp(orders[k], "min-pivot") == 0 ? 0.01 : 1e-12))) {
                best = cost;
                want = orders[k];
            }
        }
        check_ok(qd_factor_create_guarded(qd_matd_const(l.gram.sum.view), qd_order_find("auto"),
                                          qd_regularizer_find("mean_diagonal"), damping, &guard, NULL, &f, &err));
        check_ok(qd_factor_create(qd_matd_const(l.gram.sum.view), qd_order_find("auto"),
                                  qd_regularizer_find("mean_diagonal"), damping, NULL, &plain, &err));
        if (want != NULL)
            assert_string_equal(f->order->name, want);
        other += strcmp(f->order->name, plain->order->name) != 0;
        cost_of(&l, &guard, plain->order->name, damping, &kappa);
        rescued += want != NULL && !(kappa < guard.room);
        qd_factor_destroy(f);
        qd_factor_destroy(plain);
        layer_free(&l);
    }
    print_message("another order than without a guard: %zu of 40; room only so: %zu\n", other, rescued);
    assert_true(other > 0);
}

static void auto_damping_drops_what_leaves_no_room(void **state)
{
    (void)state;
    double reach[64], kappa;
    layer l = layer_make((layer_spec){ .rows = 3, .cols = 40, .tokens = 4000, .seed = 750 });
    layer same = layer_make((layer_spec){ .rows = 3, .cols = 40, .tokens = 4000, .seed = 750 });
    qd_error err = { 0 };
    qd_holdout free_choice = { 0 }, guarded = { 0 }, none = { 0 };
    qd_guard guard = guard_of(&l, 0.0, reach);
    const qd_order *order = qd_order_find("natural");
    qd_cmatd fit = qd_matd_const(l.gram.sum.view);
    check_ok(qd_holdout_search(fit, &same.gram, order, NULL, NULL, &free_choice, &err));
    cost_of(&l, &guard, "natural", free_choice.value, &kappa);
    guard.room = 0.999 * kappa; /* the free choice leaves none */
    qd_gram held = { .sum = free_choice.hessian, .tokens = free_choice.tokens };
    free_choice.hessian = (qd_matd_buf){ 0 };
    check_ok(qd_holdout_search(fit, &held, order, &guard, NULL, &guarded, &err));
    assert_true(guarded.value > free_choice.value);
    cost_of(&l, &guard, "natural", guarded.value, &kappa);
    assert_true(kappa < guard.room);
    guard.room = 1e-3; /* nothing leaves any */
    held = (qd_gram){ .sum = guarded.hessian, .tokens = guarded.tokens };
    guarded.hessian = (qd_matd_buf){ 0 };
    check_ok(qd_holdout_search(fit, &held, order, &guard, NULL, &none, &err));
    assert_true(isnan(none.t) && none.value == QD_DAMPING_FALLBACK);
    qd_holdout_fini(&free_choice);
    qd_holdout_fini(&guarded);
    qd_holdout_fini(&none);
    layer_free(&l);
    layer_free(&same);
}

static void threads_do_not_change_a_step(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_pool *pool = NULL;
    check_ok(qd_pool_create(3, &pool, &err));
    layer_spec spec = { .rows = 70, .cols = 130, .bits = 8, .group_size = 32, .scale_type = "bf16", .seed = 760 };
    pair alone = pair_make(spec, 0.1), together = pair_make(spec, 0.1);
    qd_growth a, b;
    check_ok(raise_steps(&alone, "qronos", "bf16", &a, &err));
    qd_layer_input input = input_of(&together, 0);
    input.pool = pool;
    check_ok(qd_layer_guarantee(qd_algorithm_find("qronos"), &input, qd_scale_type_find("bf16"), &together.layer.grid,
                                &b, &err));
    assert_memory_equal(alone.layer.grid.scale.view.data, together.layer.grid.scale.view.data, 70 * 5 * sizeof(float));
    assert_true(a.mean == b.mean && a.largest == b.largest);
    qd_pool_destroy(pool);
    pair_free(&alone);
    pair_free(&together);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_certified_run_ever_clips),
        cmocka_unit_test(raised_steps_are_the_smallest),
        cmocka_unit_test(the_step_of_a_row_is_the_formulas),
        cmocka_unit_test(steps_that_hold_are_kept),
        cmocka_unit_test(too_small_an_alphabet_is_refused_with_what_would_do),
        cmocka_unit_test(what_has_no_guarantee_is_refused_by_name),
        cmocka_unit_test(auto_order_leaves_room_first_and_then_has_the_least_bound),
        cmocka_unit_test(auto_damping_drops_what_leaves_no_room),
        cmocka_unit_test(threads_do_not_change_a_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
