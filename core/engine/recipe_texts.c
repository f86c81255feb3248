/* recipe_texts.c: see recipe_texts.h. */
#include "engine/recipe_texts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/recipe_issues.h"

enum { NAME_BYTES = 60 };

void qd_texts_fini(qd_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) {
        free(texts->items[i].name);
        free(texts->items[i].url);
    }
    *texts = (qd_texts){ 0 };
}

void qd_text_name(const char *url, char out[QD_TEXT_NAME])
{
    size_t end = strcspn(url, "?#"), begin = end;
    while (begin > 0 && url[begin - 1] != '/')
        begin--;
    size_t length = qd_min_size(end - begin, QD_TEXT_NAME - 1);
    while (length > 0 && ((unsigned char)url[begin + length] & 0xC0) == 0x80)
        length--; /* a character is not cut */
    if (length == 0)
        snprintf(out, QD_TEXT_NAME, "text");
    else
        snprintf(out, QD_TEXT_NAME, "%.*s", (int)length, url + begin);
}

/* One item as it is given. */
typedef struct given {
    const char *name, *url;
} given;

/* false: complained about. */
static bool read_object(const json_t *value, const char *label, const char *at, given *out, qd_issues *issues)
{
    const char *key;
    json_t *member;
    size_t before = issues->count;
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        qd_pointer where = qd_pointer_to(at, key);
        const char **slot = strcmp(key, "name") == 0 ? &out->name : strcmp(key, "text") == 0 ? &out->url : NULL;
        if (slot == NULL)
            qd_complain(issues, where.text, "%s.%s: no such field; known are name, text", label, qd_show(key).text);
        else if (!json_is_string(member))
            qd_complain(issues, where.text, "%s.%s: a string is wanted, found %s", label, key,
                        qd_json_type_name(member));
        else
            *slot = json_string_value(member);
    }
    if (issues->count == before && out->url == NULL)
        qd_complain(issues, qd_pointer_to(at, "text").text, "%s.text: is missing; the URL of a text", label);
    return issues->count == before;
}

static bool check_given(const given *g, const char *label, const char *at, qd_issues *issues)
{
    size_t before = issues->count;
    if (!qd_is_url(g->url))
        qd_complain(issues, at, "%s: '%s' is no URL (scheme://...) of at most %d characters", label,
                    qd_show(g->url).text, QD_URL_CHARACTERS);
    if (g->name != NULL && (g->name[0] == '\0' || strlen(g->name) > NAME_BYTES || qd_characters(g->name) == (size_t)-1))
        qd_complain(issues, at, "%s.name: '%s'; 1 to %d bytes without control characters are wanted", label,
                    qd_show(g->name).text, NAME_BYTES);
    return issues->count == before;
}

static qd_code add(const given *g, const char *label, const char *at, qd_texts *texts, qd_issues *issues, qd_error *err)
{
    char name[QD_TEXT_NAME];
    if (g->name != NULL)
        snprintf(name, sizeof name, "%s", g->name);
    else
        qd_text_name(g->url, name);
    for (size_t i = 0; i < texts->count; i++)
        if (strcmp(texts->items[i].name, name) == 0) {
            qd_complain(issues, at,
                        "%s: '%s' is the name of another text already; {\"name\":..,\"text\":..} gives it "
                        "one of its own",
                        label, qd_show(name).text);
            return QD_OK;
        }
    qd_text *item = &texts->items[texts->count];
    qd_code code = qd_dup(name, &item->name, err);
    if (code == QD_OK && (code = qd_dup(g->url, &item->url, err)) != QD_OK) {
        free(item->name);
        item->name = NULL;
    }
    texts->count += code == QD_OK;
    return code;
}

static qd_code read_one(const json_t *value, const char *label, const char *at, qd_texts *texts, qd_issues *issues,
                        qd_error *err)
{
    given g = { .url = json_string_value(value) };
    if (!json_is_string(value) && !json_is_object(value)) {
        qd_complain(issues, at, "%s: a string (a URL) or an object of name and text is wanted, found %s", label,
                    qd_json_type_name(value));
        return QD_OK;
    }
    if (json_is_object(value) && !read_object(value, label, at, &g, issues))
        return QD_OK;
    return check_given(&g, label, at, issues) ? add(&g, label, at, texts, issues, err) : QD_OK;
}

qd_code qd_texts_read(const json_t *value, const char *at, qd_texts *out, qd_issues *issues, qd_error *err)
{
    size_t count = json_array_size(value);
    qd_code code = QD_OK;
    qd_texts_fini(out);
    if (!json_is_array(value))
        qd_complain(issues, at, "evaluation.also: a list of texts is wanted, found %s", qd_json_type_name(value));
    else if (count > QD_TEXTS_MAX)
        qd_complain(issues, at, "evaluation.also: a list of %zu; at most %d texts are allowed", count, QD_TEXTS_MAX);
    else
        for (size_t i = 0; code == QD_OK && i < count; i++) {
            char label[40], index[24];
            snprintf(label, sizeof label, "evaluation.also[%zu]", i);
            snprintf(index, sizeof index, "%zu", i);
            code = read_one(json_array_get(value, i), label, qd_pointer_to(at, index).text, out, issues, err);
        }
    return code;
}

json_t *qd_texts_print(const qd_texts *texts)
{
    json_t *out = json_array();
    for (size_t i = 0; i < texts->count; i++)
        json_array_append_new(out, json_pack("{s:s, s:s}", "name", texts->items[i].name, "text", texts->items[i].url));
    return out;
}

json_t *qd_texts_describe(void)
{
    json_t *url = json_pack("{s:s, s:s, s:i}", "type", "string", "pattern", "://", "maxLength", QD_URL_CHARACTERS);
    json_t *named =
        json_pack("{s:s, s:b, s:[s], s:{s:{s:s, s:i, s:i, s:s}, s:O}}", "type", "object", "additionalProperties", 0,
                  "required", "text", "properties", "name", "type", "string", "minLength", 1, "maxLength", NAME_BYTES,
                  "description", "what the result calls it; its file's name unless said", "text", url);
    return json_pack("{s:s, s:{s:[o, o]}, s:i}", "type", "array", "items", "oneOf", url, named, "maxItems",
                     QD_TEXTS_MAX);
}
