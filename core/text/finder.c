/* finder.c: see finder.h. */
#include "text/finder.h"

#include <stdlib.h>

#include "base/mem.h"

void qd_finder_fini(qd_finder *finder)
{
    qd_trie_fini(&finder->trie);
    free(finder->shorter);
    free(finder->longest);
    *finder = (qd_finder){ 0 };
}

void qd_finds_fini(qd_finds *finds)
{
    free(finds->items);
    *finds = (qd_finds){ 0 };
}

qd_code qd_finder_add(qd_finder *finder, const char *text, size_t length, int32_t value, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *backwards = NULL;
    qd_code code = qd_alloc(length, 1, (void **)&backwards, err);
    for (size_t i = 0; code == QD_OK && i < length; i++)
        backwards[i] = text[length - 1 - i];
    return code == QD_OK ? qd_trie_add(&finder->trie, backwards, length, value, err) : code;
}

/* Where the automaton goes from `node` with `byte`. */
static uint32_t follow(const qd_finder *finder, uint32_t node, unsigned char byte)
{
    for (;;) {
        uint32_t next = qd_trie_step(&finder->trie, node, byte);
        if (next != 0 || node == 0)
            return next;
        node = finder->shorter[node];
    }
}

/* A node whose parent is done. */
static void settle(qd_finder *finder, uint32_t node)
{
    const qd_trie_node *n = &finder->trie.nodes[node];
    finder->shorter[node] = n->parent == 0 ? 0 : follow(finder, finder->shorter[n->parent], n->byte);
    finder->longest[node] = n->value >= 0 ? n->value : finder->longest[finder->shorter[node]];
}

qd_code qd_finder_finish(qd_finder *finder, qd_error *err)
{
    const qd_trie *trie = &finder->trie;
    QD_AUTO(qd_free_pointer) uint32_t *pending = NULL;
    size_t count = qd_max_size(trie->count, 1), done = 0, waiting = 0;
    qd_code code = qd_alloc(count, sizeof *finder->shorter, (void **)&finder->shorter, err);
    if (code == QD_OK)
        code = qd_alloc(count, sizeof *finder->longest, (void **)&finder->longest, err);
    if (code == QD_OK)
        code = qd_alloc(count, sizeof *pending, (void **)&pending, err);
    if (code != QD_OK)
        return code;
    finder->longest[0] = -1;
    for (size_t byte = 0; byte < QD_LENGTH(trie->first); byte++)
        if (trie->first[byte] != 0)
            pending[waiting++] = trie->first[byte];
    for (; done < waiting; done++) { /* shorter texts first */
        uint32_t node = pending[done];
        settle(finder, node);
        for (uint32_t child = trie->nodes[node].child; child != 0; child = trie->nodes[child].sibling)
            pending[waiting++] = child;
    }
    return QD_OK;
}

qd_code qd_finder_run(const qd_finder *finder, const char *text, size_t length, qd_finds *out, qd_error *err)
{
    uint32_t node = 0;
    out->count = 0;
    if (finder->trie.count == 0)
        return QD_OK;
    for (size_t at = length; at-- > 0;) {
        node = follow(finder, node, (unsigned char)text[at]);
        if (finder->longest[node] < 0)
            continue;
        if (out->count == out->capacity) {
            qd_code code = qd_grow((void **)&out->items, &out->capacity, out->count + 1, sizeof *out->items, err);
            if (code != QD_OK)
                return code;
        }
        out->items[out->count++] = (qd_find){ at, finder->longest[node] };
    }
    return QD_OK;
}
