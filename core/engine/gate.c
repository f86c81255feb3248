/* gate.c: the verifying phase: nothing is believed of the writer. Each container is opened by its reader and compared with what was decided,
 * measured beside the source, and held against the gate; only then its last records are written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "engine/context.h"
#include "engine/seal.h"
#include "export/artifact.h"

/* ---- compared ---- */

static qd_code compare_one(const qd_context *c, size_t index, qd_meter *meter, qd_error *err)
{
    const qd_format_choice *choice = &c->recipe->formats[index];
    QD_AUTO(qd_finished_fini) qd_finished finished = { .context = c };
    const qd_rounded_source source = { .layer = qd_finished_layer, .ctx = &finished };
    const qd_progress progress = qd_meter_progress(meter);
    QD_AUTO(qd_free_pointer) char *dir = qd_context_folder(c, index);
    if (dir == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return qd_artifact_check(dir, c->model, choice->format, choice->variant, &source, &progress, c->cancel, err);
}

static qd_code compare(const qd_context *c, qd_error *err)
{
    qd_meter meter;
    size_t layers = qd_model_linear_count(c->model), formats = c->recipe->format_count;
    qd_code code = QD_OK;
    qd_meter_start(&meter, c->sink, "verifying", "layers", layers * formats);
    for (size_t i = 0; code == QD_OK && i < formats; i++) {
        meter.before = i * layers;
        code = compare_one(c, i, &meter, err);
        if (code != QD_OK && code != QD_ECANCELLED)
            code = qd_within(err, code, "format '%s'", c->recipe->formats[i].format->name);
    }
    return code;
}

/* ---- measured ---- */

/* The artifacts as they were opened again; those whose weights are the same number for number walk once. */
typedef struct opened {
    qd_artifact *artifacts[QD_FORMATS_MAX];
    char digests[QD_FORMATS_MAX][QD_DIGEST_HEX];
    size_t as[QD_FORMATS_MAX]; /* which rival stands for the format */
    qd_rival rivals[QD_FORMATS_MAX];
    size_t rival_count;
} opened;
static_assert((int)QD_FORMATS_MAX <= (int)QD_RIVALS_MAX, "all formats walk together");

static void opened_fini(opened *o)
{
    for (size_t i = 0; i < QD_FORMATS_MAX; i++)
        qd_artifact_destroy(o->artifacts[i]);
}

static qd_code open_one(const qd_context *c, size_t index, opened *o, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *dir = qd_context_folder(c, index);
    qd_code code =
        dir == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_artifact_open(dir, &o->artifacts[index], err);
    if (code == QD_OK && c->recipe->format_count > 1)
        code = qd_artifact_digest_weights(o->artifacts[index], o->digests[index], err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < index; i++)
        if (strcmp(o->digests[i], o->digests[index]) == 0) {
            o->as[index] = o->as[i];
            return QD_OK;
        }
    o->as[index] = o->rival_count;
    o->rivals[o->rival_count++] =
        (qd_rival){ qd_artifact_model(o->artifacts[index]), qd_artifact_overlay(o->artifacts[index]) };
    return QD_OK;
}

/* Where the job's algorithm is the baseline's: the first artifact is. */
static qd_code be_own_baseline(qd_measured_text *m, const qd_windows *windows, const double *nll, qd_error *err)
{
    m->baseline = m->artifacts[0];
    m->baseline_gap = m->source_gap[0];
    qd_code code = qd_alloc(windows->count, sizeof *m->baseline_nll, (void **)&m->baseline_nll, err);
    if (code == QD_OK)
        memcpy(m->baseline_nll, nll, windows->count * sizeof *nll);
    return code;
}

typedef struct taker {
    qd_context *context;
    const opened *opened;
} taker;

static qd_code take_artifacts(void *ctx, size_t text, const qd_perplexity *source, const qd_divergence *rivals,
                              const double *nll, qd_error *err)
{
    const taker *t = ctx;
    const qd_recipe *r = t->context->recipe;
    qd_measured_text *m = &t->context->measured.texts[text];
    const qd_windows *windows = &t->context->evaluation.texts[text].windows;
    qd_code code = QD_OK;
    (void)source;
    for (size_t i = 0; i < t->opened->rival_count; i++)
        qd_measured_warn(t->context->sink, "quantized", &rivals[i].perplexity);
    for (size_t i = 0; code == QD_OK && i < r->format_count; i++) {
        const double *own = nll + (1 + t->opened->as[i]) * windows->count;
        m->artifacts[i] = rivals[t->opened->as[i]];
        m->source_gap[i] = qd_perplexity_gap(own, nll, windows);
        if (i == 0 && m->baseline_nll == NULL && r->baseline != NULL)
            code = be_own_baseline(m, windows, own, err);
        if (code == QD_OK && m->baseline_nll != NULL)
            m->artifact_gap[i] = qd_perplexity_gap(own, m->baseline_nll, windows);
    }
    return code;
}

/* On the evaluation texts, where there are any. */
static qd_code measure_texts(qd_context *c, const opened *o, qd_error *err)
{
    taker t = { c, o };
    if (c->evaluation.text_count == 0)
        return QD_OK;
    qd_code code = qd_measure_beside_source(c, "verifying", o->rivals, o->rival_count, take_artifacts, &t, err);
    if (code != QD_OK)
        return code;
    c->measured.made = true;
    c->measured.with_baseline = c->recipe->baseline != NULL;
    return QD_OK;
}

static qd_code measure(qd_context *c, qd_error *err)
{
    QD_AUTO(opened_fini) opened o = { 0 };
    qd_code code = QD_OK;
    if (c->evaluation.text_count == 0 && c->tasks.sets.count == 0)
        return QD_OK;
    for (size_t i = 0; code == QD_OK && i < c->recipe->format_count; i++)
        code = open_one(c, i, &o, err);
    if (code == QD_OK)
        code = measure_texts(c, &o, err);
    return code == QD_OK ? qd_tasks_verify(c, o.rivals, o.rival_count, o.as, err) : code;
}

/* ---- held against the gate ---- */

/* A number that is none is outside of every gate. */
static qd_code judge_one(const qd_context *c, size_t index, size_t text, qd_error *err)
{
    const qd_recipe *r = c->recipe;
    const qd_measured_text *m = &c->measured.texts[text];
    const qd_divergence *d = &m->artifacts[index];
    double ratio = d->perplexity.perplexity / m->source.perplexity;
    char name[QD_FORMAT_NAME], where[QD_TEXT_NAME + 16] = "";
    qd_format_print(r->formats[index].format, r->formats[index].variant, name);
    if (r->gate_every)
        snprintf(where, sizeof where, " on '%s'", c->evaluation.texts[text].name);
    if (r->gate_ratio >= 0 && !(ratio <= r->gate_ratio))
        return qd_fail(
            err, QD_EGATE,
            "gate.perplexity_ratio: '%s' has %.6g times the source's perplexity%s (%.6g to %.6g); the job allows %g",
            name, ratio, where, d->perplexity.perplexity, m->source.perplexity, r->gate_ratio);
    if (r->gate_kl >= 0 && !(d->mean <= r->gate_kl))
        return qd_fail(
            err, QD_EGATE,
            "gate.kl: '%s' is %.6g nats a token away from the source%s (standard error %.2g); the job allows %g", name,
            d->mean, where, d->standard_error, r->gate_kl);
    return QD_OK;
}

static qd_code judge(const qd_context *c, qd_error *err)
{
    qd_code code = QD_OK;
    size_t texts = c->recipe->gate_every ? c->evaluation.text_count : 1;
    for (size_t t = 0; code == QD_OK && t < texts; t++)
        for (size_t i = 0; code == QD_OK && i < c->recipe->format_count; i++)
            code = judge_one(c, i, t, err);
    return code;
}

/* The records are written for one that fails the gate too: whoever looks into it shall see what it is. */
static qd_code inspect(qd_context *c, json_t **out_manifest, qd_error *err)
{
    qd_code code = compare(c, err);
    if (code == QD_OK)
        code = measure(c, err);
    if (code != QD_OK)
        return code;
    QD_AUTO(qd_json_fini) json_t *manifest = NULL;
    code = qd_seal(c, &manifest, err);
    if (code == QD_OK && c->measured.made)
        code = judge(c, err);
    if (code == QD_OK)
        *out_manifest = json_incref(manifest);
    return code;
}

/* Wrong in itself, not unlucky in where it is made. */
static bool is_wrong(qd_code code)
{
    return code == QD_EFORMAT || code == QD_ESHAPE || code == QD_ENUMERIC || code == QD_EGATE;
}

/* Says where it went. What cannot be moved stays where it is: not published either. */
static void quarantine(const qd_context *c, qd_error *err)
{
    qd_error why = { 0 };
    if (qd_quarantine_in_place(c->paths))
        return;
    QD_AUTO(qd_free_pointer) char *path = qd_quarantine_path(c->paths);
    char reason[sizeof err->text];
    snprintf(reason, sizeof reason, "%s", err->text);
    if (path != NULL && qd_file_rename(c->paths->out_dir, path, &why) == QD_OK)
        qd_fail(err, err->code, "%s; the artifact is kept as '%s'", reason, path);
    else
        qd_fail(err, err->code, "%s; the artifact could not be put aside: %s", reason, why.text);
}

qd_code qd_phase_verify(qd_context *c, json_t **out_manifest, qd_error *err)
{
    qd_emit_phase(c->sink, "verifying");
    qd_code code = inspect(c, out_manifest, err);
    if (code == QD_OK || code == QD_ECANCELLED)
        return code;
    if (code != QD_EGATE)
        qd_within(err, code, "verifying");
    if (is_wrong(code))
        quarantine(c, err);
    return code;
}
