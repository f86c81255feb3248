/* hmac.c: see hmac.h. */
#include "base/hmac.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "base/str.h"

qd_code qd_hmac_sha256(const void *key, size_t key_length, const void *bytes, size_t length,
                       unsigned char out[QD_HMAC_BYTES], qd_error *err)
{
    int rc = gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, key_length, bytes, length, out);
    return rc == 0 ? QD_OK : qd_fail(err, QD_EINTERNAL, "hmac: %s", gnutls_strerror(rc));
}

void qd_hex_encode(const unsigned char *bytes, size_t length, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < length; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * length] = '\0';
}

void qd_hex_decode(const char *hex, size_t length, unsigned char *out)
{
    for (size_t i = 0; i < length; i++)
        out[i] = (unsigned char)(16 * qd_hex_value(hex[2 * i]) + qd_hex_value(hex[2 * i + 1]));
}
