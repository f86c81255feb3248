/* gguf_plan.h: which tensors a GGUF file of a model has, of which type, in which order, and where each comes from.
 * Room: core/export, private to it. May use: base, model.
 * Threads: called from one thread.
 * Source: formats.md §6.3. */
#ifndef QD_EXPORT_GGUF_PLAN_H
#define QD_EXPORT_GGUF_PLAN_H

#include "export/gguf_meta.h"

typedef enum qd_gguf_origin {
    QD_GGUF_KEPT,     /* the source's tensor, its bytes or its float32 values */
    QD_GGUF_ROUNDED,  /* a linear layer's blocks */
    QD_GGUF_UNIT,     /* one float32: the scale of the whole tensor before it */
    QD_GGUF_DIVISORS, /* llama3's: what the frequency of each pair is divided by */
} qd_gguf_origin;

/* Beside each entry of the file. */
typedef struct qd_gguf_piece {
    qd_gguf_origin origin;
    const qd_tensor *tensor; /* KEPT, ROUNDED */
    size_t linear;           /* ROUNDED, UNIT */
    const qd_ggml_encoder *encoder;
    size_t head_rows; /* rows are interleaved within heads of so many; 0 = as they are */
} qd_gguf_piece;

typedef struct qd_gguf_plan {
    qd_gguf_entry *entries;
    qd_gguf_piece *pieces;
    size_t count, capacity, piece_capacity;
    qd_rope rope;
} qd_gguf_plan;
/* QD_EUNSUPPORTED names a tensor or a layer that GGUF has no place for. */
qd_code qd_gguf_plan_make(const qd_model *model, const qd_ggml_encoder *encoder, qd_gguf_plan *plan, qd_error *err);
void qd_gguf_plan_fini(qd_gguf_plan *plan);

/* A buffer that clients compute themselves, or a second head where the embedding is the head: as qd_format.leaves_out. */
bool qd_gguf_leaves_out(const qd_model *source, const qd_tensor *tensor);

/* The row of the source that lies at row `at` of the file. */
size_t qd_gguf_row_source(size_t at, size_t head_rows);

#endif
