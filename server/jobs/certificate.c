/* certificate.c: the certificate document, put together from the layers' rows; see service.h, theory.md §8. */
#include "base/json.h"
#include "engine/summary.h"
#include "jobs/service_private.h"

/* Sums over the layers: what the statuses are, and the error of all outputs together. */
static json_t *summarize(const json_t *layers)
{
    json_t *statuses = json_object(), *layer;
    size_t index;
    qd_summary sums = { 0 };
    json_array_foreach((json_t *)(uintptr_t)layers, index, layer)
    {
        const json_t *certificate = json_object_get(layer, "certificate");
        const char *status = json_string_value(json_object_get(certificate, "status"));
        const char *word = status == NULL ? "UNKNOWN" : status;
        json_object_set_new(statuses, word, json_integer(json_integer_value(json_object_get(statuses, word)) + 1));
        qd_summary_add(&sums, layer);
    }
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:f, s:f}", "layers", (json_int_t)sums.layers, "certified_layers",
                     (json_int_t)sums.certified, "degraded_layers", (json_int_t)sums.degraded, "experts",
                     qd_summary_experts(&sums), "statuses", statuses, "error_sq", sums.error_sq, "output_sq",
                     sums.output_sq);
}

static json_t *entries(const json_t *layers)
{
    json_t *out = json_array(), *layer;
    size_t index;
    json_array_foreach((json_t *)(uintptr_t)layers, index, layer)
    {
        json_t *entry = json_pack("{s:O?, s:O?, s:O?, s:O?}", "name", json_object_get(layer, "name"), "shape",
                                  json_object_get(layer, "shape"), "grid", json_object_get(layer, "grid"),
                                  "certificate", json_object_get(layer, "certificate"));
        if (json_object_get(layer, "routing") != NULL)
            json_object_set(entry, "routing", json_object_get(layer, "routing"));
        json_array_append_new(out, entry);
    }
    return out;
}

qd_code qd_service_certificate(qd_service *service, const char *id, json_t **out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *layers = NULL;
    QD_AUTO(qd_job_fini) qd_job job = { 0 };
    qd_code code = qd_service_get(service, id, &job, err);
    if (code == QD_OK)
        code = qd_service_layers(service, id, &layers, err);
    if (code == QD_OK && json_array_size(layers) == 0)
        code = qd_fail(err, QD_ENOTFOUND, "job '%s' has no finished layer yet", id);
    if (code != QD_OK)
        return code;
    *out = json_pack("{s:s, s:O?, s:O, s:o, s:o}", "job", id, "model", json_object_get(job.resolved, "model"), "recipe",
                     job.resolved, "summary", summarize(layers), "layers", entries(layers));
    return *out == NULL ? qd_fail(err, QD_EINTERNAL, "the certificate could not be described") : QD_OK;
}
