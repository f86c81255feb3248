/* bench_sweep.c: the OPTQ sweep against the same run's sgemm, with the objective beside the time.
 *
 * Usage: bench_sweep [columns...]   (576 1024 2048 4096; rows = columns)
 * GF/s of a sweep counts 2 O I^2 / 2 operations: one multiply-add for each row and pair of columns. One thread.
 * Times are CPU time of the process (other jobs on the machine disturb it least), the best of several repeats. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "linalg/gemm.h"
#include "quant/sweep.h"

enum { REPEATS = 3 };

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void stop_on(qd_code code, const qd_error *err)
{
    if (code == QD_OK)
        return;
    fprintf(stderr, "bench_sweep: %s\n", err->text);
    exit(1);
}

typedef struct bench {
    size_t columns;
    qd_matf_buf w, x, product;
    qd_gram gram;
    qd_grid grid;
    qd_factor *factor;
    uint8_t *codes;
} bench;

static void fill(qd_matf m, uint64_t seed, double correlation)
{
    uint64_t key = qd_rng_key(seed, m.rows, m.cols);
    for (size_t i = 0; i < m.rows; i++) {
        double last = 0.0;
        for (size_t j = 0; j < m.cols; j++) {
            last = correlation * last + qd_rng_uniform(key, i * m.cols + j) - 0.5;
            qd_matf_row(m, i)[j] = (float)last;
        }
    }
}

static bench set_up(size_t columns, size_t group_size)
{
    qd_error err = { 0 };
    bench b = { .columns = columns };
    stop_on(qd_matf_buf_init(&b.w, columns, columns, &err), &err);
    stop_on(qd_matf_buf_init(&b.x, columns + 512, columns, &err), &err);
    stop_on(qd_matf_buf_init(&b.product, columns, columns, &err), &err);
    stop_on(qd_alloc(columns, columns, (void **)&b.codes, &err), &err);
    fill(b.w.view, 1, 0.0);
    fill(b.x.view, 2, 0.9);
    stop_on(qd_gram_init(&b.gram, columns, &err), &err);
    stop_on(qd_gram_add(&b.gram, qd_matf_const(b.x.view), NULL, &err), &err);
    stop_on(qd_gram_finish(&b.gram, &err), &err);
    qd_grid_spec spec = { .alphabet = qd_alphabet_find("int"),
                          .bits = 4,
                          .group_size = group_size,
                          .shrink = 1.0,
                          .rule = qd_scale_rule_find("minmax"),
                          .scale_type = qd_scale_type_find("f32") };
    stop_on(qd_grid_build(&spec, qd_matf_const(b.w.view), NULL, NULL, &b.grid, &err), &err);
    return b;
}

static void tear_down(bench *b)
{
    qd_matf_buf_fini(&b->w);
    qd_matf_buf_fini(&b->x);
    qd_matf_buf_fini(&b->product);
    qd_gram_fini(&b->gram);
    qd_grid_fini(&b->grid);
    qd_factor_destroy(b->factor);
    free(b->codes);
}

static double time_gemm(const bench *b)
{
    double best = INFINITY;
    for (int i = 0; i < REPEATS; i++) {
        double start = seconds();
        qd_gemm_f32(QD_PLAIN, QD_PLAIN, 1.0f, qd_matf_const(b->w.view),
                    qd_cmatf_block(qd_matf_const(b->x.view), 0, 0, b->columns, b->columns), 0.0f, b->product.view);
        best = fmin(best, seconds() - start);
    }
    return best;
}

static double time_factor(bench *b)
{
    qd_error err = { 0 };
    double start = seconds();
    stop_on(qd_factor_create(qd_matd_const(b->gram.sum.view), qd_order_find("norm-descending"),
                             qd_regularizer_find("mean_diagonal"), 0.01, NULL, &b->factor, &err),
            &err);
    return seconds() - start;
}

static void time_sweep(bench *b, qd_precision precision, const qd_sweep_kernel *kernel, double *out_pack,
                       double *out_sweep)
{
    qd_error err = { 0 };
    qd_layer_input input = {
        .w = qd_matf_const(b->w.view), .grid = &b->grid, .factor = b->factor, .tokens = b->x.view.rows
    };
    QD_AUTO(qd_steps_fini) qd_steps steps = { 0 };
    QD_AUTO(qd_feedback_fini) qd_feedback feedback = { 0 };
    QD_AUTO(qd_free_pointer) void *neurons = NULL;
    stop_on(qd_steps_init(&input, QD_DEAD_ZERO, &steps, &err), &err);
    double start = seconds();
    stop_on(qd_feedback_init(b->factor, precision, NULL, &feedback, &err), &err);
    *out_pack = seconds() - start;
    stop_on(qd_alloc(b->columns, sizeof(qd_neuron), &neurons, &err), &err);
    *out_sweep = INFINITY;
    for (int i = 0; i < REPEATS; i++) {
        start = seconds();
        stop_on(qd_sweep_run(&input, &steps, &feedback, kernel, b->codes, neurons, &err), &err);
        *out_sweep = fmin(*out_sweep, seconds() - start);
    }
}

static qd_certificate certificate_of(bench *b, const qd_algorithm *algorithm, qd_precision precision,
                                     const qd_sweep_kernel *kernel, double *out_seconds)
{
    qd_error err = { 0 };
    qd_certificate certificate = { 0 };
    qd_layer_input input = {
        .w = qd_matf_const(b->w.view), .grid = &b->grid, .factor = b->factor, .tokens = b->x.view.rows
    };
    double start = seconds();
    if (kernel != NULL)
        stop_on(qd_optq_round(&input, precision, kernel, b->codes, &certificate, &err), &err);
    else
        stop_on(qd_layer_round(algorithm, &input, b->codes, &certificate, &err), &err);
    *out_seconds = seconds() - start;
    return certificate;
}

static void report(size_t columns, size_t group_size)
{
    bench b = set_up(columns, group_size);
    double n = (double)columns, gemm = 2 * n * n * n / time_gemm(&b) / 1e9, rtn_seconds;
    double factor = time_factor(&b);
    qd_certificate rtn = certificate_of(&b, qd_algorithm_find("rtn"), QD_FLOAT64, NULL, &rtn_seconds);
    printf("%zu x %zu, groups of %zu: sgemm %.1f GF/s, factor %.3f s, rtn with certificate %.3f s\n", columns, columns,
           b.grid.group_size, gemm, factor, rtn_seconds);
    for (size_t k = 0; qd_sweep_kernel_at(k) != NULL; k++) {
        const qd_sweep_kernel *kernel = qd_sweep_kernel_at(k);
        for (int precision = QD_FLOAT64; kernel->supported() && precision <= QD_FLOAT32; precision++) {
            double pack, sweep, whole;
            time_sweep(&b, (qd_precision)precision, kernel, &pack, &sweep);
            qd_certificate optq = certificate_of(&b, NULL, (qd_precision)precision, kernel, &whole);
            printf("  %-8s %s  sweep %7.4f s %6.1f GF/s = %5.1f %% of sgemm (+ packing %.4f s, all with certificate "
                   "%.3f s)  objective %.6g, rtn %.6g\n",
                   kernel->name, qd_precision_name((qd_precision)precision), sweep, n * n * n / sweep / 1e9,
                   100 * n * n * n / sweep / 1e9 / gemm, pack, whole, optq.energy_sq, rtn.energy_sq);
        }
    }
    fflush(stdout);
    tear_down(&b);
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = { 576, 1024, 2048, 4096 };
    qd_blas_single_thread();
    printf("BLAS core %s, sweep kernel %s, one thread\n", qd_blas_core_name(), qd_sweep_kernel_best()->name);
    for (size_t i = 0; argc < 2 && i < QD_LENGTH(sizes); i++)
        report(sizes[i], 0);
    for (int i = 1; i < argc; i++) {
        char *end;
        unsigned long columns = strtoul(argv[i], &end, 10);
        if (*end != '\0' || columns < 1 || columns > 65536) {
            fprintf(stderr, "bench_sweep: columns: '%s' is not in 1..65536\n", argv[i]);
            return 2;
        }
        report(columns, 0);
    }
    return 0;
}
