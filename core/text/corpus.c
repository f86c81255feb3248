/* corpus.c: the documents of a text file as ids; see corpus.h. */
#include "text/corpus.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static const char *const splits[] = { "whole", "lines" };

const char *qd_split_name(size_t index)
{
    return index < QD_LENGTH(splits) ? splits[index] : NULL;
}

int qd_split_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(splits); i++)
        if (strcmp(splits[i], name) == 0)
            return (int)i;
    return -1;
}

/* Each line with its newline by itself (reference-numbers.md §1, "Tokens"). */
static qd_code encode_lines(const qd_tokenizer *tokenizer, const char *text, size_t length, qd_ids *out, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t at = 0; code == QD_OK && at < length;) {
        const char *newline = memchr(text + at, '\n', length - at);
        size_t end = newline == NULL ? length : (size_t)(newline - text) + 1;
        code = qd_tokenizer_encode(tokenizer, text + at, end - at, QD_SPECIAL_NONE, out, err);
        at = end;
    }
    return code;
}

void qd_corpus_fini(qd_corpus *corpus)
{
    qd_ids_fini(&corpus->ids);
    free(corpus->ends);
    *corpus = (qd_corpus){ 0 };
}

static qd_code add_document(const qd_tokenizer *tokenizer, qd_split split, qd_str *text, qd_corpus *corpus,
                            qd_error *err)
{
    size_t before = corpus->ids.count;
    if (split == QD_SPLIT_LINES && text->length > 0 && text->data[text->length - 1] != '\n')
        qd_str_add(text, "\n"); /* the reference counts have it: reference-numbers.md §2, calibration ids */
    qd_code code = qd_str_check(text, err);
    if (code == QD_OK && text->length > 0)
        code = split == QD_SPLIT_LINES
                   ? encode_lines(tokenizer, text->data, text->length, &corpus->ids, err)
                   : qd_tokenizer_encode(tokenizer, text->data, text->length, QD_SPECIAL_NONE, &corpus->ids, err);
    if (code != QD_OK)
        return code;
    if (corpus->ids.count == before) {
        corpus->empty++;
        return QD_OK;
    }
    code = qd_grow((void **)&corpus->ends, &corpus->capacity, corpus->documents + 1, sizeof *corpus->ends, err);
    if (code == QD_OK)
        corpus->ends[corpus->documents++] = corpus->ids.count;
    return code;
}

static qd_code add_documents(const qd_tokenizer *tokenizer, qd_split split, qd_documents *documents, qd_corpus *corpus,
                             qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    bool found = true;
    qd_code code = QD_OK;
    while (code == QD_OK && found) {
        code = qd_documents_next(documents, &text, &found, err);
        if (code == QD_OK && found)
            code = add_document(tokenizer, split, &text, corpus, err);
    }
    corpus->format = qd_documents_format(documents);
    corpus->packing = qd_documents_packing(documents);
    corpus->bytes = qd_documents_bytes(documents);
    return code;
}

qd_code qd_corpus_read(const qd_tokenizer *tokenizer, const char *path, const qd_corpus_way *way, qd_corpus *out,
                       qd_error *err)
{
    qd_documents *documents = NULL;
    QD_AUTO(qd_corpus_fini) qd_corpus corpus = { 0 };
    const qd_documents_way how = { .format = way->format,
                                   .renderer = way->renderer,
                                   .limit = way->limit == 0 ? QD_TEXT_LIMIT : way->limit };
    qd_code code = qd_documents_open(path, &how, &documents, err);
    if (code == QD_OK)
        code = add_documents(tokenizer, way->split, documents, &corpus, err);
    qd_documents_close(documents);
    if (code != QD_OK)
        return code;
    if (corpus.ids.count == 0)
        return qd_fail(err, QD_EINVAL, "'%s': the text is empty: %zu documents without a token", path, corpus.empty);
    *out = corpus;
    corpus = (qd_corpus){ 0 };
    return QD_OK;
}
