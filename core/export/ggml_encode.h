/* ggml_encode.h: rounded rows as ggml blocks and blocks as grid and codes again: which grids each type holds exactly.
 * Room: core/export, private to it. May use: base, linalg, quant, model.
 * Threads: constant tables; calls share nothing.
 * Source: formats.md §6.5, §6.6. One row a type: a variant of format `gguf`.
 *
 * Nothing is rounded here: a row that a type cannot hold exactly is refused. What a reader decodes is what qd_grid_dequantize gives, but
 * that a type whose scale has a sign makes -0 of some zeros. */
#ifndef QD_EXPORT_GGML_ENCODE_H
#define QD_EXPORT_GGML_ENCODE_H

#include "export/format.h"
#include "export/ggml_layout.h"
#include "model/ggml_types.h"

/* How a type makes values of codes. */
typedef enum qd_ggml_kind {
    QD_GGML_CENTRED, /* (code + low) * scale, the scale of either sign */
    QD_GGML_OFFSET,  /* code * scale - offset */
    QD_GGML_LEVELS,  /* level[code] * scale */
} qd_ggml_kind;

/* The grid a job has where it names none. */
typedef struct qd_ggml_grid {
    const char *alphabet;
    qd_zero_kind zero;
    double bits;
    size_t group_size;
    const char *scale_type;
} qd_ggml_grid;

typedef struct qd_ggml_encoder {
    const char *variant, *type; /* "q4_0"; row of ggml_types.h: "Q4_0" */
    const char *holds;          /* for messages */
    qd_ggml_kind kind;
    int low, high; /* CENTRED: least and largest multiple of a positive scale; else codes 0..high */
    const qd_ggml_layout *layout;
    bool units;            /* scales are multiples of a unit that a block shares */
    const uint8_t *stored; /* LEVELS: what is stored for each code of the alphabet; NULL = the code */
    const char *fallback;  /* the variant for rows that are no whole blocks of this one; NULL = none */
    const char *const
        *scale_types;           /* whose every value the type holds, with groups that fill its blocks; ends with NULL */
    const char *own_scale_type; /* whose groups share units as its blocks do; NULL = none */
    qd_ggml_grid grid;
    const qd_format_field *implied; /* the same as fields of a job */
} qd_ggml_encoder;

/* Is there a scale of the whole tensor as well, in a tensor of its own? */
static inline bool qd_ggml_has_layer_unit(const qd_ggml_encoder *encoder)
{
    return !encoder->units && encoder->layout->span < encoder->layout->block;
}

/* Rows in the order of qd_format_gguf's variants. */
const qd_ggml_encoder *qd_ggml_encoder_at(size_t variant); /* NULL past the end */
const qd_ggml_encoder *
qd_ggml_encoder_of(const char *type); /* by the type's name; NULL for types that we do not write */
/* The row whose blocks fit rows of `cols` weights: this one, or what it falls back to; NULL = neither. */
const qd_ggml_encoder *qd_ggml_encoder_for(const qd_ggml_encoder *encoder, size_t cols);
/* Alphabet, zero, width, groups and scale type of the row's own grid; the rest of `spec` stays. */
void qd_ggml_encoder_grid(const qd_ggml_encoder *encoder, qd_grid_spec *spec);

/* Does the type hold every layer of such a grid? QD_EINVAL begins with the field that does not go with it. */
qd_code qd_ggml_encoder_check(const qd_ggml_encoder *encoder, const qd_grid_spec *spec, qd_error *err);

static inline size_t qd_ggml_row_bytes(const qd_ggml_encoder *encoder, size_t cols)
{
    return cols / encoder->layout->block * encoder->layout->bytes;
}
/* Row `row` of a layer, codes as in qd_rounded but of this row only: I of them, whole blocks. QD_EUNSUPPORTED says where and why the type
 * cannot hold it. */
qd_code qd_ggml_encode_row(const qd_ggml_encoder *encoder, const qd_grid *grid, size_t row, const uint8_t *codes,
                           size_t cols, unsigned char *out, qd_error *err);

/* The way back. */
/* An empty grid for rows x cols weights of this type, all scales 1 (ggml_decode). */
qd_code qd_ggml_grid_init(const qd_ggml_encoder *encoder, size_t rows, size_t cols, qd_grid *out, qd_error *err);
/* Fills row `row` of the grid and its codes (I of them). unit: the tensor's own scale where the type has one, else 1. QD_EUNSUPPORTED for
 * values that are on no grid of ours. */
qd_code qd_ggml_decode_row(const qd_ggml_encoder *encoder, const unsigned char *bytes, float unit, qd_grid *grid,
                           size_t row, uint8_t *codes, size_t cols, qd_error *err);

#endif
