/* target.c: see target.h. */
#include "http/target.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"

qd_code qd_percent_decode(const char *text, size_t length, qd_plus plus, char *out, qd_error *err)
{
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        int byte = (unsigned char)text[i];
        if (byte == '%') {
            int high = i + 1 < length ? qd_hex_value(text[i + 1]) : -1;
            int low = i + 2 < length ? qd_hex_value(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return qd_fail(err, QD_EINVAL, "target: '%%' is not followed by two hexadecimal digits");
            byte = high * 16 + low;
            i += 2;
        } else if (byte == '+' && plus == QD_PLUS_IS_BLANK)
            byte = ' ';
        if (byte < 0x20 || byte == 0x7f)
            return qd_fail(err, QD_EINVAL, "target: control character 0x%02x", (unsigned)byte);
        out[used++] = (char)byte;
    }
    out[used] = '\0';
    return QD_OK;
}

/* Decodes into *cursor and moves it past the NUL. */
static qd_code decode_next(const char *text, size_t length, qd_plus plus, char **cursor, char **out, qd_error *err)
{
    qd_code code = qd_percent_decode(text, length, plus, *cursor, err);
    if (code != QD_OK)
        return code;
    *out = *cursor;
    *cursor += strlen(*cursor) + 1;
    return QD_OK;
}

static qd_code add_parameter(qd_target *target, const char *pair, size_t length, char **cursor, qd_error *err)
{
    qd_parameter found = { 0 };
    const char *equals = memchr(pair, '=', length);
    size_t name_length = equals == NULL ? length : (size_t)(equals - pair);
    size_t value_length = equals == NULL ? 0 : length - name_length - 1;
    qd_code code = decode_next(pair, name_length, QD_PLUS_IS_BLANK, cursor, &found.name, err);
    if (code == QD_OK)
        code = decode_next(pair + length - value_length, value_length, QD_PLUS_IS_BLANK, cursor, &found.value, err);
    if (code != QD_OK)
        return code;
    if (target->parameter_count == QD_PARAMETERS_MAX)
        return qd_fail(err, QD_EINVAL, "more than %d query parameters", QD_PARAMETERS_MAX);
    target->parameters[target->parameter_count++] = found;
    return QD_OK;
}

static qd_code parse_query(qd_target *target, const char *query, char **cursor, qd_error *err)
{
    qd_code code = QD_OK;
    while (*query != '\0' && code == QD_OK) {
        size_t length = strcspn(query, "&");
        if (length > 0)
            code = add_parameter(target, query, length, cursor, err);
        query += length + (query[length] == '&');
    }
    return code;
}

/* RFC 9112 §3.2.2: a server accepts the absolute form. */
static const char *skip_authority(const char *raw)
{
    size_t scheme = strncasecmp(raw, "http://", 7) == 0 ? 7 : strncasecmp(raw, "https://", 8) == 0 ? 8 : 0;
    if (scheme == 0)
        return raw;
    raw += scheme + strcspn(raw + scheme, "/?");
    return *raw == '\0' ? "/" : raw;
}

static qd_code parse(const char *raw, qd_target *target, qd_error *err)
{
    char *cursor = target->storage;
    size_t length = strcspn(raw, "?#");
    if (raw[0] != '/')
        return qd_fail(err, QD_EINVAL, "target: a path begins with '/'");
    if (strchr(raw, '#') != NULL)
        return qd_fail(err, QD_EINVAL, "target: a fragment ('#') stays with the client");
    for (size_t i = 0; i + 2 < length; i++)
        if (raw[i] == '%' && raw[i + 1] == '2' && (raw[i + 2] == 'f' || raw[i + 2] == 'F'))
            return qd_fail(err, QD_EINVAL, "target: an encoded slash (%%2F) in the path");
    qd_code code = decode_next(raw, length, QD_PLUS_IS_PLUS, &cursor, &target->path, err);
    return code == QD_OK && raw[length] == '?' ? parse_query(target, raw + length + 1, &cursor, err) : code;
}

qd_code qd_target_parse(const char *raw, qd_target *out, qd_error *err)
{
    qd_target target = { 0 };
    raw = skip_authority(raw);
    /* Decoding never grows a part; each part takes one NUL more, and a parameter without '=' two. */
    qd_code code = qd_alloc(strlen(raw) + 2 * QD_PARAMETERS_MAX + 8, 1, (void **)&target.storage, err);
    if (code == QD_OK)
        code = parse(raw, &target, err);
    if (code != QD_OK) {
        qd_target_fini(&target);
        return code;
    }
    *out = target;
    return QD_OK;
}

void qd_target_fini(qd_target *target)
{
    free(target->storage);
    *target = (qd_target){ 0 };
}

const char *qd_target_parameter(const qd_target *target, const char *name)
{
    for (size_t i = 0; i < target->parameter_count; i++)
        if (strcmp(target->parameters[i].name, name) == 0)
            return target->parameters[i].value[0] == '\0' ? NULL : target->parameters[i].value;
    return NULL;
}

qd_code qd_target_flag(const qd_target *target, const char *name, bool *out, qd_error *err)
{
    *out = false;
    for (size_t i = 0; i < target->parameter_count; i++) {
        const char *value = target->parameters[i].value;
        if (strcmp(target->parameters[i].name, name) != 0)
            continue;
        *out = strcmp(value, "true") == 0;
        return *out || strcmp(value, "false") == 0
                   ? QD_OK
                   : qd_fail(err, QD_EINVAL, "%s: '%.60s' is not true or false", name, value);
    }
    return QD_OK;
}
