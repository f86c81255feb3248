/* hub_tree.c: reads the hub's list of files, which is foreign bytes; see hub_api.h. */
#include "fetch/hub_api.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum { MAX_FILES = 10000, PAGE_DEPTH = 16 };

void qd_hub_tree_fini(qd_hub_tree *tree)
{
    for (size_t i = 0; i < tree->count; i++)
        free(tree->files[i].name);
    free(tree->files);
    *tree = (qd_hub_tree){ 0 };
}

const qd_hub_file *qd_hub_tree_find(const qd_hub_tree *tree, const char *name)
{
    for (size_t i = 0; i < tree->count; i++)
        if (strcmp(tree->files[i].name, name) == 0)
            return &tree->files[i];
    return NULL;
}

/* A path that could lead elsewhere is an attack, not a file to be skipped. */
static qd_code check_path(const char *path, qd_error *err)
{
    const char *bad = path[0] == '/' || path[0] == '\0' ? path : NULL;
    for (const char *part = path; part != NULL; part = strchr(part, '/')) {
        part += *part == '/';
        if (part[0] == '.' && part[1] == '.' && (part[2] == '/' || part[2] == '\0'))
            bad = path;
    }
    for (const char *p = path; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == '\\')
            bad = path;
    return bad == NULL ? QD_OK : qd_fail(err, QD_EFORMAT, "the hub lists a file '%.200s'", path);
}

/* Weights, side files; never pickles or code. Folders below (onnx/, original/) hold other forms of the same model. */
qd_same qd_name_is_of_model(const char *path)
{
    static const char *const allowed[] = { "*.safetensors", "*.gguf",    "*.json",   "tokenizer.model", "*.txt",
                                           "*.jinja",       "README.md", "LICENSE*", "NOTICE*" };
    if (qd_name_is_plain(path) != QD_SAME)
        return QD_DIFFERENT;
    for (size_t i = 0; i < QD_LENGTH(allowed); i++)
        if (qd_glob_match(allowed[i], path))
            return QD_SAME;
    return QD_DIFFERENT;
}

static qd_code take_hex(const char *text, size_t digits, const char *path, const char *what, char *out, qd_error *err)
{
    if (!qd_hex_ok(text, digits, QD_HEX_LOWER))
        return qd_fail(err, QD_EFORMAT, "file '%s': %s is not %zu hex digits", path, what, digits);
    memcpy(out, text, digits + 1);
    return QD_OK;
}

/* "oid" is git's id of what is in the repository: of the file, or of the pointer to a large one, whose own digest is
 * lfs.oid. */
static qd_code read_digests(const json_t *entry, qd_hub_file *file, qd_error *err)
{
    const json_t *lfs = json_object_get(entry, "lfs");
    const json_t *holder = json_is_object(lfs) ? lfs : entry;
    const char *oid;
    size_t size;
    qd_code code = qd_json_text(holder, "oid", "", &oid, err);
    if (code == QD_OK)
        code = qd_json_size(holder, "size", SIZE_MAX, &size, err);
    if (code != QD_OK)
        return qd_within(err, code, "file '%s'", file->name);
    if (size == SIZE_MAX)
        return qd_fail(err, QD_EFORMAT, "file '%s': size is missing", file->name);
    file->size = size;
    return holder == lfs ? take_hex(oid, 64, file->name, "lfs.oid", file->sha256, err)
                         : take_hex(oid, 40, file->name, "oid", file->git_sha1, err);
}

static qd_code add_file(const json_t *entry, const char *path, qd_hub_tree *tree, qd_error *err)
{
    qd_hub_file file = { 0 };
    if (tree->count == MAX_FILES)
        return qd_fail(err, QD_ETOOBIG, "the hub lists more than %d files", MAX_FILES);
    if (qd_hub_tree_find(tree, path) != NULL)
        return qd_fail(err, QD_EFORMAT, "the hub lists '%s' twice", path);
    qd_code code = qd_grow((void **)&tree->files, &tree->capacity, tree->count + 1, sizeof file, err);
    if (code == QD_OK)
        code = qd_dup(path, &file.name, err);
    if (code == QD_OK)
        code = read_digests(entry, &file, err);
    if (code != QD_OK) {
        free(file.name);
        return code;
    }
    tree->files[tree->count++] = file;
    return QD_OK;
}

static qd_code read_entry(const json_t *entry, qd_hub_tree *tree, qd_error *err)
{
    const char *type, *path;
    if (!json_is_object(entry))
        return qd_fail(err, QD_EFORMAT, "an entry of the hub's list is %s, not an object", qd_json_type_name(entry));
    qd_code code = qd_json_text(entry, "type", "", &type, err);
    if (code == QD_OK)
        code = qd_json_text(entry, "path", "", &path, err);
    if (code == QD_OK)
        code = check_path(path, err);
    if (code != QD_OK || strcmp(type, "file") != 0 || qd_name_is_of_model(path) != QD_SAME)
        return code;
    return add_file(entry, path, tree, err);
}

qd_code qd_hub_read_page(const char *text, size_t length, qd_hub_tree *tree, qd_error *err)
{
    json_error_t where;
    if (!qd_json_depth_ok(text, length, PAGE_DEPTH))
        return qd_fail(err, QD_EFORMAT, "the hub's list is nested too deeply");
    QD_AUTO(qd_json_fini) json_t *page = json_loadb(text, length, JSON_REJECT_DUPLICATES, &where);
    if (page == NULL)
        return qd_fail(err, QD_EFORMAT, "the hub's list is not JSON: line %d: %s", where.line, where.text);
    if (!json_is_array(page))
        return qd_fail(err, QD_EFORMAT, "the hub's list is %s, not an array", qd_json_type_name(page));
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < json_array_size(page); i++)
        code = read_entry(json_array_get(page, i), tree, err);
    return code;
}

qd_same qd_link_next(const char *link, char *out, size_t out_size)
{
    for (const char *open = strchr(link, '<'); open != NULL; open = strchr(open + 1, '<')) {
        const char *close = strchr(open, '>');
        if (close == NULL)
            return QD_DIFFERENT;
        size_t params = strcspn(close, ",<"), length = (size_t)(close - open) - 1;
        const char *rel = strstr(close, "rel=\"next\"");
        if (rel != NULL && rel < close + params && length < out_size) {
            memcpy(out, open + 1, length);
            out[length] = '\0';
            return QD_SAME;
        }
    }
    return QD_DIFFERENT;
}
