/* shards.h: the weight files of a folder as one set of named tensors.
 * Room: core/model, private to it. May use: base, jansson.
 * Threads: read-only after open.
 * Source: formats.md §1.4. */
#ifndef QD_MODEL_SHARDS_H
#define QD_MODEL_SHARDS_H

#include "model/safetensors.h"

typedef struct qd_shards {
    qd_safetensors **files;
    char **names; /* bare file names */
    size_t file_count;
    const qd_tensor **tensors; /* sorted by name */
    size_t tensor_count;
    char **warnings;
    size_t warning_count;
} qd_shards;

/* model.safetensors, or model.safetensors.index.json with its shards; the single file wins where both are. */
qd_code qd_shards_open(const char *dir, qd_shards *out, qd_error *err);
void qd_shards_fini(qd_shards *shards);
const qd_tensor *qd_shards_find(const qd_shards *shards, const char *name);

#endif
