/* shard_writer.h: tensors to safetensors files of bounded size, with an index when there is more than one.
 * Room: core/export, private to it. May use: base, model.
 * Threads: one thread owns a writer.
 * Source: formats.md §1.3, §1.4. */
#ifndef QD_EXPORT_SHARD_WRITER_H
#define QD_EXPORT_SHARD_WRITER_H

#include <jansson.h>

#include "model/safetensors.h"

typedef struct qd_shard_writer {
    const char *dir;
    qd_tensor_out *tensors; /* of the shard in the making; names owned */
    void **owned;           /* buffers to free with it; NULL where borrowed */
    size_t count, capacity, owned_capacity;
    uint64_t bytes, total_bytes, shard_limit;
    size_t shards;
    json_t *map; /* tensor -> shard number */
} qd_shard_writer;

/* shard_limit 0 = 1 GiB. `dir` is borrowed. */
qd_code qd_shard_writer_init(qd_shard_writer *writer, const char *dir, uint64_t shard_limit, qd_error *err);
void qd_shard_writer_fini(qd_shard_writer *writer);
/* A stored tensor, bit for bit; its bytes are borrowed until the shard is written. What safetensors has no type or
 * order for (blocks of GGUF files, interleaved rows, numbers times scales) becomes the same values in F32. */
qd_code qd_shard_writer_copy(qd_shard_writer *writer, const qd_tensor *tensor, qd_error *err);
/* A new tensor; `data` (heap) is the writer's, even on failure. */
qd_code qd_shard_writer_take(qd_shard_writer *writer, const char *name, const char *dtype, size_t rank,
                             const uint64_t *shape, void *data, qd_error *err);
/* What comes next goes into another shard. */
qd_code qd_shard_writer_cut(qd_shard_writer *writer, qd_error *err);
/* Writes what is left; names the files as loaders expect them. */
qd_code qd_shard_writer_finish(qd_shard_writer *writer, qd_error *err);

#endif
