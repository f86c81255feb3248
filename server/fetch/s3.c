/* s3.c: see s3.h. */
#include "fetch/s3.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

enum { CREDENTIALS_MAX = 16384, KEY_MAX = 1024, BUCKET_MIN = 3, BUCKET_MAX = 63 };
static const char default_endpoint[] = "https://s3.amazonaws.com", default_region[] = "us-east-1";
static const char amazon[] = "amazonaws.com";

void qd_s3_fini(qd_s3 *s3)
{
    qd_url_fini(&s3->endpoint);
    free(s3->region);
    free(s3->credentials);
    for (size_t i = 0; i < s3->place_count; i++) {
        free(s3->places[i].bucket);
        free(s3->places[i].prefix);
    }
    free(s3->places);
    *s3 = (qd_s3){ 0 };
}

/* Lower-case letters, digits, '-' and '.': nothing that means something in a host name or a path. */
static qd_code check_bucket(const char *bucket, qd_error *err)
{
    size_t length = strlen(bucket);
    bool fits = length >= BUCKET_MIN && length <= BUCKET_MAX && strstr(bucket, "..") == NULL &&
                isalnum((unsigned char)bucket[0]) && isalnum((unsigned char)bucket[length - 1]);
    for (size_t i = 0; fits && i < length; i++)
        fits = islower((unsigned char)bucket[i]) || isdigit((unsigned char)bucket[i]) || bucket[i] == '-' ||
               bucket[i] == '.';
    return fits ? QD_OK
                : qd_fail(err, QD_EINVAL,
                          "'%.80s' is no bucket: 3 to 63 lower-case letters, digits, '-' and '.' are allowed", bucket);
}

/* An HTTP client or a gateway may fold such parts, and then another object is meant than was allowed. */
static qd_code check_key(const char *key, qd_error *err)
{
    if (strlen(key) > KEY_MAX)
        return qd_fail(err, QD_EINVAL, "a key of %zu bytes; at most %d are allowed", strlen(key), (int)KEY_MAX);
    for (const char *part = key; *part != '\0';) {
        size_t length = strcspn(part, "/");
        bool dots = (length == 1 && part[0] == '.') || (length == 2 && part[0] == '.' && part[1] == '.');
        if (length == 0 || dots)
            return qd_fail(err, QD_EINVAL, "key '%.200s' has an empty part, '.' or '..' between its slashes", key);
        part += length + (part[length] == '/');
    }
    for (const char *p = key; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return qd_fail(err, QD_EINVAL, "the key holds the control character 0x%02x", (unsigned char)*p);
    return QD_OK;
}

static qd_code take_place(const char *text, qd_s3_place *out, qd_error *err)
{
    size_t bucket = strcspn(text, "/");
    const char *prefix = text + bucket + strspn(text + bucket, "/");
    size_t length = strlen(prefix);
    while (length > 0 && prefix[length - 1] == '/')
        length--;
    out->bucket = strndup(text, bucket);
    out->prefix = strndup(prefix, length);
    if (out->bucket == NULL || out->prefix == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    qd_code code = check_bucket(out->bucket, err);
    if (code == QD_OK)
        code = check_key(out->prefix, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "s3-allow '%.200s'", text);
}

static qd_code take_places(const char *const *allow, qd_s3 *s3, qd_error *err)
{
    size_t count = 0;
    while (allow != NULL && allow[count] != NULL)
        count++;
    qd_code code = qd_alloc(count, sizeof *s3->places, (void **)&s3->places, err);
    for (size_t i = 0; code == QD_OK && i < count; i++) {
        s3->place_count = i + 1;
        code = take_place(allow[i], &s3->places[i], err);
    }
    return code;
}

static qd_code take_endpoint(const char *text, qd_s3 *s3, qd_error *err)
{
    qd_code code = qd_url_parse(text == NULL ? default_endpoint : text, &s3->endpoint, err);
    if (code != QD_OK)
        return qd_within(err, code, "s3-endpoint");
    bool web = s3->endpoint.scheme == QD_SCHEME_HTTPS || s3->endpoint.scheme == QD_SCHEME_HTTP;
    if (!web || strcmp(s3->endpoint.path, "/") != 0 || s3->endpoint.query != NULL)
        return qd_fail(err, QD_EINVAL, "s3-endpoint '%.200s': scheme://host or scheme://host:port is wanted", text);
    return QD_OK;
}

qd_code qd_s3_init(const qd_s3_settings *settings, qd_s3 *out, qd_error *err)
{
    QD_AUTO(qd_s3_fini) qd_s3 s3 = { 0 };
    QD_AUTO(qd_aws_keys_fini) qd_aws_keys keys = { 0 };
    qd_code code = take_endpoint(settings->endpoint, &s3, err);
    if (code == QD_OK)
        code = qd_dup(settings->region == NULL ? default_region : settings->region, &s3.region, err);
    if (code == QD_OK)
        code = qd_dup(settings->credentials, &s3.credentials, err);
    if (code == QD_OK)
        code = take_places(settings->allow, &s3, err);
    if (code == QD_OK && s3.credentials != NULL)
        code = qd_s3_keys(&s3, &keys, err);
    if (code == QD_OK) {
        *out = s3;
        s3 = (qd_s3){ 0 };
    }
    return code;
}

/* ---- names ---- */

void qd_s3_name_fini(qd_s3_name *name)
{
    free(name->bucket);
    free(name->key);
    *name = (qd_s3_name){ 0 };
}

static void decode(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0';) {
        bool encoded = *from == '%'; /* the URL's parser saw that two hex digits follow */
        *to++ = encoded ? (char)(16 * qd_hex_value(from[1]) + qd_hex_value(from[2])) : *from;
        from += encoded ? 3 : 1;
    }
    *to = '\0';
}

qd_code qd_s3_name_parse(const qd_url *url, qd_s3_name *out, qd_error *err)
{
    QD_AUTO(qd_s3_name_fini) qd_s3_name name = { 0 };
    if (url->port != 0 || url->query != NULL)
        return qd_fail(err, QD_EINVAL, "an s3 url is s3://bucket/key, without %s",
                       url->port != 0 ? "a port (the operator's s3-endpoint says where)" : "a query");
    qd_code code = check_bucket(url->host, err);
    if (code == QD_OK)
        code = qd_dup(url->host, &name.bucket, err);
    if (code == QD_OK)
        code = qd_dup(url->path + 1, &name.key, err);
    if (code != QD_OK)
        return code;
    decode(name.key);
    code = check_key(name.key, err);
    if (code == QD_OK) {
        *out = name;
        name = (qd_s3_name){ 0 };
    }
    return code;
}

/* `key` itself or something below it; a slash at the key's end does not count. */
static bool covers(const qd_s3_place *place, const qd_s3_name *name)
{
    size_t length = strlen(place->prefix);
    if (strcmp(place->bucket, name->bucket) != 0)
        return false;
    return length == 0 ||
           (strncmp(name->key, place->prefix, length) == 0 && (name->key[length] == '/' || name->key[length] == '\0'));
}

qd_code qd_s3_allow(const qd_s3 *s3, const qd_s3_name *name, qd_error *err)
{
    for (size_t i = 0; i < s3->place_count; i++)
        if (covers(&s3->places[i], name))
            return QD_OK;
    if (s3->place_count == 0)
        return qd_fail(err, QD_EDENIED, "s3 urls are refused here: the operator's s3-allow names no bucket");
    return qd_fail(err, QD_EDENIED, "'%s/%.200s' is not below what the operator's s3-allow names", name->bucket,
                   name->key);
}

qd_code qd_s3_check(const qd_s3 *s3, const qd_s3_name *name, qd_error *err)
{
    QD_AUTO(qd_aws_keys_fini) qd_aws_keys keys = { 0 };
    qd_code code = qd_s3_allow(s3, name, err);
    return code == QD_OK ? qd_s3_keys(s3, &keys, err) : code;
}

/* ---- places ---- */

static bool is_amazon(const char *host)
{
    size_t length = strlen(host), tail = sizeof amazon - 1;
    return length > tail && strcmp(host + length - tail, amazon) == 0 && host[length - tail - 1] == '.';
}

/* bucket.s3.REGION.amazonaws.com; a bucket with dots would not fit the host's certificate. */
static void add_place(const qd_s3 *s3, const char *bucket, qd_str *host, qd_str *path)
{
    const char *base = s3->endpoint.host;
    bool virtual_host = is_amazon(base) && strchr(bucket, '.') == NULL;
    if (virtual_host)
        qd_str_addf(host, "%s.", bucket);
    else
        qd_str_addf(path, "/%s", bucket);
    if (strcmp(base, "s3.amazonaws.com") == 0)
        qd_str_addf(host, "s3.%s.%s", s3->region, amazon);
    else
        qd_str_add(host, base);
}

qd_code qd_s3_url(const qd_s3 *s3, const char *bucket, const char *key, const char *query, qd_url *out, qd_error *err)
{
    QD_AUTO(qd_url_fini) qd_url url = { .scheme = s3->endpoint.scheme, .port = s3->endpoint.port };
    QD_AUTO(qd_free_pointer) char *encoded = NULL;
    qd_str host = { 0 }, path = { 0 };
    qd_code code = qd_aws_encode(key, QD_SLASH_STAYS, &encoded, err);
    if (code != QD_OK)
        return code;
    add_place(s3, bucket, &host, &path);
    qd_str_addf(&path, "/%s", encoded);
    url.host = qd_str_take(&host);
    url.path = qd_str_take(&path);
    if (url.host == NULL || url.path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    code = qd_dup(query, &url.query, err);
    if (code == QD_OK) {
        *out = url;
        url = (qd_url){ 0 };
    }
    return code;
}

/* ---- keys ---- */

static qd_code take_key_line(char *line, qd_aws_keys *keys, qd_error *err)
{
    const struct {
        const char *name;
        char **slot;
    } rows[] = { { "access-key-id", &keys->id },
                 { "secret-access-key", &keys->secret },
                 { "session-token", &keys->token } };
    line = qd_trim(line);
    char *equals = strchr(line, '=');
    if (line[0] == '\0' || line[0] == '#')
        return QD_OK;
    if (equals != NULL)
        *equals = '\0';
    for (size_t i = 0; equals != NULL && i < QD_LENGTH(rows); i++)
        if (strcmp(qd_trim(line), rows[i].name) == 0) {
            free(*rows[i].slot);
            *rows[i].slot = NULL;
            return qd_dup(qd_trim(equals + 1), rows[i].slot, err);
        }
    return qd_fail(err, QD_EINVAL,
                   "lines `access-key-id = ...`, `secret-access-key = ...` and `session-token = ...` are "
                   "wanted, found another");
}

static qd_code read_file(const char *path, qd_aws_keys *keys, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    qd_code code = qd_file_read(path, CREDENTIALS_MAX, &text, err);
    char *rest = text.data;
    while (code == QD_OK && rest != NULL)
        code = take_key_line(strsep(&rest, "\n"), keys, err);
    if (text.data != NULL)
        explicit_bzero(text.data, text.length);
    return code == QD_OK ? QD_OK : qd_within(err, code, "s3-credentials '%s'", path);
}

static qd_code read_environment(qd_aws_keys *keys, qd_error *err)
{
    const char *token = getenv("AWS_SESSION_TOKEN");
    qd_code code = qd_dup(getenv("AWS_ACCESS_KEY_ID"), &keys->id, err);
    if (code == QD_OK)
        code = qd_dup(getenv("AWS_SECRET_ACCESS_KEY"), &keys->secret, err);
    return code == QD_OK ? qd_dup(token != NULL && token[0] != '\0' ? token : NULL, &keys->token, err) : code;
}

/* They become parts of a header. */
static bool is_key(const char *text)
{
    for (const char *p = text; p != NULL && *p != '\0'; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f)
            return false;
    return text != NULL && text[0] != '\0';
}

qd_code qd_s3_keys(const qd_s3 *s3, qd_aws_keys *out, qd_error *err)
{
    QD_AUTO(qd_aws_keys_fini) qd_aws_keys keys = { 0 };
    const char *where = s3->credentials == NULL ? "the environment" : s3->credentials;
    qd_code code = s3->credentials == NULL ? read_environment(&keys, err) : read_file(s3->credentials, &keys, err);
    if (code != QD_OK)
        return code;
    if (s3->credentials == NULL && (keys.id == NULL || keys.secret == NULL))
        return qd_fail(err, QD_EDENIED, "s3 urls are refused here: the operator gave no s3-credentials");
    if (!is_key(keys.id) || !is_key(keys.secret) || (keys.token != NULL && !is_key(keys.token)))
        return qd_fail(err, QD_EINVAL, "s3-credentials: %s gives no usable access key id and secret access key", where);
    *out = keys;
    keys = (qd_aws_keys){ 0 };
    return QD_OK;
}
