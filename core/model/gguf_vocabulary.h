/* gguf_vocabulary.h: the tokens of a GGUF's metadata, checked.
 * Room: core/model, private to it. May use: base.
 * Threads: immutable after reading.
 * Source: formats.md §6.4. */
#ifndef QD_MODEL_GGUF_VOCABULARY_H
#define QD_MODEL_GGUF_VOCABULARY_H

#include <stdbool.h>
#include <stdint.h>

#include "model/gguf.h"
#include "model/gguf_pre_tokenizer.h"

/* As `tokenizer.ggml.token_type` has them. */
enum { QD_PIECE_NORMAL = 1, QD_PIECE_UNKNOWN, QD_PIECE_CONTROL, QD_PIECE_USER_DEFINED, QD_PIECE_UNUSED, QD_PIECE_BYTE };

typedef struct qd_gguf_piece {
    const char *text; /* of the file: valid UTF-8, not NUL-terminated; length 0: a gap, no token has this id */
    size_t length;
    int type;
} qd_gguf_piece;

/* What names `tokenizer.ggml.model` may give, and what clients assume where the metadata do not say. */
typedef enum qd_gguf_scheme { QD_GGUF_BYTE_LEVEL, QD_GGUF_SENTENCEPIECE } qd_gguf_scheme;

/* Zero-initialize; qd_gguf_vocabulary_fini. Lives no longer than the file. */
typedef struct qd_gguf_vocabulary {
    qd_gguf_scheme scheme;
    qd_gguf_piece *pieces; /* by id */
    size_t count;
    double *scores;  /* NULL: the file has none */
    uint32_t *slots; /* id + 1 by hash of the text; 0 = free */
    size_t slot_count;
    int64_t bos, eos, eot, unknown, padding; /* -1: none */
} qd_gguf_vocabulary;

void qd_gguf_vocabulary_fini(qd_gguf_vocabulary *vocabulary);
/* QD_EFORMAT names key and index of what is wrong; QD_EUNSUPPORTED an unknown model with the known ones. */
qd_code qd_gguf_vocabulary_read(const qd_gguf *file, qd_gguf_vocabulary *out, qd_error *err);
/* -1: no such piece. */
int64_t qd_gguf_vocabulary_find(const qd_gguf_vocabulary *vocabulary, const char *text, size_t length);
/* Tokens that are looked for in the text before anything else: control, user-defined and unknown ones. */
bool qd_gguf_piece_is_added(const qd_gguf_piece *piece);

/* The row that `tokenizer.ggml.pre` names; QD_EUNSUPPORTED for an unknown name lists the known ones. A file without the
 * key is older than it: clients take "default". Byte-level files only. */
qd_code qd_gguf_find_pre_tokenizer(const qd_gguf *file, const qd_gguf_pre_tokenizer **out, qd_error *err);

/* Whether BOS and EOS go around a text; never without a token to do it. */
typedef struct qd_gguf_frame {
    bool bos, eos;
} qd_gguf_frame;
qd_code qd_gguf_read_frame(const qd_gguf *file, const qd_gguf_vocabulary *vocabulary, qd_gguf_frame *out,
                           qd_error *err);

#endif
