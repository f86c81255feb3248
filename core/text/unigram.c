/* unigram.c: the Unigram word model: the cut of a word with the largest sum of scores.
 * Source: formats.md §3 "Unigram": an unknown character costs 10 below the lowest score; neighbouring unknowns fuse. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/trie.h"
#include "text/utf8.h"
#include "text/word_model.h"

enum { NO_ID = -1, LONGEST_PIECE = 1024 };
#define UNKNOWN_COST 10.0

typedef struct unigram {
    qd_trie trie;
    double *scores; /* by id */
    size_t count;
    double unknown_score;
    int64_t unknown;
    bool has_fallback;
    uint32_t fallback[256];
} unigram;

static void destroy(void *state)
{
    unigram *u = state;
    if (u == NULL)
        return;
    qd_trie_fini(&u->trie);
    free(u->scores);
    free(u);
}

static qd_code add_piece(unigram *u, qd_vocab *vocab, const json_t *entry, size_t id, qd_error *err)
{
    const char *text = json_string_value(json_array_get(entry, 0));
    const json_t *score = json_array_get(entry, 1);
    if (json_array_size(entry) != 2 || text == NULL || !json_is_number(score))
        return qd_fail(err, QD_EFORMAT, "'vocab': number %zu is not [\"piece\", score]", id);
    size_t length = strlen(text);
    if (length > LONGEST_PIECE)
        return qd_fail(err, QD_ETOOBIG, "'vocab': piece %zu has %zu bytes; at most %d", id, length, LONGEST_PIECE);
    qd_code code = qd_vocab_add(vocab, text, length, (int64_t)id, err);
    if (code != QD_OK)
        return qd_within(err, code, "'vocab'");
    u->scores[id] = json_number_value(score);
    if (u->scores[id] < u->unknown_score)
        u->unknown_score = u->scores[id];
    text = qd_vocab_text(vocab, (uint32_t)id, &length); /* as it is looked for: with U+0000 put back */
    return length == 0 ? QD_OK : qd_trie_add(&u->trie, text, length, (int32_t)id, err);
}

static qd_code parse_pieces(unigram *u, const json_t *model, qd_vocab *vocab, qd_error *err)
{
    const json_t *pieces = json_object_get(model, "vocab"), *entry;
    if (!json_is_array(pieces) || json_array_size(pieces) == 0)
        return qd_fail(err, QD_EFORMAT, "'vocab': a non-empty array is wanted, found %s", qd_json_type_name(pieces));
    u->count = json_array_size(pieces);
    u->unknown_score = HUGE_VAL;
    qd_code code = qd_alloc(u->count, sizeof *u->scores, (void **)&u->scores, err);
    size_t id;
    json_array_foreach(pieces, id, entry)
    {
        if (code == QD_OK)
            code = add_piece(u, vocab, entry, id, err);
    }
    u->unknown_score -= UNKNOWN_COST;
    return code;
}

static qd_code parse_options(unigram *u, const json_t *model, const qd_vocab *vocab, qd_error *err)
{
    size_t unknown;
    char text[7];
    qd_code code = qd_json_size(model, "unk_id", SIZE_MAX, &unknown, err);
    if (code == QD_OK)
        code = qd_json_bool(model, "byte_fallback", false, &u->has_fallback, err);
    if (code != QD_OK)
        return code;
    if (unknown != SIZE_MAX && unknown >= u->count)
        return qd_fail(err, QD_EFORMAT, "'unk_id': %zu, with %zu pieces", unknown, u->count);
    u->unknown = unknown == SIZE_MAX ? NO_ID : (int64_t)unknown;
    for (unsigned i = 0; i < 256 && u->has_fallback; i++) {
        qd_word_model_byte_token((unsigned char)i, text);
        u->has_fallback = qd_vocab_find(vocab, text, 6, &u->fallback[i]);
    }
    return QD_OK;
}

static qd_code parse(const json_t *model, qd_vocab *vocab, void **out_state, qd_error *err)
{
    unigram *u = NULL;
    qd_code code = qd_alloc(1, sizeof *u, (void **)&u, err);
    if (code == QD_OK)
        code = parse_pieces(u, model, vocab, err);
    if (code == QD_OK)
        code = parse_options(u, model, vocab, err);
    if (code == QD_OK)
        *out_state = u;
    else
        destroy(u);
    return code;
}

/* The best cut of the text before a byte: its score, and its last piece. */
typedef struct best {
    double score;
    size_t start;
    int64_t id; /* NO_ID: an unknown character */
    bool reached;
} best;

typedef struct scratch {
    best *ends; /* by byte, length + 1 of them */
    size_t capacity;
    size_t *path; /* ends of the pieces, last first */
    size_t path_count, path_capacity;
} scratch;

static void scratch_fini(void *memory)
{
    scratch *s = memory;
    free(s->ends);
    free(s->path);
}

static void offer(best *end, double score, size_t start, int64_t id)
{
    if (!end->reached || score > end->score)
        *end = (best){ score, start, id, true };
}

static void extend(const unigram *u, scratch *s, const char *word, size_t length, size_t start)
{
    uint32_t c, node = 0;
    size_t step = qd_utf8_get(word + start, &c);
    bool single = false;
    double score = s->ends[start].score;
    for (size_t at = start; at < length; at++) {
        node = qd_trie_step(&u->trie, node, (unsigned char)word[at]);
        if (node == 0)
            break;
        int32_t id = u->trie.nodes[node].value;
        if (id < 0)
            continue;
        offer(&s->ends[at + 1], score + u->scores[id], start, id);
        single |= at + 1 == start + step;
    }
    if (!single)
        offer(&s->ends[start + step], score + u->unknown_score, start, NO_ID);
}

static qd_code walk_back(scratch *s, size_t length, qd_error *err)
{
    s->path_count = 0;
    for (size_t end = length; end > 0; end = s->ends[end].start) {
        qd_code code = qd_grow((void **)&s->path, &s->path_capacity, s->path_count + 1, sizeof *s->path, err);
        if (code != QD_OK)
            return code;
        s->path[s->path_count++] = end;
    }
    return QD_OK;
}

/* Unknown characters word[start..end), all neighbours. */
static qd_code emit_unknown(const unigram *u, const char *word, size_t start, size_t end, qd_ids *ids, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = start; u->has_fallback && code == QD_OK && i < end; i++)
        code = qd_ids_add(ids, u->fallback[(unsigned char)word[i]], err);
    if (u->has_fallback)
        return code;
    if (u->unknown == NO_ID)
        return qd_fail(err, QD_EINVAL, "the text has a character that the vocabulary lacks, and there is no 'unk_id'");
    return qd_ids_add(ids, (uint32_t)u->unknown, err);
}

static qd_code encode(const void *state, const qd_vocab *vocab, void *memory, const char *word, size_t length,
                      qd_ids *ids, qd_error *err)
{
    (void)vocab;
    const unigram *u = state;
    scratch *s = memory;
    qd_code code = qd_grow((void **)&s->ends, &s->capacity, length + 1, sizeof *s->ends, err);
    if (code != QD_OK)
        return code;
    memset(s->ends, 0, (length + 1) * sizeof *s->ends);
    s->ends[0].reached = true;
    for (size_t at = 0; at < length; at++)
        if (s->ends[at].reached && ((unsigned char)word[at] & 0xC0) != 0x80)
            extend(u, s, word, length, at);
    code = walk_back(s, length, err);
    size_t unknown_start = SIZE_MAX;
    for (size_t i = s->path_count; code == QD_OK && i-- > 0;) {
        const best *piece = &s->ends[s->path[i]];
        if (piece->id == NO_ID || piece->id == u->unknown) {
            unknown_start = unknown_start == SIZE_MAX ? piece->start : unknown_start;
            continue;
        }
        if (unknown_start != SIZE_MAX)
            code = emit_unknown(u, word, unknown_start, piece->start, ids, err);
        unknown_start = SIZE_MAX;
        if (code == QD_OK)
            code = qd_ids_add(ids, (uint32_t)piece->id, err);
    }
    if (code == QD_OK && unknown_start != SIZE_MAX)
        code = emit_unknown(u, word, unknown_start, length, ids, err);
    return code;
}

const qd_word_model qd_word_model_unigram = { "Unigram", parse, destroy, sizeof(scratch), scratch_fini, encode };
