/* unknown.h: which tensors of a model whose architecture has no row are weights of linear layers, by shape and name alone.
 * Room: core/model. May use: base, linalg.
 * Threads: pure functions of constant tables.
 *
 * A linear layer's weight is what no rule objects to: a matrix of floating-point numbers called "....weight", both sides
 * long enough to be worth packing. A mistake the one way costs bits; the other way it costs the model: so whatever may
 * be something else is kept byte for byte, and each rule says why. */
#ifndef QD_MODEL_UNKNOWN_H
#define QD_MODEL_UNKNOWN_H

#include "model/tensor.h"

enum { QD_UNKNOWN_LEAST = 32 }; /* rows and columns of a linear layer's weight, at least */

typedef enum qd_unknown_finding {
    QD_UNKNOWN_OTHER,  /* no linear layer's weight */
    QD_UNKNOWN_SPARED, /* a linear layer's that is better left as it is */
    QD_UNKNOWN_OPEN,   /* it may be one, or several: nothing but the architecture tells; left as it is too */
} qd_unknown_finding;

typedef struct qd_unknown_rule {
    const char *name;
    qd_unknown_finding finding;
    const char *why; /* for plans: a clause */
    /* Parts of the tensor's name between dots, as globs in small letters: one of them must match; NULL = any name. */
    const char *const *parts;
    /* vocabulary: of the config, 0 = it does not say. NULL = any shape. */
    bool (*holds)(const qd_tensor *tensor, uint64_t vocabulary);
} qd_unknown_rule;

const qd_unknown_rule *qd_unknown_rule_at(size_t index); /* NULL past the end */
/* The first rule that objects; NULL: a linear layer's weight. */
const qd_unknown_rule *qd_unknown_judge(const qd_tensor *tensor, uint64_t vocabulary);

/* Blocks by the first number between dots: "encoder.layers.7.mixer.in_proj" is in block 7 of "encoder.layers." (false:
 * no number, outside of blocks). out_prefix: length of what stands before the number. */
bool qd_unknown_block(const char *name, size_t *out_prefix, uint64_t *out_block);
/* Orders names by block, numbers as numbers, and within a block by name; those outside of blocks come first. For qsort. */
int qd_unknown_compare(const char *a, const char *b);

#endif
