/* guarantee.c: see guarantee.h. */
#include "quant/guarantee.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "quant/drift.h"
#include "quant/raise.h"

enum { ROWS = 32, ROUNDS = 2000 };

/* What is added to a step that must grow: rounding of the arithmetic; with several groups as much more as saves most rounds. */
#define ROUNDING 1e-9
#define STRIDE 1e-4
/* Steps that have grown so much will not stop. */
#define RUNAWAY 0x1p40

/* ---- one value of the scale type ---- */

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The least value of the type at or above `value` > 0: rounding is monotone, and positive floats are ordered as their bits. */
static float round_up(const qd_scale_type *type, double value)
{
    uint32_t low = 0, high = 0x7F800000U; /* round(low) < value <= round(high) = infinity */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if ((double)type->round(float_of(middle)) >= value)
            high = middle;
        else
            low = middle;
    }
    return fmaxf(type->round(float_of(high)), type->smallest);
}

/* ---- the range of codes, as levels ---- */

static double lowest(const qd_grid *grid)
{
    return qd_grid_level(grid, 0);
}

static double highest(const qd_grid *grid)
{
    return qd_grid_level(grid, (uint8_t)(grid->high - grid->low));
}

/* Largest distance of neighbours, in scales: an error's interval is at most as long. */
static double widest(const qd_grid *grid)
{
    double most = 0.0;
    for (int32_t code = 0; code < grid->high - grid->low; code++)
        most = fmax(most, qd_grid_level(grid, (uint8_t)(code + 1)) - qd_grid_level(grid, (uint8_t)code));
    return most;
}

/* ---- one group of one row ---- */

/* The steps of processing order that a group owns. */
typedef struct claims {
    size_t count;
    double *target;
    double *own, *others; /* deviation * S of the group; deviation * sum over the other groups of step^2 S */
} claims;

/* Least d >= 0 from which on room d - x >= sqrt(others + own d^2) holds; infinity where there is none. Concave in d: it holds from the larger
 * root of its square on. */
static double least_step(double room, double x, double own, double others)
{
    double a = room * room - own, c = x * x - others;
    if (room < 0.0 || a < 0.0 || (a == 0.0 && own > 0.0))
        return INFINITY;
    if (x <= 0.0 && c >= 0.0)
        return 0.0;
    return a == 0.0 ? INFINITY : (room * x + sqrt(fmax(0.0, own * x * x + a * others))) / a;
}

typedef enum side { ABOVE = 1, BELOW = -1 } side;

static double need_of_side(const claims *c, double room, side which)
{
    double most = 0.0;
    for (size_t i = 0; i < c->count && most < INFINITY; i++)
        most = fmax(most, least_step(room, (double)which * c->target[i], c->own[i], c->others[i]));
    return most;
}

static double need(const claims *c, const qd_grid *grid, double zero)
{
    return fmax(need_of_side(c, highest(grid) - zero, ABOVE), need_of_side(c, zero - lowest(grid), BELOW));
}

/* More is needed above as the zero rises, and less below: the least is where they meet. */
static bool rises_past(const claims *c, const qd_grid *grid, double zero)
{
    return need_of_side(c, highest(grid) - zero, ABOVE) >= need_of_side(c, zero - lowest(grid), BELOW);
}

static float best_integer(const claims *c, const qd_grid *grid)
{
    int32_t low = grid->low, high = grid->high;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (rises_past(c, grid, middle))
            high = middle;
        else
            low = middle + 1;
    }
    bool lower = low > grid->low && need(c, grid, low - 1) <= need(c, grid, low);
    return (float)(lower ? low - 1 : low);
}

static float best_real(const claims *c, const qd_grid *grid)
{
    double low = lowest(grid), high = highest(grid);
    for (int halving = 0; halving < 40; halving++) {
        double middle = low + (high - low) / 2;
        if (rises_past(c, grid, middle))
            high = middle;
        else
            low = middle;
    }
    float below = (float)low, above = (float)high; /* it may be a jump: neither is rounded across it */
    below = (double)below > low ? nextafterf(below, -INFINITY) : below;
    above = (double)above < high ? nextafterf(above, INFINITY) : above;
    return need(c, grid, (double)below) <= need(c, grid, (double)above) ? below : above;
}

static float best_zero(const claims *c, const qd_grid *grid)
{
    switch (grid->zero_kind) {
    case QD_ZERO_NONE:
        return 0.0f;
    case QD_ZERO_INTEGER:
        return best_integer(c, grid);
    case QD_ZERO_FLOAT:
        return best_real(c, grid);
    }
    return 0.0f;
}

/* ---- one row ---- */

typedef struct raising {
    const qd_raise_job *job;
    qd_grid *grid;
    qd_matd_buf squares;     /* G x I, in scales and times the deviation */
    double *largest, *total; /* of each row: growth */
    uint8_t *last;           /* of each row: outcome */
} raising;

static void raising_fini(raising *r)
{
    qd_matd_buf_fini(&r->squares);
    free(r->largest);
    free(r->total);
    free(r->last);
}

static void gather_claims(const raising *r, const double *target, const float *scale, size_t group, claims *c)
{
    const qd_steps *steps = r->job->steps;
    c->count = 0;
    for (size_t t = 0; t < steps->count; t++) {
        if (steps->group[t] != group)
            continue;
        double others = 0.0;
        for (size_t g = 0; g < r->grid->groups; g++)
            others += g == group ? 0.0 : (double)scale[g] * (double)scale[g] * qd_matd_row(r->squares.view, g)[t];
        c->target[c->count] = target[t];
        c->own[c->count] = qd_matd_row(r->squares.view, group)[t];
        c->others[c->count++] = others;
    }
}

typedef enum outcome { HOLDS, GREW, IMPOSSIBLE, TOO_LARGE } outcome;

static outcome raise_group(const raising *r, const claims *c, float *scale, float *zero)
{
    const qd_grid *grid = r->grid;
    if (need(c, grid, (double)*zero) * (1.0 + ROUNDING) <= (double)*scale)
        return HOLDS;
    float chosen = best_zero(c, grid);
    double least = need(c, grid, (double)chosen) * (1.0 + ROUNDING);
    if (!isfinite(least))
        return IMPOSSIBLE;
    *zero = chosen;
    if (least > (double)*scale)
        *scale = round_up(r->job->type, least * (grid->groups == 1 ? 1.0 : 1.0 + STRIDE));
    return isfinite(*scale) ? GREW : TOO_LARGE;
}

/* One round over the groups, each with the steps that the others have by now. */
static outcome raise_groups(const raising *r, const double *target, claims *c, size_t row)
{
    float *scale = qd_matf_row(r->grid->scale.view, row), *zero = qd_matf_row(r->grid->zero.view, row);
    outcome all = HOLDS;
    for (size_t g = 0; g < r->grid->groups && (all == HOLDS || all == GREW); g++) {
        gather_claims(r, target, scale, g, c);
        outcome one = raise_group(r, c, &scale[g], &zero[g]);
        all = one == HOLDS ? all : one;
    }
    return all;
}

static void raise_row(const raising *r, const double *target, claims *c, float *before, size_t row)
{
    size_t groups = r->grid->groups;
    const float *scale = qd_matf_row(r->grid->scale.view, row);
    memcpy(before, scale, groups * sizeof *before);
    outcome last = GREW;
    for (int round = 0; last == GREW && round < ROUNDS; round++) {
        last = raise_groups(r, target, c, row);
        for (size_t g = 0; last == GREW && g < groups; g++)
            if ((double)scale[g] > RUNAWAY * (double)before[g])
                last = IMPOSSIBLE;
    }
    r->last[row] = (uint8_t)(last == GREW ? IMPOSSIBLE : last);
    for (size_t g = 0; g < groups; g++) {
        double growth = (double)scale[g] / (double)before[g];
        r->largest[row] = fmax(r->largest[row], growth);
        r->total[row] += growth;
    }
}

static qd_code raise_rows(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const raising *r = ctx;
    const qd_raise_job *job = r->job;
    size_t n = job->steps->count, end = qd_min_size((index + 1) * ROWS, job->input->w.rows);
    QD_AUTO(qd_matd_buf_fini) qd_matd_buf memory = { 0 };
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf before = { 0 };
    (void)worker;
    qd_code code = qd_matd_buf_init(&memory, 4, n, err);
    if (code == QD_OK)
        code = qd_matf_buf_init(&before, 1, r->grid->groups, err);
    if (code != QD_OK)
        return code;
    qd_matd target = qd_matd_block(memory.view, 0, 0, 1, n);
    claims c = { .target = qd_matd_row(memory.view, 1),
                 .own = qd_matd_row(memory.view, 2),
                 .others = qd_matd_row(memory.view, 3) };
    for (size_t row = index * ROWS; row < end; row++) {
        uint32_t at = (uint32_t)row;
        qd_steps_rows(job->input, job->steps, QD_ROWS_TARGET, NULL, &at, 1, target);
        raise_row(r, target.data, &c, before.view.data, row);
    }
    return QD_OK;
}

/* ---- a layer ---- */

static qd_code prepare(raising *r, qd_error *err)
{
    const qd_layer_input *input = r->job->input;
    size_t n = input->w.cols, rows = input->w.rows;
    qd_code code = qd_matd_buf_init(&r->squares, r->grid->groups, n, err);
    if (code == QD_OK)
        code = qd_alloc(rows, sizeof *r->largest, (void **)&r->largest, err);
    if (code == QD_OK)
        code = qd_alloc(rows, sizeof *r->total, (void **)&r->total, err);
    if (code == QD_OK)
        code = qd_alloc(rows, sizeof *r->last, (void **)&r->last, err);
    if (code == QD_OK && r->job->upper != NULL)
        code = qd_drift_squares(*r->job->upper, r->job->steps->group, input->pool, r->squares.view, err);
    double most = widest(r->grid), factor = qd_drift_deviation(n, rows) * most * most;
    for (size_t i = 0; code == QD_OK && i < r->grid->groups * n; i++)
        r->squares.view.data[i] *= factor;
    return code;
}

/* The least damping, to a third of it or so, with room for every argument at equal steps; 0 = none found. */
static qd_code find_damping(const qd_raise_job *job, double deviation, double room, double *out, qd_error *err)
{
    const qd_factor *factor = job->input->factor;
    const qd_regularizer *mean = qd_regularizer_find("mean_diagonal");
    double low = fmax(factor->lambda_relative, 1e-6), value = 10.0 * low;
    *out = 0.0;
    for (int tries = 0; tries < 12 && (*out == 0.0 || *out > 1.4 * low); tries++) {
        qd_factor *tried = NULL;
        double kappa = INFINITY;
        qd_error why = { 0 };
        qd_code code = qd_factor_create(qd_matd_const(factor->hessian.view), factor->order, mean, value,
                                        job->input->pool, &tried, &why);
        if (code == QD_OK)
            code = qd_drift_equal(qd_matd_const(tried->c.view), deviation, job->input->pool, &kappa, &why);
        qd_factor_destroy(tried);
        if (code != QD_OK)
            return code == QD_ENUMERIC || code == QD_EINVAL ? QD_OK : qd_fail(err, code, "%s", why.text);
        if (kappa < room)
            *out = value;
        else
            low = value;
        value = *out == 0.0 ? 10.0 * low : sqrt(low * *out);
    }
    return QD_OK;
}

static qd_code refuse(const qd_raise_job *job, const qd_grid *grid, qd_error *err)
{
    double deviation = qd_drift_deviation(job->input->w.cols, job->input->w.rows), kappa = 0.0, damping = 0.0;
    double step = widest(grid), room = qd_drift_room(lowest(grid) / step, highest(grid) / step, grid->zero_kind);
    char more[80] = "";
    qd_code code = job->upper == NULL ? QD_OK : qd_drift_equal(*job->upper, deviation, job->input->pool, &kappa, err);
    if (code == QD_OK && job->damped)
        code = find_damping(job, deviation, room, &damping, err);
    if (code != QD_OK)
        return code;
    if (damping > 0.0)
        snprintf(more, sizeof more, ", or a regularization of %.2g of the mean diagonal (now %.2g)", damping,
                 job->input->factor->lambda_relative);
    unsigned bits = qd_drift_bits(kappa);
    while (ldexp(1.0, (int)bits - 1) - 1.0 <= room)
        bits++; /* what is not symmetric may have too little on one side */
    return qd_fail(
        err, QD_EINVAL,
        QD_GUARANTEE_INFEASIBLE
        ": alphabet too small for the guarantee: arguments may lie %.3g steps from their targets, and the grid "
        "has %g on either side; %u bits would do%s",
        kappa, room, bits, more);
}

qd_code qd_raise_steps(const qd_raise_job *job, qd_grid *grid, qd_growth *out, qd_error *err)
{
    QD_AUTO(raising_fini) raising r = { .job = job, .grid = grid };
    size_t rows = job->input->w.rows;
    qd_code code = prepare(&r, err);
    if (code == QD_OK)
        code = qd_pool_for(job->input->pool, (rows - 1) / ROWS + 1, raise_rows, &r, err);
    qd_growth growth = { 0 };
    for (size_t i = 0; code == QD_OK && i < rows; i++) {
        if (r.last[i] == TOO_LARGE)
            return qd_fail(err, QD_ENUMERIC, "step of row %zu with a guarantee does not fit %s", i, job->type->name);
        if (r.last[i] == IMPOSSIBLE)
            return refuse(job, grid, err);
        growth.largest = fmax(growth.largest, r.largest[i]);
        growth.mean += r.total[i] / (double)(rows * grid->groups);
    }
    if (code == QD_OK)
        *out = growth;
    return code;
}
