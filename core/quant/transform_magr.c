/* transform_magr.c: MagR as a row.
 * Source: algorithms.md §7, its table: 0.01 and 200 steps are what the reference configurations use. RTN and OPTQ round V; GPFQ and Qronos,
 * which correct towards the float model's output, round w. */
#include "quant/transform_rows.h"

enum { ALPHA, ITERATIONS, NORMALIZATION, TARGET };

static const char *const normalizations[] = { "brevitas", "published", NULL };
static const char *const targets[] = { "reference", "weights", NULL };

static const qd_param params[] = {
    [ALPHA] = { .name = "alpha",
                .type = QD_PARAM_REAL,
                .min = 0.0,
                .max = 1000.0,
                .def = 0.01,
                .help = "weight of the largest magnitude beside the change of the output; 0 changes nothing" },
    [ITERATIONS] = { .name = "iterations",
                     .type = QD_PARAM_INTEGER,
                     .min = 1.0,
                     .max = 100000.0,
                     .def = 200.0,
                     .unit = "steps",
                     .help = "proximal gradient steps" },
    [NORMALIZATION] = { .name = "normalization",
                        .type = QD_PARAM_CHOICE,
                        .def = 0,
                        .choices = normalizations,
                        .help =
                            "brevitas: alpha times largest eigenvalue over column norm of H, a row; published: alpha, "
                            "a group" },
    [TARGET] = { .name = "target",
                 .type = QD_PARAM_CHOICE,
                 .def = 0,
                 .choices = targets,
                 .help = "reference: rtn and optq round the new weights; weights: they only choose the scales" },
    { .name = NULL },
};

static qd_code shape(const double *values, size_t group_size, qd_cmatf w, qd_cmatd hessian, qd_pool *pool, qd_matf out,
                     qd_magr_report *out_report, qd_error *err)
{
    const qd_magr magr = { .alpha = values[ALPHA],
                           .iterations = (size_t)values[ITERATIONS],
                           .normalization = values[NORMALIZATION] == 0 ? QD_MAGR_BREVITAS : QD_MAGR_PUBLISHED,
                           .group_size = group_size };
    return qd_magr_run(&magr, w, hessian, pool, out, out_report, err);
}

static bool keeps_target(const double *values)
{
    return values[TARGET] != 0;
}

const qd_transform qd_transform_magr = {
    .name = "magr",
    .summary = "MagR: lowers the largest weights of each row where the float model's outputs hardly change",
    .params = params,
    .shape = shape,
    .keeps_target = keeps_target,
};
