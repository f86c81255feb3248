/* hub.c: a model on the hub: pinned to a commit, listed, then fetched as the list says; see run.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "fetch/hub_api.h"

enum { MAX_SIDE_FILES = 500 };

typedef struct hub {
    const qd_source *source;
    const char *commit;
    const qd_hub_tree *tree;
    const char *gguf; /* the only weights where no safetensors are; NULL = none */
} hub;

/* BASE/REPO/resolve/COMMIT/NAME */
static qd_code resolve_url(const hub *h, const char *name, qd_url *out, qd_error *err)
{
    const qd_url *base = &h->source->url;
    qd_str path = { 0 };
    size_t length = strlen(base->path);
    while (length > 0 && base->path[length - 1] == '/')
        length--;
    qd_str_add_bytes(&path, base->path, length);
    qd_str_addf(&path, "/%s/resolve/%s/%s", h->source->repo, h->commit, name);
    QD_AUTO(qd_free_pointer) char *text = qd_str_take(&path);
    if (text == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    qd_code code = qd_url_copy(base, out, err);
    if (code != QD_OK)
        return code;
    free(out->path);
    out->path = text;
    text = NULL;
    return QD_OK;
}

/* Known from the list: whether it is there, how large, which digest. A digest that the request enforces must agree. */
static qd_code locate(void *ctx, const char *name, qd_item *item, qd_error *err)
{
    const hub *h = ctx;
    const qd_hub_file *file = qd_hub_tree_find(h->tree, name);
    qd_code code = resolve_url(h, name, &item->url, err);
    if (code != QD_OK)
        return code;
    if (file == NULL && item->need == QD_NEED_NOT) {
        item->presence = QD_ABSENT;
        return QD_OK;
    }
    if (file == NULL)
        return qd_fail(err, item->need == QD_NEED_ALWAYS ? QD_ENOTFOUND : QD_EFORMAT,
                       item->need == QD_NEED_ALWAYS ? "'%s' at commit %s has no '%s'"
                                                    : "'%s' at commit %s: the index names '%s', which is missing",
                       h->source->repo, h->commit, name);
    if (item->want_sha256[0] != '\0' && file->sha256[0] != '\0' && strcmp(item->want_sha256, file->sha256) != 0)
        return qd_fail(err, QD_EFORMAT, "'%s': the hub has sha256 %s, not %s as the request wants", name, file->sha256,
                       item->want_sha256);
    if (file->sha256[0] != '\0')
        memcpy(item->want_sha256, file->sha256, sizeof file->sha256);
    memcpy(item->want_git_sha1, file->git_sha1, sizeof file->git_sha1);
    memcpy(item->commit, h->commit, strlen(h->commit) + 1);
    item->size = file->size;
    item->fresh = QD_FRESH_PINNED;
    return QD_OK;
}

static qd_code obtain(void *ctx, qd_fetch_run *run, qd_items *items, size_t first, qd_error *err)
{
    (void)ctx;
    return qd_items_obtain(run, items, first, err);
}

/* What the allow-list kept beside config.json, the weights and their index: copied as side files. */
static qd_code more_side_files(const hub *h, const json_t *sha256, const qd_fetcher *fetcher, qd_items *items,
                               qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < h->tree->count; i++) {
        const char *name = h->tree->files[i].name;
        qd_item *item;
        if (strstr(name, ".safetensors") != NULL || qd_name_is_gguf(name) == QD_SAME ||
            h->tree->files[i].size > qd_side_file_cap(fetcher))
            continue; /* what is both needed and too large, contents.c refuses by name */
        if (items->count == MAX_SIDE_FILES)
            return qd_fail(err, QD_EFORMAT, "more than %d small files beside the weights", MAX_SIDE_FILES);
        code = qd_items_add(items, name, QD_NEED_ALWAYS, qd_side_file_cap(fetcher), &item, err);
        if (code == QD_OK)
            code = qd_wanted_sha256(sha256, name, item->want_sha256, err);
        if (code == QD_OK)
            code = locate((void *)(uintptr_t)h, name, item, err);
    }
    return code;
}

/* Weights that cannot be taken are refused before anything is asked for. */
static qd_code check_weights(const hub *h, const qd_fetcher *fetcher, qd_error *err)
{
    const char *weights = h->source->weights != NULL ? h->source->weights
                          : h->gguf != NULL          ? h->gguf
                                                     : "model.safetensors";
    for (size_t i = 0; i < h->tree->count; i++) {
        const qd_hub_file *file = &h->tree->files[i];
        if (strcmp(file->name, weights) != 0)
            continue;
        if (file->size > fetcher->max_file_bytes || file->size > fetcher->max_total_bytes)
            return qd_fail(err, QD_ETOOBIG, "'%s' at the hub has %" PRIu64 " bytes; the limit is %" PRIu64, file->name,
                           file->size, fetcher->max_file_bytes);
        uint64_t size;
        if (file->sha256[0] == '\0' || qd_cache_has(&fetcher->cache, file->sha256, file->size, &size) != QD_SAME)
            return qd_cache_check_space(&fetcher->cache, file->size, fetcher->disk_floor_bytes, err);
    }
    return QD_OK;
}

static qd_code find_gguf(hub *h, qd_error *err)
{
    QD_AUTO(qd_free_pointer) const char **names = NULL;
    qd_code code = qd_alloc(h->tree->count, sizeof *names, (void **)&names, err);
    for (size_t i = 0; code == QD_OK && i < h->tree->count; i++)
        names[i] = h->tree->files[i].name;
    if (code == QD_OK)
        code = qd_contents_find_gguf(names, h->tree->count, &h->gguf, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "'%s' at commit %s", h->source->repo, h->commit);
}

static qd_code bring(qd_fetch_run *run, const hub *h, const json_t *sha256, qd_items *items, qd_error *err)
{
    const qd_supply supply = { .obtain = obtain, .locate = locate, .ctx = (void *)(uintptr_t)h, .gguf = h->gguf };
    const char *weights = h->source->weights;
    qd_code code = run->headers_only != NULL ? QD_OK : check_weights(h, run->fetcher, err);
    if (code == QD_OK && (weights == NULL || qd_name_is_gguf(weights) != QD_SAME))
        code = more_side_files(h, sha256, run->fetcher, items, err);
    return code == QD_OK ? qd_contents_obtain(run, &supply, h->source->weights, sha256, items, err) : code;
}

qd_code qd_hub_obtain(qd_fetch_run *run, const qd_source *source, const char *revision, const json_t *sha256,
                      qd_items *items, char **out_commit, qd_error *err)
{
    char commit[QD_GIT_HEX];
    QD_AUTO(qd_line_fini) qd_line line = { 0 };
    QD_AUTO(qd_hub_tree_fini) qd_hub_tree tree = { 0 };
    const char *wanted = revision != NULL ? revision : source->revision != NULL ? source->revision : "main";
    qd_code code = qd_line_init(&line, err);
    if (code == QD_OK)
        code = qd_hub_commit(run, &line, &source->url, source->repo, wanted, commit, err);
    if (code == QD_OK)
        code = qd_hub_list(run, &line, &source->url, source->repo, commit, &tree, err);
    if (code != QD_OK)
        return code;
    hub h = { .source = source, .commit = commit, .tree = &tree };
    if (source->weights == NULL)
        code = find_gguf(&h, err);
    if (code == QD_OK)
        code = bring(run, &h, sha256, items, err);
    return code == QD_OK ? qd_dup(commit, out_commit, err) : code;
}
