/* redact.c: see redact.h. */
#include "config/redact.h"

#include <stdbool.h>
#include <string.h>

enum { TOKEN_MIN = 12 };

static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.~+/=";

typedef struct sink {
    char *out;
    size_t size, used;
} sink;

static void put(sink *s, const char *text, size_t length)
{
    if (length > s->size - 1 - s->used)
        length = s->size - 1 - s->used;
    memcpy(s->out + s->used, text, length);
    s->used += length;
}

static bool begins_word(const char *text, const char *at)
{
    return at == text || strchr(letters, at[-1]) == NULL || at[-1] == '=' || at[-1] == '/';
}

/* "://user:word@host/path?query" up to the end of the URL; returns what follows it. */
static const char *put_url(sink *s, const char *at)
{
    size_t length = strcspn(at, " \t\r\n\"'<>"), authority = 3 + strcspn(at + 3, " \t\r\n\"'<>/?#");
    const char *sign = authority > length ? NULL : memchr(at + 3, '@', authority - 3);
    const char *query = memchr(at, '?', length), *end = query == NULL ? at + length : query;
    put(s, at, 3);
    if (sign != NULL)
        put(s, "...@", 4);
    const char *from = sign == NULL ? at + 3 : sign + 1;
    if (end > from)
        put(s, from, (size_t)(end - from));
    if (query != NULL)
        put(s, "?...", 4);
    return at + length;
}

/* Length of the beginning that stays when a token stands here; 0 = none does. */
static size_t token_prefix(const char *text, const char *at)
{
    static const char *const prefixes[] = { "hf_", "qd_", "Bearer " };
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        size_t length = strlen(prefixes[i]);
        if (strncmp(at, prefixes[i], length) == 0 && begins_word(text, at) && strspn(at + length, letters) >= TOKEN_MIN)
            return length;
    }
    return 0;
}

void qd_redact(const char *text, char *out, size_t size)
{
    sink s = { .out = out, .size = size };
    for (const char *at = text; *at != '\0' && s.used + 1 < size;) {
        size_t prefix = token_prefix(text, at);
        if (prefix > 0) {
            put(&s, at, prefix);
            put(&s, "...", 3);
            at += prefix + strspn(at + prefix, letters);
        } else if (strncmp(at, "://", 3) == 0) {
            at = put_url(&s, at);
        } else
            put(&s, at++, 1);
    }
    out[s.used] = '\0';
}
