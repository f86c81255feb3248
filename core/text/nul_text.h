/* nul_text.h: U+0000 in token texts. Vocabularies with characters of their own have it; jansson holds it in no key.
 * So the file is read with a stand-in, and the vocabulary and the merges put the NUL back.
 * Room: core/text, private to it. May use: base.
 * Threads: pure functions. */
#ifndef QD_TEXT_NUL_TEXT_H
#define QD_TEXT_NUL_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/* Replaces `out` by the JSON text with each \u0000 written as the escape of U+FDD0, a noncharacter; *out_hidden false,
 * and `out` untouched, when there is none. QD_EUNSUPPORTED for a file that has both. */
qd_code qd_nul_hide(const char *json, size_t length, qd_str *out, bool *out_hidden, qd_error *err);
/* Appends `text` with U+FDD0 as NUL. */
void qd_nul_restore(const char *text, size_t length, qd_str *out);

#endif
