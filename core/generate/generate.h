/* generate.h: sequences of tokens that a model makes by itself, so that a job needs no text.
 * Room: core/generate. May use: base, linalg, model. Knows no tokenizer.
 * Threads: called from one thread; groups of sequences are tasks of the pool. All blocks' weights and the head are in
 * memory as float32 while it lasts.
 *
 * Sequence i of a stream is a pure function of model, request and i: the number that its token at a position is drawn by
 * comes from (seed, stream, i, position), and the products that it passes through have the same shapes however many
 * sequences are asked for and however many threads there are. */
#ifndef QD_GENERATE_GENERATE_H
#define QD_GENERATE_GENERATE_H

#include "base/cancel.h"
#include "base/pool.h"
#include "base/progress.h"
#include "generate/draw.h"
#include "model/arch.h"

enum { QD_GENERATE_GROUP = 16 }; /* sequences that take a step together */

/* How a document begins, behind BOS where there is one. */
typedef enum qd_opening {
    QD_OPEN_PREDICTED, /* by what the model predicts there, at quantiles that are spread evenly over the sequences */
    QD_OPEN_PIECES, /* by an id of the first quarter of the vocabulary, where tokenizers have their frequent pieces */
} qd_opening;

typedef struct qd_generation {
    size_t count, length;  /* sequences; tokens of each, BOS included */
    uint64_t seed, stream; /* sequences of two streams have nothing in common */
    int64_t bos;           /* the first token of every document; -1 = none: QD_OPEN_PIECES, whatever `opening` says */
    qd_opening opening;
    qd_draw_rule rule;
} qd_generation;

/* out_ids: count x length. Behind the model's end of text (config.json: eos_token_id) a new document begins in the same
 * sequence. Steps of progress are tokens. QD_EINVAL: longer than the model has positions. QD_ENUMERIC: a prediction that is
 * not finite. */
qd_code qd_generate(const qd_model *model, const qd_generation *request, qd_pool *pool, const qd_progress *progress,
                    const qd_cancel *cancel, uint32_t *out_ids, qd_error *err);

/* Bytes that it holds at most. */
uint64_t qd_generate_memory(const qd_model *model, size_t length, size_t threads);

#endif
