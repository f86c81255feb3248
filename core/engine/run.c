/* run.c: the phases of a run, one after the other: see run.h. */
#include "engine/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/fault.h"
#include "base/json.h"
#include "engine/context.h"

/* Of this program alone: ru_maxrss begins with what the process held that started it. */
static json_int_t peak_memory(void)
{
    enum { STATUS_LIMIT = 1 << 16 };
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    long long kibibytes = 0;
    if (qd_file_read("/proc/self/status", STATUS_LIMIT, &text, NULL) != QD_OK)
        return 0;
    const char *line = strstr(qd_str_borrow(&text), "VmHWM:");
    return line != NULL && sscanf(line, "VmHWM: %lld", &kibibytes) == 1 ? (json_int_t)kibibytes * 1024 : 0;
}

static json_t *calibration_facts(const qd_context *c)
{
    if (c->calibration.count == 0)
        return json_null();
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:s, s:s}", "samples", (json_int_t)c->calibration.count, "length",
                     (json_int_t)c->calibration.length, "tokens",
                     (json_int_t)(c->calibration.count * c->calibration.length), "tokens_available",
                     (json_int_t)c->calibration.tokens_available, "tokens_used", (json_int_t)c->calibration.tokens_used,
                     "text_sha256", c->text_digest, "tokens_sha256", c->calibration_digest);
}

/* One format: as it is; several: those of the first, in the members that speak of one, and a list of names. */
static json_t *format_names(const json_t *formats)
{
    if (json_array_size(formats) == 1)
        return json_incref(json_object_get(json_array_get(formats, 0), "format"));
    json_t *out = json_array();
    for (size_t i = 0; i < json_array_size(formats); i++)
        json_array_append(out, json_object_get(json_array_get(formats, i), "format"));
    return out;
}

static json_t *make_result(const qd_context *c, const json_t *manifest, json_t *seconds)
{
    json_t *formats = json_object_get(manifest, "formats"), *first = json_array_get(formats, 0);
    json_int_t size = 0;
    for (size_t i = 0; i < json_array_size(formats); i++)
        size += json_integer_value(json_object_get(json_array_get(formats, i), "size"));
    return json_pack("{s:o, s:o, s:O?, s:O, s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:O, s:o, s:O, s:o}", "perplexity",
                     qd_measured_perplexity(&c->measured, 0), "kl", qd_measured_kl(&c->measured, 0), "source",
                     c->quantized, "bits_per_weight", json_object_get(first, "bits_per_weight"), "size", size,
                     "relative_error", qd_summary_relative_error(&c->summary), "certified_layers",
                     (json_int_t)c->summary.certified, "layers", (json_int_t)qd_model_linear_count(c->model),
                     "degraded_layers", (json_int_t)c->summary.degraded, "resumed_layers", (json_int_t)c->resumed,
                     "peak_memory", peak_memory(), "seconds", seconds, "format", format_names(formats), "formats",
                     formats, "calibration", calibration_facts(c));
}

/* Seconds since the last call, under a phase's name. */
static void lap(json_t *seconds, const char *phase, double *since)
{
    double now = qd_clock_seconds();
    json_object_set_new(seconds, phase, json_real(now - *since));
    *since = now;
}

static qd_code run_phases(qd_context *c, json_t **out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *seconds = json_object(), *manifest = NULL;
    double clock = qd_clock_seconds();
    qd_code code = qd_context_init(c, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("run.prepared", err);
    if (code == QD_OK)
        code = qd_phase_quantize(c, err);
    lap(seconds, "quantizing", &clock);
    if (code == QD_OK)
        code = QD_FAULT_CODE("run.quantized", err);
    if (code == QD_OK)
        code = qd_phase_evaluate(c, err);
    lap(seconds, "evaluating", &clock);
    if (code == QD_OK)
        code = QD_FAULT_CODE("run.evaluated", err);
    if (code == QD_OK)
        code = qd_phase_export(c, err);
    lap(seconds, "exporting", &clock);
    if (code == QD_OK)
        code = QD_FAULT_CODE("run.exported", err);
    if (code == QD_OK)
        code = qd_phase_verify(c, &manifest, err);
    lap(seconds, "verifying", &clock);
    if (code != QD_OK)
        return code;
    QD_FAULT("run.verified");
    *out = make_result(c, manifest, seconds);
    return *out == NULL ? qd_fail(err, QD_EINTERNAL, "the result could not be described") : QD_OK;
}

qd_code qd_run(const qd_recipe *recipe, const qd_run_paths *paths, const qd_run_options *options, const qd_sink *sink,
               const qd_cancel *cancel, json_t **out_result, qd_error *err)
{
    qd_context context = { .recipe = recipe, .paths = paths, .sink = sink, .cancel = cancel };
    json_t *result = NULL;
    qd_code code = qd_pool_create(options->threads == 0 ? 1 : options->threads, &context.pool, err);
    if (code == QD_OK)
        code = run_phases(&context, &result, err);
    qd_context_fini(&context);
    if (code != QD_OK)
        return code;
    json_t *event = json_pack("{s:s}", "event", "result");
    json_object_update(event, result);
    qd_emit_take(sink, event);
    *out_result = result;
    return QD_OK;
}
