/* pieces.h: text in pieces, the one currency of normalizers, pre-tokenizers and decoders.
 * Room: core/text, private to it. May use: base.
 * Threads: belongs to one call. */
#ifndef QD_TEXT_PIECES_H
#define QD_TEXT_PIECES_H

#include <stddef.h>

#include "base/error.h"
#include "base/str.h"

/* Whether a piece begins at offset 0 of the text given to encode (Metaspace's prepend_scheme "first" asks). */
typedef enum qd_place { QD_PLACE_INSIDE, QD_PLACE_START } qd_place;

typedef struct qd_piece {
    size_t start, length; /* bytes, into the text of qd_pieces */
    qd_place place;
} qd_piece;

/* Zero-initialize; qd_pieces_fini. */
typedef struct qd_pieces {
    qd_str text;
    qd_piece *items;
    size_t count, capacity;
    size_t limit; /* bytes of text that a step may make; 0 = as many as it likes */
} qd_pieces;

void qd_pieces_fini(qd_pieces *pieces);
/* Forgets the pieces, keeps the memory. */
void qd_pieces_clear(qd_pieces *pieces);
qd_code qd_pieces_add(qd_pieces *pieces, const char *text, size_t length, qd_place place, qd_error *err);
/* The bytes appended to pieces->text since it was `start` long become a piece. */
qd_code qd_pieces_close(qd_pieces *pieces, size_t start, qd_place place, qd_error *err);
/* QD_ETOOBIG when there is more text than the limit. */
qd_code qd_pieces_check(const qd_pieces *pieces, qd_error *err);
/* Never NULL; the text ends with a NUL behind the last piece only. */
const char *qd_piece_text(const qd_pieces *pieces, size_t index);

#endif
