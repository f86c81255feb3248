/* guard.c: room for the arguments of stochastic rounding, as order and damping are judged by it: factor.h. Source: theory.md T10, §8.3. */
#include <math.h>

#include "base/mem.h"
#include "quant/drift.h"
#include "quant/factor.h"

/* triu(H), 1 on the diagonal of dead columns: the feedback of path following (algorithm_gpfq.c). */
static void take_path(qd_cmatd hessian, qd_matd out)
{
    for (size_t k = 0; k < hessian.rows; k++) {
        for (size_t t = k; t < hessian.rows; t++)
            qd_matd_row(out, k)[t] = qd_cmatd_row(hessian, k)[t];
        if (qd_cmatd_row(hessian, k)[k] == 0.0)
            qd_matd_row(out, k)[k] = 1.0;
    }
}

qd_code qd_guard_measure(const qd_guard *guard, qd_cmatd hessian, qd_cmatd c, double *out_sums, double *out_kappa,
                         qd_error *err)
{
    QD_AUTO(qd_matd_buf_fini) qd_matd_buf path = { 0 };
    qd_code code = QD_OK;
    *out_kappa = 0.0;
    for (size_t t = 0; t < c.rows; t++)
        out_sums[t] = 0.0;
    if (guard->drift == QD_DRIFT_NONE)
        return QD_OK;
    if (guard->drift == QD_DRIFT_PATH) {
        code = qd_matd_buf_init(&path, c.rows, c.rows, err);
        if (code == QD_OK)
            take_path(hessian, path.view);
        c = qd_matd_const(path.view);
    }
    if (code == QD_OK)
        code = qd_drift_squares(c, NULL, NULL, (qd_matd){ 1, c.rows, c.rows, out_sums }, err);
    for (size_t t = 0; code == QD_OK && t < c.rows; t++)
        *out_kappa = fmax(*out_kappa, sqrt(guard->deviation * out_sums[t]));
    return code;
}
