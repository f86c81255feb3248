/* chat_text.c: see chat_text.h. */
#define _GNU_SOURCE /* memmem */
#include "text/chat_text.h"

#include <string.h>
#include <utf8proc.h>

#include "text/utf8.h"

static bool in_set(const qd_chat_value *set, const char *character, size_t length)
{
    uint32_t c;
    (void)qd_utf8_get(character, &c);
    if (set->kind != QD_CHAT_TEXT)
        return qd_chat_is_space(c);
    qd_chat_text all = set->as.text;
    return all.length >= length && memmem(all.bytes, all.length, character, length) != NULL;
}

qd_code qd_chat_strip(qd_chat_run *run, qd_chat_text text, const qd_chat_value *set, qd_chat_sides sides,
                      qd_chat_value *out)
{
    if (set->kind != QD_CHAT_ABSENT && set->kind != QD_CHAT_NONE && set->kind != QD_CHAT_TEXT)
        return qd_chat_fail(run, QD_EINVAL, "%s as the characters to strip", qd_chat_kind_name(set->kind));
    qd_code code = qd_chat_spend(run, text.length);
    const size_t cost = set->kind == QD_CHAT_TEXT ? set->as.text.length : 0;
    size_t start = 0, end = text.length, step;
    uint32_t c;
    for (; code == QD_OK && (sides & QD_CHAT_LEFT) != 0 && start < end; start += step) {
        step = qd_utf8_get(text.bytes + start, &c);
        if (!in_set(set, text.bytes + start, step))
            break;
        code = qd_chat_spend(run, cost);
    }
    for (; code == QD_OK && (sides & QD_CHAT_RIGHT) != 0 && end > start; end -= step) {
        step = end - qd_utf8_before(text.bytes, end);
        if (!in_set(set, text.bytes + end - step, step))
            break;
        code = qd_chat_spend(run, cost);
    }
    *out = qd_chat_of_text((qd_chat_text){ text.bytes + start, end - start });
    return code;
}

typedef struct char_range {
    uint32_t first, last;
} char_range;

/* Letters whose other case is several letters, depends on where they stand, or has a third case: Unicode's
 * SpecialCasing.txt and the title case letters. */
static const char_range special_cases[] = {
    { 0xDF, 0xDF },     { 0x130, 0x131 },   { 0x149, 0x149 },   { 0x1C4, 0x1CC },   { 0x1F0, 0x1F3 },
    { 0x345, 0x345 },   { 0x390, 0x390 },   { 0x3A3, 0x3A3 },   { 0x3B0, 0x3B0 },   { 0x587, 0x587 },
    { 0x10D0, 0x10FF }, { 0x1E96, 0x1E9E }, { 0x1F50, 0x1FFC }, { 0xFB00, 0xFB17 },
};

static bool is_special(uint32_t c)
{
    for (size_t i = 0; i < QD_LENGTH(special_cases); i++)
        if (c >= special_cases[i].first && c <= special_cases[i].last)
            return true;
    return c >= 0x1F80 && c <= 0x1FFC;
}

static bool is_cased(uint32_t c)
{
    utf8proc_category_t kind = utf8proc_category((utf8proc_int32_t)c);
    return kind == UTF8PROC_CATEGORY_LU || kind == UTF8PROC_CATEGORY_LL || kind == UTF8PROC_CATEGORY_LT;
}

/* Whether the letter behind `before` (0: the text's start) is a capital. */
static bool is_capital(qd_chat_case which, uint32_t before)
{
    switch (which) {
    case QD_CHAT_UPPER:
        return true;
    case QD_CHAT_LOWER:
        return false;
    case QD_CHAT_CAPITALIZE:
        return before == 0;
    case QD_CHAT_TITLE_FILTER:
        return before == 0 || qd_chat_is_space(before) || (before < 0x80 && strchr("-({[<", (int)before) != NULL);
    case QD_CHAT_TITLE_METHOD:
        return !is_cased(before);
    }
    return false;
}

qd_code qd_chat_change_case(qd_chat_run *run, qd_chat_text text, qd_chat_case which, qd_chat_value *out)
{
    QD_AUTO(qd_str_fini) qd_str changed = { 0 };
    qd_code code = qd_chat_spend(run, 16 * text.length);
    uint32_t c, before = 0;
    for (size_t at = 0; code == QD_OK && at < text.length; before = c) {
        at += qd_utf8_get(text.bytes + at, &c);
        if (is_special(c))
            return qd_chat_fail(run, QD_EUNSUPPORTED, "upper or lower case of U+%04X: not supported", c);
        utf8proc_int32_t other =
            is_capital(which, before) ? utf8proc_toupper((utf8proc_int32_t)c) : utf8proc_tolower((utf8proc_int32_t)c);
        qd_utf8_add((uint32_t)other, &changed);
    }
    return code == QD_OK ? qd_chat_keep(run, &changed, out) : code;
}

qd_code qd_chat_replace(qd_chat_run *run, qd_chat_text text, qd_chat_text old, qd_chat_text fresh, int64_t most,
                        qd_chat_value *out)
{
    QD_AUTO(qd_str_fini) qd_str replaced = { 0 };
    if (old.length == 0)
        return qd_chat_fail(run, QD_EUNSUPPORTED, "replace of the empty text: not supported");
    qd_code code = qd_chat_spend(run, text.length);
    for (size_t at = 0; code == QD_OK;) {
        const char *found = most == 0 ? NULL : memmem(text.bytes + at, text.length - at, old.bytes, old.length);
        size_t end = found == NULL ? text.length : (size_t)(found - text.bytes);
        qd_str_add_bytes(&replaced, text.bytes + at, end - at);
        if (found == NULL)
            break;
        qd_str_add_bytes(&replaced, fresh.bytes, fresh.length);
        at = end + old.length;
        most--;
        code = qd_chat_spend(run, fresh.length);
    }
    return code == QD_OK ? qd_chat_keep(run, &replaced, out) : code;
}

static qd_code add_part(qd_chat_run *run, qd_chat_list *parts, const char *start, size_t length)
{
    qd_chat_value part = qd_chat_of_text((qd_chat_text){ start, length });
    qd_code code = qd_chat_spend(run, 0);
    return code == QD_OK ? qd_chat_list_add(&run->arena, parts, part, run->err) : code;
}

static qd_code split_at(qd_chat_run *run, qd_chat_text text, qd_chat_text separator, int64_t most, qd_chat_list *parts)
{
    qd_code code = QD_OK;
    size_t at = 0;
    for (; code == QD_OK && most != 0; most--) {
        const char *found = memmem(text.bytes + at, text.length - at, separator.bytes, separator.length);
        if (found == NULL)
            break;
        size_t end = (size_t)(found - text.bytes);
        code = add_part(run, parts, text.bytes + at, end - at);
        at = end + separator.length;
    }
    return code == QD_OK ? add_part(run, parts, text.bytes + at, text.length - at) : code;
}

static size_t word_length(qd_chat_text text)
{
    size_t at = 0;
    uint32_t c;
    for (size_t step; at < text.length; at += step) {
        step = qd_utf8_get(text.bytes + at, &c);
        if (qd_chat_is_space(c))
            break;
    }
    return at;
}

/* Words between runs of white space; what is left behind the last cut keeps its own, but not around it. */
static qd_code split_words(qd_chat_run *run, qd_chat_text text, int64_t most, qd_chat_list *parts)
{
    qd_code code = QD_OK;
    for (;; most--) {
        size_t blanks = qd_chat_skip_spaces(text);
        text.bytes += blanks;
        text.length -= blanks;
        if (code != QD_OK || text.length == 0)
            return code;
        size_t word = most == 0 ? qd_chat_without_spaces(text) : word_length(text);
        code = add_part(run, parts, text.bytes, word);
        text.bytes += word;
        text.length -= word;
    }
}

qd_code qd_chat_split(qd_chat_run *run, qd_chat_text text, const qd_chat_value *separator, int64_t most,
                      qd_chat_value *out)
{
    qd_chat_list *parts = NULL;
    const bool words = separator->kind == QD_CHAT_ABSENT || separator->kind == QD_CHAT_NONE;
    if (!words && (separator->kind != QD_CHAT_TEXT || separator->as.text.length == 0))
        return qd_chat_fail(run, QD_EINVAL, "split at %s: a text that is not empty is wanted",
                            qd_chat_kind_name(separator->kind));
    qd_code code = qd_chat_spend(run, text.length);
    if (code == QD_OK)
        code = qd_chat_list_create(run, &parts);
    if (code == QD_OK)
        code = words ? split_words(run, text, most, parts) : split_at(run, text, separator->as.text, most, parts);
    *out = qd_chat_of_list(parts);
    return code;
}
