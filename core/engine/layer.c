/* layer.c: see layer.h. */
#include "engine/layer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "quant/aim.h"
#include "quant/guarantee.h"

void qd_shared_fini(qd_shared *shared)
{
    qd_input_basis_fini(&shared->input);
    qd_group_guard_fini(&shared->guard);
    qd_factor_destroy(shared->factor);
    qd_mismatch_fini(&shared->mismatch);
    free(shared->diagonal);
    qd_holdout_fini(&shared->holdout);
    *shared = (qd_shared)QD_SHARED_NOTHING;
}

qd_code qd_shared_diagonal(qd_shared *shared, qd_error *err)
{
    const qd_factor *factor = shared->factor;
    qd_code code = qd_alloc(factor->features, sizeof *shared->diagonal, (void **)&shared->diagonal, err);
    for (size_t t = 0; code == QD_OK && t < factor->features; t++)
        shared->diagonal[factor->permutation[t]] = factor->diagonal[t];
    return code;
}

/* What one try needs and gives. */
typedef struct attempt {
    const qd_context *context;
    const char *name;
    qd_grid_spec spec; /* of this layer */
    qd_layer_input input;
    qd_weight_target *target; /* NULL = the weights */
    qd_grid fitted;           /* what refining made of out->grid, if anything */
    qd_checkpoint *out;
    qd_certificate certificate;
    char reason[sizeof((qd_error *)0)->text]; /* "" = not degraded */
} attempt;

static void attempt_fini(attempt *a)
{
    qd_aim_destroy(a->target);
    qd_grid_fini(&a->fitted);
}

static const qd_algorithm *nearest(void)
{
    return qd_algorithm_find("rtn");
}

/* What is rounded to nearest wants scales of its weights, not of a target that nothing aims at any more. */
static qd_code forget_target(attempt *a, qd_error *err)
{
    a->input.factor = NULL;
    if (a->input.target == NULL || !qd_aim_guides(a->spec.rule))
        return QD_OK;
    a->input.target = NULL;
    qd_grid_fini(&a->out->grid);
    return qd_aim_grid(&a->input, &a->spec, a->input.v, NULL, &a->out->grid, err);
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
    a->input.holdout = NULL;
    a->input.tokens = 0;
    a->input.rounding = QD_ROUND_NEAREST;
    qd_code code = forget_target(a, err);
    return code != QD_OK ? code : qd_layer_round(nearest(), &a->input, a->out->codes, &a->certificate, err);
}

/* why: what make_grid found, or nothing. */
static qd_code try_round(attempt *a, const qd_shared *shared, qd_error why, qd_error *err)
{
    if (shared->reason[0] != '\0')
        return degrade(a, shared->reason, err);
    if (why.text[0] != '\0') {
        qd_emit_warning(a->context->sink, "layer '%s' is rounded to nearest: %s", a->name, why.text);
        return degrade(a, why.text, err);
    }
    const qd_recipe *r = a->context->recipe;
    qd_growth growth = { 0 };
    qd_code code = !r->certified
                       ? QD_OK
                       : qd_layer_guarantee(r->algorithm, &a->input, a->spec.scale_type, &a->out->grid, &growth, err);
    if (code == QD_OK)
        code = qd_layer_round(r->algorithm, &a->input, a->out->codes, &a->certificate, err);
    a->certificate.chance.growth_largest = growth.largest;
    a->certificate.chance.growth_mean = growth.mean;
    if (code != QD_ENUMERIC || a->input.factor == NULL)
        return code;
    why = *err;
    qd_emit_warning(a->context->sink, "layer '%s' is rounded to nearest: %s", a->name, why.text);
    return degrade(a, why.text, err);
}

/* Target, then grid. A target that is not finite, or too large for a grid, degrades the layer. */
static qd_code make_grid(attempt *a, const qd_shared *shared, qd_error *out_why, qd_error *err)
{
    const qd_recipe *r = a->context->recipe;
    qd_cmatf w = a->input.v; /* what scales are chosen from */
    qd_code code = qd_aim_create(r->algorithm, &a->input, &a->target, err);
    a->input.target = a->target;
    if (code == QD_OK)
        code = qd_aim_grid(&a->input, &a->spec, w, shared->diagonal, &a->out->grid, err);
    if (code != QD_ENUMERIC || a->input.factor == NULL)
        return code;
    *out_why = *err;
    a->input.target = NULL;
    return qd_aim_grid(&a->input, &a->spec, w, shared->diagonal, &a->out->grid, err);
}

/* The codes are of the grid that refining fitted to them. */
static void take_fitted(attempt *a)
{
    if (a->fitted.groups == 0 || a->reason[0] != '\0')
        return;
    qd_grid_fini(&a->out->grid);
    a->out->grid = a->fitted;
    a->fitted = (qd_grid){ 0 };
}

qd_code qd_layer_make(const qd_context *c, size_t index, qd_cmatf w, const qd_shared *shared, qd_checkpoint *out,
                      qd_error *err)
{
    const qd_recipe *r = c->recipe;
    double started = qd_clock_seconds();
    QD_AUTO(qd_transformed_fini) qd_transformed t = { 0 };
    qd_grid_spec spec;
    qd_code code = qd_recipe_layer_spec(r, qd_model_linear_at(c->model, index), &spec, err);
    if (code == QD_OK)
        code = qd_transform_layer(r, spec.group_size, &shared->input, w, c->pool, &t, err);
    if (code == QD_OK)
        code = qd_alloc(w.rows * w.cols, 1, (void **)&out->codes, err);
    QD_AUTO(attempt_fini)
    attempt a = { .context = c,
                  .name = qd_model_linear_at(c->model, index)->name,
                  .spec = spec,
                  .input = { .w = t.rounded,
                             .v = t.v,
                             .grid = &out->grid,
                             .factor = shared->factor,
                             .mismatch = shared->factor == NULL ? NULL : &shared->mismatch,
                             .use = r->mismatch,
                             .holdout = shared->holdout.tokens == 0 ? NULL : &shared->holdout,
                             .tokens = shared->tokens,
                             .rounding = r->rounding,
                             .seed = qd_rng_key(r->seed, index, 0),
                             .refine = r->refine,
                             .pool = c->pool },
                  .out = out };
    a.input.refine.scale_type = spec.scale_type;
    a.input.fitted = &a.fitted;
    qd_error why = { 0 };
    if (code == QD_OK)
        code = make_grid(&a, shared, &why, err);
    if (code == QD_OK)
        code = try_round(&a, shared, why, err);
    if (code != QD_OK)
        return code;
    take_fitted(&a);
    QD_AUTO(qd_json_fini)
    json_t *routing = shared->fate.expert == QD_NO_EXPERT ? NULL : qd_fate_print(&shared->fate);
    const qd_layer_facts facts = { .index = index,
                                   .linear = qd_model_linear_at(c->model, index),
                                   .spec = &a.spec,
                                   .transforms = t.record,
                                   .routing = routing,
                                   .grid = &out->grid,
                                   .certificate = &a.certificate,
                                   .degraded_reason = a.reason[0] == '\0' ? NULL : a.reason,
                                   .seconds = qd_clock_seconds() - started + shared->seconds };
    out->record = qd_layer_print(&facts);
    return out->record == NULL ? qd_fail(err, QD_EINTERNAL, "the layer's record could not be described") : QD_OK;
}
