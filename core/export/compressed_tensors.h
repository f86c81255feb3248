/* compressed_tensors.h: what the two halves of format_compressed_tensors.c share.
 * Room: core/export, private to it. May use: base, quant, model.
 * Threads: any.
 * Source: formats.md §4.1-4.3.
 *
 * Per linear layer m: m.weight_packed I32 [O, ceil(I b / 32)] of u = q + 2^(b-1), dense LSB-first by row;
 * m.weight_scale [O, G]; m.weight_zero_point I32 [ceil(O b / 32), G], packed along O, when asymmetric; m.weight_shape
 * I64 [2] = (O, I). A client computes (u - u_zero) scale. */
#ifndef QD_EXPORT_COMPRESSED_TENSORS_H
#define QD_EXPORT_COMPRESSED_TENSORS_H

#include "export/format.h"
#include "export/shard_writer.h"

enum { QD_PACKED_NAME = 640 }; /* bytes of a tensor name: at most 512 of the layer's, and the part's */

/* quantization_config, as far as a reader needs it. */
typedef struct qd_packed_scheme {
    unsigned bits;     /* 2, 4, 8 */
    bool symmetric;    /* no zero points: u_zero = 2^(b-1) */
    size_t group_size; /* 0 = channel */
} qd_packed_scheme;

/* The whole member "quantization_config" (new reference); NULL when out of memory. */
json_t *qd_packed_config(const qd_grid_spec *spec);
/* From a config.json: QD_EFORMAT or QD_EUNSUPPORTED names the member that is not as written by us. */
qd_code qd_packed_scheme_read(const json_t *config, qd_packed_scheme *out, qd_error *err);

qd_code qd_packed_write(const qd_model *model, const qd_grid_spec *spec, size_t variant,
                        const qd_rounded_source *source, const char *dir, qd_error *err);
qd_code qd_packed_read(const qd_model *packed, const qd_linear *linear, qd_matf w, qd_error *err);

/* Scales a model of type `model_dtype` keeps exactly: the safetensors type to store them in, NULL when there is
 * none. */
const qd_dtype *qd_packed_scale_dtype(const qd_scale_type *type, const char *model_dtype);

#endif
