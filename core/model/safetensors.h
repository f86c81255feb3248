/* safetensors.h: parse, map and write one file; trusts nothing in it.
 * Room: core/model. May use: base, linalg, jansson.
 * Threads: a qd_safetensors is immutable after open; a writer belongs to one thread.
 * Source: formats.md §1. Every rule of §1.2 is enforced; errors name file, tensor and rule. */
#ifndef QD_MODEL_SAFETENSORS_H
#define QD_MODEL_SAFETENSORS_H

#include <stdint.h>

#include "base/error.h"
#include "model/tensor.h"

enum { QD_HEADER_LIMIT = 16 << 20 /* bytes of JSON */ };

typedef struct qd_safetensors qd_safetensors;

qd_code qd_safetensors_open(const char *path, qd_safetensors **out, qd_error *err);
/* The same over bytes in memory (borrowed until destroy); `name` is used in messages. For the fuzzer and HTTP Range
 * readers. */
qd_code qd_safetensors_parse(const char *name, const unsigned char *bytes, size_t length, qd_safetensors **out,
                             qd_error *err);
void qd_safetensors_destroy(qd_safetensors *file); /* NULL is fine */

size_t qd_safetensors_count(const qd_safetensors *file);
/* Tensors in order of their name. */
const qd_tensor *qd_safetensors_at(const qd_safetensors *file, size_t index);
const qd_tensor *qd_safetensors_find(const qd_safetensors *file, const char *name); /* NULL when absent */
/* A string of __metadata__, NULL when absent. */
const char *qd_safetensors_metadata(const qd_safetensors *file, const char *key);

/* One tensor to be written: bytes already in the dtype's layout, borrowed until qd_safetensors_write returns. */
typedef struct qd_tensor_out {
    const char *name;
    const qd_dtype *dtype;
    size_t rank;
    uint64_t shape[QD_TENSOR_MAX_RANK];
    const void *data;
} qd_tensor_out;
/* Writes atomically (temporary name, fsync, rename), sorted as formats.md §1.3 says, {"format":"pt"} in __metadata__
 * beside the given pairs (keys[i] -> values[i]). */
qd_code qd_safetensors_write(const char *path, const qd_tensor_out *tensors, size_t count, const char *const *keys,
                             const char *const *values, size_t pairs, qd_error *err);

#endif
