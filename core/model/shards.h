/* shards.h: the weight files of a folder as one set of named tensors.
 * Room: core/model, private to it (but for qd_folder_file). May use: base, linalg, jansson.
 * Threads: read-only after open.
 * Source: formats.md §1.4, §6.1. */
#ifndef QD_MODEL_SHARDS_H
#define QD_MODEL_SHARDS_H

#include "model/gguf_set.h"
#include "model/safetensors.h"

typedef struct qd_shards {
    qd_safetensors **files; /* NULL where the weights are GGUF */
    qd_gguf_set gguf;       /* of count 0 where they are safetensors */
    char **names;           /* bare file names */
    size_t file_count;
    qd_tensor *own;   /* every tensor, as the model sees it, */
    size_t *own_file; /* and the file it lies in */
    size_t own_count;
    char **renamed;            /* names of `own` where they are not the file's; NULL otherwise */
    const qd_tensor **tensors; /* into own, sorted by name */
    size_t tensor_count;
    unsigned char *used; /* one a tensor of `tensors`: 1 once qd_shards_use found it */
    char **warnings;
    size_t warning_count;
} qd_shards;

/* model.safetensors, or model.safetensors.index.json with its shards, or the .gguf file or set; the first there wins.
 * A path that ends in .gguf is the file itself. */
qd_code qd_shards_open(const char *path, qd_shards *out, qd_error *err);
/* true when qd_shards_open would read GGUF there. */
bool qd_shards_are_gguf(const char *path);
void qd_shards_fini(qd_shards *shards);
/* The path (free()) of a file of the folder. QD_ENOTFOUND when there is none; QD_EFORMAT when a symbolic link leads
 * out of the folder or in circles, or it is no regular file (formats.md §1.2 rule 11). */
qd_code qd_folder_file(const char *dir, const char *name, char **out_path, qd_error *err);
const qd_tensor *qd_shards_find(const qd_shards *shards, const char *name);
/* The index of the file a tensor of the set lies in. */
size_t qd_shards_file_of(const qd_shards *shards, const qd_tensor *tensor);
/* The set no longer lists this tensor; what points at it may go on. */
void qd_shards_drop(qd_shards *shards, const char *name);
/* Other tensors in the place of all there were, none of them renamed before: takes the lists over and leaves zeros.
 * renamed: NULL, or a name, of each. */
qd_code qd_shards_replace(qd_shards *shards, qd_tensor **own, size_t **own_file, char ***renamed, size_t *count,
                          qd_error *err);
/* A matrix that is stored as its transpose is seen as what it stands for; what is missing or no matrix stays as it is.
 * QD_EUNSUPPORTED for numbers that come in blocks or with scales. */
qd_code qd_shards_transpose(qd_shards *shards, const char *name, qd_error *err);
/* As find, and remembers that the tensor has a use. */
const qd_tensor *qd_shards_use(qd_shards *shards, const char *name);
/* One warning for tensors that nothing used, of names that begin with `within` (a wrapper's other parts are no concern
 * of the text model), but for those that end in one of the suffixes (NULL-terminated). */
qd_code qd_shards_warn_unused(qd_shards *shards, const char *within, const char *const *suffixes, qd_error *err);

#endif
