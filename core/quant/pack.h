/* pack.h: codes to dense bit streams and back.
 * Room: core/quant. May use: base.
 * Threads: pure functions.
 * Source: formats.md §4.2: LSB-first per row, element i occupies bits i*b .. i*b+b-1 of 32-bit little-endian words,
 * tail bits 0. */
#ifndef QD_QUANT_PACK_H
#define QD_QUANT_PACK_H

#include <stddef.h>
#include <stdint.h>

/* Words for `count` elements of `bits` (1..8): ceil(count * bits / 32). */
size_t qd_pack_words(size_t count, unsigned bits);
void qd_pack_row(const uint8_t *codes, size_t count, unsigned bits, uint32_t *out_words);
void qd_unpack_row(const uint32_t *words, size_t count, unsigned bits, uint8_t *out_codes);

#endif
