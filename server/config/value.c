/* value.c: see value.h. */
#include "config/value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void *field_of(qd_config *config, const qd_option *option)
{
    return (char *)config + option->offset;
}

static const void *field_in(const qd_config *config, const qd_option *option)
{
    return (const char *)config + option->offset;
}

/* 0: no suffix of ours. */
static uint64_t seconds_of(char suffix)
{
    switch (suffix) {
    case 's':
        return 1;
    case 'm':
        return 60;
    case 'h':
        return 3600;
    case 'd':
        return 24 * 3600;
    default:
        return 0;
    }
}

static uint64_t bytes_of(char suffix)
{
    const char *suffixes = "KMGT", *at = strchr(suffixes, toupper((unsigned char)suffix));
    return at == NULL || suffix == '\0' ? 0 : UINT64_C(1) << (10 * (at - suffixes + 1));
}

static const char *const number_words[] = {
    [QD_OPTION_NUMBER] = "a whole number",
    [QD_OPTION_BYTES] = "a size such as 512M",
    [QD_OPTION_DURATION] = "a time such as 90s, 12h or 30d",
};

static qd_code refuse_number(const qd_option *o, const char *where, const char *text, const char *why, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str range = { 0 };
    qd_option_range(o, &range);
    return qd_fail(err, QD_EINVAL, "%s: '%s' is not %s%s%s", where, text, why, why[0] == '\0' ? "in " : " in ",
                   qd_str_borrow(&range));
}

static qd_code parse_number(const qd_option *o, const char *where, const char *text, uint64_t *out, qd_error *err)
{
    char *end = NULL;
    uint64_t unit = 1;
    errno = 0;
    unsigned long long value = isdigit((unsigned char)text[0]) ? strtoull(text, &end, 10) : 0;
    if (end == NULL)
        return refuse_number(o, where, text, number_words[o->kind], err);
    if (*end != '\0' && o->kind != QD_OPTION_NUMBER) {
        unit = o->kind == QD_OPTION_BYTES ? bytes_of(*end) : seconds_of(*end);
        end++;
    }
    if (*end != '\0' || unit == 0)
        return refuse_number(o, where, text, number_words[o->kind], err);
    if (errno == ERANGE || value > UINT64_MAX / unit || value * unit < o->min || value * unit > o->max)
        return refuse_number(o, where, text, "", err);
    *out = value * unit;
    return QD_OK;
}

qd_code qd_config_duration(const char *where, const char *text, uint64_t *out_seconds, qd_error *err)
{
    const qd_option o = { .kind = QD_OPTION_DURATION, .max = UINT64_C(3650) * 24 * 3600 };
    return text == NULL ? QD_OK : parse_number(&o, where, text, out_seconds, err);
}

qd_code qd_config_bytes(const char *where, const char *text, uint64_t *out, qd_error *err)
{
    const qd_option o = { .kind = QD_OPTION_BYTES, .max = UINT64_MAX };
    return text == NULL ? QD_OK : parse_number(&o, where, text, out, err);
}

static qd_code append_word(char ***list, const char *word, size_t length, qd_error *err)
{
    size_t count = 0;
    while (*list != NULL && (*list)[count] != NULL)
        count++;
    char **grown = realloc(*list, (count + 2) * sizeof *grown);
    char *copy = strndup(word, length);
    if (grown != NULL)
        *list = grown;
    if (grown == NULL || copy == NULL) {
        free(copy);
        if (grown != NULL)
            grown[count] = NULL;
        return qd_fail(err, QD_ENOMEM, "out of memory");
    }
    grown[count] = copy;
    grown[count + 1] = NULL;
    return QD_OK;
}

static qd_code append_words(char ***list, const char *text, qd_error *err)
{
    qd_code code = QD_OK;
    while (code == QD_OK && *(text += strspn(text, " \t")) != '\0') {
        size_t length = strcspn(text, " \t");
        code = append_word(list, text, length, err);
        text += length;
    }
    return code;
}

static qd_code parse_switch(const char *where, const char *text, bool *out, qd_error *err)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {
        { "yes", true }, { "true", true }, { "1", true }, { "no", false }, { "false", false }, { "0", false },
    };
    for (size_t i = 0; i < QD_LENGTH(words); i++)
        if (strcmp(text, words[i].word) == 0) {
            *out = words[i].value;
            return QD_OK;
        }
    return qd_fail(err, QD_EINVAL, "%s: '%s' is not yes or no", where, text);
}

static qd_code check_choice(const qd_option *o, const char *where, const char *text, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str range = { 0 };
    for (size_t i = 0; o->choices[i] != NULL; i++)
        if (strcmp(text, o->choices[i]) == 0)
            return QD_OK;
    qd_option_range(o, &range);
    return qd_fail(err, QD_EINVAL, "%s: '%s' is not %s", where, text, qd_str_borrow(&range));
}

qd_code qd_value_set(qd_config *config, const qd_option *o, const char *where, const char *text, qd_error *err)
{
    void *field = field_of(config, o);
    qd_code code = QD_OK;
    switch (o->kind) {
    case QD_OPTION_NUMBER:
    case QD_OPTION_BYTES:
    case QD_OPTION_DURATION:
        return parse_number(o, where, text, field, err);
    case QD_OPTION_LIST:
        return append_word(field, text, strlen(text), err);
    case QD_OPTION_WORDS: /* a later source replaces the whole command */
        qd_value_fini(config, o);
        return append_words(field, text, err);
    case QD_OPTION_SWITCH:
        return parse_switch(where, text, field, err);
    case QD_OPTION_CHOICE:
        code = check_choice(o, where, text, err);
        break;
    case QD_OPTION_TEXT:
        break;
    }
    if (code != QD_OK)
        return code;
    char **slot = field;
    free(*slot);
    *slot = NULL;
    return qd_dup(text, slot, err);
}

qd_code qd_value_set_all(qd_config *config, const qd_option *o, const char *where, const char *text, qd_error *err)
{
    qd_code code = QD_OK;
    if (o->kind != QD_OPTION_LIST)
        return qd_value_set(config, o, where, text, err);
    for (const char *at = text; code == QD_OK && *at != '\0';) {
        size_t length = strcspn(at, ",");
        if (length > 0)
            code = append_word(field_of(config, o), at, length, err);
        at += length + (at[length] == ',');
    }
    return code;
}

void qd_value_fini(qd_config *config, const qd_option *o)
{
    void *field = field_of(config, o);
    if (o->kind == QD_OPTION_TEXT || o->kind == QD_OPTION_CHOICE) {
        free(*(char **)field);
        *(char **)field = NULL;
    }
    if (o->kind == QD_OPTION_LIST || o->kind == QD_OPTION_WORDS) {
        char **list = *(char ***)field;
        for (size_t i = 0; list != NULL && list[i] != NULL; i++)
            free(list[i]);
        free(list);
        *(char ***)field = NULL;
    }
}

/* "https://user:word@host/" says who, and with what word, to every log. */
static void add_public(qd_str *out, const char *text)
{
    const char *host = strstr(text, "://");
    const char *at = host == NULL ? NULL : memchr(host + 3, '@', strcspn(host + 3, "/?#"));
    if (at == NULL)
        qd_str_add(out, text);
    else
        qd_str_addf(out, "%.*s://...%s", (int)(host - text), text, at);
}

void qd_value_print(const qd_config *config, const qd_option *o, qd_str *out)
{
    const void *field = field_in(config, o);
    char *const *list;
    switch (o->kind) {
    case QD_OPTION_NUMBER:
    case QD_OPTION_BYTES:
    case QD_OPTION_DURATION:
        qd_str_addf(out, "%" PRIu64, *(const uint64_t *)field);
        return;
    case QD_OPTION_SWITCH:
        qd_str_add(out, *(const bool *)field ? "yes" : "no");
        return;
    case QD_OPTION_LIST:
    case QD_OPTION_WORDS:
        list = *(char *const *const *)field;
        for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
            qd_str_add(out, i == 0 ? "" : o->kind == QD_OPTION_LIST ? "," : " ");
            add_public(out, list[i]);
        }
        return;
    case QD_OPTION_TEXT:
    case QD_OPTION_CHOICE:
        if (*(char *const *)field != NULL)
            add_public(out, *(char *const *)field);
        return;
    }
}

static size_t size_of(const qd_option *o)
{
    switch (o->kind) {
    case QD_OPTION_NUMBER:
    case QD_OPTION_BYTES:
    case QD_OPTION_DURATION:
        return sizeof(uint64_t);
    case QD_OPTION_SWITCH:
        return sizeof(bool);
    case QD_OPTION_LIST:
    case QD_OPTION_WORDS:
        return sizeof(char **);
    case QD_OPTION_TEXT:
    case QD_OPTION_CHOICE:
        break;
    }
    return sizeof(char *);
}

void qd_value_swap(qd_config *a, qd_config *b, const qd_option *o)
{
    unsigned char kept[sizeof(uint64_t)];
    memcpy(kept, field_of(a, o), size_of(o));
    memcpy(field_of(a, o), field_of(b, o), size_of(o));
    memcpy(field_of(b, o), kept, size_of(o));
}

static bool texts_equal(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool qd_value_equal(const qd_config *a, const qd_config *b, const qd_option *o)
{
    const void *x = field_in(a, o), *y = field_in(b, o);
    if (o->kind == QD_OPTION_TEXT || o->kind == QD_OPTION_CHOICE)
        return texts_equal(*(char *const *)x, *(char *const *)y);
    if (o->kind != QD_OPTION_LIST && o->kind != QD_OPTION_WORDS)
        return memcmp(x, y, size_of(o)) == 0;
    char *const *m = *(char *const *const *)x, *const *n = *(char *const *const *)y;
    size_t i = 0;
    for (; m != NULL && n != NULL && m[i] != NULL && n[i] != NULL; i++)
        if (strcmp(m[i], n[i]) != 0)
            return false;
    return (m == NULL || m[i] == NULL) && (n == NULL || n[i] == NULL);
}
