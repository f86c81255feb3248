/* message.c: see message.h. */
#include "http/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"

static const char *const methods[QD_METHOD_COUNT] = {
    [QD_GET] = "GET", [QD_POST] = "POST", [QD_PATCH] = "PATCH", [QD_DELETE] = "DELETE"
};

const char *qd_method_name(size_t index)
{
    return index < QD_METHOD_COUNT ? methods[index] : NULL;
}

qd_method qd_method_find(const char *name)
{
    if (strcmp(name, "HEAD") == 0)
        return QD_GET;
    size_t i = 0;
    while (i < QD_METHOD_COUNT && strcmp(methods[i], name) != 0)
        i++;
    return (qd_method)i;
}

typedef enum qd_repeat { ONCE, LIST } qd_repeat;
static const struct header_row {
    const char *name;
    qd_repeat repeat;
} headers[QD_HEADER_COUNT] = {
    [QD_ACCEPT] = { "Accept", LIST },
    [QD_AUTHORIZATION] = { "Authorization", ONCE },
    [QD_CONTENT_LENGTH] = { "Content-Length", ONCE },
    [QD_CONTENT_TYPE] = { "Content-Type", ONCE },
    [QD_COOKIE] = { "Cookie", LIST },
    [QD_FORWARDED_FOR] = { "X-Forwarded-For", LIST },
    [QD_HOST] = { "Host", ONCE },
    [QD_IDEMPOTENCY_KEY] = { "Idempotency-Key", ONCE },
    [QD_IF_MATCH] = { "If-Match", LIST },
    [QD_IF_NONE_MATCH] = { "If-None-Match", LIST },
    [QD_IF_RANGE] = { "If-Range", ONCE },
    [QD_LAST_EVENT_ID] = { "Last-Event-ID", ONCE },
    [QD_ORIGIN] = { "Origin", ONCE },
    [QD_RANGE] = { "Range", ONCE },
    [QD_SEC_FETCH_SITE] = { "Sec-Fetch-Site", ONCE },
    [QD_TRANSFER_ENCODING] = { "Transfer-Encoding", ONCE },
};

const char *qd_header_name(qd_header header)
{
    return headers[header].name;
}

qd_header qd_header_find(const char *name)
{
    size_t i = 0;
    while (i < QD_HEADER_COUNT && strcasecmp(headers[i].name, name) != 0)
        i++;
    return (qd_header)i;
}

qd_code qd_request_add_header(qd_request *request, const char *name, const char *value, size_t length, qd_error *err)
{
    if (memchr(value, '\0', length) != NULL)
        return qd_fail(err, QD_EINVAL, "header '%s' holds a NUL", name);
    qd_header header = qd_header_find(name);
    if (header == QD_HEADER_COUNT)
        return QD_OK;
    char **slot = &request->headers[header];
    if (*slot != NULL && headers[header].repeat == ONCE)
        return qd_fail(err, QD_EINVAL, "header '%s' is given twice", headers[header].name);
    QD_AUTO(qd_str_fini) qd_str joined = { 0 };
    if (*slot != NULL)
        qd_str_addf(&joined, "%s, ", *slot);
    qd_str_add_bytes(&joined, value, length);
    qd_code code = qd_str_check(&joined, err);
    if (code != QD_OK)
        return code;
    free(*slot);
    *slot = qd_str_take(&joined);
    return QD_OK;
}

void qd_request_fini(qd_request *request)
{
    qd_target_fini(&request->target);
    for (size_t i = 0; i < QD_HEADER_COUNT; i++)
        free(request->headers[i]);
    qd_str_fini(&request->body);
    *request = (qd_request){ 0 };
}

void qd_reply_init(qd_reply *reply)
{
    *reply = (qd_reply){ .fd = -1 };
}

void qd_reply_fini(qd_reply *reply)
{
    free(reply->bytes);
    qd_close_fd(&reply->fd);
    if (reply->release != NULL)
        reply->release(reply->content);
    qd_reply_init(reply);
}

void qd_reply_clear(qd_reply *reply)
{
    qd_reply_fini(reply);
}

void qd_reply_header_set(qd_reply *reply, const char *name, const char *format, ...)
{
    qd_reply_header made = { .name = name };
    size_t at = 0;
    while (at < reply->header_count && strcasecmp(reply->headers[at].name, name) != 0)
        at++;
    if (at == QD_REPLY_HEADERS_MAX)
        return;
    va_list args;
    va_start(args, format);
    int length = vsnprintf(made.value, sizeof made.value, format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= sizeof made.value)
        return;
    for (const char *c = made.value; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return;
    reply->headers[at] = made;
    reply->header_count += at == reply->header_count;
}

const char *qd_reply_header_get(const qd_reply *reply, const char *name)
{
    for (size_t i = 0; i < reply->header_count; i++)
        if (strcasecmp(reply->headers[i].name, name) == 0)
            return reply->headers[i].value;
    return NULL;
}

qd_code qd_reply_json_take(qd_reply *reply, unsigned status, json_t *value, qd_error *err)
{
    char *text = value == NULL ? NULL : qd_json_print(value);
    json_decref(value);
    if (text == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    free(reply->bytes);
    reply->status = status;
    reply->content_type = "application/json";
    reply->payload = QD_PAYLOAD_BYTES;
    reply->bytes = text;
    reply->length = strlen(text);
    return QD_OK;
}

qd_code qd_reply_text_take(qd_reply *reply, unsigned status, const char *content_type, qd_str *text, qd_error *err)
{
    qd_code code = qd_str_check(text, err);
    if (code != QD_OK)
        return code;
    free(reply->bytes);
    reply->status = status;
    reply->content_type = content_type;
    reply->payload = QD_PAYLOAD_BYTES;
    reply->length = text->length;
    reply->bytes = qd_str_take(text);
    return QD_OK;
}

void qd_reply_static(qd_reply *reply, unsigned status, const char *content_type, const void *bytes, size_t length)
{
    reply->status = status;
    reply->content_type = content_type;
    reply->payload = QD_PAYLOAD_STATIC;
    reply->fixed = bytes;
    reply->length = length;
}
