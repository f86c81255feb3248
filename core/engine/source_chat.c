/* source_chat.c: a model's chat template and the special tokens that it may name; see source.h. */
#include <string.h>

#include "base/json.h"
#include "engine/source.h"
#include "model/folder.h"

enum { DEPTH = 64, MAP_LIMIT = 1 << 20 };

/* Where the template was found, and its text. */
typedef struct found {
    const char *file; /* NULL: nowhere */
    qd_str text;
} found;

static void found_fini(found *f)
{
    qd_str_fini(&f->text);
}

static qd_code read_object(const qd_folder *folder, const char *name, size_t limit, json_t **out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    bool there;
    qd_code code = qd_folder_read_optional(folder, name, limit, &text, &there, err);
    if (code != QD_OK || !there)
        return code;
    code = qd_json_parse_object_wide(qd_str_borrow(&text), text.length, DEPTH, out, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "'%s/%s'", qd_folder_borrow_path(folder), name);
}

/* "default" of [{"name": "default", "template": "..."}, ...]; NULL: it has none of that name. */
static const char *default_of(const json_t *list)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(list, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (name != NULL && strcmp(name, "default") == 0)
            return json_string_value(json_object_get(entry, "template"));
    }
    return NULL;
}

/* The member of a file that holds the template, where it has one. */
static qd_code take_member(const json_t *object, const char *file, found *out, qd_error *err)
{
    const json_t *member = json_object_get(object, "chat_template");
    if (member == NULL || json_is_null(member))
        return QD_OK;
    const char *text = json_is_array(member) ? default_of(member) : json_string_value(member);
    if (text == NULL)
        return qd_fail(err, json_is_array(member) ? QD_EUNSUPPORTED : QD_EFORMAT,
                       "'%s': 'chat_template': a string, or a list that has the template \"default\", is wanted", file);
    out->file = file;
    qd_str_add(&out->text, text);
    return qd_str_check(&out->text, err);
}

/* A file of its own goes before a member of another. */
static qd_code find_template(const qd_folder *folder, const json_t *config, found *out, qd_error *err)
{
    static const char plain[] = "chat_template.jinja", object[] = "chat_template.json";
    QD_AUTO(qd_json_fini) json_t *member = NULL;
    bool there;
    qd_code code = qd_folder_read_optional(folder, plain, QD_CHAT_TEMPLATE_LIMIT, &out->text, &there, err);
    if (code != QD_OK || there) {
        out->file = plain;
        return code;
    }
    qd_str_clear(&out->text);
    code = read_object(folder, object, QD_TOKENIZER_CONFIG_LIMIT, &member, err);
    if (code == QD_OK)
        code = take_member(member, object, out, err);
    return code != QD_OK || out->file != NULL ? code : take_member(config, "tokenizer_config.json", out, err);
}

/* Adds the special tokens that `object` names and `variables` has not: "<s>", or {"content": "<s>", ...}. */
static void add_variables(const json_t *object, json_t *variables)
{
    static const char *const names[] = { "bos_token", "eos_token", "unk_token", "pad_token",
                                         "sep_token", "cls_token", "mask_token" };
    for (size_t i = 0; i < QD_LENGTH(names); i++) {
        const json_t *value = json_object_get(object, names[i]);
        const char *text = json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
        if (text != NULL && json_object_get(variables, names[i]) == NULL)
            json_object_set_new(variables, names[i], json_string(text));
    }
}

static qd_code open_template(const qd_folder *folder, qd_chat **out, qd_error *err)
{
    QD_AUTO(found_fini) found template = { 0 };
    QD_AUTO(qd_json_fini) json_t *config = NULL, *map = NULL, *variables = json_object();
    qd_code code = read_object(folder, "tokenizer_config.json", QD_TOKENIZER_CONFIG_LIMIT, &config, err);
    if (code == QD_OK)
        code = find_template(folder, config, &template, err);
    if (code == QD_OK && template.file == NULL)
        return qd_fail(err, QD_ENOTFOUND,
                       "'%s': no chat template: neither chat_template.jinja, nor 'chat_template' in chat_template.json "
                       "or tokenizer_config.json",
                       qd_folder_borrow_path(folder));
    if (code == QD_OK)
        code = read_object(folder, "special_tokens_map.json", MAP_LIMIT, &map, err);
    if (code != QD_OK)
        return code;
    add_variables(config, variables);
    add_variables(map, variables);
    code = qd_chat_compile(qd_str_borrow(&template.text), template.text.length, variables, out, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "'%s/%s'", qd_folder_borrow_path(folder), template.file);
}

qd_code qd_chat_open(const char *model_path, qd_chat **out, qd_error *err)
{
    qd_folder *folder = NULL;
    qd_code code = qd_folder_open(model_path, &folder, err);
    if (code == QD_OK)
        code = open_template(folder, out, err);
    qd_folder_destroy(folder);
    return code;
}
