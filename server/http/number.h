/* number.h: whole numbers in query parameters and headers.
 * Room: server/http. May use: base. Never: MHD.
 * Threads: any. */
#ifndef QD_HTTP_NUMBER_H
#define QD_HTTP_NUMBER_H

#include <stdint.h>

#include "base/error.h"

/* Digits alone. text NULL leaves *out as it is. QD_EINVAL names the field, the text and the range. */
qd_code qd_number_read(const char *field, const char *text, uint64_t low, uint64_t high, uint64_t *out, qd_error *err);

#endif
