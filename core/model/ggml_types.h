/* ggml_types.h: table of the element types of a GGUF file: ids, file types, blocks, and their decoding.
 * Room: core/model. May use: base, linalg.
 * Threads: constant tables.
 * Source: formats.md §6.1, §6.5. */
#ifndef QD_MODEL_GGML_TYPES_H
#define QD_MODEL_GGML_TYPES_H

#include <stdint.h>

#include "model/dtype.h"

#define QD_GGML_NO_FILE_TYPE UINT32_MAX /* no general.file_type stands for a file of it */

typedef struct qd_ggml_type {
    uint32_t id;        /* in a tensor's entry */
    uint32_t file_type; /* general.file_type of a file whose weights are of this type */
    qd_dtype dtype;     /* "Q4_K", "F32": its to_floats gives bit for bit what ggml's own decoder gives */
} qd_ggml_type;

const qd_ggml_type *qd_ggml_type_at(size_t index);        /* NULL past the end */
const qd_ggml_type *qd_ggml_type_find(uint32_t id);       /* NULL for unknown */
const qd_ggml_type *qd_ggml_type_named(const char *name); /* NULL for unknown */
/* The name of a type that exists and has no row here; NULL for others. */
const char *qd_ggml_type_unread(uint32_t id);
/* How a tensor of the type is read: the row of dtype.h for types that both know, so that rows compare by address. */
const qd_dtype *qd_ggml_type_dtype(const qd_ggml_type *type);

#endif
