/* gguf_set.h: the GGUF file or files of one model, opened together: a path, or a folder that holds one set.
 * Room: core/model. May use: base, linalg, jansson.
 * Threads: immutable after open.
 * Source: formats.md §6.1 "Splits". */
#ifndef QD_MODEL_GGUF_SET_H
#define QD_MODEL_GGUF_SET_H

#include <jansson.h>

#include "model/gguf.h"
#include "model/gguf_names.h"

/* Files in the order of their numbers; the first has the metadata. */
typedef struct qd_gguf_set {
    char *dir;
    qd_gguf **files;
    char **names; /* bare */
    size_t count;
} qd_gguf_set;

/* true for a path that ends in .gguf and is no folder; whether the file is there is another matter. */
bool qd_gguf_is_path(const char *path);
/* The bare names of the one set in a folder, in order; release by qd_names_free. QD_ENOTFOUND when it holds no .gguf
 * file, QD_EFORMAT when it holds several that are no set, or not all of a set. */
qd_code qd_gguf_set_list(const char *dir, char ***out_names, size_t *out_count, qd_error *err);
/* A .gguf file (with the others of its set: name-00001-of-00003.gguf), or a folder with one set. */
qd_code qd_gguf_set_open(const char *path, qd_gguf_set *out, qd_error *err);
void qd_gguf_set_fini(qd_gguf_set *set);

/* A tensor by the file's name, in whichever file; NULL when absent. */
const qd_tensor *qd_gguf_set_find(const qd_gguf_set *set, const char *name);
/* The row of the architecture; QD_EUNSUPPORTED lists the supported ones. */
qd_code qd_gguf_set_arch(const qd_gguf_set *set, const qd_gguf_arch **out, qd_error *err);

#endif
