/* arch_table.c: the list of architectures, and the row of a config.json. */
#include <string.h>

#include "base/str.h"
#include "model/arch_private.h"

extern const qd_arch qd_arch_llama, qd_arch_mistral, qd_arch_qwen2, qd_arch_qwen3, qd_arch_gemma, qd_arch_gemma2,
    qd_arch_gemma3, qd_arch_phi3, qd_arch_olmo2, qd_arch_granite, qd_arch_smollm3, qd_arch_stablelm, qd_arch_gpt2,
    qd_arch_opt, qd_arch_gpt_neox, qd_arch_mixtral, qd_arch_qwen3_moe;

static const qd_arch *const table[] = {
    &qd_arch_llama,  &qd_arch_mistral, &qd_arch_qwen2,    &qd_arch_qwen3,   &qd_arch_gemma,     &qd_arch_gemma2,
    &qd_arch_gemma3, &qd_arch_phi3,    &qd_arch_olmo2,    &qd_arch_granite, &qd_arch_smollm3,   &qd_arch_stablelm,
    &qd_arch_gpt2,   &qd_arch_opt,     &qd_arch_gpt_neox, &qd_arch_mixtral, &qd_arch_qwen3_moe,
};

const qd_arch *qd_arch_at(size_t index)
{
    return index < QD_LENGTH(table) ? table[index] : NULL;
}

static bool is_listed(const char *const *names, const char *name)
{
    for (; *names != NULL; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

const qd_arch *qd_arch_find_class(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (is_listed(table[i]->classes, name))
            return table[i];
    return NULL;
}

const qd_arch *qd_arch_find_type(const char *model_type)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (is_listed(table[i]->ops->model_types, model_type))
            return table[i];
    return NULL;
}

static qd_code unknown(const char *name, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str known = { 0 };
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        for (size_t k = 0; table[i]->classes[k] != NULL; k++)
            qd_str_addf(&known, "%s%s", known.length == 0 ? "" : ", ", table[i]->classes[k]);
    return qd_fail(err, QD_EUNSUPPORTED, "architecture '%.100s' is not supported; supported are %s", name,
                   qd_str_borrow(&known));
}

qd_code qd_arch_of_config(const json_t *config, const qd_arch **out, const json_t **out_text, qd_error *err)
{
    const json_t *classes = json_object_get(config, "architectures"), *nested = json_object_get(config, "text_config");
    const char *name = json_string_value(json_array_get(classes, 0));
    const char *type = json_string_value(json_object_get(nested, "model_type"));
    if (name == NULL)
        return qd_fail(err, QD_EFORMAT, "'architectures' is missing or empty");
    *out = qd_arch_find_class(name);
    *out_text = config;
    if (*out != NULL)
        return QD_OK;
    *out = type == NULL ? NULL : qd_arch_find_type(type);
    *out_text = nested;
    return *out != NULL ? QD_OK : unknown(name, err);
}
