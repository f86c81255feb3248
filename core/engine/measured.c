/* measured.c: see measured.h. */
#include "engine/measured.h"

#include <math.h>

#include "engine/records.h"

json_t *qd_measured_perplexity(const qd_measured *m, size_t format)
{
    if (!m->made)
        return json_null();
    const struct {
        const char *name;
        const qd_perplexity *of;
    } rows[] = { { "source", &m->source },
                 { "quantized", &m->artifacts[format].perplexity },
                 { "rtn", m->with_baseline ? &m->baseline.perplexity : NULL } };
    json_t *out = json_pack("{s:{}, s:I, s:I, s:I}", "standard_error", "length", (json_int_t)m->length, "windows",
                            (json_int_t)m->source.windows, "predictions", (json_int_t)m->source.predictions);
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        if (rows[i].of == NULL)
            continue;
        json_object_set_new(out, rows[i].name, qd_number_print(rows[i].of->perplexity));
        json_object_set_new(json_object_get(out, "standard_error"), rows[i].name,
                            qd_number_print(rows[i].of->standard_error));
    }
    return out;
}

static json_t *print_divergence(const qd_divergence *d)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "mean", qd_number_print(d->mean), "standard_error",
                     qd_number_print(d->standard_error), "p99", qd_number_print(d->percentile_99), "max",
                     qd_number_print(d->max), "same_top", qd_number_print(d->same_top));
}

json_t *qd_measured_kl(const qd_measured *m, size_t format)
{
    if (!m->made)
        return json_null();
    json_t *out = json_pack("{s:o}", "quantized", print_divergence(&m->artifacts[format]));
    if (m->with_baseline)
        json_object_set_new(out, "rtn", print_divergence(&m->baseline));
    return out;
}

json_t *qd_measured_own_perplexity(const qd_measured *m, size_t format)
{
    return m->made ? qd_number_print(m->artifacts[format].perplexity.perplexity) : json_null();
}

json_t *qd_measured_own_kl(const qd_measured *m, size_t format)
{
    return m->made ? print_divergence(&m->artifacts[format]) : json_null();
}

void qd_measured_warn(const qd_sink *sink, const char *who, const qd_perplexity *perplexity)
{
    if (!isfinite(perplexity->perplexity))
        qd_emit_warning(sink, "perplexity of the %s model is not finite: mean negative log-likelihood %g", who,
                        perplexity->mean_nll);
}
