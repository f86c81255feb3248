/* source.c: see source.h. */
#include "engine/source.h"

#include <string.h>

#include "base/json.h"
#include "model/folder.h"

static qd_code read_tokenizer(const qd_folder *folder, qd_tokenizer **out, qd_error *err)
{
    static const char name[] = "tokenizer.json";
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    qd_code code = qd_folder_read(folder, name, QD_TOKENIZER_LIMIT, &text, err);
    if (code != QD_OK)
        return code;
    code = qd_tokenizer_parse(qd_str_borrow(&text), text.length, out, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "'%s/%s'", qd_folder_borrow_path(folder), name);
}

static qd_code configure(const qd_folder *folder, qd_tokenizer *tokenizer, qd_error *err)
{
    static const char name[] = "tokenizer_config.json";
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    bool found;
    qd_code code = qd_folder_read_optional(folder, name, QD_TOKENIZER_CONFIG_LIMIT, &text, &found, err);
    if (code != QD_OK || !found)
        return code;
    code = qd_tokenizer_configure(tokenizer, qd_str_borrow(&text), text.length, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "'%s/%s'", qd_folder_borrow_path(folder), name);
}

qd_code qd_source_tokenizer(const char *path, qd_tokenizer **out, qd_error *err)
{
    qd_folder *folder = NULL;
    qd_tokenizer *tokenizer = NULL;
    qd_code code = qd_folder_open(path, &folder, err);
    if (code == QD_OK)
        code = read_tokenizer(folder, &tokenizer, err);
    if (code == QD_OK)
        code = configure(folder, tokenizer, err);
    qd_folder_destroy(folder);
    if (code == QD_OK)
        *out = tokenizer;
    else
        qd_tokenizer_destroy(tokenizer);
    return code;
}
