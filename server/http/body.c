/* body.c: see body.h. */
#include "http/body.h"

#include <string.h>

#include "base/json.h"

/* Where a walk stands; names are cut so that hostile ones stay readable. */
typedef struct place {
    const struct place *above;
    const char *name; /* NULL = item `index` */
    size_t index;
} place;

static void add_pointer(qd_str *out, const place *at)
{
    if (at->above == NULL)
        return;
    add_pointer(out, at->above);
    if (at->name == NULL)
        qd_str_addf(out, "/%zu", at->index);
    else
        qd_str_addf(out, "/%.40s", at->name);
}

static qd_code fail_at(const place *at, const char *what, size_t found, size_t limit, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str pointer = { 0 };
    add_pointer(&pointer, at);
    return qd_fail(err, QD_ETOOBIG, "%.120s: %s of %zu; at most %zu", qd_str_borrow(&pointer), what, found, limit);
}

/* Depth was checked before the text was parsed. */
static qd_code check(const json_t *value, const place *at, qd_error *err)
{
    qd_code code = QD_OK;
    if (json_string_length(value) > QD_BODY_STRING)
        return fail_at(at, "a string", json_string_length(value), QD_BODY_STRING, err);
    if (json_array_size(value) > QD_BODY_ITEMS)
        return fail_at(at, "a list", json_array_size(value), QD_BODY_ITEMS, err);
    for (size_t i = 0; code == QD_OK && i < json_array_size(value); i++)
        code = check(json_array_get(value, i), &(place){ at, NULL, i }, err);
    const char *name;
    json_t *member;
    json_object_foreach((json_t *)(uintptr_t)value, name, member)
    {
        const place below = { at, name, 0 };
        if (code == QD_OK && strlen(name) > QD_BODY_STRING)
            code = fail_at(&below, "a name", strlen(name), QD_BODY_STRING, err);
        if (code == QD_OK)
            code = check(member, &below, err);
    }
    return code;
}

qd_code qd_body_parse(const qd_request *request, json_t **out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *value = NULL;
    qd_code code =
        qd_json_parse_object(qd_str_borrow(&request->body), request->body.length, QD_BODY_DEPTH, &value, err);
    if (code == QD_OK)
        code = check(value, &(place){ 0 }, err);
    if (code != QD_OK)
        return code;
    *out = value;
    value = NULL;
    return QD_OK;
}
