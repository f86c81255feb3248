/* sign.h: Ed25519 signatures and base64, by GnuTLS.
 * Room: core/base. May use: libc, GnuTLS.
 * Threads: a key is read-only once opened. */
#ifndef QD_BASE_SIGN_H
#define QD_BASE_SIGN_H

#include <stddef.h>

#include "base/digest.h"

enum { QD_SIGNATURE_BYTES = 64 };

/* A private key: PEM, PKCS #8, Ed25519, not encrypted (`openssl genpkey -algorithm ed25519`). QD_EINVAL names the file and what it is. */
typedef struct qd_signer qd_signer;
qd_code qd_signer_open(const char *path, qd_signer **out, qd_error *err);
void qd_signer_destroy(qd_signer *signer); /* NULL is fine */
/* SHA-256 of the public key (DER, SubjectPublicKeyInfo), hex. */
const char *qd_signer_key_id(const qd_signer *signer);
qd_code qd_signer_sign(const qd_signer *signer, const void *bytes, size_t length, unsigned char out[QD_SIGNATURE_BYTES],
                       qd_error *err);

/* A public key: PEM (`openssl pkey -in KEY -pubout`), Ed25519. */
typedef struct qd_verifier qd_verifier;
qd_code qd_verifier_open(const char *path, qd_verifier **out, qd_error *err);
void qd_verifier_destroy(qd_verifier *verifier); /* NULL is fine */
const char *qd_verifier_key_id(const qd_verifier *verifier);
/* QD_EDENIED: not this key's signature of these bytes. */
qd_code qd_verifier_check(const qd_verifier *verifier, const void *bytes, size_t length, const void *signature,
                          size_t signature_length, qd_error *err);

/* Standard alphabet with padding; heap string. */
qd_code qd_base64_encode(const void *bytes, size_t length, char **out, qd_error *err);
/* QD_EFORMAT: not base64. *out is NUL-terminated beyond *out_length, free() it. */
qd_code qd_base64_decode(const char *text, unsigned char **out, size_t *out_length, qd_error *err);

#endif
