/* gguf_file.h: GGUF files with tensors that tests put together byte by byte (formats.md §6.1), without a line of what
 * reads them.
 * Room: tests. May use: base.
 * Threads: one. */
#ifndef QD_TESTS_GGUF_FILE_H
#define QD_TESTS_GGUF_FILE_H

#include "check.h"

#include "base/str.h"

/* Zero-initialize; gguf_file_finish makes the bytes. What is not 0 in the second row goes into the header as it is. */
typedef struct gguf_file {
    qd_str keys, infos, data;
    uint64_t key_count, tensor_count;
    uint64_t claimed_keys, claimed_tensors;
    uint32_t version, alignment; /* 0 = 3, 32 */
} gguf_file;

static inline void gf_u32(qd_str *s, uint32_t value)
{
    qd_str_add_bytes(s, &value, sizeof value);
}

static inline void gf_u64(qd_str *s, uint64_t value)
{
    qd_str_add_bytes(s, &value, sizeof value);
}

static inline void gf_string(qd_str *s, const char *text)
{
    gf_u64(s, strlen(text));
    qd_str_add(s, text);
}

static inline void gf_key(gguf_file *g, const char *key, uint32_t type)
{
    gf_string(&g->keys, key);
    gf_u32(&g->keys, type);
    g->key_count++;
}

static inline void gf_put_u32(gguf_file *g, const char *key, uint32_t value)
{
    gf_key(g, key, 4);
    gf_u32(&g->keys, value);
}

static inline void gf_put_f32(gguf_file *g, const char *key, float value)
{
    gf_key(g, key, 6);
    qd_str_add_bytes(&g->keys, &value, sizeof value);
}

static inline void gf_put_bool(gguf_file *g, const char *key, unsigned char value)
{
    gf_key(g, key, 7);
    qd_str_add_bytes(&g->keys, &value, 1);
}

static inline void gf_put_text(gguf_file *g, const char *key, const char *text)
{
    gf_key(g, key, 8);
    gf_string(&g->keys, text);
}

/* The elements follow. */
static inline void gf_put_array(gguf_file *g, const char *key, uint32_t type, uint64_t count)
{
    gf_key(g, key, 9);
    gf_u32(&g->keys, type);
    gf_u64(&g->keys, count);
}

static inline void gf_pad(qd_str *s, size_t alignment)
{
    while (s->length % alignment != 0)
        qd_str_add_bytes(s, "", 1);
}

/* sizes: innermost first, as the file has them. The offset is the padded end of what came before, plus `shift`. */
static inline void gf_tensor_at(gguf_file *g, const char *name, uint32_t type, uint32_t rank, const uint64_t *sizes,
                                const void *bytes, size_t length, uint64_t shift)
{
    gf_pad(&g->data, g->alignment == 0 ? 32 : g->alignment);
    gf_string(&g->infos, name);
    gf_u32(&g->infos, rank);
    for (uint32_t i = 0; i < rank; i++)
        gf_u64(&g->infos, sizes[i]);
    gf_u32(&g->infos, type);
    gf_u64(&g->infos, g->data.length + shift);
    qd_str_add_bytes(&g->data, bytes, length);
    g->tensor_count++;
}

/* An outer x inner matrix, or a vector of `inner` elements where outer is 0. */
static inline void gf_tensor(gguf_file *g, const char *name, uint32_t type, uint64_t outer, uint64_t inner,
                             const void *bytes, size_t length)
{
    const uint64_t sizes[] = { inner, outer };
    gf_tensor_at(g, name, type, outer == 0 ? 1 : 2, sizes, bytes, length, 0);
}

/* A heap block of exactly the file's size, so that a sanitizer sees reads past the end; empties g. */
static inline unsigned char *gguf_file_finish(gguf_file *g, size_t *out_size)
{
    qd_str out = { 0 };
    qd_str_add(&out, "GGUF");
    gf_u32(&out, g->version == 0 ? 3 : g->version);
    gf_u64(&out, g->claimed_tensors == 0 ? g->tensor_count : g->claimed_tensors);
    gf_u64(&out, g->claimed_keys == 0 ? g->key_count : g->claimed_keys);
    qd_str_add_bytes(&out, g->keys.data, g->keys.length);
    qd_str_add_bytes(&out, g->infos.data, g->infos.length);
    gf_pad(&out, g->alignment == 0 ? 32 : g->alignment);
    qd_str_add_bytes(&out, g->data.data, g->data.length);
    assert_false(out.failed || g->keys.failed || g->infos.failed || g->data.failed);
    unsigned char *bytes = malloc(out.length);
    memcpy(bytes, out.data, out.length);
    *out_size = out.length;
    qd_str_fini(&out);
    qd_str_fini(&g->keys);
    qd_str_fini(&g->infos);
    qd_str_fini(&g->data);
    *g = (gguf_file){ 0 };
    return bytes;
}

#endif
