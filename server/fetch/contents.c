/* contents.c: which files make a model folder, and in which order they are asked for; see run.h. */
#include "fetch/run.h"

#include <ctype.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

static const char index_name[] = "model.safetensors.index.json";
static const char single_name[] = "model.safetensors";
static const char gguf_name[] = "model.gguf";
enum { MAX_SHARDS = 10000, INDEX_DEPTH = 16 };
static const uint64_t side_file_cap = 256u << 20, index_cap = 64u << 20;

/* Beside config.json and the weights; a server without listings is asked for each. formats.md §2 "Other files". */
static const char *const side_files[] = {
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "README.md", /* whose licence the artifact's card repeats */
    "LICENSE",
};

qd_code qd_wanted_sha256(const json_t *sha256, const char *name, char out[QD_DIGEST_HEX], qd_error *err)
{
    const json_t *value = json_object_get(sha256, name);
    if (value == NULL)
        return QD_OK;
    const char *text = json_string_value(value);
    if (!qd_hex_ok(text, 64, QD_HEX_EITHER))
        return qd_fail(err, QD_EINVAL, "sha256 of '%s' is not 64 hex digits", name);
    for (size_t i = 0; i <= 64; i++)
        out[i] = (char)tolower((unsigned char)text[i]);
    return QD_OK;
}

/* `weights` itself, or another file of the set that it is of. */
static qd_same is_of_set(const char *name, const char *weights)
{
    QD_AUTO(qd_free_pointer) char *other = NULL;
    if (qd_gguf_part_name(weights, qd_gguf_part_of(name).number, &other, NULL) != QD_OK)
        return QD_DIFFERENT;
    return strcmp(name, other) == 0 ? QD_SAME : QD_DIFFERENT;
}

qd_code qd_check_all_wanted(const json_t *sha256, const qd_items *items, const char *weights, qd_error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)sha256, name, value)
    {
        if (qd_items_find(items, name) == NULL && (weights == NULL || is_of_set(name, weights) != QD_SAME))
            return qd_fail(err, QD_EINVAL, "sha256 names '%s', which the model does not have", name);
    }
    return QD_OK;
}

/* A bare file name that ends in .safetensors: nothing else may become part of a path or URL. */
static qd_code check_shard(const char *name, const char *tensor, qd_error *err)
{
    size_t length = strlen(name);
    if (qd_name_is_plain(name) != QD_SAME || length < 13 || strcmp(name + length - 12, ".safetensors") != 0)
        return qd_fail(err, QD_EFORMAT, "weight_map of tensor '%.100s': '%.200s' is not a bare .safetensors file name",
                       tensor, name);
    return QD_OK;
}

static qd_code collect_shards(const json_t *map, char **names, size_t *out_count, qd_error *err)
{
    const char *tensor;
    json_t *value;
    size_t count = 0;
    QD_AUTO(qd_free_pointer) const char **all = NULL;
    qd_code code = qd_alloc(json_object_size(map), sizeof *all, (void **)&all, err);
    if (code != QD_OK)
        return code;
    json_object_foreach((json_t *)(uintptr_t)map, tensor, value)
    {
        const char *name = json_string_value(value);
        code = name == NULL ? qd_fail(err, QD_EFORMAT, "weight_map of tensor '%.100s' is not a file name", tensor)
                            : check_shard(name, tensor, err);
        if (code != QD_OK)
            return code;
        all[count++] = name;
    }
    qd_names_sort((char **)all, count);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && strcmp(all[i], all[i - 1]) == 0)
            continue;
        if (*out_count == MAX_SHARDS)
            return qd_fail(err, QD_EFORMAT, "more than %d files in weight_map", MAX_SHARDS);
        code = qd_dup(all[i], &names[*out_count], err);
        if (code != QD_OK)
            return code;
        ++*out_count;
    }
    return QD_OK;
}

static qd_code read_shards(const char *path, char ***out_names, size_t *out_count, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *index = NULL;
    qd_code code = qd_json_read_object(path, index_cap, INDEX_DEPTH, &index, err);
    if (code != QD_OK)
        return code;
    const json_t *map = json_object_get(index, "weight_map");
    if (!json_is_object(map) || json_object_size(map) == 0)
        return qd_fail(err, QD_EFORMAT, "it has no weight_map of tensors to files");
    char **names = NULL;
    code = qd_alloc(qd_min_size(json_object_size(map), MAX_SHARDS), sizeof *names, (void **)&names, err);
    if (code != QD_OK)
        return code;
    *out_count = 0;
    code = collect_shards(map, names, out_count, err);
    if (code != QD_OK)
        qd_names_free(names, *out_count);
    else
        *out_names = names;
    return code;
}

qd_code qd_index_shards(const char *path, char ***out_names, size_t *out_count, qd_error *err)
{
    qd_error inner;
    qd_code code = read_shards(path, out_names, out_count, &inner);
    return code == QD_OK ? QD_OK
                         : qd_fail(err, code == QD_ETOOBIG ? QD_EFORMAT : code, "'%s': %s", index_name, inner.text);
}

static bool is_listed(const qd_items *items, const char *name)
{
    for (size_t i = 0; i < items->count; i++)
        if (strcmp(items->rows[i].name, name) == 0)
            return true;
    return false;
}

/* One more file wanted, unless it is listed already; `remote` is its name at the source. */
static qd_code want(const qd_supply *supply, const json_t *sha256, qd_items *items, const char *name,
                    const char *remote, qd_need need, uint64_t cap, qd_error *err)
{
    qd_item *item;
    if (is_listed(items, name))
        return QD_OK;
    qd_code code = qd_items_add(items, name, need, cap, &item, err);
    if (code == QD_OK)
        code = qd_wanted_sha256(sha256, name, item->want_sha256, err);
    if (code == QD_OK && item->want_sha256[0] == '\0')
        code = qd_wanted_sha256(sha256, remote, item->want_sha256, err);
    return code == QD_OK ? supply->locate(supply->ctx, remote, item, err) : code;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t qd_side_file_cap(const qd_fetcher *fetcher)
{
    return smaller(side_file_cap, fetcher->max_file_bytes);
}

/* A GGUF has a configuration in it. */
static qd_code obtain_side_files(qd_fetch_run *run, const qd_supply *supply, const char *weights, const json_t *sha256,
                                 qd_items *items, qd_error *err)
{
    uint64_t cap = qd_side_file_cap(run->fetcher);
    qd_need need = supply->gguf != NULL && weights == NULL ? QD_NEED_NOT : QD_NEED_ALWAYS;
    qd_code code = want(supply, sha256, items, "config.json", "config.json", need, cap, err);
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(side_files); i++)
        code = want(supply, sha256, items, side_files[i], side_files[i], QD_NEED_NOT, cap, err);
    if (code == QD_OK && weights == NULL && supply->gguf == NULL)
        code = want(supply, sha256, items, index_name, index_name, QD_NEED_NOT, smaller(index_cap, cap), err);
    return code == QD_OK ? supply->obtain(supply->ctx, run, items, 0, err) : code;
}

static qd_code obtain_shards(qd_fetch_run *run, const qd_supply *supply, const json_t *sha256, qd_items *items,
                             qd_error *err)
{
    char **names = NULL;
    size_t count = 0, first = items->count;
    QD_AUTO(qd_free_pointer)
    char *path = qd_cache_blob_path(&run->fetcher->cache, qd_items_find(items, index_name)->sha256);
    qd_code code = path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_index_shards(path, &names, &count, err);
    for (size_t i = 0; code == QD_OK && i < count; i++)
        code = want(supply, sha256, items, names[i], names[i], QD_NEED_INDEXED, run->fetcher->max_file_bytes, err);
    if (names != NULL)
        qd_names_free(names, count);
    return code == QD_OK ? supply->obtain(supply->ctx, run, items, first, err) : code;
}

/* Where both the single file and an index are, the single file is the model: the index stays out of the snapshot. */
static void drop_index(qd_items *items)
{
    for (size_t i = 0; i < items->count; i++)
        if (strcmp(items->rows[i].name, index_name) == 0)
            items->rows[i].presence = QD_ABSENT;
}

static qd_code obtain_weights(qd_fetch_run *run, const qd_supply *supply, const char *weights, const json_t *sha256,
                              qd_items *items, qd_error *err)
{
    size_t first = items->count;
    const qd_item *index = qd_items_find(items, index_name);
    qd_need need = index == NULL ? QD_NEED_ALWAYS : QD_NEED_NOT;
    const char *remote = weights == NULL ? single_name : weights;
    qd_code code = want(supply, sha256, items, single_name, remote, need, run->fetcher->max_file_bytes, err);
    if (code == QD_OK)
        code = supply->obtain(supply->ctx, run, items, first, err);
    if (code != QD_OK)
        return code;
    if (items->rows[first].presence == QD_ABSENT)
        return obtain_shards(run, supply, sha256, items, err);
    drop_index(items);
    return QD_OK;
}

/* "x-00001-of-00003.safetensors": one of several, so the folder's index is meant. */
static bool is_shard(const char *name)
{
    size_t length = strlen(name);
    if (length < 27)
        return false;
    const char *at = name + length - 27; /* -00001-of-00003.safetensors */
    static const char shape[] = "-00000-of-00000.safetensors";
    for (size_t i = 0; i < 27; i++)
        if (shape[i] == '0' ? !isdigit((unsigned char)at[i]) : at[i] != shape[i])
            return false;
    return true;
}

static bool holds_safetensors(const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], single_name) == 0 || strcmp(names[i], index_name) == 0)
            return true;
    return false;
}

qd_code qd_contents_find_gguf(const char *const *names, size_t count, const char **out, qd_error *err)
{
    enum { SHOWN = 8 };
    QD_AUTO(qd_str_fini) qd_str list = { 0 };
    size_t found = 0;
    *out = NULL;
    for (size_t i = 0; i < count; i++) {
        /* Of a set the first file stands for all. */
        if (qd_name_is_gguf(names[i]) != QD_SAME || qd_name_is_plain(names[i]) != QD_SAME ||
            qd_gguf_part_of(names[i]).number != 1)
            continue;
        *out = names[i];
        if (found++ < SHOWN)
            qd_str_addf(&list, "%s%.50s", found == 1 ? "" : ", ", names[i]);
    }
    if (holds_safetensors(names, count))
        *out = NULL;
    if (*out == NULL || found == 1)
        return QD_OK;
    return qd_fail(err, QD_EINVAL, "it has %zu .gguf files and no model.safetensors (%s%s): the URL must name one",
                   found, qd_str_borrow(&list), found > SHOWN ? ", ..." : "");
}

/* One file of a set, or the only one: "model.gguf", "model-00001-of-00003.gguf". */
static qd_code want_gguf(qd_fetch_run *run, const qd_supply *supply, const char *remote, size_t number,
                         const json_t *sha256, qd_items *items, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *there = NULL;
    QD_AUTO(qd_str_fini) qd_str here = { 0 };
    size_t count = qd_gguf_part_of(remote).count;
    if (count == 1)
        qd_str_add(&here, gguf_name);
    else
        qd_str_addf(&here, "model-%05zu-of-%05zu.gguf", number, count);
    qd_code code = qd_str_check(&here, err);
    if (code == QD_OK)
        code = qd_gguf_part_name(remote, number, &there, err);
    return code == QD_OK ? want(supply, sha256, items, qd_str_borrow(&here), there, QD_NEED_ALWAYS,
                                run->fetcher->max_file_bytes, err)
                         : code;
}

static qd_code obtain_gguf(qd_fetch_run *run, const qd_supply *supply, const char *remote, const json_t *sha256,
                           qd_items *items, qd_error *err)
{
    size_t first = items->count;
    qd_code code = QD_OK;
    for (size_t i = 1; code == QD_OK && i <= qd_gguf_part_of(remote).count; i++)
        code = want_gguf(run, supply, remote, i, sha256, items, err);
    return code == QD_OK ? supply->obtain(supply->ctx, run, items, first, err) : code;
}

qd_code qd_contents_obtain(qd_fetch_run *run, const qd_supply *supply, const char *weights, const json_t *sha256,
                           qd_items *items, qd_error *err)
{
    qd_code code;
    if (weights != NULL && qd_name_is_gguf(weights) == QD_SAME) {
        code = obtain_gguf(run, supply, weights, sha256, items, err);
        return code == QD_OK ? qd_check_all_wanted(sha256, items, weights, err) : code;
    }
    if (weights != NULL && is_shard(weights))
        weights = NULL;
    atomic_fetch_add(&run->unannounced, 1); /* the weights: until they are asked for, no total is known */
    code = obtain_side_files(run, supply, weights, sha256, items, err);
    atomic_fetch_sub(&run->unannounced, 1);
    bool gguf = weights == NULL && supply->gguf != NULL;
    if (code == QD_OK && gguf)
        code = obtain_gguf(run, supply, supply->gguf, sha256, items, err);
    else if (code == QD_OK)
        code = obtain_weights(run, supply, weights, sha256, items, err);
    return code == QD_OK ? qd_check_all_wanted(sha256, items, gguf ? supply->gguf : weights, err) : code;
}
