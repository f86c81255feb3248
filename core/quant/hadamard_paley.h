/* hadamard_paley.h: Hadamard matrices of orders that are no power of two, made without tables.
 * Room: core/quant, private to it. May use: base, linalg.
 * Threads: pure functions.
 * Source: algorithms.md §8.1 (Paley 1933, both constructions); chi is the quadratic character of GF(q):
 *   I   order q + 1,  q = 3 mod 4:  I + S,                                        S = [[0, 1], [-1, chi(i - j)]]
 *   II  order 2q + 2, q = 1 mod 4:  C x [[1, 1], [1, -1]] + I x [[1, -1], [-1, -1]], C = [[0, 1], [1, chi(i - j)]] */
#ifndef QD_QUANT_HADAMARD_PALEY_H
#define QD_QUANT_HADAMARD_PALEY_H

#include <stdbool.h>

#include "linalg/mat.h"

enum { QD_PALEY_MOST = 1024 }; /* orders above are not looked for: mixing costs order additions a value */

typedef enum qd_paley_kind { QD_PALEY_ONE, QD_PALEY_TWO } qd_paley_kind;

typedef struct qd_paley {
    size_t order;
    qd_paley_kind kind;
    size_t prime, degree; /* q = prime^degree */
} qd_paley;

/* The least order K > 1 with n = K 2^p that one of the constructions gives (prime fields first); false where none does. n odd times a
 * power of two, the odd part above 1. */
bool qd_paley_find(size_t n, qd_paley *out);
/* The matrix, of +1 and -1; out: order x order. */
qd_code qd_paley_fill(const qd_paley *paley, qd_matd out, qd_error *err);

#endif
