/* pack.c: see pack.h. */
#include "quant/pack.h"

#include <assert.h>

size_t qd_pack_words(size_t count, unsigned bits)
{
    assert(bits >= 1 && bits <= 8);
    return count / 32 * bits + (count % 32 * bits + 31) / 32;
}

void qd_pack_row(const uint8_t *codes, size_t count, unsigned bits, uint32_t *out_words)
{
    uint64_t pending = 0;
    unsigned held = 0; /* bits in `pending`, below 32 between elements */
    const uint64_t mask = (UINT64_C(1) << bits) - 1;
    assert(bits >= 1 && bits <= 8);
    for (size_t i = 0; i < count; i++) {
        pending |= (codes[i] & mask) << held;
        held += bits;
        if (held >= 32) {
            *out_words++ = (uint32_t)pending;
            pending >>= 32;
            held -= 32;
        }
    }
    if (held > 0)
        *out_words = (uint32_t)pending;
}

void qd_unpack_row(const uint32_t *words, size_t count, unsigned bits, uint8_t *out_codes)
{
    uint64_t pending = 0;
    unsigned held = 0;
    const uint64_t mask = (UINT64_C(1) << bits) - 1;
    assert(bits >= 1 && bits <= 8);
    for (size_t i = 0; i < count; i++) {
        if (held < bits) {
            pending |= (uint64_t)*words++ << held;
            held += 32;
        }
        out_codes[i] = (uint8_t)(pending & mask);
        pending >>= bits;
        held -= bits;
    }
}
