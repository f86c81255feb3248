/* evaluate.c: the evaluating phase: the source, and the baseline beside it. */
#include "engine/context.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/conversations.h"
#include "engine/samples.h"

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

qd_code qd_measure_beside_source(const qd_context *c, const char *phase, const qd_rival *rivals, size_t count,
                                 qd_take_measured take, void *ctx, qd_error *err)
{
    qd_meter meter;
    const qd_rival source = { c->model, NULL };
    const qd_progress progress = qd_meter_progress(&meter);
    qd_code code = QD_OK;
    qd_meter_start(&meter, c->sink, phase, "windows", qd_evaluation_windows(&c->evaluation));
    for (size_t t = 0; code == QD_OK && t < c->evaluation.text_count; t++) {
        QD_AUTO(qd_free_pointer) double *nll = NULL;
        qd_divergence found[QD_RIVALS_MAX] = { 0 };
        qd_perplexity own = { 0 };
        const qd_windows *windows = &c->evaluation.texts[t].windows;
        code = qd_alloc((count + 1) * windows->count, sizeof *nll, (void **)&nll, err);
        if (code == QD_OK)
            code = qd_divergence_measure(&source, rivals, count, windows, c->pool, &progress, c->cancel, nll, &own,
                                         found, err);
        if (code == QD_OK)
            code = take(ctx, t, &own, found, nll, err);
        if (code != QD_OK && code != QD_ECANCELLED && c->evaluation.text_count > 1)
            qd_within(err, code, "text '%s'", c->evaluation.texts[t].name);
        meter.before += windows->count;
    }
    return code;
}

static qd_code cut_text(qd_context *c, const char *path, const char *name, qd_error *err)
{
    QD_AUTO(qd_corpus_fini) qd_corpus corpus = { 0 };
    qd_evaluation *e = &c->evaluation;
    qd_evaluation_text *text = &e->texts[e->text_count];
    qd_windows *w = &text->windows;
    snprintf(text->name, sizeof text->name, "%s", name);
    const qd_corpus_way way = { .split = e->use.split, .format = c->recipe->evaluation_format };
    qd_code code = qd_conversations_corpus(c->paths->model_dir, c->tokenizer, path, way, &corpus, err);
    if (code == QD_OK)
        code = qd_windows_cut(&corpus.ids, &e->cut, w, err);
    if (code == QD_OK)
        code = qd_windows_digest(w, text->tokens_digest, err);
    if (code == QD_OK)
        code = qd_sha256_file(path, text->digest, err);
    e->text_count += code == QD_OK;
    return code;
}

qd_code qd_evaluation_cut(qd_context *c, qd_error *err)
{
    char name[QD_TEXT_NAME] = "evaluation-text"; /* the operator's option */
    const qd_recipe *r = c->recipe;
    qd_evaluation *e = &c->evaluation;
    if (c->evaluation_origin == QD_FROM_NOWHERE)
        return QD_OK; /* nothing runs this model */
    if (c->paths->evaluation_text == NULL && r->evaluation_text == NULL && qd_recipe_gated(r))
        return qd_recipe_gate_refuse(r, err);
    if (c->evaluation_origin == QD_FROM_NOWHERE)
        return QD_OK;
    e->use = r->evaluation;
    qd_code code = qd_protocol_resolve(&e->use, "evaluation.length", qd_model_borrow_config(c->model)->max_positions,
                                       c->bos, &e->cut, err);
    if (code != QD_OK)
        return code;
    if (qd_source_url(r->evaluation_text) != NULL)
        qd_text_name(r->evaluation_text, name);
    if (c->evaluation_origin == QD_FROM_MODEL)
        e->text_count = 1; /* sampled later */
    else
        code = cut_text(c, c->paths->evaluation_text, name, err);
    if (code != QD_OK)
        return qd_within(err, code, "evaluation");
    for (size_t i = 0; code == QD_OK && i < r->evaluation_also.count; i++) {
        code = cut_text(c, c->paths->also_texts[i], r->evaluation_also.items[i].name, err);
        if (code != QD_OK)
            qd_within(err, code, "evaluation.also[%zu]", i);
    }
    return code;
}

/* The context's, with what is measured now: nll of the source, then of the baseline. */
static qd_code take_baseline(void *ctx, size_t text, const qd_perplexity *source, const qd_divergence *rivals,
                             const double *nll, qd_error *err)
{
    qd_context *c = ctx;
    qd_measured_text *m = &c->measured.texts[text];
    const qd_windows *windows = &c->evaluation.texts[text].windows;
    m->source = *source;
    qd_measured_warn(c->sink, "source", source);
    if (!c->measured.with_baseline)
        return QD_OK;
    m->baseline = rivals[0];
    m->baseline_gap = qd_perplexity_gap(nll + windows->count, nll, windows);
    qd_measured_warn(c->sink, "rtn", &m->baseline.perplexity);
    qd_code code = qd_alloc(windows->count, sizeof *m->baseline_nll, (void **)&m->baseline_nll, err);
    if (code == QD_OK)
        memcpy(m->baseline_nll, nll + windows->count, windows->count * sizeof *nll);
    return code;
}

int64_t qd_evaluation_bos(const qd_context *c)
{
    return c->evaluation.cut.policy == QD_BOS_NONE ? -1 : c->evaluation.cut.bos;
}

qd_code qd_evaluation_sample(qd_context *c, qd_error *err)
{
    qd_evaluation_text *text = &c->evaluation.texts[0];
    qd_windows *w = &text->windows;
    size_t asked = c->evaluation.use.max_windows, windows = asked > 0 ? asked : QD_SELF_WINDOWS;
    snprintf(text->name, sizeof text->name, "%s", QD_SELF);
    qd_code code =
        qd_samples_make(c, QD_SAMPLES_EVALUATION, windows, c->evaluation.cut.length, qd_evaluation_bos(c), w, err);
    if (code == QD_OK)
        code = qd_windows_digest(w, text->tokens_digest, err);
    if (code != QD_OK)
        return code == QD_ECANCELLED ? code : qd_within(err, code, "evaluation");
    w->context =
        c->evaluation.cut.context; /* side by side, whatever the stride: no window goes on where another ends */
    if (c->recipe->evaluation_text == NULL)
        qd_emit_warning(c->sink,
                        "evaluated on the source model's own words: neither job nor operator names an evaluation "
                        "text; perplexities on a text are higher");
    return QD_OK;
}

qd_code qd_phase_evaluate(qd_context *c, qd_error *err)
{
    const qd_recipe *r = c->recipe;
    qd_measured *m = &c->measured;
    QD_AUTO(qd_finished_fini) qd_finished finished = { .context = c };
    const qd_overlay nearest = { .weight = nearest_weight, .ctx = &finished };
    const qd_rival baseline = { c->model, &nearest };
    /* what is its own baseline is measured once, as it was opened again */
    m->with_baseline = r->baseline != NULL && r->baseline != r->algorithm;
    if (c->evaluation.text_count == 0)
        qd_emit_warning(c->sink, "perplexity is not measured: there are no evaluation windows");
    if (c->evaluation.text_count > 0 || c->tasks.sets.count > 0)
        qd_emit_phase(c->sink, "evaluating");
    qd_code code = qd_tasks_evaluate(c, m->with_baseline ? &baseline : NULL, err);
    if (code != QD_OK || c->evaluation.text_count == 0)
        return code;
    code = qd_measure_beside_source(c, "evaluating", &baseline, m->with_baseline ? 1 : 0, take_baseline, c, err);
    return code == QD_OK || code == QD_ECANCELLED ? code
                                                  : qd_within(err, code, "evaluation of the source and the baseline");
}
