/* prose.h: what texts of data sets go through before a tokenizer sees them: white space around them, capitals, lengths.
 * Room: core/text. May use: base, utf8proc.
 * Threads: pure functions.
 * Source: the string functions of the scripts that data sets are prepared with. Texts are valid UTF-8. */
#ifndef QD_TEXT_PROSE_H
#define QD_TEXT_PROSE_H

#include <stddef.h>

#include "base/str.h"

/* Bytes before the white space that ends the text: White_Space, and U+001C to U+001F. */
size_t qd_prose_end(const char *text, size_t length);
/* Bytes of the white space that begins it. */
size_t qd_prose_begin(const char *text, size_t length);
/* Characters, not bytes. */
size_t qd_prose_characters(const char *text);
/* Appends the text with its first character a capital and all others small. */
void qd_prose_capitalize(const char *text, qd_str *out);
/* Appends the text with its first character small. */
void qd_prose_uncapitalize(const char *text, qd_str *out);

#endif
