/* fetcher.c: the room's front: create, check a URL, bring a model or a text. See fetch.h. */
#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "fetch/peek.h"
#include "fetch/peek_item.h"

static const char default_hub[] = "https://huggingface.co";

/* libcurl keeps process-wide tables; it wants them made once, before any handle. */
static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static void init_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

void qd_fetcher_destroy(qd_fetcher *fetcher)
{
    if (fetcher == NULL)
        return;
    qd_cache_fini(&fetcher->cache);
    qd_address_policy_fini(&fetcher->addresses);
    qd_url_fini(&fetcher->hub);
    qd_s3_fini(&fetcher->s3);
    for (size_t i = 0; i < fetcher->root_count; i++) {
        free(fetcher->roots[i].given);
        free(fetcher->roots[i].real);
    }
    free(fetcher->roots);
    free(fetcher);
}

static qd_code take_roots(const char *const *roots, qd_fetcher *fetcher, qd_error *err)
{
    size_t count = 0;
    while (roots != NULL && roots[count] != NULL)
        count++;
    qd_code code = qd_alloc(count, sizeof *fetcher->roots, (void **)&fetcher->roots, err);
    for (size_t i = 0; code == QD_OK && i < count; i++) {
        struct stat info;
        qd_root *root = &fetcher->roots[i];
        fetcher->root_count = i + 1;
        root->real = realpath(roots[i], NULL);
        if (root->real == NULL)
            return qd_fail_errno(err, "file-root '%s'", roots[i]);
        if (stat(root->real, &info) != 0 || !S_ISDIR(info.st_mode))
            return qd_fail(err, QD_EINVAL, "file-root '%s' is not a folder", roots[i]);
        code = qd_dup(roots[i], &root->given, err);
    }
    return code;
}

static qd_code take_hub(const qd_fetch_policy *policy, qd_fetcher *fetcher, qd_error *err)
{
    qd_code code = qd_url_parse(policy->hub_url == NULL ? default_hub : policy->hub_url, &fetcher->hub, err);
    if (code != QD_OK)
        return qd_within(err, code, "hub-url");
    if (fetcher->hub.scheme != QD_SCHEME_HTTPS && fetcher->hub.scheme != QD_SCHEME_HTTP)
        return qd_fail(err, QD_EINVAL, "hub-url '%s' is neither https nor http", policy->hub_url);
    return QD_OK;
}

static void take_limits(const qd_fetch_policy *policy, qd_fetcher *fetcher)
{
    const uint64_t gib = UINT64_C(1) << 30;
    fetcher->allow_http = policy->allow_http;
    fetcher->max_file_bytes = policy->max_file_bytes == 0 ? 64 * gib : policy->max_file_bytes;
    fetcher->max_total_bytes = policy->max_total_bytes == 0 ? 512 * gib : policy->max_total_bytes;
    fetcher->disk_floor_bytes = policy->disk_floor_bytes;
    fetcher->low_speed_seconds = policy->low_speed_seconds <= 0 ? 60 : policy->low_speed_seconds;
    fetcher->retries = policy->retries == 0 ? 8 : policy->retries;
    fetcher->retry_base_seconds = policy->retry_base_seconds <= 0 ? 0.5 : policy->retry_base_seconds;
}

qd_code qd_fetcher_create(const qd_fetch_policy *policy, qd_fetcher **out, qd_error *err)
{
    qd_fetcher *fetcher = NULL;
    pthread_once(&curl_once, init_curl);
    qd_code code = qd_alloc(1, sizeof *fetcher, (void **)&fetcher, err);
    if (code != QD_OK)
        return code;
    take_limits(policy, fetcher);
    code = take_hub(policy, fetcher, err);
    if (code == QD_OK)
        code = qd_s3_init(&policy->s3, &fetcher->s3, err);
    if (code == QD_OK)
        code = qd_address_policy_init(&fetcher->addresses, policy->allow_net, err);
    if (code == QD_OK)
        code = take_roots(policy->file_roots, fetcher, err);
    if (code == QD_OK)
        code = qd_cache_init(&fetcher->cache, policy->cache_dir, err);
    if (code != QD_OK) {
        qd_fetcher_destroy(fetcher);
        return code;
    }
    *out = fetcher;
    return QD_OK;
}

void qd_fetched_fini(qd_fetched *fetched)
{
    free(fetched->folder);
    json_decref(fetched->resolved);
    *fetched = (qd_fetched){ 0 };
}

static qd_code check_bucket(const qd_fetcher *fetcher, const qd_url *url, qd_error *err)
{
    QD_AUTO(qd_s3_name_fini) qd_s3_name name = { 0 };
    qd_code code = qd_s3_name_parse(url, &name, err);
    return code == QD_OK ? qd_s3_check(&fetcher->s3, &name, err) : code;
}

/* What can be said of a source without a network. */
static qd_code check_source(const qd_fetcher *fetcher, const qd_source *source, qd_error *err)
{
    if (source->kind == QD_SOURCE_FOLDER)
        return qd_folder_check(fetcher, source->local, err);
    return qd_destination_check(fetcher, &source->url, err);
}

qd_code qd_destination_check(const qd_fetcher *fetcher, const qd_url *url, qd_error *err)
{
    qd_net address;
    const char *reason = "";
    char text[QD_ADDRESS_TEXT];
    if (url->scheme == QD_SCHEME_HTTP && !fetcher->allow_http)
        return qd_fail(err, QD_EDENIED, "plain http is not allowed here; use https (or allow-http)");
    if (url->scheme == QD_SCHEME_S3)
        return check_bucket(fetcher, url, err);
    if (qd_host_literal(url->host, &address) != QD_LITERAL ||
        qd_address_judge(&fetcher->addresses, &address, &reason) != QD_ADDRESS_BLOCKED)
        return QD_OK;
    qd_net_text(&address, text);
    return qd_fail(err, QD_EDENIED, "address %s is not public (%s); allow-net opens networks of your own", text,
                   reason);
}

static qd_code check_named(const qd_fetcher *fetcher, const char *url, const qd_source *source, qd_error *err)
{
    qd_code code = check_source(fetcher, source, err);
    if (code == QD_OK)
        return QD_OK;
    char shown[320];
    qd_url_redact(url, shown, sizeof shown);
    return qd_within(err, code, "url '%s'", shown);
}

static qd_code classify(const qd_fetcher *fetcher, const char *url, qd_source *out, qd_error *err)
{
    qd_code code = qd_source_classify(url, &fetcher->hub, out, err);
    return code == QD_OK ? check_named(fetcher, url, out, err) : code;
}

qd_code qd_fetch_check_url(const qd_fetcher *fetcher, const char *url, qd_error *err)
{
    QD_AUTO(qd_source_fini) qd_source source = { 0 };
    return classify(fetcher, url, &source, err);
}

/* A token is bytes of a header: no control characters, no blanks. */
static qd_code check_token(const char *token, qd_error *err)
{
    for (const char *p = token; p != NULL && *p != '\0'; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f)
            return qd_fail(err, QD_EINVAL, "token: holds a character that no token has");
    return token != NULL && strlen(token) > 4096 ? qd_fail(err, QD_EINVAL, "token: longer than 4096 characters")
                                                 : QD_OK;
}

static void run_init(qd_fetch_run *run, const qd_fetcher *fetcher, const qd_source *source, const char *token,
                     const qd_fetch_progress *progress, const qd_cancel *cancel)
{
    *run = (qd_fetch_run){ .fetcher = fetcher, .progress = progress };
    run->egress = (qd_egress){
        .addresses = &fetcher->addresses,
        .allow_http = fetcher->allow_http,
        .low_speed_seconds = fetcher->low_speed_seconds,
        .token = token == NULL || token[0] == '\0' ? NULL : token,
        .token_home = &source->url,
        .cancel = cancel,
        .stop = &run->stop,
    };
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const qd_snapshot_file *)a)->name, ((const qd_snapshot_file *)b)->name);
}

static qd_code make_snapshot(const qd_fetch_run *run, const qd_items *items, char **out_folder, qd_error *err)
{
    QD_AUTO(qd_free_pointer) qd_snapshot_file *files = NULL;
    size_t count = 0;
    qd_code code = qd_alloc(items->count, sizeof *files, (void **)&files, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < items->count; i++)
        if (items->rows[i].presence == QD_PRESENT)
            files[count++] = (qd_snapshot_file){ .name = items->rows[i].name, .sha256 = items->rows[i].sha256 };
    qsort(files, count, sizeof *files, compare_files);
    return qd_snapshot_make(&run->fetcher->cache, files, count, out_folder, err);
}

/* The page of a hub model; otherwise the URL without its query. */
static char *resolved_url(const qd_source *source)
{
    char *text = qd_url_public(&source->url);
    if (source->kind != QD_SOURCE_HUB || text == NULL)
        return text;
    qd_str page = { 0 };
    qd_str_addf(&page, "%s%s%s", text, text[strlen(text) - 1] == '/' ? "" : "/", source->repo);
    free(text);
    return qd_str_take(&page);
}

static qd_code describe(const qd_source *source, const char *commit, const qd_items *items, json_t **out, qd_error *err)
{
    static const char *const kinds[] = { "hub", "directory", "file", "folder", "s3" }; /* qd_source_kind's order */
    QD_AUTO(qd_free_pointer) char *url = resolved_url(source);
    json_t *files = json_array();
    for (size_t i = 0; i < items->count; i++) {
        const qd_item *item = &items->rows[i];
        if (item->presence == QD_PRESENT)
            json_array_append_new(files, json_pack("{s:s, s:I, s:s?, s:b}", "name", item->name, "size",
                                                   (json_int_t)item->bytes, "sha256",
                                                   item->sha256[0] == '\0' ? NULL : item->sha256, "cached",
                                                   item->origin == QD_ORIGIN_CACHE));
    }
    *out = json_pack("{s:s, s:s, s:s?, s:o}", "source", kinds[source->kind], "url", url == NULL ? "?" : url, "commit",
                     commit, "files", files);
    return *out == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

static qd_code bring(qd_fetch_run *run, const qd_source *source, const qd_fetch_request *request, qd_items *items,
                     char **out_commit, qd_error *err)
{
    switch (source->kind) {
    case QD_SOURCE_HUB:
        return qd_hub_obtain(run, source, request->revision, request->sha256, items, out_commit, err);
    case QD_SOURCE_FOLDER:
        return qd_folder_obtain(run, source, request->sha256, items, err);
    case QD_SOURCE_S3:
        return qd_s3_obtain(run, source, request->sha256, items, err);
    case QD_SOURCE_DIRECTORY:
    case QD_SOURCE_FILE:
        break;
    }
    return qd_directory_obtain(run, source, request->sha256, items, err);
}

/* What can be judged before anything is asked for. */
static qd_code prepare(qd_fetcher *fetcher, const qd_fetch_request *request, qd_source *source, qd_error *err)
{
    qd_code code = check_token(request->token, err);
    if (code == QD_OK)
        code = classify(fetcher, request->url, source, err);
    return code == QD_OK ? qd_cache_make_folders(&fetcher->cache, err) : code;
}

qd_code qd_fetch_model(qd_fetcher *fetcher, const qd_fetch_request *request, const qd_fetch_progress *progress,
                       const qd_cancel *cancel, qd_fetched *out, qd_error *err)
{
    QD_AUTO(qd_source_fini) qd_source source = { 0 };
    QD_AUTO(qd_items_fini) qd_items items = { 0 };
    QD_AUTO(qd_free_pointer) char *commit = NULL;
    QD_AUTO(qd_fetched_fini) qd_fetched fetched = { 0 };
    qd_fetch_run run;
    qd_code code = prepare(fetcher, request, &source, err);
    if (code != QD_OK)
        return code;
    run_init(&run, fetcher, &source, request->token, progress, cancel);
    code = bring(&run, &source, request, &items, &commit, err);
    if (code == QD_OK)
        code = make_snapshot(&run, &items, &fetched.folder, err);
    if (code == QD_OK)
        code = describe(&source, commit, &items, &fetched.resolved, err);
    if (code != QD_OK)
        return code;
    fetched.downloaded_bytes = atomic_load(&run.downloaded);
    *out = fetched;
    fetched = (qd_fetched){ 0 };
    return QD_OK;
}

void qd_peeked_fini(qd_peeked *peeked)
{
    if (peeked->folder != NULL)
        qd_dir_remove(peeked->folder, NULL);
    free(peeked->folder);
    json_decref(peeked->resolved);
    *peeked = (qd_peeked){ 0 };
}

/* Small files as they are in the cache; headers of weights are there already. */
static qd_code complete_folder(const qd_fetch_run *run, const qd_items *items, qd_peeked *peeked, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < items->count; i++) {
        const qd_item *item = &items->rows[i];
        const qd_snapshot_file file = { .name = item->name, .sha256 = item->sha256 };
        if (item->presence != QD_PRESENT)
            continue;
        peeked->model_bytes += item->bytes;
        if (qd_peek_takes(run, item) == QD_DIFFERENT)
            code = qd_snapshot_place(&run->fetcher->cache, peeked->folder, &file, err);
        else if (item->origin == QD_ORIGIN_NETWORK)
            peeked->download_bytes += item->bytes;
    }
    return code;
}

qd_code qd_fetch_peek(qd_fetcher *fetcher, const qd_fetch_request *request, const qd_cancel *cancel, qd_peeked *out,
                      qd_error *err)
{
    QD_AUTO(qd_source_fini) qd_source source = { 0 };
    QD_AUTO(qd_items_fini) qd_items items = { 0 };
    QD_AUTO(qd_free_pointer) char *commit = NULL;
    QD_AUTO(qd_peeked_fini) qd_peeked peeked = { 0 };
    qd_fetch_run run;
    qd_code code = prepare(fetcher, request, &source, err);
    if (code == QD_OK)
        code = qd_peek_folder(&fetcher->cache, &peeked.folder, err);
    if (code != QD_OK)
        return code;
    run_init(&run, fetcher, &source, request->token, NULL, cancel);
    run.headers_only = peeked.folder;
    code = bring(&run, &source, request, &items, &commit, err);
    if (code == QD_OK)
        code = complete_folder(&run, &items, &peeked, err);
    if (code == QD_OK)
        code = describe(&source, commit, &items, &peeked.resolved, err);
    if (code != QD_OK)
        return code;
    peeked.read_bytes = atomic_load(&run.downloaded);
    *out = peeked;
    peeked = (qd_peeked){ 0 };
    return QD_OK;
}

static qd_code obtain_text(qd_fetch_run *run, const qd_source *source, uint64_t cap, qd_items *items, qd_error *err)
{
    qd_item *item;
    const char *place = source->kind == QD_SOURCE_FOLDER ? source->local : source->url.path;
    qd_code code = qd_items_add(items, strrchr(place, '/') + 1, QD_NEED_ALWAYS, cap, &item, err);
    if (code != QD_OK)
        return code;
    if (source->kind == QD_SOURCE_FOLDER)
        return qd_folder_obtain_file(run, source->local, item, err);
    if (source->kind == QD_SOURCE_S3)
        return qd_s3_obtain_file(run, source, items, err);
    code = qd_url_copy(&source->url, &item->url, err);
    return code == QD_OK ? qd_items_obtain(run, items, 0, err) : code;
}

qd_code qd_fetch_text(qd_fetcher *fetcher, const char *url, uint64_t max_bytes, const qd_cancel *cancel,
                      char **out_path, char *out_sha256_hex, qd_error *err)
{
    QD_AUTO(qd_source_fini) qd_source source = { 0 };
    QD_AUTO(qd_items_fini) qd_items items = { 0 };
    qd_fetch_run run;
    qd_code code = qd_source_text(url, &source, err);
    if (code == QD_OK)
        code = check_named(fetcher, url, &source, err);
    if (code == QD_OK)
        code = qd_cache_make_folders(&fetcher->cache, err);
    if (code != QD_OK)
        return code;
    run_init(&run, fetcher, &source, NULL, NULL, cancel);
    code = obtain_text(&run, &source, max_bytes, &items, err);
    if (code != QD_OK)
        return code;
    char *path = qd_cache_blob_path(&fetcher->cache, items.rows[0].sha256);
    if (path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    *out_path = path;
    memcpy(out_sha256_hex, items.rows[0].sha256, QD_DIGEST_HEX);
    return QD_OK;
}
