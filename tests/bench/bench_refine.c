/* bench_refine.c: CPU seconds of what follows a sweep (beam search, fitted scales, coordinate descent), with the energies beside them.
 *
 * Usage: bench_refine [--json] [ROWSxCOLUMNS[:GROUP_SIZE]]... (576x576:64 2048x2048:64), four bits, integer zeros. One thread. Times are CPU time
 * of the process. --json prints lines for deploy/bench (README.md). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "linalg/gemm.h"
#include "quant/refine.h"
#include "quant/sweep.h"

typedef struct layer_shape {
    size_t rows, columns, group_size;
} layer_shape;

typedef struct bench {
    layer_shape shape;
    qd_matf_buf w;
    qd_gram gram;
    qd_grid grid;
    qd_factor *factor;
    uint8_t *swept, *codes;
} bench;

/* What is asked of qd_refine_run. */
typedef struct setting {
    const char *name;
    qd_refine refine;
} setting;

static const setting settings[] = {
    { "beam 8", { .beam = 8 } },
    { "beam 32", { .beam = 32 } },
    { "descent 4", { .rounds = 4 } },
    { "scales and descent 4", { .rounds = 4, .refit = true } },
    { "balanced", { .beam = 8, .rounds = 4, .refit = true } },
};

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
    fprintf(stderr, "bench_refine: %s\n", err->text);
    exit(1);
}

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

static bench set_up(layer_shape s)
{
    qd_error err = { 0 };
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf x = { 0 };
    bench b = { .shape = s };
    stop_on(qd_matf_buf_init(&b.w, s.rows, s.columns, &err), &err);
    stop_on(qd_matf_buf_init(&x, s.columns + 512, s.columns, &err), &err);
    stop_on(qd_alloc(s.rows, s.columns, (void **)&b.swept, &err), &err);
    stop_on(qd_alloc(s.rows, s.columns, (void **)&b.codes, &err), &err);
    fill(b.w.view, 1, 0.0);
    fill(x.view, 2, 0.9);
    stop_on(qd_gram_init(&b.gram, s.columns, &err), &err);
    stop_on(qd_gram_add(&b.gram, qd_matf_const(x.view), NULL, &err), &err);
    stop_on(qd_gram_finish(&b.gram, &err), &err);
    qd_grid_spec spec = { .alphabet = qd_alphabet_find("int"),
                          .bits = 4,
                          .zero = QD_ZERO_INTEGER,
                          .group_size = s.group_size,
                          .shrink = 1.0,
                          .rule = qd_scale_rule_find("minmax"),
                          .scale_type = qd_scale_type_find("f32") };
    stop_on(qd_grid_build(&spec, qd_matf_const(b.w.view), NULL, NULL, &b.grid, &err), &err);
    stop_on(qd_factor_create(qd_matd_const(b.gram.sum.view), qd_order_find("norm-descending"),
                             qd_regularizer_find("mean_diagonal"), 0.01, NULL, &b.factor, &err),
            &err);
    return b;
}

static void tear_down(bench *b)
{
    qd_matf_buf_fini(&b->w);
    qd_gram_fini(&b->gram);
    qd_grid_fini(&b->grid);
    qd_factor_destroy(b->factor);
    free(b->swept);
    free(b->codes);
}

static double sum(const double *values, size_t count)
{
    double total = 0.0;
    for (size_t i = 0; i < count; i++)
        total += values[i];
    return total;
}

typedef enum output { TABLE, LINES } output;

static void print(const bench *b, output wanted, const setting *s, double time, const qd_refined *refined)
{
    double swept = sum(refined->swept, b->shape.rows), energy = sum(refined->energy, b->shape.rows);
    if (wanted == LINES)
        printf("{\"name\": \"refine %zux%zu:%zu %s\", \"value\": %.6f, \"unit\": \"s\", \"objective\": %.12g}\n",
               b->shape.rows, b->shape.columns, b->grid.group_size, s->name, time, energy);
    else
        printf("  %-22s %8.3f s  energy %.6g of %.6g, %zu codes, %zu scales, %zu rounds\n", s->name, time, energy,
               swept, refined->codes_changed, refined->scales_fitted, refined->rounds);
    fflush(stdout);
}

static void report(layer_shape shape, output wanted)
{
    qd_error err = { 0 };
    bench b = set_up(shape);
    qd_layer_input input = { .w = qd_matf_const(b.w.view), .grid = &b.grid, .factor = b.factor, .tokens = 1 };
    QD_AUTO(qd_steps_fini) qd_steps steps = { 0 };
    QD_AUTO(qd_feedback_fini) qd_feedback feedback = { 0 };
    QD_AUTO(qd_free_pointer) void *neurons = NULL;
    stop_on(qd_steps_init(&input, QD_DEAD_ZERO, &steps, &err), &err);
    stop_on(qd_feedback_init(b.factor, qd_sweep_precision(&input), NULL, &feedback, &err), &err);
    stop_on(qd_alloc(shape.rows, sizeof(qd_neuron), &neurons, &err), &err);
    stop_on(qd_sweep_run(&input, &steps, &feedback, qd_sweep_kernel_best(), b.swept, neurons, &err), &err);
    if (wanted == TABLE)
        printf("%zu x %zu, groups of %zu\n", shape.rows, shape.columns, b.grid.group_size);
    for (size_t i = 0; i < QD_LENGTH(settings); i++) {
        QD_AUTO(qd_refined_fini) qd_refined refined = { 0 };
        input.refine = settings[i].refine;
        memcpy(b.codes, b.swept, shape.rows * shape.columns);
        double start = seconds();
        stop_on(qd_refine_run(&input, &steps, b.codes, &refined, &err), &err);
        print(&b, wanted, &settings[i], seconds() - start, &refined);
    }
    tear_down(&b);
}

int main(int argc, char **argv)
{
    static const char *const usual[] = { "576x576:64", "2048x2048:64" };
    output wanted = argc > 1 && strcmp(argv[1], "--json") == 0 ? LINES : TABLE;
    size_t skip = wanted == LINES ? 2 : 1, count = (size_t)argc > skip ? (size_t)argc - skip : QD_LENGTH(usual);
    qd_blas_single_thread();
    for (size_t i = 0; i < count; i++) {
        const char *text = (size_t)argc > skip ? argv[skip + i] : usual[i];
        layer_shape s = { 0, 0, 0 };
        char *end;
        s.rows = strtoul(text, &end, 10);
        s.columns = *end == 'x' ? strtoul(end + 1, &end, 10) : 0;
        s.group_size = *end == ':' ? strtoul(end + 1, &end, 10) : 0;
        if (*end != '\0' || s.rows < 1 || s.columns < 1 || s.rows > 65536 || s.columns > 65536) {
            fprintf(stderr, "bench_refine: '%s' is not ROWSxCOLUMNS or ROWSxCOLUMNS:GROUP_SIZE\n", text);
            return 2;
        }
        report(s, wanted);
    }
    return 0;
}
