/* tls.c: see tls.h. */
#include "http/tls.h"

#include <gnutls/x509.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

enum { PEM_MAX = 1 << 20 };

struct qd_tls {
    char *certificate, *key;
    qd_service_log log;
    pthread_mutex_t mutex; /* one reload at a time */
    _Atomic(qd_tls_material *) current;
};

static void material_free(qd_tls_material *m)
{
    for (unsigned i = 0; i < m->count; i++)
        gnutls_pcert_deinit(&m->chain[i]);
    if (m->key != NULL)
        gnutls_privkey_deinit(m->key);
    free(m);
}

static qd_code refuse(qd_error *err, const char *what, const char *path, int result)
{
    return qd_fail(err, QD_EFORMAT, "%s '%s': %s", what, path, gnutls_strerror(result));
}

/* GnuTLS compares the public keys. */
static qd_code check_pair(const qd_tls *tls, const gnutls_datum_t *certificate, const gnutls_datum_t *key,
                          qd_error *err)
{
    gnutls_certificate_credentials_t both = NULL;
    if (gnutls_certificate_allocate_credentials(&both) != GNUTLS_E_SUCCESS)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    int result = gnutls_certificate_set_x509_key_mem2(both, certificate, key, GNUTLS_X509_FMT_PEM, NULL, 0);
    gnutls_certificate_free_credentials(both);
    if (result == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
        return qd_fail(err, QD_EFORMAT, "tls-key '%s' is not the key of tls-cert '%s'", tls->key, tls->certificate);
    return result < 0 ? qd_fail(err, QD_EFORMAT, "tls-cert '%s', tls-key '%s': %s", tls->certificate, tls->key,
                                gnutls_strerror(result))
                      : QD_OK;
}

static void say_expiry(const qd_tls *tls, const gnutls_datum_t *certificate)
{
    gnutls_x509_crt_t first = NULL;
    char details[700], until[QD_TIME_TEXT];
    if (tls->log.line == NULL || gnutls_x509_crt_init(&first) != GNUTLS_E_SUCCESS)
        return;
    if (gnutls_x509_crt_import(first, certificate, GNUTLS_X509_FMT_PEM) == GNUTLS_E_SUCCESS) {
        int64_t end_ms = (int64_t)gnutls_x509_crt_get_expiration_time(first) * 1000;
        qd_clock_format(end_ms, until);
        snprintf(details, sizeof details, "expires=%s certificate=\"%.500s\"", until, tls->certificate);
        tls->log.line(tls->log.ctx, end_ms < qd_clock_wall_ms() ? "warn" : "info", "tls.certificate", details);
    }
    gnutls_x509_crt_deinit(first);
}

static void say_mode(const qd_tls *tls)
{
    struct stat info;
    char details[700];
    if (tls->log.line == NULL || stat(tls->key, &info) != 0 || (info.st_mode & (S_IRWXG | S_IRWXO) & ~S_IRGRP) == 0)
        return;
    snprintf(details, sizeof details, "mode=%04o detail=\"others may read the private key '%.500s': chmod 600\"",
             (unsigned)info.st_mode & 07777u, tls->key);
    tls->log.line(tls->log.ctx, "warn", "tls.key", details);
}

static qd_code import(const qd_tls *tls, const gnutls_datum_t *certificate, const gnutls_datum_t *key,
                      qd_tls_material *m, qd_error *err)
{
    unsigned count = QD_LENGTH(m->chain);
    int result = gnutls_pcert_list_import_x509_raw(m->chain, &count, certificate, GNUTLS_X509_FMT_PEM,
                                                   GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED);
    if (result < 0)
        return refuse(err, "tls-cert", tls->certificate, result);
    m->count = count;
    result = gnutls_privkey_init(&m->key);
    if (result == GNUTLS_E_SUCCESS)
        result = gnutls_privkey_import_x509_raw(m->key, key, GNUTLS_X509_FMT_PEM, NULL, 0);
    return result < 0 ? refuse(err, "tls-key", tls->key, result) : QD_OK;
}

static gnutls_datum_t datum_of(const qd_str *text)
{
    return (gnutls_datum_t){ .data = (unsigned char *)text->data, .size = (unsigned)text->length };
}

static qd_code read_material(const qd_tls *tls, qd_tls_material *m, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str certificate = { 0 }, key = { 0 };
    qd_code code = qd_file_read(tls->certificate, PEM_MAX, &certificate, err);
    if (code != QD_OK)
        return qd_within(err, code, "tls-cert");
    code = qd_file_read(tls->key, PEM_MAX, &key, err);
    if (code != QD_OK)
        return qd_within(err, code, "tls-key");
    const gnutls_datum_t first = datum_of(&certificate), second = datum_of(&key);
    code = import(tls, &first, &second, m,
                  err); /* first: GnuTLS 3.7 loses memory when it is given no certificates as a pair */
    if (code == QD_OK)
        code = check_pair(tls, &first, &second, err);
    if (code == QD_OK) {
        say_expiry(tls, &first);
        say_mode(tls);
    }
    if (key.data != NULL)
        explicit_bzero(key.data, key.length);
    return code;
}

qd_code qd_tls_reload(qd_tls *tls, qd_error *err)
{
    qd_tls_material *m = NULL;
    qd_code code = qd_alloc(1, sizeof *m, (void **)&m, err);
    if (code == QD_OK && (code = read_material(tls, m, err)) != QD_OK)
        material_free(m);
    if (code != QD_OK)
        return code;
    pthread_mutex_lock(&tls->mutex);
    m->older = atomic_load(&tls->current);
    atomic_store(&tls->current, m);
    pthread_mutex_unlock(&tls->mutex);
    return QD_OK;
}

qd_code qd_tls_create(const char *certificate, const char *key, qd_service_log log, qd_tls **out, qd_error *err)
{
    qd_tls *tls = NULL;
    if (certificate == NULL || key == NULL)
        return qd_fail(err, QD_EINVAL, "tls-cert and tls-key: one is given without the other");
    qd_code code = qd_alloc(1, sizeof *tls, (void **)&tls, err);
    if (code != QD_OK)
        return code;
    pthread_mutex_init(&tls->mutex, NULL);
    tls->log = log;
    code = qd_dup(certificate, &tls->certificate, err);
    if (code == QD_OK)
        code = qd_dup(key, &tls->key, err);
    if (code == QD_OK)
        code = qd_tls_reload(tls, err);
    if (code != QD_OK) {
        qd_tls_destroy(tls);
        return code;
    }
    *out = tls;
    return QD_OK;
}

void qd_tls_destroy(qd_tls *tls)
{
    if (tls == NULL)
        return;
    for (qd_tls_material *m = atomic_load(&tls->current), *older; m != NULL; m = older) {
        older = m->older;
        material_free(m);
    }
    pthread_mutex_destroy(&tls->mutex);
    free(tls->certificate);
    free(tls->key);
    free(tls);
}

qd_tls_material *qd_tls_current(qd_tls *tls)
{
    return atomic_load(&tls->current);
}
