/* bpe_merge.h: byte-pair merging of one word.
 * Room: core/text, private to it. May use: base.
 * Threads: a table is immutable after filling; a qd_bpe_word belongs to one call.
 * Source: formats.md §3 "BPE model": the pair of lowest rank first, leftmost first on ties; heap and linked list. */
#ifndef QD_TEXT_BPE_MERGE_H
#define QD_TEXT_BPE_MERGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "text/tokenizer.h"

typedef struct qd_bpe_pair {
    uint64_t key; /* left << 32 | right; QD_BPE_FREE = no pair */
    uint32_t rank, id;
} qd_bpe_pair;
#define QD_BPE_FREE UINT64_MAX

/* (left id, right id) -> rank and merged id. Zero-initialize, qd_bpe_pairs_init, qd_bpe_pairs_fini. */
typedef struct qd_bpe_pairs {
    qd_bpe_pair *slots;
    size_t slot_count;
} qd_bpe_pairs;

qd_code qd_bpe_pairs_init(qd_bpe_pairs *pairs, size_t most, qd_error *err);
void qd_bpe_pairs_fini(qd_bpe_pairs *pairs);
/* A pair that is there gets the new rank. At most `most` different ones. */
void qd_bpe_pairs_put(qd_bpe_pairs *pairs, uint32_t left, uint32_t right, uint32_t rank, uint32_t id);
const qd_bpe_pair *qd_bpe_pairs_find(const qd_bpe_pairs *pairs, uint32_t left, uint32_t right); /* NULL: none */

typedef struct qd_bpe_symbol {
    uint32_t id;
    uint32_t previous, next; /* QD_BPE_END at the ends; an absorbed symbol has next = itself */
} qd_bpe_symbol;
#define QD_BPE_END UINT32_MAX

typedef struct qd_bpe_candidate {
    uint64_t order; /* rank << 32 | position: what the heap sorts by */
    uint32_t left, right;
} qd_bpe_candidate;

/* Zero-initialize; qd_bpe_word_fini. */
typedef struct qd_bpe_word {
    qd_bpe_symbol *symbols;
    size_t count, capacity;
    qd_bpe_candidate *heap;
    size_t heap_count, heap_capacity;
} qd_bpe_word;

void qd_bpe_word_fini(qd_bpe_word *word);
void qd_bpe_word_clear(qd_bpe_word *word);
qd_code qd_bpe_word_add(qd_bpe_word *word, uint32_t id, qd_error *err);
/* Merges as far as it goes and appends what is left. */
qd_code qd_bpe_word_merge(qd_bpe_word *word, const qd_bpe_pairs *pairs, qd_ids *ids, qd_error *err);

#endif
