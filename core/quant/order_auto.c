/* order_auto.c: of natural, norm-descending and min-pivot the order with the least S, the sum of squared pivots.
 * Source: theory.md §4, §8.3: S is all that an order changes in the bound and the expected error; none of the three is the best for every H.
 * Steps of the grid are not weighed in: the order is shared by layers of different grids. With a guard: of those that leave room for every
 * argument the one with the least step^2 S, step being the least with a guarantee that all columns can share. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "quant/factor_rows.h"

/* How much less S a later candidate must have. More than rounding; and min-pivot more than a tie, as among damping values (holdout.h): on
 * trained models its S is 0.2 to 0.8 % below that of norm-descending, which the rounding does not follow (tests/bench/QUALITY.md). */
static const struct {
    const qd_order *order;
    double margin;
} candidates[] = { { &qd_order_natural, 0.0 }, { &qd_order_norm_descending, 1e-12 }, { &qd_order_min_pivot, 0.01 } };

/* step^2 S; without room the largest kappa instead, and `room` says so. */
typedef struct cost {
    enum { ROOM, NO_ROOM, NO_FACTOR } room;
    double value;
} cost;

static bool is_less(cost a, cost b, double margin)
{
    return a.room != b.room ? a.room < b.room : a.value < b.value * (1.0 - margin);
}

/* theory.md T10: the least step that holds max |w_t| + kappa_t step <= K step. */
static qd_code weigh(const qd_guard *guard, const uint32_t *permutation, qd_cmatd gathered, qd_cmatd c, cost *out,
                     qd_error *err)
{
    QD_AUTO(qd_free_pointer) double *sums = NULL;
    double kappa = 0.0, step = 0.0;
    qd_code code = qd_alloc(c.rows, sizeof *sums, (void **)&sums, err);
    if (code == QD_OK)
        code = qd_guard_measure(guard, gathered, c, sums, &kappa, err);
    if (code != QD_OK)
        return code;
    if (!(kappa < guard->room)) {
        *out = (cost){ NO_ROOM, kappa };
        return QD_OK;
    }
    for (size_t t = 0; t < c.rows; t++)
        step = fmax(step, guard->reach[permutation[t]] / (guard->room - sqrt(guard->deviation * sums[t])));
    out->value *= step * step;
    return QD_OK;
}

/* QD_ENUMERIC when there is no such factor. */
static qd_code sum_of_pivots(qd_cmatd hessian, double lambda, const uint32_t *permutation, qd_matd gathered, qd_matd c,
                             double *out_s, qd_error *err)
{
    qd_code code = qd_factor_gather(hessian, permutation, NULL, gathered, err);
    if (code == QD_OK)
        code = qd_pivots(qd_matd_const(gathered), lambda, NULL, c, err);
    *out_s = 0.0;
    for (size_t t = 0; code == QD_OK && t < c.rows; t++)
        *out_s += qd_matd_row(c, t)[t] * qd_matd_row(c, t)[t];
    return code;
}

static qd_code permute_guarded(qd_cmatd hessian, double lambda, const qd_guard *guard, uint32_t *out_permutation,
                               const qd_order **out_chosen, qd_error *err)
{
    QD_AUTO(qd_matd_buf_fini) qd_matd_buf gathered = { 0 }, c = { 0 };
    QD_AUTO(qd_free_pointer) uint32_t *tried = NULL;
    size_t n = hessian.rows;
    qd_code code = qd_matd_buf_init(&gathered, n, n, err);
    if (code == QD_OK)
        code = qd_matd_buf_init(&c, n, n, err);
    if (code == QD_OK)
        code = qd_alloc(n, sizeof *tried, (void **)&tried, err);
    cost best = { NO_FACTOR, INFINITY };
    for (size_t i = 0; (code == QD_OK || code == QD_ENUMERIC) && i < QD_LENGTH(candidates); i++) {
        const qd_order *order = NULL;
        cost one = { ROOM, 0.0 };
        code = candidates[i].order->permute(hessian, lambda, tried, &order, err);
        if (code == QD_OK)
            code = sum_of_pivots(hessian, lambda, tried, gathered.view, c.view, &one.value, err);
        if (code == QD_OK && guard != NULL)
            code = weigh(guard, tried, qd_matd_const(gathered.view), qd_matd_const(c.view), &one, err);
        if (code != QD_OK || !is_less(one, best, candidates[i].margin))
            continue;
        best = one;
        *out_chosen = order;
        memcpy(out_permutation, tried, n * sizeof *tried);
    }
    return code == QD_ENUMERIC && best.room != NO_FACTOR ? QD_OK : code;
}

static qd_code permute(qd_cmatd hessian, double lambda, uint32_t *out_permutation, const qd_order **out_chosen,
                       qd_error *err)
{
    return permute_guarded(hessian, lambda, NULL, out_permutation, out_chosen, err);
}

static const qd_param params[] = { { .name = NULL } };

const qd_order qd_order_auto = {
    .name = "auto",
    .summary = "of natural, norm-descending and min-pivot the one with the least sum of squared pivots; min-pivot by "
               "at least 1 %",
    .params = params,
    .matrices = 3, /* H in an order, its C; min-pivot's */
    .permute = permute,
    .permute_guarded = permute_guarded,
};
