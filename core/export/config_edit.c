/* config_edit.c: see config_edit.h. */
#include "export/config_edit.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

enum { CONFIG_LIMIT = 4 << 20, CONFIG_DEPTH = 32 };

static qd_code read_config(const char *dir, json_t **out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, "config.json");
    if (path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return qd_json_read_object(path, CONFIG_LIMIT, CONFIG_DEPTH, out, err);
}

qd_code qd_config_edit(const char *source_dir, const json_t *changes, const char *dir, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *config = NULL;
    qd_code code = read_config(source_dir, &config, err);
    if (code != QD_OK)
        return code;
    json_object_update(config, (json_t *)(uintptr_t)changes);
    QD_AUTO(qd_free_pointer) char *text = json_dumps(config, JSON_INDENT(2));
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, "config.json");
    if (text == NULL || path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return qd_file_write(path, text, strlen(text), err);
}

qd_code qd_config_dtype_key(const char *source_dir, const char **out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *config = NULL;
    qd_code code = read_config(source_dir, &config, err);
    if (code == QD_OK)
        *out = json_object_get(config, "torch_dtype") != NULL ? "torch_dtype" : "dtype";
    return code;
}
