/* trie.c: see trie.h. */
#include "text/trie.h"

#include <stdlib.h>

#include "base/mem.h"

void qd_trie_fini(qd_trie *trie)
{
    free(trie->nodes);
    *trie = (qd_trie){ 0 };
}

uint32_t qd_trie_step(const qd_trie *trie, uint32_t node, unsigned char byte)
{
    if (node == 0)
        return trie->first[byte];
    uint32_t at = trie->nodes[node].child;
    while (at != 0 && trie->nodes[at].byte != byte)
        at = trie->nodes[at].sibling;
    return at;
}

static qd_code add_node(qd_trie *trie, uint32_t parent, unsigned char byte, uint32_t *out, qd_error *err)
{
    size_t at = trie->count == 0 ? 1 : trie->count;
    if (at >= UINT32_MAX)
        return qd_fail(err, QD_ETOOBIG, "more than %zu nodes of token texts", at);
    qd_code code = qd_grow((void **)&trie->nodes, &trie->capacity, at + 1, sizeof *trie->nodes, err);
    if (code != QD_OK)
        return code;
    uint32_t sibling = parent == 0 ? 0 : trie->nodes[parent].child;
    trie->nodes[at] = (qd_trie_node){ 0, sibling, -1, byte };
    if (parent == 0)
        trie->first[byte] = (uint32_t)at;
    else
        trie->nodes[parent].child = (uint32_t)at;
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
