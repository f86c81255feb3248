/* directory.c: a model folder behind a plain web server; see run.h. */
#include "base/auto.h"
#include "fetch/run.h"

static qd_code locate(void *ctx, const char *name, qd_item *item, qd_error *err)
{
    const qd_source *source = ctx;
    return qd_url_sibling(&source->url, name, &item->url, err);
}

static qd_code drop_body(void *ctx, const qd_reply_head *head, qd_wanted *out_wanted, qd_error *err)
{
    (void)ctx, (void)head, (void)err;
    *out_wanted = QD_BODY_DROP;
    return QD_OK;
}

/* A server without listings tells sizes one HEAD at a time. Worth it for shards: they are what fills a disk, and it
 * is to be known before the first byte. A server that will not say costs the forecast, nothing else. */
static qd_code ask_sizes(qd_fetch_run *run, qd_items *items, size_t first, qd_error *err)
{
    QD_AUTO(qd_line_fini) qd_line line = { 0 };
    const qd_body_sink sink = { .begin = drop_body };
    qd_code code = qd_line_init(&line, err);
    for (size_t i = first; code == QD_OK && i < items->count; i++) {
        qd_item *item = &items->rows[i];
        qd_reply_head head;
        qd_trouble trouble;
        const qd_ask ask = { .url = &item->url, .method = QD_ASK_HEAD };
        if (item->presence != QD_PENDING || item->need != QD_NEED_INDEXED)
            continue;
        if (qd_transfer(&line, &run->egress, &ask, &sink, &head, &trouble, NULL) != QD_OK || head.status != 200)
            break;
        item->hint = head.length;
        code = qd_cancel_check(run->egress.cancel, err);
    }
    return code;
}

static qd_code obtain(void *ctx, qd_fetch_run *run, qd_items *items, size_t first, qd_error *err)
{
    (void)ctx;
    qd_code code = run->headers_only != NULL ? QD_OK : ask_sizes(run, items, first, err);
    return code != QD_OK ? code : qd_items_obtain(run, items, first, err);
}

qd_code qd_directory_obtain(qd_fetch_run *run, const qd_source *source, const json_t *sha256, qd_items *items,
                            qd_error *err)
{
    const qd_supply supply = { .obtain = obtain, .locate = locate, .ctx = (void *)(uintptr_t)source };
    return qd_contents_obtain(run, &supply, source->weights, sha256, items, err);
}
