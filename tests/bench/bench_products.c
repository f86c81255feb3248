/* bench_products.c: products of inputs rounded to bf16 beside CBLAS in float32: second moments (X^T X; in float32 they are tiles of ssyrk and
 * sgemm, which threads share) and linear layers (X W^T).
 *
 * Usage: bench_products [--json] [--quick] [--only=WAY] [gram:TxI | linear:TxIxO]...
 * Each size is timed by CPU time of the process with one thread, all contenders in turns, and the ratio is the median over rounds: what slows
 * one down for a while slows its neighbour too. With two threads a time is that of the busier one (CPU time: what it waited is not in it), and
 * the wall clock stands beside it, which tells something only on a machine that does nothing else. The objective is the relative difference
 * (Frobenius) to float32 products of the same rounded inputs. GF/s of X^T X count T I (I + 1), of X W^T 2 T I O. --json: a line an object. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "linalg/gemm.h"
#include "linalg/half.h"
#include "quant/gram_tiles.h"

enum { ROUNDS = 7, QUICK_ROUNDS = 3, WAYS = 8, THREADS = 2, TASK_ROWS = 256 };

static double clock_seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void stop_on(qd_code code, const qd_error *err)
{
    if (code == QD_OK)
        return;
    fprintf(stderr, "bench_products: %s\n", err->text);
    exit(1);
}

typedef enum product { GRAM, TERMS, LINEAR } product; /* TERMS: as GRAM, of inputs that are no bf16, in two terms */
typedef enum style { TEXT, JSON } style;

/* What one contender is given: x is T x I, w is O x I (LINEAR only). */
typedef struct problem {
    product product;
    size_t tokens, in, out;
    qd_matf_buf x, w;
    double operations;
    int rounds;
    const char *only;        /* the way's name; NULL: all that the processor has */
    qd_pool *pools[THREADS]; /* of 1, 2, ... threads */
} problem;

typedef struct contender {
    const char *name;
    const qd_product_kernel *kernel; /* NULL: CBLAS */
    qd_packed *packed;
    qd_matd_buf sum; /* GRAM, TERMS */
    qd_matf_buf out; /* LINEAR */
    double cpu[THREADS][ROUNDS], wall[THREADS][ROUNDS];
} contender;

/* ---- work ---- */

typedef struct linear_task {
    const problem *problem;
    contender *contender;
} linear_task;

static qd_code apply_rows(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const linear_task *task = ctx;
    const problem *p = task->problem;
    (void)worker;
    (void)err;
    size_t t = index * TASK_ROWS, rows = qd_min_size(TASK_ROWS, p->tokens - t);
    qd_cmatf x = qd_cmatf_block(qd_matf_const(p->x.view), t, 0, rows, p->in);
    qd_matf out = qd_matf_block(task->contender->out.view, t, 0, rows, p->out);
    if (task->contender->packed != NULL)
        qd_packed_apply(task->contender->packed, x, 0, out);
    else
        qd_gemm_f32(QD_PLAIN, QD_TRANSPOSED, 1, x, qd_matf_const(p->w.view), 0, out);
    return QD_OK;
}

static void add_moments(contender *c, qd_cmatf x, qd_pool *pool)
{
    qd_error err = { 0 };
    const qd_gram_inputs inputs = { .count = 1, .input = { x } };
    stop_on(qd_gram_add_panels(c->kernel, &inputs, &(qd_gram_sum){ c->sum.view, 0, 0, QD_SYMMETRIC }, 1, pool, &err),
            &err);
}

static void work(const problem *p, contender *c, qd_pool *pool)
{
    qd_error err = { 0 };
    qd_cmatf x = qd_matf_const(p->x.view);
    linear_task task = { p, c };
    if (p->product == LINEAR)
        stop_on(qd_pool_for(pool, (p->tokens - 1) / TASK_ROWS + 1, apply_rows, &task, &err), &err);
    else if (c->kernel != NULL && p->product == GRAM)
        add_moments(c, x, pool);
    else {
        qd_gram gram = { .sum = c->sum,
                         .arithmetic = c->kernel != NULL ? QD_ARITHMETIC_TWO_TERMS : QD_ARITHMETIC_FLOAT32 };
        stop_on(qd_gram_add(&gram, x, pool, &err), &err);
    }
}

static void time_once(const problem *p, contender *c, size_t threads, int round)
{
    memset(c->sum.view.data, 0, c->sum.view.rows * c->sum.view.cols * sizeof(double));
    double wall = clock_seconds(CLOCK_MONOTONIC), all = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
    double own = clock_seconds(CLOCK_THREAD_CPUTIME_ID);
    work(p, c, p->pools[threads - 1]);
    own = clock_seconds(CLOCK_THREAD_CPUTIME_ID) - own;
    all = clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - all;
    c->wall[threads - 1][round] = clock_seconds(CLOCK_MONOTONIC) - wall;
    c->cpu[threads - 1][round] = threads == 1 ? all : fmax(own, all - own);
}

/* ---- what came of it ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *values, int count)
{
    double sorted[ROUNDS];
    memcpy(sorted, values, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, ascending);
    return sorted[count / 2];
}

static double median_ratio(const double *above, const double *below, int count)
{
    double ratios[ROUNDS];
    for (int r = 0; r < count; r++)
        ratios[r] = above[r] / below[r];
    return median(ratios, count);
}

static double difference(const problem *p, const contender *a, const contender *b)
{
    double above = 0, below = 0;
    size_t count = p->product != LINEAR ? p->in * p->in : p->tokens * p->out;
    for (size_t i = 0; i < count; i++) {
        double x = p->product != LINEAR ? a->sum.view.data[i] : (double)a->out.view.data[i];
        double y = p->product != LINEAR ? b->sum.view.data[i] : (double)b->out.view.data[i];
        above += (x - y) * (x - y);
        below += y * y;
    }
    return sqrt(above / below);
}

static void report(const problem *p, const contender *c, const contender *peer, style format)
{
    char name[96];
    if (p->product != LINEAR)
        snprintf(name, sizeof name, "%s %zux%zu", p->product == GRAM ? "gram" : "terms", p->tokens, p->in);
    else
        snprintf(name, sizeof name, "linear %zux%zux%zu", p->tokens, p->in, p->out);
    for (size_t t = 0; t < THREADS; t++) {
        double rate = 1e-9 * p->operations / median(c->cpu[t], p->rounds);
        double peer_rate = 1e-9 * p->operations / median(peer->cpu[t], p->rounds);
        double ratio = median_ratio(peer->cpu[t], c->cpu[t], p->rounds), objective = difference(p, c, peer);
        double scaling = median_ratio(c->cpu[0], c->cpu[t], p->rounds);
        double wall = 1e-9 * p->operations / median(c->wall[t], p->rounds);
        if (format == JSON)
            printf("{\"name\": \"%s, %s, %zu thread%s\", \"value\": %.1f, \"unit\": \"GF/s\", \"peer\": \"%s\", "
                   "\"peer_value\": %.1f, \"ratio\": %.3f, \"objective\": %.3g, \"peer_objective\": 0, "
                   "\"scaling\": %.3f, \"wall_value\": %.1f}\n",
                   name, c->name, t + 1, t == 0 ? "" : "s", rate, peer->name, peer_rate, ratio, objective, scaling,
                   wall);
        else
            printf("%-24s %-13s %zu thr: %6.1f GF/s, %s %6.1f, ratio %5.2f; scaling %4.2f, by the wall %6.1f GF/s; "
                   "difference %.1e\n",
                   name, c->name, t + 1, rate, peer->name, peer_rate, ratio, scaling, wall, objective);
    }
    fflush(stdout);
}

/* ---- problems ---- */

static void fill_numbers(qd_matf m, uint64_t seed, product of)
{
    uint64_t key = qd_rng_key(seed, m.rows, m.cols);
    for (size_t i = 0; i < m.rows; i++)
        for (size_t j = 0; j < m.cols; j++) {
            float value = (float)(qd_rng_uniform(key, i * m.cols + j) - 0.3);
            qd_matf_row(m, i)[j] = of == TERMS ? value : qd_bf16_to_float(qd_float_to_bf16(value));
        }
}

static contender make_contender(const problem *p, const qd_product_kernel *kernel)
{
    qd_error err = { 0 };
    contender c = { .name = kernel == NULL ? p->product != LINEAR ? "ssyrk tiles" : "sgemm" : kernel->name,
                    .kernel = kernel };
    if (p->product != LINEAR)
        stop_on(qd_matd_buf_init(&c.sum, p->in, p->in, &err), &err);
    else
        stop_on(qd_matf_buf_init(&c.out, p->tokens, p->out, &err), &err);
    if (p->product == LINEAR && kernel != NULL)
        stop_on(qd_packed_create_by(kernel, qd_matf_const(p->w.view), &c.packed, &err), &err);
    return c;
}

static void run_problem(problem *p, style format)
{
    qd_error err = { 0 };
    contender contenders[WAYS];
    size_t count = 0;
    stop_on(qd_matf_buf_init(&p->x, p->tokens, p->in, &err), &err);
    fill_numbers(p->x.view, 1, p->product);
    if (p->product == LINEAR) {
        stop_on(qd_matf_buf_init(&p->w, p->out, p->in, &err), &err);
        fill_numbers(p->w.view, 2, p->product);
    }
    p->operations = p->product == LINEAR ? 2.0 * (double)p->tokens * (double)p->in * (double)p->out
                                         : (double)p->tokens * (double)p->in * (double)(p->in + 1);
    contenders[count++] = make_contender(p, NULL);
    for (size_t k = 0; qd_product_kernel_at(k) != NULL && count < WAYS; k++)
        if (qd_product_kernel_at(k)->supported() &&
            (p->product != TERMS || qd_product_kernel_at(k) == qd_product_kernel_best()) &&
            (p->only == NULL || strcmp(p->only, qd_product_kernel_at(k)->name) == 0))
            contenders[count++] = make_contender(p, qd_product_kernel_at(k));
    for (int round = 0; round < p->rounds; round++)
        for (size_t threads = 1; threads <= THREADS; threads++)
            for (size_t i = 0; i < count; i++)
                time_once(p, &contenders[i], threads, round);
    for (size_t i = 1; i < count; i++)
        report(p, &contenders[i], &contenders[0], format);
    for (size_t i = 0; i < count; i++) {
        qd_packed_destroy(contenders[i].packed);
        qd_matd_buf_fini(&contenders[i].sum);
        qd_matf_buf_fini(&contenders[i].out);
    }
    qd_matf_buf_fini(&p->x);
    qd_matf_buf_fini(&p->w);
}

/* The processor's own name where the system tells it. */
static void print_machine(style format)
{
    char line[256], name[256] = "unknown processor";
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "model name : %255[^\n]", name) == 1)
            break;
    if (file != NULL)
        fclose(file);
    if (format == JSON)
        printf("{\"machine\": \"%s\", \"blas\": \"%s\", \"kernel\": \"%s\"}\n", name, qd_blas_core_name(),
               qd_product_name());
    else
        printf("%s; BLAS core %s, bf16 products: %s\n", name, qd_blas_core_name(), qd_product_name());
}

static bool parse(const char *text, problem *out)
{
    *out = (problem){ .rounds = ROUNDS };
    char end;
    if (sscanf(text, "gram:%zux%zu%c", &out->tokens, &out->in, &end) == 2)
        out->product = GRAM;
    else if (sscanf(text, "terms:%zux%zu%c", &out->tokens, &out->in, &end) == 2)
        out->product = TERMS;
    else if (sscanf(text, "linear:%zux%zux%zu%c", &out->tokens, &out->in, &out->out, &end) == 3)
        out->product = LINEAR;
    else
        return false;
    return out->tokens > 0 && out->in > 0 && (out->product != LINEAR || out->out > 0);
}

int main(int argc, char **argv)
{
    static const char *const usual[] = { "gram:65536x576",      "gram:32768x1536",      "gram:8192x4096",
                                         "gram:2048x8192",      "terms:65536x576",      "terms:32768x1536",
                                         "linear:2048x576x576", "linear:2048x576x1536", "linear:2048x1536x576",
                                         "linear:512x2048x2048" };
    qd_error err = { 0 };
    style format = TEXT;
    const char *only = NULL;
    int rounds = ROUNDS, given = 1;
    for (; given < argc && strncmp(argv[given], "--", 2) == 0; given++) {
        format = strcmp(argv[given], "--json") == 0 ? JSON : format;
        rounds = strcmp(argv[given], "--quick") == 0 ? QUICK_ROUNDS : rounds;
        only = strncmp(argv[given], "--only=", 7) == 0 ? argv[given] + 7 : only;
    }
    qd_blas_single_thread();
    print_machine(format);
    qd_pool *pools[THREADS];
    for (size_t t = 0; t < THREADS; t++)
        stop_on(qd_pool_create(t + 1, &pools[t], &err), &err);
    size_t count = given == argc ? sizeof usual / sizeof *usual : (size_t)(argc - given);
    for (size_t i = 0; i < count; i++) {
        const char *text = given == argc ? usual[i] : argv[(size_t)given + i];
        problem p;
        if (!parse(text, &p)) {
            fprintf(stderr, "bench_products: '%s' is not gram:TxI, terms:TxI or linear:TxIxO\n", text);
            return 2;
        }
        p.rounds = rounds;
        p.only = only;
        memcpy(p.pools, pools, sizeof pools);
        run_problem(&p, format);
    }
    for (size_t t = 0; t < THREADS; t++)
        qd_pool_destroy(pools[t]);
    return 0;
}
