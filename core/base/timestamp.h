/* timestamp.h: points in time as clients write them.
 * Room: core/base. May use: libc.
 * Threads: any; there is no state.
 * Source: RFC 3339 §5.6. */
#ifndef QD_BASE_TIMESTAMP_H
#define QD_BASE_TIMESTAMP_H

#include <stdbool.h>
#include <stdint.h>

/* Milliseconds since 1970-01-01T00:00:00Z. Any offset; finer fractions are cut; also a date alone (its first moment,
 * UTC). false: no such time, or one before 1970. */
bool qd_timestamp_parse(const char *text, int64_t *out_ms);

#endif
