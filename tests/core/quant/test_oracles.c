/* test_oracles.c: oracles of theory.md §10 and algorithms.md §12 that no other test holds; ORACLES.md lists them all. */
#include "pair.h"

/* S, S' = ||diag(r) C^-1||_F^2, and lambda at one damping. */
typedef struct trade {
    double s, slope, lambda;
} trade;

static trade trade_at(layer *l, layer_spec spec, double damping)
{
    trade out = { 0 };
    spec.damping = damping;
    layer_factor(l, &spec);
    oracle o = oracle_of(l);
    for (size_t i = 0; i < o.n; i++) {
        double r2 = o.c[i * o.n + i] * o.c[i * o.n + i];
        out.s += r2;
        for (size_t j = i; j < o.n; j++)
            out.slope += r2 * o.r[i * o.n + j] * o.r[i * o.n + j];
    }
    out.lambda = l->factor->lambda;
    oracle_free(&o);
    return out;
}

/* theory.md T7: fit error A = S - lambda S' grows with lambda, weight error B = S' falls; S' is the derivative of S. */
static void more_damping_trades_fit_for_smaller_weight_errors(void **state)
{
    (void)state;
    static const size_t ranks[] = { 0, 12 };
    for (size_t k = 0; k < 2; k++) {
        layer_spec spec = { .rows = 1, .cols = 40, .rank = ranks[k], .order = "norm-descending", .seed = 800 + k };
        layer l = layer_make(spec);
        trade last = { 0 };
        for (int step = 0; step <= 20; step++) {
            double damping = pow(10.0, -4.0 + 0.25 * step);
            trade at = trade_at(&l, spec, damping);
            trade less = trade_at(&l, spec, damping * (1.0 - 1e-4)), more = trade_at(&l, spec, damping * (1.0 + 1e-4));
            check_close(at.slope, (more.s - less.s) / (more.lambda - less.lambda), 1e-5);
            if (step > 0) {
                assert_true(at.s > last.s && at.slope <= last.slope);
                assert_true(at.s - at.lambda * at.slope >= (last.s - last.lambda * last.slope) * (1.0 - 1e-12));
            }
            last = at;
        }
        layer_free(&l);
    }
}

/* theory.md T8: where H may be wrong by eta in norm, the worst error A + eta B is least at lambda = eta. */
static void the_robust_lambda_is_the_uncertainty_itself(void **state)
{
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        layer_spec spec = { .rows = 1, .cols = 30, .seed = 810 + k };
        layer l = layer_make(spec);
        double eta = trade_at(&l, spec, pow(10.0, -1.0 - (double)k)).lambda, best = INFINITY, at_best = 0.0;
        for (int step = -40; step <= 40; step++) {
            trade at = trade_at(&l, spec, pow(10.0, -1.0 - (double)k + 0.05 * step));
            double worst = at.s - at.lambda * at.slope + eta * at.slope;
            if (worst < best) {
                best = worst;
                at_best = at.lambda;
            }
        }
        check_close(at_best, eta, 1e-9);
        layer_free(&l);
    }
}

/* theory.md C1c: N (m - (N-1)/2) for m >= N, m (m+1)/2 below, of standard normal inputs; here over m, because H is a mean. */
static void sum_of_pivots_of_normal_inputs_is_known(void **state)
{
    (void)state;
    static const size_t tokens[] = { 20, 40, 160 };
    enum { N = 40, DRAWS = 60 };
    for (size_t k = 0; k < 3; k++) {
        double mean = 0.0, m = (double)tokens[k];
        double want = tokens[k] >= N ? N * (m - (N - 1) / 2.0) : m * (m + 1.0) / 2.0;
        layer_spec spec = { .rows = 1, .cols = N, .tokens = tokens[k], .damping = 1e-9, .seed = 820 };
        layer l = layer_make(spec);
        for (uint64_t draw = 0; draw < DRAWS; draw++) {
            qd_error err = { 0 };
            for (size_t i = 0; i < l.tokens * l.cols; i++)
                l.x.view.data[i] = (float)normal(900 + draw, i);
            qd_gram_fini(&l.gram);
            check_ok(qd_gram_init(&l.gram, N, &err));
            check_ok(qd_gram_add(&l.gram, qd_matf_const(l.x.view), NULL, &err));
            check_ok(qd_gram_finish(&l.gram, &err));
            layer_factor(&l, &spec);
            for (size_t t = 0; t < N; t++)
                mean += qd_matd_row(l.factor->c.view, t)[t] * qd_matd_row(l.factor->c.view, t)[t] * m / DRAWS;
        }
        check_close(mean, want, 0.05);
        layer_free(&l);
    }
}

static void draw(pair *p, const char *algorithm)
{
    qd_error err = { 0 };
    qd_layer_input input = layer_input(&p->layer);
    input.mismatch = &p->mismatch;
    input.use = p->use;
    input.rounding = QD_ROUND_STOCHASTIC;
    check_ok(qd_layer_round(qd_algorithm_find(algorithm), &input, p->layer.codes, &p->layer.certificate, &err));
}

static void diagonalize(pair *p, const char *order)
{
    qd_error err = { 0 };
    size_t n = p->layer.cols;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            if (i != j)
                qd_matd_row(p->mismatch.hessian.view, i)[j] = 0.0;
    qd_factor_destroy(p->layer.factor);
    check_ok(qd_factor_create(qd_matd_const(p->mismatch.hessian.view), qd_order_find(order),
                              qd_regularizer_find("mean_diagonal"), 0.01, NULL, &p->layer.factor, &err));
}

/* theory.md §10 5, algorithms.md N2: nothing is fed anywhere. */
static void diagonal_hessian_makes_every_algorithm_rtn_without_drift(void **state)
{
    (void)state;
    for (size_t o = 0; qd_order_at(o) != NULL; o++) {
        pair p = pair_make((layer_spec){ .rows = 9, .cols = 40, .bits = 3, .group_size = 16, .seed = 830 }, 0.0);
        uint8_t want[9 * 40];
        diagonalize(&p, qd_order_at(o)->name);
        pair_round(&p, "rtn");
        memcpy(want, p.layer.codes, sizeof want);
        for (size_t a = 0; qd_algorithm_at(a) != NULL; a++) {
            pair_round(&p, qd_algorithm_at(a)->name);
            assert_memory_equal(p.layer.codes, want, sizeof want);
            check_close(p.layer.certificate.trace_ratio, 1.0, 1e-12);
            draw(&p, qd_algorithm_at(a)->name);
            check_close(p.layer.certificate.chance.kappa_max, 0.0, 0);
        }
        pair_free(&p);
    }
    layer one = layer_make((layer_spec){ .rows = 3, .cols = 1, .seed = 831 });
    layer_round(&one, "optq");
    check_close(one.certificate.s, one.gram.sum.view.data[0] + one.factor->lambda, 1e-14);
    layer_free(&one);
}

/* theory.md §10 7: H and lambda times c, or weights and steps times a: the drift in steps stays. */
static void drift_in_steps_does_not_depend_on_units(void **state)
{
    (void)state;
    layer_spec spec = { .rows = 5, .cols = 30, .bits = 6, .group_size = 8, .order = "norm-descending", .seed = 840 };
    pair p = pair_make(spec, 0.0);
    draw(&p, "optq");
    qd_chance before = p.layer.certificate.chance;
    double energy = p.layer.certificate.energy_sq;
    for (size_t i = 0; i < 5 * 30; i++)
        p.layer.w.view.data[i] *= 4.0f;
    layer_grid(&p.layer, &spec);
    draw(&p, "optq");
    check_close(p.layer.certificate.chance.kappa_max, before.kappa_max, 1e-12);
    check_close(p.layer.certificate.chance.step_ratio, before.step_ratio, 1e-12);
    check_close(p.layer.certificate.chance.output_bound, 4.0 * before.output_bound, 1e-12);
    check_close(p.layer.certificate.energy_sq, 16.0 * energy, 1e-12);
    for (size_t i = 0; i < 30 * 30; i++)
        p.layer.gram.sum.view.data[i] *= 9.0;
    layer_factor(&p.layer, &spec);
    draw(&p, "optq");
    check_close(p.layer.certificate.chance.kappa_max, before.kappa_max, 1e-6); /* the pair's H was summed in parts */
    check_close(p.layer.certificate.chance.output_bound, 12.0 * before.output_bound, 1e-6);
    pair_free(&p);
}

/* theory.md T11: what Qronos cannot repair is at most the mismatch, so its bound is never above OPTQ's under mismatch. */
static void what_the_target_leaves_is_at_most_the_mismatch(void **state)
{
    (void)state;
    static const double noises[] = { 0.02, 0.1, 0.5 };
    for (size_t k = 0; k < 3; k++)
        for (size_t a = 0; a < 4; a++) {
            pair p = pair_make(
                (layer_spec){ .rows = 20, .cols = 50, .damping = pow(10.0, -1.0 - (double)a), .seed = 850 + k },
                noises[k]);
            pair_round(&p, "qronos");
            const qd_certificate *c = &p.layer.certificate;
            assert_true(c->base_sq > 0.0 && c->base_sq <= c->mismatch_sq);
            double optq = sqrt(c->mismatch_sq) + sqrt(c->bound_sq);
            assert_true(c->base_sq + c->bound_sq <= optq * optq);
            pair_free(&p);
        }
}

/* algorithms.md N1, N5, with equal streams: weights that are codes already come back. */
static void codes_are_rounded_to_themselves_by_every_algorithm(void **state)
{
    (void)state;
    for (size_t a = 0; qd_algorithm_at(a) != NULL; a++) {
        pair p = pair_make((layer_spec){ .rows = 7, .cols = 60, .bits = 4, .group_size = 32, .seed = 860 }, 0.0);
        uint8_t want[7 * 60];
        pair_round(&p, qd_algorithm_at(a)->name);
        memcpy(want, p.layer.codes, sizeof want);
        qd_grid_dequantize(&p.layer.grid, p.layer.codes, p.layer.w.view);
        pair_round(&p, qd_algorithm_at(a)->name);
        assert_memory_equal(p.layer.codes, want, sizeof want);
        assert_int_equal(p.layer.certificate.clip_count, 0);
        pair_free(&p);
    }
}

/* theory.md §10 17: with equal streams G is H. Where it lacks lambda the target is no longer w, and the certificate shows by how much. */
static void lambda_forgotten_in_g_moves_the_target(void **state)
{
    (void)state;
    pair p = pair_make((layer_spec){ .rows = 8, .cols = 30, .damping = 0.3, .seed = 870 }, 0.0);
    pair_round(&p, "qronos");
    assert_true(p.layer.certificate.shift_max == 0.0 && p.layer.certificate.base_sq == 0.0);
    for (size_t j = 0; j < 30; j++)
        qd_matd_row(p.mismatch.cross.view, j)[j] -= p.layer.factor->lambda;
    pair_round(&p, "qronos");
    print_message("target moved by %.2f steps\n", p.layer.certificate.shift_max);
    assert_true(p.layer.certificate.shift_max > 0.5);
    pair_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_damping_trades_fit_for_smaller_weight_errors),
        cmocka_unit_test(the_robust_lambda_is_the_uncertainty_itself),
        cmocka_unit_test(sum_of_pivots_of_normal_inputs_is_known),
        cmocka_unit_test(diagonal_hessian_makes_every_algorithm_rtn_without_drift),
        cmocka_unit_test(drift_in_steps_does_not_depend_on_units),
        cmocka_unit_test(what_the_target_leaves_is_at_most_the_mismatch),
        cmocka_unit_test(codes_are_rounded_to_themselves_by_every_algorithm),
        cmocka_unit_test(lambda_forgotten_in_g_moves_the_target),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
