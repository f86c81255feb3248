/* compressed_tensors.h: what the files of format_compressed_tensors.c share.
 * Room: core/export, private to it. May use: base, quant, model.
 * Threads: any.
 * Source: formats.md §4.1-4.3.
 *
 * Per linear layer m of O x I weights in G groups, as clients compute it:
 *   pack-quantized        m.weight_packed I32 [O, ceil(I b / 32)] of u = q + 2^(b-1), dense LSB-first by row; m.weight_scale [O, G];
 *                         m.weight_zero_point I32 [ceil(O b / 32), G], packed along O, when asymmetric; m.weight_shape I64 [2] = (O, I);
 *                         m.weight_g_idx I32 [I] when groups are no runs. (u - u_zero) scale
 *   int-quantized         m.weight I8 [O, I], m.weight_scale [O, 1]. q scale
 *   mxfp4-pack-quantized  m.weight_packed U8 [O, I/2] of E2M1 codes, low nibble first; m.weight_scale U8 [O, I/32]. E2M1 2^(e - 127)
 *   nvfp4-pack-quantized  m.weight_packed as there; m.weight_scale F8_E4M3 [O, I/16]; m.weight_global_scale F32 [1].
 *                         E2M1 (scale / global) */
#ifndef QD_EXPORT_COMPRESSED_TENSORS_H
#define QD_EXPORT_COMPRESSED_TENSORS_H

#include "export/format.h"
#include "export/shard_writer.h"
#include "export/stored.h"

/* The variants, in the order of their row's words. */
typedef enum qd_packing { QD_PACK_INT, QD_PACK_INT8, QD_PACK_MXFP4, QD_PACK_NVFP4 } qd_packing;
extern const char *const qd_packing_names[];

/* quantization_config, as far as a reader of one layer needs it. */
typedef struct qd_packed_scheme {
    qd_packing packing;
    unsigned bits;  /* 2..8 */
    bool symmetric; /* no zero points: u_zero = 2^(b-1) */
    bool ordered;   /* columns are out of order: weight_g_idx must be there */
    enum qd_packed_strategy { QD_STRATEGY_TENSOR, QD_STRATEGY_CHANNEL, QD_STRATEGY_GROUP } strategy;
    size_t group_size; /* 0 unless QD_STRATEGY_GROUP */
} qd_packed_scheme;

/* The whole member "quantization_config" (new reference); NULL when out of memory. */
json_t *qd_packed_config(const qd_grid_spec *spec, qd_packing packing);
/* Adds to its list "ignore" ("lm_head") what else of the model loaders would take for packed. */
qd_code qd_packed_ignore(const qd_model *model, json_t *list, qd_error *err);
/* Every group of a config.json; *out is the first one's. QD_EFORMAT or QD_EUNSUPPORTED names the member that is wrong or cannot be read
 * here. */
qd_code qd_packed_scheme_read(const json_t *config, qd_packed_scheme *out, qd_error *err);
/* Of one layer, by its name. QD_ENOTFOUND (err untouched): not quantized. */
qd_code qd_packed_scheme_of(const json_t *config, const char *layer, qd_packed_scheme *out, qd_error *err);
/* Does an entry of "targets" or "ignore" name this linear layer: its class, its path, or "re:" and a pattern? */
qd_code qd_packed_target_matches(const char *target, const char *layer, bool *out, qd_error *err);

qd_code qd_packed_write(const qd_model *model, const qd_grid_spec *spec, size_t variant,
                        const qd_rounded_source *source, const char *dir, qd_error *err);
qd_code qd_packed_read_spec(const qd_model *packed, qd_grid_spec *out, qd_error *err);
qd_code qd_packed_read_weight(const qd_model *packed, const qd_linear *linear, qd_matf w, qd_error *err);
qd_code qd_packed_read_rounded(const qd_model *packed, const qd_linear *linear, qd_grid *grid, uint8_t **out_codes,
                               qd_error *err);

/* qd_format.find_layer. */
bool qd_packed_find_layer(void *ctx, const qd_tensor *tensor, uint64_t vocabulary, qd_linear *out, size_t *out_length);

/* The two with levels of E2M1 (compressed_tensors_fp4.c). */
typedef struct qd_packed_layer {
    qd_shard_writer *writer;
    const qd_linear *linear;
    const qd_rounded *rounded;
} qd_packed_layer;
/* A tensor of the layer; cols 0 = rank 1; takes data. */
qd_code qd_packed_take(const qd_packed_layer *layer, const char *part, const char *dtype, size_t rows, size_t cols,
                       void *data, qd_error *err);
qd_code qd_packed_write_fp4(const qd_packed_layer *layer, qd_packing packing, qd_error *err);
qd_code qd_packed_read_fp4(const qd_model *packed, const qd_linear *linear, const qd_packed_scheme *scheme,
                           qd_stored *out, qd_error *err);

/* Scales a model of type `model_dtype` keeps exactly: the safetensors type to store them in, NULL when there is
 * none. */
const qd_dtype *qd_packed_scale_dtype(const qd_scale_type *type, const char *model_dtype);

#endif
