/* compressed_tensors_ignore.c: what a packed folder says its loaders must leave alone: see compressed_tensors.h. It is what qd_weights_name_plain
 * names, the modules of a wrapper's other parts by one pattern a part. */
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "export/compressed_tensors.h"
#include "export/weights.h"

/* "vision_tower" of "model.vision_tower.encoder.layers.0.mlp.fc1": its length, and where it begins. */
static size_t first_part(const char *name, const char **out)
{
    static const char above[] = "model.";
    *out = strncmp(name, above, strlen(above)) == 0 ? name + strlen(above) : name;
    return strcspn(*out, ".");
}

/* Does it lie beside the text model of a wrapper? (Whatever has a packed layer below it does not.) */
static bool is_beside(const qd_model *model, const char *part, size_t length)
{
    const char *first;
    size_t text = first_part(qd_model_linear_at(model, 0)->name, &first);
    return qd_model_is_known(model) && qd_model_borrow_text_config(model) != qd_model_borrow_config_json(model) &&
           (text != length || strncmp(first, part, length) != 0);
}

/* A part of a multimodal model beside its text model is called otherwise in files than in memory ("vision_tower." and "model.vision_tower."): a
 * pattern holds for both. */
static void entry_of(const qd_model *model, const char *module, qd_str *out)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    const char *part;
    size_t length = first_part(module, &part);
    if (part[length] == '.' && part[length + 1] != '\0' && strspn(part, plain) == length &&
        is_beside(model, part, length))
        qd_str_addf(out, "re:.*%.*s\\..*", (int)length, part);
    else
        qd_str_add(out, module);
}

/* Modules come in order of their names: those of one part follow each other. */
static bool is_last(const json_t *list, const char *entry)
{
    const json_t *last = json_array_get(list, json_array_size(list) - 1);
    return last != NULL && strcmp(json_string_value(last), entry) == 0;
}

qd_code qd_packed_ignore(const qd_model *model, json_t *list, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *modules = json_array();
    qd_code code = qd_weights_name_plain(model, modules, err);
    for (size_t i = 0; code == QD_OK && i < json_array_size(modules); i++) {
        QD_AUTO(qd_str_fini) qd_str entry = { 0 };
        entry_of(model, json_string_value(json_array_get(modules, i)), &entry);
        code = qd_str_check(&entry, err);
        if (code == QD_OK && !is_last(list, entry.data) && json_array_append_new(list, json_string(entry.data)) != 0)
            code = qd_fail(err, QD_ENOMEM, "out of memory");
    }
    return code;
}
