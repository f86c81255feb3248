/* gate.c: the verifying phase: nothing is believed of the writer. Each container is opened by its reader and compared with what was decided,
 * measured beside the source, and held against the gate; only then its last records are written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "engine/context.h"
#include "engine/seal.h"
#include "export/artifact.h"

/* Progress that runs on from one format to the next. */
typedef struct passage {
    qd_meter meter;
    size_t before;
} passage;

static void step(void *ctx, size_t done, size_t total, const char *unit)
{
    passage *p = ctx;
    (void)total;
    (void)unit;
    qd_meter_step(&p->meter, p->before + done);
}

/* ---- compared ---- */

static qd_code compare_one(const qd_context *c, size_t index, passage *p, qd_error *err)
{
    const qd_format_choice *choice = &c->recipe->formats[index];
    QD_AUTO(qd_finished_fini) qd_finished finished = { .context = c };
    const qd_rounded_source source = { .layer = qd_finished_layer, .ctx = &finished };
    const qd_progress progress = { .step = step, .ctx = p };
    QD_AUTO(qd_free_pointer) char *dir = qd_context_folder(c, index);
    if (dir == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return qd_artifact_check(dir, c->model, choice->format, choice->variant, &source, &progress, c->cancel, err);
}

static qd_code compare(const qd_context *c, qd_error *err)
{
    passage p = { .before = 0 };
    size_t layers = qd_model_linear_count(c->model), formats = c->recipe->format_count;
    qd_code code = QD_OK;
    qd_meter_start(&p.meter, c->sink, "verifying", "layers", layers * formats);
    for (size_t i = 0; code == QD_OK && i < formats; i++) {
        p.before = i * layers;
        code = compare_one(c, i, &p, err);
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

static qd_code measure(qd_context *c, qd_error *err)
{
    QD_AUTO(opened_fini) opened o = { 0 };
    qd_divergence found[QD_FORMATS_MAX] = { 0 };
    qd_measured *m = &c->measured;
    qd_perplexity again;
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < c->recipe->format_count; i++)
        code = open_one(c, i, &o, err);
    if (code == QD_OK)
        code = qd_measure_beside_source(c, "verifying", o.rivals, o.rival_count, &again, found, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < o.rival_count; i++)
        qd_measured_warn(c->sink, "quantized", &found[i].perplexity);
    for (size_t i = 0; i < c->recipe->format_count; i++)
        m->artifacts[i] = found[o.as[i]];
    m->made = true;
    if (c->recipe->baseline != NULL && !m->with_baseline) { /* its own */
        m->baseline = m->artifacts[0];
        m->with_baseline = true;
    }
    return QD_OK;
}

/* ---- held against the gate ---- */

/* A number that is none is outside of every gate. */
static qd_code judge_one(const qd_context *c, size_t index, qd_error *err)
{
    const qd_recipe *r = c->recipe;
    const qd_divergence *d = &c->measured.artifacts[index];
    double ratio = d->perplexity.perplexity / c->measured.source.perplexity;
    char name[QD_FORMAT_NAME];
    qd_format_print(r->formats[index].format, r->formats[index].variant, name);
    if (r->gate_ratio >= 0 && !(ratio <= r->gate_ratio))
        return qd_fail(
            err, QD_EGATE,
            "gate.perplexity_ratio: '%s' has %.6g times the source's perplexity (%.6g to %.6g); the job allows %g",
            name, ratio, d->perplexity.perplexity, c->measured.source.perplexity, r->gate_ratio);
    if (r->gate_kl >= 0 && !(d->mean <= r->gate_kl))
        return qd_fail(
            err, QD_EGATE,
            "gate.kl: '%s' is %.6g nats a token away from the source (standard error %.2g); the job allows %g", name,
            d->mean, d->standard_error, r->gate_kl);
    return QD_OK;
}

static qd_code judge(const qd_context *c, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < c->recipe->format_count; i++)
        code = judge_one(c, i, err);
    return code;
}

/* The records are written for one that fails the gate too: whoever looks into it shall see what it is. */
static qd_code inspect(qd_context *c, json_t **out_manifest, qd_error *err)
{
    qd_code code = compare(c, err);
    if (code == QD_OK && c->evaluation.count > 0)
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
