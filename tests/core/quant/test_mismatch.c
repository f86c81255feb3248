/* test_mismatch.c: GPFQ and Qronos against slow definitions of themselves, from the data (algorithms.md §12: T5-T8, J2-J4, A). */
#include "pair.h"

/* ||X w - X~ q||^2 / m of all rows, from the tokens. */
static double error_of(const pair *p)
{
    const layer *l = &p->layer;
    double sum = 0.0;
    for (size_t t = 0; t < l->tokens; t++)
        for (size_t i = 0; i < l->rows; i++) {
            double e = 0.0;
            for (size_t j = 0; j < l->cols; j++)
                e += x_at(p, t, j) * weight_at(p, i, j) -
                     quantized_at(p, t, j) * value_at(l, i, j, l->codes[i * l->cols + j]);
            sum += e * e / (double)l->tokens;
        }
    return sum;
}

/* Qronos by its definition: the first argument, then after every code the tail that is best for ||X w - X~ q||^2 + lambda ||w - q||^2. */
static void define_qronos(const pair *p, const moments *m, size_t row, uint8_t *codes)
{
    const layer *l = &p->layer;
    size_t n = m->n;
    double *q = calloc(n, sizeof *q), *wg = calloc(n, sizeof *wg), *v = calloc(n, sizeof *v);
    for (size_t t = 0; t < n; t++)
        for (size_t k = 0; k < n; k++)
            wg[t] += weight_at(p, row, l->factor->permutation[k]) * m->g[k * n + t];
    double first = wg[0], lambda = l->factor->lambda, w0 = weight_at(p, row, l->factor->permutation[0]);
    for (size_t k = 1; k < n; k++)
        first -= weight_at(p, row, l->factor->permutation[k]) * m->h[k * n];
    first = (first - lambda * w0) / (m->h[0] - lambda);
    for (size_t t = 0; t < n; t++) {
        memset(v, 0, n * sizeof *v);
        for (size_t k = t; k < n; k++) {
            v[k - t] = wg[k];
            for (size_t j = 0; j < t; j++)
                v[k - t] -= q[j] * m->h[j * n + k];
        }
        solve_tail(m, t, v);
        double argument = t == 0 && p->use.start == QD_START_ORIGINAL ? first : v[0];
        size_t column = l->factor->permutation[t];
        codes[column] = (uint8_t)(qd_grid_nearest(&l->grid, row, column, argument) - l->grid.low);
        q[t] = value_at(l, row, column, codes[column]);
    }
    free(q);
    free(wg);
    free(v);
}

static const double dampings[] = { 1e-6, 1e-3, 1e-1 };

static void qronos_is_its_step_by_step_definition(void **state)
{
    (void)state;
    for (size_t d = 0; d < 3; d++)
        for (qd_start start = QD_START_PROJECTED; start <= QD_START_ORIGINAL; start++) {
            pair p = pair_make((layer_spec){ .rows = 7,
                                             .cols = 24,
                                             .bits = 3,
                                             .alphabet = "int-asymmetric",
                                             .zero = QD_ZERO_FLOAT,
                                             .order = d == 1 ? "natural" : "norm-descending",
                                             .damping = dampings[d],
                                             .seed = 300 + d },
                               0.2);
            p.use.start = start;
            p.use.share = d == 2 ? 0.6 : 1.0;
            moments m = moments_of(&p, p.use.share, p.layer.factor->lambda);
            pair_round(&p, "qronos");
            for (size_t row = 0; row < p.layer.rows; row++) {
                uint8_t want[24];
                define_qronos(&p, &m, row, want);
                assert_memory_equal(p.layer.codes + row * p.layer.cols, want, p.layer.cols);
            }
            assert_string_equal(p.layer.certificate.start, qd_start_name(start));
            moments_free(&m);
            pair_free(&p);
        }
}

/* algorithms.md §6.3, data form: u follows the path over the tokens. */
static void define_gpfq(const pair *p, double share, size_t row, uint8_t *codes, double *u)
{
    const layer *l = &p->layer;
    memset(u, 0, l->tokens * sizeof *u);
    for (size_t t = 0; t < l->cols; t++) {
        size_t column = l->factor->permutation[t];
        double along = 0.0, norm = 0.0;
        for (size_t i = 0; i < l->tokens; i++) {
            double y = quantized_at(p, i, column);
            u[i] += (y + share * (x_at(p, i, column) - y)) * weight_at(p, row, column);
            along += y * u[i];
            norm += y * y;
        }
        codes[column] =
            (uint8_t)(qd_grid_nearest(&l->grid, row, column, norm > 0.0 ? along / norm : 0.0) - l->grid.low);
        double q = value_at(l, row, column, codes[column]);
        for (size_t i = 0; i < l->tokens; i++)
            u[i] -= quantized_at(p, i, column) * q;
    }
}

/* H is summed from float32 products, so a value at the middle of a step may fall to either side: none of these does. */
static void gpfq_is_the_path_over_the_tokens(void **state)
{
    (void)state;
    static const double noises[] = { 0.0, 0.2 };
    for (size_t k = 0; k < 2; k++) {
        pair p = pair_make((layer_spec){ .rows = 9,
                                         .cols = 40,
                                         .bits = 3,
                                         .order = k == 0 ? "natural" : "norm-descending",
                                         .dead = 5,
                                         .seed = 310 + k },
                           noises[k]);
        for (size_t i = 0; i < p.layer.tokens; i++) /* dead in both streams */
            qd_matf_row(p.x.view, i)[5] = 0.0f;
        p.use.share = k == 0 ? 1.0 : 0.8;
        pair_round(&p, "gpfq");
        double *u = calloc(p.layer.tokens, sizeof *u);
        size_t differing = 0;
        for (size_t row = 0; row < p.layer.rows; row++) {
            uint8_t want[40];
            define_gpfq(&p, p.use.share, row, want, u);
            for (size_t j = 0; j < 40; j++)
                differing += j != 5 && want[j] != p.layer.codes[row * 40 + j];
        }
        assert_int_equal(differing, 0);
        free(u);
        pair_free(&p);
    }
}

static void equal_streams_make_qronos_into_optq(void **state)
{
    (void)state;
    for (size_t k = 0; k < 6; k++) {
        pair p = pair_make((layer_spec){ .rows = 33,
                                         .cols = 70,
                                         .bits = 3,
                                         .order = "norm-descending",
                                         .damping = dampings[k % 3],
                                         .seed = 320 + k },
                           0.0);
        p.use.start = k < 3 ? QD_START_PROJECTED : QD_START_ORIGINAL;
        pair_round(&p, "qronos");
        uint8_t *found = malloc(33 * 70);
        memcpy(found, p.layer.codes, 33 * 70);
        qd_certificate qronos = p.layer.certificate;
        layer_round(&p.layer, "optq");
        assert_memory_equal(found, p.layer.codes, 33 * 70);
        check_close(qronos.energy_sq, p.layer.certificate.energy_sq, 1e-12);
        check_close(qronos.error_sq, p.layer.certificate.error_sq, 1e-9);
        check_close(qronos.output_sq, p.layer.certificate.output_sq, 1e-12);
        assert_true(qronos.base_sq == 0.0 && qronos.mismatch_sq == 0.0 && qronos.shift_max == 0.0);
        free(found);
        pair_free(&p);
    }
}

static void no_share_of_the_mismatch_is_no_mismatch(void **state)
{
    (void)state;
    pair p = pair_make((layer_spec){ .rows = 12, .cols = 50, .bits = 3, .seed = 330 }, 0.3);
    p.use.share = 0.0;
    pair_round(&p, "qronos");
    uint8_t found[12 * 50];
    memcpy(found, p.layer.codes, sizeof found);
    double error = p.layer.certificate.error_sq;
    check_close(error, error_of(&p), 1e-5); /* the whole error nevertheless */
    layer_round(&p.layer, "optq");
    assert_memory_equal(found, p.layer.codes, sizeof found);
    pair_free(&p);
}

/* Rows whose first code is that of the projected start are the same in every entry. */
static void starts_differ_only_through_the_first_code(void **state)
{
    (void)state;
    size_t alike = 0, rows = 0;
    for (uint64_t seed = 0; seed < 12; seed++) {
        pair p = pair_make(
            (layer_spec){ .rows = 32, .cols = 30, .bits = 3, .order = "norm-descending", .seed = 340 + seed }, 0.3);
        uint8_t projected[32 * 30];
        size_t first = p.layer.factor->permutation[0];
        pair_round(&p, "qronos");
        memcpy(projected, p.layer.codes, sizeof projected);
        p.use.start = QD_START_ORIGINAL;
        pair_round(&p, "qronos");
        for (size_t i = 0; i < 32; i++, rows++)
            if (projected[i * 30 + first] == p.layer.codes[i * 30 + first]) {
                alike++;
                assert_memory_equal(projected + i * 30, p.layer.codes + i * 30, 30);
            }
        pair_free(&p);
    }
    print_message("%zu of %zu rows begin alike\n", alike, rows);
    assert_true(alike > rows / 10 && alike < rows);
}

/* J2: the factor of the tail is the tail of the factor. */
static void factor_of_the_tail_is_the_tail_of_the_factor(void **state)
{
    (void)state;
    pair p =
        pair_make((layer_spec){ .rows = 2, .cols = 40, .order = "norm-descending", .damping = 1e-3, .seed = 350 }, 0.2);
    oracle whole = oracle_of(&p.layer);
    double *tail = oracle_matrix(39), *c = oracle_matrix(39);
    for (size_t i = 0; i < 39; i++)
        memcpy(tail + i * 39, whole.h + (i + 1) * 40 + 1, 39 * sizeof *tail);
    oracle_cholesky(tail, 39, c);
    for (size_t i = 0; i < 39; i++)
        for (size_t j = 0; j < 39; j++)
            check_near(c[i * 39 + j], whole.c[(i + 1) * 40 + j + 1], 1e-13 * whole.c[0]);
    free(tail);
    free(c);
    oracle_free(&whole);
    pair_free(&p);
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

static void error_is_what_the_tokens_of_both_streams_see(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
        pair p = pair_make(
            (layer_spec){
                .rows = 9, .cols = 50, .bits = 3, .order = "norm-descending", .group_size = 16, .seed = 360 + k },
            0.2);
        p.use.start = ways[k].start;
        p.use.share = ways[k].share;
        pair_round(&p, ways[k].algorithm);
        const qd_certificate *c = &p.layer.certificate;
        double output = 0.0, mismatch = 0.0;
        for (size_t t = 0; t < p.layer.tokens; t++)
            for (size_t i = 0; i < p.layer.rows; i++) {
                double y = 0.0, d = 0.0;
                for (size_t j = 0; j < p.layer.cols; j++) {
                    y += x_at(&p, t, j) * weight_at(&p, i, j);
                    d += (x_at(&p, t, j) - quantized_at(&p, t, j)) * weight_at(&p, i, j);
                }
                output += y * y / (double)p.layer.tokens;
                mismatch += d * d / (double)p.layer.tokens;
            }
        check_close(c->error_sq, error_of(&p), 1e-4); /* H and K are summed from float32 products */
        check_close(c->output_sq, output, 1e-4);
        check_close(c->mismatch_sq, mismatch, 1e-4);
        check_close(c->relative_error, sqrt(c->error_sq / c->output_sq), 1e-12);
        assert_true(c->identity_residual < 1e-10);
        assert_true(c->energy_sq <= c->overload_bound_sq);
        assert_true(c->status == QD_CERTIFIED || c->status == QD_CERTIFIED_OVERLOAD);
        if (strcmp(ways[k].algorithm, "qronos") == 0) /* J4 and T9 */
            check_close(c->total_sq, c->base_sq + c->energy_sq, 1e-10);
        else /* the triangle inequality */
            assert_true(sqrt(c->total_sq) <= (sqrt(c->base_sq) + sqrt(c->energy_sq)) * (1 + 1e-12));
        pair_free(&p);
    }
}

/* No real-valued weights leave less than the base: tried at the target with random changes. */
static void base_is_the_least_that_any_weights_leave(void **state)
{
    (void)state;
    qd_error err = { 0 };
    pair p = pair_make((layer_spec){ .rows = 1, .cols = 20, .damping = 1e-3, .seed = 370 }, 0.3);
    qd_layer_input input = layer_input(&p.layer);
    input.mismatch = &p.mismatch;
    input.use = p.use;
    qd_steps steps = { 0 };
    qd_weight_target target = { 0 };
    check_ok(qd_steps_init(&input, QD_DEAD_ZERO, &steps, &err));
    check_ok(qd_weight_target_init(&input, &steps, QD_SOLVE_LEAST_SQUARES, NULL, &target, &err));
    pair_round(&p, "qronos");
    double lambda = p.layer.factor->lambda;
    for (size_t trial = 0; trial < 50; trial++) {
        double sum = 0.0, size = trial == 0 ? 0.0 : pow(10.0, -(double)(trial % 5));
        double q[20];
        for (size_t j = 0; j < 20; j++) {
            q[j] = target.rows[j] + size * normal(trial, j);
            sum += lambda * (weight_at(&p, 0, j) - q[j]) * (weight_at(&p, 0, j) - q[j]);
        }
        for (size_t t = 0; t < p.layer.tokens; t++) {
            double e = 0.0;
            for (size_t j = 0; j < 20; j++)
                e += x_at(&p, t, j) * weight_at(&p, 0, j) - quantized_at(&p, t, j) * q[j];
            sum += e * e / (double)p.layer.tokens;
        }
        if (trial == 0)
            check_close(sum, p.layer.certificate.base_sq, 1e-4);
        assert_true(sum >= p.layer.certificate.base_sq * (1 - 1e-5));
    }
    qd_weight_target_fini(&target);
    qd_steps_fini(&steps);
    pair_free(&p);
}

static void unclipped_rows_are_within_the_bounds(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 8; seed++)
        for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
            /* weights as large as a quarter of the range: nothing clips */
            pair p = pair_make(
                (layer_spec){
                    .rows = 40, .cols = 48, .bits = 6, .shrink = 4, .order = "norm-descending", .seed = 380 + seed },
                0.1);
            p.use.start = ways[k].start;
            p.use.share = ways[k].share;
            pair_round(&p, ways[k].algorithm);
            const qd_certificate *c = &p.layer.certificate;
            assert_int_equal(c->clip_count, 0);
            assert_int_equal(c->status, QD_CERTIFIED);
            assert_true(c->ratio > 0.3 && c->ratio <= 1.0);
            assert_true(c->energy_sq / c->expected_sq > 0.7 && c->energy_sq / c->expected_sq < 1.4);
            pair_free(&p);
        }
}

static double mean_error(const char *algorithm, qd_start start, double share, double noise)
{
    double sum = 0.0;
    for (uint64_t seed = 0; seed < 5; seed++) {
        pair p = pair_make((layer_spec){ .rows = 40,
                                         .cols = 64,
                                         .bits = 3,
                                         .tokens = 800,
                                         .damping = 1e-3,
                                         .order = "norm-descending",
                                         .seed = 390 + seed },
                           noise);
        p.use.start = start;
        p.use.share = share;
        pair_round(&p, algorithm);
        sum += p.layer.certificate.relative_error / 5;
        pair_free(&p);
    }
    return sum;
}

static void correcting_the_mismatch_pays_on_average(void **state)
{
    (void)state;
    double none = mean_error("qronos", QD_START_PROJECTED, 0.0, 0.3),
           all = mean_error("qronos", QD_START_PROJECTED, 1.0, 0.3);
    double original = mean_error("qronos", QD_START_ORIGINAL, 1.0, 0.3),
           greedy = mean_error("gpfq", QD_START_PROJECTED, 1.0, 0.3);
    print_message("relative error: OPTQ %.4f, Qronos %.4f, as first published %.4f, GPFQ %.4f\n", none, all, original,
                  greedy);
    assert_true(all < 0.95 * none);
    assert_true(all < greedy);
    assert_true(all < 1.01 * original);
}

/* ---- the split-sample share ---- */

static double share_of(double noise, size_t tokens, uint64_t seed, qd_code *out_code)
{
    qd_error err = { 0 };
    pair p = pair_make((layer_spec){ .rows = 16, .cols = 32, .tokens = tokens, .seed = seed }, noise);
    split(&p, 0.01);
    p.use.shrink = QD_SHRINK_AUTO;
    qd_layer_input input = layer_input(&p.layer);
    input.mismatch = &p.mismatch;
    double share = -1.0;
    *out_code = qd_weight_target_share(&input, &share, &err);
    pair_round(&p, "qronos");
    check_close(p.layer.certificate.share, share, 1e-15);
    pair_free(&p);
    return share;
}

/* The definition, from the tokens of the two parts. */
static void share_is_the_regression_of_the_judging_part_on_the_fitted_shift(void **state)
{
    (void)state;
    qd_error err = { 0 };
    pair p = pair_make((layer_spec){ .rows = 3, .cols = 12, .tokens = 100, .seed = 400 }, 0.2);
    split(&p, 0.01);
    size_t n = 12;
    double wanted = 0.0, size = 0.0;
    moments m = { n, oracle_matrix(n), oracle_matrix(n) };
    for (size_t t = 0; t < 100; t++)
        for (size_t i = 0; qd_part_of(t / 10, SEQUENCES) == QD_PART_FIT && i < n; i++)
            for (size_t j = 0; j < n; j++) {
                m.h[i * n + j] += quantized_at(&p, t, i) * quantized_at(&p, t, j) / 80.0;
                m.g[i * n + j] += (x_at(&p, t, i) - quantized_at(&p, t, i)) * quantized_at(&p, t, j) / 80.0;
            }
    for (size_t j = 0; j < n; j++)
        m.h[j * n + j] += p.mismatch.fit->lambda;
    for (size_t row = 0; row < 3; row++) {
        double shift[12] = { 0 };
        for (size_t j = 0; j < n; j++)
            for (size_t k = 0; k < n; k++)
                shift[j] += weight_at(&p, row, k) * m.g[k * n + j];
        solve_tail(&m, 0, shift);
        for (size_t t = 0; t < 100; t++) {
            double d = 0.0, s = 0.0;
            for (size_t j = 0; j < n; j++) {
                d += (x_at(&p, t, j) - quantized_at(&p, t, j)) * weight_at(&p, row, j);
                s += quantized_at(&p, t, j) * shift[j];
            }
            wanted += qd_part_of(t / 10, SEQUENCES) == QD_PART_JUDGE ? d * s : 0.0;
            size += qd_part_of(t / 10, SEQUENCES) == QD_PART_JUDGE ? s * s : 0.0;
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

static void share_grows_with_the_evidence(void **state)
{
    (void)state;
    qd_code code = QD_OK;
    double few = 0.0, many = 0.0;
    for (uint64_t seed = 0; seed < 6; seed++) {
        few += share_of(0.2, 50, 410 + seed, &code) / 6;
        many += share_of(0.2, 5000, 410 + seed, &code) / 6;
    }
    print_message("share of 50 tokens %.3f, of 5000 %.3f\n", few, many);
    assert_true(few < many && many > 0.95);
    assert_true(share_of(0.0, 100, 410, &code) == 1.0); /* nothing to correct */
}

static void parts_are_dealt_by_sequence(void **state)
{
    (void)state;
    for (size_t sequences = 2; sequences < 40; sequences++) {
        size_t judges = 0;
        for (size_t i = 0; i < sequences; i++)
            judges += qd_part_of(i, sequences) == QD_PART_JUDGE;
        assert_true(judges >= 1 && judges < sequences);
        if (sequences >= 5)
            assert_int_equal(judges, sequences / 5);
    }
}

static void missing_moments_and_single_sequences_are_refused(void **state)
{
    (void)state;
    qd_error err = { 0 };
    layer l = layer_make((layer_spec){ .rows = 2, .cols = 8, .seed = 420 });
    qd_layer_input input = layer_input(&l);
    static const char *const algorithms[] = { "gpfq", "qronos" };
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(qd_layer_round(qd_algorithm_find(algorithms[i]), &input, l.codes, &l.certificate, &err),
                         QD_EINVAL);
        assert_non_null(strstr(err.text, algorithms[i]));
    }
    qd_mismatch mismatch;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf zeros = { 0 };
    check_ok(qd_matf_buf_init(&zeros, l.tokens, 8, &err));
    check_ok(qd_mismatch_init(&mismatch, 8, 0, &err));
    const qd_pairs pairs = { .difference = qd_matf_const(zeros.view), .x = qd_matf_const(l.x.view) };
    check_ok(qd_mismatch_add(&mismatch, QD_PART_FIT, &pairs, NULL, &err));
    check_ok(qd_mismatch_finish(&mismatch, &err));
    assert_int_equal(
        qd_mismatch_split(&mismatch, qd_order_find("natural"), qd_regularizer_find("mean_diagonal"), 0.01, NULL, &err),
        QD_EINVAL);
    assert_non_null(strstr(err.text, "mismatch.shrink"));
    qd_mismatch_fini(&mismatch);
    layer_free(&l);
}

/* Two sums of the same numbers: G as it is defined, and H + K. */
static void moments_are_those_of_the_two_streams(void **state)
{
    (void)state;
    pair p = pair_make((layer_spec){ .rows = 1, .cols = 37, .tokens = 3000, .seed = 430 }, 0.1);
    for (size_t i = 0; i < 37; i += 3)
        for (size_t j = 0; j < 37; j++) {
            double g = 0.0, f = 0.0;
            for (size_t t = 0; t < 3000; t++) {
                g += x_at(&p, t, i) * quantized_at(&p, t, j) / 3000.0;
                f += x_at(&p, t, i) * x_at(&p, t, j) / 3000.0;
            }
            double h = qd_matd_row(p.mismatch.hessian.view, i)[j], k = qd_matd_row(p.mismatch.cross.view, i)[j];
            double kt = qd_matd_row(p.mismatch.cross.view, j)[i], m = qd_matd_row(p.mismatch.own.view, i)[j];
            check_near(h + k, g, 1e-4);
            check_near(h + k + kt + m, f, 1e-4);
        }
    assert_int_equal(p.mismatch.tokens, 3000);
    pair_free(&p);
}

static void any_number_of_threads_gives_the_same_codes_and_certificate(void **state)
{
    (void)state;
    qd_error err = { 0 };
    static const char *const algorithms[] = { "gpfq", "qronos" };
    pair p =
        pair_make((layer_spec){ .rows = 200, .cols = 150, .bits = 3, .order = "norm-descending", .seed = 440 }, 0.2);
    split(&p, 0.01);
    p.use.shrink = QD_SHRINK_AUTO;
    qd_pool *pool = NULL;
    check_ok(qd_pool_create(3, &pool, &err));
    for (size_t a = 0; a < 2; a++) {
        pair_round(&p, algorithms[a]);
        qd_certificate alone = p.layer.certificate, together;
        uint8_t *codes = malloc(200 * 150);
        qd_layer_input input = layer_input(&p.layer);
        input.mismatch = &p.mismatch;
        input.use = p.use;
        input.pool = pool;
        check_ok(qd_layer_round(qd_algorithm_find(algorithms[a]), &input, codes, &together, &err));
        assert_memory_equal(codes, p.layer.codes, 200 * 150);
        assert_true(alone.error_sq == together.error_sq && alone.energy_sq == together.energy_sq);
        assert_true(alone.share == together.share && alone.base_sq == together.base_sq &&
                    alone.expected_sq == together.expected_sq);
        free(codes);
    }
    qd_pool_destroy(pool);
    pair_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qronos_is_its_step_by_step_definition),
        cmocka_unit_test(gpfq_is_the_path_over_the_tokens),
        cmocka_unit_test(equal_streams_make_qronos_into_optq),
        cmocka_unit_test(no_share_of_the_mismatch_is_no_mismatch),
        cmocka_unit_test(starts_differ_only_through_the_first_code),
        cmocka_unit_test(factor_of_the_tail_is_the_tail_of_the_factor),
        cmocka_unit_test(error_is_what_the_tokens_of_both_streams_see),
        cmocka_unit_test(base_is_the_least_that_any_weights_leave),
        cmocka_unit_test(unclipped_rows_are_within_the_bounds),
        cmocka_unit_test(correcting_the_mismatch_pays_on_average),
        cmocka_unit_test(share_is_the_regression_of_the_judging_part_on_the_fitted_shift),
        cmocka_unit_test(share_grows_with_the_evidence),
        cmocka_unit_test(parts_are_dealt_by_sequence),
        cmocka_unit_test(missing_moments_and_single_sequences_are_refused),
        cmocka_unit_test(moments_are_those_of_the_two_streams),
        cmocka_unit_test(any_number_of_threads_gives_the_same_codes_and_certificate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
