/* word_model.c: see word_model.h. */
#include "text/word_model.h"

#include <stdio.h>
#include <string.h>

static const qd_word_model *const table[] = { &qd_word_model_bpe, &qd_word_model_unigram };

qd_code qd_word_model_find(const json_t *model, const qd_word_model **out, qd_error *err)
{
    if (!json_is_object(model))
        return qd_fail(err, QD_EFORMAT, "'model': an object is wanted, found %s", qd_json_type_name(model));
    const char *type = json_string_value(json_object_get(model, "type"));
    if (type == NULL && json_is_array(json_object_get(model, "merges")))
        type = "BPE";
    if (type == NULL)
        return qd_fail(err, QD_EFORMAT, "'model': it has neither 'type' nor 'merges'");
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (strcmp(type, table[i]->name) == 0) {
            *out = table[i];
            return QD_OK;
        }
    QD_AUTO(qd_str_fini) qd_str known = { 0 };
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        qd_str_addf(&known, "%s%s", i == 0 ? "" : ", ", table[i]->name);
    return qd_fail(err, QD_EUNSUPPORTED, "model type '%.60s' is not supported; known: %s", type, qd_str_borrow(&known));
}

void qd_word_model_byte_token(unsigned char byte, char out[7])
{
    snprintf(out, 7, "<0x%02X>", byte);
}
