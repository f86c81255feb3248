/* unsigned_codes.h: integers as containers of unsigned codes store them: u = q + 2^(b-1), zero points as codes, scales in a type that keeps
 * them.
 * Room: core/export, private to it. May use: base, quant, model.
 * Threads: pure functions. */
#ifndef QD_EXPORT_UNSIGNED_CODES_H
#define QD_EXPORT_UNSIGNED_CODES_H

#include "export/format.h"

/* code - low -> u: signed codes start at -2^(b-1), or one above in a narrow grid; unsigned ones are stored as they are. */
int32_t qd_unsigned_offset(const qd_grid *grid, unsigned bits);
/* The zero point of a group as a code; 2^(b-1) where there is none. */
int32_t qd_unsigned_zero(const qd_grid *grid, unsigned bits, size_t row, size_t group);
/* Do codes and zero points fit `bits`? Ours do, by the format's check: QD_EINTERNAL. */
qd_code qd_unsigned_check(const qd_grid *grid, const qd_linear *linear, unsigned bits, qd_error *err);
/* Scales (O x G, converted to `dtype` at `stored`) that the type has changed. A group whose weights all stand on its zero needs none. */
size_t qd_unsigned_lost_scales(const qd_rounded *rounded, const qd_linear *linear, const qd_dtype *dtype,
                               const void *stored);

#endif
