/* text.h: foreign text as a JSON string.
 * Room: server/api. May use: base, jansson.
 * Threads: any. */
#ifndef QD_API_TEXT_H
#define QD_API_TEXT_H

#include <jansson.h>

/* A JSON string; bytes that are not UTF-8 (or a character that was cut) become U+FFFD; NULL becomes null.
 * New reference; NULL only when out of memory. */
json_t *qd_text_print(const char *text);
/* RFC 3339, or null for 0. */
json_t *qd_time_print(int64_t wall_ms);

#endif
