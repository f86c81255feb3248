/* delivery.h: webhooks and uploads of finished jobs: made in the transaction that ends the job, so that none is lost,
 * and carried out by the courier's threads until the other side has taken them.
 * Room: server/jobs, private to it. May use: base, engine, fetch, store.
 * Threads: any.
 * Source: Standard Webhooks 1.0 (webhook-id, webhook-timestamp, webhook-signature; retries; 410). */
#ifndef QD_JOBS_DELIVERY_H
#define QD_JOBS_DELIVERY_H

#include "fetch/send.h"
#include "jobs/service.h"
#include "jobs/state.h"
#include "store/delivery_rows.h"

/* How one delivery is carried out. QD_OK: taken by the other side. QD_ECANCELLED: the service stops, nothing is to be
 * noted. *sent is set in any case. */
typedef qd_code (*qd_carry)(qd_service *service, const qd_delivery_row *row, const qd_cancel *cancel, qd_sent *sent,
                            qd_error *err);

/* A row of the registry of kinds. */
typedef struct qd_delivery_kind {
    const char *name;
    size_t threads;  /* that carry this kind */
    size_t per_host; /* of them at one host at once */
    qd_carry carry;
} qd_delivery_kind;
enum { QD_DELIVERY_KINDS = 2 };
const qd_delivery_kind *qd_delivery_kind_at(size_t index); /* NULL past the end */

qd_code qd_carry_webhook(qd_service *service, const qd_delivery_row *row, const qd_cancel *cancel, qd_sent *sent,
                         qd_error *err);
qd_code qd_carry_upload(qd_service *service, const qd_delivery_row *row, const qd_cancel *cancel, qd_sent *sent,
                        qd_error *err);

/* Words of delivery.state. */
extern const char qd_delivery_pending[], qd_delivery_delivered[], qd_delivery_failed[];

/* In the transaction that has put the job into its final state: makes what the job's recipe asks for. */
qd_code qd_delivery_enqueue(qd_service *service, qd_tx *tx, const char *job, qd_state_id state, qd_error *err);

/* Is it "whsec_" and 24 to 64 bytes in base64? Then the bytes (free() them) and their number. QD_EINVAL says what is
 * wanted. */
qd_code qd_webhook_key(const char *secret, unsigned char **out, size_t *out_length, qd_error *err);
/* "v1,BASE64": the signature of a message of this id and time (seconds since 1970, as text); heap string. */
qd_code qd_webhook_sign(const char *secret, const char *id, const char *timestamp, const char *body, char **out,
                        qd_error *err);

/* Seconds before the next try, after so many; chance in [0, 1). retry_after < 0 = not said. */
double qd_delivery_pause(unsigned tries, double chance, long retry_after);
/* A member with the time, RFC 3339; null for 0. */
void qd_delivery_set_time(json_t *object, const char *key, int64_t wall_ms);

#endif
