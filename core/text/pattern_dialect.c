/* pattern_dialect.c: Oniguruma's regular expressions (Ruby syntax, Unicode) as PCRE2 ones. The same letters mean
 * other sets: \s is White_Space in one, and has U+180E too in the other; \w has marks and connectors in one and not
 * in the other; \h is a hexadecimal digit in one, a blank in the other. So they are written out. */
#include <string.h>

#include "text/pattern.h"

#define SPACE "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define WORD "\\p{L}\\p{M}\\p{Nd}\\p{Pc}"
#define HEX "0-9a-fA-F"

typedef struct letter_class {
    char letter;
    const char *members;
} letter_class;
static const letter_class classes[] = { { 's', SPACE }, { 'w', WORD }, { 'h', HEX } };

/* Where an escape stands: by itself, or inside [...]. */
typedef enum setting { ALONE, IN_CLASS } setting;

/* The letter after a backslash at text[0]; returns bytes used after the backslash. */
static size_t translate_escape(const char *text, setting where, qd_str *out)
{
    char lower = (char)(text[0] | 0x20);
    for (size_t i = 0; i < QD_LENGTH(classes); i++) {
        bool negated = text[0] != lower;
        if (lower != classes[i].letter)
            continue;
        /* A set minus a set inside a set has no PCRE2 spelling: keep its own letter. */
        if (where == IN_CLASS && negated) {
            qd_str_add(out, lower == 's' ? "\\S" : lower == 'w' ? "\\W" : "\\x{0}-/:-@G-`g-\\x{10ffff}");
            return 1;
        }
        qd_str_addf(out, where == IN_CLASS ? "%s" : negated ? "[^%s]" : "[%s]", classes[i].members);
        return 1;
    }
    if (text[0] == 'u' && strspn(text + 1, "0123456789abcdefABCDEF") >= 4) {
        qd_str_addf(out, "\\x{%.4s}", text + 1);
        return 5;
    }
    qd_str_add(out, "\\");
    qd_str_add_bytes(out, text, 1);
    return 1;
}

/* A bracket expression that begins at text[0] = '['; returns its bytes. */
static qd_code translate_class(const char *text, qd_str *out, size_t *out_used, qd_error *err)
{
    size_t i = 1;
    qd_str_add(out, "[");
    if (text[i] == '^')
        qd_str_add_bytes(out, &text[i++], 1);
    if (text[i] == ']') { /* a literal when first */
        qd_str_add(out, "\\]");
        i++;
    }
    while (text[i] != '\0' && text[i] != ']') {
        if (text[i] == '\\' && text[i + 1] != '\0')
            i += 1 + translate_escape(text + i + 1, IN_CLASS, out);
        else if (text[i] == '[' && text[i + 1] != ':')
            return qd_fail(err, QD_EUNSUPPORTED, "regular expression: a set inside a set at byte %zu of '%.60s'", i,
                           text);
        else if (text[i] == '&' && text[i + 1] == '&')
            return qd_fail(err, QD_EUNSUPPORTED, "regular expression: an intersection of sets (&&) in '%.60s'", text);
        else if (text[i] == '[') { /* [:alpha:] */
            const char *end = strstr(text + i, ":]");
            size_t length = end == NULL ? 1 : (size_t)(end - (text + i)) + 2;
            qd_str_add_bytes(out, text + i, length);
            i += length;
        } else
            qd_str_add_bytes(out, &text[i++], 1);
    }
    if (text[i] == ']')
        qd_str_add_bytes(out, &text[i++], 1);
    *out_used = i;
    return QD_OK;
}

qd_code qd_pattern_translate(const char *regex, qd_str *out, qd_error *err)
{
    size_t i = 0;
    while (regex[i] != '\0') {
        if (regex[i] == '\\' && regex[i + 1] != '\0')
            i += 1 + translate_escape(regex + i + 1, ALONE, out);
        else if (regex[i] == '[') {
            size_t used = 0;
            qd_code code = translate_class(regex + i, out, &used, err);
            if (code != QD_OK)
                return code;
            i += used;
        } else
            qd_str_add_bytes(out, &regex[i++], 1);
    }
    return qd_str_check(out, err);
}
