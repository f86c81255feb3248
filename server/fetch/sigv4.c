/* sigv4.c: see sigv4.h. */
#include "fetch/sigv4.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/digest.h"
#include "base/hmac.h"
#include "base/mem.h"
#include "base/str.h"

enum { QUERY_PAIRS_MAX = 64 };
static const char algorithm[] = "AWS4-HMAC-SHA256";
const char qd_empty_sha256[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

static void wipe(char *text)
{
    if (text != NULL)
        explicit_bzero(text, strlen(text));
    free(text);
}

void qd_aws_keys_fini(qd_aws_keys *keys)
{
    wipe(keys->id);
    wipe(keys->secret);
    wipe(keys->token);
    *keys = (qd_aws_keys){ 0 };
}

void qd_amz_date(int64_t wall_ms, char out[QD_AMZ_DATE])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm parts;
    gmtime_r(&seconds, &parts);
    strftime(out, QD_AMZ_DATE, "%Y%m%dT%H%M%SZ", &parts);
}

qd_code qd_aws_encode(const char *text, qd_encode_slash slash, char **out, qd_error *err)
{
    qd_str encoded = { 0 };
    for (const char *p = text; *p != '\0'; p++) {
        if (isalnum((unsigned char)*p) || strchr("-._~", *p) != NULL || (*p == '/' && slash == QD_SLASH_STAYS))
            qd_str_add_bytes(&encoded, p, 1);
        else
            qd_str_addf(&encoded, "%%%02X", (unsigned char)*p);
    }
    *out = qd_str_take(&encoded);
    return *out == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "b=2&a" -> "a=&b=2". '=' sorts before every character that a name may hold but '-' and '.': names come first. */
static int compare_pairs(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    size_t x_name = strcspn(x, "="), y_name = strcspn(y, "=");
    int order = strncmp(x, y, x_name < y_name ? x_name : y_name);
    if (order != 0)
        return order;
    return x_name != y_name ? (x_name < y_name ? -1 : 1) : compare_texts(a, b);
}

static qd_code add_query(const char *query, qd_str *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *copy = strdup(query == NULL ? "" : query);
    char *pairs[QUERY_PAIRS_MAX], *at = copy;
    size_t count = 0;
    if (copy == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    for (char *pair; (pair = strsep(&at, "&")) != NULL;) {
        if (pair[0] == '\0')
            continue;
        if (count == QUERY_PAIRS_MAX)
            return qd_fail(err, QD_EINVAL, "more than %d query parameters cannot be signed", (int)QUERY_PAIRS_MAX);
        pairs[count++] = pair;
    }
    qsort(pairs, count, sizeof *pairs, compare_pairs);
    for (size_t i = 0; i < count; i++)
        qd_str_addf(out, "%s%s%s", i > 0 ? "&" : "", pairs[i], strchr(pairs[i], '=') == NULL ? "=" : "");
    return QD_OK;
}

/* host and the given headers by name. The host's value has to live as long as `rows`. */
static size_t sort_headers(const qd_sigv4_request *request, const char *host, qd_ask_header rows[QD_SIGNED_HEADERS_MAX])
{
    size_t count = 0;
    rows[count++] = (qd_ask_header){ "host", host };
    for (size_t i = 0; i < request->header_count && count < QD_SIGNED_HEADERS_MAX; i++)
        rows[count++] = request->headers[i];
    qsort(rows, count, sizeof *rows, compare_texts); /* a row begins with its name */
    return count;
}

/* Outer blanks go, inner ones become one. */
static void add_value(qd_str *out, const char *value)
{
    value += strspn(value, " \t");
    while (*value != '\0') {
        size_t word = strcspn(value, " \t");
        qd_str_add_bytes(out, value, word);
        value += word;
        value += strspn(value, " \t");
        if (*value != '\0')
            qd_str_add(out, " ");
    }
}

static void add_host(const qd_url *url, qd_str *out)
{
    uint16_t usual = url->scheme == QD_SCHEME_HTTPS ? 443 : 80;
    qd_str_add(out, url->host);
    if (url->port != usual)
        qd_str_addf(out, ":%u", url->port);
}

static void add_names(const qd_ask_header *rows, size_t count, qd_str *out)
{
    for (size_t i = 0; i < count; i++)
        qd_str_addf(out, "%s%s", i > 0 ? ";" : "", rows[i].name);
}

qd_code qd_sigv4_canonical(const qd_sigv4_request *request, char **out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    QD_AUTO(qd_str_fini) qd_str host = { 0 };
    qd_ask_header rows[QD_SIGNED_HEADERS_MAX];
    if (request->header_count >= QD_SIGNED_HEADERS_MAX)
        return qd_fail(err, QD_EINTERNAL, "more than %d headers to sign", (int)QD_SIGNED_HEADERS_MAX - 1);
    add_host(request->url, &host);
    size_t count = sort_headers(request, qd_str_borrow(&host), rows);
    qd_str_addf(&text, "%s\n%s\n", request->method, request->url->path);
    qd_code code = add_query(request->url->query, &text, err);
    if (code != QD_OK)
        return code;
    qd_str_add(&text, "\n");
    for (size_t i = 0; i < count; i++) {
        qd_str_addf(&text, "%s:", rows[i].name);
        add_value(&text, rows[i].value);
        qd_str_add(&text, "\n");
    }
    qd_str_add(&text, "\n");
    add_names(rows, count, &text);
    qd_str_addf(&text, "\n%s", request->payload_sha256);
    code = qd_str_check(&host, err);
    if (code == QD_OK)
        code = qd_str_check(&text, err);
    if (code == QD_OK)
        *out = qd_str_take(&text);
    return code;
}

/* HMAC chain over date, region, service, "aws4_request". */
static qd_code signing_key(const qd_sigv4_request *request, const qd_aws_keys *keys, unsigned char out[QD_HMAC_BYTES],
                           qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str first = { 0 };
    char day[9];
    snprintf(day, sizeof day, "%.8s", request->date);
    const char *const parts[] = { day, request->region, request->service, "aws4_request" };
    qd_str_addf(&first, "AWS4%s", keys->secret);
    qd_code code = qd_str_check(&first, err);
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(parts); i++) {
        unsigned char next[QD_HMAC_BYTES];
        code = qd_hmac_sha256(i == 0 ? (const void *)first.data : out, i == 0 ? first.length : QD_HMAC_BYTES, parts[i],
                              strlen(parts[i]), next, err);
        memcpy(out, next, sizeof next);
    }
    if (first.data != NULL)
        explicit_bzero(first.data, first.length);
    return code;
}

static qd_code add_signature(const qd_sigv4_request *request, const qd_aws_keys *keys, const char *scope, qd_str *out,
                             qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *canonical = NULL;
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    char digest[QD_DIGEST_HEX], signature[2 * QD_HMAC_BYTES + 1];
    unsigned char key[QD_HMAC_BYTES] = { 0 }, raw[QD_HMAC_BYTES];
    qd_code code = qd_sigv4_canonical(request, &canonical, err);
    if (code == QD_OK)
        code = qd_sha256(canonical, strlen(canonical), digest, err);
    if (code != QD_OK)
        return code;
    qd_str_addf(&text, "%s\n%s\n%s\n%s", algorithm, request->date, scope, digest);
    code = qd_str_check(&text, err);
    if (code == QD_OK)
        code = signing_key(request, keys, key, err);
    if (code == QD_OK)
        code = qd_hmac_sha256(key, sizeof key, text.data, text.length, raw, err);
    explicit_bzero(key, sizeof key);
    if (code != QD_OK)
        return code;
    qd_hex_encode(raw, sizeof raw, signature);
    qd_str_add(out, signature);
    return QD_OK;
}

qd_code qd_sigv4_sign(const qd_sigv4_request *request, const qd_aws_keys *keys, char **out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    QD_AUTO(qd_str_fini) qd_str scope = { 0 };
    qd_ask_header rows[QD_SIGNED_HEADERS_MAX];
    size_t count = sort_headers(request, "", rows);
    qd_str_addf(&scope, "%.8s/%s/%s/aws4_request", request->date, request->region, request->service);
    qd_str_addf(&text, "%s Credential=%s/%s, SignedHeaders=", algorithm, keys->id, qd_str_borrow(&scope));
    add_names(rows, count, &text);
    qd_str_add(&text, ", Signature=");
    qd_code code = qd_str_check(&scope, err);
    if (code == QD_OK)
        code = add_signature(request, keys, qd_str_borrow(&scope), &text, err);
    if (code == QD_OK)
        code = qd_str_check(&text, err);
    if (code == QD_OK)
        *out = qd_str_take(&text);
    return code;
}
