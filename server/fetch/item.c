/* item.c: one file from its URL into the cache: conditional, resumed, retried, checked. See run.h. */
#include "fetch/run.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "fetch/part.h"
#include "fetch/retry.h"

/* One file in flight. */
typedef struct receipt {
    qd_fetch_run *run;
    qd_item *item;
    qd_part part;
    char key[QD_DIGEST_HEX];
    char *shown; /* URL without secrets */
    qd_index_entry known;
    enum { NOTHING_KNOWN, KNOWN } recalled;
    enum { RESTARTED_NEVER, RESTARTED_ONCE } restarted;
    char last_modified[QD_HEADER_TEXT];
    enum { BODY_NONE, BODY_TAKEN, BODY_UNFIT } body; /* of the last answer */
    uint64_t promised;                               /* by the last answer: size of the whole file */
} receipt;

static void receipt_fini(receipt *r)
{
    if (r->part.path != NULL)
        qd_part_fini(&r->part);
    free(r->shown);
}

static void add_done(receipt *r, uint64_t bytes)
{
    atomic_fetch_add(&r->run->done, bytes);
}

qd_code qd_item_announce(qd_fetch_run *run, qd_item *item, uint64_t size, qd_error *err)
{
    uint64_t limit = run->fetcher->max_total_bytes;
    if (size > item->cap)
        return qd_fail(err, QD_ETOOBIG, "%" PRIu64 " bytes; the limit of a file is %" PRIu64, size, item->cap);
    if (item->announced == QD_ANNOUNCED)
        return QD_OK;
    item->announced = QD_ANNOUNCED;
    atomic_fetch_sub(&run->unannounced, 1);
    if (size > limit || atomic_fetch_add(&run->total, size) > limit - size)
        return qd_fail(err, QD_ETOOBIG, "with its %" PRIu64 " bytes the model exceeds the limit of %" PRIu64, size,
                       limit);
    return QD_OK;
}

static qd_code take_from_cache(receipt *r, const char *sha256, uint64_t size, qd_error *err)
{
    qd_code code = qd_item_announce(r->run, r->item, size, err);
    if (code != QD_OK)
        return code;
    r->item->presence = QD_PRESENT;
    r->item->origin = QD_ORIGIN_CACHE;
    r->item->bytes = size;
    memmove(r->item->sha256, sha256, strlen(sha256) + 1);
    add_done(r, size);
    return QD_OK;
}

static qd_code restart(receipt *r, qd_error *err)
{
    atomic_fetch_sub(&r->run->done, r->part.offset);
    return qd_part_restart(&r->part, err);
}

/* 206: does it continue exactly what we hold? */
static qd_same continues(const receipt *r, const qd_reply_head *head)
{
    const qd_part *part = &r->part;
    if (part->offset == 0 || head->range_start != part->offset)
        return QD_DIFFERENT;
    if (part->size != QD_SIZE_UNKNOWN && head->range_total != QD_SIZE_UNKNOWN && head->range_total != part->size)
        return QD_DIFFERENT;
    if (head->etag[0] != '\0' && part->etag[0] != '\0' && strcmp(head->etag, part->etag) != 0)
        return QD_DIFFERENT;
    return QD_SAME;
}

static qd_code accept_body(receipt *r, const qd_reply_head *head, uint64_t size, qd_error *err)
{
    const qd_item *item = r->item;
    if (item->size != QD_SIZE_UNKNOWN && size != QD_SIZE_UNKNOWN && size != item->size)
        return qd_fail(err, QD_EFORMAT, "the server sends %" PRIu64 " bytes, %" PRIu64 " are listed", size, item->size);
    if (size == QD_SIZE_UNKNOWN)
        size = item->size;
    qd_code code = size == QD_SIZE_UNKNOWN ? QD_OK : qd_item_announce(r->run, r->item, size, err);
    if (code != QD_OK)
        return code;
    r->promised = size;
    r->body = BODY_TAKEN;
    memcpy(r->last_modified, head->last_modified, sizeof r->last_modified);
    return qd_part_expect(&r->part, head->etag[0] != '\0' ? head->etag : r->part.etag, size, err);
}

/* "abc", abc or W/"abc" against abc. */
static qd_same etag_names(const char *etag, const char *digest)
{
    size_t length = strlen(digest);
    etag += strncmp(etag, "W/", 2) == 0 ? 2 : 0;
    etag += etag[0] == '"';
    return strncmp(etag, digest, length) == 0 && (etag[length] == '"' || etag[length] == '\0') ? QD_SAME : QD_DIFFERENT;
}

/* The hub's headers on the file must agree with what its tree said. */
static qd_code check_hub(const qd_item *item, const qd_reply_head *head, qd_error *err)
{
    if (item->commit[0] == '\0')
        return QD_OK;
    if (head->hub_commit[0] != '\0' && strcmp(head->hub_commit, item->commit) != 0)
        return qd_fail(err, QD_EFORMAT, "the hub answers with commit %s instead of %s", head->hub_commit, item->commit);
    if (head->hub_etag[0] != '\0' && item->want_sha256[0] != '\0' &&
        etag_names(head->hub_etag, item->want_sha256) != QD_SAME)
        return qd_fail(err, QD_EFORMAT, "the hub names digest %s for the link, %s in its list", head->hub_etag,
                       item->want_sha256);
    if (head->hub_size != QD_SIZE_UNKNOWN && item->size != QD_SIZE_UNKNOWN && head->hub_size != item->size)
        return qd_fail(err, QD_EFORMAT, "the hub says %" PRIu64 " bytes for the link, %" PRIu64 " in its list",
                       head->hub_size, item->size);
    return QD_OK;
}

static qd_code begin(void *ctx, const qd_reply_head *head, qd_wanted *out_wanted, qd_error *err)
{
    receipt *r = ctx;
    qd_code code = QD_OK;
    uint64_t size = head->length;
    if (head->status != 200 && head->status != 206)
        return QD_OK;
    code = check_hub(r->item, head, err);
    if (code != QD_OK)
        return code;
    if (head->status == 206 && continues(r, head) != QD_SAME) {
        r->body = BODY_UNFIT;
        return restart(r, err);
    }
    if (head->status == 206 && head->range_total != QD_SIZE_UNKNOWN)
        size = head->range_total;
    else if (head->status == 206 && size != QD_SIZE_UNKNOWN && __builtin_add_overflow(size, r->part.offset, &size))
        size = QD_SIZE_UNKNOWN;
    if (head->status == 200 && r->part.offset > 0)
        code = restart(r, err); /* the file changed, or the server knows no ranges */
    if (code == QD_OK)
        code = accept_body(r, head, size, err);
    if (head->status == 206)
        r->part.origin = QD_PART_RESUMED;
    *out_wanted = QD_BODY_TAKE;
    return code;
}

static qd_code take_bytes(void *ctx, const void *bytes, size_t length, qd_error *err)
{
    receipt *r = ctx;
    uint64_t after = r->part.offset + length, limit = r->run->fetcher->max_total_bytes;
    if (after > r->item->cap)
        return qd_fail(err, QD_ETOOBIG, "more than %" PRIu64 " bytes, the limit", r->item->cap);
    if (r->promised != QD_SIZE_UNKNOWN && after > r->promised)
        return qd_fail(err, QD_EFORMAT, "more than the %" PRIu64 " bytes announced", r->promised);
    uint64_t all = atomic_fetch_add(&r->run->done, length) + length;
    atomic_fetch_add(&r->run->downloaded, length);
    if (all > limit)
        return qd_fail(err, QD_ETOOBIG, "more than %" PRIu64 " bytes in all, the limit of a model", limit);
    return qd_part_add(&r->part, bytes, length, err);
}

/* All bytes are here: proves them and makes the blob. A continued file that fails its proof gets one start from
 * zero. */
static qd_code complete(receipt *r, qd_trouble *out_trouble, qd_error *err)
{
    qd_item *item = r->item;
    *out_trouble = QD_TROUBLE_BROKEN;
    uint64_t size = r->promised != QD_SIZE_UNKNOWN ? r->promised : item->size;
    if (size != QD_SIZE_UNKNOWN && r->part.offset != size)
        return qd_fail(err, QD_ENETWORK, "the body ended after %" PRIu64 " of %" PRIu64 " bytes", r->part.offset, size);
    *out_trouble = QD_TROUBLE_FINAL;
    qd_index_entry entry = { .size = r->part.offset };
    memcpy(entry.etag, r->part.etag, sizeof entry.etag);
    memcpy(entry.last_modified, r->last_modified, sizeof entry.last_modified);
    qd_code code = qd_part_finish(&r->part, item->want_sha256, item->want_git_sha1, entry.sha256, err);
    if (code == QD_EFORMAT && r->part.origin == QD_PART_RESUMED && r->restarted == RESTARTED_NEVER) {
        r->restarted = RESTARTED_ONCE;
        *out_trouble = QD_TROUBLE_BROKEN;
        qd_code restarted = restart(r, err);
        return restarted == QD_OK ? code : restarted;
    }
    if (code == QD_OK)
        code = qd_item_announce(r->run, item, entry.size, err);
    if (code == QD_OK)
        code = qd_cache_remember(&r->run->fetcher->cache, r->key, r->shown, &entry, err);
    if (code != QD_OK)
        return code;
    item->presence = QD_PRESENT;
    item->origin = QD_ORIGIN_NETWORK;
    item->bytes = entry.size;
    memcpy(item->sha256, entry.sha256, sizeof entry.sha256);
    return QD_OK;
}

qd_code qd_item_absent(qd_item *item, long status, qd_error *err)
{
    if (item->need == QD_NEED_ALWAYS)
        return qd_fail(err, QD_ENOTFOUND, "there is no '%s' (status %ld)", item->name, status);
    if (item->need == QD_NEED_INDEXED)
        return qd_fail(err, QD_EFORMAT, "the index names '%s', which is missing (status %ld)", item->name, status);
    item->presence = QD_ABSENT;
    return QD_OK;
}

qd_code qd_item_forbidden(const qd_fetch_run *run, qd_item *item, const qd_reply_head *head, qd_trouble *out_trouble,
                          qd_error *err)
{
    const char *token = run->egress.token;
    if (head->final_origin != QD_SAME) { /* a signed link that expired: back to the hub for a new one */
        *out_trouble = QD_TROUBLE_BROKEN;
        return qd_fail(err, QD_EDENIED, "status %ld from the host it is stored at", head->status);
    }
    if (run->egress.signing != NULL)
        return qd_fail(err, QD_EDENIED, "status %ld: the storage does not let the operator's s3-credentials read this",
                       head->status);
    if (head->status == 403 && item->need == QD_NEED_NOT && token == NULL)
        return qd_item_absent(item, head->status, err); /* object stores answer so when they may not say 404 */
    return qd_fail(err, QD_EDENIED, "status %ld: gated or wrong token (%s)", head->status,
                   token == NULL         ? "none was given"
                   : head->status == 401 ? "it is not known there"
                                         : "it is known there but may not read this");
}

/* An answer came whole: what it means for the file. */
static qd_code settle(receipt *r, const qd_reply_head *head, qd_trouble *out_trouble, qd_error *err)
{
    *out_trouble = QD_TROUBLE_FINAL;
    if (r->body == BODY_TAKEN)
        return complete(r, out_trouble, err);
    if (r->body == BODY_UNFIT) {
        *out_trouble = QD_TROUBLE_BROKEN;
        return qd_fail(err, QD_ENETWORK, "the server's range does not continue the file");
    }
    switch (head->status) {
    case 304:
        if (r->recalled == KNOWN)
            return take_from_cache(r, r->known.sha256, r->known.size, err);
        break;
    case 416:
        if (r->part.offset > 0 && r->part.offset == r->part.size) {
            r->promised = r->part.size;
            return complete(r, out_trouble, err);
        }
        *out_trouble = QD_TROUBLE_BROKEN;
        if (r->part.offset == 0)
            break;
        qd_code code = restart(r, err);
        return code != QD_OK ? code : qd_fail(err, QD_ENETWORK, "the file is shorter now than what we hold of it");
    case 412:
        return qd_fail(err, QD_EFORMAT, "it changed since it was listed; the job may be tried again");
    case 404:
    case 410:
        return qd_item_absent(r->item, head->status, err);
    case 401:
    case 403:
        return qd_item_forbidden(r->run, r->item, head, out_trouble, err);
    default:
        break;
    }
    if (qd_retry_status(head->status) == QD_TRY_AGAIN)
        *out_trouble = QD_TROUBLE_BROKEN;
    return qd_fail(err, QD_ENETWORK, "the server answers with status %ld", head->status);
}

/* May bytes be appended to what is here? Only under a strong ETag, or where a digest will find a mixture out. */
static qd_proof proof_of(const qd_item *item)
{
    return item->want_sha256[0] != '\0' || item->want_git_sha1[0] != '\0' ? QD_PROOF_DIGEST : QD_PROOF_NONE;
}

static qd_code try_once(receipt *r, qd_line *line, qd_reply_head *head, qd_trouble *out_trouble, qd_error *err)
{
    char range[32];
    const qd_body_sink sink = { .begin = begin, .bytes = take_bytes, .ctx = r };
    /* A redirect would not be signed: it says that the operator's region or endpoint is another. */
    qd_redirects redirects = r->run->egress.signing == NULL ? QD_REDIRECTS_ANYWHERE : QD_REDIRECTS_NONE;
    qd_ask ask = { .url = &r->item->url, .redirects = redirects, .if_match = r->item->etag };
    bool other = r->item->etag[0] != '\0' && strcmp(r->item->etag, r->part.etag) != 0;
    bool unproven = !qd_etag_is_strong(r->part.etag) && proof_of(r->item) == QD_PROOF_NONE;
    if (r->part.offset > 0 && (other || unproven)) {
        qd_code code = restart(r, err);
        if (code != QD_OK)
            return code;
    }
    if (r->part.offset > 0) {
        snprintf(range, sizeof range, "%" PRIu64 "-", r->part.offset);
        ask.range = range;
        ask.if_range = qd_etag_is_strong(r->part.etag) ? r->part.etag : NULL;
    } else if (r->recalled == KNOWN) {
        ask.if_none_match = r->known.etag;
        ask.if_modified_since = r->known.etag[0] == '\0' ? r->known.last_modified : NULL;
    }
    r->body = BODY_NONE;
    r->promised = QD_SIZE_UNKNOWN;
    qd_code code = qd_transfer(line, &r->run->egress, &ask, &sink, head, out_trouble, err);
    return code == QD_OK ? settle(r, head, out_trouble, err) : code;
}

static qd_code download(receipt *r, qd_line *line, qd_error *err)
{
    const qd_fetcher *fetcher = r->run->fetcher;
    qd_retry retry;
    qd_retry_init(&retry, fetcher->retries, fetcher->retry_base_seconds,
                  qd_rng_key((uint64_t)qd_clock_wall_ms(), (uintptr_t)r, r->part.offset));
    for (;;) {
        qd_reply_head head;
        qd_trouble trouble;
        qd_code code = try_once(r, line, &head, &trouble, err);
        if (code == QD_OK || trouble == QD_TROUBLE_FINAL)
            return code;
        qd_again again =
            trouble == QD_TROUBLE_UNREACHABLE ? qd_retry_unreachable(&retry) : qd_retry_count(&retry, r->part.offset);
        if (again == QD_GIVE_UP)
            return qd_within(err, code, "after %u tries", retry.tries);
        code = qd_retry_sleep(qd_retry_pause(&retry, head.retry_after), r->run->egress.cancel, &r->run->stop, err);
        if (code != QD_OK)
            return code;
    }
}

static qd_code open_receipt(receipt *r, qd_error *err)
{
    const qd_item *item = r->item;
    QD_AUTO(qd_free_pointer) char *whole = qd_url_text(&item->url);
    r->shown = qd_url_public(&item->url);
    if (whole == NULL || r->shown == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return item->want_sha256[0] != '\0' ? qd_cache_key("sha256", item->want_sha256, r->key, err)
                                        : qd_cache_key("url", whole, r->key, err);
}

/* Bytes that need no question: content known by its digest, or a URL that cannot change. */
static qd_code look_in_cache(receipt *r, qd_error *err)
{
    qd_item *item = r->item;
    const qd_cache *cache = &r->run->fetcher->cache;
    uint64_t size;
    if (item->want_sha256[0] != '\0' && qd_cache_has(cache, item->want_sha256, item->size, &size) == QD_SAME)
        return take_from_cache(r, item->want_sha256, size, err);
    if (qd_cache_recall(cache, r->key, &r->known) != QD_SAME ||
        (item->want_sha256[0] != '\0' && strcmp(item->want_sha256, r->known.sha256) != 0))
        return QD_OK;
    if (item->etag[0] != '\0') /* listed just now: the same, or another file */
        return strcmp(item->etag, r->known.etag) == 0 && item->size == r->known.size
                   ? take_from_cache(r, r->known.sha256, r->known.size, err)
                   : QD_OK;
    r->recalled = KNOWN;
    if (item->fresh == QD_FRESH_PINNED && (item->size == QD_SIZE_UNKNOWN || item->size == r->known.size))
        return take_from_cache(r, r->known.sha256, r->known.size, err);
    if (r->known.etag[0] == '\0' && r->known.last_modified[0] == '\0')
        r->recalled = NOTHING_KNOWN;
    return QD_OK;
}

static qd_code obtain_locked(receipt *r, qd_line *line, qd_error *err)
{
    const qd_fetcher *fetcher = r->run->fetcher;
    qd_code code = look_in_cache(r, err); /* another thread may have brought it while we waited */
    if (code != QD_OK || r->item->presence != QD_PENDING)
        return code;
    code = qd_part_init(&r->part, &fetcher->cache, r->key, r->shown, proof_of(r->item), fetcher->disk_floor_bytes, err);
    if (code != QD_OK)
        return code;
    add_done(r, r->part.offset);
    code = download(r, line, err);
    if (code == QD_EFORMAT || code == QD_ETOOBIG || r->item->presence != QD_PENDING || r->part.offset == 0)
        qd_part_discard(&r->part); /* nothing that a later try could continue */
    return code;
}

qd_code qd_item_obtain(qd_fetch_run *run, qd_line *line, qd_item *item, qd_error *err)
{
    QD_AUTO(receipt_fini) receipt r = { .run = run, .item = item };
    QD_AUTO(qd_cache_unlock) qd_cache_hold lock = { .fd = -1 };
    qd_code code = open_receipt(&r, err);
    if (code == QD_OK)
        code = qd_cache_lock(&run->fetcher->cache, r.key, run->egress.cancel, &run->stop, &lock, err);
    if (code == QD_OK)
        code = obtain_locked(&r, line, err);
    if (code == QD_OK && item->announced == QD_UNANNOUNCED)
        code = qd_item_announce(run, item, 0, err); /* absent */
    return code == QD_OK ? QD_OK : qd_within(err, code, "'%s'", r.shown == NULL ? item->name : r.shown);
}
