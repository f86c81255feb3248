/* url.c: see url.h. Classification is in source.c. */
#include "fetch/url.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"

typedef struct scheme_row {
    const char *name;
    qd_scheme scheme;
    uint16_t port;
} scheme_row;
static const scheme_row schemes[] = {
    { "https", QD_SCHEME_HTTPS, 443 }, { "http", QD_SCHEME_HTTP, 80 }, { "file", QD_SCHEME_FILE, 0 },
    { "hf", QD_SCHEME_HF, 0 },         { "s3", QD_SCHEME_S3, 0 },
};

void qd_url_fini(qd_url *url)
{
    free(url->host);
    free(url->path);
    free(url->query);
    *url = (qd_url){ 0 };
}

static const scheme_row *row_of(qd_scheme scheme)
{
    for (size_t i = 0; i < QD_LENGTH(schemes); i++)
        if (schemes[i].scheme == scheme)
            return &schemes[i];
    return NULL;
}

void qd_url_redact(const char *text, char *out, size_t out_size)
{
    size_t length = strcspn(text, "?#"), at = 0;
    const char *authority = strstr(text, "://");
    authority = authority == NULL || authority > text + length ? text : authority + 3;
    /* userinfo may hold a password: everything up to the last '@' of the authority goes */
    const char *authority_end = authority + strcspn(authority, "/?#\\");
    const char *after = authority;
    for (const char *p = authority; p < authority_end; p++)
        if (*p == '@')
            after = p + 1;
    for (const char *p = text; p < text + length && at + 1 < out_size && at < 300; p++) {
        if (p >= authority && p < after)
            continue;
        out[at++] = (unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f ? '?' : *p;
    }
    out[at] = '\0';
}

static qd_code check_characters(const char *text, qd_error *err)
{
    size_t length = strlen(text);
    if (length == 0)
        return qd_fail(err, QD_EINVAL, "the url is empty");
    if (length > QD_URL_MAX)
        return qd_fail(err, QD_EINVAL, "a url of %zu characters; at most %d are allowed", length, QD_URL_MAX);
    for (const char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f || strchr("\\\"<>^`{|}", *p) != NULL)
            return qd_fail(err, QD_EINVAL, "byte 0x%02x at position %zu of the url must be percent-encoded",
                           (unsigned char)*p, (size_t)(p - text));
    return QD_OK;
}

/* Letters, digits, '.', '-', '_'; or hex digits, ':' and '.' in brackets (no zone). */
static qd_code check_host(const char *host, size_t length, qd_error *err)
{
    if (length == 0 || length > 255)
        return qd_fail(err, QD_EINVAL, length == 0 ? "the url has no host" : "the host's name is too long");
    bool bracketed = host[0] == '[';
    if (bracketed && (length < 4 || host[length - 1] != ']'))
        return qd_fail(err, QD_EINVAL, "host '%.*s': the bracket is not closed", (int)length, host);
    for (size_t i = bracketed ? 1 : 0; i < length - (bracketed ? 1 : 0); i++) {
        unsigned char c = (unsigned char)host[i];
        if (bracketed ? !isxdigit(c) && c != ':' && c != '.' : !isalnum(c) && c != '.' && c != '-' && c != '_')
            return qd_fail(err, QD_EINVAL, "host '%.*s': '%c' cannot stand there", (int)length, host, c);
    }
    return QD_OK;
}

static qd_code parse_port(const char *text, size_t length, uint16_t *out, qd_error *err)
{
    unsigned port = 0;
    for (size_t i = 0; i < length; i++) {
        if (!isdigit((unsigned char)text[i]) || port > 65535)
            return qd_fail(err, QD_EINVAL, "port '%.*s' is not in 1..65535", (int)length, text);
        port = 10 * port + (unsigned)(text[i] - '0');
    }
    if (length > 0 && (port == 0 || port > 65535))
        return qd_fail(err, QD_EINVAL, "port '%.*s' is not in 1..65535", (int)length, text);
    if (length > 0)
        *out = (uint16_t)port;
    return QD_OK;
}

static qd_code parse_authority(const char *text, size_t length, qd_url *out, qd_error *err)
{
    if (memchr(text, '@', length) != NULL)
        return qd_fail(err, QD_EINVAL, "the url holds a user name or password before '@'; give a token instead");
    size_t host = length;
    if (length > 0 && text[0] == '[') {
        const char *close = memchr(text, ']', length);
        host = close == NULL ? length : (size_t)(close - text) + 1;
    } else {
        const char *colon = memchr(text, ':', length);
        host = colon == NULL ? length : (size_t)(colon - text);
    }
    qd_code code = check_host(text, host, err);
    if (code != QD_OK)
        return code;
    if (host < length && text[host] != ':')
        return qd_fail(err, QD_EINVAL, "'%.*s' is not host:port", (int)length, text);
    if (host < length)
        code = parse_port(text + host + 1, length - host - 1, &out->port, err);
    if (code != QD_OK)
        return code;
    out->host = strndup(text, host);
    if (out->host == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    bool is_name = out->scheme == QD_SCHEME_HF || out->scheme == QD_SCHEME_S3; /* of an organisation or a bucket */
    for (char *p = out->host; !is_name && *p != '\0'; p++)
        *p = (char)tolower((unsigned char)*p);
    return QD_OK;
}

static qd_code parse_path(const char *text, qd_url *out, qd_error *err)
{
    size_t path = strcspn(text, "?#");
    for (const char *p = text; *p != '\0'; p++)
        if (*p == '%' &&
            (!isxdigit((unsigned char)p[1]) || !isxdigit((unsigned char)p[2]) || (p[1] == '0' && p[2] == '0')))
            return qd_fail(err, QD_EINVAL, "'%.3s' in the url is not a percent-encoded byte", p);
    out->path = path == 0 ? strdup("/") : strndup(text, path);
    if (out->path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    if (text[path] == '?') {
        out->query = strndup(text + path + 1, strcspn(text + path + 1, "#"));
        if (out->query == NULL)
            return qd_fail(err, QD_ENOMEM, "out of memory");
    }
    return QD_OK;
}

static qd_code parse_parts(const char *text, qd_url *out, qd_error *err)
{
    qd_code code = check_characters(text, err);
    if (code != QD_OK)
        return code;
    const char *mark = strstr(text, "://");
    size_t length = mark == NULL ? 0 : (size_t)(mark - text);
    const scheme_row *row = NULL;
    for (size_t i = 0; length > 0 && i < QD_LENGTH(schemes); i++)
        if (strlen(schemes[i].name) == length && strncasecmp(text, schemes[i].name, length) == 0)
            row = &schemes[i];
    if (row == NULL)
        return qd_fail(err, QD_EINVAL, "scheme '%.*s' is not one of https, http, hf, file, s3",
                       (int)qd_min_size(length == 0 ? strcspn(text, ":/") : length, 40), text);
    out->scheme = row->scheme;
    out->port = row->port;
    const char *authority = mark + 3;
    size_t authority_length = strcspn(authority, "/?#");
    if (row->scheme == QD_SCHEME_FILE) {
        if (authority_length > 0 && (authority_length != 9 || strncasecmp(authority, "localhost", 9) != 0))
            return qd_fail(err, QD_EINVAL, "a file url has three slashes and no host: file:///folder");
        out->host = strdup("");
        if (out->host == NULL)
            return qd_fail(err, QD_ENOMEM, "out of memory");
    } else {
        code = parse_authority(authority, authority_length, out, err);
    }
    return code != QD_OK ? code : parse_path(authority + authority_length, out, err);
}

qd_code qd_url_parse(const char *text, qd_url *out, qd_error *err)
{
    QD_AUTO(qd_url_fini) qd_url url = { 0 };
    qd_code code = parse_parts(text, &url, err);
    if (code != QD_OK) {
        char shown[320];
        qd_url_redact(text, shown, sizeof shown);
        return qd_within(err, code, "url '%s'", shown);
    }
    *out = url;
    url = (qd_url){ 0 };
    return QD_OK;
}

static void add_front(const qd_url *url, qd_str *out)
{
    const scheme_row *row = row_of(url->scheme);
    qd_str_addf(out, "%s://%s", row->name, url->host);
    if (url->port != row->port)
        qd_str_addf(out, ":%u", url->port);
    qd_str_add(out, url->path);
}

char *qd_url_public(const qd_url *url)
{
    qd_str text = { 0 };
    add_front(url, &text);
    return qd_str_take(&text);
}

char *qd_url_text(const qd_url *url)
{
    qd_str text = { 0 };
    add_front(url, &text);
    if (url->query != NULL)
        qd_str_addf(&text, "?%s", url->query);
    return qd_str_take(&text);
}

qd_code qd_url_copy(const qd_url *url, qd_url *out, qd_error *err)
{
    QD_AUTO(qd_url_fini) qd_url copy = { .scheme = url->scheme, .port = url->port };
    qd_code code = qd_dup(url->host, &copy.host, err);
    if (code == QD_OK)
        code = qd_dup(url->path, &copy.path, err);
    if (code == QD_OK)
        code = qd_dup(url->query, &copy.query, err);
    if (code != QD_OK)
        return code;
    *out = copy;
    copy = (qd_url){ 0 };
    return QD_OK;
}

qd_code qd_url_sibling(const qd_url *folder, const char *name, qd_url *out, qd_error *err)
{
    QD_AUTO(qd_url_fini) qd_url copy = { 0 };
    qd_code code = qd_url_copy(folder, &copy, err);
    if (code != QD_OK)
        return code;
    qd_str path = { 0 };
    qd_str_add_bytes(&path, copy.path, (size_t)(strrchr(copy.path, '/') - copy.path) + 1);
    qd_str_add(&path, name);
    free(copy.path);
    copy.path = qd_str_take(&path);
    if (copy.path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    *out = copy;
    copy = (qd_url){ 0 };
    return QD_OK;
}

qd_same qd_url_same_origin(const qd_url *a, const qd_url *b)
{
    return a->scheme == b->scheme && a->port == b->port && strcmp(a->host, b->host) == 0 ? QD_SAME : QD_DIFFERENT;
}

const char *qd_url_last_name(const qd_url *url)
{
    return strrchr(url->path, '/') + 1;
}
