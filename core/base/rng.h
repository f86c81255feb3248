/* rng.h: counter-based random numbers: a pure function of (key, counter), so nothing depends on threads or order.
 * Room: core/base. May use: libc.
 * Threads: any; there is no state.
 * Source: the splitmix64 finalizer (Steele, Lea, Flood 2014) over a mixed key. */
#ifndef QD_BASE_RNG_H
#define QD_BASE_RNG_H

#include <stdint.h>

static inline uint64_t qd_rng_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* A key from up to three parts: (seed, layer, row). */
static inline uint64_t qd_rng_key(uint64_t seed, uint64_t a, uint64_t b)
{
    uint64_t key = qd_rng_mix(seed + UINT64_C(0x9e3779b97f4a7c15));
    key = qd_rng_mix(key ^ (a + UINT64_C(0x9e3779b97f4a7c15)));
    return qd_rng_mix(key ^ (b + UINT64_C(0x6a09e667f3bcc909)));
}

/* 64 random bits for `counter` (a column, an index) under `key`. */
static inline uint64_t qd_rng_bits(uint64_t key, uint64_t counter)
{
    return qd_rng_mix(key + (counter + 1) * UINT64_C(0x9e3779b97f4a7c15));
}

/* Uniform in [0, 1), 53 bits. */
static inline double qd_rng_uniform(uint64_t key, uint64_t counter)
{
    return (double)(qd_rng_bits(key, counter) >> 11) * 0x1p-53;
}

/* Uniform integer in [0, n), n > 0, without modulo bias worth naming (< n / 2^64). */
static inline uint64_t qd_rng_below(uint64_t key, uint64_t counter, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)qd_rng_bits(key, counter) * n) >> 64);
}

#endif
