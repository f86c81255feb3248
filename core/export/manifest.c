/* manifest.c: manifest.json: written for a folder, and the folder checked against it: see artifact.h. */
#include "export/manifest.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "export/artifact.h"
#include "export/side_files.h"
#include "export/weights.h"

enum { MANIFEST_LIMIT = 64 << 20, MANIFEST_DEPTH = 32 };
static const char manifest_name[] = "manifest.json";

static qd_code read_manifest(const char *dir, json_t **out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, manifest_name);
    if (path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return qd_json_read_object(path, MANIFEST_LIMIT, MANIFEST_DEPTH, out, err);
}

qd_code qd_manifest_peek(const char *dir, json_t **out, qd_error *err)
{
    qd_error ignored;
    json_t *manifest = NULL;
    qd_code code = read_manifest(dir, &manifest, &ignored);
    if (code == QD_ENOMEM || code == QD_EIO)
        return qd_fail(err, code, "%s", ignored.text);
    if (code == QD_OK && !json_is_string(json_object_get(manifest, "format"))) {
        json_decref(manifest);
        manifest = NULL;
    }
    *out = manifest;
    return QD_OK;
}

qd_code qd_manifest_refuse_root(const char *dir, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *manifest = NULL;
    QD_AUTO(qd_str_fini) qd_str names = { 0 };
    size_t index;
    const json_t *entry;
    if (read_manifest(dir, &manifest, NULL) != QD_OK || json_object_get(manifest, "format") != NULL)
        return QD_OK;
    json_array_foreach(json_object_get(manifest, "formats"), index, entry)
    {
        const char *path = json_string_value(json_object_get(entry, "path"));
        if (path != NULL && index < 8)
            qd_str_addf(&names, "%s%.100s", index == 0 ? "" : ", ", path);
    }
    return names.length == 0 ? QD_OK
                             : qd_fail(err, QD_EUNSUPPORTED,
                                       "'%s' holds one artifact in several containers; name one of its folders: %s",
                                       dir, qd_str_borrow(&names));
}

/* ---- writing ---- */

static qd_code describe_file(const char *dir, const char *name, json_t *files, qd_error *err)
{
    char hex[QD_DIGEST_HEX];
    uint64_t size = 0;
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, name);
    if (path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    qd_code code = qd_file_size(path, &size, err);
    if (code == QD_OK)
        code = qd_sha256_file(path, hex, err);
    if (code != QD_OK)
        return code;
    json_t *file =
        json_pack("{s:s, s:I, s:s, s:s}", "path", name, "size", (json_int_t)size, "sha256", hex, "role",
                  qd_file_role_name(qd_file_role_of(strrchr(name, '/') == NULL ? name : strrchr(name, '/') + 1)));
    return json_array_append_new(files, file) == 0 ? QD_OK : qd_fail(err, QD_ENOMEM, "out of memory");
}

/* Beside the manifest, not in it: what attests it names it among its subjects. */
static bool is_listed(const char *name)
{
    static const char *const others[] = { manifest_name, "provenance.json", "provenance.dsse.json" };
    for (size_t i = 0; i < QD_LENGTH(others); i++)
        if (strcmp(name, others[i]) == 0)
            return false;
    return true;
}

static qd_code describe_files(const char *dir, qd_tree tree, json_t *files, qd_error *err)
{
    char **names = NULL;
    size_t count = 0;
    qd_code code = qd_tree_files_list(dir, tree, &names, &count, err);
    for (size_t i = 0; code == QD_OK && i < count; i++)
        if (is_listed(names[i]))
            code = describe_file(dir, names[i], files, err);
    qd_names_free(names, count);
    return code;
}

/* Integers of rank 1 (a shape, the trivial groups of features) only repeat the config. */
static bool only_repeats(const qd_tensor *tensor)
{
    return tensor->rank == 1 && tensor->dtype->name[0] == 'I';
}

double qd_artifact_bits_per_weight(const qd_artifact *artifact)
{
    const qd_model *model = qd_artifact_model(artifact);
    double bits = 0.0, weights = 0.0;
    for (size_t i = 0; i < qd_model_linear_count(model); i++)
        weights += (double)qd_model_linear_at(model, i)->out * (double)qd_model_linear_at(model, i)->in;
    for (size_t i = 0; i < qd_model_tensor_count(model); i++) {
        size_t ignored;
        const qd_tensor *tensor = qd_model_tensor_at(model, i);
        if (qd_weights_linear(model, tensor, &ignored) != NULL && !only_repeats(tensor))
            bits += 8.0 * (double)tensor->bytes;
    }
    return weights > 0.0 ? bits / weights : 0.0;
}

/* "safetensors:bf16". Before the first manifest is there a dequantized folder looks plain: its weights' type names
 * the variant. */
static qd_code format_name(const qd_artifact *artifact, qd_str *out, qd_error *err)
{
    const qd_format *format = qd_artifact_format(artifact);
    size_t variant = format == NULL ? 0 : qd_artifact_variant(artifact);
    const qd_linear *first = qd_model_linear_at(qd_artifact_model(artifact), 0);
    if (format == NULL) {
        qd_str_add(out, "safetensors:");
        for (const char *c = first->weight->dtype->name; *c != '\0'; c++)
            qd_str_addf(out, "%c", tolower((unsigned char)*c));
        format = qd_format_find(qd_str_borrow(out), &variant);
    }
    if (format == NULL)
        return qd_fail(err, QD_EFORMAT, "tensor '%s': no format writes %s", first->name, first->weight->dtype->name);
    qd_str_clear(out);
    qd_str_add(out, format->name);
    if (format->variants != NULL)
        qd_str_addf(out, ":%s", format->variants[variant]);
    return qd_str_check(out, err);
}

static qd_code describe(const char *dir, json_t **out, qd_error *err)
{
    qd_artifact *artifact = NULL;
    QD_AUTO(qd_str_fini) qd_str format = { 0 };
    QD_AUTO(qd_json_fini) json_t *files = json_array();
    qd_code code = qd_artifact_open(dir, &artifact, err);
    if (code != QD_OK)
        return code;
    code = format_name(artifact, &format, err);
    double bits = qd_artifact_bits_per_weight(artifact);
    qd_artifact_destroy(artifact);
    if (code == QD_OK)
        code = describe_files(dir, QD_TREE_FLAT, files, err);
    if (code != QD_OK)
        return code;
    *out = json_pack("{s:s, s:f, s:O}", "format", format.data, "bits_per_weight", bits, "files", files);
    return *out == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

static qd_code write_down(const char *dir, json_t *manifest, const json_t *extra, json_t **out_manifest, qd_error *err)
{
    if (extra != NULL && json_object_update_missing(manifest, (json_t *)(uintptr_t)extra) != 0)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    QD_AUTO(qd_free_pointer) char *text = json_dumps(manifest, JSON_INDENT(2));
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, manifest_name);
    if (text == NULL || path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    qd_code code = qd_file_write(path, text, strlen(text), err);
    if (code == QD_OK && out_manifest != NULL)
        *out_manifest = json_incref(manifest);
    return code;
}

qd_code qd_artifact_write_manifest(const char *dir, const json_t *extra, json_t **out_manifest, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *manifest = NULL;
    qd_code code = describe(dir, &manifest, err);
    return code == QD_OK ? write_down(dir, manifest, extra, out_manifest, err) : code;
}

qd_code qd_artifact_rewrite_manifest(const char *dir, json_t *manifest, qd_error *err)
{
    return write_down(dir, manifest, NULL, NULL, err);
}

qd_code qd_artifact_write_root_manifest(const char *dir, const json_t *extra, json_t **out_manifest, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *files = json_array(), *manifest = json_pack("{s:O}", "files", files);
    qd_code code = manifest == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
    if (code == QD_OK)
        code = describe_files(dir, QD_TREE_FOLDERS, files, err);
    return code == QD_OK ? write_down(dir, manifest, extra, out_manifest, err) : code;
}

/* ---- checking ---- */

static qd_code check_file(const char *dir, const char *name, const json_t *file, qd_error *err)
{
    char hex[QD_DIGEST_HEX];
    uint64_t size = 0;
    const json_t *wanted = json_object_get(file, "size");
    const char *digest = json_string_value(json_object_get(file, "sha256"));
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, name);
    if (path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    if (!json_is_integer(wanted) || digest == NULL)
        return qd_fail(err, QD_EFORMAT, "manifest.json: file '%s' has no size or no sha256", name);
    qd_code code = qd_file_size(path, &size, err);
    if (code == QD_OK && (json_int_t)size != json_integer_value(wanted))
        return qd_fail(err, QD_EFORMAT, "file '%s' has %" PRIu64 " bytes, the manifest says %" JSON_INTEGER_FORMAT,
                       name, size, json_integer_value(wanted));
    if (code == QD_OK)
        code = qd_sha256_file(path, hex, err);
    if (code == QD_OK && strcmp(hex, digest) != 0)
        code = qd_fail(err, QD_EFORMAT, "file '%s' has the digest %s, the manifest says %.64s", name, hex, digest);
    return code;
}

/* "config.json" or "gguf-q4_0/config.json". */
static bool is_place(const char *path, bool *out_deep)
{
    const char *slash = strchr(path, '/');
    size_t first = slash == NULL ? strlen(path) : (size_t)(slash - path);
    const char *parts[] = { path, slash == NULL ? NULL : slash + 1 };
    const size_t lengths[] = { first, slash == NULL ? 0 : strlen(slash + 1) };
    for (size_t i = 0; i < 2 && parts[i] != NULL; i++)
        if (lengths[i] == 0 || memchr(parts[i], '/', lengths[i]) != NULL || (lengths[i] == 1 && parts[i][0] == '.') ||
            (lengths[i] == 2 && strncmp(parts[i], "..", 2) == 0))
            return false;
    *out_deep = *out_deep || slash != NULL;
    return true;
}

/* The manifest's files by name; duplicates and names that lead elsewhere are refused. out_tree: are there sub-folders? */
static qd_code index_files(const json_t *manifest, json_t *by_name, qd_tree *out_tree, qd_error *err)
{
    bool deep = false;
    const json_t *files = json_object_get(manifest, "files");
    if (!json_is_array(files))
        return qd_fail(err, QD_EFORMAT, "manifest.json: 'files' is not an array");
    for (size_t i = 0; i < json_array_size(files); i++) {
        json_t *file = json_array_get(files, i);
        const char *path = json_string_value(json_object_get(file, "path"));
        if (path == NULL || !is_place(path, &deep))
            return qd_fail(err, QD_EFORMAT, "manifest.json: files[%zu] has no bare file name as its path", i);
        if (json_object_get(by_name, path) != NULL)
            return qd_fail(err, QD_EFORMAT, "manifest.json: file '%.200s' is listed twice", path);
        if (json_object_set(by_name, path, file) != 0)
            return qd_fail(err, QD_ENOMEM, "out of memory");
    }
    *out_tree = deep ? QD_TREE_FOLDERS : QD_TREE_FLAT;
    return QD_OK;
}

static qd_code check_listing(const char *dir, qd_tree tree, json_t *by_name, qd_error *err)
{
    char **names = NULL;
    size_t count = 0;
    qd_code code = qd_tree_files_list(dir, tree, &names, &count, err);
    for (size_t i = 0; code == QD_OK && i < count; i++) {
        const json_t *file = json_object_get(by_name, names[i]);
        if (file == NULL && !is_listed(names[i]))
            continue;
        code = file == NULL ? qd_fail(err, QD_EFORMAT, "file '%s' is not in the manifest", names[i])
                            : check_file(dir, names[i], file, err);
        json_object_del(by_name, names[i]);
    }
    qd_names_free(names, count);
    const char *missing = json_object_iter_key(json_object_iter(by_name));
    if (code == QD_OK && missing != NULL)
        code = qd_fail(err, QD_EFORMAT, "file '%.200s' of the manifest is missing", missing);
    return code;
}

qd_code qd_artifact_check_files(const char *dir, json_t **out_manifest, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *manifest = NULL, *by_name = json_object();
    qd_tree tree = QD_TREE_FLAT;
    qd_code code = read_manifest(dir, &manifest, err);
    if (code == QD_OK)
        code = index_files(manifest, by_name, &tree, err);
    if (code == QD_OK)
        code = check_listing(dir, tree, by_name, err);
    if (code == QD_OK && out_manifest != NULL)
        *out_manifest = json_incref(manifest);
    return code;
}
