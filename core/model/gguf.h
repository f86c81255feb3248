/* gguf.h: parse and map one GGUF file; trusts nothing in it.
 * Room: core/model. May use: base, linalg.
 * Threads: a qd_gguf is immutable after open.
 * Source: formats.md §6.1. Every rule is enforced; errors name file, key or tensor, and rule. */
#ifndef QD_MODEL_GGUF_H
#define QD_MODEL_GGUF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "model/safetensors.h"

/* Types of a value, as stored. */
typedef enum qd_gguf_value_type {
    QD_GGUF_U8,
    QD_GGUF_I8,
    QD_GGUF_U16,
    QD_GGUF_I16,
    QD_GGUF_U32,
    QD_GGUF_I32,
    QD_GGUF_F32,
    QD_GGUF_BOOL,
    QD_GGUF_STRING,
    QD_GGUF_ARRAY,
    QD_GGUF_U64,
    QD_GGUF_I64,
    QD_GGUF_F64,
    QD_GGUF_VALUE_TYPES
} qd_gguf_value_type;

/* A key and its value as bytes of the file (little-endian, any alignment). */
typedef struct qd_gguf_value {
    const char *key;
    unsigned type, element_type; /* qd_gguf_value_type; element_type = type where it is no array */
    uint64_t count;              /* elements of an array; 1 */
    const unsigned char *data;   /* the first element; a string is its u64 length and its bytes */
    size_t bytes;                /* of all elements */
} qd_gguf_value;

/* Bytes of the file: not NUL-terminated, may hold anything. */
typedef struct qd_gguf_string {
    const char *data;
    size_t length;
} qd_gguf_string;

typedef struct qd_gguf qd_gguf;

qd_code qd_gguf_open(const char *path, qd_gguf **out, qd_error *err);
/* The same over bytes in memory (borrowed until destroy); `name` is used in messages. */
qd_code qd_gguf_parse(const char *name, const unsigned char *bytes, size_t length, qd_gguf **out, qd_error *err);
void qd_gguf_destroy(qd_gguf *file); /* NULL is fine */

unsigned qd_gguf_version(const qd_gguf *file); /* 2 or 3 */
/* What a qd_gguf_open was given: for messages. */
const char *qd_gguf_borrow_name(const qd_gguf *file);

/* Tensors under the file's names, in order of their name; shape outermost first, as everywhere in this tree. */
size_t qd_gguf_count(const qd_gguf *file);
const qd_tensor *qd_gguf_at(const qd_gguf *file, size_t index);
const qd_tensor *qd_gguf_find(const qd_gguf *file, const char *name); /* NULL when absent */

/* Keys in the order of the file. */
size_t qd_gguf_key_count(const qd_gguf *file);
const qd_gguf_value *qd_gguf_key_at(const qd_gguf *file, size_t index);
const qd_gguf_value *qd_gguf_key(const qd_gguf *file, const char *key); /* NULL when absent */

/* ---- one value (gguf_values.c): a missing key gives `fallback`; a wrong type or range is QD_EFORMAT naming file, key,
 * what was found and what is wanted. ---- */
/* Any integer type, >= 0. */
qd_code qd_gguf_size(const qd_gguf *file, const char *key, size_t fallback, size_t *out, qd_error *err);
/* F32, F64 or any integer; finite. */
qd_code qd_gguf_real(const qd_gguf *file, const char *key, double fallback, double *out, qd_error *err);
/* BOOL, stored as 0 or 1. */
qd_code qd_gguf_bool(const qd_gguf *file, const char *key, bool fallback, bool *out, qd_error *err);
/* NUL-terminated and owned by the file; a string that holds a NUL is refused. */
qd_code qd_gguf_text(const qd_gguf *file, const char *key, const char *fallback, const char **out, qd_error *err);

/* ---- an array, into new memory (free()); a missing key gives *out NULL and *count 0 ---- */
qd_code qd_gguf_strings(const qd_gguf *file, const char *key, qd_gguf_string **out, size_t *out_count, qd_error *err);
/* F32, F64 or integers. */
qd_code qd_gguf_reals(const qd_gguf *file, const char *key, double **out, size_t *out_count, qd_error *err);
/* Any integer type, within int64. A value that is no array counts as an array of one. */
qd_code qd_gguf_integers(const qd_gguf *file, const char *key, int64_t **out, size_t *out_count, qd_error *err);

#endif
