/* bpe_merge.c: see bpe_merge.h. */
#include "text/bpe_merge.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"

qd_code qd_bpe_pairs_init(qd_bpe_pairs *pairs, size_t most, qd_error *err)
{
    size_t count = 16;
    while (count / 2 <= most)
        count *= 2;
    qd_code code = qd_alloc(count, sizeof *pairs->slots, (void **)&pairs->slots, err);
    if (code != QD_OK)
        return code;
    pairs->slot_count = count;
    for (size_t i = 0; i < count; i++)
        pairs->slots[i].key = QD_BPE_FREE; /* ids end far below 2^32 - 1, so no pair has this key */
    return QD_OK;
}

void qd_bpe_pairs_fini(qd_bpe_pairs *pairs)
{
    free(pairs->slots);
    *pairs = (qd_bpe_pairs){ 0 };
}

static qd_bpe_pair *slot_of(const qd_bpe_pairs *pairs, uint64_t key)
{
    size_t mask = pairs->slot_count - 1, slot = (size_t)qd_rng_mix(key) & mask;
    while (pairs->slots[slot].key != key && pairs->slots[slot].key != QD_BPE_FREE)
        slot = (slot + 1) & mask;
    return &pairs->slots[slot];
}

void qd_bpe_pairs_put(qd_bpe_pairs *pairs, uint32_t left, uint32_t right, uint32_t rank, uint32_t id)
{
    uint64_t key = (uint64_t)left << 32 | right;
    *slot_of(pairs, key) = (qd_bpe_pair){ key, rank, id };
}

const qd_bpe_pair *qd_bpe_pairs_find(const qd_bpe_pairs *pairs, uint32_t left, uint32_t right)
{
    const qd_bpe_pair *pair = slot_of(pairs, (uint64_t)left << 32 | right);
    return pair->key == QD_BPE_FREE ? NULL : pair;
}

void qd_bpe_word_fini(qd_bpe_word *word)
{
    free(word->symbols);
    free(word->heap);
    *word = (qd_bpe_word){ 0 };
}

void qd_bpe_word_clear(qd_bpe_word *word)
{
    word->count = 0;
    word->heap_count = 0;
}

qd_code qd_bpe_word_add(qd_bpe_word *word, uint32_t id, qd_error *err)
{
    size_t at = word->count;
    if (at >= QD_BPE_END - 1)
        return qd_fail(err, QD_ETOOBIG, "a single word of %zu symbols", at);
    if (at == word->capacity) {
        qd_code code = qd_grow((void **)&word->symbols, &word->capacity, at + 1, sizeof *word->symbols, err);
        if (code != QD_OK)
            return code;
    }
    word->symbols[at] = (qd_bpe_symbol){ id, at == 0 ? QD_BPE_END : (uint32_t)at - 1, QD_BPE_END };
    if (at > 0)
        word->symbols[at - 1].next = (uint32_t)at;
    word->count = at + 1;
    return QD_OK;
}

static void sift_down(qd_bpe_word *word, size_t at)
{
    qd_bpe_candidate moving = word->heap[at];
    for (size_t child; (child = 2 * at + 1) < word->heap_count; at = child) {
        if (child + 1 < word->heap_count && word->heap[child + 1].order < word->heap[child].order)
            child++;
        if (moving.order <= word->heap[child].order)
            break;
        word->heap[at] = word->heap[child];
    }
    word->heap[at] = moving;
}

static void sift_up(qd_bpe_word *word, size_t at)
{
    qd_bpe_candidate moving = word->heap[at];
    for (; at > 0 && moving.order < word->heap[(at - 1) / 2].order; at = (at - 1) / 2)
        word->heap[at] = word->heap[(at - 1) / 2];
    word->heap[at] = moving;
}

/* Pushes the pair that begins at `position`, if the table has it. */
static qd_code push(qd_bpe_word *word, const qd_bpe_pairs *pairs, uint32_t position, qd_error *err)
{
    const qd_bpe_symbol *left = &word->symbols[position];
    if (left->next == QD_BPE_END)
        return QD_OK;
    uint32_t right = word->symbols[left->next].id;
    const qd_bpe_pair *pair = qd_bpe_pairs_find(pairs, left->id, right);
    if (pair == NULL)
        return QD_OK;
    if (word->heap_count == word->heap_capacity) {
        qd_code code =
            qd_grow((void **)&word->heap, &word->heap_capacity, word->heap_count + 1, sizeof *word->heap, err);
        if (code != QD_OK)
            return code;
    }
    word->heap[word->heap_count] = (qd_bpe_candidate){ (uint64_t)pair->rank << 32 | position, left->id, right };
    sift_up(word, word->heap_count++);
    return QD_OK;
}

/* Whether the candidate still describes what stands at its position. */
static bool is_current(const qd_bpe_word *word, const qd_bpe_candidate *c)
{
    uint32_t position = (uint32_t)c->order;
    const qd_bpe_symbol *left = &word->symbols[position];
    return left->next != position && left->next != QD_BPE_END && left->id == c->left &&
           word->symbols[left->next].id == c->right;
}

static void absorb_next(qd_bpe_word *word, uint32_t position, uint32_t id)
{
    qd_bpe_symbol *left = &word->symbols[position];
    uint32_t gone = left->next, after = word->symbols[gone].next;
    left->id = id;
    left->next = after;
    word->symbols[gone].next = gone;
    if (after != QD_BPE_END)
        word->symbols[after].previous = position;
}

qd_code qd_bpe_word_merge(qd_bpe_word *word, const qd_bpe_pairs *pairs, qd_ids *ids, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i + 1 < word->count; i++)
        code = push(word, pairs, (uint32_t)i, err);
    while (code == QD_OK && word->heap_count > 0) {
        qd_bpe_candidate best = word->heap[0];
        word->heap[0] = word->heap[--word->heap_count];
        if (word->heap_count > 0)
            sift_down(word, 0);
        if (!is_current(word, &best))
            continue;
        uint32_t position = (uint32_t)best.order;
        absorb_next(word, position, qd_bpe_pairs_find(pairs, best.left, best.right)->id);
        if (word->symbols[position].previous != QD_BPE_END)
            code = push(word, pairs, word->symbols[position].previous, err);
        if (code == QD_OK)
            code = push(word, pairs, position, err);
    }
    for (uint32_t at = 0; code == QD_OK && at != QD_BPE_END && word->count > 0; at = word->symbols[at].next)
        code = qd_ids_add(ids, word->symbols[at].id, err);
    return code;
}
