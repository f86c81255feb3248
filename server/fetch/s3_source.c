/* s3_source.c: a model or a text in a bucket: listed, then read as the list says, every request signed; see run.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "fetch/answer.h"
#include "fetch/s3.h"
#include "fetch/s3_xml.h"

enum { LIST_LIMIT = 4 << 20, PAGES_MAX = 1000, SIDE_FILES_MAX = 500 };

typedef struct bucket {
    const qd_s3 *s3;
    qd_s3_name name; /* key: of the folder, with a slash at its end unless it is the whole bucket */
    qd_s3_list list;
    const char *gguf;
    enum { NOT_LISTED, LISTED } listed;
} bucket;

static void bucket_fini(bucket *b)
{
    qd_s3_name_fini(&b->name);
    qd_s3_list_fini(&b->list);
}

/* Everything up to the last slash. */
static void cut_to_folder(char *key)
{
    char *slash = strrchr(key, '/');
    key[slash == NULL ? 0 : slash + 1 - key] = '\0';
}

static qd_code open_bucket(const qd_fetch_run *run, const qd_source *source, bucket *b, qd_error *err)
{
    b->s3 = &run->fetcher->s3;
    qd_code code = qd_s3_name_parse(&source->url, &b->name, err);
    return code == QD_OK ? qd_s3_check(b->s3, &b->name, err) : code;
}

static qd_code object_url(const bucket *b, const char *name, qd_url *out, qd_error *err)
{
    qd_str key = { 0 };
    qd_str_addf(&key, "%s%s", b->name.key, name);
    QD_AUTO(qd_free_pointer) char *text = qd_str_take(&key);
    if (text == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    const qd_s3_name object = { .bucket = b->name.bucket, .key = text };
    qd_code code = qd_s3_allow(b->s3, &object, err);
    return code == QD_OK ? qd_s3_url(b->s3, b->name.bucket, text, NULL, out, err) : code;
}

/* ---- the list ---- */

static qd_code page_url(const bucket *b, const char *next, qd_url *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *prefix = NULL, *token = NULL;
    QD_AUTO(qd_str_fini) qd_str query = { 0 };
    qd_code code = qd_aws_encode(b->name.key, QD_SLASH_ENCODED, &prefix, err);
    if (code == QD_OK && next != NULL)
        code = qd_aws_encode(next, QD_SLASH_ENCODED, &token, err);
    if (code != QD_OK)
        return code;
    if (token != NULL)
        qd_str_addf(&query, "continuation-token=%s&", token);
    qd_str_addf(&query, "delimiter=%%2F&encoding-type=url&list-type=2&prefix=%s", prefix);
    code = qd_str_check(&query, err);
    return code == QD_OK ? qd_s3_url(b->s3, b->name.bucket, "", qd_str_borrow(&query), out, err) : code;
}

static qd_code judge_list(const qd_answer *answer, qd_error *err)
{
    long status = answer->head.status;
    if (status == 200)
        return QD_OK;
    return qd_answer_fail(answer,
                          status == 404                    ? QD_ENOTFOUND
                          : status == 401 || status == 403 ? QD_EDENIED
                                                           : QD_ENETWORK,
                          err);
}

static qd_code read_list(qd_fetch_run *run, qd_line *line, bucket *b, qd_error *err)
{
    QD_AUTO(qd_answer_fini) qd_answer answer = { 0 };
    qd_code code = qd_s3_allow(b->s3, &b->name, err); /* the folder of an object that is allowed need not be */
    for (unsigned page = 0; code == QD_OK && (page == 0 || b->list.next != NULL); page++) {
        QD_AUTO(qd_url_fini) qd_url url = { 0 };
        if (page == PAGES_MAX)
            return qd_fail(err, QD_ETOOBIG, "the list has more than %d pages", (int)PAGES_MAX);
        code = page_url(b, b->list.next, &url, err);
        if (code != QD_OK)
            return code;
        const qd_ask ask = { .url = &url, .redirects = QD_REDIRECTS_NONE };
        code = qd_answer_get(run->fetcher, line, &run->egress, &ask, LIST_LIMIT, &answer, err);
        if (code == QD_OK)
            code = judge_list(&answer, err);
        if (code == QD_OK)
            code = qd_s3_read_list(qd_str_borrow(&answer.body), answer.body.length, &b->list, err);
    }
    if (code == QD_OK && b->list.count == 0)
        code = qd_fail(err, QD_ENOTFOUND, "nothing lies there");
    b->listed = LISTED;
    return code == QD_OK ? QD_OK : qd_within(err, code, "list of 's3://%s/%.200s'", b->name.bucket, b->name.key);
}

static qd_code find_gguf(bucket *b, qd_error *err)
{
    QD_AUTO(qd_free_pointer) const char **names = NULL;
    qd_code code = qd_alloc(b->list.count, sizeof *names, (void **)&names, err);
    for (size_t i = 0; code == QD_OK && i < b->list.count; i++)
        names[i] = b->list.objects[i].name;
    if (code == QD_OK)
        code = qd_contents_find_gguf(names, b->list.count, &b->gguf, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "'s3://%s/%.200s'", b->name.bucket, b->name.key);
}

/* ---- files ---- */

/* It becomes a header. */
static bool is_printable(const char *text)
{
    for (const char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f)
            return false;
    return true;
}

/* Known from the list: whether it is there, how large, under which ETag. */
static qd_code locate(void *ctx, const char *name, qd_item *item, qd_error *err)
{
    const bucket *b = ctx;
    const qd_s3_object *object = qd_s3_list_find(&b->list, name);
    qd_code code = object_url(b, name, &item->url, err);
    if (code != QD_OK || b->listed == NOT_LISTED)
        return code;
    if (object == NULL && item->need == QD_NEED_NOT) {
        item->presence = QD_ABSENT;
        return QD_OK;
    }
    if (object == NULL)
        return qd_fail(err, item->need == QD_NEED_ALWAYS ? QD_ENOTFOUND : QD_EFORMAT,
                       item->need == QD_NEED_ALWAYS ? "'s3://%s/%.200s' has no '%s'"
                                                    : "'s3://%s/%.200s': the index names '%s', which is missing",
                       b->name.bucket, b->name.key, name);
    item->size = object->size;
    if (qd_etag_is_strong(object->etag) && is_printable(object->etag))
        memcpy(item->etag, object->etag, sizeof object->etag);
    return QD_OK;
}

static qd_code obtain(void *ctx, qd_fetch_run *run, qd_items *items, size_t first, qd_error *err)
{
    (void)ctx;
    return qd_items_obtain(run, items, first, err);
}

/* What a hub's list would have brought too. */
static qd_code more_side_files(const bucket *b, const json_t *sha256, const qd_fetcher *fetcher, qd_items *items,
                               qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < b->list.count; i++) {
        const char *name = b->list.objects[i].name;
        qd_item *item;
        if (qd_name_is_of_model(name) != QD_SAME || strstr(name, ".safetensors") != NULL ||
            qd_name_is_gguf(name) == QD_SAME || b->list.objects[i].size > qd_side_file_cap(fetcher))
            continue;
        if (items->count == SIDE_FILES_MAX)
            return qd_fail(err, QD_EFORMAT, "more than %d small files beside the weights", (int)SIDE_FILES_MAX);
        code = qd_items_add(items, name, QD_NEED_ALWAYS, qd_side_file_cap(fetcher), &item, err);
        if (code == QD_OK)
            code = qd_wanted_sha256(sha256, name, item->want_sha256, err);
        if (code == QD_OK)
            code = locate((void *)(uintptr_t)b, name, item, err);
    }
    return code;
}

static qd_code bring_folder(qd_fetch_run *run, const qd_source *source, const json_t *sha256, bucket *b,
                            qd_items *items, qd_error *err)
{
    QD_AUTO(qd_line_fini) qd_line line = { 0 };
    qd_code code = qd_line_init(&line, err);
    if (code == QD_OK)
        code = read_list(run, &line, b, err);
    if (code == QD_OK && source->weights == NULL)
        code = find_gguf(b, err);
    return code == QD_OK ? more_side_files(b, sha256, run->fetcher, items, err) : code;
}

/* Opens the bucket and signs with its keys for as long as `bring` runs. */
static qd_code with_keys(qd_fetch_run *run, bucket *b,
                         qd_code (*bring)(qd_fetch_run *run, bucket *b, void *ctx, qd_error *err), void *ctx,
                         qd_error *err)
{
    QD_AUTO(qd_aws_keys_fini) qd_aws_keys keys = { 0 };
    QD_AUTO(qd_url_fini) qd_url home = { 0 };
    qd_code code = qd_s3_keys(b->s3, &keys, err);
    if (code == QD_OK)
        code = qd_s3_url(b->s3, b->name.bucket, "", NULL, &home, err);
    if (code != QD_OK)
        return code;
    const qd_signing signing = { .keys = &keys, .region = b->s3->region, .home = &home };
    run->egress.signing = &signing;
    run->egress.token = NULL; /* a hub's token is nothing for a storage */
    code = bring(run, b, ctx, err);
    run->egress.signing = NULL;
    return code;
}

typedef struct model_wish {
    const qd_source *source;
    const json_t *sha256;
    qd_items *items;
} model_wish;

static qd_code bring_model(qd_fetch_run *run, bucket *b, void *ctx, qd_error *err)
{
    const model_wish *w = ctx;
    const char *weights = w->source->weights;
    qd_supply supply = { .obtain = obtain, .locate = locate, .ctx = b };
    qd_code code = QD_OK;
    cut_to_folder(b->name.key);
    if (weights == NULL || qd_name_is_gguf(weights) != QD_SAME) /* a GGUF says all by itself: nothing is listed */
        code = bring_folder(run, w->source, w->sha256, b, w->items, err);
    supply.gguf = b->gguf;
    return code == QD_OK ? qd_contents_obtain(run, &supply, weights, w->sha256, w->items, err) : code;
}

qd_code qd_s3_obtain(qd_fetch_run *run, const qd_source *source, const json_t *sha256, qd_items *items, qd_error *err)
{
    QD_AUTO(bucket_fini) bucket b = { 0 };
    model_wish wish = { .source = source, .sha256 = sha256, .items = items };
    qd_code code = open_bucket(run, source, &b, err);
    return code == QD_OK ? with_keys(run, &b, bring_model, &wish, err) : code;
}

static qd_code bring_file(qd_fetch_run *run, bucket *b, void *ctx, qd_error *err)
{
    qd_items *items = ctx;
    qd_code code = qd_s3_url(b->s3, b->name.bucket, b->name.key, NULL, &items->rows[0].url, err);
    return code == QD_OK ? qd_items_obtain(run, items, 0, err) : code;
}

qd_code qd_s3_obtain_file(qd_fetch_run *run, const qd_source *source, qd_items *items, qd_error *err)
{
    QD_AUTO(bucket_fini) bucket b = { 0 };
    qd_code code = open_bucket(run, source, &b, err);
    return code == QD_OK ? with_keys(run, &b, bring_file, items, err) : code;
}
