/* folder.c: see folder.h. */
#include "model/folder.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "model/gguf_config.h"
#include "model/gguf_side.h"
#include "model/model.h"
#include "model/shards.h"

static const char config_name[] = "config.json";
enum { MOST_MADE = 8 };

struct qd_folder {
    char *path;
    char *dir;                   /* NULL: path is the GGUF itself */
    qd_gguf_set gguf;            /* of count 0 where the weights are none */
    const char *made[MOST_MADE]; /* rows of the table that apply, by name */
    size_t made_count;
};

static qd_code write_config(const qd_folder *folder, qd_str *out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *config = NULL;
    qd_code code = qd_gguf_set_config(&folder->gguf, &config, err);
    if (code != QD_OK)
        return code;
    QD_AUTO(qd_free_pointer) char *text = json_dumps(config, JSON_INDENT(2));
    if (text == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory writing a configuration");
    qd_str_add(out, text);
    qd_str_add(out, "\n");
    return qd_str_check(out, err);
}

/* What can be made, by name; `needs` is the key without which it is not; write NULL: config.json. */
static const struct {
    const char *name, *needs;
    qd_code (*write)(const qd_gguf *file, qd_str *out, qd_error *err);
} table[] = {
    { config_name, "general.architecture", NULL },
    { "generation_config.json", "tokenizer.ggml.tokens", qd_gguf_generation_config_json },
    { "tokenizer.json", "tokenizer.ggml.tokens", qd_gguf_tokenizer_json },
    { "tokenizer_config.json", "tokenizer.ggml.tokens", qd_gguf_tokenizer_config_json },
};

void qd_folder_destroy(qd_folder *folder)
{
    if (folder == NULL)
        return;
    qd_gguf_set_fini(&folder->gguf);
    free(folder->dir);
    free(folder->path);
    free(folder);
}

static bool has_real(const qd_folder *folder, const char *name)
{
    QD_AUTO(qd_free_pointer) char *path = folder->dir == NULL ? NULL : qd_path_join(folder->dir, name);
    return path != NULL && qd_path_exists(path);
}

static qd_code choose_made(qd_folder *folder, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *config = NULL;
    qd_code code = qd_gguf_config_beside(folder->path, &config, err);
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(table); i++) {
        bool real = table[i].write == NULL ? config != NULL : has_real(folder, table[i].name);
        if (!real && qd_gguf_key(folder->gguf.files[0], table[i].needs) != NULL)
            folder->made[folder->made_count++] = table[i].name;
    }
    return code;
}

static qd_code open_folder(qd_folder *folder, qd_error *err)
{
    struct stat info;
    if (stat(folder->path, &info) != 0)
        return qd_fail_errno(err, "stat");
    if (!S_ISDIR(info.st_mode) && !qd_gguf_is_path(folder->path))
        return qd_fail(err, QD_EINVAL, "it is a file: a model is a folder, or one .gguf file");
    qd_code code = S_ISDIR(info.st_mode) ? qd_dup(folder->path, &folder->dir, err) : QD_OK;
    if (code == QD_OK && qd_shards_are_gguf(folder->path))
        code = qd_gguf_set_open(folder->path, &folder->gguf, err);
    return code == QD_OK && folder->gguf.count > 0 ? choose_made(folder, err) : code;
}

qd_code qd_folder_open(const char *path, qd_folder **out, qd_error *err)
{
    qd_folder *folder = NULL;
    qd_code code = qd_alloc(1, sizeof *folder, (void **)&folder, err);
    if (code == QD_OK)
        code = qd_dup(path, &folder->path, err);
    if (code == QD_OK)
        code = open_folder(folder, err);
    if (code != QD_OK) {
        qd_folder_destroy(folder);
        return qd_within(err, code, "'%s'", path);
    }
    *out = folder;
    return QD_OK;
}

const char *qd_folder_borrow_path(const qd_folder *folder)
{
    return folder->path;
}

const char *qd_folder_borrow_dir(const qd_folder *folder)
{
    return folder->dir;
}

const qd_gguf_set *qd_folder_gguf(const qd_folder *folder)
{
    return folder->gguf.count == 0 ? NULL : &folder->gguf;
}

const char *qd_folder_made_at(const qd_folder *folder, size_t index)
{
    return index < folder->made_count ? folder->made[index] : NULL;
}

bool qd_folder_makes(const qd_folder *folder, const char *name)
{
    for (size_t i = 0; i < folder->made_count; i++)
        if (strcmp(folder->made[i], name) == 0)
            return true;
    return false;
}

static qd_code make(const qd_folder *folder, const char *name, size_t limit, qd_str *out, qd_error *err)
{
    qd_code code = QD_OK;
    qd_str_clear(out);
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(table); i++)
        if (strcmp(table[i].name, name) == 0)
            code = table[i].write == NULL ? write_config(folder, out, err)
                                          : table[i].write(folder->gguf.files[0], out, err);
    if (code == QD_OK && out->length > limit)
        code = qd_fail(err, QD_ETOOBIG, "%zu bytes; the limit is %zu", out->length, limit);
    return code == QD_OK ? QD_OK : qd_within(err, code, "'%s': its %s", folder->gguf.names[0], name);
}

qd_code qd_folder_read(const qd_folder *folder, const char *name, size_t limit, qd_str *out, qd_error *err)
{
    if (qd_folder_makes(folder, name))
        return make(folder, name, limit, out, err);
    if (folder->dir == NULL)
        return qd_fail(err, QD_ENOTFOUND, "'%s' says nothing that a %s can be made of", folder->path, name);
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(folder->dir, name);
    return path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_file_read_regular(path, limit, out, err);
}

qd_code qd_folder_read_optional(const qd_folder *folder, const char *name, size_t limit, qd_str *out, bool *out_found,
                                qd_error *err)
{
    *out_found = qd_folder_makes(folder, name) || has_real(folder, name);
    return *out_found ? qd_folder_read(folder, name, limit, out, err) : QD_OK;
}

/* A lone GGUF has itself, and the other files of its set. */
static qd_code locate_in_set(const qd_folder *folder, const char *name, char **out_path, qd_error *err)
{
    for (size_t i = 0; i < folder->gguf.count; i++)
        if (strcmp(name, folder->gguf.names[i]) == 0) {
            *out_path = qd_path_join(folder->gguf.dir, name);
            return *out_path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
        }
    return qd_fail(err, QD_ENOTFOUND, "'%s' has no '%s'", folder->path, name);
}

qd_code qd_folder_locate(const qd_folder *folder, const char *name, char **out_path, qd_error *err)
{
    *out_path = NULL;
    if (qd_folder_makes(folder, name))
        return QD_OK;
    if (folder->dir == NULL)
        return locate_in_set(folder, name, out_path, err);
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(folder->dir, name);
    if (path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    if (!qd_path_exists(path))
        return qd_fail(err, QD_ENOTFOUND, "'%s' has no '%s'", folder->path, name);
    *out_path = path;
    path = NULL;
    return QD_OK;
}

qd_code qd_folder_config(const qd_folder *folder, json_t **out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = NULL;
    if (folder->dir == NULL || qd_folder_makes(folder, config_name)) {
        QD_AUTO(qd_str_fini) qd_str text = { 0 };
        qd_code code = qd_folder_read(folder, config_name, QD_CONFIG_LIMIT, &text, err);
        return code == QD_OK ? qd_json_parse_object(qd_str_borrow(&text), text.length, QD_CONFIG_DEPTH, out, err)
                             : code;
    }
    qd_code code = qd_folder_file(folder->dir, config_name, &path, err);
    return code == QD_OK ? qd_json_read_object(path, QD_CONFIG_LIMIT, QD_CONFIG_DEPTH, out, err) : code;
}
