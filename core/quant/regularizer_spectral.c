/* regularizer_spectral.c: lambda as a fraction of the largest eigenvalue of H.
 * Source: algorithms.md §5: from a fixed random start on H over its largest entry. Power iteration there; here Lanczos, the best Rayleigh
 * quotient over everything that its steps saw, since each step reads all of H: a tenth of them is enough. */
#include <math.h>
#include <stdbool.h>

#include "base/mem.h"
#include "base/rng.h"
#include "linalg/gemm.h"
#include "quant/factor_rows.h"

enum { MOST_STEPS = 100, START = 42 };
/* The quotient grows towards the eigenvalue; below this relative growth a step is no progress. */
#define SETTLED 1e-13
/* What is left of a vector, relative, when the space is closed under H. */
#define INVARIANT 1e-14

static const qd_param params[] = {
    { .name = "spectral",
      .type = QD_PARAM_REAL,
      .min = 0.0,
      .max = 1e12,
      .def = 1e-6,
      .unit = "fraction of the largest eigenvalue",
      .help = "damping added to the diagonal of H, relative to its largest eigenvalue" },
    { .name = NULL },
};

static qd_code largest_entry(qd_cmatd h, double *out, qd_error *err)
{
    *out = 0.0;
    for (size_t i = 0; i < h.rows; i++)
        for (size_t j = 0; j < h.cols; j++) {
            double size = fabs(qd_cmatd_row(h, i)[j]);
            if (!isfinite(size))
                return qd_fail(err, QD_ENUMERIC, "largest eigenvalue: entry (%zu, %zu) is not finite", i, j);
            *out = fmax(*out, size);
        }
    return QD_OK;
}

/* ---- Lanczos: the extreme eigenvalues of H on the space of v, H v, H^2 v, ... ---- */

typedef struct krylov {
    qd_matd_buf basis; /* MOST_STEPS + 1 x I, orthonormal rows */
    double diagonal[MOST_STEPS], beside[MOST_STEPS];
    size_t steps;
} krylov;

static double dot(const double *x, const double *y, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++)
        sum += x[i] * y[i];
    return sum;
}

/* Row k becomes a unit vector; returns what it was divided by. */
static double normalize(qd_matd basis, size_t k)
{
    double *v = qd_matd_row(basis, k), size = sqrt(dot(v, v, basis.cols));
    for (size_t i = 0; size > 0.0 && i < basis.cols; i++)
        v[i] /= size;
    return size;
}

/* Row steps + 1 = what H times row `steps` has besides all earlier rows; false when that is nothing but rounding. */
static bool extend(qd_cmatd h, double largest, krylov *k)
{
    size_t n = h.rows, step = k->steps++;
    double *v = qd_matd_row(k->basis.view, step), *next = qd_matd_row(k->basis.view, step + 1);
    qd_symv_f64(1.0 / largest, h, v, next);
    k->diagonal[step] = dot(v, next, n);
    double before = sqrt(dot(next, next, n));
    for (int pass = 0; pass < 2; pass++) /* twice is enough: Parlett */
        for (size_t i = 0; i <= step; i++) {
            const double *row = qd_matd_row(k->basis.view, i);
            double along = dot(row, next, n);
            for (size_t j = 0; j < n; j++)
                next[j] -= along * row[j];
        }
    k->beside[step] = normalize(k->basis.view, step + 1);
    return k->beside[step] > INVARIANT * before;
}

/* How many eigenvalues of the tridiagonal matrix are below x (Sturm). */
static size_t count_below(const krylov *k, double x)
{
    size_t count = 0;
    double pivot = 1.0;
    for (size_t i = 0; i < k->steps; i++) {
        double beside = i == 0 ? 0.0 : k->beside[i - 1];
        pivot = k->diagonal[i] - x - beside * beside / pivot;
        if (pivot == 0.0)
            pivot = -0x1p-1000;
        count += pivot < 0.0;
    }
    return count;
}

/* The largest magnitude of an eigenvalue of the tridiagonal matrix, by bisection: the one of +-x that leaves no eigenvalue outside. */
static double radius(const krylov *k)
{
    double inside = 0.0, outside = 0.0;
    for (size_t i = 0; i < k->steps; i++)
        outside = fmax(outside, fabs(k->diagonal[i]) + k->beside[i] + (i == 0 ? 0.0 : k->beside[i - 1]));
    for (int halving = 0; halving < 60; halving++) {
        double middle = 0.5 * (inside + outside);
        if (count_below(k, middle) == k->steps && count_below(k, -middle) == 0)
            outside = middle;
        else
            inside = middle;
    }
    return inside;
}

qd_code qd_spectral_norm(qd_cmatd h, double *out_norm, qd_error *err)
{
    krylov k = { .steps = 0 };
    double largest, norm = 0.0;
    size_t most = qd_min_size(MOST_STEPS, h.rows);
    qd_code code = largest_entry(h, &largest, err);
    if (code == QD_OK)
        code = qd_matd_buf_init(&k.basis, most + 1, h.rows, err);
    if (code != QD_OK)
        return code;
    uint64_t key = qd_rng_key(START, 0, 0);
    for (size_t i = 0; i < h.rows; i++)
        qd_matd_row(k.basis.view, 0)[i] = qd_rng_uniform(key, i) + 0x1p-53; /* never the zero vector */
    (void)normalize(k.basis.view, 0);
    bool more = largest > 0.0;
    while (more && k.steps < most) {
        double last = norm;
        more = extend(h, largest, &k);
        norm = radius(&k);
        more = more && fabs(norm - last) > SETTLED * norm;
    }
    qd_matd_buf_fini(&k.basis);
    *out_norm = norm * largest;
    return QD_OK;
}

static qd_code lambda(qd_cmatd hessian, double value, double *out_lambda, qd_error *err)
{
    double norm = 0.0;
    qd_code code = qd_damping_check(&params[0], value, err);
    if (code == QD_OK)
        code = qd_spectral_norm(hessian, &norm, err);
    if (code != QD_OK)
        return code;
    *out_lambda = value * (norm > 0.0 ? norm : 1.0); /* as for the mean diagonal: H = 0 counts as I */
    return QD_OK;
}

const qd_regularizer qd_regularizer_spectral = {
    .name = "spectral",
    .summary = "a fraction of the largest eigenvalue of H",
    .params = params,
    .lambda = lambda,
};
