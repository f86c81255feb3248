/* rope.h: rotary position embedding, half-split (pair i is x[i], x[i + r/2]), and its frequency scalings.
 * Room: core/model. May use: base, linalg, jansson.
 * Threads: a qd_rope is a value; tables are read-only once made.
 * Source: formats.md §2 "RoPE". */
#ifndef QD_MODEL_ROPE_H
#define QD_MODEL_ROPE_H

#include <jansson.h>

#include "linalg/mat.h"

typedef struct qd_rope_scaling qd_rope_scaling; /* a row: "default", "linear", "dynamic", "llama3", ... */

enum { QD_ROPE_PAIRS = 256 }; /* that may have divisors of their own */

typedef struct qd_rope {
    const qd_rope_scaling *scaling;
    size_t dimensions; /* r, even; the first r of a head's features are rotated */
    double theta, factor;
    double low_frequency_factor, high_frequency_factor; /* llama3 */
    double original_positions;                          /* llama3, yarn, longrope */
    double max_positions;                               /* dynamic, longrope */
    double beta_fast, beta_slow, attention_factor;      /* yarn; attention_factor 0 = 0.1 ln(factor) + 1 */
    enum { QD_ROPE_TRUNCATED, QD_ROPE_EXACT } range;    /* yarn: do bounds of its ramp lie on whole pairs? */
    float short_divisors[QD_ROPE_PAIRS], long_divisors[QD_ROPE_PAIRS]; /* longrope */
} qd_rope;

/* From config.json: `rope_parameters` first, else `rope_theta` and `rope_scaling` ("type" or "rope_type").
 * QD_EUNSUPPORTED for an unknown type lists the known ones. */
qd_code qd_rope_read(const json_t *config, size_t head_dim, size_t max_positions, qd_rope *out, qd_error *err);
/* The same where the parameters are the object `source`, or missing (NULL); what it lacks is looked for in `config`. */
qd_code qd_rope_parse(const json_t *config, const json_t *source, size_t head_dim, size_t max_positions, qd_rope *out,
                      qd_error *err);
/* "default", "linear", "dynamic", "llama3", "yarn", "longrope" */
const char *qd_rope_scaling_name(const qd_rope *rope);
/* Some types choose by the length of the sequence: lengths of the same form turn by the same angles. */
size_t qd_rope_form(const qd_rope *rope, size_t length);
/* Radians that pair i turns by a position, without the scaling and with it, in a sequence of `length`. */
double qd_rope_plain_frequency(const qd_rope *rope, size_t i);
double qd_rope_frequency(const qd_rope *rope, size_t i, size_t length);
/* cosine, sine: P x r/2 each, positions 0..P-1 of a sequence of `length`; computed in double. */
void qd_rope_tables(const qd_rope *rope, size_t length, qd_matf out_cosine, qd_matf out_sine);
/* Rotates every head of x (T x heads * head_dim) in place; row t stands at row t of the tables. */
void qd_rope_apply(const qd_rope *rope, qd_cmatf cosine, qd_cmatf sine, size_t head_dim, qd_matf x);

#endif
