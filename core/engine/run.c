/* run.c: the phases of a run, one after the other: see run.h. */
#include "engine/run.h"

#include <math.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/json.h"
#include "engine/context.h"

/* Linux gives ru_maxrss in KiB. */
static json_int_t peak_memory(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (json_int_t)usage.ru_maxrss * 1024 : 0;
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

/* Bytes of the artifact's files. */
static json_int_t size_of(const json_t *manifest)
{
    size_t index;
    const json_t *file;
    json_int_t size = 0;
    json_array_foreach(json_object_get(manifest, "files"), index, file)
    {
        size += json_integer_value(json_object_get(file, "size"));
    }
    return size;
}

static json_t *make_result(const qd_context *c, json_t *perplexity, const json_t *manifest, json_t *seconds)
{
    return json_pack(
        "{s:O, s:n, s:O?, s:O, s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:O, s:O, s:o}", "perplexity", perplexity, "kl",
        "source", c->quantized, "bits_per_weight", json_object_get(manifest, "bits_per_weight"), "size",
        size_of(manifest), "relative_error", qd_summary_relative_error(&c->summary), "certified_layers",
        (json_int_t)c->summary.certified, "layers", (json_int_t)qd_model_linear_count(c->model), "degraded_layers",
        (json_int_t)c->summary.degraded, "resumed_layers", (json_int_t)c->resumed, "peak_memory", peak_memory(),
        "seconds", seconds, "format", json_object_get(manifest, "format"), "calibration", calibration_facts(c));
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
    QD_AUTO(qd_json_fini) json_t *seconds = json_object(), *perplexity = NULL, *manifest = NULL;
    double clock = qd_clock_seconds();
    qd_code code = qd_context_init(c, err);
    if (code == QD_OK)
        code = qd_phase_quantize(c, err);
    lap(seconds, "quantizing", &clock);
    if (code == QD_OK)
        code = qd_phase_evaluate(c, &perplexity, err);
    lap(seconds, "evaluating", &clock);
    if (code == QD_OK)
        code = qd_phase_export(c, perplexity, &manifest, err);
    lap(seconds, "exporting", &clock);
    if (code == QD_OK)
        code = qd_phase_verify(c, err);
    lap(seconds, "verifying", &clock);
    if (code != QD_OK)
        return code;
    *out = make_result(c, perplexity, manifest, seconds);
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
