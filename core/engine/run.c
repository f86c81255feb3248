/* run.c: the phases of a run, one after the other: see run.h. */
#include "engine/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/fault.h"
#include "base/json.h"
#include "engine/outcome.h"
#include "engine/source_model.h"
#include "linalg/gemm.h"

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

/* What was measured of source, baseline and artifact. */
static json_t *print_quality(const qd_context *c)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "perplexity", qd_measured_perplexity(&c->measured, &c->evaluation, 0),
                     "kl", qd_measured_kl(&c->measured, 0), "evaluation", qd_evaluation_print(&c->evaluation), "texts",
                     qd_measured_texts(&c->measured, &c->evaluation, 0), "tasks", qd_task_scores_print(&c->tasks, 0));
}

/* What it was made from. */
static json_t *print_origin(const qd_context *c)
{
    char unknown[400];
    qd_source_describe_unknown(c->model, unknown, sizeof unknown);
    return json_pack("{s:O?, s:s?, s:o, s:s?}", "source", c->quantized, "data_free",
                     unknown[0] == '\0' ? NULL : unknown, "calibration", qd_calibration_print(c), "arithmetic",
                     qd_context_arithmetic_name(c));
}

static json_t *print_layers(const qd_context *c)
{
    const qd_summary *s = &c->summary;
    return json_pack("{s:I, s:I, s:I, s:I, s:f, s:o}", "layers", (json_int_t)qd_model_linear_count(c->model),
                     "certified_layers", (json_int_t)s->certified, "degraded_layers", (json_int_t)s->degraded,
                     "resumed_layers", (json_int_t)c->resumed, "relative_error", qd_summary_relative_error(s),
                     "experts", qd_summary_experts(s));
}

static json_t *print_formats(json_t *formats)
{
    json_int_t size = 0;
    for (size_t i = 0; i < json_array_size(formats); i++)
        size += json_integer_value(json_object_get(json_array_get(formats, i), "size"));
    return json_pack("{s:O, s:I, s:o, s:O}", "bits_per_weight",
                     json_object_get(json_array_get(formats, 0), "bits_per_weight"), "size", size, "format",
                     format_names(formats), "formats", formats);
}

/* NULL: a part could not be described. */
static json_t *make_result(const qd_context *c, const json_t *manifest, json_t *seconds, json_t *peaks)
{
    json_t *const parts[] = { print_quality(c), print_origin(c), print_layers(c),
                              print_formats(json_object_get(manifest, "formats")),
                              json_pack("{s:I, s:O, s:O, s:o}", "peak_memory", peak_memory(), "peak_memory_by_phase",
                                        peaks, "seconds", seconds, "pace", qd_outcome_print(c)) };
    json_t *out = json_object();
    bool whole = out != NULL;
    for (size_t i = 0; i < QD_LENGTH(parts); i++) {
        whole = whole && parts[i] != NULL && json_object_update(out, parts[i]) == 0;
        json_decref(parts[i]);
    }
    if (whole)
        return out;
    json_decref(out);
    return NULL;
}

/* Seconds since the last call, under a phase's name. */
static double lap(json_t *seconds, json_t *peaks, const char *phase, double *since)
{
    double now = qd_clock_seconds(), spent = now - *since;
    json_object_set_new(seconds, phase, json_real(spent));
    json_object_set_new(peaks, phase, json_integer(peak_memory()));
    *since = now;
    return spent;
}

static void note(qd_context *c, qd_code code, qd_leg leg, double seconds)
{
    if (code == QD_OK)
        qd_outcome_note(c, leg, seconds);
}

static qd_code run_phases(qd_context *c, json_t **out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *seconds = json_object(), *peaks = json_object(), *manifest = NULL;
    double clock = qd_clock_seconds();
    qd_code code = qd_context_init(c, err);
    if (code == QD_OK)
        code = qd_outcome_begin(c, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("run.prepared", err);
    if (code == QD_OK)
        code = qd_phase_quantize(c, err);
    lap(seconds, peaks, "quantizing", &clock);
    if (code == QD_OK)
        code = QD_FAULT_CODE("run.quantized", err);
    if (code == QD_OK)
        code = qd_phase_evaluate(c, err);
    note(c, code, QD_LEG_EVALUATING, lap(seconds, peaks, "evaluating", &clock));
    if (code == QD_OK)
        code = QD_FAULT_CODE("run.evaluated", err);
    if (code == QD_OK)
        code = qd_phase_export(c, err);
    note(c, code, QD_LEG_EXPORTING, lap(seconds, peaks, "exporting", &clock));
    if (code == QD_OK)
        code = QD_FAULT_CODE("run.exported", err);
    if (code == QD_OK)
        code = qd_phase_verify(c, &manifest, err);
    note(c, code, QD_LEG_VERIFYING, lap(seconds, peaks, "verifying", &clock));
    if (code != QD_OK)
        return code;
    QD_FAULT("run.verified");
    *out = make_result(c, manifest, seconds, peaks);
    return *out == NULL ? qd_fail(err, QD_EINTERNAL, "the result could not be described") : QD_OK;
}

qd_code qd_run(const qd_recipe *recipe, const qd_run_paths *paths, const qd_run_options *options, const qd_sink *sink,
               const qd_cancel *cancel, json_t **out_result, qd_error *err)
{
    qd_context context = { .recipe = recipe, .paths = paths, .sink = sink, .cancel = cancel };
    memcpy(context.machine.leg, options->pace, sizeof options->pace);
    json_t *result = NULL;
    qd_code code = qd_pool_create(options->threads == 0 ? 1 : options->threads, &context.pool, err);
    if (code == QD_OK)
        qd_blas_reserve(qd_pool_threads(context.pool));
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
