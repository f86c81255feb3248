/* hub_api.c: asking the hub; see hub_api.h. Reading its pages is in hub_tree.c. */
#include "fetch/hub_api.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "base/rng.h"
#include "fetch/retry.h"

enum { PAGE_LIMIT = 16 << 20, LIST_LIMIT = 256 << 20, MAX_PAGES = 1000, JSON_DEPTH = 32 };

static qd_code begin(void *ctx, const qd_reply_head *head, qd_wanted *out_wanted, qd_error *err)
{
    (void)err;
    qd_str_clear(ctx);
    *out_wanted = head->status == 200 ? QD_BODY_TAKE : QD_BODY_DROP;
    return QD_OK;
}

static qd_code take_bytes(void *ctx, const void *bytes, size_t length, qd_error *err)
{
    qd_str *body = ctx;
    if (length > PAGE_LIMIT - body->length)
        return qd_fail(err, QD_ETOOBIG, "the hub's answer is larger than %d bytes", PAGE_LIMIT);
    qd_str_add_bytes(body, bytes, length);
    return qd_str_check(body, err);
}

static qd_code judge_status(const qd_fetch_run *run, const qd_reply_head *head, qd_trouble *out_trouble, qd_error *err)
{
    *out_trouble = QD_TROUBLE_FINAL;
    if (head->status == 200)
        return QD_OK;
    if (head->status == 404 || head->status == 410)
        return qd_fail(err, QD_ENOTFOUND, "the hub knows no such model or revision (status %ld)", head->status);
    if (head->status == 401 || head->status == 403)
        return qd_fail(err, QD_EDENIED, "status %ld: gated or wrong token (%s)", head->status,
                       run->egress.token == NULL ? "none was given; the model may also not exist" : "one was given");
    if (qd_retry_status(head->status) == QD_TRY_AGAIN)
        *out_trouble = QD_TROUBLE_BROKEN;
    return qd_fail(err, QD_ENETWORK, "the hub answers with status %ld", head->status);
}

/* One JSON document, with retries; only the hub itself may answer. */
static qd_code get(qd_fetch_run *run, qd_line *line, const qd_url *url, qd_str *body, qd_reply_head *head,
                   qd_error *err)
{
    const qd_fetcher *fetcher = run->fetcher;
    const qd_ask ask = { .url = url, .redirects = QD_REDIRECTS_SAME_ORIGIN };
    const qd_body_sink sink = { .begin = begin, .bytes = take_bytes, .ctx = body };
    qd_retry retry;
    qd_retry_init(&retry, fetcher->retries, fetcher->retry_base_seconds,
                  qd_rng_key((uint64_t)qd_clock_wall_ms(), (uintptr_t)body, 0));
    for (;;) {
        qd_trouble trouble;
        qd_code code = qd_transfer(line, &run->egress, &ask, &sink, head, &trouble, err);
        if (code == QD_OK)
            code = judge_status(run, head, &trouble, err);
        if (code == QD_OK || trouble == QD_TROUBLE_FINAL)
            return code;
        qd_again again = trouble == QD_TROUBLE_UNREACHABLE ? qd_retry_unreachable(&retry) : qd_retry_count(&retry, 0);
        if (again == QD_GIVE_UP)
            return qd_within(err, code, "after %u tries", retry.tries);
        code = qd_retry_sleep(qd_retry_pause(&retry, head->retry_after), run->egress.cancel, &run->stop, err);
        if (code != QD_OK)
            return code;
    }
}

static void add_encoded(qd_str *out, const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if (isalnum((unsigned char)*p) || strchr("-._~", *p) != NULL)
            qd_str_add_bytes(out, p, 1);
        else
            qd_str_addf(out, "%%%02X", (unsigned char)*p);
    }
}

/* BASE/api/models/REPO/KIND/REVISION */
static qd_code api_url(const qd_url *hub, const char *repo, const char *kind, const char *revision, const char *query,
                       qd_url *out, qd_error *err)
{
    qd_str path = { 0 };
    size_t base = strlen(hub->path);
    while (base > 0 && hub->path[base - 1] == '/')
        base--;
    qd_str_add_bytes(&path, hub->path, base);
    qd_str_addf(&path, "/api/models/%s/%s/", repo, kind);
    add_encoded(&path, revision);
    qd_code code = qd_url_copy(hub, out, err);
    if (code != QD_OK) {
        qd_str_fini(&path);
        return code;
    }
    free(out->path);
    out->path = qd_str_take(&path);
    free(out->query);
    out->query = query == NULL ? NULL : strdup(query);
    return out->path == NULL || (query != NULL && out->query == NULL) ? qd_fail(err, QD_ENOMEM, "out of memory")
                                                                      : QD_OK;
}

static qd_code within_url(const qd_url *url, qd_code code, qd_error *err)
{
    if (code == QD_OK)
        return QD_OK;
    QD_AUTO(qd_free_pointer) char *shown = qd_url_public(url);
    return qd_within(err, code, "'%s'", shown == NULL ? "?" : shown);
}

static qd_code read_commit(const qd_str *body, char out_commit[QD_GIT_HEX], qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *info = NULL;
    const char *sha = "";
    qd_code code = qd_json_parse_object(qd_str_borrow(body), body->length, JSON_DEPTH, &info, err);
    if (code == QD_OK)
        code = qd_json_text(info, "sha", "", &sha, err);
    if (code != QD_OK)
        return code;
    if (!qd_hex_ok(sha, QD_GIT_HEX - 1, QD_HEX_LOWER))
        return qd_fail(err, QD_EFORMAT, "the hub's 'sha' is not a commit of 40 hex digits");
    memcpy(out_commit, sha, QD_GIT_HEX);
    return QD_OK;
}

qd_code qd_hub_commit(qd_fetch_run *run, qd_line *line, const qd_url *hub, const char *repo, const char *revision,
                      char out_commit[QD_GIT_HEX], qd_error *err)
{
    QD_AUTO(qd_url_fini) qd_url url = { 0 };
    QD_AUTO(qd_str_fini) qd_str body = { 0 };
    qd_reply_head head;
    qd_code code = api_url(hub, repo, "revision", revision, NULL, &url, err);
    if (code == QD_OK)
        code = get(run, line, &url, &body, &head, err);
    if (code == QD_OK)
        code = read_commit(&body, out_commit, err);
    return within_url(&url, code, err);
}

/* The page after this one, which must be the hub's again. */
static qd_code turn_page(const qd_url *hub, const qd_reply_head *head, qd_url *url, qd_same *out_more, qd_error *err)
{
    char next[2048];
    *out_more = qd_link_next(head->link, next, sizeof next);
    if (*out_more != QD_SAME)
        return QD_OK;
    QD_AUTO(qd_url_fini) qd_url parsed = { 0 };
    qd_code code = qd_url_parse(next, &parsed, err);
    if (code != QD_OK)
        return qd_within(err, QD_EFORMAT, "next page");
    if (qd_url_same_origin(&parsed, hub) != QD_SAME)
        return qd_fail(err, QD_EDENIED, "the next page of the list is at another host, '%s'", parsed.host);
    qd_url_fini(url);
    *url = parsed;
    parsed = (qd_url){ 0 };
    return QD_OK;
}

qd_code qd_hub_list(qd_fetch_run *run, qd_line *line, const qd_url *hub, const char *repo, const char *commit,
                    qd_hub_tree *out, qd_error *err)
{
    QD_AUTO(qd_url_fini) qd_url url = { 0 };
    QD_AUTO(qd_str_fini) qd_str body = { 0 };
    QD_AUTO(qd_hub_tree_fini) qd_hub_tree tree = { 0 };
    qd_reply_head head;
    qd_same more = QD_SAME;
    size_t all = 0;
    qd_code code = api_url(hub, repo, "tree", commit, "recursive=true", &url, err);
    for (unsigned page = 0; code == QD_OK && more == QD_SAME; page++) {
        if (page == MAX_PAGES || all > LIST_LIMIT)
            return qd_fail(err, QD_ETOOBIG, "the hub's list of files has more than %d pages or %d bytes", MAX_PAGES,
                           LIST_LIMIT);
        code = get(run, line, &url, &body, &head, err);
        all += body.length;
        if (code == QD_OK)
            code = qd_hub_read_page(qd_str_borrow(&body), body.length, &tree, err);
        if (code == QD_OK)
            code = turn_page(hub, &head, &url, &more, err);
    }
    if (code != QD_OK)
        return within_url(&url, code, err);
    *out = tree;
    tree = (qd_hub_tree){ 0 };
    return QD_OK;
}
