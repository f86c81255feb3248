/* hmac.h: keyed digests (HMAC-SHA-256) and raw digests, by GnuTLS.
 * Room: core/base. May use: libc, GnuTLS.
 * Threads: any; nothing is shared.
 * Source: RFC 2104, FIPS 180-4. */
#ifndef QD_BASE_HMAC_H
#define QD_BASE_HMAC_H

#include <stddef.h>

#include "base/error.h"

enum { QD_HMAC_BYTES = 32 };

qd_code qd_hmac_sha256(const void *key, size_t key_length, const void *bytes, size_t length,
                       unsigned char out[QD_HMAC_BYTES], qd_error *err);

/* Lower-case hex; `out` has 2 * length + 1 bytes. */
void qd_hex_encode(const unsigned char *bytes, size_t length, char *out);
/* The bytes of 2 * length hex digits (qd_hex_ok). */
void qd_hex_decode(const char *hex, size_t length, unsigned char *out);

#endif
