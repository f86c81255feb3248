/* key_json.c: see key_json.h. */
#include "api/key_json.h"

#include <stdarg.h>
#include <string.h>

#include "api/text.h"
#include "base/json.h"
#include "engine/recipe_issues.h"

enum { EXPIRES_MAX = 3650 * 24 * 3600 };

static json_t *print_scopes(unsigned scopes)
{
    json_t *list = json_array();
    for (size_t i = 0; qd_scope_bit_name(i) != NULL; i++)
        if ((scopes & (unsigned)qd_scope_bit_at(i)) != 0)
            json_array_append_new(list, json_string(qd_scope_bit_name(i)));
    return list;
}

/* null: the service's own limit. */
static json_t *print_limit(uint64_t limit)
{
    return limit == 0 ? json_null() : json_integer((json_int_t)limit);
}

json_t *qd_key_print(const qd_key *key, const char *text)
{
    json_t *value =
        json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id", key->id, "name", key->name, "scopes",
                  print_scopes(key->scopes), "rate_per_minute", print_limit(key->rate_per_minute), "queue_quota",
                  print_limit(key->queue_quota), "disk_quota", print_limit(key->disk_quota_bytes), "created_at",
                  qd_time_print(key->created_ms), "expires_at", qd_time_print(key->expires_ms), "revoked_at",
                  qd_time_print(key->revoked_ms), "last_used_at", qd_time_print(key->last_used_ms));
    if (value != NULL && text != NULL)
        json_object_set_new(value, "key", json_string(text));
    return value;
}

/* `tail` is put behind the pointer as it is: "/0", or "". */
QD_PRINTF(4, 5)
static void refuse(qd_issues *issues, const char *field, const char *tail, const char *format, ...)
{
    char what[200], pointer[200];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    snprintf(pointer, sizeof pointer, "%s%s", qd_pointer_to("", field).text, tail);
    qd_complain(issues, pointer, "%s: %s", qd_show(field).text, what);
}

static void read_scopes(const json_t *value, unsigned *out, qd_issues *issues)
{
    static const char allowed[] = "jobs:read, jobs:write, artifacts:read, admin";
    if (!json_is_array(value) || json_array_size(value) == 0) {
        refuse(issues, "scopes", "", "found %s, wanted a list of %s", qd_json_type_name(value), allowed);
        return;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *word = json_string_value(json_array_get(value, i));
        qd_scope_bit bit = word == NULL ? QD_SCOPE_NONE : qd_scope_bit_find(word);
        char tail[32];
        snprintf(tail, sizeof tail, "/%zu", i);
        if (bit == QD_SCOPE_NONE)
            refuse(issues, "scopes", tail, "'%.60s' is not in %s",
                   word == NULL ? qd_json_type_name(json_array_get(value, i)) : word, allowed);
        *out |= (unsigned)bit;
    }
}

static void read_number(const char *field, const json_t *value, uint64_t top, uint64_t *out, qd_issues *issues)
{
    if (value == NULL || json_is_null(value))
        return;
    if (!json_is_integer(value))
        refuse(issues, field, "", "found %s, wanted a whole number", qd_json_type_name(value));
    else if (json_integer_value(value) < 1 || (uint64_t)json_integer_value(value) > top)
        refuse(issues, field, "", "%lld is not in 1..%llu", (long long)json_integer_value(value),
               (unsigned long long)top);
    else
        *out = (uint64_t)json_integer_value(value);
}

qd_code qd_key_wish_parse(const json_t *body, qd_key_wish *out, qd_issues *issues, qd_error *err)
{
    qd_key_wish wish = { 0 };
    uint64_t expires_in = 0;
    const struct {
        const char *name;
        uint64_t top;
        uint64_t *value;
    } numbers[] = {
        { "expires_in", EXPIRES_MAX, &expires_in },
        { "rate_per_minute", 10000000, &wish.rate_per_minute },
        { "queue_quota", 1000000, &wish.queue_quota },
        { "disk_quota", INT64_MAX, &wish.disk_quota_bytes },
    };
    const char *field;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)body, field, value)
    {
        bool known = strcmp(field, "name") == 0 || strcmp(field, "scopes") == 0;
        for (size_t i = 0; i < QD_LENGTH(numbers); i++)
            known |= strcmp(field, numbers[i].name) == 0;
        if (!known)
            refuse(issues, field, "",
                   "unknown field; allowed: name, scopes, expires_in, rate_per_minute, queue_quota, disk_quota");
    }
    wish.name = json_string_value(json_object_get(body, "name"));
    if (wish.name == NULL)
        refuse(issues, "name", "", "found %s, wanted a string", qd_json_type_name(json_object_get(body, "name")));
    read_scopes(json_object_get(body, "scopes"), &wish.scopes, issues);
    for (size_t i = 0; i < QD_LENGTH(numbers); i++)
        read_number(numbers[i].name, json_object_get(body, numbers[i].name), numbers[i].top, numbers[i].value, issues);
    if (issues->count > 0)
        return qd_fail(err, QD_EINVAL, "%s", issues->items[0].detail);
    wish.lifetime_ms = (int64_t)expires_in * 1000;
    *out = wish;
    return QD_OK;
}
