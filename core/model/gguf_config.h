/* gguf_config.h: the config.json of a GGUF file, made from its metadata.
 * Room: core/model. May use: base, linalg, jansson.
 * Threads: any.
 * Source: formats.md §2, §6.2. */
#ifndef QD_MODEL_GGUF_CONFIG_H
#define QD_MODEL_GGUF_CONFIG_H

#include "model/gguf_set.h"

/* As transformers would write it: architectures, sizes, rope_theta and rope_scaling, token ids, torch_dtype; *out is a
 * new reference. QD_EUNSUPPORTED names an architecture, a scaling or a key that changes the result and is not run. */
qd_code qd_gguf_set_config(const qd_gguf_set *set, json_t **out, qd_error *err);
/* The same of one file. */
qd_code qd_gguf_config(const qd_gguf *file, json_t **out, qd_error *err);
/* The config.json that lies in a folder of GGUF files (new reference); NULL where `path` is a .gguf itself, or there is
 * none, or it does not name its class: what lies beside a GGUF file is often a mere stub. */
qd_code qd_gguf_config_beside(const char *path, json_t **out, qd_error *err);
/* The members for rotary positions: private to core/model (gguf_rope.c). `dimensions` is r. */
qd_code qd_gguf_rope(const qd_gguf_set *set, const char *arch, size_t dimensions, json_t *config, qd_error *err);
/* A float32 as the shortest decimal that gives it again. */
double qd_gguf_tidy(double value);

#endif
