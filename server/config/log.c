/* log.c: see log.h. */
#include "config/log.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/clock.h"

static const char *const level_words[] = { "debug", "info", "warn", "error" };
enum { LINE_MAX_BYTES = 2000 };

int qd_log_level_find(const char *word)
{
    for (size_t i = 0; i < QD_LENGTH(level_words); i++)
        if (strcmp(word, level_words[i]) == 0)
            return (int)i;
    return -1;
}

void qd_log_init(qd_log *log, const char *level, const char *format)
{
    int found = qd_log_level_find(level);
    log->threshold = found < 0 ? QD_LOG_INFO : (qd_log_level)found;
    log->format = strcmp(format, "json") == 0 ? QD_LOG_JSON : QD_LOG_TEXT;
    pthread_mutex_init(&log->mutex, NULL);
}

void qd_log_fini(qd_log *log)
{
    pthread_mutex_destroy(&log->mutex);
}

/* Copies text, control characters as \xNN, at most size - 1 bytes. */
static void escape(const char *text, char *out, size_t size)
{
    size_t used = 0;
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0' && used + 5 < size; c++) {
        if (*c < 0x20 || *c == 0x7f)
            used += (size_t)snprintf(out + used, size - used, "\\x%02x", *c);
        else
            out[used++] = (char)*c;
    }
    out[used] = '\0';
}

/* Bytes that are not valid UTF-8 (a line cut inside a character) become '?'. */
static void write_json(const char *stamp, const char *level, const char *event, char *details)
{
    json_t *probe = json_string(details);
    for (char *c = details; probe == NULL && *c != '\0'; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    json_decref(probe);
    json_t *line = json_pack("{s:s, s:s, s:s, s:s%}", "time", stamp, "level", level, "event", event, "details", details,
                             strlen(details));
    char *text = line == NULL ? NULL : json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII);
    if (text != NULL)
        fprintf(stderr, "%s\n", text);
    free(text);
    json_decref(line);
}

void qd_log_line(qd_log *log, qd_log_level level, const char *event, const char *details)
{
    if (level < log->threshold)
        return;
    char stamp[QD_TIME_TEXT], clean[LINE_MAX_BYTES];
    qd_clock_format(qd_clock_wall_ms(), stamp);
    escape(details, clean, sizeof clean);
    pthread_mutex_lock(&log->mutex);
    if (log->format == QD_LOG_JSON)
        write_json(stamp, level_words[level], event, clean);
    else
        fprintf(stderr, "%s %-5s %s%s%s\n", stamp, level_words[level], event, clean[0] == '\0' ? "" : " ", clean);
    pthread_mutex_unlock(&log->mutex);
}
