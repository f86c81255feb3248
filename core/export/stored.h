/* stored.h: a layer as the tensors of a packed folder hold it: codes, a grid, and the group of every input feature.
 * Room: core/export, private to it. May use: base, quant, model.
 * Threads: pure functions on what they are given. */
#ifndef QD_EXPORT_STORED_H
#define QD_EXPORT_STORED_H

#include "export/format.h"

enum { QD_PART_NAME = 640 }; /* bytes of a tensor name: at most 512 of the layer's, and the part's */

typedef struct qd_stored {
    qd_grid grid;       /* scales and zeros O x G */
    uint8_t *codes;     /* O x I, code - grid.low */
    uint32_t *group_of; /* I; NULL = groups are runs of features */
} qd_stored;
/* Codes, scales and zeros as zeros, for a layer of a folder whose grid is this one. */
qd_code qd_stored_init(qd_stored *stored, const qd_grid_spec *spec, const qd_linear *linear, qd_error *err);
void qd_stored_fini(qd_stored *stored);
/* I32 [I], the group of every feature; all -1, or each where it is anyway, is no order. QD_EFORMAT names a group that is not there. */
qd_code qd_stored_order(qd_stored *stored, const qd_tensor *order, qd_error *err);
/* (level - zero) * scale in float32. */
void qd_stored_weights(const qd_stored *stored, qd_matf w);
/* Hands grid and codes over. QD_EUNSUPPORTED where groups are no runs: no grid of ours is like that. */
qd_code qd_stored_take(qd_stored *stored, const qd_linear *linear, qd_grid *grid, uint8_t **out_codes, qd_error *err);

/* "LINEAR.part"; NULL when absent. */
const qd_tensor *qd_part_find(const qd_model *model, const qd_linear *linear, const char *part);
/* The same with its shape (cols 0 = rank 1) and dtype, NULL = F32, BF16 or F16; QD_EFORMAT says what is there and what is wanted. */
qd_code qd_part_need(const qd_model *model, const qd_linear *linear, const char *part, const char *dtype, size_t rows,
                     size_t cols, const qd_tensor **out, qd_error *err);
/* Word `index` of a tensor of 32-bit integers, at any address. */
uint32_t qd_part_word(const qd_tensor *tensor, size_t index);
/* Widened, finite. out: as many floats as the tensor has elements. */
qd_code qd_part_floats(const qd_tensor *tensor, float *out, qd_error *err);
/* A linear whose weight stands there unquantized. */
qd_code qd_plain_weight(const qd_linear *linear, qd_matf w, qd_error *err);

/* The spec of a grid that is in a file already: minmax, no shrinking. scale_dtype: of the tensor that holds the scales. */
qd_grid_spec qd_stored_spec(const char *alphabet, double bits, size_t group_size, const char *scale_dtype);
/* Is every scale of the type a value of its dtype? Not of types that belong to another container: with units or offsets. */
bool qd_scale_type_is_free(const qd_scale_type *type);
/* Is it exact as F16? */
bool qd_scale_type_is_f16(const qd_scale_type *type);

#endif
