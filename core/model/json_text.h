/* json_text.h: strings of a JSON document that is written as text: documents whose keys hold NUL or number 10^5 are no
 * work for a tree.
 * Room: core/model, private to it. May use: base, jansson.
 * Threads: any. */
#ifndef QD_MODEL_JSON_TEXT_H
#define QD_MODEL_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/* Valid UTF-8: no surrogates, no long forms. */
bool qd_json_text_ok(const char *text, size_t length);
/* "text" with its quotes. */
void qd_json_text_add(qd_str *out, const char *text, size_t length);

#endif
