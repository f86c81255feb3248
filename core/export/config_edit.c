/* config_edit.c: see config_edit.h. */
#include "export/config_edit.h"

#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "model/folder.h"
#include "model/model.h"

qd_code qd_config_json_read(const char *dir, json_t **out, qd_error *err)
{
    qd_folder *folder = NULL;
    qd_code code = qd_folder_open(dir, &folder, err);
    if (code == QD_OK)
        code = qd_folder_config(folder, out, err);
    qd_folder_destroy(folder);
    return code;
}

static const char *const quantization_keys[] = { "quantization_config", "compression_config" };

json_t *qd_quantization_of(const json_t *config)
{
    for (size_t i = 0; i < QD_LENGTH(quantization_keys); i++) {
        json_t *value = json_object_get(config, quantization_keys[i]);
        if (value != NULL && !json_is_null(value))
            return value;
    }
    return NULL;
}

/* {"bits", ...} of an older folder, which says by the name of its file what made it. */
static qd_code take_beside(const char *dir, const char *name, const char *method, json_t *config, qd_error *err)
{
    json_t *beside = NULL;
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, name);
    if (path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    if (qd_quantization_of(config) != NULL || !qd_path_exists(path))
        return QD_OK;
    qd_code code = qd_json_read_object(path, QD_CONFIG_LIMIT, QD_CONFIG_DEPTH, &beside, err);
    if (code != QD_OK)
        return code;
    if (json_object_get(beside, "quant_method") == NULL)
        json_object_set_new(beside, "quant_method", json_string(method));
    return json_object_set_new(config, quantization_keys[0], beside) == 0 ? QD_OK
                                                                          : qd_fail(err, QD_ENOMEM, "out of memory");
}

qd_code qd_config_json_read_quantized(const char *dir, json_t **out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *config = NULL;
    qd_code code = qd_config_json_read(dir, &config, err);
    if (code == QD_OK)
        code = take_beside(dir, "quantize_config.json", "gptq", config, err);
    if (code == QD_OK)
        code = take_beside(dir, "quant_config.json", "awq", config, err);
    if (code != QD_OK)
        return code;
    *out = json_incref(config);
    return QD_OK;
}

qd_code qd_config_json_edit(const char *source_dir, const json_t *changes, const char *dir, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *config = NULL;
    qd_code code = qd_config_json_read(source_dir, &config, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < QD_LENGTH(quantization_keys); i++)
        json_object_del(config, quantization_keys[i]);
    json_object_update(config, (json_t *)(uintptr_t)changes);
    QD_AUTO(qd_free_pointer) char *text = json_dumps(config, JSON_INDENT(2));
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, "config.json");
    if (text == NULL || path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return qd_file_write(path, text, strlen(text), err);
}

static const char *const dtype_keys[] = { "torch_dtype", "dtype" };

qd_code qd_config_json_set_dtype(const char *source_dir, const char *dtype, const char *dir, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *config = NULL;
    qd_code code = qd_config_json_read(source_dir, &config, err);
    if (code != QD_OK)
        return code;
    bool old = json_object_get(config, dtype_keys[0]) != NULL;
    QD_AUTO(qd_json_fini) json_t *changes = json_pack("{s:s}", dtype_keys[old ? 0 : 1], dtype);
    if (changes == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return qd_config_json_edit(source_dir, changes, dir, err);
}

const char *qd_config_dtype(const json_t *config, const char *fallback)
{
    static const char *const names[][2] = { { "bfloat16", "BF16" }, { "float16", "F16" }, { "float32", "F32" } };
    for (size_t i = 0; i < QD_LENGTH(dtype_keys); i++) {
        const char *said = json_string_value(json_object_get(config, dtype_keys[i]));
        for (size_t k = 0; said != NULL && k < QD_LENGTH(names); k++)
            if (strcmp(said, names[k][0]) == 0)
                return names[k][1];
    }
    return fallback;
}

qd_code qd_config_json_edit_packed(const qd_model *model, json_t *changes, const char *dir, qd_error *err)
{
    const json_t *config = qd_model_borrow_config_json(model);
    const char *dtype = qd_model_borrow_config(model)->dtype;
    bool widened = qd_model_quantized_source(model) != NULL && strcmp(dtype, "F32") == 0;
    for (size_t i = 0; widened && i < QD_LENGTH(dtype_keys); i++)
        if (json_object_get(config, dtype_keys[i]) != NULL &&
            json_object_set_new(changes, dtype_keys[i], json_string("float32")) != 0)
            return qd_fail(err, QD_ENOMEM, "out of memory");
    return qd_config_json_edit(qd_model_borrow_path(model), changes, dir, err);
}

qd_code qd_config_json_compare(const char *source_dir, const char *dir, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *source = NULL, *copy = NULL;
    const char *key;
    json_t *value;
    qd_code code = qd_config_json_read(source_dir, &source, err);
    if (code == QD_OK)
        code = qd_config_json_read(dir, &copy, err);
    if (code != QD_OK)
        return code;
    json_object_foreach(source, key, value)
    {
        bool ours = false;
        for (size_t i = 0; i < QD_LENGTH(dtype_keys); i++)
            ours = ours || strcmp(key, dtype_keys[i]) == 0 || strcmp(key, quantization_keys[i]) == 0;
        if (!ours && !json_equal(value, json_object_get(copy, key)))
            return qd_fail(err, QD_EFORMAT, "config.json: '%.100s' is not the source's", key);
    }
    return QD_OK;
}
