/* gram.h: second moments of a layer's inputs: H = X~^T X~ / m, G = X^T X~ / m.
 * Room: core/quant. May use: base, linalg.
 * Threads: one thread adds; work is cut into fixed tiles over the pool: same bytes for any number of threads.
 * Source: algorithms.md §3. Products in float32 over fixed chunks of rows, added into float64; inputs
 * may be as small as a float can be (but those below 2^-60 of the largest of all count as 0). */
#ifndef QD_QUANT_GRAM_H
#define QD_QUANT_GRAM_H

#include "base/pool.h"
#include "linalg/product.h"

typedef enum qd_gram_part { QD_GRAM_NOTHING, QD_GRAM_UPPER, QD_GRAM_WHOLE } qd_gram_part;

typedef struct qd_gram {
    qd_matd_buf sum;          /* I x I (of qd_gram_init_cross: left x right), not divided by m */
    qd_gram_part part;        /* of sum that was added to: of x^T x the upper triangle, until qd_gram_complete */
    size_t tokens;            /* m so far */
    qd_arithmetic arithmetic; /* of its products: float32 unless the caller sets it after init */
} qd_gram;
qd_code qd_gram_init(qd_gram *gram, size_t features, qd_error *err);
/* For products of two different sets of features, which only qd_gram_add_cross makes. */
qd_code qd_gram_init_cross(qd_gram *gram, size_t left, size_t right, qd_error *err);
/* The same with the sum on disk, in a folder (NULL = in memory): what adds, merges and finishes leaves nothing of it resident. */
qd_code qd_gram_init_in(qd_gram *gram, size_t left, size_t right, const char *folder, qd_error *err);
void qd_gram_fini(qd_gram *gram);

/* sum += x^T x, the upper triangle; x: T x I. Chunks of a fixed number of rows inside. A sum is of these or of the next, never both. */
qd_code qd_gram_add(qd_gram *gram, qd_cmatf x, qd_pool *pool, qd_error *err);
/* sum += left^T x: row index = left, the float stream in G of algorithms.md §1. */
qd_code qd_gram_add_cross(qd_gram *gram, qd_cmatf left, qd_cmatf x, qd_pool *pool, qd_error *err);
/* Tokens of a float32 product. Fixed, so that sums do not depend on what is done at once. */
enum { QD_GRAM_CHUNK = 2048 };
/* Three inputs, or three in two terms each; five sums, or five in three products each. */
enum { QD_GRAM_INPUTS = 6, QD_GRAM_SUMS = 15, QD_GRAM_TERM_INPUTS = 3, QD_GRAM_TERMS = 5 };

/* What inputs are packed into: for who adds many times, which clears its pages once. {0}; grows as it is used. */
typedef struct qd_gram_room {
    void *panels;
    size_t bytes;
} qd_gram_room;
void qd_gram_room_fini(qd_gram_room *room);

/* Some rows of an input that is read. */
typedef struct qd_gram_rows {
    qd_cmath x;     /* a view of the room; who has the rows in memory puts a view of those here, of the same shape */
    uint16_t *room; /* for who makes them: one behind the other */
} qd_gram_rows;

/* Several inputs over the same tokens: T x I each. Those without data are read in bf16 while they are packed, some rows at a time, which stay in
 * the caches meanwhile; in QD_ARITHMETIC_BFLOAT16 only. */
typedef struct qd_gram_inputs {
    size_t count;
    qd_cmatf input[QD_GRAM_INPUTS];
    /* Gives rows from `first` on of every input without data: rows[index of the input], as many as its view has; views are good until the sums
     * are made. Several threads call it at once. NULL where all inputs have data. */
    qd_code (*read)(void *ctx, size_t first, qd_gram_rows *rows, qd_error *err);
    void *ctx;
    qd_gram_room *room; /* NULL: it takes its own */
} qd_gram_inputs;
/* gram += left^T right, of inputs by their index; of one input with itself as qd_gram_add, else as qd_gram_add_cross. */
typedef struct qd_gram_term {
    qd_gram *gram;
    size_t left, right;
} qd_gram_term;
/* Several sums of one arithmetic, at most QD_GRAM_TERMS, of QD_GRAM_TERM_INPUTS inputs. The same bytes as term by term; in bf16 each input is packed once for all. */
qd_code qd_gram_add_terms(const qd_gram_inputs *inputs, const qd_gram_term *terms, size_t count, qd_pool *pool,
                          qd_error *err);
/* sum += other's sum, of the same features and not finished either; its tokens count. */
qd_code qd_gram_merge(qd_gram *gram, const qd_gram *other, qd_error *err);
/* Both triangles, exactly equal; for who reads the sum before it is finished. Nothing is added behind that. */
void qd_gram_complete(qd_gram *gram);
/* Mean: divides by m in place, both triangles; once, when everything was added. QD_ENUMERIC when an entry is not finite. */
qd_code qd_gram_finish(qd_gram *gram, qd_error *err);

#endif
