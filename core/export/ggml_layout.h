/* ggml_layout.h: where the codes and scales of a ggml block lie: one block of a row, unpacked, and its bytes.
 * Room: core/export, private to it. May use: base, linalg.
 * Threads: constant tables; calls share nothing.
 * Source: formats.md §6.5. */
#ifndef QD_EXPORT_GGML_LAYOUT_H
#define QD_EXPORT_GGML_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { QD_GGML_BLOCK_MAX = 256, QD_GGML_SPANS_MAX = 16, QD_GGML_BYTES_MAX = 256 };

/* value = level(code) * scale - offset, a scale (and offset) for each span of weights. */
typedef struct qd_ggml_block {
    uint8_t code[QD_GGML_BLOCK_MAX];                           /* as stored, from 0 */
    float scale[QD_GGML_SPANS_MAX], offset[QD_GGML_SPANS_MAX]; /* scale with the sign it is stored with */
    float unit, offset_unit; /* of layouts with scales in two levels: whole multiples of these */
} qd_ggml_block;

/* A part of each code, and where it lies. */
typedef struct qd_ggml_field {
    unsigned bits, from;    /* bits of the code: from..from + bits - 1 */
    size_t base;            /* byte that `at` counts from */
    size_t (*at)(size_t i); /* weight of the block -> bit */
} qd_ggml_field;

typedef struct qd_ggml_layout {
    size_t block, bytes, span; /* weights and bytes of a block; weights that share a scale */
    qd_ggml_field fields[2];   /* bits 0 ends */
    uint8_t flip;              /* bits of a code that are stored inverted */
    void (*put_codes)(const uint8_t *code, unsigned char *bytes); /* instead of fields, where they do not lie in bits */
    void (*get_codes)(const unsigned char *bytes, uint8_t *code);
    size_t scale_at; /* byte of the (first) scale */
    /* QD_EUNSUPPORTED says which scale the layout cannot hold exactly. */
    qd_code (*put_scales)(const struct qd_ggml_layout *layout, const qd_ggml_block *block, unsigned char *bytes,
                          qd_error *err);
    void (*get_scales)(const struct qd_ggml_layout *layout, const unsigned char *bytes, qd_ggml_block *block);
} qd_ggml_layout;

extern const qd_ggml_layout qd_ggml_layout_q4_0, qd_ggml_layout_q4_1, qd_ggml_layout_q5_0, qd_ggml_layout_q5_1,
    qd_ggml_layout_q8_0, qd_ggml_layout_mxfp4, qd_ggml_layout_nvfp4, qd_ggml_layout_q1_0, qd_ggml_layout_q2_0,
    qd_ggml_layout_q2_k, qd_ggml_layout_q3_k, qd_ggml_layout_q4_k, qd_ggml_layout_q5_k, qd_ggml_layout_q6_k,
    qd_ggml_layout_tq1_0, qd_ggml_layout_tq2_0;

/* bytes: layout->bytes of them, all written. */
qd_code qd_ggml_pack(const qd_ggml_layout *layout, const qd_ggml_block *block, unsigned char *bytes, qd_error *err);
void qd_ggml_unpack(const qd_ggml_layout *layout, const unsigned char *bytes, qd_ggml_block *block);

#endif
