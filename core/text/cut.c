/* cut.c: see cut.h. */
#include "text/cut.h"

#include <string.h>

static const char *const names[] = { "Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous" };

qd_code qd_cut_behavior_parse(const json_t *object, const char *key, const char *fallback, qd_cut_behavior *out,
                              qd_error *err)
{
    const char *name;
    qd_code code = qd_json_text(object, key, fallback, &name, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; name != NULL && i < QD_LENGTH(names); i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (qd_cut_behavior)i;
            return QD_OK;
        }
    return qd_fail(err, QD_EFORMAT,
                   "'%s': Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous is wanted, found '%.40s'",
                   key, name == NULL ? "nothing" : name);
}

/* What lies between two cuts: a place, or what is left beside the places. */
typedef enum stretch { GAP, PLACE } stretch;

typedef struct cutter {
    const qd_pieces *in;
    size_t index;
    qd_cut_behavior behavior;
    qd_pieces *out;
    size_t start, end; /* the piece that is growing; start == end when none is */
    stretch last;      /* what its last part was */
} cutter;

static qd_code flush(cutter *c, qd_error *err)
{
    if (c->start == c->end)
        return QD_OK;
    const qd_piece *piece = &c->in->items[c->index];
    qd_place place = c->start == 0 ? piece->place : QD_PLACE_INSIDE;
    return qd_pieces_add(c->out, qd_piece_text(c->in, c->index) + c->start, c->end - c->start, place, err);
}

static bool joins(const cutter *c, stretch next)
{
    switch (c->behavior) {
    case QD_CUT_MERGED_BEFORE:
        return c->last == GAP && next == PLACE;
    case QD_CUT_MERGED_AFTER:
        return c->last == PLACE && next == GAP;
    case QD_CUT_CONTIGUOUS:
        return c->last == next;
    case QD_CUT_REMOVED:
    case QD_CUT_ISOLATED:
        break;
    }
    return false;
}

static qd_code part(cutter *c, size_t start, size_t end, stretch kind, qd_error *err)
{
    if (start == end)
        return QD_OK;
    qd_code code = QD_OK;
    if (c->start == c->end || !joins(c, kind)) {
        code = flush(c, err);
        c->start = start;
    }
    c->end = end;
    if (kind == PLACE && c->behavior == QD_CUT_REMOVED)
        c->start = end;
    c->last = kind;
    return code;
}

qd_code qd_cut_piece(const qd_pieces *in, size_t index, const qd_matcher *places, qd_cut_behavior behavior,
                     qd_cut_side side, qd_pieces *out, qd_error *err)
{
    cutter c = { .in = in, .index = index, .behavior = behavior, .out = out };
    const stretch gap = side == QD_CUT_GAPS ? PLACE : GAP, match = side == QD_CUT_GAPS ? GAP : PLACE;
    size_t at = 0;
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < places->count; i++) {
        code = part(&c, at, places->spans[i].start, gap, err);
        at = places->spans[i].end;
        if (code == QD_OK)
            code = part(&c, places->spans[i].start, at, match, err);
    }
    if (code == QD_OK)
        code = part(&c, at, in->items[index].length, gap, err);
    return code == QD_OK ? flush(&c, err) : code;
}
