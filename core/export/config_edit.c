/* config_edit.c: see config_edit.h. */
#include "export/config_edit.h"

#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "model/model.h"
#include "model/shards.h"

qd_code qd_config_json_read(const char *dir, json_t **out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = NULL;
    qd_code code = qd_folder_file(dir, "config.json", &path, err);
    if (code != QD_OK)
        return code;
    return qd_json_read_object(path, QD_CONFIG_LIMIT, QD_CONFIG_DEPTH, out, err);
}

qd_code qd_config_json_edit(const char *source_dir, const json_t *changes, const char *dir, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *config = NULL;
    qd_code code = qd_config_json_read(source_dir, &config, err);
    if (code != QD_OK)
        return code;
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
        bool is_dtype = strcmp(key, dtype_keys[0]) == 0 || strcmp(key, dtype_keys[1]) == 0;
        if (!is_dtype && !json_equal(value, json_object_get(copy, key)))
            return qd_fail(err, QD_EFORMAT, "config.json: '%.100s' is not the source's", key);
    }
    return QD_OK;
}
