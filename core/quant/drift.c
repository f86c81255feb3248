/* drift.c: see drift.h. */
#include "quant/drift.h"

#include <math.h>

#include "base/mem.h"
#include "linalg/gemm.h"

enum { COLUMNS = 64 };

typedef struct squares {
    qd_cmatd upper;
    const uint32_t *group;
    qd_matd out;
} squares;

static qd_code square_columns(void *ctx, size_t index, size_t worker, qd_error *err)
{
    const squares *s = ctx;
    qd_cmatd a = s->upper;
    size_t start = index * COLUMNS, count = qd_min_size(COLUMNS, a.rows - start), depth = start + count;
    QD_AUTO(qd_matd_buf_fini) qd_matd_buf inverse = { 0 };
    (void)worker;
    qd_code code = qd_matd_buf_init(&inverse, depth, count, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < count; i++)
        qd_matd_row(inverse.view, start + i)[i] = 1.0;
    qd_solve_upper_f64((qd_cmatd){ depth, depth, a.ld, a.data }, inverse.view);
    for (size_t j = 0; j < depth; j++)
        for (size_t i = j < start ? 0 : j - start + 1; i < count; i++) {
            double p = qd_cmatd_row(a, j)[j] * qd_matd_row(inverse.view, j)[i];
            qd_matd_row(s->out, s->group == NULL ? 0 : s->group[j])[start + i] += p * p;
        }
    return QD_OK;
}

qd_code qd_drift_squares(qd_cmatd upper, const uint32_t *group, qd_pool *pool, qd_matd out, qd_error *err)
{
    squares s = { upper, group, out };
    for (size_t i = 0; i < out.rows; i++)
        for (size_t t = 0; t < out.cols; t++)
            qd_matd_row(out, i)[t] = 0.0;
    return qd_pool_for(pool, (upper.rows - 1) / COLUMNS + 1, square_columns, &s, err);
}

double qd_drift_deviation(size_t features, size_t neurons)
{
    return 0.5 * log(2.0 * (double)features * (double)neurons / QD_CHANCE_ETA);
}

qd_code qd_drift_equal(qd_cmatd upper, double deviation, qd_pool *pool, double *out, qd_error *err)
{
    QD_AUTO(qd_matd_buf_fini) qd_matd_buf sums = { 0 };
    double largest = 0.0;
    qd_code code = qd_matd_buf_init(&sums, 1, upper.rows, err);
    if (code == QD_OK)
        code = qd_drift_squares(upper, NULL, pool, sums.view, err);
    if (code != QD_OK)
        return code;
    for (size_t t = 0; t < upper.rows; t++)
        largest = fmax(largest, sums.view.data[t]);
    *out = sqrt(deviation * largest);
    return QD_OK;
}

double qd_drift_room(double low, double high, qd_zero_kind zero)
{
    return zero == QD_ZERO_NONE ? fmin(high, -low) : floor((high - low) / 2.0);
}

unsigned qd_drift_bits(double kappa)
{
    return 1U + (unsigned)ceil(log2(floor(kappa) + 2.0));
}
