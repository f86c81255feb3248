/* gguf_merges.c: see gguf_merges.h.
 *
 * SentencePiece joins the two neighbours whose joint piece has the highest score. As ranks: every way to cut a piece in
 * two pieces is a merge, those of higher score first, and of one score (files that lost theirs say the same of all) in
 * order of the id, which is the order in which SentencePiece learnt them. */
#include "model/gguf_merges.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/json_text.h"

enum { LONGEST_PIECE = 256 /* bytes; all cuts of a piece are tried */, MOST_MERGES = 1 << 21 };

qd_code qd_gguf_merges_listed(const qd_gguf *file, qd_str *out, qd_error *err)
{
    static const char key[] = "tokenizer.ggml.merges";
    QD_AUTO(qd_free_pointer) qd_gguf_string *merges = NULL;
    size_t count = 0;
    qd_code code = qd_gguf_strings(file, key, &merges, &count, err);
    if (code == QD_OK && merges == NULL)
        code = qd_fail(err, QD_EFORMAT, "'%s' is missing", key);
    if (code != QD_OK)
        return code;
    qd_str_add(out, "[");
    for (size_t i = 0; i < count; i++) {
        const char *text = merges[i].data;
        size_t length = merges[i].length;
        const char *space = length == 0 ? NULL : memchr(text, ' ', length);
        bool once = space != NULL && memchr(space + 1, ' ', length - (size_t)(space - text) - 1) == NULL;
        if (!once || space == text || space == text + length - 1 || !qd_json_text_ok(text, length))
            return qd_fail(err, QD_EFORMAT, "'%s': number %zu is not two pieces with one space between them", key, i);
        qd_str_add(out, i == 0 ? "" : ",");
        qd_json_text_add(out, text, length);
    }
    qd_str_add(out, "]");
    return qd_str_check(out, err);
}

typedef struct cut {
    double score;
    uint32_t piece, left; /* id of the piece, bytes of its left part */
} cut;

typedef struct cuts {
    cut *items;
    size_t count, capacity;
} cuts;

static int by_rank(const void *a, const void *b)
{
    const cut *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->piece != y->piece)
        return x->piece < y->piece ? -1 : 1;
    return x->left > y->left ? -1 : x->left < y->left;
}

static bool is_plain(const qd_gguf_vocabulary *v, const char *text, size_t length)
{
    int64_t id = qd_gguf_vocabulary_find(v, text, length);
    return id >= 0 && v->pieces[id].type == QD_PIECE_NORMAL;
}

static qd_code add_cuts(const qd_gguf_vocabulary *v, size_t id, cuts *out, qd_error *err)
{
    const qd_gguf_piece *piece = &v->pieces[id];
    if (piece->length > LONGEST_PIECE)
        return qd_fail(err, QD_EFORMAT, "'tokenizer.ggml.tokens': token %zu has %zu bytes; at most %d are allowed", id,
                       piece->length, LONGEST_PIECE);
    for (size_t left = 1; left < piece->length; left++) {
        bool inside = ((unsigned char)piece->text[left] & 0xc0) == 0x80;
        if (inside || !is_plain(v, piece->text, left) || !is_plain(v, piece->text + left, piece->length - left))
            continue;
        if (out->count == MOST_MERGES)
            return qd_fail(err, QD_ETOOBIG, "'tokenizer.ggml.tokens': more than %d ways to put pieces together",
                           MOST_MERGES);
        qd_code code = qd_grow((void **)&out->items, &out->capacity, out->count + 1, sizeof *out->items, err);
        if (code != QD_OK)
            return code;
        out->items[out->count++] = (cut){ v->scores[id], (uint32_t)id, (uint32_t)left };
    }
    return QD_OK;
}

/* A merge is one string, cut at its only space. SentencePiece writes U+2581 for the blank; a piece that holds a real one
 * is never met in a text, and so makes no merges. */
static bool can_merge(const qd_gguf_vocabulary *v, size_t id)
{
    const qd_gguf_piece *piece = &v->pieces[id];
    return piece->type == QD_PIECE_NORMAL && piece->length > 1 && memchr(piece->text, ' ', piece->length) == NULL;
}

qd_code qd_gguf_merges_scored(const qd_gguf_vocabulary *v, qd_str *out, qd_error *err)
{
    cuts found = { 0 };
    qd_code code = QD_OK;
    if (v->scores == NULL)
        return qd_fail(err, QD_EFORMAT, "'tokenizer.ggml.scores' is missing");
    for (size_t id = 0; code == QD_OK && id < v->count; id++)
        if (can_merge(v, id))
            code = add_cuts(v, id, &found, err);
    if (code == QD_OK && found.count > 0)
        qsort(found.items, found.count, sizeof *found.items, by_rank);
    qd_str_add(out, "[");
    for (size_t i = 0; code == QD_OK && i < found.count && !out->failed; i++) {
        const qd_gguf_piece *piece = &v->pieces[found.items[i].piece];
        char text[LONGEST_PIECE + 1];
        size_t left = found.items[i].left;
        memcpy(text, piece->text, left);
        text[left] = ' ';
        memcpy(text + left + 1, piece->text + left, piece->length - left);
        qd_str_add(out, i == 0 ? "" : ",");
        qd_json_text_add(out, text, piece->length + 1);
    }
    qd_str_add(out, "]");
    free(found.items);
    return code == QD_OK ? qd_str_check(out, err) : code;
}
