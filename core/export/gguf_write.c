/* gguf_write.c: see gguf_write.h. */
#include "export/gguf_write.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"

enum { VERSION = 3, ALIGNMENT = 32, PENDING = 1 << 20 };

/* ---- little-endian pieces ---- */
static void put_number(qd_str *to, uint64_t value, size_t bytes)
{
    unsigned char out[8];
    for (size_t i = 0; i < bytes; i++)
        out[i] = (unsigned char)(value >> 8 * i & 0xff);
    qd_str_add_bytes(to, out, bytes);
}

static void put_text(qd_str *to, const char *text, size_t length)
{
    put_number(to, length, 8);
    qd_str_add_bytes(to, text, length);
}

static void put_float(qd_str *to, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_number(to, bits, 4);
}

static void put_key(qd_gguf_meta *meta, const char *key, qd_gguf_value_type type)
{
    put_text(&meta->bytes, key, strlen(key));
    put_number(&meta->bytes, type, 4);
    meta->count++;
}

void qd_gguf_meta_fini(qd_gguf_meta *meta)
{
    qd_str_fini(&meta->bytes);
    *meta = (qd_gguf_meta){ 0 };
}

void qd_gguf_meta_text(qd_gguf_meta *meta, const char *key, const char *text)
{
    put_key(meta, key, QD_GGUF_STRING);
    put_text(&meta->bytes, text, strlen(text));
}

void qd_gguf_meta_u32(qd_gguf_meta *meta, const char *key, uint32_t value)
{
    put_key(meta, key, QD_GGUF_U32);
    put_number(&meta->bytes, value, 4);
}

void qd_gguf_meta_f32(qd_gguf_meta *meta, const char *key, float value)
{
    put_key(meta, key, QD_GGUF_F32);
    put_float(&meta->bytes, value);
}

void qd_gguf_meta_bool(qd_gguf_meta *meta, const char *key, bool value)
{
    put_key(meta, key, QD_GGUF_BOOL);
    put_number(&meta->bytes, value ? 1 : 0, 1);
}

void qd_gguf_meta_array(qd_gguf_meta *meta, const char *key, qd_gguf_value_type type, uint64_t count)
{
    put_key(meta, key, QD_GGUF_ARRAY);
    put_number(&meta->bytes, type, 4);
    put_number(&meta->bytes, count, 8);
}

void qd_gguf_put_string(qd_gguf_meta *meta, const char *text, size_t length)
{
    put_text(&meta->bytes, text, length);
}

void qd_gguf_put_i32(qd_gguf_meta *meta, int32_t value)
{
    put_number(&meta->bytes, (uint32_t)value, 4);
}

void qd_gguf_put_f32(qd_gguf_meta *meta, float value)
{
    put_float(&meta->bytes, value);
}

void qd_gguf_meta_copy(qd_gguf_meta *meta, const qd_gguf_value *value)
{
    if (value->type == QD_GGUF_ARRAY)
        qd_gguf_meta_array(meta, value->key, (qd_gguf_value_type)value->element_type, value->count);
    else
        put_key(meta, value->key, (qd_gguf_value_type)value->type);
    qd_str_add_bytes(&meta->bytes, value->data, value->bytes);
}

qd_code qd_gguf_meta_check(const qd_gguf_meta *meta, qd_error *err)
{
    return qd_str_check(&meta->bytes, err);
}

/* ---- the file ---- */
uint64_t qd_gguf_entry_bytes(const qd_gguf_entry *entry)
{
    const qd_dtype *dtype = &entry->type->dtype;
    uint64_t elements = 1;
    for (size_t i = 0; i < entry->rank; i++)
        elements *= entry->shape[i];
    return dtype->block > 0 ? elements / dtype->block * dtype->block_bytes : elements * (dtype->bits / 8);
}

static size_t padding(uint64_t bytes)
{
    return (size_t)((ALIGNMENT - bytes % ALIGNMENT) % ALIGNMENT);
}

static void put_padding(qd_str *to, uint64_t bytes)
{
    static const char zeros[ALIGNMENT];
    qd_str_add_bytes(to, zeros, padding(bytes));
}

static void put_entry(qd_str *to, const qd_gguf_entry *entry, uint64_t offset)
{
    put_text(to, entry->name, strlen(entry->name));
    put_number(to, entry->rank, 4);
    for (size_t i = entry->rank; i-- > 0;)
        put_number(to, entry->shape[i], 8);
    put_number(to, entry->type->id, 4);
    put_number(to, offset, 8);
}

static void put_header(qd_gguf_writer *w, const qd_gguf_meta *meta)
{
    uint64_t offset = 0;
    qd_str *to = &w->pending;
    qd_str_add_bytes(to, "GGUF", 4);
    put_number(to, VERSION, 4);
    put_number(to, w->count, 8);
    put_number(to, meta->count, 8);
    qd_str_add_bytes(to, qd_str_borrow(&meta->bytes), meta->bytes.length);
    for (size_t i = 0; i < w->count; i++) {
        uint64_t bytes = qd_gguf_entry_bytes(&w->entries[i]);
        put_entry(to, &w->entries[i], offset);
        offset += bytes + padding(bytes);
    }
    put_padding(to, to->length);
}

static qd_code flush(qd_gguf_writer *w, qd_error *err)
{
    qd_code code = qd_str_check(&w->pending, err);
    if (code == QD_OK)
        code = qd_write_all(w->fd, qd_str_borrow(&w->pending), w->pending.length, err);
    qd_str_clear(&w->pending);
    return code == QD_OK ? QD_OK : qd_within(err, code, "'%s'", w->path);
}

/* The next tensor that has data. */
static void begin_tensor(qd_gguf_writer *w)
{
    while (w->current < w->count && (w->left = qd_gguf_entry_bytes(&w->entries[w->current])) == 0)
        w->current++;
}

qd_code qd_gguf_writer_init(qd_gguf_writer *writer, const char *path, const qd_gguf_meta *meta,
                            const qd_gguf_entry *entries, size_t count, qd_error *err)
{
    *writer = (qd_gguf_writer){ .fd = -1, .entries = entries, .count = count };
    qd_code code = qd_gguf_meta_check(meta, err);
    if (code == QD_OK)
        code = qd_dup(path, &writer->path, err);
    if (code != QD_OK)
        return code;
    writer->temporary = qd_path_temporary(path);
    if (writer->temporary == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    writer->fd = open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (writer->fd < 0)
        return qd_fail_errno(err, "create '%s'", writer->temporary);
    put_header(writer, meta);
    begin_tensor(writer);
    return flush(writer, err);
}

qd_code qd_gguf_writer_add(qd_gguf_writer *writer, const void *bytes, size_t length, qd_error *err)
{
    if (length == 0)
        return QD_OK;
    assert(writer->current < writer->count && length <= writer->left);
    /* A large piece goes straight to the file; copying it would need its size again. */
    if (writer->pending.length + length > PENDING) {
        qd_code code = flush(writer, err);
        if (code == QD_OK && length > PENDING)
            code = qd_write_all(writer->fd, bytes, length, err);
        if (code != QD_OK)
            return code;
    }
    if (length <= PENDING)
        qd_str_add_bytes(&writer->pending, bytes, length);
    writer->left -= length;
    if (writer->left == 0) {
        put_padding(&writer->pending, qd_gguf_entry_bytes(&writer->entries[writer->current]));
        writer->current++;
        begin_tensor(writer);
    }
    return qd_str_check(&writer->pending, err);
}

qd_code qd_gguf_writer_finish(qd_gguf_writer *writer, qd_error *err)
{
    assert(writer->current == writer->count);
    qd_code code = flush(writer, err);
    if (code == QD_OK && (QD_FAULT_FAILS("gguf.sync") || fsync(writer->fd) != 0))
        code = qd_fail_errno(err, "fsync '%s'", writer->temporary);
    if (code == QD_OK)
        code = qd_file_rename(writer->temporary, writer->path, err);
    if (code == QD_OK) {
        free(writer->temporary);
        writer->temporary = NULL;
    }
    return code;
}

void qd_gguf_writer_fini(qd_gguf_writer *writer)
{
    if (writer->fd >= 0 && writer->path != NULL)
        close(writer->fd);
    if (writer->temporary != NULL && writer->fd >= 0)
        unlink(writer->temporary);
    free(writer->temporary);
    free(writer->path);
    qd_str_fini(&writer->pending);
    *writer = (qd_gguf_writer){ .fd = -1 };
}
