/* text_sizes.c: see text_sizes.h. */
#include "engine/text_sizes.h"

#include "engine/source.h"

enum { SAMPLE_BYTES = 128 << 10, LINE_BYTES = 16 << 20 /* as base/json.h reads them */ };

static qd_code size_of(const char *path, uint64_t *out, qd_error *err)
{
    *out = 0;
    return path == NULL ? QD_OK : qd_documents_measure(path, QD_TEXT_LIMIT, out, err);
}

/* Grows *longest to what the text's longest document may have: a plain text is one, a string in a line is bounded. */
static qd_code bound_document(const char *path, qd_text_format format, uint64_t bytes, uint64_t *longest, qd_error *err)
{
    const qd_documents_way way = { .format = format, .renderer = &qd_renderer_plain, .limit = QD_TEXT_LIMIT };
    qd_documents *documents = NULL;
    qd_code code = path == NULL ? QD_OK : qd_documents_open(path, &way, &documents, err);
    if (code != QD_OK || path == NULL)
        return code;
    uint64_t most = bytes;
    if (qd_documents_format(documents) == QD_TEXT_JSONL && most > LINE_BYTES)
        most = LINE_BYTES;
    qd_documents_close(documents);
    *longest = most > *longest ? most : *longest;
    return QD_OK;
}

/* Ids of the first documents of a text. */
static qd_code encode_sample(const qd_tokenizer *tokenizer, qd_documents *documents, qd_ids *out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    bool found = true;
    qd_code code = QD_OK;
    while (code == QD_OK && found) {
        code = qd_documents_next(documents, &text, &found, err);
        if (code == QD_OK && found)
            code = qd_tokenizer_encode(tokenizer, qd_str_borrow(&text), text.length, QD_SPECIAL_NONE, out, err);
    }
    return code;
}

static qd_code measure_sample(const qd_tokenizer *tokenizer, const char *path, qd_text_format format, double *out,
                              qd_error *err)
{
    qd_documents *documents = NULL;
    QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
    const qd_documents_way way = {
        .format = format, .renderer = &qd_renderer_plain, .limit = QD_TEXT_LIMIT, .sample = SAMPLE_BYTES
    };
    qd_code code = qd_documents_open(path, &way, &documents, err);
    if (code == QD_OK)
        code = encode_sample(tokenizer, documents, &ids, err);
    if (code == QD_OK && ids.count > 0)
        *out = (double)qd_documents_bytes(documents) / (double)ids.count;
    qd_documents_close(documents);
    return code;
}

static qd_code measure_evaluation(const qd_recipe *recipe, const char *text, const char *const *also_texts,
                                  qd_text_sizes *out, qd_error *err)
{
    const qd_text_format format = recipe->evaluation_format;
    qd_code code = size_of(text, &out->evaluation[0], err);
    if (code == QD_OK)
        code = bound_document(text, format, out->evaluation[0], &out->document, err);
    if (code != QD_OK)
        return qd_within(err, code, "evaluation");
    for (size_t i = 0; also_texts != NULL && text != NULL && i < recipe->evaluation_also.count; i++) {
        code = size_of(also_texts[i], &out->evaluation[1 + i], err);
        if (code == QD_OK)
            code = bound_document(also_texts[i], format, out->evaluation[1 + i], &out->document, err);
        if (code != QD_OK)
            return qd_within(err, code, "evaluation.also");
    }
    return QD_OK;
}

/* Of one text: the others are taken to be like it. */
static qd_code measure_rate(const char *model_dir, const qd_recipe *recipe, const char *calibration_text,
                            const char *evaluation_text, double *out, qd_error *err)
{
    qd_tokenizer *tokenizer = NULL;
    const bool evaluated = evaluation_text != NULL;
    const char *text = evaluated ? evaluation_text : calibration_text;
    const qd_text_format format = evaluated ? recipe->evaluation_format : recipe->calibration_format;
    qd_code code = text == NULL ? QD_OK : qd_source_tokenizer(model_dir, &tokenizer, err);
    if (code != QD_OK || text == NULL)
        return code;
    code = measure_sample(tokenizer, text, format, out, err);
    qd_tokenizer_destroy(tokenizer);
    return code == QD_OK ? QD_OK : qd_within(err, code, evaluated ? "evaluation" : "calibration");
}

qd_code qd_text_sizes_of(const char *model_dir, const qd_recipe *recipe, const char *calibration_text,
                         const char *evaluation_text, const char *const *also_texts, qd_text_sizes *out, qd_error *err)
{
    qd_text_sizes sizes = { 0 };
    qd_code code = size_of(calibration_text, &sizes.calibration, err);
    if (code == QD_OK)
        code = bound_document(calibration_text, recipe->calibration_format, sizes.calibration, &sizes.document, err);
    if (code != QD_OK)
        return qd_within(err, code, "calibration");
    code = measure_evaluation(recipe, evaluation_text, also_texts, &sizes, err);
    if (code == QD_OK)
        code = measure_rate(model_dir, recipe, calibration_text, evaluation_text, &sizes.bytes_per_token, err);
    if (code == QD_OK)
        *out = sizes;
    return code;
}
