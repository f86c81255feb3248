/* peek_header.c: see peek_header.h. */
#include "fetch/peek_header.h"

#include <stdbool.h>
#include <string.h>

/* A walk over a header of which the end may not be here yet. */
typedef struct walk {
    const unsigned char *bytes;
    size_t have;
    uint64_t at;   /* what was walked over */
    uint64_t want; /* bytes in all that the next step needs; 0 = it is there */
    bool foreign;  /* no header of this kind */
} walk;

static bool step(walk *w, uint64_t bytes)
{
    if (w->foreign || w->want > 0)
        return false;
    if (bytes > QD_PEEK_HEADER_LIMIT || w->at + bytes > QD_PEEK_HEADER_LIMIT) {
        w->foreign = true;
        return false;
    }
    if (w->at + bytes > w->have) {
        w->want = w->at + bytes;
        return false;
    }
    w->at += bytes;
    return true;
}

/* Little-endian, as the files are. */
static uint64_t number(walk *w, size_t bytes)
{
    uint64_t value = 0;
    if (!step(w, bytes))
        return 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)w->bytes[w->at - bytes + i] << (8 * i);
    return value;
}

static bool going(const walk *w)
{
    return !w->foreign && w->want == 0;
}

static uint64_t result(const walk *w)
{
    if (w->foreign)
        return w->have;
    return w->want > 0 ? w->want : w->at;
}

uint64_t qd_header_of_safetensors(const unsigned char *bytes, size_t have)
{
    walk w = { .bytes = bytes, .have = have };
    step(&w, number(&w, 8));
    return result(&w);
}

static void string(walk *w)
{
    step(w, number(w, 8));
}

enum { TYPE_STRING = 8, TYPE_ARRAY = 9 };
/* Bytes of a value by its type: u8, i8, u16, i16, u32, i32, f32, bool, string, array, u64, i64, f64. */
static const unsigned char sizes[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };

static void values(walk *w, uint64_t type, uint64_t count)
{
    if (type == TYPE_STRING) {
        for (uint64_t i = 0; i < count && going(w); i++)
            string(w);
        return;
    }
    if (type == TYPE_ARRAY || type >= sizeof sizes || count > QD_PEEK_HEADER_LIMIT) {
        w->foreign = true;
        return;
    }
    step(w, sizes[type] * count);
}

static void pair(walk *w)
{
    string(w);
    uint64_t type = number(w, 4), count = 1;
    if (going(w) && type == TYPE_ARRAY) {
        type = number(w, 4);
        count = number(w, 8);
    }
    if (going(w))
        values(w, type, count);
}

static void tensor(walk *w)
{
    string(w);
    uint64_t rank = number(w, 4);
    step(w, 8 * (rank > 8 ? 8 : rank) + 4 + 8); /* sizes, type, offset */
}

uint64_t qd_header_of_gguf(const unsigned char *bytes, size_t have)
{
    walk w = { .bytes = bytes, .have = have };
    if (have >= 4 && memcmp(bytes, "GGUF", 4) != 0)
        return have;
    step(&w, 4);
    uint64_t version = number(&w, 4), tensors = number(&w, 8), pairs = number(&w, 8);
    if (going(&w) && version != 2 && version != 3)
        return have;
    for (uint64_t i = 0; i < pairs && going(&w); i++)
        pair(&w);
    for (uint64_t i = 0; i < tensors && going(&w); i++)
        tensor(&w);
    return result(&w);
}
