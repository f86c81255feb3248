/* chance.h: what unbiased stochastic rounding guarantees of a layer, in expectation and with high probability.
 * Room: core/quant, private to it. May use: base, linalg.
 * Threads: called from one thread; columns and rows are cut into fixed parts over the pool.
 * Source: theory.md §6: errors e_t are martingale differences on an interval as long as a step. */
#ifndef QD_QUANT_CHANCE_H
#define QD_QUANT_CHANCE_H

#include "quant/certify.h"

/* Fills `chance` of the certificate, whose bounds stand already. */
qd_code qd_chance_fill(const qd_evidence *evidence, qd_certificate *out, qd_error *err);

#endif
