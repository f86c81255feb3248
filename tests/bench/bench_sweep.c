/* bench_sweep.c: the OPTQ sweep against the same run's sgemm, with the objective beside the time.
 *
 * Usage: bench_sweep [--json] [--threads N] [[ROWSx]COLUMNS[:GROUP_SIZE]]... (576 2048 2048:128; rows = columns; columns in the order
 * norm-descending). GF/s of a sweep counts O I^2 operations: one multiply-add for each row and pair of columns. Times are CPU time of the
 * process, of all its threads (other jobs on the machine disturb it least). A product, cut into bands of rows over the same threads, and a sweep
 * alternate, and the share is the median over pairs: what slows one down for a while slows its neighbour too. With more than one thread the
 * least wall times are printed too, which say something where nothing else runs. --json prints lines for deploy/bench (README.md). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "linalg/gemm.h"
#include "quant/sweep.h"

enum { REPEATS = 7, FEW_REPEATS = 3, ALL_KERNELS_LIMIT = 2048, TOKENS_MOST = 3072, BAND = 256 };

/* Of sgemm, for the fastest kernel in float32 from this many columns on. */
#define GOAL 0.75
enum { GOAL_COLUMNS = 2048 };

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double seconds(void)
{
    return seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

static void stop_on(qd_code code, const qd_error *err)
{
    if (code == QD_OK)
        return;
    fprintf(stderr, "bench_sweep: %s\n", err->text);
    exit(1);
}

typedef enum output { TABLE, LINES } output;

typedef struct bench {
    size_t rows, columns;
    output output;
    qd_pool *pool;
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

static bench set_up(size_t rows, size_t columns, size_t group_size, qd_pool *pool, output wanted)
{
    qd_error err = { 0 };
    bench b = { .rows = rows, .columns = columns, .output = wanted, .pool = pool };
    stop_on(qd_matf_buf_init(&b.w, rows, columns, &err), &err);
    stop_on(qd_matf_buf_init(&b.x, qd_max_size(columns, qd_min_size(columns + 512, TOKENS_MOST)), columns, &err), &err);
    stop_on(qd_matf_buf_init(&b.product, rows, columns, &err), &err);
    stop_on(qd_alloc(rows, columns, (void **)&b.codes, &err), &err);
    fill(b.w.view, 1, 0.0);
    fill(b.x.view, 2, 0.9);
    stop_on(qd_gram_init(&b.gram, columns, &err), &err);
    stop_on(qd_gram_add(&b.gram,
                        qd_cmatf_block(qd_matf_const(b.x.view), 0, 0, qd_min_size(b.x.view.rows, TOKENS_MOST), columns),
                        pool, &err),
            &err);
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

static int repeats_of(const bench *b)
{
    return b->columns > ALL_KERNELS_LIMIT ? FEW_REPEATS : REPEATS;
}

static double median(const double *values, int count)
{
    double sorted[REPEATS];
    memcpy(sorted, values, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, ascending);
    return sorted[count / 2];
}

static qd_code multiply_band(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const bench *b = ctx;
    size_t start = index * BAND, rows = qd_min_size(BAND, b->rows - start);
    (void)worker;
    (void)err;
    qd_gemm_f32(QD_PLAIN, QD_PLAIN, 1.0f, qd_matf_const(qd_matf_block(b->w.view, start, 0, rows, b->columns)),
                qd_cmatf_block(qd_matf_const(b->x.view), 0, 0, b->columns, b->columns), 0.0f,
                qd_matf_block(b->product.view, start, 0, rows, b->columns));
    return QD_OK;
}

/* One product where there is one thread: what sgemm can do. */
static void multiply(bench *b)
{
    qd_error err = { 0 };
    if (qd_pool_threads(b->pool) > 1)
        stop_on(qd_pool_for(b->pool, (b->rows - 1) / BAND + 1, multiply_band, b, &err), &err);
    else
        qd_gemm_f32(QD_PLAIN, QD_PLAIN, 1.0f, qd_matf_const(b->w.view),
                    qd_cmatf_block(qd_matf_const(b->x.view), 0, 0, b->columns, b->columns), 0.0f, b->product.view);
}

static double time_factor(bench *b)
{
    qd_error err = { 0 };
    double start = seconds();
    stop_on(qd_factor_create(qd_matd_const(b->gram.sum.view), qd_order_find("norm-descending"),
                             qd_regularizer_find("mean_diagonal"), 0.01, b->pool, &b->factor, &err),
            &err);
    return seconds() - start;
}

/* Medians over pairs of a product and a sweep. */
typedef struct timing {
    double gemm, sweep, share, pack; /* GF/s, GF/s, their ratio, seconds */
    double gemm_wall, sweep_wall;    /* GF/s by the least wall time */
} timing;

static timing time_sweep(bench *b, qd_precision precision, const qd_sweep_kernel *kernel)
{
    qd_error err = { 0 };
    qd_layer_input input = {
        .w = qd_matf_const(b->w.view), .grid = &b->grid, .factor = b->factor, .tokens = b->x.view.rows, .pool = b->pool
    };
    QD_AUTO(qd_steps_fini) qd_steps steps = { 0 };
    QD_AUTO(qd_feedback_fini) qd_feedback feedback = { 0 };
    QD_AUTO(qd_free_pointer) void *neurons = NULL;
    double start = seconds(), gemm[REPEATS], sweep[REPEATS], share[REPEATS];
    double work = (double)b->rows * (double)b->columns * (double)b->columns / 1e9;
    stop_on(qd_steps_init(&input, QD_DEAD_ZERO, &steps, &err), &err);
    stop_on(qd_feedback_init(b->factor, precision, b->pool, &feedback, &err), &err);
    timing t = { .pack = seconds() - start };
    stop_on(qd_alloc(b->rows, sizeof(qd_neuron), &neurons, &err), &err);
    for (int i = -1; i < repeats_of(b); i++) { /* the first pair warms up */
        double cpu = seconds(), wall = seconds_of(CLOCK_MONOTONIC);
        multiply(b);
        double middle = seconds(), middle_wall = seconds_of(CLOCK_MONOTONIC);
        stop_on(qd_sweep_run(&input, &steps, &feedback, kernel, b->codes, neurons, &err), &err);
        double end = seconds(), end_wall = seconds_of(CLOCK_MONOTONIC);
        if (i < 0)
            continue;
        gemm[i] = 2.0 * work / (middle - cpu);
        sweep[i] = work / (end - middle);
        share[i] = sweep[i] / gemm[i];
        t.gemm_wall = fmax(t.gemm_wall, 2.0 * work / (middle_wall - wall));
        t.sweep_wall = fmax(t.sweep_wall, work / (end_wall - middle_wall));
    }
    t.gemm = median(gemm, repeats_of(b));
    t.sweep = median(sweep, repeats_of(b));
    t.share = median(share, repeats_of(b));
    return t;
}

static qd_certificate certificate_of(bench *b, const qd_algorithm *algorithm, qd_precision precision,
                                     const qd_sweep_kernel *kernel, double *out_seconds)
{
    qd_error err = { 0 };
    qd_certificate certificate = { 0 };
    qd_layer_input input = {
        .w = qd_matf_const(b->w.view), .grid = &b->grid, .factor = b->factor, .tokens = b->x.view.rows, .pool = b->pool
    };
    double start = seconds();
    if (kernel != NULL)
        stop_on(qd_optq_round(&input, precision, kernel, b->codes, &certificate, &err), &err);
    else
        stop_on(qd_layer_round(algorithm, &input, b->codes, &certificate, &err), &err);
    *out_seconds = seconds() - start;
    return certificate;
}

static void print_line(const bench *b, const char *what, const timing *t, double objective, double rtn)
{
    size_t threads = qd_pool_threads(b->pool);
    printf("{\"name\": \"sweep %zux%zu:%zu, %s, %zu thread%s\", \"value\": %.1f, \"unit\": \"GF/s\", \"peer\": \"sgemm "
           "of the "
           "same run\", \"peer_value\": %.1f, \"ratio\": %.3f, \"objective\": %.6g, \"rtn\": %.6g, \"wall\": %.1f, "
           "\"peer_wall\": %.1f}\n",
           b->rows, b->columns, b->grid.group_size, what, threads, threads == 1 ? "" : "s", t->sweep, t->gemm, t->share,
           objective, rtn, t->sweep_wall, t->gemm_wall);
    fflush(stdout);
}

static void report_kernel(bench *b, const qd_sweep_kernel *kernel, qd_precision precision, double rtn)
{
    double whole;
    char what[64];
    timing t = time_sweep(b, precision, kernel);
    qd_certificate optq = certificate_of(b, NULL, precision, kernel, &whole);
    snprintf(what, sizeof what, "%s %s", kernel->name, qd_precision_name(precision));
    if (b->output == LINES) {
        print_line(b, what, &t, optq.energy_sq, rtn);
        return;
    }
    printf("  %-16s  sweep %6.1f GF/s = %5.1f %% of sgemm %6.1f (packing %.4f s, all with certificate %.3f s)  "
           "objective %.6g, rtn %.6g",
           what, t.sweep, 100.0 * t.share, t.gemm, t.pack, whole, optq.energy_sq, rtn);
    if (qd_pool_threads(b->pool) > 1)
        printf("  wall: sweep %.1f, sgemm %.1f GF/s", t.sweep_wall, t.gemm_wall);
    if (kernel == qd_sweep_kernel_best() && precision == QD_FLOAT32 && b->columns >= GOAL_COLUMNS)
        printf("  goal %.0f %%: %s", 100.0 * GOAL, t.share >= GOAL ? "met" : "MISSED");
    printf("\n");
    fflush(stdout);
}

static void report(size_t rows, size_t columns, size_t group_size, qd_pool *pool, output wanted)
{
    bench b = set_up(rows, columns, group_size, pool, wanted);
    double rtn_seconds, factor = time_factor(&b);
    qd_certificate rtn = certificate_of(&b, qd_algorithm_find("rtn"), QD_FLOAT64, NULL, &rtn_seconds);
    if (wanted == TABLE)
        printf("%zu x %zu, groups of %zu: factor %.3f s, rtn with certificate %.3f s; medians of %d pairs\n", rows,
               columns, b.grid.group_size, factor, rtn_seconds, repeats_of(&b));
    for (size_t k = 0; qd_sweep_kernel_at(k) != NULL; k++) {
        const qd_sweep_kernel *kernel = qd_sweep_kernel_at(k);
        bool best = kernel == qd_sweep_kernel_best(), large = columns >= ALL_KERNELS_LIMIT;
        for (int precision = QD_FLOAT64; kernel->supported() && precision <= QD_FLOAT32; precision++)
            if (!large || (best && precision == QD_FLOAT32)) /* what a job of that size runs */
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
    printf("%s; BLAS core %s, sweep kernel %s\n", name, qd_blas_core_name(), qd_sweep_kernel_best()->name);
}

static bool read_shape(const char *text, size_t *rows, size_t *columns, size_t *group_size)
{
    char *end;
    *rows = *columns = strtoul(text, &end, 10);
    if (*end == 'x')
        *columns = strtoul(end + 1, &end, 10);
    *group_size = *end == ':' ? strtoul(end + 1, &end, 10) : 0;
    return *end == '\0' && *rows >= 1 && *columns >= 1 && *rows <= 65536 && *columns <= 65536;
}

int main(int argc, char **argv)
{
    static char *usual[] = { "576", "2048", "2048:128" };
    qd_error err = { 0 };
    qd_pool *pool = NULL;
    output wanted = TABLE;
    size_t threads = 1;
    int at = 1;
    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        if (strcmp(argv[at], "--json") == 0)
            wanted = LINES;
        else if (strcmp(argv[at], "--threads") == 0 && at + 1 < argc)
            threads = strtoul(argv[++at], NULL, 10);
        else
            threads = 0;
    }
    qd_blas_single_thread();
    if (threads == 0) {
        fprintf(stderr, "usage: bench_sweep [--json] [--threads N] [[ROWSx]COLUMNS[:GROUP_SIZE]]...\n");
        return 2;
    }
    stop_on(qd_pool_create(threads, &pool, &err), &err);
    if (wanted == TABLE)
        print_machine();
    size_t count = at < argc ? (size_t)(argc - at) : QD_LENGTH(usual);
    char **shapes = at < argc ? argv + at : usual;
    for (size_t i = 0; i < count; i++) {
        size_t rows, columns, group_size;
        if (!read_shape(shapes[i], &rows, &columns, &group_size)) {
            fprintf(stderr, "bench_sweep: '%s' is not [ROWSx]COLUMNS[:GROUP_SIZE] with 1..65536 of each\n", shapes[i]);
            return 2;
        }
        report(rows, columns, group_size, pool, wanted);
    }
    qd_pool_destroy(pool);
    return 0;
}
