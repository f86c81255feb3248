/* probe.c: see probe.h. */
#include "engine/probe.h"

#include <math.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/arithmetic.h"
#include "linalg/gemm.h"
#include "model/arch.h"
#include "quant/gram.h"

/* Rounds of the product: one warms up, two are timed. */
enum { ROUNDS = 3 };
/* Rows of the product, within the operations that they should take; rows of the moments. */
static const size_t least_rows = 64, most_rows = 256, least_moments = 256, most_moments = 4096;
static const double row_operations = 4e9, moment_operations = 1e10, part_of_job = 0.01;

typedef struct trial {
    const qd_linear *linear;
    qd_arithmetic arithmetic;
    size_t rows, moments; /* of the product, a task; of second moments */
    qd_pool *pool;
    qd_matf_buf w, x, y; /* y: a slice a thread */
    qd_packed *packed;   /* NULL = float32 */
} trial;

static void trial_fini(trial *t)
{
    qd_matf_buf_fini(&t->w);
    qd_matf_buf_fini(&t->x);
    qd_matf_buf_fini(&t->y);
    qd_packed_destroy(t->packed);
}

static size_t between(double wanted, size_t least, size_t most)
{
    return wanted <= (double)least ? least : wanted >= (double)most ? most : (size_t)wanted;
}

static trial plan(const qd_model *model, size_t index, qd_arithmetic arithmetic, qd_pool *pool)
{
    const qd_linear *linear = qd_model_linear_at(model, index);
    double width = (double)linear->in;
    return (trial){ .linear = linear,
                    .arithmetic = arithmetic,
                    .rows = between(row_operations / (2 * width * (double)linear->out), least_rows, most_rows),
                    .moments = between(moment_operations / (width * width), least_moments, most_moments),
                    .pool = pool };
}

/* Operations of one product and of all moments. */
static double product_operations(const trial *t)
{
    return 2 * (double)t->rows * (double)t->linear->out * (double)t->linear->in;
}

static double moments_operations(const trial *t)
{
    return (double)t->moments * (double)t->linear->in * (double)t->linear->in;
}

static qd_code prepare(trial *t, const qd_model *model, size_t index, qd_error *err)
{
    size_t rows = qd_max_size(t->rows, t->moments);
    qd_code code = qd_matf_buf_init(&t->w, t->linear->out, t->linear->in, err);
    if (code == QD_OK)
        code = qd_matf_buf_init(&t->x, rows, t->linear->in, err);
    if (code == QD_OK)
        code = qd_matf_buf_init(&t->y, qd_pool_threads(t->pool) * t->rows, t->linear->out, err);
    if (code == QD_OK)
        code = qd_linear_read(model, index, NULL, t->w.view, err);
    if (code == QD_OK && t->arithmetic == QD_ARITHMETIC_BFLOAT16)
        code = qd_packed_create(qd_matf_const(t->w.view), &t->packed, err);
    for (size_t i = 0; code == QD_OK && i < rows * t->linear->in; i++)
        t->x.view.data[i] = (float)(i * 37 % 101) / 101.0f - 0.5f;
    return code;
}

static qd_code multiply(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const trial *t = ctx;
    (void)index;
    (void)err;
    qd_cmatf x = qd_matf_const((qd_matf){ t->rows, t->x.view.cols, t->x.view.ld, t->x.view.data });
    qd_matf y = { t->rows, t->y.view.cols, t->y.view.ld, qd_matf_row(t->y.view, worker * t->rows) };
    if (t->packed != NULL)
        qd_packed_apply(t->packed, x, 0.0f, y);
    else
        qd_gemm_f32(QD_PLAIN, QD_TRANSPOSED, 1.0f, x, qd_matf_const(t->w.view), 0.0f, y);
    return QD_OK;
}

/* Adds to what two kinds of work were expected to take, and took. */
typedef struct findings {
    const qd_machine *machine;
    double expected[QD_LEGS], seconds[QD_LEGS];
} findings;

static void add(findings *f, const trial *t, qd_leg leg, qd_work work, double operations, double seconds)
{
    qd_cost cost = { 0 };
    cost.amount[work] = operations;
    f->expected[leg] += qd_forecast_cost(&cost, t->arithmetic, f->machine);
    f->seconds[leg] += seconds;
}

static qd_code time_product(trial *t, findings *f, qd_error *err)
{
    size_t threads = qd_pool_threads(t->pool);
    qd_code code = qd_pool_for(t->pool, threads, multiply, t, err);
    double started = qd_clock_seconds();
    if (code == QD_OK)
        code = qd_pool_for(t->pool, (ROUNDS - 1) * threads, multiply, t, err);
    add(f, t, QD_LEG_WALK, QD_WORK_FORWARD, (double)((ROUNDS - 1) * threads) * product_operations(t),
        qd_clock_seconds() - started);
    return code;
}

static qd_code time_moments(trial *t, findings *f, qd_error *err)
{
    QD_AUTO(qd_gram_fini) qd_gram gram = { 0 };
    qd_code code = qd_gram_init(&gram, t->linear->in, err);
    gram.arithmetic = t->arithmetic;
    double started = qd_clock_seconds();
    if (code == QD_OK)
        code = qd_gram_add(&gram, qd_matf_const((qd_matf){ t->moments, t->x.view.cols, t->x.view.ld, t->x.view.data }),
                           t->pool, err);
    add(f, t, QD_LEG_MOMENTS, QD_WORK_GRAM, moments_operations(t), qd_clock_seconds() - started);
    return code;
}

static size_t widest_of_first_block(const qd_model *model)
{
    size_t widest = 0;
    for (size_t i = 0; i < qd_model_block_size(model, 0); i++)
        if (qd_model_linear_at(model, i)->in > qd_model_linear_at(model, widest)->in)
            widest = i;
    return widest;
}

/* What both trials should take, over what the job should. */
static bool is_worth_it(const trial *trials, size_t count, const qd_machine *machine, const qd_pace *pace)
{
    double own = 0, job = 0;
    for (size_t i = 0; i < count; i++) {
        double products = (double)(ROUNDS * qd_pool_threads(trials[i].pool)) * product_operations(&trials[i]);
        const qd_cost cost = { .amount = { [QD_WORK_FORWARD] = products,
                                           [QD_WORK_GRAM] = i == 0 ? moments_operations(&trials[i]) : 0,
                                           [QD_WORK_LAYER] =
                                               (double)trials[i].linear->out * (double)trials[i].linear->in } };
        own += qd_forecast_cost(&cost, trials[i].arithmetic, machine);
    }
    for (size_t leg = 0; leg < QD_LEGS; leg++)
        for (size_t i = pace->leg[leg].done; pace->leg[leg].cost != NULL && i < pace->count; i++)
            job += pace->leg[leg].cost[i];
    return own < part_of_job * job;
}

/* Moments are taken of the narrower input: of a wide one they would take as long as a layer. */
qd_code qd_probe_layers(const qd_recipe *recipe, const qd_machine *machine, qd_pool *pool, qd_pace *pace, qd_error *err)
{
    const qd_model *model = pace->model;
    const size_t layers[] = { 0, widest_of_first_block(model) };
    qd_arithmetic arithmetic = qd_recipe_arithmetic(recipe, model);
    findings f = { .machine = machine };
    const trial trials[] = { plan(model, layers[0], arithmetic, pool), plan(model, layers[1], arithmetic, pool) };
    qd_code code = QD_OK;
    if (!is_worth_it(trials, QD_LENGTH(trials), machine, pace))
        return QD_OK;
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(layers); i++) {
        QD_AUTO(trial_fini) trial t = trials[i];
        code = prepare(&t, model, layers[i], err);
        if (code == QD_OK)
            code = time_product(&t, &f, err);
        if (code == QD_OK && i == 0)
            code = time_moments(&t, &f, err);
    }
    for (size_t leg = 0; code == QD_OK && leg < QD_LEGS; leg++)
        if (f.expected[leg] > 0)
            pace->leg[leg].prior = f.seconds[leg] / f.expected[leg];
    return code;
}
