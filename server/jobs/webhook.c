/* webhook.c: one POST of a webhook, signed; see delivery.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hmac.h"
#include "base/sign.h"
#include "base/str.h"
#include "jobs/delivery.h"
#include "jobs/service_private.h"

enum { KEY_MIN = 24, KEY_MAX = 64, GONE = 410 };
static const double timeout_seconds = 15;
static const char prefix[] = "whsec_";

qd_code qd_webhook_key(const char *secret, unsigned char **out, size_t *out_length, qd_error *err)
{
    static const char wanted[] = "whsec_ and 24 to 64 random bytes in base64 are wanted, as `echo whsec_$(openssl rand "
                                 "-base64 32)` prints";
    size_t head = sizeof prefix - 1;
    if (strncmp(secret, prefix, head) != 0 || secret[head] == '\0')
        return qd_fail(err, QD_EINVAL, "%s", wanted);
    if (qd_base64_decode(secret + head, out, out_length, NULL) != QD_OK)
        return qd_fail(err, QD_EINVAL, "not base64 behind 'whsec_'; %s", wanted);
    if (*out_length >= KEY_MIN && *out_length <= KEY_MAX)
        return QD_OK;
    free(*out);
    *out = NULL;
    return qd_fail(err, QD_EINVAL, "%zu bytes; %s", *out_length, wanted);
}

qd_code qd_webhook_sign(const char *secret, const char *id, const char *timestamp, const char *body, char **out,
                        qd_error *err)
{
    QD_AUTO(qd_free_pointer) unsigned char *key = NULL;
    QD_AUTO(qd_free_pointer) char *base = NULL;
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    unsigned char digest[QD_HMAC_BYTES];
    size_t length = 0;
    qd_str signature = { 0 };
    qd_str_addf(&text, "%s.%s.", id, timestamp);
    qd_str_add(&text, body);
    qd_code code = qd_str_check(&text, err);
    if (code == QD_OK)
        code = qd_webhook_key(secret, &key, &length, err);
    if (code == QD_OK)
        code = qd_hmac_sha256(key, length, text.data, text.length, digest, err);
    if (key != NULL)
        explicit_bzero(key, length);
    if (code == QD_OK)
        code = qd_base64_encode(digest, sizeof digest, &base, err);
    if (code != QD_OK)
        return code;
    qd_str_addf(&signature, "v1,%s", base);
    *out = qd_str_take(&signature);
    return *out == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

typedef struct secret_wish {
    const char *job;
    char *secret;
} secret_wish;

static qd_code read_secret(void *ctx, qd_tx *tx, qd_error *err)
{
    secret_wish *w = ctx;
    return qd_webhook_secret_read(tx, w->job, &w->secret, err);
}

qd_code qd_carry_webhook(qd_service *service, const qd_delivery_row *row, const qd_cancel *cancel, qd_sent *sent,
                         qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *signature = NULL;
    secret_wish wish = { .job = row->job };
    char timestamp[24];
    *sent = (qd_sent){ .retry_after = -1 };
    snprintf(timestamp, sizeof timestamp, "%" PRId64, qd_clock_wall_ms() / 1000);
    qd_code code = qd_store_read(service->store, read_secret, &wish, err);
    if (code == QD_OK && wish.secret == NULL) {
        sent->outlook = QD_SENT_NEVER;
        code = qd_fail(err, QD_EINVAL, "its secret is forgotten");
    }
    if (code == QD_OK)
        code = qd_webhook_sign(wish.secret, row->id, timestamp, row->body == NULL ? "" : row->body, &signature, err);
    if (wish.secret != NULL)
        explicit_bzero(wish.secret, strlen(wish.secret));
    free(wish.secret);
    if (code != QD_OK)
        return code;
    const qd_ask_header headers[] = { { "content-type", "application/json" },
                                      { "webhook-id", row->id },
                                      { "webhook-timestamp", timestamp },
                                      { "webhook-signature", signature } };
    const qd_post post = { .url = row->url,
                           .headers = headers,
                           .header_count = QD_LENGTH(headers),
                           .body = row->body,
                           .length = row->body == NULL ? 0 : strlen(row->body),
                           .timeout_seconds = timeout_seconds };
    code = qd_fetch_post(service->fetcher, &post, cancel, sent, err);
    if (sent->status == GONE) { /* the receiver wants no more of it */
        sent->outlook = QD_SENT_NEVER;
        code = qd_fail(err, QD_ENETWORK, "status 410: the receiver wants no more of it");
    }
    return code;
}
