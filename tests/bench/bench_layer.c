/* bench_layer.c: times one layer from finished second moments to codes; bench_peers.py drives it beside the peers.
 *
 * Usage: bench_layer FOLDER ROWS COLS ALGORITHM GROUP_SIZE ORDER ALPHABET     (GROUP_SIZE 0 = the whole row; four bits; "narrow" is int
 * without its lowest code)
 * FOLDER holds w.f32 (ROWS x COLS), h.f64 (COLS x COLS) and, for gpfq and qronos, k.f64 and m.f64: H, K, M of quant/mismatch.h.
 * Every line on standard input is one run, `bare` (scales, factor, target, sweep) or `certified` (the same through qd_layer_round, with
 * its certificate), answered by a line of JSON: wall and CPU seconds, of the parts too. At the end of input it writes codes.u8, scale.f32
 * and zero.f32 of the last run to FOLDER, for the driver to compute the objective from. One thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "linalg/gemm.h"
#include "quant/sweep.h"
#include "quant/target.h"

typedef struct layer {
    const char *folder;
    size_t rows, cols;
    const qd_algorithm *algorithm;
    const qd_order *order;
    qd_grid_spec spec;
    qd_matf_buf w;
    qd_matd_buf h;
    qd_mismatch mismatch;
    qd_grid grid;
    uint8_t *codes;
} layer;

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void stop_on(qd_code code, const qd_error *err)
{
    if (code == QD_OK)
        return;
    fprintf(stderr, "bench_layer: %s\n", err->text);
    exit(1);
}

typedef enum direction { READ, WRITE } direction;

static void transfer(const layer *l, const char *name, direction way, void *data, size_t bytes)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", l->folder, name);
    FILE *file = fopen(path, way == READ ? "rb" : "wb");
    size_t done = file == NULL ? 0 : way == READ ? fread(data, 1, bytes, file) : fwrite(data, 1, bytes, file);
    if (file == NULL || done != bytes || fclose(file) != 0) {
        fprintf(stderr, "bench_layer: '%s': %zu of %zu bytes\n", path, done, bytes);
        exit(1);
    }
}

static void load(layer *l)
{
    qd_error err = { 0 };
    size_t square = l->cols * l->cols * sizeof(double);
    stop_on(qd_matf_buf_init(&l->w, l->rows, l->cols, &err), &err);
    stop_on(qd_matd_buf_init(&l->h, l->cols, l->cols, &err), &err);
    stop_on(qd_alloc(l->rows, l->cols, (void **)&l->codes, &err), &err);
    transfer(l, "w.f32", READ, l->w.view.data, l->rows * l->cols * sizeof(float));
    transfer(l, "h.f64", READ, l->h.view.data, square);
    if (l->algorithm->needs != QD_NEEDS_MISMATCH)
        return;
    stop_on(qd_matd_buf_init(&l->mismatch.cross, l->cols, l->cols, &err), &err);
    stop_on(qd_matd_buf_init(&l->mismatch.own, l->cols, l->cols, &err), &err);
    stop_on(qd_matd_buf_init(&l->mismatch.hessian, l->cols, l->cols, &err), &err);
    memcpy(l->mismatch.hessian.view.data, l->h.view.data, square);
    transfer(l, "k.f64", READ, l->mismatch.cross.view.data, square);
    transfer(l, "m.f64", READ, l->mismatch.own.view.data, square);
}

/* GPFQ takes only the order from it. */
static qd_factor *factor_of(const layer *l)
{
    qd_error err = { 0 };
    qd_factor *factor = NULL;
    const char *rule = l->algorithm->needs == QD_NEEDS_MISMATCH ? "spectral" : "mean_diagonal";
    double value = l->algorithm->needs == QD_NEEDS_MISMATCH ? 1e-6 : 0.01;
    stop_on(qd_factor_create(qd_matd_const(l->h.view), l->order, qd_regularizer_find(rule), value, NULL, &factor, &err),
            &err);
    return factor;
}

/* The sweep on the path without rounding: algorithm_gpfq.c. */
static void follow(const layer *l, const qd_layer_input *input, qd_steps *steps, void *neurons)
{
    qd_error err = { 0 };
    size_t n = l->cols;
    QD_AUTO(qd_matd_buf_fini) qd_matd_buf upper = { 0 };
    QD_AUTO(qd_weight_target_fini) qd_weight_target target = { 0 };
    QD_AUTO(qd_feedback_fini) qd_feedback feedback = { 0 };
    stop_on(qd_matd_buf_init(&upper, n, n, &err), &err);
    for (size_t k = 0; k < n; k++)
        memcpy(qd_matd_row(upper.view, k) + k, qd_matd_row(input->factor->hessian.view, k) + k,
               (n - k) * sizeof(double));
    qd_cmatd triangle = qd_matd_const(upper.view);
    stop_on(qd_weight_target_init(input, steps, QD_SOLVE_PATH, &triangle, &target, &err), &err);
    stop_on(qd_feedback_init_upper(triangle, qd_sweep_precision(input), NULL, &feedback, &err), &err);
    steps->target = target.rows;
    stop_on(qd_sweep_run(input, steps, &feedback, qd_sweep_kernel_best(), l->codes, neurons, &err), &err);
}

/* The registered algorithm up to its codes, without what it measures for the certificate. */
static void round_bare(const layer *l, const qd_layer_input *input)
{
    qd_error err = { 0 };
    qd_precision precision = qd_sweep_precision(input);
    QD_AUTO(qd_steps_fini) qd_steps steps = { 0 };
    QD_AUTO(qd_weight_target_fini) qd_weight_target target = { 0 };
    QD_AUTO(qd_feedback_fini) qd_feedback feedback = { 0 };
    QD_AUTO(qd_free_pointer) void *neurons = NULL;
    stop_on(qd_steps_init(input, QD_DEAD_ZERO, &steps, &err), &err);
    steps.narrow = precision == QD_FLOAT32;
    stop_on(qd_alloc(l->rows, sizeof(qd_neuron), &neurons, &err), &err);
    if (strcmp(l->algorithm->name, "gpfq") == 0) {
        follow(l, input, &steps, neurons);
        return;
    }
    if (l->algorithm->needs == QD_NEEDS_MISMATCH) {
        stop_on(qd_weight_target_init(input, &steps, QD_SOLVE_LEAST_SQUARES, NULL, &target, &err), &err);
        steps.target = target.rows;
    }
    stop_on(qd_feedback_init(input->factor, precision, NULL, &feedback, &err), &err);
    stop_on(qd_sweep_run(input, &steps, &feedback, qd_sweep_kernel_best(), l->codes, neurons, &err), &err);
}

/* Of this program, not of the one that started it, as getrusage() has it; 0 where the system does not tell. */
static long peak_kib(void)
{
    char line[128];
    long peak = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmHWM: %ld", &peak) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return peak;
}

typedef enum extent { BARE, CERTIFIED } extent;

static void run(layer *l, extent wanted)
{
    qd_error err = { 0 };
    qd_certificate certificate = { .precision = "", .status = QD_UNCERTIFIED };
    double wall = seconds(CLOCK_MONOTONIC), start = seconds(CLOCK_PROCESS_CPUTIME_ID);
    qd_grid_fini(&l->grid);
    stop_on(qd_grid_build(&l->spec, qd_matf_const(l->w.view), NULL, NULL, &l->grid, &err), &err);
    double scaled = seconds(CLOCK_PROCESS_CPUTIME_ID);
    qd_factor *factor = factor_of(l);
    double factored = seconds(CLOCK_PROCESS_CPUTIME_ID);
    qd_layer_input input = { .w = qd_matf_const(l->w.view),
                             .grid = &l->grid,
                             .factor = factor,
                             .mismatch = &l->mismatch,
                             .use = { .shrink = QD_SHRINK_FIXED, .share = 1.0 },
                             .tokens = 1 };
    if (wanted == BARE)
        round_bare(l, &input);
    else
        stop_on(qd_layer_round(l->algorithm, &input, l->codes, &certificate, &err), &err);
    double end = seconds(CLOCK_PROCESS_CPUTIME_ID);
    qd_factor_destroy(factor);
    printf(
        "{\"wall\": %.6f, \"cpu\": %.6f, \"scales\": %.6f, \"factor\": %.6f, \"round\": %.6f, \"precision\": \"%s\", "
        "\"status\": \"%s\", \"energy\": %.17g, \"peak_kib\": %ld}\n",
        seconds(CLOCK_MONOTONIC) - wall, end - start, scaled - start, factored - scaled, end - factored,
        certificate.precision, qd_certificate_status_name(certificate.status), certificate.energy_sq, peak_kib());
    fflush(stdout);
}

static void set_up(layer *l, char **argv)
{
    int narrow = strcmp(argv[7], "narrow") == 0;
    *l = (layer){ .folder = argv[1],
                  .rows = strtoul(argv[2], NULL, 10),
                  .cols = strtoul(argv[3], NULL, 10),
                  .algorithm = qd_algorithm_find(argv[4]),
                  .order = qd_order_find(argv[6]),
                  .spec = { .alphabet = qd_alphabet_find(narrow ? "int" : argv[7]),
                            .narrow = narrow,
                            .bits = 4,
                            .group_size = strtoul(argv[5], NULL, 10),
                            .shrink = 1.0,
                            .rule = qd_scale_rule_find("minmax"),
                            .scale_type = qd_scale_type_find("f32") } };
    if (l->rows == 0 || l->cols == 0 || l->algorithm == NULL || l->order == NULL || l->spec.alphabet == NULL) {
        fprintf(stderr, "bench_layer: no rows, no columns, or a name that is not in the registries\n");
        exit(2);
    }
    l->spec.zero = l->spec.alphabet->zero;
    load(l);
}

static void tear_down(layer *l)
{
    size_t scales = l->grid.scale.view.rows * l->grid.scale.view.cols * sizeof(float);
    if (scales > 0) {
        transfer(l, "codes.u8", WRITE, l->codes, l->rows * l->cols);
        transfer(l, "scale.f32", WRITE, l->grid.scale.view.data, scales);
        transfer(l, "zero.f32", WRITE, l->grid.zero.view.data, scales);
    }
    qd_grid_fini(&l->grid);
    qd_matf_buf_fini(&l->w);
    qd_matd_buf_fini(&l->h);
    qd_mismatch_fini(&l->mismatch);
    free(l->codes);
}

int main(int argc, char **argv)
{
    char line[64];
    layer l;
    if (argc != 8) {
        fprintf(stderr, "usage: bench_layer FOLDER ROWS COLS ALGORITHM GROUP_SIZE ORDER ALPHABET\n");
        return 2;
    }
    qd_blas_single_thread();
    set_up(&l, argv);
    while (fgets(line, sizeof line, stdin) != NULL)
        run(&l, strcmp(line, "certified\n") == 0 ? CERTIFIED : BARE);
    tear_down(&l);
    return 0;
}
