/* test_residual.c: Qronos and GPFQ when the residual stream's error is to be repaired too, against slow definitions from the tokens
 * (algorithms.md §13.7). */
#include "pair.h"

/* What the tokens of all rows say, per token. */
typedef struct seen {
    double stream;   /* ||e + X w - X~ q||^2 */
    double own;      /* ||X w - X~ q||^2 */
    double shrunken; /* ||s e + X_s w - X~ q||^2 */
    double mismatch; /* ||e + (X - X~) w||^2 */
    double output;   /* ||X w||^2 */
    double residual; /* ||e||^2 */
    double together; /* <e, X w - X~ q> */
} seen;

static seen see(const pair *p, double share)
{
    const layer *l = &p->layer;
    seen s = { 0 };
    for (size_t t = 0; t < l->tokens; t++)
        for (size_t i = 0; i < l->rows; i++) {
            double e = residual_at(p, t, i), y = 0.0, d = 0.0, q = 0.0;
            for (size_t j = 0; j < l->cols; j++) {
                y += x_at(p, t, j) * weight_at(p, i, j);
                d += (x_at(p, t, j) - quantized_at(p, t, j)) * weight_at(p, i, j);
                q += quantized_at(p, t, j) * value_at(l, i, j, l->codes[i * l->cols + j]);
            }
            double shrunken = share * e + (y - d) + share * d - q, m = (double)l->tokens;
            s.stream += (e + y - q) * (e + y - q) / m;
            s.own += (y - q) * (y - q) / m;
            s.shrunken += shrunken * shrunken / m;
            s.mismatch += (e + d) * (e + d) / m;
            s.output += y * y / m;
            s.residual += e * e / m;
            s.together += e * (y - q) / m;
        }
    return s;
}

static const struct {
    const char *algorithm;
    qd_start start;
    double share;
} ways[] = { { "qronos", QD_START_PROJECTED, 1.0 },
             { "qronos", QD_START_ORIGINAL, 1.0 },
             { "qronos", QD_START_PROJECTED, 0.7 },
             { "gpfq", QD_START_PROJECTED, 1.0 },
             { "gpfq", QD_START_PROJECTED, 0.4 } };
enum { WAYS = sizeof ways / sizeof *ways };

static void certificate_is_what_the_tokens_see(void **state)
{
    (void)state;
    for (size_t k = 0; k < WAYS; k++) {
        pair p = pair_make_residual(
            (layer_spec){
                .rows = 9, .cols = 50, .bits = 3, .order = "norm-descending", .group_size = 16, .seed = 500 + k },
            k == 2 ? 0.0 : 0.2, 0.4);
        p.use.start = ways[k].start;
        p.use.share = ways[k].share;
        pair_round(&p, ways[k].algorithm);
        const qd_certificate *c = &p.layer.certificate;
        seen s = see(&p, ways[k].share);
        double lambda = strcmp(ways[k].algorithm, "gpfq") == 0 ? 0.0 : c->lambda; /* GPFQ has none */
        check_close(c->error_sq, s.own, 1e-4); /* moments are summed from float32 products */
        check_close(c->output_sq, s.output, 1e-4);
        check_close(c->mismatch_sq, s.mismatch, 1e-4);
        check_close(c->residual_sq, s.residual, 1e-6);
        check_near(c->residual_cross, s.together, 1e-4 * (s.residual + s.own));
        check_close(c->error_sq + c->residual_sq + 2.0 * c->residual_cross, s.stream, 1e-4);
        check_close(c->total_sq, s.shrunken + lambda * c->weight_error_sq, 1e-4);
        check_close(c->relative_error, sqrt(c->error_sq / c->output_sq), 1e-12);
        assert_true(c->residual && c->identity_residual < 1e-10);
        assert_true(c->energy_sq <= c->overload_bound_sq);
        if (strcmp(ways[k].algorithm, "qronos") == 0) /* J4 and T9 */
            check_close(c->total_sq, c->base_sq + c->energy_sq, 1e-10);
        else /* the triangle inequality */
            assert_true(sqrt(c->total_sq) <= (sqrt(c->base_sq) + sqrt(c->energy_sq)) * (1 + 1e-12));
        pair_free(&p);
    }
}

/* Mean of e of a row times a column of X~. */
static double a_at(const pair *p, size_t row, size_t column)
{
    double sum = 0.0;
    for (size_t t = 0; t < p->layer.tokens; t++)
        sum += residual_at(p, t, row) * quantized_at(p, t, column) / (double)p->layer.tokens;
    return sum;
}

/* After every code the tail that is best for ||s e + X_s w - X~ q||^2 + lambda ||w - q||^2, from normal equations over the tokens. */
static void define_qronos(const pair *p, const moments *m, size_t row, uint8_t *codes)
{
    const layer *l = &p->layer;
    const uint32_t *column = l->factor->permutation;
    size_t n = m->n;
    double *q = calloc(n, sizeof *q), *wanted = calloc(n, sizeof *wanted), *v = calloc(n, sizeof *v);
    for (size_t t = 0; t < n; t++) {
        wanted[t] = p->use.share * a_at(p, row, column[t]);
        for (size_t k = 0; k < n; k++)
            wanted[t] += weight_at(p, row, column[k]) * m->g[k * n + t];
    }
    double first = wanted[0], lambda = l->factor->lambda;
    for (size_t k = 1; k < n; k++)
        first -= weight_at(p, row, column[k]) * m->h[k * n];
    first = (first - lambda * weight_at(p, row, column[0])) / (m->h[0] - lambda);
    for (size_t t = 0; t < n; t++) {
        memset(v, 0, n * sizeof *v);
        for (size_t k = t; k < n; k++) {
            v[k - t] = wanted[k];
            for (size_t j = 0; j < t; j++)
                v[k - t] -= q[j] * m->h[j * n + k];
        }
        solve_tail(m, t, v);
        double argument = t == 0 && p->use.start == QD_START_ORIGINAL ? first : v[0];
        codes[column[t]] = (uint8_t)(qd_grid_nearest(&l->grid, row, column[t], argument) - l->grid.low);
        q[t] = value_at(l, row, column[t], codes[column[t]]);
    }
    free(q);
    free(wanted);
    free(v);
}

static void qronos_is_its_step_by_step_definition(void **state)
{
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        pair p = pair_make_residual((layer_spec){ .rows = 7,
                                                  .cols = 24,
                                                  .bits = 3,
                                                  .alphabet = "int-asymmetric",
                                                  .zero = QD_ZERO_FLOAT,
                                                  .order = k == 1 ? "natural" : "norm-descending",
                                                  .damping = k == 0 ? 1e-3 : 1e-2,
                                                  .seed = 510 + k },
                                    0.2, 0.3);
        p.use.start = ways[k].start;
        p.use.share = ways[k].share;
        moments m = moments_of(&p, p.use.share, p.layer.factor->lambda);
        pair_round(&p, "qronos");
        for (size_t row = 0; row < p.layer.rows; row++) {
            uint8_t want[24];
            define_qronos(&p, &m, row, want);
            assert_memory_equal(p.layer.codes + row * p.layer.cols, want, p.layer.cols);
        }
        moments_free(&m);
        pair_free(&p);
    }
}

/* algorithms.md §6.3, data form, from u = s e instead of 0. */
static void gpfq_is_the_path_that_starts_at_the_residual(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        pair p = pair_make_residual(
            (layer_spec){
                .rows = 9, .cols = 40, .bits = 3, .order = k == 0 ? "natural" : "norm-descending", .seed = 520 + k },
            0.1, 0.3);
        const layer *l = &p.layer;
        p.use.share = k == 0 ? 1.0 : 0.8;
        pair_round(&p, "gpfq");
        double *u = calloc(l->tokens, sizeof *u);
        for (size_t row = 0; row < l->rows; row++) {
            for (size_t i = 0; i < l->tokens; i++)
                u[i] = p.use.share * residual_at(&p, i, row);
            for (size_t t = 0; t < l->cols; t++) {
                size_t column = l->factor->permutation[t];
                double along = 0.0, norm = 0.0;
                for (size_t i = 0; i < l->tokens; i++) {
                    double y = quantized_at(&p, i, column);
                    u[i] += (y + p.use.share * (x_at(&p, i, column) - y)) * weight_at(&p, row, column);
                    along += y * u[i];
                    norm += y * y;
                }
                uint8_t want = (uint8_t)(qd_grid_nearest(&l->grid, row, column, along / norm) - l->grid.low);
                assert_int_equal(l->codes[row * l->cols + column], want);
                for (size_t i = 0; i < l->tokens; i++)
                    u[i] -= quantized_at(&p, i, column) * value_at(l, row, column, want);
            }
        }
        free(u);
        pair_free(&p);
    }
}

/* No real-valued weights leave less than the base: tried at the target with random changes. */
static void base_is_the_least_that_any_weights_leave(void **state)
{
    (void)state;
    enum { COLS = 20 };
    qd_error err = { 0 };
    pair p = pair_make_residual((layer_spec){ .rows = 1, .cols = COLS, .damping = 1e-3, .seed = 530 }, 0.3, 0.5);
    qd_layer_input input = layer_input(&p.layer);
    input.mismatch = &p.mismatch;
    input.use = p.use;
    qd_steps steps = { 0 };
    qd_weight_target target = { 0 };
    check_ok(qd_steps_init(&input, QD_DEAD_ZERO, &steps, &err));
    check_ok(qd_weight_target_init(&input, &steps, QD_SOLVE_LEAST_SQUARES, NULL, &target, &err));
    pair_round(&p, "qronos");
    double base = p.layer.certificate.base_sq;
    for (size_t trial = 0; trial < 50; trial++) {
        double sum = 0.0, size = trial == 0 ? 0.0 : pow(10.0, -(double)(trial % 5)), q[COLS];
        for (size_t j = 0; j < COLS; j++) {
            q[j] = target.rows[j] + size * normal(trial, j);
            sum += p.layer.factor->lambda * (weight_at(&p, 0, j) - q[j]) * (weight_at(&p, 0, j) - q[j]);
        }
        for (size_t t = 0; t < p.layer.tokens; t++) {
            double e = residual_at(&p, t, 0);
            for (size_t j = 0; j < COLS; j++)
                e += x_at(&p, t, j) * weight_at(&p, 0, j) - quantized_at(&p, t, j) * q[j];
            sum += e * e / (double)p.layer.tokens;
        }
        if (trial == 0)
            check_close(sum, base, 1e-4);
        assert_true(sum >= base * (1 - 1e-5));
    }
    qd_weight_target_fini(&target);
    qd_steps_fini(&steps);
    pair_free(&p);
}

/* Moments of one part, by column of the original order: h, k, and a of one row. */
static void sum_part(const pair *p, qd_part part, size_t row, moments *m, double *a)
{
    size_t n = m->n, used = 0;
    memset(m->h, 0, n * n * sizeof *m->h);
    memset(m->g, 0, n * n * sizeof *m->g);
    memset(a, 0, n * sizeof *a);
    for (size_t t = 0; t < p->layer.tokens; t++) {
        if (qd_part_of(t * SEQUENCES / p->layer.tokens, SEQUENCES) != part)
            continue;
        used++;
        for (size_t i = 0; i < n; i++) {
            a[i] += residual_at(p, t, row) * quantized_at(p, t, i);
            for (size_t j = 0; j < n; j++) {
                m->h[i * n + j] += quantized_at(p, t, i) * quantized_at(p, t, j);
                m->g[i * n + j] += (x_at(p, t, i) - quantized_at(p, t, i)) * quantized_at(p, t, j);
            }
        }
    }
    for (size_t i = 0; i < n * n; i++) {
        m->h[i] /= (double)used;
        m->g[i] /= (double)used;
        if (i < n)
            a[i] /= (double)used;
    }
}

/* rho = <D, W K_B + A_B> / <D, D H_B>, D = (W K + A) (H + lambda)^-1 of the other part. */
static void share_is_what_the_judging_part_asks_of_the_fitted_shift(void **state)
{
    (void)state;
    enum { N = 12, ROWS = 3 };
    qd_error err = { 0 };
    pair p = pair_make_residual((layer_spec){ .rows = ROWS, .cols = N, .tokens = 100, .seed = 540 }, 0.2, 0.5);
    split(&p, 0.01);
    moments m = { N, oracle_matrix(N), oracle_matrix(N) };
    double wanted = 0.0, size = 0.0;
    for (size_t row = 0; row < ROWS; row++) {
        double a[N], shift[N];
        sum_part(&p, QD_PART_FIT, row, &m, a);
        for (size_t j = 0; j < N; j++) {
            shift[j] = a[j];
            for (size_t k = 0; k < N; k++)
                shift[j] += weight_at(&p, row, k) * m.g[k * N + j];
            m.h[j * N + j] += p.mismatch.fit->lambda;
        }
        solve_tail(&m, 0, shift);
        sum_part(&p, QD_PART_JUDGE, row, &m, a);
        for (size_t j = 0; j < N; j++) {
            double asked = a[j];
            for (size_t k = 0; k < N; k++) {
                asked += weight_at(&p, row, k) * m.g[k * N + j];
                size += shift[j] * m.h[j * N + k] * shift[k];
            }
            wanted += asked * shift[j];
        }
    }
    qd_layer_input input = layer_input(&p.layer);
    input.mismatch = &p.mismatch;
    double share = 0.0;
    check_ok(qd_weight_target_share(&input, &share, &err));
    assert_true(share > 0.0 && share < 1.0);
    check_close(share, wanted / size, 1e-4);
    moments_free(&m);
    pair_free(&p);
}

/* A residual without an error is none: same codes, same numbers. */
static void a_residual_without_error_changes_nothing(void **state)
{
    (void)state;
    const layer_spec spec = { .rows = 20, .cols = 40, .bits = 3, .order = "norm-descending", .seed = 550 };
    for (size_t k = 0; k < WAYS; k++) {
        pair without = pair_make(spec, 0.2), with = pair_make_residual(spec, 0.2, 1e-300); /* 0 in float32 */
        without.use = with.use = (qd_mismatch_use){ QD_SHRINK_FIXED, ways[k].share, ways[k].start };
        if (k == 0) {
            split(&without, 0.01);
            split(&with, 0.01);
            without.use.shrink = with.use.shrink = QD_SHRINK_AUTO;
        }
        pair_round(&without, ways[k].algorithm);
        pair_round(&with, ways[k].algorithm);
        const qd_certificate *a = &without.layer.certificate, *b = &with.layer.certificate;
        assert_memory_equal(without.layer.codes, with.layer.codes, 20 * 40);
        assert_true(a->share == b->share && a->error_sq == b->error_sq && a->base_sq == b->base_sq &&
                    a->output_sq == b->output_sq && a->mismatch_sq == b->mismatch_sq && a->total_sq == b->total_sq);
        assert_true(!a->residual && b->residual && b->residual_sq == 0.0 && b->residual_cross == 0.0);
        pair_free(&without);
        pair_free(&with);
    }
}

/* Of the stream after the addition; the layer's own output pays for it. */
static void repairing_the_residual_pays_in_the_stream(void **state)
{
    (void)state;
    double stream[2] = { 0 }, own[2] = { 0 };
    for (uint64_t seed = 0; seed < 5; seed++)
        for (size_t k = 0; k < 2; k++) {
            pair p = pair_make_residual((layer_spec){ .rows = 30,
                                                      .cols = 48,
                                                      .bits = 3,
                                                      .tokens = 800,
                                                      .damping = 1e-3,
                                                      .order = "norm-descending",
                                                      .seed = 560 + seed },
                                        0.1, 0.3);
            if (k == 0)
                p.mismatch.residual.outputs = 0; /* left alone */
            pair_round(&p, "qronos");
            p.mismatch.residual.outputs = p.layer.rows;
            seen s = see(&p, 1.0);
            stream[k] += s.stream;
            own[k] += s.own;
            pair_free(&p);
        }
    print_message("error of the stream: left alone %.4g, repaired %.4g; own %.4g and %.4g\n", stream[0], stream[1],
                  own[0], own[1]);
    assert_true(stream[1] < 0.9 * stream[0] && own[1] > own[0]);
}

static void moments_are_those_of_the_tokens(void **state)
{
    (void)state;
    pair p = pair_make_residual((layer_spec){ .rows = 67, .cols = 37, .tokens = 2500, .seed = 570 }, 0.1, 0.2);
    const qd_residual *r = &p.mismatch.residual;
    for (size_t i = 0; i < 67; i += 3) {
        double square = 0.0;
        for (size_t t = 0; t < 2500; t++)
            square += residual_at(&p, t, i) * residual_at(&p, t, i) / 2500.0;
        check_close(r->square[i], square, 1e-12);
        for (size_t j = 0; j < 37; j++) {
            double b = 0.0;
            for (size_t t = 0; t < 2500; t++)
                b += residual_at(&p, t, i) * (x_at(&p, t, j) - quantized_at(&p, t, j)) / 2500.0;
            check_near(qd_matd_row(r->input.view, i)[j], a_at(&p, i, j), 1e-4);
            check_near(qd_matd_row(r->difference.sum.view, i)[j], b, 1e-5);
        }
    }
    pair_free(&p);
}

static void residuals_of_another_shape_are_refused(void **state)
{
    (void)state;
    qd_error err = { 0 };
    pair p = pair_make_residual((layer_spec){ .rows = 6, .cols = 8, .seed = 580 }, 0.1, 0.1);
    qd_mismatch other;
    check_ok(qd_mismatch_init(&other, 8, 5, &err));
    const qd_pairs pairs = { .difference = qd_matf_const(p.x.view),
                             .x = qd_matf_const(p.layer.x.view),
                             .residual = qd_matf_const(p.e.view) };
    check_fails(qd_mismatch_add(&other, QD_PART_FIT, &pairs, NULL, &err), QD_ESHAPE);
    check_contains(err.text, "x 6, ");
    qd_mismatch_fini(&other);
    p.mismatch.residual.outputs = 5;
    qd_layer_input input = layer_input(&p.layer);
    input.mismatch = &p.mismatch;
    check_fails(qd_layer_round(qd_algorithm_find("qronos"), &input, p.layer.codes, &p.layer.certificate, &err),
                QD_ESHAPE);
    check_contains(err.text, "residual of 5 features");
    p.mismatch.residual.outputs = 6;
    pair_free(&p);
}

static void any_number_of_threads_gives_the_same_bytes(void **state)
{
    (void)state;
    qd_error err = { 0 };
    static const size_t threads[] = { 2, 5 };
    pair p = pair_make_residual(
        (layer_spec){ .rows = 200, .cols = 150, .bits = 3, .order = "norm-descending", .seed = 590 }, 0.2, 0.3);
    split(&p, 0.01);
    p.use.shrink = QD_SHRINK_AUTO;
    for (size_t k = 0; k < 2 * QD_LENGTH(threads); k++) {
        const char *algorithm = k % 2 == 0 ? "qronos" : "gpfq";
        qd_pool *pool = NULL;
        qd_mismatch sums;
        check_ok(qd_pool_create(threads[k / 2], &pool, &err));
        pair_round(&p, algorithm);
        qd_certificate alone = p.layer.certificate, together;
        uint8_t *codes = malloc(200 * 150);
        qd_layer_input input = layer_input(&p.layer);
        input.mismatch = &p.mismatch;
        input.use = p.use;
        input.pool = pool;
        check_ok(qd_layer_round(qd_algorithm_find(algorithm), &input, codes, &together, &err));
        assert_memory_equal(codes, p.layer.codes, 200 * 150);
        assert_true(alone.error_sq == together.error_sq && alone.residual_cross == together.residual_cross &&
                    alone.share == together.share && alone.base_sq == together.base_sq);
        check_ok(qd_mismatch_init(&sums, 150, 200, &err));
        qd_mismatch once;
        check_ok(qd_mismatch_init(&once, 150, 200, &err));
        const qd_pairs pairs = { .difference = qd_matf_const(p.x.view),
                                 .x = qd_matf_const(p.layer.x.view),
                                 .residual = qd_matf_const(p.e.view) };
        check_ok(qd_mismatch_add(&sums, QD_PART_FIT, &pairs, pool, &err));
        check_ok(qd_mismatch_add(&once, QD_PART_FIT, &pairs, NULL, &err));
        check_ok(qd_mismatch_finish(&sums, &err));
        check_ok(qd_mismatch_finish(&once, &err));
        size_t bytes = 200 * 150 * sizeof(double);
        assert_memory_equal(sums.residual.input.view.data, once.residual.input.view.data, bytes);
        assert_memory_equal(sums.residual.difference.sum.view.data, once.residual.difference.sum.view.data, bytes);
        assert_memory_equal(sums.residual.square, once.residual.square, 200 * sizeof(double));
        qd_mismatch_fini(&sums);
        qd_mismatch_fini(&once);
        free(codes);
        qd_pool_destroy(pool);
    }
    pair_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificate_is_what_the_tokens_see),
        cmocka_unit_test(qronos_is_its_step_by_step_definition),
        cmocka_unit_test(gpfq_is_the_path_that_starts_at_the_residual),
        cmocka_unit_test(base_is_the_least_that_any_weights_leave),
        cmocka_unit_test(share_is_what_the_judging_part_asks_of_the_fitted_shift),
        cmocka_unit_test(a_residual_without_error_changes_nothing),
        cmocka_unit_test(repairing_the_residual_pays_in_the_stream),
        cmocka_unit_test(moments_are_those_of_the_tokens),
        cmocka_unit_test(residuals_of_another_shape_are_refused),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
