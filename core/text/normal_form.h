/* normal_form.h: Unicode's normal forms in linear time.
 * Room: core/text, private to it. May use: base, utf8proc.
 * Threads: pure functions.
 * Source: Unicode, chapter 3.11. The forms are those of Unicode 9.0, as the usual readers' are: characters that came later
 * stay as they are, and marks do not move over them. */
#ifndef QD_TEXT_NORMAL_FORM_H
#define QD_TEXT_NORMAL_FORM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

typedef enum qd_normal_form { QD_NFC, QD_NFD, QD_NFKC, QD_NFKD } qd_normal_form;

/* Appends the normal form of valid UTF-8 text. */
qd_code qd_normal_form_add(qd_normal_form form, const char *text, size_t length, qd_str *out, qd_error *err);

/* A mark, or a character with a decomposition, that Unicode 9.0 has not. */
bool qd_char_is_after_unicode_nine(uint32_t c);

#endif
