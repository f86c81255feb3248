/* pieces.c: see pieces.h. */
#include "text/pieces.h"

#include <stdlib.h>

#include "base/mem.h"

void qd_pieces_fini(qd_pieces *pieces)
{
    qd_str_fini(&pieces->text);
    free(pieces->items);
    *pieces = (qd_pieces){ 0 };
}

void qd_pieces_clear(qd_pieces *pieces)
{
    qd_str_clear(&pieces->text);
    pieces->count = 0;
}

qd_code qd_pieces_add(qd_pieces *pieces, const char *text, size_t length, qd_place place, qd_error *err)
{
    size_t start = pieces->text.length;
    qd_str_add_bytes(&pieces->text, text, length);
    return qd_pieces_close(pieces, start, place, err);
}

qd_code qd_pieces_close(qd_pieces *pieces, size_t start, qd_place place, qd_error *err)
{
    qd_code code = qd_str_check(&pieces->text, err);
    if (code == QD_OK && pieces->count == pieces->capacity)
        code = qd_grow((void **)&pieces->items, &pieces->capacity, pieces->count + 1, sizeof *pieces->items, err);
    if (code != QD_OK)
        return code;
    pieces->items[pieces->count++] = (qd_piece){ start, pieces->text.length - start, place };
    return QD_OK;
}

qd_code qd_pieces_check(const qd_pieces *pieces, qd_error *err)
{
    if (pieces->limit > 0 && pieces->text.length > pieces->limit)
        return qd_fail(err, QD_ETOOBIG, "the text grew beyond %zu bytes", pieces->limit);
    return qd_str_check(&pieces->text, err);
}

const char *qd_piece_text(const qd_pieces *pieces, size_t index)
{
    return qd_str_borrow(&pieces->text) + pieces->items[index].start;
}
