/* attest.c: see attest.h. */
#include "engine/attest.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "engine/provenance.h"
#include "engine/verify.h"

enum { STATEMENT_LIMIT = 32 << 20, STATEMENT_DEPTH = 16 };

static qd_code read_text(const char *dir, const char *name, qd_str *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, name);
    return path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory")
                        : qd_file_read_regular(path, STATEMENT_LIMIT, out, err);
}

/* What is signed: the type and the bytes with their lengths, so that neither can pass for part of the other. */
static void authenticated(const char *type, const void *body, size_t length, qd_str *out)
{
    qd_str_addf(out, "DSSEv1 %zu %s %zu ", strlen(type), type, length);
    qd_str_add_bytes(out, body, length);
}

/* ---- signing ---- */

static qd_code write_envelope(const char *dir, const qd_str *body, const qd_signer *signer,
                              const unsigned char *signature, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *payload = NULL, *sig = NULL;
    qd_code code = qd_base64_encode(body->data, body->length, &payload, err);
    if (code == QD_OK)
        code = qd_base64_encode(signature, QD_SIGNATURE_BYTES, &sig, err);
    if (code != QD_OK)
        return code;
    QD_AUTO(qd_json_fini)
    json_t *envelope = json_pack("{s:s, s:s, s:[{s:s, s:s}]}", "payloadType", QD_PAYLOAD_TYPE, "payload", payload,
                                 "signatures", "keyid", qd_signer_key_id(signer), "sig", sig);
    QD_AUTO(qd_free_pointer) char *text = envelope == NULL ? NULL : json_dumps(envelope, JSON_INDENT(1));
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, QD_ENVELOPE_NAME);
    if (text == NULL || path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return qd_file_write(path, text, strlen(text), err);
}

qd_code qd_attest_sign(const char *dir, const qd_signer *signer, qd_error *err)
{
    unsigned char signature[QD_SIGNATURE_BYTES];
    QD_AUTO(qd_str_fini) qd_str body = { 0 }, bytes = { 0 };
    qd_code code = read_text(dir, QD_PROVENANCE_NAME, &body, err);
    if (code == QD_OK) {
        authenticated(QD_PAYLOAD_TYPE, qd_str_borrow(&body), body.length, &bytes);
        code = qd_str_check(&bytes, err);
    }
    if (code == QD_OK)
        code = qd_signer_sign(signer, bytes.data, bytes.length, signature, err);
    return code == QD_OK ? write_envelope(dir, &body, signer, signature, err) : code;
}

/* ---- checking ---- */

typedef struct checking {
    qd_findings findings;
    qd_str statement, envelope; /* bytes of the files */
    const char *signature;
    char key_id[QD_DIGEST_HEX];
} checking;

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? "" : text;
}

/* Subjects by name, each the text of its digest: a list that is walked for every file would take the square of a hostile one's length. */
static json_t *index_subjects(checking *c, const json_t *subjects)
{
    size_t index;
    const json_t *subject;
    json_t *by_name = json_object();
    json_array_foreach((json_t *)(uintptr_t)subjects, index, subject)
    {
        const char *name = text_of(subject, "name");
        if (json_object_get(by_name, name) != NULL)
            qd_findings_add(&c->findings, QD_PROVENANCE_NAME, "subject '%.200s' is there twice", name);
        json_object_set_new(by_name, name, json_string(text_of(json_object_get(subject, "digest"), "sha256")));
    }
    return by_name;
}

static void check_subject(checking *c, const json_t *by_name, const char *name, const char *sha256)
{
    const char *said = text_of(by_name, name);
    if (said[0] == '\0')
        qd_findings_add(&c->findings, QD_PROVENANCE_NAME, "file '%.200s' is not among its subjects", name);
    else if (strcmp(said, sha256) != 0)
        qd_findings_add(&c->findings, QD_PROVENANCE_NAME, "subject '%.200s' has the digest %.64s, the file %.64s", name,
                        said, sha256);
}

/* The files of the manifest and the manifest, no more and no less. */
static qd_code check_subjects(checking *c, const char *dir, const json_t *statement, const json_t *manifest,
                              qd_error *err)
{
    char hex[QD_DIGEST_HEX];
    size_t index;
    const json_t *file, *files = json_object_get(manifest, "files"), *all = json_object_get(statement, "subject");
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, "manifest.json");
    qd_code code = path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
    QD_AUTO(qd_json_fini) json_t *by_name = index_subjects(c, all);
    if (code == QD_OK && qd_sha256_file(path, hex, NULL) == QD_OK)
        check_subject(c, by_name, "manifest.json", hex);
    json_array_foreach((json_t *)(uintptr_t)files, index, file)
    {
        check_subject(c, by_name, text_of(file, "path"), text_of(file, "sha256"));
    }
    if (json_array_size(all) != json_array_size(files) + 1)
        qd_findings_add(&c->findings, QD_PROVENANCE_NAME, "%zu subjects for %zu files", json_array_size(all),
                        json_array_size(files) + 1);
    return code;
}

static qd_code check_statement(checking *c, const char *dir, const json_t *manifest, qd_error *err)
{
    char invocation[QD_INVOCATION_ID];
    qd_error why = { 0 };
    QD_AUTO(qd_json_fini) json_t *statement = NULL;
    if (qd_json_parse_object(qd_str_borrow(&c->statement), c->statement.length, STATEMENT_DEPTH, &statement, &why) !=
        QD_OK) {
        qd_findings_add(&c->findings, QD_PROVENANCE_NAME, "%s", why.text);
        return QD_OK;
    }
    if (strcmp(text_of(statement, "_type"), QD_STATEMENT_TYPE) != 0 ||
        strcmp(text_of(statement, "predicateType"), QD_PREDICATE_TYPE) != 0)
        qd_findings_add(&c->findings, QD_PROVENANCE_NAME, "_type and predicateType are not %s and %s",
                        QD_STATEMENT_TYPE, QD_PREDICATE_TYPE);
    qd_code code = qd_provenance_invocation(statement, invocation, err);
    if (code != QD_OK)
        return code;
    const json_t *details = json_object_get(json_object_get(statement, "predicate"), "runDetails");
    if (strcmp(text_of(json_object_get(details, "metadata"), "invocationId"), invocation) != 0)
        qd_findings_add(&c->findings, QD_PROVENANCE_NAME,
                        "runDetails.metadata.invocationId is not the digest of the statement: it was changed");
    return check_subjects(c, dir, statement, manifest, err);
}

/* Only what encoding gives: a changed bit that base64 does not look at is a changed bit. */
static qd_code decode_exactly(const char *text, unsigned char **out, size_t *out_length, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *again = NULL;
    QD_AUTO(qd_free_pointer) unsigned char *bytes = NULL;
    size_t length = 0;
    qd_code code = qd_base64_decode(text, &bytes, &length, err);
    if (code == QD_OK)
        code = qd_base64_encode(bytes, length, &again, err);
    if (code != QD_OK)
        return code;
    if (strcmp(again, text) != 0)
        return qd_fail(err, QD_EFORMAT, "base64: not as it is encoded");
    *out = bytes;
    *out_length = length;
    bytes = NULL;
    return QD_OK;
}

/* Is one of the signatures this key's? */
static qd_code check_signatures(checking *c, const json_t *envelope, const qd_str *payload, const qd_verifier *key,
                                qd_error *err)
{
    size_t index;
    const json_t *one, *all = json_object_get(envelope, "signatures");
    QD_AUTO(qd_str_fini) qd_str bytes = { 0 };
    authenticated(text_of(envelope, "payloadType"), qd_str_borrow(payload), payload->length, &bytes);
    qd_code code = qd_str_check(&bytes, err);
    c->signature = "unchecked";
    snprintf(c->key_id, sizeof c->key_id, "%.64s", text_of(json_array_get(all, 0), "keyid"));
    if (code != QD_OK || key == NULL)
        return code;
    c->signature = "invalid";
    json_array_foreach((json_t *)(uintptr_t)all, index, one)
    {
        QD_AUTO(qd_free_pointer) unsigned char *sig = NULL;
        size_t length = 0;
        if (strcmp(text_of(one, "keyid"), qd_verifier_key_id(key)) == 0 &&
            decode_exactly(text_of(one, "sig"), &sig, &length, NULL) == QD_OK &&
            qd_verifier_check(key, bytes.data, bytes.length, sig, length, NULL) == QD_OK) {
            c->signature = "valid";
            snprintf(c->key_id, sizeof c->key_id, "%s", qd_verifier_key_id(key));
            return QD_OK;
        }
    }
    qd_findings_add(&c->findings, QD_ENVELOPE_NAME, "no signature is one of key %s", qd_verifier_key_id(key));
    return QD_OK;
}

static qd_code check_envelope(checking *c, const qd_verifier *key, qd_error *err)
{
    qd_error why = { 0 };
    QD_AUTO(qd_json_fini) json_t *envelope = NULL;
    QD_AUTO(qd_str_fini) qd_str payload = { 0 };
    QD_AUTO(qd_free_pointer) unsigned char *bytes = NULL;
    size_t length = 0;
    qd_code code =
        qd_json_parse_object(qd_str_borrow(&c->envelope), c->envelope.length, STATEMENT_DEPTH, &envelope, &why);
    if (code == QD_OK)
        code = decode_exactly(text_of(envelope, "payload"), &bytes, &length, &why);
    if (code != QD_OK) {
        c->signature = "invalid";
        qd_findings_add(&c->findings, QD_ENVELOPE_NAME, "%s", why.text);
        return QD_OK;
    }
    qd_str_add_bytes(&payload, bytes, length);
    if (strcmp(text_of(envelope, "payloadType"), QD_PAYLOAD_TYPE) != 0)
        qd_findings_add(&c->findings, QD_ENVELOPE_NAME, "payloadType is not %s", QD_PAYLOAD_TYPE);
    if (length != c->statement.length || memcmp(bytes, qd_str_borrow(&c->statement), length) != 0)
        qd_findings_add(&c->findings, QD_ENVELOPE_NAME, "its payload is not %s", QD_PROVENANCE_NAME);
    return check_signatures(c, envelope, &payload, key, err);
}

/* A file that is not there is empty. */
static qd_code read_optional(checking *c, const char *dir, const char *name, qd_str *out)
{
    qd_error why = { 0 };
    qd_code code = read_text(dir, name, out, &why);
    if (code != QD_OK && code != QD_ENOTFOUND)
        qd_findings_add(&c->findings, name, "%s", why.text);
    return code;
}

static qd_code check_all(checking *c, const char *dir, const json_t *manifest, const qd_verifier *key,
                         json_t **out_report, qd_error *err)
{
    qd_code statement = read_optional(c, dir, QD_PROVENANCE_NAME, &c->statement);
    qd_code envelope = read_optional(c, dir, QD_ENVELOPE_NAME, &c->envelope), code = QD_OK;
    if (key != NULL && envelope == QD_ENOTFOUND)
        qd_findings_add(&c->findings, QD_ENVELOPE_NAME,
                        "is not there: nothing is signed here; of several formats in one artifact the "
                        "folder above them is");
    if (statement == QD_ENOTFOUND && envelope == QD_OK)
        qd_findings_add(&c->findings, QD_PROVENANCE_NAME, "is not there, its signature is");
    if (statement == QD_OK)
        code = check_statement(c, dir, manifest, err);
    if (code == QD_OK && envelope == QD_OK)
        code = check_envelope(c, key, err);
    if (code != QD_OK)
        return code;
    *out_report =
        statement == QD_ENOTFOUND && envelope == QD_ENOTFOUND
            ? json_null()
            : json_pack("{s:s, s:s?}", "signature", c->signature, "key_id", c->key_id[0] == '\0' ? NULL : c->key_id);
    if (*out_report == NULL) /* a key id that is no text */
        *out_report = json_pack("{s:s, s:n}", "signature", c->signature, "key_id");
    return *out_report == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

qd_code qd_attest_check(const char *dir, const json_t *manifest, const qd_verifier *key, json_t *lines,
                        json_t **out_report, qd_error *err)
{
    checking c = { .findings = { .lines = lines }, .signature = "none" };
    qd_code code = check_all(&c, dir, manifest, key, out_report, err);
    qd_str_fini(&c.statement);
    qd_str_fini(&c.envelope);
    return code;
}
