/* measured.c: see measured.h. */
#include "engine/measured.h"

#include <math.h>
#include <stdlib.h>

#include "engine/records.h"

void qd_evaluation_fini(qd_evaluation *evaluation)
{
    for (size_t i = 0; i < QD_EVALUATION_TEXTS; i++)
        qd_windows_fini(&evaluation->texts[i].windows);
    evaluation->text_count = 0;
}

size_t qd_evaluation_windows(const qd_evaluation *evaluation)
{
    size_t sum = 0;
    for (size_t i = 0; i < evaluation->text_count; i++)
        sum += evaluation->texts[i].windows.count;
    return sum;
}

void qd_measured_fini(qd_measured *measured)
{
    for (size_t i = 0; i < QD_EVALUATION_TEXTS; i++)
        free(measured->texts[i].baseline_nll);
    *measured = (qd_measured){ 0 };
}

qd_origin qd_evaluation_origin(const qd_evaluation_text *text)
{
    return text->digest[0] == '\0' ? QD_FROM_MODEL : QD_FROM_TEXT;
}

static json_t *print_perplexity(const qd_measured *m, const qd_evaluation *e, size_t text, size_t format)
{
    const qd_measured_text *t = &m->texts[text];
    const struct {
        const char *name;
        const qd_perplexity *of;
    } rows[] = { { "source", &t->source },
                 { "quantized", &t->artifacts[format].perplexity },
                 { "rtn", m->with_baseline ? &t->baseline.perplexity : NULL } };
    json_t *differences = json_pack("{s:o}", "source", qd_window_mean_print(&t->source_gap[format]));
    if (m->with_baseline)
        json_object_set_new(differences, "rtn", qd_window_mean_print(&t->artifact_gap[format]));
    json_t *out =
        json_pack("{s:{}, s:o, s:I, s:I, s:I, s:s}", "standard_error", "difference", differences, "length",
                  (json_int_t)e->cut.length, "windows", (json_int_t)t->source.windows, "predictions",
                  (json_int_t)t->source.predictions, "origin", qd_origin_name(qd_evaluation_origin(&e->texts[text])));
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        if (rows[i].of == NULL)
            continue;
        json_object_set_new(out, rows[i].name, qd_number_print(rows[i].of->perplexity));
        json_object_set_new(json_object_get(out, "standard_error"), rows[i].name,
                            qd_number_print(rows[i].of->standard_error));
    }
    return out;
}

json_t *qd_measured_perplexity(const qd_measured *m, const qd_evaluation *evaluation, size_t format)
{
    return m->made ? print_perplexity(m, evaluation, 0, format) : json_null();
}

static json_t *print_kl(const qd_measured *m, const qd_measured_text *t, size_t format)
{
    json_t *out = json_pack("{s:o}", "quantized", qd_divergence_print(&t->artifacts[format]));
    if (m->with_baseline)
        json_object_set_new(out, "rtn", qd_divergence_print(&t->baseline));
    return out;
}

json_t *qd_measured_kl(const qd_measured *m, size_t format)
{
    return m->made ? print_kl(m, &m->texts[0], format) : json_null();
}

json_t *qd_measured_texts(const qd_measured *m, const qd_evaluation *evaluation, size_t format)
{
    json_t *out = json_array();
    for (size_t i = 0; m->made && i < evaluation->text_count; i++) {
        const qd_evaluation_text *text = &evaluation->texts[i];
        const qd_measured_text *t = &m->texts[i];
        json_array_append_new(out, json_pack("{s:s, s:s?, s:s, s:o, s:o}", "name", text->name, "text_sha256",
                                             text->digest[0] == '\0' ? NULL : text->digest, "tokens_sha256",
                                             text->tokens_digest, "perplexity",
                                             print_perplexity(m, evaluation, i, format), "kl", print_kl(m, t, format)));
    }
    return out;
}

json_t *qd_measured_own_perplexity(const qd_measured *m, size_t format)
{
    return m->made ? qd_number_print(m->texts[0].artifacts[format].perplexity.perplexity) : json_null();
}

json_t *qd_measured_own_kl(const qd_measured *m, size_t format)
{
    return m->made ? qd_divergence_print(&m->texts[0].artifacts[format]) : json_null();
}

json_t *qd_evaluation_print(const qd_evaluation *e)
{
    return e->text_count == 0 ? json_null() : qd_protocol_print(&e->use, &e->cut, &e->texts[0].windows);
}

void qd_measured_warn(const qd_sink *sink, const char *who, const qd_perplexity *perplexity)
{
    if (!isfinite(perplexity->perplexity))
        qd_emit_warning(sink, "perplexity of the %s model is not finite: mean negative log-likelihood %g", who,
                        perplexity->mean_nll);
}
