/* finder.h: the longest of many strings at each place of a text, in one walk over it.
 * Room: core/text, private to it. May use: base.
 * Threads: immutable after qd_finder_finish.
 *
 * The strings are kept backwards and the text is read backwards: behind each byte the automaton (Aho and Corasick, 1975)
 * stands at the longest string that could begin there, and the longest whole one is known by its node. So the time is
 * that of the text, however the strings overlap. */
#ifndef QD_TEXT_FINDER_H
#define QD_TEXT_FINDER_H

#include "text/trie.h"

/* Zero-initialize; qd_finder_fini. */
typedef struct qd_finder {
    qd_trie trie;
    uint32_t *shorter; /* by node: the longest other node whose text its text ends with; 0: none */
    int32_t *longest;  /* by node: the value of the longest string that its text ends with; -1: none */
} qd_finder;

void qd_finder_fini(qd_finder *finder);
/* length > 0, value >= 0; a string that is there keeps its first value. */
qd_code qd_finder_add(qd_finder *finder, const char *text, size_t length, int32_t value, qd_error *err);
/* After the last qd_finder_add. */
qd_code qd_finder_finish(qd_finder *finder, qd_error *err);

typedef struct qd_find {
    size_t start;
    int32_t value;
} qd_find;
/* Zero-initialize; qd_finds_fini. */
typedef struct qd_finds {
    qd_find *items; /* the last place of the text first; places where no string begins are not among them */
    size_t count, capacity;
} qd_finds;
void qd_finds_fini(qd_finds *finds);

/* Replaces `out`. */
qd_code qd_finder_run(const qd_finder *finder, const char *text, size_t length, qd_finds *out, qd_error *err);

#endif
