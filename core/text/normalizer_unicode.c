/* normalizer_unicode.c: normal forms, case, accents. */
#include <utf8proc.h>

#include "text/component_rows.h"
#include "text/normal_form.h"
#include "text/utf8.h"

static qd_code each_form(qd_normal_form form, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < in->count; i++) {
        size_t start = out->text.length;
        code = qd_normal_form_add(form, qd_piece_text(in, i), in->items[i].length, &out->text, err);
        if (code == QD_OK)
            code = qd_pieces_close(out, start, in->items[i].place, err);
    }
    return code;
}

static qd_code nfc(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    (void)state;
    return each_form(QD_NFC, in, out, err);
}

static qd_code nfd(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    (void)state;
    return each_form(QD_NFD, in, out, err);
}

static qd_code nfkc(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    (void)state;
    return each_form(QD_NFKC, in, out, err);
}

static qd_code nfkd(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    (void)state;
    return each_form(QD_NFKD, in, out, err);
}

static void add_lower(uint32_t c, qd_str *out)
{
    if (c == 0x130) /* the only letter whose lower case is two characters: i and U+0307 */
        qd_str_add(out, "i\xCC\x87");
    else
        qd_utf8_add((uint32_t)utf8proc_tolower((utf8proc_int32_t)c), out);
}

static void add_unless_mark(uint32_t c, qd_str *out)
{
    if (!qd_char_is_mark(c) || qd_char_is_after_unicode_nine(c))
        qd_utf8_add(c, out);
}

static qd_code each_char(void (*add)(uint32_t, qd_str *), const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < in->count; i++) {
        size_t start = out->text.length;
        const char *text = qd_piece_text(in, i);
        for (size_t at = 0; at < in->items[i].length;) {
            uint32_t c;
            at += qd_utf8_get(text + at, &c);
            add(c, &out->text);
        }
        code = qd_pieces_close(out, start, in->items[i].place, err);
    }
    return code;
}

static qd_code lowercase(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    (void)state;
    return each_char(add_lower, in, out, err);
}

static qd_code strip_accents(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    (void)state;
    return each_char(add_unless_mark, in, out, err);
}

const qd_component qd_normalizer_nfc = { .name = "NFC", .apply = nfc };
const qd_component qd_normalizer_nfd = { .name = "NFD", .apply = nfd };
const qd_component qd_normalizer_nfkc = { .name = "NFKC", .apply = nfkc };
const qd_component qd_normalizer_nfkd = { .name = "NFKD", .apply = nfkd };
const qd_component qd_normalizer_lowercase = { .name = "Lowercase", .apply = lowercase };
const qd_component qd_normalizer_strip_accents = { .name = "StripAccents", .apply = strip_accents };
