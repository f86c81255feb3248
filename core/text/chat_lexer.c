/* chat_lexer.c: see chat_lexer.h. Tags are {{ print }}, {% block %}, {# comment #}. A minus inside a tag takes all white
 * space on that side; else a block or comment takes the blanks between it and its line's start, and the line break
 * behind it, unless a plus stands there. */
#include "text/chat_lexer.h"

#include <string.h>

#include "base/str.h"
#include "text/utf8.h"

typedef struct lexer {
    qd_chat_arena *arena;
    qd_chat_text source;
    size_t at;
    unsigned line;
    bool line_starts; /* what was read last ended with a line break, or nothing was read yet */
    qd_chat_tokens *out;
    qd_error *err;
} lexer;

bool qd_chat_is_space(uint32_t c)
{
    return qd_char_is_space(c) || (c >= 0x1C && c <= 0x1F);
}

size_t qd_chat_skip_spaces(qd_chat_text text)
{
    uint32_t c;
    size_t at = 0;
    for (size_t step; at < text.length; at += step) {
        step = qd_utf8_get(text.bytes + at, &c);
        if (!qd_chat_is_space(c))
            break;
    }
    return at;
}

size_t qd_chat_without_spaces(qd_chat_text text)
{
    size_t end = text.length;
    while (end > 0) {
        uint32_t c;
        size_t before = qd_utf8_before(text.bytes, end);
        (void)qd_utf8_get(text.bytes + before, &c);
        if (!qd_chat_is_space(c))
            break;
        end = before;
    }
    return end;
}

static qd_chat_text rest(const lexer *l)
{
    return (qd_chat_text){ l->source.bytes + l->at, l->source.length - l->at };
}

/* The byte `ahead` of the place; 0 behind the end. */
static char peek(const lexer *l, size_t ahead)
{
    return l->at + ahead < l->source.length ? l->source.bytes[l->at + ahead] : '\0';
}

static void advance(lexer *l, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        l->line += l->source.bytes[l->at + i] == '\n';
    l->at += bytes;
    if (bytes > 0)
        l->line_starts = l->source.bytes[l->at - 1] == '\n';
}

static qd_code add(lexer *l, qd_chat_token token)
{
    token.line = l->line;
    qd_code code =
        qd_chat_arena_grow(l->arena, (void **)&l->out->items, &l->out->capacity, l->out->count, sizeof token, l->err);
    if (code == QD_OK)
        l->out->items[l->out->count++] = token;
    return code;
}

/* Where the next tag begins; the length of the source when there is none. */
static size_t find_tag(const lexer *l)
{
    for (size_t at = l->at; at + 1 < l->source.length; at++) {
        const char *brace = memchr(l->source.bytes + at, '{', l->source.length - 1 - at);
        if (brace == NULL)
            break;
        at = (size_t)(brace - l->source.bytes);
        if (brace[1] == '{' || brace[1] == '%' || brace[1] == '#')
            return at;
    }
    return l->source.length;
}

/* The text in front of a tag, cut as the tag's sign asks. */
static qd_chat_text before_tag(const lexer *l, qd_chat_text text, char kind, char sign)
{
    if (sign == '-')
        return (qd_chat_text){ text.bytes, qd_chat_without_spaces(text) };
    if (sign == '+' || kind == '{')
        return text;
    size_t start = text.length;
    while (start > 0 && text.bytes[start - 1] != '\n')
        start--;
    qd_chat_text tail = { text.bytes + start, text.length - start };
    if ((start > 0 || l->line_starts) && qd_chat_skip_spaces(tail) == tail.length)
        text.length = start;
    return text;
}

/* Behind a tag's end: "-" takes white space, a block or comment its line break. */
static void after_tag(lexer *l, char kind, char sign)
{
    if (sign == '-')
        advance(l, qd_chat_skip_spaces(rest(l)));
    else if (sign != '+' && kind != '{' && peek(l, 0) == '\n')
        advance(l, 1);
}

static qd_code skip_comment(lexer *l)
{
    unsigned line = l->line;
    const size_t start = l->at;
    for (; l->at + 1 < l->source.length; advance(l, 1))
        if (peek(l, 0) == '#' && peek(l, 1) == '}') {
            char sign = l->at > start ? l->source.bytes[l->at - 1] : '\0';
            advance(l, 2);
            after_tag(l, '#', sign == '-' || sign == '+' ? sign : '\0');
            return QD_OK;
        }
    return qd_fail(l->err, QD_EFORMAT, "line %u: a comment without end", line);
}

static bool is_name_byte(char c)
{
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static qd_code read_name(lexer *l)
{
    size_t length = 0;
    while (is_name_byte(peek(l, length)))
        length++;
    qd_code code = add(l, (qd_chat_token){ .kind = QD_CHAT_T_NAME, .text = { rest(l).bytes, length } });
    advance(l, length);
    return code;
}

static qd_code read_integer(lexer *l)
{
    int64_t value = 0;
    size_t length = 0;
    for (char c; c = peek(l, length), c >= '0' && c <= '9'; length++)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, c - '0', &value))
            return qd_fail(l->err, QD_EUNSUPPORTED, "line %u: an integer beyond 64 bits", l->line);
    char next = peek(l, length), behind = peek(l, length + 1);
    if (is_name_byte(next) || (next == '.' && behind >= '0' && behind <= '9') || (peek(l, 0) == '0' && length > 1))
        return qd_fail(l->err, QD_EUNSUPPORTED,
                       "line %u: a number that begins '%.*s': only decimal integers are supported", l->line,
                       (int)(length + 1), rest(l).bytes);
    qd_code code = add(l, (qd_chat_token){ .kind = QD_CHAT_T_INTEGER, .integer = value });
    advance(l, length);
    return code;
}

/* The character that \x41, \u0041 or \U00000041 means, `digits` of them at `at`; false for anything else. */
static bool read_hex(qd_chat_text raw, size_t at, size_t digits, uint32_t *out)
{
    *out = 0;
    for (size_t i = 0; i < digits; i++) {
        int value = at + i < raw.length ? qd_hex_value(raw.bytes[at + i]) : -1;
        if (value < 0)
            return false;
        *out = *out << 4 | (uint32_t)value;
    }
    return *out <= 0x10FFFF && (*out < 0xD800 || *out > 0xDFFF);
}

/* Undoes the escape behind the backslash at raw[at]; returns bytes used, 0 for one that is not supported. */
static size_t undo_escape(qd_chat_text raw, size_t at, char *to, size_t *used)
{
    static const char letters[] = "ntr\\'\"abfv", meant[] = "\n\t\r\\'\"\a\b\f\v";
    char letter = raw.bytes[at + 1];
    const char *found = letter == '\0' ? NULL : strchr(letters, letter);
    if (found != NULL) {
        to[(*used)++] = meant[found - letters];
        return 2;
    }
    size_t digits = letter == 'x' ? 2 : letter == 'u' ? 4 : letter == 'U' ? 8 : 0;
    uint32_t c;
    if (letter == '\n')
        return 2;
    if (digits > 0) {
        if (!read_hex(raw, at + 2, digits, &c))
            return 0;
        *used += qd_utf8_put(c, to + *used);
        return 2 + digits;
    }
    if ((letter >= '0' && letter <= '7') || letter == 'N' || (unsigned char)letter >= 0x80)
        return 0;
    to[(*used)++] = '\\'; /* an unknown escape is itself */
    return 1;
}

static qd_code read_string(lexer *l)
{
    char quote = peek(l, 0), *text = NULL;
    size_t end = 1, used = 0;
    while (l->at + end < l->source.length && peek(l, end) != quote)
        end += peek(l, end) == '\\' ? 2 : 1;
    if (l->at + end >= l->source.length)
        return qd_fail(l->err, QD_EFORMAT, "line %u: a string without end", l->line);
    qd_chat_text raw = { rest(l).bytes + 1, end - 1 };
    qd_code code = qd_chat_arena_get(l->arena, raw.length + 1, (void **)&text, l->err);
    if (code != QD_OK)
        return code;
    for (size_t at = 0; at < raw.length;) {
        size_t step = 1;
        if (raw.bytes[at] != '\\')
            text[used++] = raw.bytes[at];
        else if ((step = undo_escape(raw, at, text, &used)) == 0)
            return qd_fail(l->err, QD_EUNSUPPORTED, "line %u: the escape '\\%c' of a string", l->line,
                           raw.bytes[at + 1]);
        at += step;
    }
    code = add(l, (qd_chat_token){ .kind = QD_CHAT_T_STRING, .text = { text, used } });
    advance(l, end + 1);
    return code;
}

static qd_code read_operator(lexer *l)
{
    static const char *const pairs[] = { "==", "!=", ">=", "<=", "//", "**" };
    char first = peek(l, 0), second = peek(l, 1);
    for (size_t i = 0; i < QD_LENGTH(pairs); i++)
        if (first == pairs[i][0] && second == pairs[i][1]) {
            qd_code code = add(l, (qd_chat_token){ .kind = QD_CHAT_T_OPERATOR, .integer = QD_CHAT_OP(first, second) });
            advance(l, 2);
            return code;
        }
    if (first == '\0' || strchr("+-/*%~[](){}><=.:|,;", first) == NULL)
        return qd_fail(l->err, QD_EUNSUPPORTED, "line %u: the character 0x%02X in an expression", l->line,
                       (unsigned char)first);
    qd_code code = add(l, (qd_chat_token){ .kind = QD_CHAT_T_OPERATOR, .integer = QD_CHAT_OP(first, 0) });
    advance(l, 1);
    return code;
}

/* Whether the tag ends here, `close` being its last-but-one character; *out_sign is its sign. */
static bool tag_ends(const lexer *l, char close, char *out_sign)
{
    char first = peek(l, 0);
    *out_sign = first == '-' || (first == '+' && close == '%') ? first : '\0';
    size_t at = *out_sign == '\0' ? 0 : 1;
    return peek(l, at) == close && peek(l, at + 1) == '}';
}

/* The inside of a {{ or {% tag, up to its end. Brackets that are open keep a }} from being one. */
static qd_code read_tag(lexer *l, char kind)
{
    const char close = kind == '{' ? '}' : '%';
    size_t open = 0;
    qd_code code = QD_OK;
    unsigned line = l->line;
    while (code == QD_OK && l->at < l->source.length) {
        char sign, c = peek(l, 0);
        if (open == 0 && tag_ends(l, close, &sign)) {
            advance(l, sign == '\0' ? 2 : 3);
            code = add(l, (qd_chat_token){ .kind = kind == '{' ? QD_CHAT_T_PRINT_END : QD_CHAT_T_BLOCK_END });
            after_tag(l, kind, sign);
            return code;
        }
        size_t blanks = qd_chat_skip_spaces(rest(l));
        if (blanks > 0) {
            advance(l, blanks);
            continue;
        }
        open += c == '(' || c == '[' || c == '{';
        open -= open > 0 && (c == ')' || c == ']' || c == '}');
        if (c >= '0' && c <= '9')
            code = read_integer(l);
        else if (is_name_byte(c))
            code = read_name(l);
        else
            code = c == '\'' || c == '"' ? read_string(l) : read_operator(l);
    }
    return code != QD_OK ? code : qd_fail(l->err, QD_EFORMAT, "line %u: a tag without end", line);
}

/* Text up to the next tag, and the tag. */
static qd_code read_part(lexer *l)
{
    size_t tag = find_tag(l);
    qd_chat_text text = { l->source.bytes + l->at, tag - l->at };
    char kind = tag < l->source.length ? l->source.bytes[tag + 1] : '\0';
    char sign = tag + 2 < l->source.length ? l->source.bytes[tag + 2] : '\0';
    if (sign != '-' && sign != '+')
        sign = '\0';
    qd_chat_text kept = kind == '\0' ? text : before_tag(l, text, kind, sign);
    qd_code code = kept.length == 0 ? QD_OK : add(l, (qd_chat_token){ .kind = QD_CHAT_T_DATA, .text = kept });
    advance(l, text.length);
    if (code != QD_OK || kind == '\0')
        return code;
    advance(l, sign == '\0' ? 2 : 3);
    if (kind == '#')
        return skip_comment(l);
    code = add(l, (qd_chat_token){ .kind = kind == '{' ? QD_CHAT_T_PRINT_BEGIN : QD_CHAT_T_BLOCK_BEGIN });
    return code == QD_OK ? read_tag(l, kind) : code;
}

qd_code qd_chat_lex(qd_chat_arena *arena, qd_chat_text source, qd_chat_tokens *out, qd_error *err)
{
    lexer l = { .arena = arena, .source = source, .line = 1, .line_starts = true, .out = out, .err = err };
    qd_code code = QD_OK;
    while (code == QD_OK && l.at < source.length)
        code = read_part(&l);
    return code == QD_OK ? add(&l, (qd_chat_token){ .kind = QD_CHAT_T_END }) : code;
}
