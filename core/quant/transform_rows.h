/* transform_rows.h: rows of the transform registry.
 * Room: core/quant, private to it. May use: base, linalg.
 * Threads: constant rows. */
#ifndef QD_QUANT_TRANSFORM_ROWS_H
#define QD_QUANT_TRANSFORM_ROWS_H

#include "quant/transform.h"

extern const qd_transform qd_transform_hadamard, qd_transform_magr;

#endif
