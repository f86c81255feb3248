/* gguf_private.h: what the parser keeps of a file, shared with the typed access to its values.
 * Room: core/model, private to it. May use: base.
 * Threads: immutable after open. */
#ifndef QD_MODEL_GGUF_PRIVATE_H
#define QD_MODEL_GGUF_PRIVATE_H

#include "base/file.h"
#include "model/gguf.h"

typedef struct qd_gguf_entry {
    qd_gguf_value value; /* value.key is owned */
    char *text;          /* of a string, NUL-terminated and owned; NULL where it holds a NUL */
} qd_gguf_entry;

struct qd_gguf {
    qd_map map; /* empty when the bytes are borrowed */
    char *name;
    unsigned version;
    size_t header_size;
    qd_gguf_entry *keys; /* in the order of the file */
    size_t key_count;
    const qd_gguf_entry **sorted; /* by key */
    qd_tensor *tensors;           /* sorted by name */
    size_t tensor_count;
    char *tensor_names; /* QD_GGUF_TENSOR_NAME bytes each */
};

enum { QD_GGUF_TENSOR_NAME = 64 /* bytes, the closing NUL among them */ };

/* Bytes of an element as stored; 0 for strings, arrays and unknown types. */
size_t qd_gguf_value_size(unsigned type);
const char *qd_gguf_value_name(unsigned type); /* "uint32", ... */
/* The entry of a key; NULL when absent. */
const qd_gguf_entry *qd_gguf_entry_find(const qd_gguf *file, const char *key);

#endif
