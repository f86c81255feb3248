/* utf8.h: stepping through UTF-8, and the character classes that tokenizer files speak of.
 * Room: core/text, private to it. May use: base, utf8proc.
 * Threads: pure functions.
 * Source: Unicode, chapter 3 (maximal subparts); fixtures.md "Tokenizers" for White_Space and numbers. */
#ifndef QD_TEXT_UTF8_H
#define QD_TEXT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* Bytes of the valid character at text[0], or 0 when none begins there; *out_bad is then the length of the maximal
 * subpart (>= 1), which readers replace by one U+FFFD. length > 0. */
size_t qd_utf8_check(const char *text, size_t length, size_t *out_bad);
/* Where the first invalid byte stands; `length` when there is none. */
size_t qd_utf8_valid_prefix(const char *text, size_t length);
/* Appends text with every maximal subpart of an invalid sequence replaced by U+FFFD. */
void qd_utf8_clean(const char *text, size_t length, qd_str *out);

/* Reads one character of valid text; returns its bytes. */
size_t qd_utf8_get(const char *text, uint32_t *out_char);
/* Writes one character; returns its bytes. */
size_t qd_utf8_put(uint32_t c, char out[4]);
void qd_utf8_add(uint32_t c, qd_str *out);
/* Start of the character that ends before text[end], end > 0. */
size_t qd_utf8_before(const char *text, size_t end);

bool qd_char_is_space(uint32_t c);       /* White_Space: U+0085 is in, U+001C to U+001F are not */
bool qd_char_is_number(uint32_t c);      /* Nd, Nl, No */
bool qd_char_is_punctuation(uint32_t c); /* ASCII punctuation and the categories P* of Unicode 8.0 */
bool qd_char_is_mark(uint32_t c);        /* Mn, Mc, Me */
bool qd_char_is_word(uint32_t c); /* \w: letters, marks, numbers (Nd, Nl), connectors, joiners, circled letters */
bool qd_char_is_later_punctuation(uint32_t c); /* P* that Unicode 8.0 has not */

#endif
