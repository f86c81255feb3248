/* trie.h: many strings, and which of them begin at a place in a text.
 * Room: core/text, private to it. May use: base.
 * Threads: immutable after filling. */
#ifndef QD_TEXT_TRIE_H
#define QD_TEXT_TRIE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct qd_trie_node {
    uint32_t parent, child, sibling; /* 0: none */
    int32_t value;                   /* -1: no string ends here */
    unsigned char byte;
} qd_trie_node;

/* Zero-initialize; qd_trie_fini. */
typedef struct qd_trie {
    qd_trie_node *nodes; /* nodes[0] is unused: 0 is the root, and "none" */
    size_t count, capacity;
    uint32_t first[256]; /* node of each first byte */
    uint32_t *slots;     /* nodes below the first by hash of parent and byte; 0 = free */
    size_t slot_count, used;
} qd_trie;

void qd_trie_fini(qd_trie *trie);
/* length > 0, value >= 0; a string that is there keeps its first value. */
qd_code qd_trie_add(qd_trie *trie, const char *text, size_t length, int32_t value, qd_error *err);
/* Steps: `node` is 0 before the first byte; the result is 0 when no string goes on so. */
uint32_t qd_trie_step(const qd_trie *trie, uint32_t node, unsigned char byte);

#endif
