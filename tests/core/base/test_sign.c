/* test_sign.c: Ed25519 as RFC 8032 has it, keys that are not what is wanted, base64. */
#include "check.h"
#include "folder.h"

#include "base/file.h"
#include "base/hmac.h"
#include "base/sign.h"
#include "base/str.h"

/* RFC 8032 section 7.1, test 2: seed, public key, message 72, signature. */
static const char seed[] = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                  point[] = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                  wanted[] = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                             "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
/* DER before the 32 bytes: PKCS #8, and SubjectPublicKeyInfo (RFC 8410). */
static const char private_der[] = "302e020100300506032b657004220420", public_der[] = "302a300506032b6570032100";

static size_t bytes_of(const char *hex, unsigned char *out)
{
    size_t count = 0;
    for (; hex[0] != '\0'; hex += 2)
        out[count++] = (unsigned char)(16 * qd_hex_value(hex[0]) + qd_hex_value(hex[1]));
    return count;
}

static char *pem_put(const char *dir, const char *name, const char *label, const char *der, const char *key)
{
    unsigned char bytes[100];
    char *text = NULL, *path = qd_path_join(dir, name);
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str pem = { 0 };
    size_t length = bytes_of(der, bytes);
    length += bytes_of(key, bytes + length);
    check_ok(qd_base64_encode(bytes, length, &text, &err));
    qd_str_addf(&pem, "-----BEGIN %s-----\n%s\n-----END %s-----\n", label, text, label);
    check_ok(qd_file_write(path, pem.data, pem.length, &err));
    free(text);
    return path;
}

static void signatures_are_those_of_rfc_8032(void **state)
{
    (void)state;
    char dir[200];
    qd_error err = { 0 };
    unsigned char made[QD_SIGNATURE_BYTES], published[QD_SIGNATURE_BYTES], message[] = { 0x72 };
    qd_signer *signer = NULL;
    qd_verifier *verifier = NULL;
    temporary_folder_in("/tmp", dir, sizeof dir);
    QD_AUTO(qd_free_pointer) char *own = pem_put(dir, "key.pem", "PRIVATE KEY", private_der, seed);
    QD_AUTO(qd_free_pointer) char *shown = pem_put(dir, "pub.pem", "PUBLIC KEY", public_der, point);
    check_ok(qd_signer_open(own, &signer, &err));
    check_ok(qd_verifier_open(shown, &verifier, &err));
    assert_string_equal(qd_signer_key_id(signer), qd_verifier_key_id(verifier));
    check_ok(qd_signer_sign(signer, message, 1, made, &err));
    assert_int_equal(bytes_of(wanted, published), QD_SIGNATURE_BYTES);
    assert_memory_equal(made, published, QD_SIGNATURE_BYTES);
    check_ok(qd_verifier_check(verifier, message, 1, made, QD_SIGNATURE_BYTES, &err));
    for (size_t bit = 0; bit < 8 * QD_SIGNATURE_BYTES; bit++) {
        made[bit / 8] ^= (unsigned char)(1 << bit % 8);
        check_fails(qd_verifier_check(verifier, message, 1, made, QD_SIGNATURE_BYTES, &err), QD_EDENIED);
        made[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    check_fails(qd_verifier_check(verifier, message, 0, made, QD_SIGNATURE_BYTES, &err), QD_EDENIED);
    check_fails(qd_verifier_check(verifier, message, 1, made, QD_SIGNATURE_BYTES - 1, &err), QD_EDENIED);
    qd_signer_destroy(signer);
    qd_verifier_destroy(verifier);
    remove_folder(dir);
}

static void what_is_no_such_key_is_named(void **state)
{
    (void)state;
    char dir[200];
    qd_error err = { 0 };
    qd_signer *signer = NULL;
    qd_verifier *verifier = NULL;
    temporary_folder_in("/tmp", dir, sizeof dir);
    QD_AUTO(qd_free_pointer) char *own = pem_put(dir, "key.pem", "PRIVATE KEY", private_der, seed);
    QD_AUTO(qd_free_pointer) char *shown = pem_put(dir, "pub.pem", "PUBLIC KEY", public_der, point);
    QD_AUTO(qd_free_pointer)
    char *other = pem_put(dir, "x25519.pem", "PRIVATE KEY", "302e020100300506032b656e04220420", seed);
    QD_AUTO(qd_free_pointer) char *none = qd_path_join(dir, "none.pem");
    check_fails(qd_signer_open(shown, &signer, &err), QD_EINVAL);
    check_contains(err.text, "pub.pem': an unencrypted private key in PEM (PKCS #8) is wanted");
    check_fails(qd_verifier_open(own, &verifier, &err), QD_EINVAL);
    check_contains(err.text, "key.pem': a public key in PEM is wanted");
    check_fails(qd_signer_open(other, &signer, &err), QD_EINVAL);
    check_contains(err.text, "x25519.pem'");
    check_fails(qd_signer_open(none, &signer, &err), QD_ENOTFOUND);
    check_fails(qd_verifier_open(none, &verifier, &err), QD_ENOTFOUND);
    remove_folder(dir);
}

static void base64_comes_back(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foobar", "Zm9vYmFy" }
    };
    qd_error err = { 0 };
    for (size_t i = 0; i < QD_LENGTH(pairs); i++) {
        QD_AUTO(qd_free_pointer) char *text = NULL;
        QD_AUTO(qd_free_pointer) unsigned char *bytes = NULL;
        size_t length = 0;
        check_ok(qd_base64_encode(pairs[i][0], strlen(pairs[i][0]), &text, &err));
        assert_string_equal(text, pairs[i][1]);
        check_ok(qd_base64_decode(text, &bytes, &length, &err));
        assert_int_equal(length, strlen(pairs[i][0]));
        assert_memory_equal(bytes, pairs[i][0], length);
    }
    QD_AUTO(qd_free_pointer) unsigned char *bytes = NULL;
    size_t length = 0;
    check_fails(qd_base64_decode("Zm9v*mFy", &bytes, &length, &err), QD_EFORMAT);
}

/* RFC 4231, test cases 1, 2 and 6 (a key longer than a block). */
static void keyed_digests_are_those_of_rfc_4231(void **state)
{
    (void)state;
    qd_error err;
    char long_key[131], key[20];
    memset(long_key, 0xaa, sizeof long_key);
    memset(key, 0x0b, sizeof key);
    const struct {
        const char *key;
        size_t length;
        const char *text, *digest;
    } rows[] = {
        { key, sizeof key, "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
        { "Jefe", 4, "what do ya want for nothing?",
          "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
        { long_key, sizeof long_key, "Test Using Larger Than Block-Size Key - Hash Key First",
          "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },
    };
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        unsigned char got[QD_HMAC_BYTES], back[QD_HMAC_BYTES];
        char hex[2 * QD_HMAC_BYTES + 1];
        check_ok(qd_hmac_sha256(rows[i].key, rows[i].length, rows[i].text, strlen(rows[i].text), got, &err));
        qd_hex_encode(got, sizeof got, hex);
        assert_string_equal(hex, rows[i].digest);
        qd_hex_decode(hex, sizeof back, back);
        assert_memory_equal(back, got, sizeof got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures_are_those_of_rfc_8032),
        cmocka_unit_test(what_is_no_such_key_is_named),
        cmocka_unit_test(base64_comes_back),
        cmocka_unit_test(keyed_digests_are_those_of_rfc_4231),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
