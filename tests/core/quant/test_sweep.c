/* test_sweep.c: every compiled sweep against the plain twin, against each other, and for any number of threads. */
#include "oracle.h"

static const double two[] = { -0.75, 1 };
/* More than kernels count one by one. */
static const double many[] = { -9,     -7, -6.5, -6,  -5,  -4, -3.5, -3, -2.75, -2, -1, -0.5,
                               -0.125, 0,  0.25, 0.5, 1.5, 2,  2.25, 4,  4.5,   6,  8 };

static const layer_spec shapes[] = {
    { .rows = 1, .cols = 1, .seed = 1 },
    { .rows = 1, .cols = 2, .bits = 8, .seed = 2 },
    { .rows = 63, .cols = 5, .group_size = 2, .seed = 3 },
    { .rows = 64, .cols = 128, .bits = 2, .order = "norm-descending", .seed = 4 },
    { .rows = 65, .cols = 127, .bits = 3, .rule = "mse", .group_size = 50, .order = "norm-descending", .seed = 5 },
    { .rows = 130, .cols = 259, .alphabet = "int-asymmetric", .zero = QD_ZERO_FLOAT, .group_size = 64, .seed = 6 },
    { .rows = 17,
      .cols = 385,
      .alphabet = "int-asymmetric",
      .bits = 8,
      .rank = 40,
      .order = "norm-descending",
      .seed = 7 },
    { .rows = 70, .cols = 131, .alphabet = "nf4", .group_size = 40, .order = "norm-descending", .seed = 8 },
    { .rows = 33, .cols = 96, .alphabet = "mxfp4", .rule = "mse", .seed = 10 },
    { .rows = 5, .cols = 140, .alphabet = "ternary", .rule = "hessian-mse", .seed = 11 },
    { .rows = 66, .cols = 70, .alphabet = "levels", .levels = two, .level_count = QD_LENGTH(two), .seed = 12 },
    { .rows = 65, .cols = 129, .alphabet = "levels", .levels = many, .level_count = QD_LENGTH(many), .seed = 13 },
};
enum { SHAPES = QD_LENGTH(shapes) };

/* What a sweep gives: codes and neurons, in one block of bytes. */
typedef struct result {
    uint8_t *codes;
    qd_neuron *neurons;
} result;

static result run(const layer *l, qd_precision precision, const qd_sweep_kernel *kernel, qd_pool *pool)
{
    qd_error err = { 0 };
    qd_layer_input input = layer_input(l);
    input.pool = pool;
    qd_steps steps = { 0 };
    qd_feedback feedback = { 0 };
    result r = { calloc(l->rows, l->cols), calloc(l->rows, sizeof(qd_neuron)) };
    check_ok(qd_steps_init(&input, QD_DEAD_ZERO, &steps, &err));
    check_ok(qd_feedback_init(l->factor, precision, pool, &feedback, &err));
    check_ok(qd_sweep_run(&input, &steps, &feedback, kernel, r.codes, r.neurons, &err));
    qd_steps_fini(&steps);
    qd_feedback_fini(&feedback);
    return r;
}

static void release(result *r)
{
    free(r->codes);
    free(r->neurons);
}

static void float64_kernels_give_the_codes_of_the_plain_twin(void **state)
{
    (void)state;
    for (size_t s = 0; s < SHAPES; s++) {
        layer l = layer_make(shapes[s]);
        oracle o = oracle_of(&l);
        uint8_t *want = calloc(l.rows, l.cols);
        double *eps = calloc(2 * l.cols, sizeof *eps);
        for (size_t row = 0; row < l.rows; row++)
            oracle_optq(&l, &o, row, l.cols, want + row * l.cols, eps, eps + l.cols);
        for (size_t k = 0; qd_sweep_kernel_at(k) != NULL; k++) {
            if (!qd_sweep_kernel_at(k)->supported())
                continue;
            result r = run(&l, QD_FLOAT64, qd_sweep_kernel_at(k), NULL);
            assert_memory_equal(r.codes, want, l.rows * l.cols);
            release(&r);
        }
        free(want);
        free(eps);
        oracle_free(&o);
        layer_free(&l);
    }
}

static double nearest_distance(const qd_grid *grid, double at)
{
    double least = INFINITY;
    for (int32_t code = 0; code <= grid->high - grid->low; code++)
        least = fmin(least, fabs(qd_grid_level(grid, (uint8_t)code) - at));
    return least;
}

/* In float32 a code near a tie may fall on the other side, and then later arguments differ. So the claim is: every
 * code is nearest to its own argument, recomputed in float64 from the codes before it, up to a thousandth of a step. */
static void float32_kernels_round_their_own_arguments_to_nearest(void **state)
{
    (void)state;
    for (size_t s = 0; s < SHAPES; s++) {
        layer l = layer_make(shapes[s]);
        const uint32_t *p = l.factor->permutation;
        double *error = calloc(l.cols, sizeof *error);
        for (size_t k = 0; qd_sweep_kernel_at(k) != NULL; k++) {
            if (!qd_sweep_kernel_at(k)->supported())
                continue;
            result r = run(&l, QD_FLOAT32, qd_sweep_kernel_at(k), NULL);
            for (size_t row = 0; row < l.rows; row++)
                for (size_t j = 0; j < l.cols; j++) {
                    double z = oracle_weight(&l, row, j), pivot = qd_matd_row(l.factor->c.view, j)[j];
                    for (size_t i = 0; i < j; i++)
                        z += error[i] * qd_matd_row(l.factor->c.view, i)[j] / pivot;
                    size_t g = p[j] / l.grid.group_size;
                    double at = z / (double)qd_matf_row(l.grid.scale.view, row)[g] +
                                (double)qd_matf_row(l.grid.zero.view, row)[g];
                    uint8_t code = r.codes[row * l.cols + p[j]];
                    check_near(fabs(qd_grid_level(&l.grid, code) - at), nearest_distance(&l.grid, at), 0.002);
                    error[j] = oracle_weight(&l, row, j) - value_at(&l, row, p[j], code);
                }
            release(&r);
        }
        free(error);
        layer_free(&l);
    }
}

static void kernels_with_fused_arithmetic_give_the_same_bytes(void **state)
{
    (void)state;
    const qd_sweep_kernel *fused[4];
    size_t count = 0;
    for (size_t k = 0; qd_sweep_kernel_at(k) != NULL; k++)
        if (strcmp(qd_sweep_kernel_at(k)->name, "portable") != 0 && qd_sweep_kernel_at(k)->supported())
            fused[count++] = qd_sweep_kernel_at(k);
    if (count < 2) {
        print_message("fewer than two fused kernels on this processor\n");
        skip();
    }
    for (size_t s = 0; s < SHAPES; s++) {
        layer l = layer_make(shapes[s]);
        for (int precision = QD_FLOAT64; precision <= QD_FLOAT32; precision++) {
            result a = run(&l, (qd_precision)precision, fused[0], NULL);
            result b = run(&l, (qd_precision)precision, fused[1], NULL);
            assert_memory_equal(a.codes, b.codes, l.rows * l.cols);
            assert_memory_equal(a.neurons, b.neurons, l.rows * sizeof *a.neurons);
            release(&a);
            release(&b);
        }
        layer_free(&l);
    }
}

static void portable_kernel_agrees_with_the_fastest_in_every_sum(void **state)
{
    (void)state;
    const qd_sweep_kernel *portable = NULL;
    for (size_t k = 0; qd_sweep_kernel_at(k) != NULL; k++)
        portable = qd_sweep_kernel_at(k); /* the last */
    assert_string_equal(portable->name, "portable");
    for (size_t s = 0; s < SHAPES; s++) {
        layer l = layer_make(shapes[s]);
        result a = run(&l, QD_FLOAT64, qd_sweep_kernel_best(), NULL), b = run(&l, QD_FLOAT64, portable, NULL);
        assert_memory_equal(a.codes, b.codes, l.rows * l.cols);
        for (size_t i = 0; i < l.rows; i++) {
            check_close(a.neurons[i].energy, b.neurons[i].energy, 1e-11);
            check_close(a.neurons[i].overload, b.neurons[i].overload, 1e-11);
            check_close(a.neurons[i].weight_error, b.neurons[i].weight_error, 1e-11);
            assert_int_equal(a.neurons[i].clips, b.neurons[i].clips);
        }
        release(&a);
        release(&b);
        layer_free(&l);
    }
}

static void threads_do_not_change_a_byte(void **state)
{
    (void)state;
    qd_error err = { 0 };
    for (size_t threads = 2; threads <= 3; threads++) {
        qd_pool *pool = NULL;
        check_ok(qd_pool_create(threads, &pool, &err));
        for (size_t s = 0; s < SHAPES; s++) {
            layer l = layer_make(shapes[s]);
            for (int precision = QD_FLOAT64; precision <= QD_FLOAT32; precision++) {
                result a = run(&l, (qd_precision)precision, qd_sweep_kernel_best(), NULL);
                result b = run(&l, (qd_precision)precision, qd_sweep_kernel_best(), pool);
                assert_memory_equal(a.codes, b.codes, l.rows * l.cols);
                assert_memory_equal(a.neurons, b.neurons, l.rows * sizeof *a.neurons);
                release(&a);
                release(&b);
            }
            layer_free(&l);
        }
        qd_pool_destroy(pool);
    }
}

static void certificate_is_the_same_for_any_number_of_threads(void **state)
{
    (void)state;
    qd_error err = { 0 };
    static const char *const algorithms[] = { "rtn", "optq" };
    qd_pool *pool = NULL;
    check_ok(qd_pool_create(2, &pool, &err));
    for (size_t a = 0; a < 2; a++) {
        layer l = layer_make((layer_spec){ .rows = 300, .cols = 140, .group_size = 32, .seed = 9 });
        layer_round(&l, algorithms[a]);
        qd_layer_input input = layer_input(&l);
        input.pool = pool;
        uint8_t *codes = calloc(l.rows, l.cols);
        qd_certificate other, *c = &l.certificate;
        check_ok(qd_layer_round(qd_algorithm_find(algorithms[a]), &input, codes, &other, &err));
        assert_memory_equal(codes, l.codes, l.rows * l.cols);
        const double got[] = {
            other.energy_sq, other.error_sq,        other.output_sq,         other.bound_sq,
            other.s,         other.weight_error_sq, other.identity_residual, other.overload_bound_sq
        };
        const double want[] = { c->energy_sq, c->error_sq,        c->output_sq,         c->bound_sq,
                                c->s,         c->weight_error_sq, c->identity_residual, c->overload_bound_sq };
        assert_memory_equal(got, want, sizeof got);
        free(codes);
        layer_free(&l);
    }
    qd_pool_destroy(pool);
}

static void best_kernel_is_the_first_this_processor_has(void **state)
{
    (void)state;
    size_t k = 0;
    while (!qd_sweep_kernel_at(k)->supported())
        k++;
    assert_ptr_equal(qd_sweep_kernel_best(), qd_sweep_kernel_at(k));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(float64_kernels_give_the_codes_of_the_plain_twin),
        cmocka_unit_test(float32_kernels_round_their_own_arguments_to_nearest),
        cmocka_unit_test(kernels_with_fused_arithmetic_give_the_same_bytes),
        cmocka_unit_test(portable_kernel_agrees_with_the_fastest_in_every_sum),
        cmocka_unit_test(threads_do_not_change_a_byte),
        cmocka_unit_test(certificate_is_the_same_for_any_number_of_threads),
        cmocka_unit_test(best_kernel_is_the_first_this_processor_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
