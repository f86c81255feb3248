/* algorithm_rows.h: rows of the algorithm registry.
 * Room: core/quant, private to it. May use: base, linalg.
 * Threads: constant rows. */
#ifndef QD_QUANT_ALGORITHM_ROWS_H
#define QD_QUANT_ALGORITHM_ROWS_H

#include "quant/algorithm.h"

extern const qd_algorithm qd_algorithm_rtn, qd_algorithm_optq, qd_algorithm_gpfq, qd_algorithm_qronos;

#endif
