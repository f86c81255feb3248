/* replace.h: "every match of a pattern becomes this text", the same step in normalizers and decoders.
 * Room: core/text, private to it. May use: base, jansson.
 * Threads: immutable after parsing. */
#ifndef QD_TEXT_REPLACE_H
#define QD_TEXT_REPLACE_H

#include "text/component.h"

/* The parse, destroy and apply of a Replace row: {"pattern": {...}, "content": "..."}. */
qd_code qd_replace_parse(const json_t *object, void **out_state, qd_error *err);
void qd_replace_destroy(void *state);
qd_code qd_replace_apply(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err);

#endif
