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

static int64_t bos_of(const qd_tokenizer *tokenizer)
{
    uint32_t id = 0;
    return tokenizer != NULL && qd_tokenizer_bos(tokenizer, &id) ? (int64_t)id : -1;
}

int64_t qd_source_bos(const qd_model *model, const qd_tokenizer *tokenizer)
{
    int64_t own = qd_model_borrow_config(model)->bos;
    return own >= 0 ? own : bos_of(tokenizer);
}

qd_task_terms qd_source_task_terms(const qd_model *model, const qd_tokenizer *tokenizer)
{
    const qd_model_config *config = qd_model_borrow_config(model);
    int64_t bos = bos_of(tokenizer);
    return (qd_task_terms){ .tokenizer = tokenizer,
                            .bos = bos >= 0 ? bos : config->bos,
                            .most = config->max_positions == 0 ? QD_WINDOW_LENGTH : config->max_positions };
}

typedef struct type_count {
    const qd_dtype *type;
    size_t tensors;
} type_count;

/* Types of all tensors, one entry each, in order of their names. */
static size_t count_types(const qd_model *model, type_count *counts, size_t capacity)
{
    size_t used = 0;
    for (size_t i = 0; i < qd_model_tensor_count(model); i++) {
        const qd_tensor *tensor = qd_model_tensor_at(model, i);
        size_t at = 0;
        while (at < used && strcmp(counts[at].type->name, tensor->dtype->name) < 0)
            at++;
        if (at == used || counts[at].type != tensor->dtype) {
            if (used == capacity)
                continue; /* more types than formats have: counted no further */
            memmove(&counts[at + 1], &counts[at], (used++ - at) * sizeof *counts);
            counts[at] = (type_count){ .type = tensor->dtype };
        }
        counts[at].tensors++;
    }
    return used;
}

qd_code qd_source_quantized(const qd_model *model, json_t **out, qd_error *err)
{
    enum { TYPES = 48 };
    type_count counts[TYPES];
    const char *words = qd_model_quantized_source(model);
    *out = NULL;
    if (words == NULL)
        return QD_OK;
    size_t used = count_types(model, counts, TYPES);
    QD_AUTO(qd_json_fini) json_t *tensors = json_object();
    for (size_t i = 0; i < used; i++)
        json_object_set_new(tensors, counts[i].type->name, json_integer((json_int_t)counts[i].tensors));
    *out = json_pack("{s:s, s:O}", "quantized", words, "tensors", tensors);
    return *out == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

const char *qd_source_quantized_name(const json_t *quantized)
{
    return json_string_value(json_object_get(quantized, "quantized"));
}
