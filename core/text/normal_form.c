/* normal_form.c: see normal_form.h. utf8proc's own reordering of marks is an insertion sort, quadratic in a run of
 * marks, and texts may be hostile: the characters are decomposed and ordered here, composed there. */
#include "text/normal_form.h"

#include <stdlib.h>
#include <utf8proc.h>

#include "base/mem.h"
#include "text/utf8.h"

enum { LONGEST = 32 }; /* characters of one decomposition; U+FDFA has 18 */

typedef struct characters {
    utf8proc_int32_t *data;
    size_t count, capacity;
} characters;

static void characters_fini(characters *c)
{
    free(c->data);
}

static qd_code decompose(const char *text, size_t length, utf8proc_option_t options, characters *out, qd_error *err)
{
    for (size_t at = 0; at < length;) {
        uint32_t c;
        at += qd_utf8_get(text + at, &c);
        qd_code code = qd_grow((void **)&out->data, &out->capacity, out->count + LONGEST, sizeof *out->data, err);
        if (code != QD_OK)
            return code;
        if (qd_char_is_after_unicode_nine(c)) {
            out->data[out->count++] = (utf8proc_int32_t)c;
            continue;
        }
        int boundary = 0;
        utf8proc_ssize_t n =
            utf8proc_decompose_char((utf8proc_int32_t)c, out->data + out->count, LONGEST, options, &boundary);
        if (n < 0 || n > LONGEST)
            return qd_fail(err, QD_EINTERNAL, "decomposition of U+%04X has %td characters", c, n);
        out->count += (size_t)n;
    }
    return QD_OK;
}

static unsigned combining_class(utf8proc_int32_t c)
{
    return qd_char_is_after_unicode_nine((uint32_t)c) ? 0 : (unsigned)utf8proc_get_property(c)->combining_class & 0xFF;
}

/* Stable order by combining class of data[0..n), all of them not 0: a counting sort. */
static void order_run(utf8proc_int32_t *data, size_t n, utf8proc_int32_t *spare)
{
    size_t place[257] = { 0 };
    for (size_t i = 0; i < n; i++)
        place[combining_class(data[i]) + 1]++;
    for (size_t c = 1; c < 257; c++)
        place[c] += place[c - 1];
    for (size_t i = 0; i < n; i++)
        spare[place[combining_class(data[i])]++] = data[i];
    for (size_t i = 0; i < n; i++)
        data[i] = spare[i];
}

static qd_code order(characters *text, qd_error *err)
{
    QD_AUTO(characters_fini) characters spare = { 0 };
    for (size_t i = 0; i < text->count; i++) {
        size_t start = i;
        bool ordered = true;
        for (; i < text->count && combining_class(text->data[i]) != 0; i++)
            ordered = ordered && (i == start || combining_class(text->data[i - 1]) <= combining_class(text->data[i]));
        if (ordered)
            continue;
        qd_code code = qd_grow((void **)&spare.data, &spare.capacity, i - start, sizeof *spare.data, err);
        if (code != QD_OK)
            return code;
        order_run(text->data + start, i - start, spare.data);
    }
    return QD_OK;
}

/* Puts pairs of characters together, and appends what that gives. */
static qd_code compose(utf8proc_int32_t *data, size_t count, qd_str *out, qd_error *err)
{
    utf8proc_ssize_t left = utf8proc_normalize_utf32(data, (utf8proc_ssize_t)count, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    for (utf8proc_ssize_t i = 0; i < left; i++)
        qd_utf8_add((uint32_t)data[i], out);
    return left < 0 ? qd_fail(err, QD_EINTERNAL, "composition: %s", utf8proc_errmsg(left)) : QD_OK;
}

/* Nothing composes with a character that came later, or over it. */
static qd_code compose_between(characters *text, qd_str *out, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t start = 0, end; code == QD_OK && start < text->count; start = end + 1) {
        for (end = start; end < text->count && !qd_char_is_after_unicode_nine((uint32_t)text->data[end]);)
            end++;
        uint32_t later = end < text->count ? (uint32_t)text->data[end] : 0;
        code = compose(text->data + start, end - start, out, err);
        if (end < text->count)
            qd_utf8_add(later, out);
    }
    return code;
}

qd_code qd_normal_form_add(qd_normal_form form, const char *text, size_t length, qd_str *out, qd_error *err)
{
    size_t ascii = 0;
    while (ascii < length && (unsigned char)text[ascii] < 0x80)
        ascii++;
    if (ascii == length) { /* already in every form */
        qd_str_add_bytes(out, text, length);
        return qd_str_check(out, err);
    }
    int compatible = form == QD_NFKC || form == QD_NFKD ? UTF8PROC_COMPAT : 0;
    QD_AUTO(characters_fini) characters chars = { 0 };
    qd_code code =
        decompose(text, length, (utf8proc_option_t)(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE | compatible), &chars, err);
    if (code == QD_OK)
        code = order(&chars, err);
    if (code != QD_OK)
        return code;
    if (form == QD_NFC || form == QD_NFKC)
        code = compose_between(&chars, out, err);
    else
        for (size_t i = 0; i < chars.count; i++)
            qd_utf8_add((uint32_t)chars.data[i], out);
    return code == QD_OK ? qd_str_check(out, err) : code;
}
