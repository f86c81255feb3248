/* directory.c: a model folder behind a plain web server; see run.h. */
#include "fetch/run.h"

static qd_code locate(void *ctx, const char *name, qd_item *item, qd_error *err)
{
    const qd_source *source = ctx;
    return qd_url_sibling(&source->url, name, &item->url, err);
}

static qd_code obtain(void *ctx, qd_run *run, qd_items *items, size_t first, qd_error *err)
{
    (void)ctx;
    return qd_items_obtain(run, items, first, err);
}

qd_code qd_directory_obtain(qd_run *run, const qd_source *source, const json_t *sha256, qd_items *items, qd_error *err)
{
    const qd_supply supply = { .obtain = obtain, .locate = locate, .ctx = (void *)(uintptr_t)source };
    return qd_contents_obtain(run, &supply, source->weights, sha256, items, err);
}
