/* once.c: see once.h. */
#include "jobs/once.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "jobs/service_private.h"
#include "store/idempotency_rows.h"

void qd_once_fini(qd_once *once)
{
    free(once->answer);
    *once = (qd_once){ 0 };
}

bool qd_once_key_ok(const char *key)
{
    size_t length = 0;
    while (key[length] > 0x20 && key[length] < 0x7f)
        length++;
    return length >= 1 && length <= QD_ONCE_KEY_MAX && key[length] == '\0';
}

static int64_t horizon(void)
{
    return qd_clock_wall_ms() - (int64_t)QD_ONCE_SECONDS * 1000;
}

typedef struct question {
    const qd_once *once;
    qd_idempotency_row row;
} question;

static qd_code find(void *ctx, qd_tx *tx, qd_error *err)
{
    question *q = ctx;
    return qd_idempotency_row_find(tx, q->once->owner, q->once->key, horizon(), &q->row, err);
}

static qd_code hold(qd_service *service, qd_once *once, qd_error *err)
{
    pthread_mutex_lock(&service->mutex);
    const qd_once *other = service->underway;
    while (other != NULL && (strcmp(other->owner, once->owner) != 0 || strcmp(other->key, once->key) != 0))
        other = other->next;
    if (other == NULL) {
        once->next = service->underway;
        service->underway = once;
    }
    pthread_mutex_unlock(&service->mutex);
    return other == NULL
               ? QD_OK
               : qd_fail(err, QD_ECONFLICT,
                         "Idempotency-Key: the first request with '%.60s' is still under way; ask again", once->key);
}

static qd_code recall(qd_service *service, qd_once *once, qd_error *err)
{
    question q = { .once = once };
    qd_code code = qd_store_read(service->store, find, &q, err);
    if (code == QD_ENOTFOUND)
        return QD_OK;
    if (code == QD_OK && strcmp(q.row.body_sha256, once->body_sha256) != 0)
        code = qd_fail(err, QD_EINVAL,
                       "Idempotency-Key: '%.60s' came with another body before; a new request wants a key of its own",
                       once->key);
    if (code == QD_OK) {
        once->answer = q.row.response;
        q.row.response = NULL;
    }
    qd_idempotency_row_fini(&q.row);
    return code;
}

qd_code qd_once_begin(qd_service *service, qd_once *once, const qd_caller *caller, const char *key, const void *body,
                      size_t length, qd_error *err)
{
    if (!qd_once_key_ok(key))
        return qd_fail(err, QD_EINTERNAL, "a key that was not checked");
    snprintf(once->owner, sizeof once->owner, "%s", caller->key_id);
    snprintf(once->key, sizeof once->key, "%s", key);
    qd_code code = qd_sha256(body, length, once->body_sha256, err);
    if (code == QD_OK)
        code = hold(service, once, err);
    if (code != QD_OK)
        return code;
    code = recall(service, once, err);
    if (code != QD_OK)
        qd_once_end(service, once);
    return code;
}

void qd_once_end(qd_service *service, qd_once *once)
{
    pthread_mutex_lock(&service->mutex);
    qd_once **at = &service->underway;
    while (*at != NULL && *at != once)
        at = &(*at)->next;
    if (*at != NULL)
        *at = once->next;
    pthread_mutex_unlock(&service->mutex);
}

qd_code qd_once_keep(qd_tx *tx, const qd_once *once, const char *job, qd_error *err)
{
    const qd_idempotency_row row = { .body_sha256 = (char *)(uintptr_t)once->body_sha256,
                                     .job = (char *)(uintptr_t)job,
                                     .response = once->answer };
    qd_code code = QD_FAULT_CODE("once.row", err);
    if (code != QD_OK)
        return code;
    return qd_idempotency_row_put(tx, once->owner, once->key, &row, qd_clock_wall_ms(), err);
}
