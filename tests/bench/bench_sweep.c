/* bench_sweep.c: the OPTQ sweep against the same run's sgemm, with the objective beside the time.
 *
 * Usage: bench_sweep [columns[:group_size]...] (576 2048 2048:128; rows = columns) GF/s of a sweep counts 2 O I^2 / 2
 * operations: one multiply-add for each row and pair of columns. One thread. Times are CPU time of the process (other
 * jobs on the machine disturb it least). A product and a sweep alternate, and the share is the median over pairs:
 * what slows one down for a while slows its neighbour too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "linalg/gemm.h"
#include "quant/sweep.h"

enum { REPEATS = 7, ALL_KERNELS_LIMIT = 2048 };

/* Of sgemm, for the fastest kernel in float32 from this many columns on. */
#define GOAL 0.6
enum { GOAL_COLUMNS = 2048 };

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

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *values)
{
    double sorted[REPEATS];
    memcpy(sorted, values, sizeof sorted);
    qsort(sorted, REPEATS, sizeof *sorted, ascending);
    return sorted[REPEATS / 2];
}

static double time_gemm(const bench *b)
{
    double start = seconds();
    qd_gemm_f32(QD_PLAIN, QD_PLAIN, 1.0f, qd_matf_const(b->w.view),
                qd_cmatf_block(qd_matf_const(b->x.view), 0, 0, b->columns, b->columns), 0.0f, b->product.view);
    return seconds() - start;
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

/* Medians over pairs of a product and a sweep. */
typedef struct timing {
    double gemm, sweep, share, pack; /* GF/s, GF/s, their ratio, seconds */
} timing;

static timing time_sweep(bench *b, qd_precision precision, const qd_sweep_kernel *kernel)
{
    qd_error err = { 0 };
    qd_layer_input input = {
        .w = qd_matf_const(b->w.view), .grid = &b->grid, .factor = b->factor, .tokens = b->x.view.rows
    };
    QD_AUTO(qd_steps_fini) qd_steps steps = { 0 };
    QD_AUTO(qd_feedback_fini) qd_feedback feedback = { 0 };
    QD_AUTO(qd_free_pointer) void *neurons = NULL;
    double start = seconds(), gemm[REPEATS], sweep[REPEATS], share[REPEATS], n = (double)b->columns;
    stop_on(qd_steps_init(&input, QD_DEAD_ZERO, &steps, &err), &err);
    stop_on(qd_feedback_init(b->factor, precision, NULL, &feedback, &err), &err);
    timing t = { .pack = seconds() - start };
    stop_on(qd_alloc(b->columns, sizeof(qd_neuron), &neurons, &err), &err);
    for (int i = -1; i < REPEATS; i++) { /* the first pair warms up */
        double product = time_gemm(b);
        start = seconds();
        stop_on(qd_sweep_run(&input, &steps, &feedback, kernel, b->codes, neurons, &err), &err);
        double elapsed = seconds() - start;
        if (i < 0)
            continue;
        gemm[i] = 2.0 * n * n * n / product / 1e9;
        sweep[i] = n * n * n / elapsed / 1e9;
        share[i] = sweep[i] / gemm[i];
    }
    t.gemm = median(gemm);
    t.sweep = median(sweep);
    t.share = median(share);
    return t;
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

static void report_kernel(bench *b, const qd_sweep_kernel *kernel, qd_precision precision, double rtn)
{
    double whole;
    timing t = time_sweep(b, precision, kernel);
    qd_certificate optq = certificate_of(b, NULL, precision, kernel, &whole);
    printf("  %-8s %s  sweep %6.1f GF/s = %5.1f %% of sgemm %6.1f (packing %.4f s, all with certificate %.3f s)  "
           "objective %.6g, rtn %.6g",
           kernel->name, qd_precision_name(precision), t.sweep, 100.0 * t.share, t.gemm, t.pack, whole, optq.energy_sq,
           rtn);
    if (kernel == qd_sweep_kernel_best() && precision == QD_FLOAT32 && b->columns >= GOAL_COLUMNS)
        printf("  goal %.0f %%: %s", 100.0 * GOAL, t.share >= GOAL ? "met" : "MISSED");
    printf("\n");
    fflush(stdout);
}

static void report(size_t columns, size_t group_size)
{
    bench b = set_up(columns, group_size);
    double rtn_seconds, factor = time_factor(&b);
    qd_certificate rtn = certificate_of(&b, qd_algorithm_find("rtn"), QD_FLOAT64, NULL, &rtn_seconds);
    printf("%zu x %zu, groups of %zu: factor %.3f s, rtn with certificate %.3f s; medians of %d pairs\n", columns,
           columns, b.grid.group_size, factor, rtn_seconds, REPEATS);
    for (size_t k = 0; qd_sweep_kernel_at(k) != NULL; k++) {
        const qd_sweep_kernel *kernel = qd_sweep_kernel_at(k);
        int wanted = kernel->supported() && (columns <= ALL_KERNELS_LIMIT || kernel == qd_sweep_kernel_best());
        for (int precision = QD_FLOAT64; wanted && precision <= QD_FLOAT32; precision++)
            report_kernel(&b, kernel, (qd_precision)precision, rtn.energy_sq);
    }
    tear_down(&b);
}

/* The processor's own name where the system tells it. */
static void print_machine(void)
{
    char line[256], name[256] = "unknown processor";
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "model name : %255[^\n]", name) == 1)
            break;
    if (file != NULL)
        fclose(file);
    printf("%s; BLAS core %s, sweep kernel %s, one thread\n", name, qd_blas_core_name(), qd_sweep_kernel_best()->name);
}

int main(int argc, char **argv)
{
    qd_blas_single_thread();
    print_machine();
    static const char *const usual[] = { "576", "2048", "2048:128" };
    size_t count = argc < 2 ? QD_LENGTH(usual) : (size_t)argc - 1;
    for (size_t i = 0; i < count; i++) {
        const char *text = argc < 2 ? usual[i] : argv[i + 1];
        char *end;
        unsigned long columns = strtoul(text, &end, 10), group_size = 0;
        if (*end == ':')
            group_size = strtoul(end + 1, &end, 10);
        if (*end != '\0' || columns < 1 || columns > 65536) {
            fprintf(stderr, "bench_sweep: '%s' is not COLUMNS or COLUMNS:GROUP_SIZE with columns in 1..65536\n", text);
            return 2;
        }
        report(columns, group_size);
    }
    return 0;
}
