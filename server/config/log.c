/* log.c: see log.h. */
#include "config/log.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/clock.h"
#include "config/redact.h"

static const char *const level_words[] = { "debug", "info", "warn", "error" };
enum { LINE_MAX_BYTES = 2000, NUMBER_MAX_BYTES = 15 };

int qd_log_level_find(const char *word)
{
    for (size_t i = 0; i < QD_LENGTH(level_words); i++)
        if (strcmp(word, level_words[i]) == 0)
            return (int)i;
    return -1;
}

void qd_log_set(qd_log *log, const char *level, const char *format)
{
    int found = qd_log_level_find(level);
    atomic_store(&log->threshold, found < 0 ? QD_LOG_INFO : found);
    atomic_store(&log->format, strcmp(format, "json") == 0 ? QD_LOG_JSON : QD_LOG_TEXT);
}

void qd_log_init(qd_log *log, const char *level, const char *format)
{
    qd_log_set(log, level, format);
    pthread_mutex_init(&log->mutex, NULL);
}

void qd_log_fini(qd_log *log)
{
    pthread_mutex_destroy(&log->mutex);
}

/* Where the value in quotation marks begins; the end of the text when there is none. */
static const char *find_quoted(const char *text)
{
    for (const char *at = text; (at = strstr(at, "=\"")) != NULL; at++) {
        const char *key = at;
        while (key > text && (islower((unsigned char)key[-1]) || key[-1] == '_'))
            key--;
        if (key < at && (key == text || key[-1] == ' '))
            return at + 1;
    }
    return text + strlen(text);
}

/* Copies `length` bytes of text, control characters as \xNN and, inside quotation marks, those and backslashes as \" and \\. */
typedef enum quoting { BARE, QUOTED } quoting;
static size_t escape(const char *text, size_t length, quoting how, char *out, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < length && used + 5 < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7f) {
            used += (size_t)snprintf(out + used, size - used, "\\x%02x", c);
            continue;
        }
        if (how == QUOTED && (c == '"' || c == '\\'))
            out[used++] = '\\';
        out[used++] = (char)c;
    }
    out[used] = '\0';
    return used;
}

static size_t without_last_mark(const char *quoted)
{
    size_t length = strlen(quoted);
    return length > 1 && quoted[length - 1] == '"' ? length - 2 : length - 1; /* it was cut off */
}

static void write_text(const char *stamp, const char *level, const char *event, const char *details)
{
    char line[LINE_MAX_BYTES];
    const char *quoted = find_quoted(details);
    size_t used = escape(details, (size_t)(quoted - details), BARE, line, sizeof line - 8);
    if (*quoted == '"') {
        line[used++] = '"';
        used += escape(quoted + 1, without_last_mark(quoted), QUOTED, line + used, sizeof line - used - 2);
        line[used++] = '"';
        line[used] = '\0';
    }
    fprintf(stderr, "%s %-5s %s%s%s\n", stamp, level, event, line[0] == '\0' ? "" : " ", line);
}

/* Bytes that are not valid UTF-8 (a line cut inside a character) become '?'. */
static json_t *json_of(char *text, size_t length)
{
    json_t *value = json_stringn(text, length);
    for (size_t i = 0; value == NULL && i < length; i++)
        if ((unsigned char)text[i] >= 0x80)
            text[i] = '?';
    return value == NULL ? json_stringn(text, length) : value;
}

/* Digits that JSON writes the same; a longer row of them is an identifier. */
static json_t *number_of(const char *text, size_t length)
{
    char copy[NUMBER_MAX_BYTES + 1], *end = NULL;
    size_t digits = length <= NUMBER_MAX_BYTES ? strspn(text, "0123456789") : 0;
    if (digits == 0 || (text[0] == '0' && digits > 1))
        return NULL;
    snprintf(copy, sizeof copy, "%.*s", (int)length, text);
    if (digits == length)
        return json_integer(strtoll(copy, NULL, 10));
    if (text[digits] != '.' || strspn(text + digits + 1, "0123456789") != length - digits - 1)
        return NULL;
    return json_real(strtod(copy, &end));
}

/* Key and value become a member; a word that is none, or a key that is there already, joins "details". */
static void add_word(json_t *line, char *word, size_t length, json_t *rest)
{
    size_t key_length = strspn(word, "abcdefghijklmnopqrstuvwxyz_");
    if (length == 0)
        return;
    if (key_length == 0 || key_length >= length || word[key_length] != '=') {
        json_array_append_new(rest, json_of(word, length));
        return;
    }
    char *value = word + key_length + 1, kept = *value;
    size_t value_length = length - key_length - 1;
    if (kept == '"') {
        value_length = without_last_mark(value);
        value++;
    }
    word[key_length] = '\0';
    json_t *json = kept == '"' ? NULL : number_of(value, value_length);
    if (json == NULL)
        json = json_of(value, value_length);
    if (json_object_get(line, word) == NULL)
        json_object_set_new(line, word, json);
    else
        json_array_append_new(rest, json);
}

static void write_json(const char *stamp, const char *level, const char *event, char *details)
{
    json_t *line = json_pack("{s:s, s:s}", "time", stamp, "level", level), *rest = json_array();
    char name[200], *quoted = details + (find_quoted(details) - details), *at = details;
    snprintf(name, sizeof name, "%s", event);
    json_object_set_new(line, "event", json_of(name, strlen(name)));
    char *last = quoted; /* the word that the quoted value belongs to */
    while (last > details && last[-1] != ' ')
        last--;
    while (*at != '\0') {
        size_t length = at == last && *quoted == '"' ? strlen(at) : strcspn(at, " ");
        char *next = at + length + (at[length] == ' ');
        add_word(line, at, length, rest);
        at = next;
    }
    if (json_array_size(rest) > 0 && json_object_get(line, "details") == NULL)
        json_object_set(line, "details", rest);
    char *text = json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII);
    if (text != NULL)
        fprintf(stderr, "%s\n", text);
    free(text);
    json_decref(rest);
    json_decref(line);
}

void qd_log_line(qd_log *log, qd_log_level level, const char *event, const char *details)
{
    if ((int)level < atomic_load(&log->threshold))
        return;
    char stamp[QD_TIME_TEXT], clean[LINE_MAX_BYTES];
    qd_clock_format(qd_clock_wall_ms(), stamp);
    qd_redact(details, clean, sizeof clean);
    pthread_mutex_lock(&log->mutex);
    if (atomic_load(&log->format) == QD_LOG_JSON)
        write_json(stamp, level_words[level], event, clean);
    else
        write_text(stamp, level_words[level], event, clean);
    pthread_mutex_unlock(&log->mutex);
}
