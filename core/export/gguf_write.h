/* gguf_write.h: one GGUF v3 file: keys, entries of tensors, then their data in order, without ever holding more than a piece of it.
 * Room: core/export, private to it. May use: base, model.
 * Threads: a writer belongs to one thread.
 * Source: formats.md §6.1. The same calls give the same bytes. */
#ifndef QD_EXPORT_GGUF_WRITE_H
#define QD_EXPORT_GGUF_WRITE_H

#include "base/str.h"
#include "model/ggml_types.h"
#include "model/gguf.h"

/* Keys with their values, in the order they are added; a failed append is found by qd_gguf_meta_check. */
typedef struct qd_gguf_meta {
    qd_str bytes;
    uint64_t count;
} qd_gguf_meta;
void qd_gguf_meta_fini(qd_gguf_meta *meta);
void qd_gguf_meta_text(qd_gguf_meta *meta, const char *key, const char *text);
void qd_gguf_meta_u32(qd_gguf_meta *meta, const char *key, uint32_t value);
void qd_gguf_meta_f32(qd_gguf_meta *meta, const char *key, float value);
void qd_gguf_meta_bool(qd_gguf_meta *meta, const char *key, bool value);
/* An array: its `count` elements follow by qd_gguf_put_... */
void qd_gguf_meta_array(qd_gguf_meta *meta, const char *key, qd_gguf_value_type type, uint64_t count);
void qd_gguf_put_string(qd_gguf_meta *meta, const char *text, size_t length);
void qd_gguf_put_i32(qd_gguf_meta *meta, int32_t value);
void qd_gguf_put_f32(qd_gguf_meta *meta, float value);
/* As another file has it. */
void qd_gguf_meta_copy(qd_gguf_meta *meta, const qd_gguf_value *value);
qd_code qd_gguf_meta_check(const qd_gguf_meta *meta, qd_error *err);

enum { QD_GGUF_ENTRY_NAME = 64 /* with its NUL: llama.cpp's limit */, QD_GGUF_ENTRY_RANK = 4 };
typedef struct qd_gguf_entry {
    char name[QD_GGUF_ENTRY_NAME];
    const qd_ggml_type *type;
    size_t rank;
    uint64_t shape[QD_GGUF_ENTRY_RANK]; /* outermost first */
} qd_gguf_entry;
/* Bytes of its data. */
uint64_t qd_gguf_entry_bytes(const qd_gguf_entry *entry);

typedef struct qd_gguf_writer {
    char *path, *temporary; /* NULL once renamed */
    int fd;
    qd_str pending; /* not yet written */
    const qd_gguf_entry *entries;
    size_t count, current;
    uint64_t left; /* bytes that the current tensor still needs */
} qd_gguf_writer;
/* Writes everything before the data; entries are borrowed until fini. */
qd_code qd_gguf_writer_init(qd_gguf_writer *writer, const char *path, const qd_gguf_meta *meta,
                            const qd_gguf_entry *entries, size_t count, qd_error *err);
/* The next bytes of the tensors, in order of their entries: pieces may be of any size within a tensor. */
qd_code qd_gguf_writer_add(qd_gguf_writer *writer, const void *bytes, size_t length, qd_error *err);
/* All data there: fsync, and the file gets its name. */
qd_code qd_gguf_writer_finish(qd_gguf_writer *writer, qd_error *err);
/* Removes what was not finished. */
void qd_gguf_writer_fini(qd_gguf_writer *writer);

#endif
