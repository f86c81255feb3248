/* normal_form.h: Unicode's normal forms in linear time.
 * Room: core/text, private to it. May use: base, utf8proc.
 * Threads: pure functions.
 * Source: Unicode, chapter 3.11. */
#ifndef QD_TEXT_NORMAL_FORM_H
#define QD_TEXT_NORMAL_FORM_H

#include "base/str.h"

typedef enum qd_normal_form { QD_NFC, QD_NFD, QD_NFKC, QD_NFKD } qd_normal_form;

/* Appends the normal form of valid UTF-8 text. */
qd_code qd_normal_form_add(qd_normal_form form, const char *text, size_t length, qd_str *out, qd_error *err);

#endif
