/* trie.c: see trie.h. A node's children hang in a list, for those who visit all, and are found by hash: a step takes the
 * same time with one child and with 256. */
#include "text/trie.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"

void qd_trie_fini(qd_trie *trie)
{
    free(trie->nodes);
    free(trie->slots);
    *trie = (qd_trie){ 0 };
}

/* The slot of the child, or the free one where it would go. */
static size_t slot_of(const qd_trie *trie, uint32_t parent, unsigned char byte)
{
    size_t mask = trie->slot_count - 1;
    size_t slot = (size_t)qd_rng_mix((uint64_t)parent << 8 | byte) & mask;
    for (; trie->slots[slot] != 0; slot = (slot + 1) & mask) {
        const qd_trie_node *node = &trie->nodes[trie->slots[slot]];
        if (node->parent == parent && node->byte == byte)
            break;
    }
    return slot;
}

uint32_t qd_trie_step(const qd_trie *trie, uint32_t node, unsigned char byte)
{
    if (node == 0)
        return trie->first[byte];
    return trie->nodes[node].child == 0 ? 0 : trie->slots[slot_of(trie, node, byte)];
}

static qd_code make_room(qd_trie *trie, qd_error *err)
{
    if (2 * (trie->used + 1) <= trie->slot_count)
        return QD_OK;
    size_t wider = trie->slot_count == 0 ? 64 : 2 * trie->slot_count;
    uint32_t *slots = NULL;
    qd_code code = qd_alloc(wider, sizeof *slots, (void **)&slots, err);
    if (code != QD_OK)
        return code;
    free(trie->slots);
    trie->slots = slots;
    trie->slot_count = wider;
    for (uint32_t at = 1; at < trie->count; at++)
        if (trie->nodes[at].parent != 0)
            slots[slot_of(trie, trie->nodes[at].parent, trie->nodes[at].byte)] = at;
    return QD_OK;
}

static qd_code add_node(qd_trie *trie, uint32_t parent, unsigned char byte, uint32_t *out, qd_error *err)
{
    size_t at = trie->count == 0 ? 1 : trie->count;
    if (at >= UINT32_MAX)
        return qd_fail(err, QD_ETOOBIG, "more than %zu nodes of token texts", at);
    qd_code code = make_room(trie, err);
    if (code == QD_OK)
        code = qd_grow((void **)&trie->nodes, &trie->capacity, at + 1, sizeof *trie->nodes, err);
    if (code != QD_OK)
        return code;
    uint32_t sibling = parent == 0 ? 0 : trie->nodes[parent].child;
    trie->nodes[at] = (qd_trie_node){ parent, 0, sibling, -1, byte };
    if (parent == 0)
        trie->first[byte] = (uint32_t)at;
    else {
        trie->nodes[parent].child = (uint32_t)at;
        trie->slots[slot_of(trie, parent, byte)] = (uint32_t)at;
        trie->used++;
    }
    trie->count = at + 1;
    *out = (uint32_t)at;
    return QD_OK;
}

qd_code qd_trie_add(qd_trie *trie, const char *text, size_t length, int32_t value, qd_error *err)
{
    uint32_t node = 0;
    for (size_t i = 0; i < length; i++) {
        uint32_t next = qd_trie_step(trie, node, (unsigned char)text[i]);
        if (next == 0) {
            qd_code code = add_node(trie, node, (unsigned char)text[i], &next, err);
            if (code != QD_OK)
                return code;
        }
        node = next;
    }
    if (trie->nodes[node].value < 0)
        trie->nodes[node].value = value;
    return QD_OK;
}
