/* gguf_set.c: see gguf_set.h. */
#include "model/gguf_set.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/shards.h"

enum { MOST_FILES = 1000, SPLIT_TAIL = 20 /* "-00001-of-00003.gguf" */ };

static bool ends_in_gguf(const char *name)
{
    size_t length = strlen(name);
    return length > 5 && strcmp(name + length - 5, ".gguf") == 0;
}

bool qd_gguf_is_path(const char *path)
{
    struct stat info;
    return ends_in_gguf(path) && !(stat(path, &info) == 0 && S_ISDIR(info.st_mode));
}

/* Five digits as a number; 0 when they are none. */
static size_t five_digits(const char *at)
{
    size_t value = 0;
    for (size_t i = 0; i < 5; i++) {
        if (at[i] < '0' || at[i] > '9')
            return 0;
        value = 10 * value + (size_t)(at[i] - '0');
    }
    return value;
}

/* The numbers in a name of a set; false for a name of its own. */
static bool split_numbers(const char *name, size_t *out_number, size_t *out_count)
{
    size_t length = strlen(name);
    if (length <= SPLIT_TAIL)
        return false;
    const char *tail = name + length - SPLIT_TAIL;
    if (tail[0] != '-' || strncmp(tail + 6, "-of-", 4) != 0 || strcmp(tail + 15, ".gguf") != 0)
        return false;
    *out_number = five_digits(tail + 1);
    *out_count = five_digits(tail + 10);
    return *out_number > 0 && *out_number <= *out_count && *out_count <= MOST_FILES;
}

/* All names of the set that `name` belongs to, in order. */
static qd_code name_all(const char *name, char ***out, size_t *out_count, qd_error *err)
{
    size_t number = 0, count = 1, length = strlen(name);
    bool split = split_numbers(name, &number, &count);
    char **names = NULL;
    qd_code code = qd_alloc(count, sizeof *names, (void **)&names, err);
    for (size_t i = 0; code == QD_OK && i < count; i++) {
        code = qd_dup(name, &names[i], err);
        if (code == QD_OK && split) { /* no snprintf: the tail has its length already */
            char digits[6];
            snprintf(digits, sizeof digits, "%05zu", (i + 1) % 100000);
            memcpy(names[i] + length - SPLIT_TAIL + 1, digits, 5);
        }
    }
    if (code != QD_OK) {
        qd_names_free(names, names == NULL ? 0 : count);
        return code;
    }
    *out = names;
    *out_count = count;
    return QD_OK;
}

static bool is_one_of(const char *name, char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

qd_code qd_gguf_set_list(const char *dir, char ***out_names, size_t *out_count, qd_error *err)
{
    char **found = NULL, **names = NULL;
    size_t all = 0, kept = 0, count = 0;
    qd_code code = qd_dir_list(dir, &found, &all, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < all; i++)
        if (ends_in_gguf(found[i])) {
            char *name = found[i];
            found[i] = found[kept];
            found[kept++] = name;
        }
    if (kept == 0)
        code = qd_fail(err, QD_ENOTFOUND, "'%s' holds no .gguf file", dir);
    else
        code = name_all(found[0], &names, &count, err);
    for (size_t i = 0; code == QD_OK && i < kept; i++)
        if (!is_one_of(found[i], names, count))
            code = qd_fail(err, QD_EFORMAT, "'%s' holds '%s' and '%s', which are no set: give the path of one", dir,
                           found[0], found[i]);
    for (size_t i = 0; code == QD_OK && i < count; i++)
        if (!is_one_of(names[i], found, kept))
            code = qd_fail(err, QD_EFORMAT, "'%s' holds '%s', but not '%s'", dir, found[0], names[i]);
    qd_names_free(found, all);
    if (code != QD_OK) {
        qd_names_free(names, count);
        return code;
    }
    *out_names = names;
    *out_count = count;
    return QD_OK;
}

void qd_gguf_set_fini(qd_gguf_set *set)
{
    for (size_t i = 0; set->files != NULL && i < set->count; i++)
        qd_gguf_destroy(set->files[i]);
    free(set->files);
    qd_names_free(set->names, set->count);
    free(set->dir);
    *set = (qd_gguf_set){ 0 };
}

static qd_code split_path(const char *path, char **out_dir, char **out_name, qd_error *err)
{
    const char *slash = strrchr(path, '/');
    qd_code code = qd_dup(slash == NULL ? path : slash + 1, out_name, err);
    if (code == QD_OK)
        code = qd_dup(slash == NULL ? "." : slash == path ? "/" : path, out_dir, err);
    if (code == QD_OK && slash != NULL && slash != path)
        (*out_dir)[slash - path] = '\0';
    return code;
}

/* What the keys of a split file say must be what its name says. */
static qd_code check_numbers(const qd_gguf_set *set, size_t index, qd_error *err)
{
    size_t number = index, count = set->count;
    qd_code code = qd_gguf_size(set->files[index], "split.no", index, &number, err);
    if (code == QD_OK)
        code = qd_gguf_size(set->files[index], "split.count", set->count, &count, err);
    if (code != QD_OK)
        return code;
    if (number != index || (count != set->count && !(count == 0 && set->count == 1)))
        return qd_fail(err, QD_EFORMAT, "'%s': keys 'split.no' %zu and 'split.count' %zu, but it is file %zu of %zu",
                       set->names[index], number, count, index + 1, set->count);
    return QD_OK;
}

static qd_code check_total(const qd_gguf_set *set, size_t index, qd_error *err)
{
    size_t tensors = 0, total = 0;
    for (size_t i = 0; i < set->count; i++)
        tensors += qd_gguf_count(set->files[i]);
    qd_code code = qd_gguf_size(set->files[index], "split.tensors.count", tensors, &total, err);
    if (code == QD_OK && total != tensors)
        code = qd_fail(err, QD_EFORMAT, "'%s': key 'split.tensors.count' is %zu, but the files have %zu",
                       set->names[index], total, tensors);
    return code;
}

typedef enum given { GIVEN_FILE, GIVEN_FOLDER } given;

/* A file of a folder may not lead out of it; a file that was named may lie where it likes. */
static qd_code open_file(qd_gguf_set *set, size_t i, given how, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = NULL;
    qd_code code = QD_OK;
    if (how == GIVEN_FOLDER)
        code = qd_folder_file(set->dir, set->names[i], &path, err);
    else if ((path = qd_path_join(set->dir, set->names[i])) == NULL)
        code = qd_fail(err, QD_ENOMEM, "out of memory");
    return code == QD_OK ? qd_gguf_open(path, &set->files[i], err) : code;
}

qd_code qd_gguf_set_open(const char *path, qd_gguf_set *out, qd_error *err)
{
    QD_AUTO(qd_gguf_set_fini) qd_gguf_set set = { 0 };
    QD_AUTO(qd_free_pointer) char *name = NULL;
    given how = qd_gguf_is_path(path) ? GIVEN_FILE : GIVEN_FOLDER;
    qd_code code;
    if (how == GIVEN_FOLDER) {
        code = qd_dup(path, &set.dir, err);
        if (code == QD_OK)
            code = qd_gguf_set_list(path, &set.names, &set.count, err);
    } else {
        code = split_path(path, &set.dir, &name, err);
        if (code == QD_OK)
            code = name_all(name, &set.names, &set.count, err);
    }
    if (code == QD_OK)
        code = qd_alloc(set.count, sizeof *set.files, (void **)&set.files, err);
    for (size_t i = 0; code == QD_OK && i < set.count; i++)
        code = open_file(&set, i, how, err);
    for (size_t i = 0; code == QD_OK && i < set.count; i++)
        code = check_numbers(&set, i, err);
    for (size_t i = 0; code == QD_OK && i < set.count; i++)
        code = check_total(&set, i, err);
    if (code != QD_OK)
        return code;
    *out = set;
    set = (qd_gguf_set){ 0 };
    return QD_OK;
}

const qd_tensor *qd_gguf_set_find(const qd_gguf_set *set, const char *name)
{
    const qd_tensor *found = NULL;
    for (size_t i = 0; found == NULL && i < set->count; i++)
        found = qd_gguf_find(set->files[i], name);
    return found;
}

qd_code qd_gguf_set_arch(const qd_gguf_set *set, const qd_gguf_arch **out, qd_error *err)
{
    const char *id = NULL;
    qd_code code = qd_gguf_text(set->files[0], "general.architecture", NULL, &id, err);
    if (code != QD_OK)
        return code;
    if (id == NULL)
        return qd_fail(err, QD_EFORMAT, "'%s': key 'general.architecture' is missing", set->names[0]);
    *out = qd_gguf_arch_find(id);
    if (*out != NULL)
        return QD_OK;
    QD_AUTO(qd_str_fini) qd_str known = { 0 };
    for (size_t i = 0; qd_gguf_arch_at(i) != NULL; i++)
        qd_str_addf(&known, "%s%s", i == 0 ? "" : ", ", qd_gguf_arch_at(i)->id);
    return qd_fail(err, QD_EUNSUPPORTED, "'%s': architecture '%.60s' is not supported; supported are %s", set->names[0],
                   id, qd_str_borrow(&known));
}
