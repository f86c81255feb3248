/* evaluate.c: the evaluating phase: the source, and the baseline beside it. */
#include "engine/context.h"

#include "base/json.h"
#include "base/mem.h"

/* Codes of w, which is in the basis of the codes. */
static void nearest_codes(const qd_grid *grid, qd_cmatf w, uint8_t *codes)
{
    for (size_t o = 0; o < w.rows; o++)
        for (size_t i = 0; i < w.cols; i++)
            codes[o * w.cols + i] = (uint8_t)(qd_grid_nearest(grid, o, i, (double)qd_cmatf_row(w, o)[i]) - grid->low);
}

/* Rounding to nearest on scales that were moved to a target or to other codes would be nobody's: there the rule chooses scales for it, from the
 * weights alone. w: in the basis of the codes. out: `decided`, or `own`. */
static qd_code baseline_grid(const qd_recipe *recipe, const qd_linear *linear, qd_cmatf w, const qd_grid *decided,
                             qd_grid *own, const qd_grid **out, qd_error *err)
{
    *out = decided;
    if (!qd_recipe_moves_scales(recipe))
        return QD_OK;
    qd_grid_spec spec;
    qd_code code = qd_recipe_layer_spec(recipe, linear, &spec, err);
    if (code == QD_OK)
        code = qd_grid_build(&spec, w, NULL, NULL, own, err);
    if (code == QD_OK)
        *out = own;
    return code == QD_ENUMERIC ? QD_OK : code; /* too large for the scale type: no reason to lose the job */
}

/* The source's weights, in w, rounded to nearest in the basis of the codes, and stored as the artifact's are. */
static qd_code nearest_in_basis(const qd_finished *finished, size_t index, const qd_hadamard *basis,
                                const qd_grid *decided, qd_matf w, qd_error *err)
{
    QD_AUTO(qd_free_pointer) uint8_t *codes = NULL;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf turned = { 0 };
    QD_AUTO(qd_grid_fini) qd_grid own = { 0 };
    const qd_grid *grid = NULL;
    const qd_context *c = finished->context;
    const qd_recipe *recipe = c->recipe;
    qd_code code = qd_alloc(w.rows * w.cols, 1, (void **)&codes, err);
    if (code == QD_OK && basis != NULL)
        code = qd_hadamard_weights(basis, QD_TURN, qd_matf_const(w), w, NULL, err);
    if (code == QD_OK)
        code = baseline_grid(recipe, qd_model_linear_at(c->model, index), qd_matf_const(w), decided, &own, &grid, err);
    if (code == QD_OK)
        nearest_codes(grid, qd_matf_const(w), codes);
    if (code == QD_OK && basis != NULL)
        code = qd_matf_buf_init(&turned, w.rows, w.cols, err);
    if (code == QD_OK && basis != NULL)
        code = qd_layer_weights(recipe, c->model, index, grid, codes, NULL, turned.view, err);
    if (code != QD_OK)
        return code;
    const qd_rounded nearest = { .grid = grid, .codes = codes, .turned = qd_matf_const(turned.view) };
    recipe->formats[0].format->expected_weight(&nearest, recipe->formats[0].variant, w);
    return QD_OK;
}

/* The baseline. */
static qd_code nearest_weight(void *ctx, size_t index, const qd_linear *linear, qd_matf w, qd_error *err)
{
    qd_rounded rounded;
    qd_hadamard *basis = NULL;
    const qd_finished *finished = ctx;
    const qd_context *c = finished->context;
    qd_code code = qd_finished_layer(ctx, index, &rounded, err);
    if (code == QD_OK)
        code = qd_tensor_to_floats(linear->weight, w.data, err);
    if (code == QD_OK)
        code = qd_basis_create(c->recipe, c->model, index, &basis, err);
    if (code == QD_OK)
        code = nearest_in_basis(finished, index, basis, rounded.grid, w, err);
    qd_hadamard_destroy(basis);
    return code;
}

static void step(void *ctx, size_t done, size_t total, const char *unit)
{
    (void)total;
    (void)unit;
    qd_meter_step(ctx, done);
}

qd_code qd_measure_beside_source(const qd_context *c, const char *phase, const qd_rival *rivals, size_t count,
                                 qd_perplexity *out_source, qd_divergence *out, qd_error *err)
{
    qd_meter meter;
    const qd_rival source = { c->model, NULL };
    const qd_progress progress = { .step = step, .ctx = &meter };
    qd_meter_start(&meter, c->sink, phase, "windows", c->evaluation.count);
    return qd_divergence_measure(&source, rivals, count, &c->evaluation, c->pool, &progress, c->cancel, out_source, out,
                                 err);
}

qd_code qd_evaluation_cut(qd_context *c, qd_error *err)
{
    const qd_recipe *r = c->recipe;
    if (c->paths->evaluation_text == NULL)
        return qd_recipe_gated(r) ? qd_recipe_gate_refuse(r, err) : QD_OK;
    QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
    size_t length = 0;
    qd_code code = qd_context_length(c, "evaluation", r->evaluation_length, &length, err);
    if (code != QD_OK)
        return code;
    code = qd_corpus_read(c->tokenizer, c->paths->evaluation_text, r->evaluation_split, QD_TEXT_LIMIT, &ids, err);
    qd_bos_policy policy = c->bos < 0 ? QD_BOS_NONE : r->evaluation_bos;
    if (code == QD_OK)
        code = qd_windows_cut(&ids, length, r->evaluation_windows, policy, c->bos, &c->evaluation, err);
    if (code == QD_OK)
        code = qd_sha256_file(c->paths->evaluation_text, c->evaluation_digest, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "evaluation");
}

qd_code qd_phase_evaluate(qd_context *c, qd_error *err)
{
    const qd_recipe *r = c->recipe;
    qd_measured *m = &c->measured;
    QD_AUTO(qd_finished_fini) qd_finished finished = { .context = c };
    const qd_overlay nearest = { .weight = nearest_weight, .ctx = &finished };
    const qd_rival baseline = { c->model, &nearest };
    if (c->evaluation.count == 0) {
        qd_emit_warning(c->sink, "not evaluated: neither job nor operator names an evaluation text");
        return QD_OK;
    }
    qd_emit_phase(c->sink, "evaluating");
    /* what is its own baseline is measured once, as it was opened again */
    m->with_baseline = r->baseline != NULL && r->baseline != r->algorithm;
    qd_code code =
        qd_measure_beside_source(c, "evaluating", &baseline, m->with_baseline ? 1 : 0, &m->source, &m->baseline, err);
    if (code != QD_OK)
        return code == QD_ECANCELLED ? code : qd_within(err, code, "evaluation of the source and the baseline");
    m->length = c->evaluation.length;
    qd_measured_warn(c->sink, "source", &m->source);
    if (m->with_baseline)
        qd_measured_warn(c->sink, "rtn", &m->baseline.perplexity);
    return QD_OK;
}
