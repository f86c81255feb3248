/* changes.c: see changes.h. */
#include "jobs/changes.h"

#include <string.h>

#include "base/str.h"
#include "engine/recipe_issues.h"

/* merge: members that are not named stay. replace: alternatives, which do not mix. */
typedef enum way { MERGE, REPLACE } way;

static const struct row {
    const char *field;
    unsigned occasions;
    way way;
} rows[] = {
    { "name", QD_OCCASION_PATCH | QD_OCCASION_RETRY, REPLACE },
    { "tags", QD_OCCASION_PATCH | QD_OCCASION_RETRY, MERGE },
    { "priority", QD_OCCASION_PATCH | QD_OCCASION_RETRY, REPLACE },
    { "regularization", QD_OCCASION_RETRY, REPLACE },
    { "on_degraded", QD_OCCASION_RETRY, REPLACE },
    { "gate", QD_OCCASION_RETRY, MERGE },
    { "limits", QD_OCCASION_RETRY, MERGE },
    { "webhook", QD_OCCASION_RETRY, MERGE },
    { "publish", QD_OCCASION_RETRY, MERGE },
};

static const struct row *find_row(const char *field, qd_occasion occasion)
{
    for (size_t i = 0; i < QD_LENGTH(rows); i++)
        if (strcmp(rows[i].field, field) == 0 && (rows[i].occasions & occasion) != 0)
            return &rows[i];
    return NULL;
}

static void refuse(const char *field, qd_occasion occasion, qd_issues *issues)
{
    QD_AUTO(qd_str_fini) qd_str known = { 0 };
    for (size_t i = 0; i < QD_LENGTH(rows); i++)
        if (rows[i].occasions & occasion)
            qd_str_addf(&known, "%s%s", known.length > 0 ? ", " : "", rows[i].field);
    qd_complain(issues, qd_pointer_to("", field).text, "%s: %s may change %s only", qd_show(field).text,
                occasion == QD_OCCASION_PATCH ? "a PATCH" : "a retry", qd_str_borrow(&known));
}

/* RFC 7396; a member that is null goes, and is the default again when the recipe is read. */
static void merge(json_t *target, const char *key, json_t *value)
{
    json_t *inner = json_object_get(target, key);
    const char *name;
    json_t *member;
    if (json_is_null(value))
        json_object_del(target, key);
    else if (!json_is_object(value) || !json_is_object(inner))
        json_object_set_new(target, key, json_deep_copy(value));
    else
        json_object_foreach(value, name, member) merge(inner, name, member);
}

qd_code qd_changes_merge(json_t *recipe, const json_t *changes, qd_occasion occasion, qd_recipe **out,
                         qd_issues *issues, qd_error *err)
{
    const char *field;
    json_t *value;
    qd_recipe *parsed = NULL;
    qd_issues found = { 0 };
    issues->count = 0;
    json_object_foreach((json_t *)(uintptr_t)changes, field, value)
    {
        const struct row *row = find_row(field, occasion);
        if (row == NULL) {
            refuse(field, occasion, issues);
            continue;
        }
        if (row->way == REPLACE)
            json_object_del(recipe, field);
        merge(recipe, field, value);
    }
    qd_code code = qd_recipe_parse(recipe, &parsed, &found, err);
    for (size_t i = 0; code == QD_EINVAL && i < found.count; i++)
        qd_complain(issues, found.items[i].pointer, "%s", found.items[i].detail);
    if (issues->count > 0)
        code = qd_fail(err, QD_EINVAL, "%s", issues->items[0].detail);
    if (code == QD_OK)
        *out = parsed;
    else
        qd_recipe_destroy(parsed);
    return code;
}
