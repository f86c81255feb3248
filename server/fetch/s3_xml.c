/* s3_xml.c: see s3_xml.h. expat without entities of the document's own: a document type ends the reading. */
#include "fetch/s3_xml.h"

#include <expat.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

enum { DEPTH_MAX = 16, TEXT_MAX = 8192, NAME_MAX_BYTES = 48, OBJECTS_MAX = 10000 };

typedef struct reader {
    XML_Parser parser;
    char path[DEPTH_MAX][NAME_MAX_BYTES]; /* open elements; longer names are cut: none of ours is */
    size_t depth;
    size_t leaf; /* depth of the element that was opened last: others hold elements */
    qd_str text;
    void (*leaf_ended)(struct reader *r, const char *name);
    qd_code code;
    qd_error *err;
    /* of a list */
    qd_s3_list *list;
    qd_str key;
    qd_s3_object object;
    char truncated[8];
    /* of a single value */
    const char *wanted;
    char *out;
    size_t out_size;
    qd_same found;
} reader;

static void stop(reader *r, qd_code code)
{
    r->code = code;
    XML_StopParser(r->parser, XML_FALSE);
}

static void on_start(void *ctx, const char *name, const char **attributes)
{
    reader *r = ctx;
    (void)attributes;
    if (r->depth == DEPTH_MAX) {
        stop(r, qd_fail(r->err, QD_EFORMAT, "elements are nested more than %d deep", (int)DEPTH_MAX));
        return;
    }
    snprintf(r->path[r->depth++], NAME_MAX_BYTES, "%s", name);
    r->leaf = r->depth;
    qd_str_clear(&r->text);
}

static void on_text(void *ctx, const char *bytes, int length)
{
    reader *r = ctx;
    if (r->text.length + (size_t)length > TEXT_MAX)
        stop(r, qd_fail(r->err, QD_EFORMAT, "an element holds more than %d bytes", (int)TEXT_MAX));
    else
        qd_str_add_bytes(&r->text, bytes, (size_t)length);
}

static void on_end(void *ctx, const char *name)
{
    reader *r = ctx;
    (void)name;
    if (r->code == QD_OK && r->leaf == r->depth && r->depth > 0)
        r->leaf_ended(r, r->path[r->depth - 1]);
    if (r->code == QD_OK && r->depth == 2 && r->list != NULL && strcmp(r->path[1], "Contents") == 0)
        r->leaf_ended(r, "");
    r->depth -= r->depth > 0;
    qd_str_clear(&r->text);
}

/* What entities could be declared in. */
static void on_document_type(void *ctx, const char *name, const char *system, const char *public, int internal)
{
    reader *r = ctx;
    (void)name, (void)system, (void)public, (void)internal;
    stop(r, qd_fail(r->err, QD_EFORMAT, "a document type has no place in the answer of a storage"));
}

static qd_code read_document(reader *r, const char *text, size_t length)
{
    r->parser = XML_ParserCreate("UTF-8");
    if (r->parser == NULL)
        return qd_fail(r->err, QD_ENOMEM, "out of memory");
    XML_SetUserData(r->parser, r);
    XML_SetElementHandler(r->parser, on_start, on_end);
    XML_SetCharacterDataHandler(r->parser, on_text);
    XML_SetStartDoctypeDeclHandler(r->parser, on_document_type);
    enum XML_Status status = XML_Parse(r->parser, text, (int)length, 1);
    if (status != XML_STATUS_OK && r->code == QD_OK)
        r->code =
            qd_fail(r->err, QD_EFORMAT, "the storage's answer is no XML: line %lu: %s",
                    (unsigned long)XML_GetCurrentLineNumber(r->parser), XML_ErrorString(XML_GetErrorCode(r->parser)));
    if (r->code == QD_OK && r->text.failed)
        r->code = qd_fail(r->err, QD_ENOMEM, "out of memory");
    XML_ParserFree(r->parser);
    qd_str_fini(&r->text);
    return r->code;
}

/* ---- lists ---- */

void qd_s3_list_fini(qd_s3_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->objects[i].name);
    free(list->objects);
    free(list->next);
    *list = (qd_s3_list){ 0 };
}

const qd_s3_object *qd_s3_list_find(const qd_s3_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->objects[i].name, name) == 0)
            return &list->objects[i];
    return NULL;
}

/* Percent-decoded in place; what is no encoding stays. */
static void decode(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0';) {
        bool encoded = from[0] == '%' && qd_hex_value(from[1]) >= 0 && qd_hex_value(from[2]) >= 0;
        *to++ = encoded ? (char)(16 * qd_hex_value(from[1]) + qd_hex_value(from[2])) : *from;
        from += encoded ? 3 : 1;
    }
    *to = '\0';
}

static qd_code add_object(reader *r)
{
    qd_s3_list *list = r->list;
    QD_AUTO(qd_free_pointer) char *key = strdup(qd_str_borrow(&r->key));
    if (key == NULL)
        return qd_fail(r->err, QD_ENOMEM, "out of memory");
    decode(key);
    const char *slash = strrchr(key, '/'), *name = slash == NULL ? key : slash + 1;
    if (qd_name_is_plain(name) != QD_SAME || qd_s3_list_find(list, name) != NULL)
        return QD_OK;
    if (list->count == OBJECTS_MAX)
        return qd_fail(r->err, QD_ETOOBIG, "more than %d objects lie there", (int)OBJECTS_MAX);
    qd_code code = qd_grow((void **)&list->objects, &list->capacity, list->count + 1, sizeof *list->objects, r->err);
    qd_s3_object object = r->object;
    if (code == QD_OK)
        code = qd_dup(name, &object.name, r->err);
    if (code == QD_OK)
        list->objects[list->count++] = object;
    return code;
}

static qd_code take_size(reader *r)
{
    const char *text = qd_str_borrow(&r->text);
    char *end = NULL;
    unsigned long long size = text[0] >= '0' && text[0] <= '9' && r->text.length < 19 ? strtoull(text, &end, 10) : 0;
    if (end == NULL || *end != '\0')
        return qd_fail(r->err, QD_EFORMAT, "the size of an object is '%.40s'", text);
    r->object.size = size;
    return QD_OK;
}

static void copy_text(const reader *r, char *out, size_t size)
{
    size_t length = r->text.length < size ? r->text.length : 0;
    memcpy(out, qd_str_borrow(&r->text), length);
    out[length] = '\0';
}

/* "" ends an object. */
static void on_list_leaf(reader *r, const char *name)
{
    qd_code code = QD_OK;
    bool of_object = r->depth == 3 && strcmp(r->path[1], "Contents") == 0;
    if (name[0] == '\0') {
        code = add_object(r);
        r->object = (qd_s3_object){ 0 };
        qd_str_clear(&r->key);
    } else if (of_object && strcmp(name, "Key") == 0) {
        qd_str_clear(&r->key);
        qd_str_add(&r->key, qd_str_borrow(&r->text));
    } else if (of_object && strcmp(name, "Size") == 0) {
        code = take_size(r);
    } else if (of_object && strcmp(name, "ETag") == 0) {
        copy_text(r, r->object.etag, sizeof r->object.etag);
    } else if (r->depth == 2 && strcmp(name, "IsTruncated") == 0) {
        copy_text(r, r->truncated, sizeof r->truncated);
    } else if (r->depth == 2 && strcmp(name, "NextContinuationToken") == 0) {
        free(r->list->next);
        r->list->next = NULL;
        code = qd_dup(qd_str_borrow(&r->text), &r->list->next, r->err);
    }
    if (code != QD_OK)
        stop(r, code);
}

qd_code qd_s3_read_list(const char *text, size_t length, qd_s3_list *list, qd_error *err)
{
    reader r = { .list = list, .leaf_ended = on_list_leaf, .err = err };
    free(list->next);
    list->next = NULL;
    if (length > INT32_MAX)
        return qd_fail(err, QD_ETOOBIG, "a list of %zu bytes", length);
    qd_code code = read_document(&r, text, length);
    if (code == QD_OK && strcmp(r.path[0], "ListBucketResult") != 0)
        code = qd_fail(err, QD_EFORMAT, "the storage's answer is a '%.40s', not a ListBucketResult", r.path[0]);
    bool more = strcmp(r.truncated, "true") == 0;
    if (code == QD_OK && more && list->next == NULL)
        code = qd_fail(err, QD_EFORMAT, "the storage's list goes on and does not say where");
    if (!more) {
        free(list->next);
        list->next = NULL;
    }
    qd_str_fini(&r.key);
    return code;
}

/* ---- single values ---- */

static void on_value_leaf(reader *r, const char *name)
{
    if (r->found == QD_SAME || strcmp(name, r->wanted) != 0 || r->text.length >= r->out_size)
        return;
    memcpy(r->out, qd_str_borrow(&r->text), r->text.length + 1);
    r->found = QD_SAME;
}

qd_same qd_s3_read_text(const char *text, size_t length, const char *element, char *out, size_t out_size)
{
    qd_error ignored;
    reader r = { .leaf_ended = on_value_leaf,
                 .err = &ignored,
                 .wanted = element,
                 .out = out,
                 .out_size = out_size,
                 .found = QD_DIFFERENT };
    if (length > INT32_MAX || read_document(&r, text, length) != QD_OK)
        return QD_DIFFERENT;
    return r.found;
}
