/* shards.h: the weight files of a folder as one set of named tensors.
 * Room: core/model, private to it (but for qd_folder_file). May use: base, jansson.
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
    unsigned char *used; /* one a tensor: 1 once qd_shards_use found it */
    char **warnings;
    size_t warning_count;
} qd_shards;

/* model.safetensors, or model.safetensors.index.json with its shards; the single file wins where both are. */
qd_code qd_shards_open(const char *dir, qd_shards *out, qd_error *err);
void qd_shards_fini(qd_shards *shards);
/* The path (free()) of a file of the folder. QD_ENOTFOUND when there is none; QD_EFORMAT when a symbolic link leads
 * out of the folder or in circles, or it is no regular file (formats.md §1.2 rule 11). */
qd_code qd_folder_file(const char *dir, const char *name, char **out_path, qd_error *err);
const qd_tensor *qd_shards_find(const qd_shards *shards, const char *name);
/* As find, and remembers that the tensor has a use. */
const qd_tensor *qd_shards_use(qd_shards *shards, const char *name);
/* One warning for tensors that nothing used, but for names that end in one of the suffixes (NULL-terminated). */
qd_code qd_shards_warn_unused(qd_shards *shards, const char *const *suffixes, qd_error *err);

#endif
