/* digest.c: see digest.h. */
#include "base/digest.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

#include "base/file.h"
#include "base/hmac.h"

static gnutls_digest_algorithm_t algorithm(qd_digest_kind kind)
{
    return kind == QD_SHA1 ? GNUTLS_DIG_SHA1 : GNUTLS_DIG_SHA256;
}

qd_code qd_digest_init(qd_digest *digest, qd_digest_kind kind, qd_error *err)
{
    gnutls_hash_hd_t handle;
    int rc = gnutls_hash_init(&handle, algorithm(kind));
    if (rc != 0)
        return qd_fail(err, QD_EINTERNAL, "digest: %s", gnutls_strerror(rc));
    *digest = (qd_digest){ .handle = handle, .kind = kind };
    return QD_OK;
}

void qd_digest_fini(qd_digest *digest)
{
    if (digest->handle != NULL)
        gnutls_hash_deinit(digest->handle, NULL);
    digest->handle = NULL;
}

qd_code qd_digest_add(qd_digest *digest, const void *bytes, size_t length, qd_error *err)
{
    int rc = length == 0 ? 0 : gnutls_hash(digest->handle, bytes, length);
    return rc == 0 ? QD_OK : qd_fail(err, QD_EINTERNAL, "digest: %s", gnutls_strerror(rc));
}

void qd_digest_hex(qd_digest *digest, char *out_hex)
{
    unsigned char raw[32];
    gnutls_hash_output(digest->handle, raw);
    qd_hex_encode(raw, gnutls_hash_get_len(algorithm(digest->kind)), out_hex);
}

bool qd_hex_ok(const char *text, size_t digits, qd_hex_case letters)
{
    const char *allowed = letters == QD_HEX_LOWER ? "0123456789abcdef" : "0123456789abcdefABCDEF";
    return text != NULL && strspn(text, allowed) == digits && text[digits] == '\0';
}

qd_code qd_sha256(const void *bytes, size_t length, char *out_hex, qd_error *err)
{
    QD_AUTO(qd_digest_fini) qd_digest digest = { 0 };
    qd_code code = qd_digest_init(&digest, QD_SHA256, err);
    if (code == QD_OK)
        code = qd_digest_add(&digest, bytes, length, err);
    if (code == QD_OK)
        qd_digest_hex(&digest, out_hex);
    return code;
}

qd_code qd_sha256_file(const char *path, char *out_hex, qd_error *err)
{
    QD_AUTO(qd_map_fini) qd_map map = { 0 };
    qd_code code = qd_map_open(path, &map, err);
    return code == QD_OK ? qd_sha256(map.data, map.size, out_hex, err) : code;
}
