/* digest.h: content digests (SHA-256; SHA-1 only to check git blob ids), by GnuTLS.
 * Room: core/base. May use: libc, GnuTLS.
 * Threads: a qd_digest belongs to one thread at a time. */
#ifndef QD_BASE_DIGEST_H
#define QD_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

typedef enum qd_digest_kind { QD_SHA256, QD_SHA1 } qd_digest_kind;

enum { QD_DIGEST_HEX = 65 }; /* room for 64 hex digits and NUL; SHA-1 uses 41 */

typedef struct qd_digest {
    void *handle;
    qd_digest_kind kind;
} qd_digest;

qd_code qd_digest_init(qd_digest *digest, qd_digest_kind kind, qd_error *err);
void qd_digest_fini(qd_digest *digest); /* fine on a zeroed one */
qd_code qd_digest_add(qd_digest *digest, const void *bytes, size_t length, qd_error *err);
/* Lower-case hex of everything added; the digest starts afresh. `out_hex` has QD_DIGEST_HEX bytes. */
void qd_digest_hex(qd_digest *digest, char *out_hex);

/* Is the text exactly `digits` hex digits? We and the hub write lower case; people may write either. NULL is not. */
typedef enum qd_hex_case { QD_HEX_LOWER, QD_HEX_EITHER } qd_hex_case;
bool qd_hex_ok(const char *text, size_t digits, qd_hex_case letters);

/* One call for one buffer / one file. */
qd_code qd_sha256(const void *bytes, size_t length, char *out_hex, qd_error *err);
qd_code qd_sha256_file(const char *path, char *out_hex, qd_error *err);

#endif
