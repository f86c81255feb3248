/* side_files.c: see side_files.h. */
#include "export/side_files.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "model/folder.h"

enum { CHUNK = 1 << 16 };

/* The first row that matches decides; what no row knows is a side file. Weights in other containers would be the
 * unquantized ones. */
static const struct {
    const char *pattern;
    qd_file_role role;
} roles[] = {
    { "config.json", QD_ROLE_CONFIG },
    { "quantize_config.json", QD_ROLE_CONFIG }, /* what GPTQ and AWQ folders have beside it */
    { "quant_config.json", QD_ROLE_CONFIG },
    { "manifest.json", QD_ROLE_RECORD },
    { "certificate.json", QD_ROLE_RECORD },
    { "recipe.json", QD_ROLE_RECORD },
    { "README.md", QD_ROLE_RECORD },
    { "provenance.json", QD_ROLE_RECORD },
    { "provenance.dsse.json", QD_ROLE_RECORD },
    { "artifacts.tar", QD_ROLE_RECORD },
    { "*.safetensors", QD_ROLE_WEIGHTS },
    { "*.safetensors.index.json", QD_ROLE_WEIGHTS },
    { "pytorch_model*.bin", QD_ROLE_WEIGHTS },
    { "pytorch_model*.bin.index.json", QD_ROLE_WEIGHTS },
    { "*.gguf", QD_ROLE_WEIGHTS },
    { "*.pt", QD_ROLE_WEIGHTS },
    { "*.pth", QD_ROLE_WEIGHTS },
    { "*.ckpt*", QD_ROLE_WEIGHTS },
    { "*.h5", QD_ROLE_WEIGHTS },
    { "*.msgpack", QD_ROLE_WEIGHTS },
    { "*.onnx", QD_ROLE_WEIGHTS },
    { "*.onnx_data", QD_ROLE_WEIGHTS },
};

qd_file_role qd_file_role_of(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(roles); i++)
        if (qd_glob_match(roles[i].pattern, name))
            return roles[i].role;
    return QD_ROLE_SIDE;
}

const char *qd_file_role_name(qd_file_role role)
{
    static const char *const names[] = { "weights", "config", "side", "record" };
    return names[role];
}

static bool is_text(const char *name)
{
    for (const char *at = name; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return false;
    json_t *utf8 = json_string(name);
    json_decref(utf8);
    return utf8 != NULL;
}

typedef enum folders { FOLDERS_SKIP, FOLDERS_REFUSE } folders;

static qd_code check_entry(const char *dir, const char *name, folders policy, bool *out_keep, qd_error *err)
{
    struct stat info;
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, name);
    if (path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    if (!is_text(name))
        return qd_fail(err, QD_EFORMAT, "folder '%s' holds a file whose name is not UTF-8 text", dir);
    if (lstat(path, &info) != 0)
        return qd_fail_errno(err, "stat '%s'", path);
    *out_keep = S_ISREG(info.st_mode);
    if (*out_keep || (S_ISDIR(info.st_mode) && policy == FOLDERS_SKIP))
        return QD_OK;
    const char *what = S_ISLNK(info.st_mode)   ? "a symbolic link"
                       : S_ISDIR(info.st_mode) ? "a folder"
                                               : "a device, pipe or socket";
    return qd_fail(err, QD_EFORMAT, "'%s' is %s; only regular files are taken", path, what);
}

/* A model's README.md would be lost under ours: "README", any number of ".source", ".md" goes one ".source" further. */
static const char card[] = "README", further[] = ".source", end[] = ".md";

static bool is_card(const char *name)
{
    if (strncmp(name, card, strlen(card)) != 0)
        return false;
    const char *at = name + strlen(card);
    while (strncmp(at, further, strlen(further)) == 0)
        at += strlen(further);
    return strcmp(at, end) == 0;
}

/* The name a source's side file has in an artifact, as a heap string; and back. */
static char *carried_name(const char *name)
{
    QD_AUTO(qd_str_fini) qd_str out = { 0 };
    if (is_card(name))
        qd_str_addf(&out, "%s%s%s", card, further, name + strlen(card));
    else
        qd_str_add(&out, name);
    return qd_str_take(&out);
}

static char *source_name(const char *carried)
{
    QD_AUTO(qd_str_fini) qd_str out = { 0 };
    if (is_card(carried))
        qd_str_addf(&out, "%s%s", card, carried + strlen(card) + strlen(further));
    else
        qd_str_add(&out, carried);
    return qd_str_take(&out);
}

/* Keeps the names of regular files: all, side files of an artifact, or those of a source; the rest is not even looked at. */
typedef enum keep { KEEP_ALL, KEEP_SIDE, KEEP_SOURCE } keep;

static bool is_kept(keep which, const char *name)
{
    return which == KEEP_ALL || qd_file_role_of(name) == QD_ROLE_SIDE || (which == KEEP_SOURCE && is_card(name));
}

static qd_code list(const char *dir, keep which, folders policy, char ***out, size_t *out_count, qd_error *err)
{
    char **names = NULL;
    size_t count = 0, kept = 0;
    qd_code code = qd_dir_list(dir, &names, &count, err);
    for (size_t i = 0; code == QD_OK && i < count; i++) {
        bool wanted = false;
        if (is_kept(which, names[i]))
            code = check_entry(dir, names[i], policy, &wanted, err);
        if (code == QD_OK && wanted) {
            char *name = names[i];
            names[i] = names[kept];
            names[kept++] = name;
        }
    }
    if (code != QD_OK) {
        qd_names_free(names, count);
        return code;
    }
    for (size_t i = kept; i < count; i++)
        free(names[i]);
    *out = names;
    *out_count = kept;
    return QD_OK;
}

/* The files of DIR/FOLDER, as "FOLDER/name", behind those that are there. */
static qd_code add_folder(const char *dir, const char *folder, char ***names, size_t *count, qd_error *err)
{
    char **inner = NULL;
    size_t inner_count = 0, capacity = 0;
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, folder);
    qd_code code = path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory")
                                : list(path, KEEP_ALL, FOLDERS_REFUSE, &inner, &inner_count, err);
    if (code == QD_OK && inner_count > 0)
        code = qd_grow((void **)names, &capacity, *count + inner_count, sizeof **names, err);
    for (size_t i = 0; code == QD_OK && i < inner_count; i++) {
        (*names)[*count] = qd_path_join(folder, inner[i]);
        if ((*names)[*count] == NULL)
            code = qd_fail(err, QD_ENOMEM, "out of memory");
        *count += code == QD_OK;
    }
    qd_names_free(inner, inner_count);
    return code;
}

qd_code qd_tree_files_list(const char *dir, qd_tree tree, char ***out, size_t *out_count, qd_error *err)
{
    char **names = NULL, **entries = NULL;
    size_t count = 0, entry_count = 0;
    qd_code code = list(dir, KEEP_ALL, tree == QD_TREE_FLAT ? FOLDERS_REFUSE : FOLDERS_SKIP, &names, &count, err);
    if (code == QD_OK && tree == QD_TREE_FOLDERS)
        code = qd_dir_list(dir, &entries, &entry_count, err);
    size_t files = count;
    for (size_t i = 0, seen = 0; code == QD_OK && i < entry_count;
         i++) { /* both are sorted: what is no file is a folder */
        if (seen < files && strcmp(names[seen], entries[i]) == 0)
            seen++;
        else
            code = add_folder(dir, entries[i], &names, &count, err);
    }
    qd_names_free(entries, entry_count);
    if (code != QD_OK) {
        qd_names_free(names, count);
        return code;
    }
    qd_names_sort(names, count);
    *out = names;
    *out_count = count;
    return QD_OK;
}

/* Weights may be links (they are only read, as numbers); what is copied may not. */
static qd_code list_real(const char *dir, char ***out, size_t *out_count, qd_error *err)
{
    return list(dir, KEEP_SOURCE, FOLDERS_SKIP, out, out_count, err);
}

static qd_code add_made(const qd_folder *folder, char ***names, size_t *count, qd_error *err)
{
    size_t capacity = 0;
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && qd_folder_made_at(folder, i) != NULL; i++) {
        const char *name = qd_folder_made_at(folder, i);
        if (qd_file_role_of(name) != QD_ROLE_SIDE)
            continue;
        code = qd_grow((void **)names, &capacity, *count + 1, sizeof **names, err);
        if (code == QD_OK)
            code = qd_dup(name, &(*names)[*count], err);
        *count += code == QD_OK;
    }
    qd_names_sort(*names, *count);
    return code;
}

static qd_code list_source(const qd_folder *folder, char ***out, size_t *out_count, qd_error *err)
{
    char **names = NULL;
    size_t count = 0;
    qd_code code = QD_OK;
    if (qd_folder_borrow_dir(folder) != NULL)
        code = list_real(qd_folder_borrow_dir(folder), &names, &count, err);
    if (code == QD_OK)
        code = add_made(folder, &names, &count, err);
    if (code != QD_OK) {
        qd_names_free(names, count);
        return code;
    }
    *out = names;
    *out_count = count;
    return QD_OK;
}

qd_code qd_side_files_list(const char *source, char ***out, size_t *out_count, qd_error *err)
{
    qd_folder *folder = NULL;
    qd_code code = qd_folder_open(source, &folder, err);
    if (code == QD_OK)
        code = list_source(folder, out, out_count, err);
    qd_folder_destroy(folder);
    return code;
}

static qd_code open_regular(const char *dir, const char *name, int *out_fd, qd_error *err)
{
    struct stat info;
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, name);
    if (path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    QD_AUTO(qd_close_fd) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return qd_fail_errno(err, "open '%s'", path);
    if (fstat(fd, &info) != 0)
        return qd_fail_errno(err, "stat '%s'", path);
    if (!S_ISREG(info.st_mode))
        return qd_fail(err, QD_EFORMAT, "'%s' is not a regular file", path);
    *out_fd = fd;
    fd = -1;
    return QD_OK;
}

/* Up to CHUNK bytes, fewer only at the end. */
static qd_code read_chunk(int fd, const char *name, unsigned char *chunk, size_t *out_length, qd_error *err)
{
    size_t length = 0;
    while (length < CHUNK) {
        ssize_t got = read(fd, chunk + length, CHUNK - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return qd_fail_errno(err, "read '%s'", name);
        if (got == 0)
            break;
        length += (size_t)got;
    }
    *out_length = length;
    return QD_OK;
}

/* Straight to its name: the folder is not published before everything in it was compared. */
static qd_code copy_file(const char *source_dir, const char *dir, const char *name, qd_error *err)
{
    QD_AUTO(qd_close_fd) int from = -1, to = -1;
    QD_AUTO(qd_free_pointer) char *carried = carried_name(name);
    QD_AUTO(qd_free_pointer) char *path = carried == NULL ? NULL : qd_path_join(dir, carried);
    QD_AUTO(qd_free_pointer) unsigned char *chunk = NULL;
    size_t length = CHUNK;
    qd_code code = path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
    if (code == QD_OK)
        code = qd_alloc(CHUNK, 1, (void **)&chunk, err);
    if (code == QD_OK)
        code = open_regular(source_dir, name, &from, err);
    if (code != QD_OK)
        return code;
    to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (to < 0 || QD_FAULT_FAILS("side-file.created"))
        return qd_fail_errno(err, "create '%s'", path);
    while (code == QD_OK && length == CHUNK) {
        code = read_chunk(from, name, chunk, &length, err);
        if (code == QD_OK)
            code = qd_write_all(to, chunk, length, err);
    }
    if (code != QD_OK)
        return qd_within(err, code, "'%s'", path);
    return !QD_FAULT_FAILS("side-file.sync") && fsync(to) == 0 ? QD_OK : qd_fail_errno(err, "fsync '%s'", path);
}

/* A made file is written as a real one is copied: it must not be there yet. */
static qd_code write_made(const qd_folder *folder, const char *dir, const char *name, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, name);
    qd_code code =
        path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_folder_read(folder, name, SIZE_MAX, &text, err);
    if (code == QD_OK && qd_path_exists(path))
        code = qd_fail(err, QD_ECONFLICT, "create '%s': it exists", path);
    return code == QD_OK ? qd_file_write(path, qd_str_borrow(&text), text.length, err) : code;
}

qd_code qd_side_files_copy(const char *source, const char *dir, qd_error *err)
{
    char **names = NULL;
    size_t count = 0;
    qd_folder *folder = NULL;
    qd_code code = qd_folder_open(source, &folder, err);
    if (code == QD_OK)
        code = list_source(folder, &names, &count, err);
    for (size_t i = 0; code == QD_OK && i < count; i++)
        code = qd_folder_makes(folder, names[i]) ? write_made(folder, dir, names[i], err)
                                                 : copy_file(qd_folder_borrow_dir(folder), dir, names[i], err);
    qd_names_free(names, count);
    qd_folder_destroy(folder);
    return code;
}

static qd_code compare_made(const qd_folder *folder, const char *dir, const char *name, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str wanted = { 0 }, found = { 0 };
    QD_AUTO(qd_close_fd) int fd = -1;
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, name);
    qd_code code =
        path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_folder_read(folder, name, SIZE_MAX, &wanted, err);
    if (code == QD_OK)
        code = open_regular(dir, name, &fd, err);
    if (code == QD_OK)
        code = qd_file_read(path, wanted.length, &found, err);
    if (code == QD_ETOOBIG ||
        (code == QD_OK &&
         (found.length != wanted.length || memcmp(qd_str_borrow(&found), qd_str_borrow(&wanted), found.length) != 0)))
        return qd_fail(err, QD_EFORMAT, "side file '%s' is not what the source's metadata give", name);
    return code;
}

/* name: in the artifact. */
static qd_code compare_file(const char *source_dir, const char *dir, const char *name, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *own = source_name(name);
    QD_AUTO(qd_close_fd) int a = -1, b = -1;
    QD_AUTO(qd_free_pointer) unsigned char *chunks = NULL;
    size_t left = CHUNK, right = CHUNK;
    qd_code code = own == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
    if (code == QD_OK)
        code = qd_alloc(2, CHUNK, (void **)&chunks, err);
    if (code == QD_OK)
        code = open_regular(source_dir, own, &a, err);
    if (code == QD_OK)
        code = open_regular(dir, name, &b, err);
    for (size_t at = 0; code == QD_OK && left == CHUNK; at += left) {
        code = read_chunk(a, name, chunks, &left, err);
        if (code == QD_OK)
            code = read_chunk(b, name, chunks + CHUNK, &right, err);
        if (code == QD_OK && (left != right || memcmp(chunks, chunks + CHUNK, left) != 0))
            return qd_fail(err, QD_EFORMAT, "side file '%s' is not the source's, from byte %zu of it on or later", name,
                           at);
    }
    return code;
}

/* Names of a source's side files become those in an artifact, sorted again. */
static qd_code carry(char **names, size_t count, qd_error *err)
{
    for (size_t i = 0; i < count; i++) {
        char *carried = carried_name(names[i]);
        if (carried == NULL)
            return qd_fail(err, QD_ENOMEM, "out of memory");
        free(names[i]);
        names[i] = carried;
    }
    qd_names_sort(names, count);
    return QD_OK;
}

/* names: as the artifact has them. */
static qd_code compare_all(const qd_folder *folder, const char *dir, char *const *names, size_t count, qd_error *err)
{
    char **copies = NULL;
    size_t copied = 0;
    qd_code code = list(dir, KEEP_SIDE, FOLDERS_SKIP, &copies, &copied, err);
    for (size_t i = 0; code == QD_OK && i < qd_max_size(count, copied); i++) {
        if (i == copied || (i < count && strcmp(names[i], copies[i]) < 0))
            code = qd_fail(err, QD_EFORMAT, "side file '%s' of the source is missing", names[i]);
        else if (i == count || strcmp(names[i], copies[i]) > 0)
            code = qd_fail(err, QD_EFORMAT, "file '%s' is neither the source's nor ours", copies[i]);
        else if (qd_folder_makes(folder, names[i]))
            code = compare_made(folder, dir, names[i], err);
        else
            code = compare_file(qd_folder_borrow_dir(folder), dir, names[i], err);
    }
    qd_names_free(copies, copied);
    return code;
}

qd_code qd_side_files_compare(const char *source, const char *dir, qd_error *err)
{
    char **names = NULL;
    size_t count = 0;
    qd_folder *folder = NULL;
    qd_code code = qd_folder_open(source, &folder, err);
    if (code == QD_OK)
        code = list_source(folder, &names, &count, err);
    if (code == QD_OK)
        code = carry(names, count, err);
    if (code == QD_OK)
        code = compare_all(folder, dir, names, count, err);
    qd_names_free(names, count);
    qd_folder_destroy(folder);
    return code;
}
