/* corpus.c: a text file as ids; see corpus.h. */
#include "text/corpus.h"

#include <string.h>

#include "base/file.h"

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

qd_code qd_corpus_read(const qd_tokenizer *tokenizer, const char *path, qd_split split, size_t limit, qd_ids *out,
                       qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    qd_code code = qd_file_read(path, limit, &text, err);
    if (code != QD_OK)
        return code;
    if (text.length == 0)
        return qd_fail(err, QD_EINVAL, "'%s': the text is empty", path);
    if (split == QD_SPLIT_LINES && text.data[text.length - 1] != '\n')
        qd_str_add(&text, "\n"); /* the reference counts have it: reference-numbers.md §2, calibration ids */
    code = qd_str_check(&text, err);
    if (code != QD_OK)
        return code;
    code = split == QD_SPLIT_LINES
               ? encode_lines(tokenizer, qd_str_borrow(&text), text.length, out, err)
               : qd_tokenizer_encode(tokenizer, qd_str_borrow(&text), text.length, QD_SPECIAL_NONE, out, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "'%s'", path);
}
