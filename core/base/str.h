/* str.h: growing string; the only string builder.
 * Room: core/base. May use: libc.
 * Threads: a qd_str belongs to one thread at a time. */
#ifndef QD_BASE_STR_H
#define QD_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Always NUL-terminated once something was appended; `length` does not count the NUL.
 * A failed append sets `failed`, later appends do nothing: check once at the end with qd_str_check. */
typedef struct qd_str {
    char *data;
    size_t length, capacity;
    bool failed;
} qd_str;

void qd_str_fini(qd_str *s);
void qd_str_add(qd_str *s, const char *text);
void qd_str_add_bytes(qd_str *s, const void *bytes, size_t length);
void qd_str_addf(qd_str *s, const char *format, ...) QD_PRINTF(2, 3);
void qd_str_vaddf(qd_str *s, const char *format, va_list args) QD_PRINTF(2, 0);
/* Forgets the content, keeps the memory. */
void qd_str_clear(qd_str *s);
/* QD_ENOMEM when any append failed. */
qd_code qd_str_check(const qd_str *s, qd_error *err);
/* The content, never NULL ("" when empty); valid until the next append. */
const char *qd_str_borrow(const qd_str *s);
/* Hands the heap string over (free() it) and empties s; never NULL unless s->failed. */
char *qd_str_take(qd_str *s);

/* Without the blanks (space, tab, carriage return) around it: cuts the end off in place, returns where the rest begins. */
char *qd_trim(char *text);
/* 0..15 for a hex digit of either case, -1 for anything else. */
int qd_hex_value(char c);
/* true when `text` matches the glob `pattern` (only * and ? are special; the whole text must match). */
bool qd_glob_match(const char *pattern, const char *text);

#endif
