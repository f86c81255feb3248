/* calibration.c: see calibration.h. */
#include "engine/calibration.h"

#include "base/json.h"
#include "base/mem.h"
#include "engine/context.h"
#include "engine/conversations.h"
#include "engine/samples.h"

/* Documents that lose more than this were cut by a length that does not suit them. */
static const double dropped_share = 0.1;

/* ---- warnings ---- */

/* Tokens that come twice count twice, and what is held out was seen: damping and shrinkage found by it are too bold. A few are chance. */
static void warn_of_overlap(const qd_context *c, size_t content)
{
    const qd_sequence_report *report = &c->calibration_text.report;
    if (10 * report->repeated > c->calibration.count * content)
        qd_emit_warning(c->sink,
                        "calibration: %zu samples of %zu tokens overlap: the text has %zu tokens, of which they see "
                        "%zu; samples that are held out are not independent of the others",
                        c->calibration.count, c->calibration.length, report->tokens, report->kept);
}

static void warn_of_documents(const qd_context *c)
{
    const qd_sequence_report *report = &c->calibration_text.report;
    size_t dropped = report->too_short + report->left_over;
    if (c->calibration.count < c->recipe->calibration_samples)
        qd_emit_warning(c->sink,
                        "calibration: %zu samples were asked for, and the documents hold %zu whole sequences of %zu "
                        "tokens",
                        c->recipe->calibration_samples, c->calibration.count, c->calibration.length);
    if ((double)dropped > dropped_share * (double)report->tokens)
        qd_emit_warning(c->sink,
                        "calibration: %zu of %zu tokens are dropped: %zu in %zu documents that fill no sequence, %zu "
                        "behind the last whole one of their document; a smaller calibration.length keeps more, "
                        "calibration.documents joined or separated keeps all",
                        dropped, report->tokens, report->too_short, report->short_documents, report->left_over);
}

/* ---- cutting ---- */

/* What stands between documents: how a text begins, or where the model knows no such sign, how it ends. */
static int64_t separator_of(const qd_context *c)
{
    return c->bos >= 0 ? c->bos : qd_model_borrow_config(c->model)->eos;
}

static qd_code read_text(qd_context *c, const qd_sequence_request *request, qd_error *err)
{
    const qd_recipe *r = c->recipe;
    QD_AUTO(qd_corpus_fini) qd_corpus corpus = { 0 };
    const qd_run_paths *paths = c->paths;
    const qd_corpus_way way = { .split = r->calibration_split, .format = r->calibration_format };
    qd_code code = qd_conversations_corpus(paths->model_dir, c->tokenizer, paths->calibration_text, way, &corpus, err);
    if (code == QD_OK)
        code = qd_sequences_cut(&corpus, request, &c->calibration, &c->calibration_text.report, err);
    c->calibration_text.format = corpus.format;
    c->calibration_text.packing = corpus.packing;
    c->calibration_text.bytes = corpus.bytes;
    return code == QD_OK ? QD_OK : qd_within(err, code, "calibration");
}

static qd_code cut(qd_context *c, qd_error *err)
{
    const qd_recipe *r = c->recipe;
    qd_sequence_request request = { .window = { .count = r->calibration_samples,
                                                .sampling = r->calibration_sampling,
                                                .phase = r->calibration_phase,
                                                .seed = r->seed,
                                                .bos = r->calibration_bos ? c->bos : -1 },
                                    .boundary = r->calibration_documents,
                                    .separator = separator_of(c),
                                    .every = QD_HOLDOUT_EVERY };
    qd_code code = qd_context_length(c, "calibration", r->calibration_length, &request.window.length, err);
    if (code == QD_OK)
        code = read_text(c, &request, err);
    if (code != QD_OK)
        return code;
    warn_of_overlap(c, request.window.length - (request.window.bos >= 0 ? 1 : 0));
    warn_of_documents(c);
    return QD_OK;
}

qd_code qd_calibration_cut(qd_context *c, qd_error *err)
{
    if (c->calibration_origin != QD_FROM_TEXT)
        return QD_OK;
    qd_code code = cut(c, err);
    if (code == QD_OK)
        code = qd_windows_digest(&c->calibration, c->calibration_digest, err);
    return code == QD_OK ? qd_sha256_file(c->paths->calibration_text, c->text_digest, err) : code;
}

qd_code qd_calibration_sample(qd_context *c, qd_error *err)
{
    const qd_recipe *r = c->recipe;
    size_t length = 0, lead = r->calibration_bos && c->bos >= 0 ? 1 : 0;
    if (c->calibration_origin != QD_FROM_MODEL)
        return QD_OK;
    qd_code code = qd_context_length(c, "calibration", r->calibration_length, &length, err);
    if (code == QD_OK)
        code = qd_samples_make(c, QD_SAMPLES_CALIBRATION, r->calibration_samples, length, lead > 0 ? c->bos : -1,
                               &c->calibration, err);
    if (code == QD_OK)
        code = qd_windows_digest(&c->calibration, c->calibration_digest, err);
    if (code != QD_OK)
        return code == QD_ECANCELLED ? code : qd_within(err, code, "calibration");
    size_t tokens = r->calibration_samples * (length - lead);
    c->calibration_text.report =
        (qd_sequence_report){ .tokens = tokens,
                              .kept = tokens,
                              .held_out =
                                  r->calibration_samples / qd_min_size(QD_HOLDOUT_EVERY, r->calibration_samples) };
    return QD_OK;
}

/* ---- telling ---- */

bool qd_calibration_holds_out(const qd_context *c)
{
    return c->recipe->regularizer->value == QD_VALUE_HELD_OUT && c->calibration.count >= QD_HOLDOUT_EVERY;
}

/* What is left out where the model is fitted, and judges it: null = nothing is. */
static json_t *print_held_out(const qd_context *c)
{
    const qd_recipe *r = c->recipe;
    const qd_sequence_report *report = &c->calibration_text.report;
    bool splits = r->algorithm->needs == QD_NEEDS_MISMATCH && r->mismatch.shrink == QD_SHRINK_AUTO;
    size_t counted = c->calibration.length - (r->first_position == QD_FIRST_LEFT_OUT ? 1 : 0);
    if (qd_recipe_calibrated(r) == NULL || !(splits || qd_calibration_holds_out(c)))
        return json_null();
    json_t *out = json_pack("{s:I, s:I}", "sequences", (json_int_t)report->held_out, "tokens",
                            (json_int_t)(report->held_out * counted));
    if (c->calibration_origin == QD_FROM_TEXT && r->calibration_documents == QD_DOCUMENTS_WITHIN)
        json_object_set_new(out, "shared_documents", json_integer((json_int_t)report->shared_documents));
    return out;
}

static json_t *print_dropped(const qd_sequence_report *report)
{
    return json_pack("{s:I, s:I, s:I}", "too_short", (json_int_t)report->too_short, "left_over",
                     (json_int_t)report->left_over, "unused", (json_int_t)report->unused);
}

static json_t *print_text(const qd_context *c)
{
    const qd_calibration_text *text = &c->calibration_text;
    if (c->calibration_origin != QD_FROM_TEXT)
        return json_null();
    return json_pack("{s:s, s:s, s:I}", "format", qd_text_format_name((size_t)text->format), "packing", text->packing,
                     "bytes", (json_int_t)text->bytes);
}

static json_t *print_documents(const qd_context *c)
{
    const qd_sequence_report *report = &c->calibration_text.report;
    if (c->calibration_origin != QD_FROM_TEXT)
        return json_null();
    return json_pack("{s:s, s:I, s:I, s:I, s:I}", "policy", qd_boundary_name((size_t)c->recipe->calibration_documents),
                     "read", (json_int_t)(report->documents + report->empty), "empty", (json_int_t)report->empty,
                     "too_short", (json_int_t)report->short_documents, "separators", (json_int_t)report->separators);
}

json_t *qd_calibration_print(const qd_context *c)
{
    const qd_windows *w = &c->calibration;
    const qd_sequence_report *report = &c->calibration_text.report;
    if (w->count == 0)
        return json_null();
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:s?, s:s, s:o}", "origin",
                     qd_origin_name(c->calibration_origin), "samples", (json_int_t)w->count, "length",
                     (json_int_t)w->length, "tokens", (json_int_t)(w->count * w->length), "tokens_available",
                     (json_int_t)report->tokens, "tokens_used", (json_int_t)report->kept, "tokens_repeated",
                     (json_int_t)report->repeated, "tokens_dropped", print_dropped(report), "documents",
                     print_documents(c), "held_out", print_held_out(c), "text", print_text(c), "text_sha256",
                     c->calibration_origin == QD_FROM_TEXT ? c->text_digest : NULL, "tokens_sha256",
                     c->calibration_digest, "sampled", qd_samples_print(c, QD_SAMPLES_CALIBRATION));
}
