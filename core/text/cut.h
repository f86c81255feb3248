/* cut.h: cutting a piece at places, by the five behaviors of tokenizer files.
 * Room: core/text, private to it. May use: base.
 * Threads: pure functions over the caller's data.
 * Source: formats.md §3 "split behaviors". */
#ifndef QD_TEXT_CUT_H
#define QD_TEXT_CUT_H

#include "text/pattern.h"
#include "text/pieces.h"

typedef enum qd_cut_behavior {
    QD_CUT_REMOVED,       /* the places go away */
    QD_CUT_ISOLATED,      /* each place is a piece */
    QD_CUT_MERGED_BEFORE, /* a place belongs to the piece that ends there */
    QD_CUT_MERGED_AFTER,  /* a place belongs to the piece that begins behind it */
    QD_CUT_CONTIGUOUS,    /* places that touch are one piece */
} qd_cut_behavior;
/* "Removed", "Isolated", ... as in the file. */
qd_code qd_cut_behavior_parse(const json_t *object, const char *key, const char *fallback, qd_cut_behavior *out,
                              qd_error *err);

/* Which side of the cut is a place. */
typedef enum qd_cut_side { QD_CUT_MATCHES, QD_CUT_GAPS } qd_cut_side;

/* Appends piece `index` of `in` to `out`, cut at `places` (ascending, not overlapping, not empty). Empty pieces
 * vanish. */
qd_code qd_cut_piece(const qd_pieces *in, size_t index, const qd_matcher *places, qd_cut_behavior behavior,
                     qd_cut_side side, qd_pieces *out, qd_error *err);

#endif
