/* gguf_bytes.h: GGUF files that tests put together byte by byte (formats.md §6.1), without a line of what reads them. */
#ifndef QD_TESTS_GGUF_BYTES_H
#define QD_TESTS_GGUF_BYTES_H

#include "check.h"

#include "base/str.h"

/* Keys as they come; gguf_finish puts the header in front. Zero-initialize; qd_str_fini(&g.keys). */
typedef struct gguf_bytes {
    qd_str keys;
    uint64_t count;
} gguf_bytes;

static inline void gguf_raw(gguf_bytes *g, const void *bytes, size_t length)
{
    qd_str_add_bytes(&g->keys, bytes, length);
}

static inline void gguf_u32(gguf_bytes *g, uint32_t value)
{
    gguf_raw(g, &value, sizeof value);
}

static inline void gguf_u64(gguf_bytes *g, uint64_t value)
{
    gguf_raw(g, &value, sizeof value);
}

static inline void gguf_string(gguf_bytes *g, const char *text, size_t length)
{
    gguf_u64(g, length);
    gguf_raw(g, text, length);
}

static inline void gguf_key(gguf_bytes *g, const char *key, uint32_t type)
{
    gguf_string(g, key, strlen(key));
    gguf_u32(g, type);
    g->count++;
}

static inline void gguf_put_u32(gguf_bytes *g, const char *key, uint32_t value)
{
    gguf_key(g, key, 4);
    gguf_u32(g, value);
}

static inline void gguf_put_f32(gguf_bytes *g, const char *key, float value)
{
    gguf_key(g, key, 6);
    gguf_raw(g, &value, sizeof value);
}

static inline void gguf_put_bool(gguf_bytes *g, const char *key, unsigned char value)
{
    gguf_key(g, key, 7);
    gguf_raw(g, &value, 1);
}

static inline void gguf_put_text(gguf_bytes *g, const char *key, const char *text)
{
    gguf_key(g, key, 8);
    gguf_string(g, text, strlen(text));
}

/* The elements follow: gguf_string, gguf_u32 or gguf_raw. */
static inline void gguf_put_array(gguf_bytes *g, const char *key, uint32_t type, size_t count)
{
    gguf_key(g, key, 9);
    gguf_u32(g, type);
    gguf_u64(g, count);
}

static inline void gguf_put_texts(gguf_bytes *g, const char *key, const char *const *texts, size_t count)
{
    gguf_put_array(g, key, 8, count);
    for (size_t i = 0; i < count; i++)
        gguf_string(g, texts[i], strlen(texts[i]));
}

/* The whole file: no tensors. */
static inline void gguf_finish(const gguf_bytes *g, qd_str *out)
{
    const uint32_t version = 3;
    const uint64_t tensors = 0;
    qd_str_add_bytes(out, "GGUF", 4);
    qd_str_add_bytes(out, &version, sizeof version);
    qd_str_add_bytes(out, &tensors, sizeof tensors);
    qd_str_add_bytes(out, &g->count, sizeof g->count);
    qd_str_add_bytes(out, g->keys.data, g->keys.length);
    while (out->length % 32 != 0)
        qd_str_add_bytes(out, "", 1);
    assert_false(out->failed || g->keys.failed);
}

static inline void gguf_fini(gguf_bytes *g)
{
    qd_str_fini(&g->keys);
}

#endif
