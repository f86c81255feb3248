/* test_wide.c: what changes in wide layers: Qronos and GPFQ in float32, and quadratic forms by halves. */
#include "pair.h"
#include "quant/quadratic.h"
#include "quant/sweep.h"

/* Odd, past QD_FLOAT32_COLUMNS, and large enough that descriptive forms are in float32 too. */
enum { WIDE_ROWS = 67, WIDE_COLS = QD_FLOAT32_COLUMNS + 5, WIDE_TOKENS = 700 };

static pair wide_pair(size_t rank, double damping, uint64_t seed)
{
    return pair_make((layer_spec){ .rows = WIDE_ROWS,
                                   .cols = WIDE_COLS,
                                   .tokens = WIDE_TOKENS,
                                   .rank = rank,
                                   .bits = 4,
                                   .order = "norm-descending",
                                   .damping = damping,
                                   .seed = seed },
                     0.1);
}

/* Qronos in float64, from the parts it is made of. */
static qd_measure in_float64(pair *p, uint8_t *codes)
{
    qd_error err = { 0 };
    qd_layer_input input = layer_input(&p->layer);
    input.mismatch = &p->mismatch;
    input.use = p->use;
    qd_steps steps = { 0 };
    qd_weight_target target = { 0 };
    qd_feedback feedback = { 0 };
    qd_measure measure;
    qd_neuron neurons[WIDE_ROWS];
    check_ok(qd_steps_init(&input, QD_DEAD_ZERO, &steps, &err));
    check_ok(qd_weight_target_init(&input, &steps, QD_SOLVE_LEAST_SQUARES, NULL, &target, &err));
    steps.target = target.rows;
    check_ok(qd_feedback_init(input.factor, QD_FLOAT64, NULL, &feedback, &err));
    check_ok(qd_sweep_run(&input, &steps, &feedback, qd_sweep_kernel_best(), codes, neurons, &err));
    check_ok(qd_weight_target_measure(&input, &steps, &target, codes, &measure, &err));
    qd_feedback_fini(&feedback);
    qd_weight_target_fini(&target);
    qd_steps_fini(&steps);
    return measure;
}

static void qronos_in_float32_is_as_good_as_in_float64(void **state)
{
    (void)state;
    pair p = wide_pair(0, 0.01, 700);
    uint8_t *codes = malloc((size_t)WIDE_ROWS * WIDE_COLS);
    qd_measure want = in_float64(&p, codes);
    pair_round(&p, "qronos");
    const qd_certificate *c = &p.layer.certificate;
    assert_string_equal(c->precision, "float32");
    assert_true(c->status == QD_CERTIFIED || c->status == QD_CERTIFIED_OVERLOAD);
    check_close(c->total_sq, want.total_sq, 2e-3); /* a flipped tie moves everything after it */
    check_close(c->base_sq, want.base_sq, 1e-4);
    check_close(c->output_sq, want.output_sq, 1e-6);
    size_t same = 0;
    for (size_t i = 0; i < (size_t)WIDE_ROWS * WIDE_COLS; i++)
        same += codes[i] == p.layer.codes[i];
    assert_true((double)same > 0.97 * WIDE_ROWS * WIDE_COLS);
    free(codes);
    pair_free(&p);
}

/* The same codes and target, measured with the forms of either precision. */
static void measure_both(pair *p, qd_measure *narrow, qd_measure *wide)
{
    qd_error err = { 0 };
    qd_layer_input input = layer_input(&p->layer);
    input.mismatch = &p->mismatch;
    input.use = p->use;
    qd_steps steps = { 0 };
    qd_weight_target target = { 0 };
    check_ok(qd_steps_init(&input, QD_DEAD_ZERO, &steps, &err));
    check_ok(qd_weight_target_init(&input, &steps, QD_SOLVE_LEAST_SQUARES, NULL, &target, &err));
    steps.narrow = true;
    check_ok(qd_weight_target_measure(&input, &steps, &target, p->layer.codes, narrow, &err));
    steps.narrow = false;
    check_ok(qd_weight_target_measure(&input, &steps, &target, p->layer.codes, wide, &err));
    qd_weight_target_fini(&target);
    qd_steps_fini(&steps);
}

/* What float32 adds to an objective; and one that is small beside its terms is made in float64 whatever the sweep ran in. */
static void objectives_in_float32_are_those_in_float64(void **state)
{
    (void)state;
    for (double bits = 4; bits <= 8; bits += 4) {
        qd_measure narrow, wide;
        pair p = pair_make((layer_spec){ .rows = WIDE_ROWS,
                                         .cols = WIDE_COLS,
                                         .tokens = WIDE_TOKENS,
                                         .bits = bits,
                                         .order = "norm-descending",
                                         .damping = bits == 4 ? 0.01 : 1e-6,
                                         .seed = 705 },
                           bits == 4 ? 0.1 : 1.0);
        pair_round(&p, "qronos");
        measure_both(&p, &narrow, &wide);
        check_close(narrow.total_sq, wide.total_sq, bits == 4 ? 2e-6 : 1e-15);
        check_close(narrow.base_sq, wide.base_sq, bits == 4 ? 2e-5 : 1e-8);
        print_message("%g bits: total %.9g and %.9g, base %.9g and %.9g, mismatch %.9g\n", bits, narrow.total_sq,
                      wide.total_sq, narrow.base_sq, wide.base_sq, wide.mismatch_sq);
        assert_true(bits == 4 || wide.mismatch_sq > 5 * wide.total_sq); /* or nothing was cancelled */
        pair_free(&p);
    }
}

/* Of rank 16: nothing but lambda holds the other pivots. */
static void ill_conditioned_layers_keep_the_identity_of_the_precision_they_name(void **state)
{
    (void)state;
    static const double dampings[] = { 1e-3, 1e-9 };
    for (size_t k = 0; k < QD_LENGTH(dampings); k++) {
        pair p = wide_pair(16, dampings[k], 710 + k);
        pair_round(&p, "qronos");
        const qd_certificate *c = &p.layer.certificate;
        assert_true(c->status == QD_CERTIFIED || c->status == QD_CERTIFIED_OVERLOAD);
        assert_true(c->identity_residual <= (strcmp(c->precision, "float32") == 0 ? 1e-4 : 1e-9));
        pair_free(&p);
    }
}

static void wide_layers_have_the_same_bytes_for_any_number_of_threads(void **state)
{
    (void)state;
    qd_error err = { 0 };
    static const char *const algorithms[] = { "gpfq", "qronos" };
    pair p = wide_pair(0, 0.01, 720);
    qd_pool *pool = NULL;
    check_ok(qd_pool_create(3, &pool, &err));
    uint8_t *codes = malloc((size_t)WIDE_ROWS * WIDE_COLS);
    for (size_t a = 0; a < 2; a++) {
        qd_certificate together;
        pair_round(&p, algorithms[a]);
        qd_layer_input input = layer_input(&p.layer);
        input.mismatch = &p.mismatch;
        input.use = p.use;
        input.pool = pool;
        check_ok(qd_layer_round(qd_algorithm_find(algorithms[a]), &input, codes, &together, &err));
        assert_memory_equal(codes, p.layer.codes, (size_t)WIDE_ROWS * WIDE_COLS);
        assert_true(together.total_sq == p.layer.certificate.total_sq &&
                    together.output_sq == p.layer.certificate.output_sq &&
                    together.energy_sq == p.layer.certificate.energy_sq);
    }
    free(codes);
    qd_pool_destroy(pool);
    pair_free(&p);
}

/* Double loop over all of H against both fast ones, around the block size. */
static void forms_by_halves_are_the_forms(void **state)
{
    (void)state;
    qd_error err = { 0 };
    static const size_t sides[] = { 1, 7, 255, 256, 257, 600 };
    for (size_t s = 0; s < QD_LENGTH(sides); s++) {
        size_t n = sides[s];
        enum { ROWS = 5 };
        qd_matd_buf h, x, scratch;
        qd_matf_buf h32, x32, scratch32;
        check_ok(qd_matd_buf_init(&h, n, n, &err));
        check_ok(qd_matd_buf_init(&x, ROWS, n, &err));
        check_ok(qd_matd_buf_init(&scratch, ROWS, QD_QUADRATIC_BLOCK, &err));
        check_ok(qd_matf_buf_init(&h32, n, n, &err));
        check_ok(qd_matf_buf_init(&x32, ROWS, n, &err));
        check_ok(qd_matf_buf_init(&scratch32, ROWS, QD_QUADRATIC_BLOCK, &err));
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                double value = normal(s, (i < j ? i * n + j : j * n + i)) + (i == j ? (double)n : 0.0);
                h.view.data[i * n + j] = value;
                h32.view.data[i * n + j] = (float)value;
            }
        for (size_t i = 0; i < ROWS * n; i++)
            x32.view.data[i] = (float)(x.view.data[i] = normal(s + 50, i));
        double got[ROWS], got32[ROWS];
        qd_quadratic_direct(qd_matd_const(h.view), 0.5, qd_matd_const(x.view), scratch.view, got);
        qd_quadratic_direct_f32(qd_matf_const(h32.view), 0.5, qd_matf_const(x32.view), scratch32.view, got32);
        for (size_t r = 0; r < ROWS; r++) {
            double want = 0.0;
            const double *row = qd_matd_row(x.view, r);
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < n; j++)
                    want += row[i] * (h.view.data[i * n + j] + (i == j ? 0.5 : 0.0)) * row[j];
            check_close(got[r], want, 1e-12);
            check_close(got32[r], want, 1e-5);
        }
        qd_matd_buf_fini(&h);
        qd_matd_buf_fini(&x);
        qd_matd_buf_fini(&scratch);
        qd_matf_buf_fini(&h32);
        qd_matf_buf_fini(&x32);
        qd_matf_buf_fini(&scratch32);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qronos_in_float32_is_as_good_as_in_float64),
        cmocka_unit_test(objectives_in_float32_are_those_in_float64),
        cmocka_unit_test(ill_conditioned_layers_keep_the_identity_of_the_precision_they_name),
        cmocka_unit_test(wide_layers_have_the_same_bytes_for_any_number_of_threads),
        cmocka_unit_test(forms_by_halves_are_the_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
