/* mutate.c: see mutate.h. A case is one seed with one to eight changes: blind ones (bits, pieces), and ones that know that these files are
 * made of little-endian integers and of JSON. */
#include "tests/hostile/mutate.h"

#include <stdio.h>
#include <string.h>

typedef struct mutation {
    const mutate_seed *seeds;
    size_t count;
    uint64_t state;
    uint8_t *bytes;
    size_t head, size; /* bytes[0, head) stay */
} mutation;

/* splitmix64 */
static uint64_t next(mutation *m)
{
    uint64_t z = (m->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t below(mutation *m, size_t limit)
{
    return limit == 0 ? 0 : (size_t)(next(m) % limit);
}

/* Mostly short. */
static size_t some_length(mutation *m, size_t limit)
{
    size_t most = (size_t)1 << below(m, 13);
    return below(m, (most < limit ? most : limit) + 1);
}

static size_t place(mutation *m)
{
    return m->head + below(m, m->size - m->head);
}

/* bytes[at, at + old) become `length` bytes of `from`; what does not fit is left out. */
static void replace(mutation *m, size_t at, size_t old, const void *from, size_t length)
{
    uint8_t copy[4096];
    length = length > sizeof copy ? sizeof copy : length;
    if (m->size - old + length > MUTATE_MOST)
        return;
    memcpy(copy, from, length); /* it may lie in bytes */
    memmove(m->bytes + at + length, m->bytes + at + old, m->size - at - old);
    memcpy(m->bytes + at, copy, length);
    m->size = m->size - old + length;
}

static void flip_bit(mutation *m)
{
    m->bytes[place(m)] ^= (uint8_t)(1u << below(m, 8));
}

static void set_byte(mutation *m)
{
    static const uint8_t bytes[] = { 0, 1, 0x7f, 0x80, 0xff, '"', '\\', '{', '}', '[', ']', ',', ':', '-', ' ', 0xed };
    m->bytes[place(m)] = below(m, 2) == 0 ? bytes[below(m, sizeof bytes)] : (uint8_t)next(m);
}

static void cut_end(mutation *m)
{
    m->size = place(m);
}

static void cut_piece(mutation *m)
{
    size_t at = place(m);
    replace(m, at, some_length(m, m->size - at), "", 0);
}

static void repeat_piece(mutation *m)
{
    size_t from = place(m);
    replace(m, place(m), 0, m->bytes + from, some_length(m, m->size - from));
}

static void add_random(mutation *m)
{
    uint8_t more[64];
    for (size_t i = 0; i < sizeof more; i++)
        more[i] = (uint8_t)next(m);
    replace(m, place(m), 0, more, below(m, sizeof more));
}

static void splice(mutation *m)
{
    const mutate_seed *other = &m->seeds[below(m, m->count)];
    size_t from = below(m, other->size), at = place(m);
    size_t old = below(m, 2) == 0 ? 0 : some_length(m, m->size - at);
    replace(m, at, old, other->bytes + from, some_length(m, other->size - from));
}

/* A little-endian number of 1, 2, 4 or 8 bytes. */
static void set_integer(mutation *m)
{
    const uint64_t values[] = { 0,           1,
                                2,           3,
                                31,          33,
                                255,         256,
                                65535,       1u << 20,
                                INT32_MAX,   1u << 31,
                                UINT32_MAX,  (uint64_t)1 << 32,
                                INT64_MAX,   (uint64_t)1 << 63,
                                UINT64_MAX,  UINT64_MAX - 7,
                                m->size,     m->size - 8,
                                m->size + 1, 0x7ff0000000000000,
                                0x7fc00000,  0xff800000 };
    uint64_t value = values[below(m, sizeof values / sizeof *values)];
    size_t width = (size_t)1 << below(m, 4), at = place(m);
    if (m->size - m->head < width)
        return;
    at = at > m->size - width ? m->size - width : at;
    if (below(m, 4) == 0) { /* a step from what is there */
        memcpy(&value, m->bytes + at, width);
        value += below(m, 2) == 0 ? 1 : (uint64_t)-1;
    }
    memcpy(m->bytes + at, &value, width);
}

static size_t span(const mutation *m, size_t at, const char *set)
{
    size_t length = 0;
    while (at + length < m->size && m->bytes[at + length] != 0 && strchr(set, m->bytes[at + length]) != NULL)
        length++;
    return length;
}

/* The first byte of `set` from `at` on, from the head on when there is none behind; the size when there is none at all. */
static size_t seek(const mutation *m, size_t at, const char *set)
{
    for (size_t i = 0; i < m->size - m->head; i++) {
        size_t here = m->head + (at - m->head + i) % (m->size - m->head);
        if (m->bytes[here] != 0 && strchr(set, m->bytes[here]) != NULL)
            return here;
    }
    return m->size;
}

static void set_decimal(mutation *m)
{
    static const char *const numbers[] = { "0",    "1",     "-1",         "2",          "3",
                                           "7",    "64",    "65536",      "2147483647", "2147483648",
                                           "-0",   "0.0",   "4294967295", "4294967296", "9223372036854775807",
                                           "1e9",  "1e999", "-1e308",     "1e-320",     "9223372036854775808",
                                           "4096", "NaN",   "100000",     "1000000",    "18446744073709551615",
                                           "0.5",  "1.5",   "3.0",        "1e4" };
    size_t at = seek(m, place(m), "0123456789");
    const char *text = numbers[below(m, sizeof numbers / sizeof *numbers)];
    if (at < m->size)
        replace(m, at, span(m, at, "0123456789.eE+-"), text, strlen(text));
}

/* What stands behind a colon or in a list becomes something else. */
static void set_value(mutation *m)
{
    static const char *const values[] = {
        "null",  "true",  "false",  "[]",          "{}",          "\"\"",
        "[[]]",  "[0]",   "[null]", "\"\\u0000\"", "\"\\ud800\"", "{\"a\":{}}",
        "\"x\"", "[1,2]", "-1",     "1e400",       "\"../../x\"", "[[[[[[[[[[[[]]]]]]]]]]]]"
    };
    size_t at = seek(m, place(m), ":[,");
    if (at >= m->size)
        return;
    at++;
    at += span(m, at, " \n");
    size_t end = at;
    int depth = 0;
    for (; end < m->size && end - at < 4096; end++) {
        depth += m->bytes[end] == '[' || m->bytes[end] == '{';
        depth -= m->bytes[end] == ']' || m->bytes[end] == '}';
        if (depth < 0 || (depth == 0 && m->bytes[end] == ','))
            break;
    }
    const char *text = values[below(m, sizeof values / sizeof *values)];
    replace(m, at, end - at, text, strlen(text));
}

/* A member of an object once more, or moved. */
static void repeat_member(mutation *m)
{
    size_t from = seek(m, place(m), ","),
           to = from < m->size ? seek(m, from + 1 < m->size ? from + 1 : m->head, ",}]") : 0;
    size_t at = seek(m, place(m), ",}]");
    if (from < to && at < m->size)
        replace(m, at, 0, m->bytes + from, to - from);
}

static void exchange(mutation *m)
{
    size_t width = (size_t)1 << below(m, 5);
    if (m->size - m->head < 2 * width)
        return;
    size_t a = place(m), b = place(m);
    a = a > m->size - width ? m->size - width : a;
    b = b > m->size - width ? m->size - width : b;
    for (size_t i = 0; i < width; i++) {
        uint8_t byte = m->bytes[a + i];
        m->bytes[a + i] = m->bytes[b + i];
        m->bytes[b + i] = byte;
    }
}

static void (*const changes[])(mutation *) = {
    flip_bit,    flip_bit,    set_byte,    set_byte,  cut_end,       cut_piece, repeat_piece,
    add_random,  splice,      set_integer, set_value, set_integer,   exchange,  set_decimal,
    set_decimal, set_decimal, set_value,   set_value, repeat_member,
};

size_t mutate(const mutate_seed *seeds, size_t count, mutate_head head, uint64_t number, uint8_t *out)
{
    mutation m = { .seeds = seeds, .count = count, .state = number * 0xd1342543de82ef95u + 1, .bytes = out };
    const mutate_seed *seed = &seeds[below(&m, count)];
    m.size = seed->size > MUTATE_MOST ? MUTATE_MOST : seed->size;
    memcpy(out, seed->bytes, m.size);
    const uint8_t *line = head == MUTATE_BEHIND_LINE && m.size > 0 ? memchr(out, '\n', m.size) : NULL;
    m.head = line == NULL ? 0 : (size_t)(line - out) + 1;
    size_t times = 1 + below(&m, 1u << below(&m, 4));
    for (size_t i = 0; i < times && i < 8; i++)
        if (m.size > m.head)
            changes[below(&m, sizeof changes / sizeof *changes)](&m);
        else if (i == 0)
            add_random(&m);
    return m.size;
}
