/* config_edit.h: config.json of an artifact: the source's, with the members a format demands.
 * Room: core/export, private to it. May use: base, model.
 * Threads: any. */
#ifndef QD_EXPORT_CONFIG_EDIT_H
#define QD_EXPORT_CONFIG_EDIT_H

#include <jansson.h>

#include "base/error.h"
#include "model/model.h"

/* The config.json of a folder or a .gguf, real or made (model/folder.h), as an object (new reference). */
qd_code qd_config_json_read(const char *dir, json_t **out, qd_error *err);
/* Its "quantization_config" (or what that was called before, "compression_config"), borrowed; NULL = none. */
json_t *qd_quantization_of(const json_t *config);
/* config.json of a folder that is opened as an artifact: with "quantization_config" made of quantize_config.json or quant_config.json where
 * only these say that it is quantized. */
qd_code qd_config_json_read_quantized(const char *dir, json_t **out, qd_error *err);
/* Reads SOURCE's config.json, drops what it says of a quantization of the source, sets each member of `changes` (borrowed), writes
 * DIR/config.json; other members keep value and order. */
qd_code qd_config_json_edit(const char *source_dir, const json_t *changes, const char *dir, qd_error *err);
/* The same with only the weight type changed, under the key the source uses: "torch_dtype" or "dtype" (the newer one,
 * also when neither is there). */
qd_code qd_config_json_set_dtype(const char *source_dir, const char *dtype, const char *dir, qd_error *err);
/* qd_config_json_edit of a packed artifact: loaders copy what it keeps and its scales into parameters of the type that config.json names, so that
 * of a source in blocks, whose numbers stand in float32 here, it names float32. `changes` is added to. */
qd_code qd_config_json_edit_packed(const qd_model *model, json_t *changes, const char *dir, qd_error *err);
/* The weight type that loaders of this config.json have parameters in, as safetensors names it; `fallback` where it says none. */
const char *qd_config_dtype(const json_t *config, const char *fallback);
/* QD_EFORMAT names the first member of the source's config.json that DIR's does not repeat, the weight type and the source's quantization
 * aside. */
qd_code qd_config_json_compare(const char *source_dir, const char *dir, qd_error *err);

#endif
