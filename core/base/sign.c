/* sign.c: see sign.h. */
#include "base/sign.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

enum { KEY_LIMIT = 64 << 10 };

struct qd_signer {
    gnutls_privkey_t key;
    char id[QD_DIGEST_HEX];
};

struct qd_verifier {
    gnutls_pubkey_t key;
    char id[QD_DIGEST_HEX];
};

static gnutls_datum_t datum(const void *bytes, size_t length)
{
    return (gnutls_datum_t){ .data = (unsigned char *)(uintptr_t)bytes, .size = (unsigned)length };
}

static qd_code identify(gnutls_pubkey_t key, char *out_hex, qd_error *err)
{
    gnutls_datum_t der = { 0 };
    int rc = gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &der);
    if (rc != 0)
        return qd_fail(err, QD_EINTERNAL, "public key: %s", gnutls_strerror(rc));
    qd_code code = qd_sha256(der.data, der.size, out_hex, err);
    gnutls_free(der.data);
    return code;
}

/* The bytes of a key are wiped when they were used. */
static void wipe(qd_str *text)
{
    if (text->data != NULL)
        gnutls_memset(text->data, 0, text->capacity);
    qd_str_fini(text);
}

static qd_code check_kind(const char *path, const char *wanted, int found, qd_error *err)
{
    if (found == GNUTLS_PK_EDDSA_ED25519)
        return QD_OK;
    const char *name = gnutls_pk_get_name((gnutls_pk_algorithm_t)found);
    return qd_fail(err, QD_EINVAL, "'%s': %s of Ed25519 is wanted, found %s", path, wanted,
                   name == NULL ? "another kind" : name);
}

/* ---- private ---- */

void qd_signer_destroy(qd_signer *signer)
{
    if (signer == NULL)
        return;
    gnutls_privkey_deinit(signer->key);
    free(signer);
}

static qd_code load_private(const char *path, qd_signer *s, qd_error *err)
{
    QD_AUTO(wipe) qd_str text = { 0 };
    qd_code code = qd_file_read(path, KEY_LIMIT, &text, err);
    if (code != QD_OK)
        return code;
    gnutls_datum_t pem = datum(qd_str_borrow(&text), text.length);
    int rc = gnutls_privkey_import_x509_raw(s->key, &pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (rc != 0)
        return qd_fail(err, QD_EINVAL,
                       "'%s': an unencrypted private key in PEM (PKCS #8) is wanted, as `openssl genpkey -algorithm "
                       "ed25519` makes it: %s",
                       path, gnutls_strerror(rc));
    return check_kind(path, "a private key", gnutls_privkey_get_pk_algorithm(s->key, NULL), err);
}

static qd_code identify_private(qd_signer *s, qd_error *err)
{
    gnutls_pubkey_t key;
    int rc = gnutls_pubkey_init(&key);
    if (rc != 0)
        return qd_fail(err, QD_ENOMEM, "public key: %s", gnutls_strerror(rc));
    rc = gnutls_pubkey_import_privkey(key, s->key, 0, 0);
    qd_code code =
        rc == 0 ? identify(key, s->id, err) : qd_fail(err, QD_EINTERNAL, "public key: %s", gnutls_strerror(rc));
    gnutls_pubkey_deinit(key);
    return code;
}

qd_code qd_signer_open(const char *path, qd_signer **out, qd_error *err)
{
    qd_signer *s = NULL;
    qd_code code = qd_alloc(1, sizeof *s, (void **)&s, err);
    if (code != QD_OK)
        return code;
    int rc = gnutls_privkey_init(&s->key);
    if (rc != 0) {
        free(s);
        return qd_fail(err, QD_ENOMEM, "private key: %s", gnutls_strerror(rc));
    }
    code = load_private(path, s, err);
    if (code == QD_OK)
        code = identify_private(s, err);
    if (code != QD_OK) {
        qd_signer_destroy(s);
        return code;
    }
    *out = s;
    return QD_OK;
}

const char *qd_signer_key_id(const qd_signer *signer)
{
    return signer->id;
}

qd_code qd_signer_sign(const qd_signer *signer, const void *bytes, size_t length, unsigned char out[QD_SIGNATURE_BYTES],
                       qd_error *err)
{
    gnutls_datum_t data = datum(bytes, length), signature = { 0 };
    int rc = gnutls_privkey_sign_data2(signer->key, GNUTLS_SIGN_EDDSA_ED25519, 0, &data, &signature);
    if (rc != 0)
        return qd_fail(err, QD_EINTERNAL, "signature: %s", gnutls_strerror(rc));
    qd_code code = signature.size == QD_SIGNATURE_BYTES
                       ? QD_OK
                       : qd_fail(err, QD_EINTERNAL, "signature of %u bytes", signature.size);
    if (code == QD_OK)
        memcpy(out, signature.data, QD_SIGNATURE_BYTES);
    gnutls_free(signature.data);
    return code;
}

/* ---- public ---- */

void qd_verifier_destroy(qd_verifier *verifier)
{
    if (verifier == NULL)
        return;
    gnutls_pubkey_deinit(verifier->key);
    free(verifier);
}

static qd_code load_public(const char *path, qd_verifier *v, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    qd_code code = qd_file_read(path, KEY_LIMIT, &text, err);
    if (code != QD_OK)
        return code;
    gnutls_datum_t pem = datum(qd_str_borrow(&text), text.length);
    int rc = gnutls_pubkey_import(v->key, &pem, GNUTLS_X509_FMT_PEM);
    if (rc != 0)
        return qd_fail(err, QD_EINVAL,
                       "'%s': a public key in PEM is wanted, as `openssl pkey -in KEY -pubout` makes it: %s", path,
                       gnutls_strerror(rc));
    code = check_kind(path, "a public key", gnutls_pubkey_get_pk_algorithm(v->key, NULL), err);
    return code == QD_OK ? identify(v->key, v->id, err) : code;
}

qd_code qd_verifier_open(const char *path, qd_verifier **out, qd_error *err)
{
    qd_verifier *v = NULL;
    qd_code code = qd_alloc(1, sizeof *v, (void **)&v, err);
    if (code != QD_OK)
        return code;
    int rc = gnutls_pubkey_init(&v->key);
    if (rc != 0) {
        free(v);
        return qd_fail(err, QD_ENOMEM, "public key: %s", gnutls_strerror(rc));
    }
    code = load_public(path, v, err);
    if (code != QD_OK) {
        qd_verifier_destroy(v);
        return code;
    }
    *out = v;
    return QD_OK;
}

const char *qd_verifier_key_id(const qd_verifier *verifier)
{
    return verifier->id;
}

qd_code qd_verifier_check(const qd_verifier *verifier, const void *bytes, size_t length, const void *signature,
                          size_t signature_length, qd_error *err)
{
    gnutls_datum_t data = datum(bytes, length), given = datum(signature, signature_length);
    int rc = signature_length == QD_SIGNATURE_BYTES
                 ? gnutls_pubkey_verify_data2(verifier->key, GNUTLS_SIGN_EDDSA_ED25519, 0, &data, &given)
                 : GNUTLS_E_PK_SIG_VERIFY_FAILED;
    return rc >= 0 ? QD_OK : qd_fail(err, QD_EDENIED, "signature: %s", gnutls_strerror(rc));
}

/* ---- base64 ---- */

qd_code qd_base64_encode(const void *bytes, size_t length, char **out, qd_error *err)
{
    gnutls_datum_t data = datum(bytes, length), text = { 0 };
    int rc = gnutls_base64_encode2(&data, &text);
    if (rc != 0)
        return qd_fail(err, rc == GNUTLS_E_MEMORY_ERROR ? QD_ENOMEM : QD_EINTERNAL, "base64: %s", gnutls_strerror(rc));
    *out = strndup((const char *)text.data, text.size);
    gnutls_free(text.data);
    return *out == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

qd_code qd_base64_decode(const char *text, unsigned char **out, size_t *out_length, qd_error *err)
{
    gnutls_datum_t data = datum(text, strlen(text)), bytes = { 0 };
    unsigned char *copy = NULL;
    int rc = gnutls_base64_decode2(&data, &bytes);
    if (rc != 0)
        return qd_fail(err, rc == GNUTLS_E_MEMORY_ERROR ? QD_ENOMEM : QD_EFORMAT, "base64: %s", gnutls_strerror(rc));
    qd_code code = qd_alloc((size_t)bytes.size + 1, 1, (void **)&copy, err);
    if (code == QD_OK) {
        memcpy(copy, bytes.data, bytes.size);
        *out = copy;
        *out_length = bytes.size;
    }
    gnutls_free(bytes.data);
    return code;
}
