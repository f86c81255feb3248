/* layer.c: see layer.h. */
#include "engine/layer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "quant/guarantee.h"

void qd_shared_fini(qd_shared *shared)
{
    qd_factor_destroy(shared->factor);
    qd_mismatch_fini(&shared->mismatch);
    free(shared->diagonal);
    qd_holdout_fini(&shared->holdout);
    *shared = (qd_shared){ 0 };
}

qd_code qd_shared_diagonal(qd_shared *shared, qd_error *err)
{
    const qd_factor *factor = shared->factor;
    qd_code code = qd_alloc(factor->features, sizeof *shared->diagonal, (void **)&shared->diagonal, err);
    for (size_t t = 0; code == QD_OK && t < factor->features; t++)
        shared->diagonal[factor->permutation[t]] = qd_matd_row(factor->hessian.view, t)[t];
    return code;
}

/* What one try needs and gives. */
typedef struct attempt {
    const qd_context *context;
    const char *name;
    qd_layer_input input;
    qd_checkpoint *out;
    qd_certificate certificate;
    char reason[sizeof((qd_error *)0)->text]; /* "" = not degraded */
} attempt;

static const qd_algorithm *nearest(void)
{
    return qd_algorithm_find("rtn");
}

/* The bottom of the ladder: nearest, without data. */
static qd_code degrade(attempt *a, const char *why, qd_error *err)
{
    snprintf(a->reason, sizeof a->reason, "%.*s", (int)sizeof a->reason - 1, why);
    if (a->context->recipe->on_degraded == QD_DEGRADED_FAIL)
        return qd_fail(err, QD_ENUMERIC, "%.500s (on_degraded is 'fail')", a->reason);
    if (a->context->recipe->certified)
        return qd_fail(err, QD_ENUMERIC, "%.500s (certified is true: a layer rounded to nearest has no guarantee)",
                       a->reason);
    a->input.factor = NULL;
    a->input.holdout = NULL;
    a->input.tokens = 0;
    a->input.rounding = QD_ROUND_NEAREST;
    return qd_layer_round(nearest(), &a->input, a->out->codes, &a->certificate, err);
}

static qd_code try_round(attempt *a, const qd_shared *shared, qd_error *err)
{
    if (shared->reason[0] != '\0')
        return degrade(a, shared->reason, err);
    const qd_recipe *r = a->context->recipe;
    qd_growth growth = { 0 };
    qd_code code = !r->certified
                       ? QD_OK
                       : qd_layer_guarantee(r->algorithm, &a->input, r->grid.scale_type, &a->out->grid, &growth, err);
    if (code == QD_OK)
        code = qd_layer_round(r->algorithm, &a->input, a->out->codes, &a->certificate, err);
    a->certificate.chance.growth_largest = growth.largest;
    a->certificate.chance.growth_mean = growth.mean;
    if (code != QD_ENUMERIC || a->input.factor == NULL)
        return code;
    qd_error why = *err;
    qd_emit_warning(a->context->sink, "layer '%s' is rounded to nearest: %s", a->name, why.text);
    return degrade(a, why.text, err);
}

qd_code qd_layer_make(const qd_context *c, size_t index, qd_cmatf w, const qd_shared *shared, qd_checkpoint *out,
                      qd_error *err)
{
    const qd_recipe *r = c->recipe;
    double started = qd_clock_seconds();
    qd_code code = qd_grid_build(&r->grid, w, shared->diagonal, c->pool, &out->grid, err);
    if (code == QD_OK)
        code = qd_alloc(w.rows * w.cols, 1, (void **)&out->codes, err);
    attempt a = { .context = c,
                  .name = qd_model_linear_at(c->model, index)->name,
                  .input = { .w = w,
                             .grid = &out->grid,
                             .factor = shared->factor,
                             .mismatch = shared->factor == NULL ? NULL : &shared->mismatch,
                             .use = r->mismatch,
                             .holdout = shared->holdout.tokens == 0 ? NULL : &shared->holdout,
                             .tokens = shared->tokens,
                             .rounding = r->rounding,
                             .seed = qd_rng_key(r->seed, index, 0),
                             .pool = c->pool },
                  .out = out };
    if (code == QD_OK)
        code = try_round(&a, shared, err);
    if (code != QD_OK)
        return code;
    const qd_layer_facts facts = { .index = index,
                                   .linear = qd_model_linear_at(c->model, index),
                                   .recipe = r,
                                   .grid = &out->grid,
                                   .certificate = &a.certificate,
                                   .degraded_reason = a.reason[0] == '\0' ? NULL : a.reason,
                                   .seconds = qd_clock_seconds() - started + shared->seconds };
    out->record = qd_layer_print(&facts);
    return out->record == NULL ? qd_fail(err, QD_EINTERNAL, "the layer's record could not be described") : QD_OK;
}
