/* source.c: which kind of source a model URL is; see url.h. */
#include "fetch/url.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"

void qd_source_fini(qd_source *source)
{
    qd_url_fini(&source->url);
    free(source->repo);
    free(source->revision);
    free(source->weights);
    free(source->local);
    *source = (qd_source){ 0 };
}

qd_same qd_name_is_plain(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > 255 || name[0] == '.')
        return QD_DIFFERENT;
    for (const char *p = name; *p != '\0'; p++)
        if (!isalnum((unsigned char)*p) && *p != '.' && *p != '_' && *p != '-')
            return QD_DIFFERENT;
    return QD_SAME;
}

static bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcasecmp(text + a - b, end) == 0;
}

qd_same qd_name_is_gguf(const char *name)
{
    return ends_with(name, ".gguf") ? QD_SAME : QD_DIFFERENT;
}

/* Five digits as a number; 0 when they are none. */
static size_t five_digits(const char *at)
{
    size_t value = 0;
    for (size_t i = 0; i < 5; i++) {
        if (!isdigit((unsigned char)at[i]))
            return 0;
        value = 10 * value + (size_t)(at[i] - '0');
    }
    return value;
}

qd_gguf_part qd_gguf_part_of(const char *name)
{
    enum { TAIL = 20 /* -00001-of-00003.gguf */, MOST = 1000 };
    const qd_gguf_part whole = { 1, 1 };
    size_t length = strlen(name);
    if (length <= TAIL || qd_name_is_gguf(name) != QD_SAME)
        return whole;
    const char *tail = name + length - TAIL;
    const qd_gguf_part part = { five_digits(tail + 1), five_digits(tail + 10) };
    bool fits = tail[0] == '-' && strncmp(tail + 6, "-of-", 4) == 0 && part.number > 0 && part.number <= part.count;
    return fits && part.count <= MOST ? part : whole;
}

qd_code qd_gguf_part_name(const char *name, size_t number, char **out, qd_error *err)
{
    enum { NUMBER_AT = 19 /* from the end */ };
    char digits[8];
    snprintf(digits, sizeof digits, "%05zu", number % 100000);
    qd_code code = qd_dup(name, out, err);
    if (code == QD_OK && qd_gguf_part_of(name).count > 1)
        memcpy(*out + strlen(name) - NUMBER_AT, digits, 5);
    return code;
}

/* A last path part that is a single file: fills source->weights and leaves the siblings' folder to the caller. */
static qd_code take_weights(const char *name, qd_source *out, qd_error *err)
{
    static const char *const refused[] = { ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".h5", ".npz", ".py" };
    for (size_t i = 0; i < QD_LENGTH(refused); i++)
        if (ends_with(name, refused[i]))
            return qd_fail(err, QD_EUNSUPPORTED, "'%s' files cannot be read; weights must be .safetensors or .gguf",
                           refused[i]);
    if (!ends_with(name, ".safetensors") && qd_name_is_gguf(name) != QD_SAME)
        return QD_OK;
    if (qd_name_is_plain(name) != QD_SAME)
        return qd_fail(err, QD_EINVAL, "file name '%s' holds more than letters, digits, '.', '_' and '-'", name);
    return qd_dup(name, &out->weights, err);
}

/* Next part of a path ("/a/b//": "a", "b"); NULL at the end. Writes into the path. */
static char *next_part(char **at)
{
    *at += strspn(*at, "/");
    if (**at == '\0')
        return NULL;
    char *part = *at;
    *at += strcspn(*at, "/");
    if (**at == '/')
        *(*at)++ = '\0';
    return part;
}

/* org/name, org/name/tree/REVISION, org/name/resolve|blob/REVISION/FILE.safetensors or FILE.gguf */
static qd_code read_hub_path(const char *path, qd_source *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *copy = strdup(path);
    if (copy == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    char *parts[6] = { NULL }, *at = copy;
    size_t count = 0;
    for (char *part; (part = next_part(&at)) != NULL; count++) {
        if (count == QD_LENGTH(parts))
            return qd_fail(err, QD_EINVAL, "a hub page is org/name or org/name/tree/REVISION");
        parts[count] = part;
    }
    if (count < 2 || qd_name_is_plain(parts[0]) != QD_SAME || qd_name_is_plain(parts[1]) != QD_SAME)
        return qd_fail(err, QD_EINVAL, "'%s' is not org/name on the hub", path);
    bool tree = count == 4 && strcmp(parts[2], "tree") == 0;
    bool file = count == 5 && (strcmp(parts[2], "resolve") == 0 || strcmp(parts[2], "blob") == 0);
    if (count > 2 && !tree && !file)
        return qd_fail(err, QD_EINVAL,
                       "a hub page is org/name, org/name/tree/REVISION or "
                       "org/name/resolve/REVISION/FILE.safetensors or FILE.gguf");
    if (count > 2 && qd_name_is_plain(parts[3]) != QD_SAME)
        return qd_fail(err, QD_EINVAL, "revision '%s' of the url is not plain letters, digits, '.', '_' and '-'",
                       parts[3]);
    qd_code code = file ? take_weights(parts[4], out, err) : QD_OK;
    if (code == QD_OK && file && out->weights == NULL)
        code = qd_fail(err, QD_EINVAL, "'%s' is neither a .safetensors nor a .gguf file", parts[4]);
    if (code == QD_OK && count > 2)
        code = qd_dup(parts[3], &out->revision, err);
    if (code != QD_OK)
        return code;
    qd_str repo = { 0 };
    qd_str_addf(&repo, "%s/%s", parts[0], parts[1]);
    out->repo = qd_str_take(&repo);
    return out->repo == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

/* The path below the hub's base, when `url` lies there; else NULL. */
static const char *below_hub(const qd_url *url, const qd_url *hub)
{
    size_t base = strlen(hub->path);
    while (base > 0 && hub->path[base - 1] == '/')
        base--;
    if (qd_url_same_origin(url, hub) != QD_SAME || strncmp(url->path, hub->path, base) != 0 || url->path[base] != '/')
        return NULL;
    return url->path + base;
}

static qd_code classify_hub(const qd_url *hub, const char *path, qd_source *out, qd_error *err)
{
    out->kind = QD_SOURCE_HUB;
    qd_code code = read_hub_path(path, out, err);
    return code == QD_OK ? qd_url_copy(hub, &out->url, err) : code;
}

static qd_code classify_hf(const qd_url *url, const qd_url *hub, qd_source *out, qd_error *err)
{
    qd_str path = { 0 };
    qd_str_addf(&path, "/%s%s", url->host, url->path);
    QD_AUTO(qd_free_pointer) char *text = qd_str_take(&path);
    if (text == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return classify_hub(hub, text, out, err);
}

static qd_code classify_web(qd_url *url, qd_source *out, qd_error *err)
{
    qd_code code = take_weights(qd_url_last_name(url), out, err);
    if (code != QD_OK)
        return code;
    out->kind = out->weights == NULL ? QD_SOURCE_DIRECTORY : QD_SOURCE_FILE;
    if (out->weights == NULL && url->path[strlen(url->path) - 1] != '/') {
        qd_str path = { 0 };
        qd_str_addf(&path, "%s/", url->path);
        free(url->path);
        url->path = qd_str_take(&path);
        if (url->path == NULL)
            return qd_fail(err, QD_ENOMEM, "out of memory");
    }
    out->url = *url;
    *url = (qd_url){ 0 };
    return QD_OK;
}

/* Percent-decodes a path in place; refuses '..' (openat2 would too; here with a better sentence). */
static qd_code decode_path(char *path, qd_error *err)
{
    char *to = path;
    for (const char *from = path; *from != '\0';) {
        bool encoded = *from == '%';
        *to++ = encoded ? (char)(16 * qd_hex_value(from[1]) + qd_hex_value(from[2])) : *from;
        from += encoded ? 3 : 1;
    }
    *to = '\0';
    for (const char *part = path; part != NULL; part = strchr(part, '/')) {
        part += strspn(part, "/");
        if (part[0] == '.' && part[1] == '.' && (part[2] == '/' || part[2] == '\0'))
            return qd_fail(err, QD_EDENIED, "path '%s' must not hold '..'", path);
    }
    return QD_OK;
}

static qd_code classify_folder(qd_url *url, qd_source *out, qd_error *err)
{
    out->kind = QD_SOURCE_FOLDER;
    qd_code code = qd_dup(url->path, &out->local, err);
    if (code == QD_OK)
        code = decode_path(out->local, err);
    if (code != QD_OK)
        return code;
    char *last = strrchr(out->local, '/');
    code = take_weights(last + 1, out, err);
    if (code != QD_OK)
        return code;
    if (out->weights != NULL)
        last[last == out->local ? 1 : 0] = '\0';
    out->url = *url;
    *url = (qd_url){ 0 };
    return QD_OK;
}

static qd_code classify(qd_url *url, const qd_url *hub, qd_source *out, qd_error *err)
{
    if (url->scheme == QD_SCHEME_HF)
        return classify_hf(url, hub, out, err);
    if (url->scheme == QD_SCHEME_FILE)
        return classify_folder(url, out, err);
    if (url->scheme == QD_SCHEME_S3) {
        qd_code code = classify_web(url, out, err);
        out->kind = QD_SOURCE_S3;
        return code;
    }
    const char *hub_path = below_hub(url, hub);
    if (hub_path != NULL && strstr(hub_path, "/resolve/") != NULL && !ends_with(hub_path, ".safetensors") &&
        qd_name_is_gguf(hub_path) != QD_SAME)
        hub_path = NULL; /* one plain file of the hub, a text for example */
    return hub_path != NULL ? classify_hub(hub, hub_path, out, err) : classify_web(url, out, err);
}

qd_code qd_source_text(const char *text, qd_source *out, qd_error *err)
{
    QD_AUTO(qd_url_fini) qd_url url = { 0 };
    QD_AUTO(qd_source_fini) qd_source source = { .kind = QD_SOURCE_FILE };
    qd_code code = qd_url_parse(text, &url, err);
    if (code != QD_OK)
        return code;
    if (url.scheme == QD_SCHEME_HF)
        return qd_fail(err, QD_EINVAL, "url '%s' names a model, not a text", text);
    if (url.scheme == QD_SCHEME_S3)
        source.kind = QD_SOURCE_S3;
    if (url.scheme == QD_SCHEME_FILE) {
        source.kind = QD_SOURCE_FOLDER;
        code = qd_dup(url.path, &source.local, err);
        if (code == QD_OK)
            code = decode_path(source.local, err);
    }
    if (code != QD_OK)
        return code;
    source.url = url;
    url = (qd_url){ 0 };
    *out = source;
    source = (qd_source){ 0 };
    return QD_OK;
}

qd_code qd_source_classify(const char *text, const qd_url *hub, qd_source *out, qd_error *err)
{
    QD_AUTO(qd_url_fini) qd_url url = { 0 };
    QD_AUTO(qd_source_fini) qd_source source = { 0 };
    qd_code code = qd_url_parse(text, &url, err);
    if (code != QD_OK)
        return code;
    code = classify(&url, hub, &source, err);
    if (code != QD_OK) {
        char shown[320];
        qd_url_redact(text, shown, sizeof shown);
        return qd_within(err, code, "url '%s'", shown);
    }
    *out = source;
    source = (qd_source){ 0 };
    return QD_OK;
}
