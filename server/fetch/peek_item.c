/* peek_item.c: see peek_item.h. */
#include "fetch/peek_item.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "fetch/peek_header.h"
#include "fetch/retry.h"

/* What is asked for first: the header of most shards, in one request. */
enum { FIRST_BYTES = 16 << 10, GROWTH_LEAST = 1 << 20 };

/* One header on its way. */
typedef struct peek {
    qd_fetch_run *run;
    qd_item *item;
    qd_header_rule rule;
    unsigned char *bytes;
    size_t have, capacity;
    uint64_t want;  /* bytes from the file's beginning that the request under way is for */
    uint64_t total; /* of the file */
    uint64_t skip;  /* bytes of the answer before those: a server that knows no ranges begins at 0 */
    char etag[QD_HEADER_TEXT];
    enum { ANSWER_NONE, ANSWER_TAKEN, ANSWER_ENOUGH } answer;
} peek;

static void peek_fini(peek *p)
{
    free(p->bytes);
}

static bool ends_in(const char *name, const char *end)
{
    size_t a = strlen(name), b = strlen(end);
    return a >= b && strcasecmp(name + a - b, end) == 0;
}

qd_same qd_peek_takes(const qd_fetch_run *run, const qd_item *item)
{
    bool weights = ends_in(item->name, ".safetensors") || qd_name_is_gguf(item->name) == QD_SAME;
    return run->headers_only != NULL && weights ? QD_SAME : QD_DIFFERENT;
}

qd_code qd_peek_folder(const qd_cache *cache, char **out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *base = qd_cache_path(cache, "snapshots", "peek", "");
    QD_AUTO(qd_free_pointer) char *folder = base == NULL ? NULL : qd_path_temporary(base);
    if (folder == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    qd_code code = qd_dir_make(folder, err);
    if (code != QD_OK)
        return code;
    *out = folder;
    folder = NULL;
    return QD_OK;
}

static qd_code take_total(peek *p, uint64_t total, qd_error *err)
{
    if (total == QD_SIZE_UNKNOWN)
        total = p->item->size;
    if (total == QD_SIZE_UNKNOWN)
        return qd_fail(err, QD_EUNSUPPORTED, "the server does not say how large the file is");
    if (p->item->size != QD_SIZE_UNKNOWN && total != p->item->size)
        return qd_fail(err, QD_EFORMAT, "the server has %" PRIu64 " bytes, %" PRIu64 " are listed", total,
                       p->item->size);
    if (p->have > 0 && total != p->total)
        return qd_fail(err, QD_EFORMAT, "the file changed while it was read");
    p->total = total;
    return qd_item_announce(p->run, p->item, total, err);
}

static qd_code begin(void *ctx, const qd_reply_head *head, qd_wanted *out_wanted, qd_error *err)
{
    peek *p = ctx;
    if (head->status != 200 && head->status != 206)
        return QD_OK;
    if (head->status == 206 && head->range_start != p->have)
        return qd_fail(err, QD_ENETWORK, "the server answers with another range");
    if (p->have > 0 && strcmp(head->etag, p->etag) != 0)
        return qd_fail(err, QD_EFORMAT, "the file changed while it was read");
    qd_code code = take_total(p, head->status == 206 ? head->range_total : head->length, err);
    if (code == QD_OK && p->want > p->total)
        p->want = p->total;
    if (code == QD_OK)
        code = qd_grow((void **)&p->bytes, &p->capacity, (size_t)p->want, 1, err);
    if (code != QD_OK)
        return code;
    memcpy(p->etag, head->etag, sizeof p->etag);
    p->skip = head->status == 200 ? p->have : 0;
    p->answer = ANSWER_TAKEN;
    *out_wanted = QD_BODY_TAKE;
    return QD_OK;
}

/* Failing is how a transfer is ended that brings more than was asked for. */
static qd_code take_bytes(void *ctx, const void *bytes, size_t length, qd_error *err)
{
    peek *p = ctx;
    const unsigned char *from = bytes;
    size_t over = (size_t)(p->skip < length ? p->skip : length);
    atomic_fetch_add(&p->run->downloaded, length);
    p->skip -= over;
    size_t count = qd_min_size(length - over, (size_t)p->want - p->have);
    memcpy(p->bytes + p->have, from + over, count);
    p->have += count;
    if (over + count == length)
        return QD_OK;
    p->answer = ANSWER_ENOUGH;
    return qd_fail(err, QD_ETOOBIG, "more than was asked for");
}

static qd_code judge(peek *p, const qd_reply_head *head, qd_trouble *out_trouble, qd_error *err)
{
    *out_trouble = QD_TROUBLE_FINAL;
    if (p->answer == ANSWER_TAKEN && p->have < p->want) {
        *out_trouble = QD_TROUBLE_BROKEN;
        return qd_fail(err, QD_ENETWORK, "the body ended after %zu of %" PRIu64 " bytes", p->have, p->want);
    }
    if (p->answer == ANSWER_TAKEN)
        return QD_OK;
    if (head->status == 404 || head->status == 410)
        return qd_item_absent(p->item, head->status, err);
    if (head->status == 401 || head->status == 403)
        return qd_item_forbidden(p->run, p->item, head, out_trouble, err);
    if (qd_retry_status(head->status) == QD_TRY_AGAIN)
        *out_trouble = QD_TROUBLE_BROKEN;
    return qd_fail(err, QD_ENETWORK, "the server answers with status %ld", head->status);
}

static qd_code ask_once(peek *p, qd_line *line, qd_reply_head *head, qd_trouble *out_trouble, qd_error *err)
{
    char range[64];
    const qd_body_sink sink = { .begin = begin, .bytes = take_bytes, .ctx = p };
    snprintf(range, sizeof range, "%zu-%" PRIu64, p->have, p->want - 1);
    const qd_ask ask = { .url = &p->item->url, .range = range };
    p->answer = ANSWER_NONE;
    qd_code code = qd_transfer(line, &p->run->egress, &ask, &sink, head, out_trouble, err);
    if (code != QD_OK && p->answer == ANSWER_ENOUGH)
        return QD_OK;
    return code == QD_OK ? judge(p, head, out_trouble, err) : code;
}

/* Bytes up to `want`, with retries. */
static qd_code ask(peek *p, qd_line *line, qd_error *err)
{
    const qd_fetcher *fetcher = p->run->fetcher;
    qd_retry retry;
    qd_retry_init(&retry, fetcher->retries, fetcher->retry_base_seconds,
                  qd_rng_key((uint64_t)qd_clock_wall_ms(), (uintptr_t)p, p->want));
    for (;;) {
        qd_reply_head head;
        qd_trouble trouble;
        qd_code code = ask_once(p, line, &head, &trouble, err);
        if (code == QD_OK || trouble == QD_TROUBLE_FINAL)
            return code;
        qd_again again =
            trouble == QD_TROUBLE_UNREACHABLE ? qd_retry_unreachable(&retry) : qd_retry_count(&retry, p->have);
        if (again == QD_GIVE_UP)
            return qd_within(err, code, "after %u tries", retry.tries);
        code = qd_retry_sleep(qd_retry_pause(&retry, head.retry_after), p->run->egress.cancel, &p->run->stop, err);
        if (code != QD_OK)
            return code;
    }
}

static qd_header_rule rule_of(const qd_item *item)
{
    return qd_name_is_gguf(item->name) == QD_SAME ? qd_header_of_gguf : qd_header_of_safetensors;
}

/* Exactly, where it is known; in growing steps, where the header itself has to tell. */
static uint64_t next_want(const peek *p, uint64_t needed)
{
    uint64_t grown = p->have + qd_max_size(p->have, GROWTH_LEAST);
    return p->rule == qd_header_of_safetensors || needed > grown ? needed : grown;
}

static qd_code write_sparse(const qd_fetch_run *run, const char *name, const unsigned char *header, size_t length,
                            uint64_t size, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(run->headers_only, name);
    if (path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    QD_AUTO(qd_close_fd) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return qd_fail_errno(err, "create '%s'", path);
    qd_code code = qd_write_all(fd, header, length, err);
    if (code == QD_OK && ftruncate(fd, (off_t)size) != 0)
        return qd_fail_errno(err, "'%s' with a hole of %" PRIu64 " bytes", path, size);
    return code;
}

static qd_code settle(peek *p, uint64_t header, qd_same cached, qd_error *err)
{
    qd_item *item = p->item;
    qd_code code =
        write_sparse(p->run, item->name, p->bytes, (size_t)(header < p->have ? header : p->have), p->total, err);
    if (code != QD_OK)
        return code;
    item->presence = QD_PRESENT;
    item->origin = cached == QD_SAME ? QD_ORIGIN_CACHE : QD_ORIGIN_NETWORK;
    item->bytes = p->total;
    memcpy(item->sha256, item->want_sha256, sizeof item->sha256);
    return QD_OK;
}

/* By its digest where that is known beforehand, else by what its URL gave last. */
static qd_same is_cached(const peek *p)
{
    char key[QD_DIGEST_HEX];
    uint64_t size;
    qd_index_entry known;
    const qd_cache *cache = &p->run->fetcher->cache;
    QD_AUTO(qd_free_pointer) char *whole = qd_url_text(&p->item->url);
    if (p->item->want_sha256[0] != '\0')
        return qd_cache_has(cache, p->item->want_sha256, p->total, &size);
    if (whole == NULL || p->etag[0] == '\0' || qd_cache_key("url", whole, key, NULL) != QD_OK ||
        qd_cache_recall(cache, key, &known) != QD_SAME)
        return QD_DIFFERENT;
    return strcmp(known.etag, p->etag) == 0 ? QD_SAME : QD_DIFFERENT;
}

qd_code qd_peek_item(qd_fetch_run *run, qd_line *line, qd_item *item, qd_error *err)
{
    QD_AUTO(peek_fini) peek p = { .run = run, .item = item, .rule = rule_of(item), .want = FIRST_BYTES };
    QD_AUTO(qd_free_pointer) char *shown = qd_url_public(&item->url);
    uint64_t header = FIRST_BYTES;
    qd_code code = QD_OK;
    do {
        code = ask(&p, line, err);
        if (code != QD_OK || item->presence == QD_ABSENT)
            break;
        header = p.rule(p.bytes, p.have);
        p.want = next_want(&p, header);
    } while (header > p.have && p.have < p.total);
    if (code == QD_OK && item->presence != QD_ABSENT)
        code = settle(&p, header, is_cached(&p), err);
    if (code == QD_OK && item->announced == QD_UNANNOUNCED)
        code = qd_item_announce(run, item, 0, err); /* absent */
    return code == QD_OK ? QD_OK : qd_within(err, code, "'%s'", shown == NULL ? item->name : shown);
}

/* The first `want` bytes of the file. */
static qd_code read_head(peek *p, int fd, qd_error *err)
{
    qd_code code = qd_grow((void **)&p->bytes, &p->capacity, (size_t)p->want, 1, err);
    while (code == QD_OK && p->have < p->want) {
        ssize_t got = pread(fd, p->bytes + p->have, (size_t)p->want - p->have, (off_t)p->have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return qd_fail_errno(err, "read");
        if (got == 0)
            return qd_fail(err, QD_EFORMAT, "the file changed while it was read");
        p->have += (size_t)got;
    }
    return code;
}

qd_code qd_peek_local(qd_fetch_run *run, const char *path, int fd, const struct stat *info, qd_item *item,
                      qd_error *err)
{
    QD_AUTO(peek_fini) peek p = { .run = run, .item = item, .rule = rule_of(item), .total = (uint64_t)info->st_size };
    uint64_t header = FIRST_BYTES;
    atomic_fetch_add(&run->unannounced, 1);
    qd_code code = qd_item_announce(run, item, p.total, err);
    for (p.want = FIRST_BYTES; code == QD_OK && header > p.have && p.have < p.total;) {
        p.want = p.want < p.total ? p.want : p.total;
        code = read_head(&p, fd, err);
        header = p.rule(p.bytes, p.have);
        p.want = next_want(&p, header);
    }
    return code == QD_OK ? settle(&p, header, qd_folder_cached(run->fetcher, path, info), err) : code;
}
