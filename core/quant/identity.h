/* identity.h: does what the loop counted agree with what its codes are?
 * Room: core/quant, private to it. May use: base, linalg.
 * Threads: called from one thread; work is cut into fixed panels over the pool.
 * Source: theory.md §2 I2, §7 T9, §8.2 (identity_resid). */
#ifndef QD_QUANT_IDENTITY_H
#define QD_QUANT_IDENTITY_H

#include "quant/certify.h"

/* Energies against quadratic forms of target - q, over all neurons or fixed ones; of refined rows those of the sweep too, of two streams the whole
 * against its parts. targets: of each row the form of its target; NULL: they are made where they matter. record: sums and shape. */
qd_code qd_identity_check(const qd_evidence *evidence, const double *targets, const qd_certificate *record, double *out,
                          qd_error *err);

#endif
