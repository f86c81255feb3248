/* tls.h: certificate and key of the service, and how they are exchanged while it runs.
 * Room: server/http, private to it. May use: base, GnuTLS.
 * Threads: qd_tls_reload from any thread; handshakes in the connections' threads take what is newest. What they may still use stays until the end.
 * Source: server.md §1.6. */
#ifndef QD_HTTP_TLS_H
#define QD_HTTP_TLS_H

#include <gnutls/abstract.h>

#include "jobs/service.h"

typedef struct qd_tls qd_tls;
/* PEM files. QD_EFORMAT: not readable as such, or the key is not the certificate's; both files are named. */
qd_code qd_tls_create(const char *certificate, const char *key, qd_service_log log, qd_tls **out, qd_error *err);
void qd_tls_destroy(qd_tls *tls); /* after the last handshake; NULL is fine */
/* Reads the files again; on failure what was there stays in use. */
qd_code qd_tls_reload(qd_tls *tls, qd_error *err);

/* What a handshake presents. */
typedef struct qd_tls_material {
    gnutls_pcert_st chain[16];
    unsigned count;
    gnutls_privkey_t key;
    struct qd_tls_material *older;
} qd_tls_material;
qd_tls_material *qd_tls_current(qd_tls *tls);

#endif
