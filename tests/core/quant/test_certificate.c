/* test_certificate.c: the record's fields, and that a broken implementation does not get past it. */
#include "base/digest.h"
#include "oracle.h"

static void pivot_fields_are_those_of_the_factor(void **state)
{
    (void)state;
    layer l = layer_make((layer_spec){ .rows = 4, .cols = 37, .order = "norm-descending", .seed = 61 });
    oracle o = oracle_of(&l);
    layer_round(&l, "optq");
    double s = 0.0, logs = 0.0, most = 0.0, least = INFINITY, trace = 0.0, n = 37.0;
    for (size_t t = 0; t < o.n; t++) {
        double r2 = o.c[t * o.n + t] * o.c[t * o.n + t];
        s += r2;
        logs += log(r2) / n;
        most = fmax(most, r2);
        least = fmin(least, r2);
        trace += o.h[t * o.n + t];
    }
    const qd_certificate *c = &l.certificate;
    check_close(c->s, s, 1e-11);
    check_close(c->r2_max, most, 1e-11);
    check_close(c->r2_min, least, 1e-9);
    check_close(c->am_gm, s / n / exp(logs), 1e-10);
    check_close(c->trace_ratio, s / trace, 1e-11);
    check_close(c->gram_scale, 1.0 / (double)l.tokens, 1e-15);
    assert_int_equal(c->tokens, l.tokens);
    assert_int_equal(c->in, 37);
    assert_int_equal(c->out, 4);
    assert_string_equal(c->method, "optq");
    assert_string_equal(c->rounding, "nearest");
    assert_string_equal(c->order, "norm-descending");
    assert_string_equal(c->lambda_source, "user");
    assert_string_equal(c->precision, "float64");
    check_close(c->ratio, sqrt(c->energy_sq / c->bound_sq), 1e-14);
    check_close(c->error_sq, c->energy_sq - c->lambda * c->weight_error_sq, 1e-12);
    oracle_free(&o);
    layer_free(&l);
}

/* One column: rounding is optimal. Two equal pivots: square cells against discs, 4 pi / 12 in second moment. */
static void gap_to_the_ball_is_known_in_one_and_two_dimensions(void **state)
{
    (void)state;
    layer_spec spec = { .rows = 1, .cols = 1, .seed = 62 };
    layer one = layer_make(spec);
    layer_round(&one, "optq");
    check_near(one.certificate.gap_db, 0.0, 1e-12);
    layer_free(&one);
    spec.cols = 2;
    layer two = layer_make(spec);
    for (size_t i = 0; i < 4; i++)
        two.gram.sum.view.data[i] = i % 3 == 0 ? 5.0 : 0.0;
    layer_factor(&two, &spec);
    layer_round(&two, "optq");
    check_close(two.certificate.gap_db, 10.0 * log10(4.0 * acos(-1.0) / 12.0), 1e-10);
    layer_free(&two);
}

static void permutation_hash_is_sha256_of_little_endian_columns(void **state)
{
    (void)state;
    qd_error err = { 0 };
    layer l = layer_make((layer_spec){ .rows = 1, .cols = 300, .order = "norm-descending", .seed = 63 });
    layer_round(&l, "optq");
    unsigned char bytes[1200];
    for (size_t t = 0; t < 300; t++) {
        uint32_t column = l.factor->permutation[t];
        for (size_t b = 0; b < 4; b++)
            bytes[4 * t + b] = (unsigned char)(column /
                                               (b == 0   ? 1U
                                                : b == 1 ? 256U
                                                : b == 2 ? 65536U
                                                         : 16777216U) %
                                               256);
    }
    char hex[QD_DIGEST_HEX];
    check_ok(qd_sha256(bytes, sizeof bytes, hex, &err));
    assert_int_equal(strlen(l.certificate.permutation_hash), 16);
    assert_memory_equal(l.certificate.permutation_hash, hex, 16);
    layer_free(&l);
}

static void escalated_damping_is_recorded_as_a_fallback(void **state)
{
    (void)state;
    layer_spec spec = { .rows = 2, .cols = 12, .damping = 1e-6, .seed = 64 };
    layer l = layer_make(spec);
    qd_matd_row(l.gram.sum.view, 3)[4] = qd_matd_row(l.gram.sum.view, 4)[3] =
        1.001 * sqrt(qd_matd_row(l.gram.sum.view, 3)[3] * qd_matd_row(l.gram.sum.view, 4)[4]);
    layer_factor(&l, &spec);
    layer_round(&l, "optq");
    assert_true(l.certificate.escalations > 0);
    assert_string_equal(l.certificate.lambda_source, "fallback");
    check_close(l.certificate.lambda_relative, 1e-6 * pow(10.0, l.certificate.escalations), 1e-9);
    assert_int_equal(l.certificate.escalations, l.factor->escalations);
    layer_free(&l);
}

static void layer_without_any_output_has_no_relative_error(void **state)
{
    (void)state;
    layer_spec spec = { .rows = 3, .cols = 9, .seed = 65 };
    layer l = layer_make(spec);
    memset(l.gram.sum.view.data, 0, 81 * sizeof(double)); /* every column dead */
    layer_factor(&l, &spec);
    layer_round(&l, "optq");
    assert_int_equal(l.certificate.dead_columns, 9);
    assert_true(l.certificate.output_sq == 0.0 && l.certificate.error_sq == 0.0);
    assert_true(l.certificate.relative_error == 0.0 && l.certificate.sqnr_db == 0.0);
    layer_round(&l, "rtn");
    assert_true(l.certificate.output_sq == 0.0 && l.certificate.error_sq == 0.0);
    layer_free(&l);
}

/* ---- mutations: theory.md §10, 17 ---- */

typedef enum mutation {
    NONE,
    ONE_ELEMENT,
    BLOCK_OF_FEEDBACK,
    OTHER_FACTOR,
    NO_UNPERMUTE,
    STALE_PIVOT,
    WRONG_CODE
} mutation;

static void spoil_feedback(qd_feedback *feedback, mutation what)
{
    double *u = feedback->data;
    size_t blocks = feedback->columns / QD_SWEEP_BLOCK + 1, block = QD_SWEEP_BLOCK * QD_SWEEP_BLOCK, largest = 0;
    if (what == BLOCK_OF_FEEDBACK)
        memset(u + block, 0, block * sizeof *u); /* from the first block of columns to the second */
    for (size_t i = 0; i < blocks * (blocks + 1) / 2 * block; i++)
        largest = fabs(u[i]) > fabs(u[largest]) ? i : largest;
    if (what == ONE_ELEMENT)
        u[largest] = 0.0;
}

/* The factor from the first column to the last, H_lambda = L L^T: its transpose is upper too, and H^-1 = V V^T with V = L^-T. */
static void other_factor(const layer *l, qd_matd out)
{
    oracle o = oracle_of(l);
    size_t n = o.n;
    for (size_t j = 0; j < n; j++)
        for (size_t i = j; i < n; i++) {
            double sum = o.h[i * n + j];
            for (size_t k = 0; k < j; k++)
                sum -= qd_matd_row(out, k)[i] * qd_matd_row(out, k)[j];
            qd_matd_row(out, j)[i] = i == j ? sqrt(sum) : sum / qd_matd_row(out, j)[j];
        }
    oracle_free(&o);
}

static void make_feedback(const layer *l, mutation what, qd_feedback *out)
{
    qd_error err = { 0 };
    QD_AUTO(qd_matd_buf_fini) qd_matd_buf other = { 0 };
    if (what != OTHER_FACTOR) {
        check_ok(qd_feedback_init(l->factor, QD_FLOAT64, NULL, out, &err));
        return;
    }
    check_ok(qd_matd_buf_init(&other, l->cols, l->cols, &err));
    other_factor(l, other.view);
    check_ok(qd_feedback_init_upper(qd_matd_const(other.view), QD_FLOAT64, NULL, out, &err));
}

static void spoil_codes(layer *l, mutation what)
{
    for (size_t i = 0; what == NO_UNPERMUTE && i < l->rows; i++) {
        uint8_t kept[200], *row = l->codes + i * l->cols;
        memcpy(kept, row, l->cols);
        for (size_t t = 0; t < l->cols; t++) /* codes left in processing order */
            row[t] = kept[l->factor->permutation[t]];
    }
    if (what == WRONG_CODE)
        l->codes[2 * l->cols + 17] ^= 1;
}

static qd_certificate certificate_of(layer *l, mutation what)
{
    qd_error err = { 0 };
    qd_layer_input input = layer_input(l);
    qd_steps steps = { 0 };
    qd_feedback feedback = { 0 };
    qd_certificate certificate = { 0 };
    qd_neuron *neurons = calloc(l->rows, sizeof *neurons);
    check_ok(qd_steps_init(&input, QD_DEAD_ZERO, &steps, &err));
    make_feedback(l, what, &feedback);
    spoil_feedback(&feedback, what);
    if (what == STALE_PIVOT)
        steps.r2[3] *= 1.01;
    check_ok(qd_sweep_run(&input, &steps, &feedback, qd_sweep_kernel_best(), l->codes, neurons, &err));
    spoil_codes(l, what);
    double bound = qd_bound_pivots(&input, &steps);
    const qd_evidence evidence = { .method = "optq",
                                   .precision = "float64",
                                   .input = &input,
                                   .steps = &steps,
                                   .codes = l->codes,
                                   .neurons = neurons,
                                   .bound_sq = bound,
                                   .expected_sq = bound / 3.0,
                                   .tolerance = 1e-9 };
    check_ok(qd_certify(&evidence, &certificate, &err));
    qd_steps_fini(&steps);
    qd_feedback_fini(&feedback);
    free(neurons);
    return certificate;
}

static void every_mutation_trips_the_identity(void **state)
{
    (void)state;
    layer l = layer_make((layer_spec){ .rows = 6, .cols = 200, .order = "norm-descending", .seed = 66 });
    qd_certificate sound = certificate_of(&l, NONE);
    assert_true(sound.identity_residual < 1e-12);
    assert_true(sound.status == QD_CERTIFIED || sound.status == QD_CERTIFIED_OVERLOAD);
    for (mutation what = ONE_ELEMENT; what <= WRONG_CODE; what++) {
        qd_certificate broken = certificate_of(&l, what);
        print_message("mutation %d: identity residual %.3g\n", (int)what, broken.identity_residual);
        assert_true(broken.identity_residual > 1e-5);
        assert_int_equal(broken.status, QD_NUMERIC_SUSPECT);
    }
    layer_free(&l);
}

/* Evidence of an energy above its bound, as only a bug makes it. */
static void energy_over_its_bound_is_a_violation(void **state)
{
    (void)state;
    qd_error err = { 0 };
    layer l = layer_make((layer_spec){ .rows = 2, .cols = 10, .seed = 67 });
    layer_round(&l, "optq");
    qd_layer_input input = layer_input(&l);
    qd_steps steps = { 0 };
    qd_certificate certificate;
    check_ok(qd_steps_init(&input, QD_DEAD_ZERO, &steps, &err));
    static const double energies[] = { 1.001, NAN };
    for (size_t i = 0; i < 2; i++) {
        qd_neuron neurons[2] = { { .energy = energies[i], .overload = 0.5 }, { .overload = 0.5 } };
        const qd_evidence evidence = { .method = "optq",
                                       .precision = "float64",
                                       .input = &input,
                                       .steps = &steps,
                                       .codes = l.codes,
                                       .neurons = neurons,
                                       .bound_sq = 1.0,
                                       .expected_sq = 1.0,
                                       .tolerance = 1e-9 };
        check_ok(qd_certify(&evidence, &certificate, &err));
        assert_int_equal(certificate.status, QD_VIOLATED);
    }
    qd_steps_fini(&steps);
    layer_free(&l);
}

static void statuses_have_names(void **state)
{
    (void)state;
    assert_string_equal(qd_certificate_status_name(QD_CERTIFIED), "CERTIFIED");
    assert_string_equal(qd_certificate_status_name(QD_CERTIFIED_OVERLOAD), "CERTIFIED_OVERLOAD");
    assert_string_equal(qd_certificate_status_name(QD_NUMERIC_SUSPECT), "NUMERIC_SUSPECT");
    assert_string_equal(qd_certificate_status_name(QD_VIOLATED), "VIOLATED");
    assert_string_equal(qd_certificate_status_name(QD_UNCERTIFIED), "UNCERTIFIED");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pivot_fields_are_those_of_the_factor),
        cmocka_unit_test(gap_to_the_ball_is_known_in_one_and_two_dimensions),
        cmocka_unit_test(permutation_hash_is_sha256_of_little_endian_columns),
        cmocka_unit_test(escalated_damping_is_recorded_as_a_fallback),
        cmocka_unit_test(layer_without_any_output_has_no_relative_error),
        cmocka_unit_test(every_mutation_trips_the_identity),
        cmocka_unit_test(energy_over_its_bound_is_a_violation),
        cmocka_unit_test(statuses_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
