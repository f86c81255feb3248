/* vocab.c: see vocab.h. */
#include "text/vocab.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "text/nul_text.h"

void qd_vocab_fini(qd_vocab *vocab)
{
    qd_str_fini(&vocab->texts);
    qd_str_fini(&vocab->restored);
    free(vocab->tokens);
    free(vocab->slots);
    *vocab = (qd_vocab){ 0 };
}

static uint64_t hash(const char *text, size_t length)
{
    uint64_t h = length;
    while (length >= 8) {
        uint64_t word;
        memcpy(&word, text, 8);
        h = qd_rng_mix(h ^ word) + UINT64_C(0x9e3779b97f4a7c15);
        text += 8;
        length -= 8;
    }
    uint64_t tail = 0;
    memcpy(&tail, text, length);
    return qd_rng_mix(h ^ tail);
}

/* The slot of the text, or the free one where it would go. */
static size_t slot_of(const qd_vocab *vocab, const char *text, size_t length)
{
    size_t mask = vocab->slot_count - 1, slot = (size_t)hash(text, length) & mask;
    for (; vocab->slots[slot] != 0; slot = (slot + 1) & mask) {
        const qd_token *token = &vocab->tokens[vocab->slots[slot] - 1];
        if (token->length == length && memcmp(qd_str_borrow(&vocab->texts) + token->start, text, length) == 0)
            break;
    }
    return slot;
}

static qd_code make_room(qd_vocab *vocab, qd_error *err)
{
    if (vocab->used * 2 < vocab->slot_count)
        return QD_OK;
    size_t old_count = vocab->slot_count;
    uint32_t *old = vocab->slots, *wider = NULL;
    qd_code code = qd_alloc(old_count == 0 ? 1024 : old_count * 2, sizeof *wider, (void **)&wider, err);
    if (code != QD_OK)
        return code;
    vocab->slots = wider;
    vocab->slot_count = old_count == 0 ? 1024 : old_count * 2;
    for (size_t i = 0; i < old_count; i++)
        if (old[i] != 0) {
            const qd_token *token = &vocab->tokens[old[i] - 1];
            wider[slot_of(vocab, qd_str_borrow(&vocab->texts) + token->start, token->length)] = old[i];
        }
    free(old);
    return QD_OK;
}

static qd_code widen_ids(qd_vocab *vocab, size_t id, qd_error *err)
{
    if (id < vocab->count)
        return QD_OK;
    qd_code code = qd_grow((void **)&vocab->tokens, &vocab->capacity, id + 1, sizeof *vocab->tokens, err);
    if (code != QD_OK)
        return code;
    memset(vocab->tokens + vocab->count, 0, (id + 1 - vocab->count) * sizeof *vocab->tokens);
    vocab->count = id + 1;
    return QD_OK;
}

qd_code qd_vocab_add(qd_vocab *vocab, const char *text, size_t length, int64_t id, qd_error *err)
{
    if (id < 0 || id > QD_VOCAB_LARGEST_ID)
        return qd_fail(err, QD_EFORMAT, "token '%.40s': the id %lld is not within 0..%d", text, (long long)id,
                       QD_VOCAB_LARGEST_ID);
    if (length > UINT32_MAX)
        return qd_fail(err, QD_ETOOBIG, "token of %zu bytes", length);
    if (vocab->hides_nul) {
        qd_str_clear(&vocab->restored);
        qd_nul_restore(text, length, &vocab->restored);
        text = qd_str_borrow(&vocab->restored);
        length = vocab->restored.length;
    }
    qd_code code = qd_str_check(&vocab->restored, err);
    if (code == QD_OK)
        code = make_room(vocab, err);
    if (code == QD_OK)
        code = widen_ids(vocab, (size_t)id, err);
    if (code != QD_OK)
        return code;
    size_t slot = slot_of(vocab, text, length);
    if (vocab->slots[slot] != 0)
        return qd_fail(err, QD_EFORMAT, "token '%.40s' is there twice: ids %u and %lld", text, vocab->slots[slot] - 1,
                       (long long)id);
    if (vocab->tokens[id].known)
        return qd_fail(err, QD_EFORMAT, "token '%.40s': the id %lld is taken", text, (long long)id);
    vocab->tokens[id] = (qd_token){ vocab->texts.length, (uint32_t)length, 1 };
    qd_str_add_bytes(&vocab->texts, text, length);
    vocab->slots[slot] = (uint32_t)id + 1;
    vocab->used++;
    return qd_str_check(&vocab->texts, err);
}

bool qd_vocab_find(const qd_vocab *vocab, const char *text, size_t length, uint32_t *out_id)
{
    if (vocab->slot_count == 0)
        return false;
    uint32_t found = vocab->slots[slot_of(vocab, text, length)];
    if (found != 0)
        *out_id = found - 1;
    return found != 0;
}

const char *qd_vocab_text(const qd_vocab *vocab, uint32_t id, size_t *out_length)
{
    if (id >= vocab->count || !vocab->tokens[id].known)
        return NULL;
    *out_length = vocab->tokens[id].length;
    return qd_str_borrow(&vocab->texts) + vocab->tokens[id].start;
}
