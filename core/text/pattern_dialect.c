/* pattern_dialect.c: Oniguruma's regular expressions (Ruby syntax, Unicode) as PCRE2 ones. The same letters mean
 * other sets: \s is White_Space in one, and has U+180E too in the other; \w has marks, connectors and other alphabetic
 * characters in one and not in the other; \h is a hexadecimal digit in one, a blank in the other; a script's name means
 * its own characters in one, and those that it shares in the other. So they are written out. */
#include <string.h>

#include "text/pattern.h"

#define SPACE "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NO_SPACE \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}!-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}" \
    "\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"
/* Letters, letter numbers, marks, circled and squared letters; digits; connectors. */
#define WORD \
    "\\p{L}\\p{Nl}\\p{M}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}\\p{Nd}\\p{" \
    "Pc}"
/* Outside of brackets the other digits of Latin-1 are word characters too, as the peer has it. */
#define LATIN1_NUMBERS "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"
#define HEX "0-9a-fA-F"
#define NO_HEX "\\x{0}-/:-@G-`g-\\x{10ffff}"

typedef struct letter_class {
    char letter;
    const char *members, *others; /* others: NULL where no set without brackets spells them */
    const char *more;             /* members outside of brackets only */
} letter_class;
static const letter_class classes[] = { { 's', SPACE, NO_SPACE, "" },
                                        { 'w', WORD, NULL, LATIN1_NUMBERS },
                                        { 'h', HEX, NO_HEX, "" } };

/* [:name:] of a set. */
typedef struct named_class {
    const char *name, *members;
} named_class;
static const named_class named_classes[] = {
    { "[:space:]", SPACE },
    { "[:punct:]", "\\p{P}\\p{S}" },
    { "[:alpha:]", "\\p{Alphabetic}" },
    { "[:alnum:]", "\\p{Alphabetic}\\p{Nd}" },
    { "[:digit:]", "\\p{Nd}" },
    { "[:word:]", WORD },
    { "[:upper:]", "\\p{Uppercase}" },
    { "[:lower:]", "\\p{Lowercase}" },
    { "[:xdigit:]", HEX },
};

static const char *const scripts[] = { "Han",      "Hiragana", "Katakana", "Hangul",    "Latin",   "Cyrillic",
                                       "Greek",    "Arabic",   "Hebrew",   "Thai",      "Lao",     "Devanagari",
                                       "Bengali",  "Tamil",    "Telugu",   "Khmer",     "Myanmar", "Armenian",
                                       "Georgian", "Ethiopic", "Tibetan",  "Mongolian", "Bopomofo" };

/* Where an escape stands: by itself, or inside [...]. */
typedef enum setting { ALONE, IN_CLASS } setting;

/* \p{Han}: the property at text[0] = 'p' or 'P', when it is a script's; bytes used, or 0. */
static size_t translate_script(const char *text, qd_str *out)
{
    if ((text[0] | 0x20) != 'p' || text[1] != '{')
        return 0;
    size_t negated = text[2] == '^', start = 2 + negated, length = strcspn(text + start, "}");
    for (size_t i = 0; i < QD_LENGTH(scripts); i++)
        if (strlen(scripts[i]) == length && strncmp(text + start, scripts[i], length) == 0) {
            qd_str_addf(out, "\\%c{%ssc:%s}", text[0], negated ? "^" : "", scripts[i]);
            return start + length + (text[start + length] == '}');
        }
    return 0;
}

/* The letter after a backslash at text[0]; returns bytes used after the backslash, 0 for what cannot be said. */
static size_t translate_escape(const char *text, setting where, qd_str *out)
{
    char lower = (char)(text[0] | 0x20);
    for (size_t i = 0; i < QD_LENGTH(classes); i++) {
        const letter_class *class = &classes[i];
        bool negated = text[0] != lower;
        if (lower != class->letter)
            continue;
        if (where == ALONE)
            qd_str_addf(out, negated ? "[^%s%s]" : "[%s%s]", class->members, class->more);
        else if (negated && class->others == NULL)
            return 0;
        else
            qd_str_add(out, negated ? class->others : class->members);
        return 1;
    }
    size_t used = translate_script(text, out);
    if (used > 0)
        return used;
    if (text[0] == 'u' && strspn(text + 1, "0123456789abcdefABCDEF") >= 4) {
        qd_str_addf(out, "\\x{%.4s}", text + 1);
        return 5;
    }
    qd_str_add(out, "\\");
    qd_str_add_bytes(out, text, 1);
    return 1;
}

/* [:alpha:] at text[0] = '['; returns its bytes, 0 for one that is not known. */
static size_t translate_named(const char *text, qd_str *out)
{
    for (size_t i = 0; i < QD_LENGTH(named_classes); i++)
        if (strncmp(text, named_classes[i].name, strlen(named_classes[i].name)) == 0) {
            qd_str_add(out, named_classes[i].members);
            return strlen(named_classes[i].name);
        }
    return 0;
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
        size_t used = 1;
        if (text[i] == '\\' && text[i + 1] != '\0') {
            used = translate_escape(text + i + 1, IN_CLASS, out);
            used += used > 0;
        } else if (text[i] == '[' && text[i + 1] == ':')
            used = translate_named(text + i, out);
        else if (text[i] == '[')
            used = 0;
        else if (text[i] == '&' && text[i + 1] == '&')
            return qd_fail(err, QD_EUNSUPPORTED, "regular expression: an intersection of sets (&&) in '%.60s'", text);
        else
            qd_str_add_bytes(out, &text[i], 1);
        if (used == 0)
            return qd_fail(err, QD_EUNSUPPORTED, "regular expression: a set inside a set at byte %zu of '%.60s'", i,
                           text);
        i += used;
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
