/* vocab.h: token texts by id, and ids by text.
 * Room: core/text, private to it. May use: base.
 * Threads: immutable after filling. */
#ifndef QD_TEXT_VOCAB_H
#define QD_TEXT_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* A file asks for memory by its ids; published vocabularies end below 2^19. */
enum { QD_VOCAB_LARGEST_ID = (1 << 22) - 1 };

typedef struct qd_token {
    size_t start;
    uint32_t length;
    uint32_t known; /* 0: no token has this id */
} qd_token;

/* Zero-initialize; qd_vocab_fini. */
typedef struct qd_vocab {
    qd_str texts;
    qd_token *tokens; /* by id */
    size_t count, capacity;
    uint32_t *slots; /* id + 1, by hash of the text; 0 = free */
    size_t slot_count, used;
    bool hides_nul; /* texts come with a stand-in for U+0000 (nul_text.h); set before the first is added */
    qd_str restored;
} qd_vocab;

void qd_vocab_fini(qd_vocab *vocab);
/* `text` as the file has it, NUL-terminated. QD_EFORMAT for an id that is out of range or taken, or a text that is
 * there. */
qd_code qd_vocab_add(qd_vocab *vocab, const char *text, size_t length, int64_t id, qd_error *err);
/* false: no such token. */
bool qd_vocab_find(const qd_vocab *vocab, const char *text, size_t length, uint32_t *out_id);
/* NULL: no such id. Not NUL-terminated. */
const char *qd_vocab_text(const qd_vocab *vocab, uint32_t id, size_t *out_length);

#endif
