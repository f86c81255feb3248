/* evaluate.c: the evaluating phase: perplexity of source, quantized model, and the baseline at the same grid. */
#include "engine/context.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "eval/perplexity.h"

enum { TEXT_LIMIT = 1 << 30 };

/* The decided weights of a layer. */
static qd_code quantized_weight(void *ctx, size_t index, const qd_linear *linear, qd_matf w, qd_error *err)
{
    qd_rounded rounded;
    (void)linear;
    qd_code code = qd_finished_layer(ctx, index, &rounded, err);
    if (code == QD_OK)
        qd_grid_dequantize(rounded.grid, rounded.codes, w);
    return code;
}

/* The source's weights rounded to nearest on the very grid that was decided. */
static qd_code nearest_weight(void *ctx, size_t index, const qd_linear *linear, qd_matf w, qd_error *err)
{
    qd_rounded rounded;
    qd_code code = qd_finished_layer(ctx, index, &rounded, err);
    if (code == QD_OK)
        code = qd_tensor_to_floats(linear->weight, w.data, err);
    for (size_t o = 0; code == QD_OK && o < w.rows; o++)
        for (size_t i = 0; i < w.cols; i++) {
            float *at = qd_matf_row(w, o) + i;
            size_t group = i / rounded.grid->group_size;
            float scale = qd_matf_row(rounded.grid->scale.view, o)[group],
                  zero = qd_matf_row(rounded.grid->zero.view, o)[group];
            *at = ((float)qd_grid_nearest(rounded.grid, o, i, (double)*at) - zero) * scale;
        }
    return code;
}

/* One of the models that are measured; progress runs on over all of them. */
typedef struct contender {
    const char *name;
    qd_code (*weight)(void *ctx, size_t index, const qd_linear *linear, qd_matf w,
                      qd_error *err); /* NULL = the source */
} contender;

typedef struct passage {
    qd_meter meter;
    size_t before; /* windows of earlier contenders */
} passage;

static void step(void *ctx, size_t done, size_t total, const char *unit)
{
    passage *p = ctx;
    (void)total;
    (void)unit;
    qd_meter_step(&p->meter, p->before + done);
}

static qd_code measure(const qd_context *c, const contender *who, const qd_windows *windows, passage *p, json_t *out,
                       qd_error *err)
{
    QD_AUTO(qd_finished_fini) qd_finished finished = { .context = c };
    const qd_overlay overlay = { .weight = who->weight, .ctx = &finished };
    const qd_progress progress = { .step = step, .ctx = p };
    qd_perplexity result = { 0 };
    qd_code code = qd_perplexity_measure(c->model, who->weight == NULL ? NULL : &overlay, windows, c->pool, &progress,
                                         c->cancel, &result, err);
    if (code != QD_OK)
        return code == QD_ECANCELLED ? code : qd_within(err, code, "evaluation of the %s model", who->name);
    p->before += windows->count;
    json_object_set_new(out, who->name, isfinite(result.perplexity) ? json_real(result.perplexity) : json_null());
    json_object_set_new(json_object_get(out, "standard_error"), who->name, json_real(result.standard_error));
    json_object_set_new(out, "windows", json_integer((json_int_t)result.windows));
    json_object_set_new(out, "predictions", json_integer((json_int_t)result.predictions));
    return QD_OK;
}

static qd_code cut(const qd_context *c, qd_windows *out, qd_error *err)
{
    const qd_recipe *r = c->recipe;
    QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
    size_t length = 0;
    qd_code code = qd_context_length(c, "evaluation", r->evaluation_length, &length, err);
    if (code == QD_OK)
        code = qd_corpus_read(c->tokenizer, c->paths->evaluation_text, r->evaluation_split, TEXT_LIMIT, &ids, err);
    qd_bos_policy policy = c->bos < 0 ? QD_BOS_NONE : r->evaluation_bos;
    if (code == QD_OK)
        code = qd_windows_cut(&ids, length, r->evaluation_windows, policy, c->bos, out, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "evaluation");
}

qd_code qd_phase_evaluate(qd_context *c, json_t **out_perplexity, qd_error *err)
{
    *out_perplexity = json_null();
    if (c->paths->evaluation_text == NULL) {
        qd_emit_warning(c->sink, "not evaluated: neither job nor operator names an evaluation text");
        return QD_OK;
    }
    qd_emit_phase(c->sink, "evaluating");
    QD_AUTO(qd_windows_fini) qd_windows windows = { 0 };
    qd_code code = cut(c, &windows, err);
    const contender contenders[] = { { "source", NULL }, { "quantized", quantized_weight }, { "rtn", nearest_weight } };
    size_t count = c->recipe->baseline == NULL ? 2 : 3;
    passage p = { 0 };
    if (code == QD_OK)
        qd_meter_start(&p.meter, c->sink, "evaluating", "windows", count * windows.count);
    json_t *out = json_pack("{s:{}, s:I}", "standard_error", "length", (json_int_t)windows.length);
    for (size_t i = 0; code == QD_OK && i < count; i++)
        code = measure(c, &contenders[i], &windows, &p, out, err);
    if (code != QD_OK) {
        json_decref(out);
        return code;
    }
    *out_perplexity = out;
    return QD_OK;
}
