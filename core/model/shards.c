/* shards.c: see shards.h. */
#include "model/shards.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "model/gguf_source.h"

enum { INDEX_LIMIT = 32 << 20, INDEX_DEPTH = 4, SHARD_LIMIT = 10000, WARNING_LIMIT = 16 };
static const char single_name[] = "model.safetensors";
static const char index_name[] = "model.safetensors.index.json";

void qd_shards_fini(qd_shards *shards)
{
    for (size_t i = 0; shards->files != NULL && i < shards->file_count; i++)
        qd_safetensors_destroy(shards->files[i]);
    free(shards->files);
    qd_gguf_set_fini(&shards->gguf);
    qd_names_free(shards->names, shards->file_count);
    for (size_t i = 0; shards->renamed != NULL && i < shards->own_count; i++)
        free(shards->renamed[i]);
    free(shards->renamed);
    free(shards->own);
    free(shards->own_file);
    free(shards->tensors);
    free(shards->used);
    qd_names_free(shards->warnings, shards->warning_count);
    *shards = (qd_shards){ 0 };
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const qd_tensor *const *)a)->name, (*(const qd_tensor *const *)b)->name);
}

static const qd_tensor **place_of(const qd_shards *shards, const char *name)
{
    const qd_tensor key = { .name = name }, *at = &key;
    return shards->tensor_count == 0 ? NULL : bsearch(&at, shards->tensors, shards->tensor_count, sizeof at, by_name);
}

const qd_tensor *qd_shards_find(const qd_shards *shards, const char *name)
{
    const qd_tensor **found = place_of(shards, name);
    return found == NULL ? NULL : *found;
}

const qd_tensor *qd_shards_use(qd_shards *shards, const char *name)
{
    const qd_tensor **found = place_of(shards, name);
    if (found == NULL)
        return NULL;
    shards->used[found - shards->tensors] = 1;
    return *found;
}

static qd_code warn(qd_shards *shards, char *text, qd_error *err)
{
    if (text == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    if (shards->warnings == NULL) {
        qd_code code = qd_alloc(WARNING_LIMIT, sizeof *shards->warnings, (void **)&shards->warnings, err);
        if (code != QD_OK) {
            free(text);
            return code;
        }
    }
    if (shards->warning_count < WARNING_LIMIT)
        shards->warnings[shards->warning_count++] = text;
    else
        free(text);
    return QD_OK;
}

/* true when `path`, resolved, lies in `dir`, resolved. */
static bool lies_in(const char *path, const char *dir)
{
    size_t length = strlen(dir);
    if (length == 1) /* the root folder */
        return true;
    return strncmp(path, dir, length) == 0 && path[length] == '/';
}

static qd_code unresolved(const char *path, qd_error *err)
{
    if (errno == ELOOP)
        return qd_fail(err, QD_EFORMAT, "'%s': symbolic links in a circle", path);
    return qd_fail_errno(err, "'%s'", path);
}

qd_code qd_folder_file(const char *dir, const char *name, char **out_path, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, name);
    if (path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    QD_AUTO(qd_free_pointer) char *folder = realpath(dir, NULL);
    if (folder == NULL)
        return unresolved(dir, err);
    QD_AUTO(qd_free_pointer) char *file = realpath(path, NULL);
    if (file == NULL)
        return unresolved(path, err);
    if (!lies_in(file, folder))
        return qd_fail(err, QD_EFORMAT, "'%s' is a symbolic link that leads out of its folder, to '%s'", path, file);
    struct stat info;
    if (stat(file, &info) != 0)
        return qd_fail_errno(err, "'%s'", path);
    if (!S_ISREG(info.st_mode))
        return qd_fail(err, QD_EFORMAT, "'%s' is not a regular file", path);
    *out_path = path;
    path = NULL;
    return QD_OK;
}

static bool ends_in_one(const char *text, const char *const *suffixes)
{
    size_t length = strlen(text);
    for (; *suffixes != NULL; suffixes++) {
        size_t tail = strlen(*suffixes);
        if (length >= tail && strcmp(text + length - tail, *suffixes) == 0)
            return true;
    }
    return false;
}

qd_code qd_shards_warn_unused(qd_shards *shards, const char *within, const char *const *suffixes, qd_error *err)
{
    const char *first = NULL;
    size_t count = 0;
    for (size_t i = 0; i < shards->tensor_count; i++)
        if (!shards->used[i] && strncmp(shards->tensors[i]->name, within, strlen(within)) == 0 &&
            !ends_in_one(shards->tensors[i]->name, suffixes) && count++ == 0)
            first = shards->tensors[i]->name;
    if (count == 0)
        return QD_OK;
    qd_str text = { 0 };
    qd_str_addf(&text, "tensor '%s' has no use in this architecture", first);
    if (count > 1)
        qd_str_addf(&text, ", nor have %zu others", count - 1);
    return warn(shards, qd_str_take(&text), err);
}

static qd_code add_file(qd_shards *shards, const char *dir, const char *name, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = NULL;
    qd_code code = qd_folder_file(dir, name, &path, err);
    if (code == QD_OK)
        code = qd_dup(name, &shards->names[shards->file_count], err);
    if (code != QD_OK)
        return code;
    code = qd_safetensors_open(path, &shards->files[shards->file_count], err);
    if (code != QD_OK) {
        free(shards->names[shards->file_count]);
        return code;
    }
    shards->file_count++;
    return QD_OK;
}

size_t qd_shards_file_of(const qd_shards *shards, const qd_tensor *tensor)
{
    return shards->own_file[tensor - shards->own];
}

void qd_shards_drop(qd_shards *shards, const char *name)
{
    const qd_tensor **found = place_of(shards, name);
    if (found == NULL)
        return;
    size_t at = (size_t)(found - shards->tensors), behind = --shards->tensor_count - at;
    memmove(found, found + 1, behind * sizeof *found);
    memmove(shards->used + at, shards->used + at + 1, behind);
}

qd_code qd_shards_transpose(qd_shards *shards, const char *name, qd_error *err)
{
    const qd_tensor **found = place_of(shards, name);
    qd_tensor *own = found == NULL ? NULL : &shards->own[*found - shards->own];
    if (own == NULL || own->rank != 2 || own->transposed)
        return QD_OK;
    if (own->dtype->block != 0 || !qd_tensor_is_plain(own))
        return qd_fail(err, QD_EUNSUPPORTED,
                       "tensor '%s': weights of dtype %s are not supported where they are stored "
                       "[in, out]",
                       name, own->dtype->name);
    uint64_t rows = own->shape[0];
    own->shape[0] = own->shape[1];
    own->shape[1] = rows;
    own->transposed = true;
    return QD_OK;
}

/* The tensors of safetensors files as the set's own. */
static qd_code read_safetensors(qd_shards *shards, qd_error *err)
{
    size_t total = 0;
    for (size_t i = 0; i < shards->file_count; i++)
        total += qd_safetensors_count(shards->files[i]);
    qd_code code = qd_alloc(total, sizeof *shards->own, (void **)&shards->own, err);
    if (code == QD_OK)
        code = qd_alloc(total, sizeof *shards->own_file, (void **)&shards->own_file, err);
    for (size_t i = 0; code == QD_OK && i < shards->file_count; i++)
        for (size_t k = 0; k < qd_safetensors_count(shards->files[i]); k++) {
            shards->own_file[shards->own_count] = i;
            shards->own[shards->own_count++] = *qd_safetensors_at(shards->files[i], k);
        }
    return code;
}

static qd_code in_two_shards(const qd_shards *shards, const qd_tensor *a, const qd_tensor *b, qd_error *err)
{
    size_t first = qd_shards_file_of(shards, a), second = qd_shards_file_of(shards, b);
    return qd_fail(err, QD_EFORMAT, "tensor '%s' is in two shards, '%s' and '%s'", a->name,
                   shards->names[qd_min_size(first, second)], shards->names[qd_max_size(first, second)]);
}

/* All tensors of all files, sorted; a name in two files is refused. */
static qd_code merge(qd_shards *shards, qd_error *err)
{
    size_t total = shards->own_count;
    qd_code code = qd_alloc(total, sizeof *shards->tensors, (void **)&shards->tensors, err);
    if (code == QD_OK)
        code = qd_alloc(total, sizeof *shards->used, (void **)&shards->used, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < total; i++)
        shards->tensors[i] = &shards->own[i];
    shards->tensor_count = total;
    if (total > 1)
        qsort(shards->tensors, total, sizeof *shards->tensors, by_name);
    for (size_t i = 1; i < total; i++)
        if (strcmp(shards->tensors[i - 1]->name, shards->tensors[i]->name) == 0)
            return in_two_shards(shards, shards->tensors[i - 1], shards->tensors[i], err);
    return QD_OK;
}

qd_code qd_shards_replace(qd_shards *shards, qd_tensor **own, size_t **own_file, char ***renamed, size_t *count,
                          qd_error *err)
{
    void *old[] = { shards->own, shards->own_file, shards->tensors, shards->used };
    for (size_t i = 0; i < QD_LENGTH(old); i++)
        free(old[i]);
    shards->own = *own;
    shards->own_file = *own_file;
    shards->renamed = *renamed;
    shards->own_count = *count;
    shards->tensors = NULL;
    shards->used = NULL;
    *own = NULL;
    *own_file = NULL;
    *renamed = NULL;
    *count = 0;
    return merge(shards, err);
}

/* A bare file name: no folder, no leading dot, ends in .safetensors. */
static qd_code check_shard_name(const char *tensor, const char *name, qd_error *err)
{
    size_t length = strlen(name);
    if (strchr(name, '/') != NULL || strchr(name, '\\') != NULL || name[0] == '.' || length < 13 || length > 255 ||
        strcmp(name + length - 12, ".safetensors") != 0)
        return qd_fail(err, QD_EFORMAT,
                       "%s: tensor '%.200s' is said to be in '%.200s'; a bare name ending in .safetensors is wanted",
                       index_name, tensor, name);
    return QD_OK;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The distinct shard names of a weight_map, sorted; borrowed from it. */
static qd_code shard_names(const json_t *map, const char ***out, size_t *out_count, qd_error *err)
{
    const char *tensor;
    json_t *value;
    size_t count = 0, distinct = 0;
    qd_code code = qd_alloc(json_object_size(map), sizeof **out, (void **)out, err);
    if (code != QD_OK)
        return code;
    json_object_foreach((json_t *)(uintptr_t)map, tensor, value)
    {
        if (!json_is_string(value))
            return qd_fail(err, QD_EFORMAT, "%s: weight_map: '%s' names no file", index_name, tensor);
        code = check_shard_name(tensor, json_string_value(value), err);
        if (code != QD_OK)
            return code;
        (*out)[count++] = json_string_value(value);
    }
    qsort(*out, count, sizeof **out, compare_texts);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp((*out)[i], (*out)[distinct - 1]) != 0)
            (*out)[distinct++] = (*out)[i];
    *out_count = distinct;
    return distinct <= SHARD_LIMIT
               ? QD_OK
               : qd_fail(err, QD_EFORMAT, "%s: %zu shards, the limit is %d", index_name, distinct, SHARD_LIMIT);
}

/* Every mapped tensor must be where the map says; tensors beyond the map and a wrong total are warnings. */
static qd_code check_map(qd_shards *shards, const json_t *index, const json_t *map, qd_error *err)
{
    const char *tensor;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)map, tensor, value)
    {
        const char *file = json_string_value(value);
        char **at = bsearch(&file, shards->names, shards->file_count, sizeof file, compare_texts);
        if (at == NULL || qd_safetensors_find(shards->files[at - shards->names], tensor) == NULL)
            return qd_fail(err, QD_EFORMAT, "%s: tensor '%s' is not in '%s'", index_name, tensor, file);
    }
    uint64_t bytes = 0;
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < shards->tensor_count; i++) {
        bytes += shards->tensors[i]->bytes;
        if (json_object_get(map, shards->tensors[i]->name) == NULL) {
            qd_str text = { 0 };
            qd_str_addf(&text, "%s does not list tensor '%s'", index_name, shards->tensors[i]->name);
            code = warn(shards, qd_str_take(&text), err);
        }
    }
    const json_t *total = json_object_get(json_object_get(index, "metadata"), "total_size");
    if (code == QD_OK && json_is_integer(total) && (uint64_t)json_integer_value(total) != bytes) {
        qd_str text = { 0 };
        qd_str_addf(&text, "%s: total_size is %" JSON_INTEGER_FORMAT ", the tensors have %" PRIu64 " bytes", index_name,
                    json_integer_value(total), bytes);
        code = warn(shards, qd_str_take(&text), err);
    }
    return code;
}

static qd_code reserve(qd_shards *shards, size_t count, qd_error *err)
{
    qd_code code = qd_alloc(count, sizeof *shards->files, (void **)&shards->files, err);
    return code == QD_OK ? qd_alloc(count, sizeof *shards->names, (void **)&shards->names, err) : code;
}

static qd_code open_index(const char *dir, const char *path, qd_shards *shards, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *index = NULL;
    QD_AUTO(qd_free_pointer) const char **names = NULL;
    size_t count = 0;
    qd_code code = qd_json_read_object(path, INDEX_LIMIT, INDEX_DEPTH, &index, err);
    if (code != QD_OK)
        return code;
    const json_t *map = json_object_get(index, "weight_map");
    if (!json_is_object(map) || json_object_size(map) == 0)
        return qd_fail(err, QD_EFORMAT, "%s: 'weight_map' is missing or empty", index_name);
    code = shard_names(map, &names, &count, err);
    if (code == QD_OK)
        code = reserve(shards, count, err);
    for (size_t i = 0; code == QD_OK && i < count; i++) {
        code = add_file(shards, dir, names[i], err);
        if (code == QD_ENOTFOUND)
            code = qd_fail(err, QD_EFORMAT, "%s: shard '%s' is missing", index_name, names[i]);
    }
    if (code == QD_OK)
        code = read_safetensors(shards, err);
    if (code == QD_OK)
        code = merge(shards, err);
    return code == QD_OK ? check_map(shards, index, map, err) : code;
}

static qd_code open_single(const char *dir, qd_shards *shards, qd_error *err)
{
    qd_code code = reserve(shards, 1, err);
    if (code == QD_OK)
        code = add_file(shards, dir, single_name, err);
    if (code == QD_OK)
        code = read_safetensors(shards, err);
    return code == QD_OK ? merge(shards, err) : code;
}

static qd_code open_gguf(const char *path, qd_shards *shards, qd_error *err)
{
    qd_code code = qd_gguf_set_open(path, &shards->gguf, err);
    if (code == QD_OK)
        code = qd_alloc(shards->gguf.count, sizeof *shards->names, (void **)&shards->names, err);
    for (size_t i = 0; code == QD_OK && i < shards->gguf.count; i++) {
        code = qd_dup(shards->gguf.names[i], &shards->names[i], err);
        shards->file_count += code == QD_OK;
    }
    if (code == QD_OK)
        code = qd_gguf_source_read(shards, err);
    return code == QD_OK ? merge(shards, err) : code;
}

/* The first kind of weights that the folder has. */
static qd_code open_folder(const char *dir, qd_shards *shards, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *index = NULL;
    qd_code code = open_single(dir, shards, err);
    if (code != QD_ENOTFOUND)
        return code;
    qd_shards_fini(shards);
    code = qd_folder_file(dir, index_name, &index, err);
    if (code == QD_OK)
        return open_index(dir, index, shards, err);
    if (code != QD_ENOTFOUND)
        return code;
    code = open_gguf(dir, shards, err);
    if (code == QD_ENOTFOUND)
        code = qd_fail(err, QD_ENOTFOUND, "'%s' has neither %s nor %s nor a .gguf file", dir, single_name, index_name);
    return code;
}

bool qd_shards_are_gguf(const char *path)
{
    if (qd_gguf_is_path(path))
        return true;
    const char *const first[] = { single_name, index_name };
    for (size_t i = 0; i < QD_LENGTH(first); i++) {
        QD_AUTO(qd_free_pointer) char *file = qd_path_join(path, first[i]);
        if (file == NULL || qd_path_exists(file))
            return false;
    }
    char **names = NULL;
    size_t count = 0;
    qd_code code = qd_gguf_set_list(path, &names, &count, NULL);
    if (code == QD_OK)
        qd_names_free(names, count);
    return code == QD_OK || code == QD_EFORMAT; /* several that are no set: opening says so */
}

qd_code qd_shards_open(const char *path, qd_shards *out, qd_error *err)
{
    QD_AUTO(qd_shards_fini) qd_shards shards = { 0 };
    qd_code code = qd_gguf_is_path(path) ? open_gguf(path, &shards, err) : open_folder(path, &shards, err);
    if (code != QD_OK)
        return code;
    *out = shards;
    shards = (qd_shards){ 0 };
    return QD_OK;
}
