/* gguf_vocabulary.c: see gguf_vocabulary.h. */
#include "model/gguf_vocabulary.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "model/json_text.h"

enum { MOST_PIECES = 1 << 20, SHOWN = 40 };

static const char tokens_key[] = "tokenizer.ggml.tokens";

/* One row a scheme. Ids that a SentencePiece file does not name are those of its library's defaults. */
static const struct {
    const char *name;
    qd_gguf_scheme scheme;
    int64_t bos, eos, unknown;
} schemes[] = {
    { "gpt2", QD_GGUF_BYTE_LEVEL, -1, -1, -1 },
    { "llama", QD_GGUF_SENTENCEPIECE, 1, 2, 0 },
};

void qd_gguf_vocabulary_fini(qd_gguf_vocabulary *v)
{
    free(v->pieces);
    free(v->scores);
    free(v->slots);
    *v = (qd_gguf_vocabulary){ 0 };
}

bool qd_gguf_piece_is_added(const qd_gguf_piece *piece)
{
    return piece->length > 0 &&
           (piece->type == QD_PIECE_CONTROL || piece->type == QD_PIECE_USER_DEFINED || piece->type == QD_PIECE_UNKNOWN);
}

static size_t hash_of(const char *text, size_t length)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    return (size_t)(hash ^ hash >> 32);
}

/* The slot that holds the text, or the free one where it would go. */
static size_t slot_of(const qd_gguf_vocabulary *v, const char *text, size_t length)
{
    size_t mask = v->slot_count - 1, at = hash_of(text, length) & mask;
    for (; v->slots[at] != 0; at = (at + 1) & mask) {
        const qd_gguf_piece *piece = &v->pieces[v->slots[at] - 1];
        if (piece->length == length && memcmp(piece->text, text, length) == 0)
            break;
    }
    return at;
}

int64_t qd_gguf_vocabulary_find(const qd_gguf_vocabulary *v, const char *text, size_t length)
{
    return (int64_t)v->slots[slot_of(v, text, length)] - 1;
}

static qd_code read_scheme(const qd_gguf *file, qd_gguf_vocabulary *v, qd_error *err)
{
    const char *name;
    qd_code code = qd_gguf_text(file, "tokenizer.ggml.model", NULL, &name, err);
    if (code != QD_OK)
        return code;
    QD_AUTO(qd_str_fini) qd_str known = { 0 };
    for (size_t i = 0; i < QD_LENGTH(schemes); i++) {
        qd_str_addf(&known, "%s%s", i == 0 ? "" : ", ", schemes[i].name);
        if (name == NULL || strcmp(name, schemes[i].name) != 0)
            continue;
        v->scheme = schemes[i].scheme;
        v->bos = schemes[i].bos;
        v->eos = schemes[i].eos;
        v->unknown = schemes[i].unknown;
        v->eot = v->padding = -1;
        return QD_OK;
    }
    if (name == NULL)
        return qd_fail(err, QD_EFORMAT, "'tokenizer.ggml.model' is missing; known: %s", qd_str_borrow(&known));
    return qd_fail(err, QD_EUNSUPPORTED, "'tokenizer.ggml.model' '%.*s' is not supported; known: %s", SHOWN, name,
                   qd_str_borrow(&known));
}

static qd_code put_piece(qd_gguf_vocabulary *v, size_t id, const qd_gguf_string *text, qd_error *err)
{
    if (!qd_json_text_ok(text->data, text->length))
        return qd_fail(err, QD_EFORMAT, "'%s': token %zu is not UTF-8", tokens_key, id);
    v->pieces[id] = (qd_gguf_piece){ text->data, text->length, QD_PIECE_NORMAL };
    if (text->length == 0)
        return QD_OK;
    size_t slot = slot_of(v, text->data, text->length);
    if (v->slots[slot] != 0)
        return qd_fail(err, QD_EFORMAT, "'%s': tokens %u and %zu are both '%.*s'", tokens_key, v->slots[slot] - 1, id,
                       (int)qd_min_size(text->length, SHOWN), text->data);
    v->slots[slot] = (uint32_t)id + 1;
    return QD_OK;
}

static qd_code read_pieces(const qd_gguf *file, qd_gguf_vocabulary *v, qd_error *err)
{
    QD_AUTO(qd_free_pointer) qd_gguf_string *texts = NULL;
    size_t count = 0;
    qd_code code = qd_gguf_strings(file, tokens_key, &texts, &count, err);
    if (code == QD_OK && (count == 0 || count > MOST_PIECES))
        code = qd_fail(err, QD_EFORMAT, "'%s': %zu tokens; 1 to %d are allowed", tokens_key, count, MOST_PIECES);
    if (code != QD_OK)
        return code;
    const qd_tensor *rows = qd_gguf_find(file, "token_embd.weight"); /* of a set it may be in another file */
    if (rows != NULL && rows->rank == 2 && count > rows->shape[0])   /* a word that cannot be embedded */
        return qd_fail(err, QD_ESHAPE, "'%s': %zu tokens, 'token_embd.weight' has %" PRIu64 " rows", tokens_key, count,
                       rows->shape[0]);
    for (v->slot_count = 16; v->slot_count < 2 * count; v->slot_count *= 2)
        ;
    code = qd_alloc(v->slot_count, sizeof *v->slots, (void **)&v->slots, err);
    if (code == QD_OK)
        code = qd_alloc(count, sizeof *v->pieces, (void **)&v->pieces, err);
    for (size_t id = 0; code == QD_OK && id < count; id++) {
        code = put_piece(v, id, &texts[id], err);
        v->count = id + 1;
    }
    return code;
}

static qd_code wrong_count(const char *key, size_t found, size_t wanted, qd_error *err)
{
    return qd_fail(err, QD_EFORMAT, "'%s' has %zu elements, there are %zu tokens", key, found, wanted);
}

static qd_code read_types(const qd_gguf *file, qd_gguf_vocabulary *v, qd_error *err)
{
    static const char key[] = "tokenizer.ggml.token_type";
    QD_AUTO(qd_free_pointer) int64_t *types = NULL;
    size_t count = 0;
    qd_code code = qd_gguf_integers(file, key, &types, &count, err);
    if (code != QD_OK || types == NULL)
        return code;
    if (count != v->count)
        return wrong_count(key, count, v->count, err);
    for (size_t id = 0; id < count; id++) {
        /* 0 is "undefined" to some writers, and a plain piece to every reader. */
        if (types[id] < 0 || types[id] > QD_PIECE_BYTE)
            return qd_fail(err, QD_EFORMAT, "'%s': %" PRId64 " of token %zu is no type; 1 to %d are", key, types[id],
                           id, QD_PIECE_BYTE);
        v->pieces[id].type = types[id] == 0 ? QD_PIECE_NORMAL : (int)types[id];
    }
    return QD_OK;
}

static qd_code read_scores(const qd_gguf *file, qd_gguf_vocabulary *v, qd_error *err)
{
    static const char key[] = "tokenizer.ggml.scores";
    size_t count = 0;
    qd_code code = qd_gguf_reals(file, key, &v->scores, &count, err);
    if (code == QD_OK && v->scores != NULL && count != v->count)
        return wrong_count(key, count, v->count, err);
    for (size_t id = 0; code == QD_OK && v->scores != NULL && id < count; id++)
        if (isnan(v->scores[id]))
            return qd_fail(err, QD_EFORMAT, "'%s': the score of token %zu is not a number", key, id);
    return code;
}

/* A default that lies beyond the vocabulary names nothing; a stated id must be a token. */
static qd_code read_id(const qd_gguf *file, const qd_gguf_vocabulary *v, const char *key, int64_t *id, qd_error *err)
{
    static const size_t missing = SIZE_MAX;
    size_t found;
    qd_code code = qd_gguf_size(file, key, missing, &found, err);
    if (code != QD_OK)
        return code;
    if (found != missing && found < UINT32_MAX) { /* -1 stored as u32 says "none" */
        if (found >= v->count || v->pieces[found].length == 0)
            return qd_fail(err, QD_EFORMAT, "'%s': %zu is not the id of one of the %zu tokens", key, found, v->count);
        *id = (int64_t)found;
    } else if (found != missing || *id >= (int64_t)v->count)
        *id = -1;
    return QD_OK;
}

qd_code qd_gguf_vocabulary_read(const qd_gguf *file, qd_gguf_vocabulary *v, qd_error *err)
{
    qd_code code = read_scheme(file, v, err);
    if (code == QD_OK)
        code = read_pieces(file, v, err);
    if (code == QD_OK)
        code = read_types(file, v, err);
    if (code == QD_OK)
        code = read_scores(file, v, err);
    if (code == QD_OK)
        code = read_id(file, v, "tokenizer.ggml.bos_token_id", &v->bos, err);
    if (code == QD_OK)
        code = read_id(file, v, "tokenizer.ggml.eos_token_id", &v->eos, err);
    if (code == QD_OK)
        code = read_id(file, v, "tokenizer.ggml.eot_token_id", &v->eot, err);
    if (code == QD_OK)
        code = read_id(file, v, "tokenizer.ggml.unknown_token_id", &v->unknown, err);
    if (code == QD_OK)
        code = read_id(file, v, "tokenizer.ggml.padding_token_id", &v->padding, err);
    return code;
}

qd_code qd_gguf_find_pre_tokenizer(const qd_gguf *file, const qd_gguf_pre_tokenizer **out, qd_error *err)
{
    static const char key[] = "tokenizer.ggml.pre";
    const char *name;
    qd_code code = qd_gguf_text(file, key, "default", &name, err);
    if (code != QD_OK)
        return code;
    *out = qd_gguf_pre_tokenizer_find(name);
    if (*out != NULL)
        return QD_OK;
    QD_AUTO(qd_str_fini) qd_str known = { 0 };
    for (size_t i = 0; qd_gguf_pre_tokenizer_at(i) != NULL; i++)
        qd_str_addf(&known, "%s%s", i == 0 ? "" : ", ", qd_gguf_pre_tokenizer_at(i)->name);
    return qd_fail(err, QD_EUNSUPPORTED, "'%s' '%.*s' is not supported: how it cuts text is not known here; known: %s",
                   key, SHOWN, name, qd_str_borrow(&known));
}

qd_code qd_gguf_read_frame(const qd_gguf *file, const qd_gguf_vocabulary *v, qd_gguf_frame *out, qd_error *err)
{
    const qd_gguf_pre_tokenizer *pre = NULL;
    qd_code code = v->scheme == QD_GGUF_BYTE_LEVEL ? qd_gguf_find_pre_tokenizer(file, &pre, err) : QD_OK;
    bool assumed = pre == NULL || pre->add_bos;
    if (code == QD_OK)
        code = qd_gguf_bool(file, "tokenizer.ggml.add_bos_token", assumed, &out->bos, err);
    if (code == QD_OK)
        code = qd_gguf_bool(file, "tokenizer.ggml.add_eos_token", false, &out->eos, err);
    if (code != QD_OK)
        return code;
    out->bos = out->bos && v->bos >= 0;
    out->eos = out->eos && v->eos >= 0;
    return QD_OK;
}
