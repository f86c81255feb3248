/* courier.c: see courier.h. */
#include "jobs/courier.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "jobs/delivery.h"
#include "jobs/record.h"
#include "jobs/service_private.h"

enum { TRIES = 10, LOOK_SECONDS = 60, DETAIL_LENGTH = 600 };

/* A delivery in somebody's hands. */
typedef struct errand {
    const qd_delivery_kind *kind;
    qd_delivery_row row;
    struct errand *next;
} errand;

typedef struct carrier {
    struct qd_courier *courier;
    const qd_delivery_kind *kind;
    pthread_t thread;
} carrier;

struct qd_courier {
    qd_service *service;
    carrier *carriers;
    size_t count; /* threads started */
    qd_cancel cancel;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool stopping;
    uint64_t turn;  /* grows with everything that may make a delivery free to be carried */
    uint64_t ended; /* errands that are over: what was read before one ended may be out of date */
    errand *errands;
};

/* ---- choosing; with the mutex held ---- */

static size_t at_host(const qd_courier *c, const qd_delivery_kind *kind, const char *host)
{
    size_t count = 0;
    for (const errand *e = c->errands; e != NULL; e = e->next)
        count += e->kind == kind && strcmp(e->row.host, host) == 0;
    return count;
}

static bool is_free(const qd_courier *c, const qd_delivery_kind *kind, const qd_delivery_row *row)
{
    for (const errand *e = c->errands; e != NULL; e = e->next)
        if (strcmp(e->row.id, row->id) == 0)
            return false;
    return at_host(c, kind, row->host) < kind->per_host;
}

/* What the next search shall pass over, as JSON. */
static void list_busy(const qd_courier *c, const qd_delivery_kind *kind, char **out_ids, char **out_hosts)
{
    QD_AUTO(qd_json_fini) json_t *ids = json_array();
    QD_AUTO(qd_json_fini) json_t *hosts = json_array();
    for (const errand *e = c->errands; e != NULL; e = e->next) {
        json_array_append_new(ids, json_string(e->row.id));
        if (at_host(c, kind, e->row.host) >= kind->per_host)
            json_array_append_new(hosts, json_string(e->row.host));
    }
    *out_ids = qd_json_print(ids);
    *out_hosts = qd_json_print(hosts);
}

/* ---- what became of it ---- */

typedef struct outcome {
    const qd_delivery_row *row;
    qd_delivery_try attempt;
    uint64_t last_event;
} outcome;

static qd_code write_outcome(void *ctx, qd_tx *tx, qd_error *err)
{
    outcome *o = ctx;
    const qd_delivery_try *a = &o->attempt;
    char next[QD_TIME_TEXT];
    qd_clock_format(a->next_ms, next);
    qd_code code = qd_delivery_row_tried(tx, o->row->id, a, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("delivery.noted", err);
    if (code == QD_OK && strcmp(o->row->kind, "webhook") == 0)
        code = qd_webhook_secret_forget(tx, o->row->job, qd_state_at(QD_STATE_SUCCEEDED)->name, qd_delivery_delivered,
                                        err);
    if (code != QD_OK)
        return code;
    QD_AUTO(qd_json_fini)
    json_t *data = json_pack("{s:s, s:s, s:s, s:i, s:o, s:s, s:s?}", "delivery", o->row->id, "kind", o->row->kind,
                             "state", a->state, "try", (int)o->row->tries + 1, "status",
                             a->status == 0 ? json_null() : json_integer(a->status), "detail", a->detail, "next_at",
                             a->finished_ms != 0 ? NULL : next);
    return qd_record_event(tx, o->row->job, "delivery", data, &o->last_event, err);
}

/* Called with the mutex held: a while, or until the service stops. */
static void pause_seconds(qd_courier *c, double seconds)
{
    const struct timespec until = qd_clock_deadline(seconds);
    while (!c->stopping && pthread_cond_timedwait(&c->changed, &c->mutex, &until) == 0)
        continue;
}

/* A try that is not noted would be made again at once: it is held until the database takes it, or its job is gone. */
static void insist(qd_courier *c, outcome *o)
{
    for (;;) {
        qd_error err = { 0 };
        qd_code code = qd_store_write(c->service->store, write_outcome, o, &err);
        if (code == QD_OK)
            qd_bell_ring(c->service->bell, o->row->job, o->last_event);
        if (code == QD_OK || code == QD_ENOTFOUND)
            return;
        qd_service_say(c->service, "error", "delivery.not-recorded", "job=%s delivery=%s reason=\"%s\"", o->row->job,
                       o->row->id, err.text);
        pthread_mutex_lock(&c->mutex);
        pause_seconds(c, 1);
        bool stopping = c->stopping;
        pthread_mutex_unlock(&c->mutex);
        if (stopping)
            return;
    }
}

/* Text that came from elsewhere becomes JSON and a row: printable ASCII. */
static void clean(char *text)
{
    for (char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
            *p = '?';
}

static void judge(const qd_courier *c, const qd_delivery_row *row, qd_code code, const qd_sent *sent, outcome *o)
{
    unsigned tries = qd_service_now(c->service).webhook_tries, limit = tries == 0 ? TRIES : tries;
    int64_t now = qd_clock_wall_ms();
    bool over = code == QD_OK || sent->outlook == QD_SENT_NEVER || row->tries + 1 >= limit;
    double chance = qd_rng_uniform(qd_rng_key((uint64_t)now, (uintptr_t)row, 0), row->tries);
    o->attempt.state = code == QD_OK ? qd_delivery_delivered : over ? qd_delivery_failed : qd_delivery_pending;
    o->attempt.finished_ms = over ? now : 0;
    o->attempt.next_ms =
        over ? 0 : now + (int64_t)(1000 * qd_delivery_pause(row->tries + 1, chance, sent->retry_after));
}

static void count(qd_service *service, const qd_delivery_kind *kind, const char *state)
{
    qd_delivery_tally *tally = &service->tally.deliveries[kind - qd_delivery_kind_at(0)];
    pthread_mutex_lock(&service->mutex);
    tally->attempts++;
    tally->delivered += state == qd_delivery_delivered;
    tally->failed += state == qd_delivery_failed;
    pthread_mutex_unlock(&service->mutex);
}

static void carry(qd_courier *c, const errand *e)
{
    qd_error err = { 0 };
    qd_sent sent = { .retry_after = -1 };
    char detail[DETAIL_LENGTH];
    outcome o = { .row = &e->row, .attempt = { .time_ms = qd_clock_wall_ms(), .detail = detail } };
    double started = qd_clock_seconds();
    qd_code code = QD_FAULT_CODE("delivery.send", &err);
    if (code == QD_OK)
        code = e->kind->carry(c->service, &e->row, &c->cancel, &sent, &err);
    QD_FAULT("delivery.sent");
    if (qd_cancel_requested(&c->cancel) && code != QD_OK)
        return; /* it stays due, and is told at the next start */
    o.attempt.seconds = qd_clock_seconds() - started;
    o.attempt.status = sent.status;
    judge(c, &e->row, code, &sent, &o);
    snprintf(detail, sizeof detail, "%s", code == QD_OK ? "taken" : err.text);
    clean(detail);
    qd_service_say(c->service, code == QD_OK ? "info" : "warn", "delivery.tried",
                   "job=%s delivery=%s kind=%s state=%s try=%u status=%ld detail=\"%s\"", e->row.job, e->row.id,
                   e->kind->name, o.attempt.state, e->row.tries + 1, sent.status, detail);
    count(c->service, e->kind, o.attempt.state);
    insist(c, &o);
}

/* ---- threads ---- */

typedef struct search {
    qd_delivery_search what;
    qd_delivery_row row;
    int64_t next_ms;
} search;

static qd_code look(void *ctx, qd_tx *tx, qd_error *err)
{
    search *s = ctx;
    qd_code code = qd_delivery_row_due(tx, &s->what, &s->row, err);
    return code == QD_ENOTFOUND ? qd_delivery_row_next(tx, &s->what, &s->next_ms, err) : code;
}

/* Called with the mutex held, which is let go meanwhile. QD_OK: *row is due; or row->id is "" and *next_ms says when to
 * look again. */
static qd_code find_due(qd_courier *c, const qd_delivery_kind *kind, qd_delivery_row *row, int64_t *next_ms,
                        qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *ids = NULL;
    QD_AUTO(qd_free_pointer) char *hosts = NULL;
    list_busy(c, kind, &ids, &hosts);
    if (ids == NULL || hosts == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    search s = { .what = { .kind = kind->name, .busy_ids = ids, .busy_hosts = hosts, .now_ms = qd_clock_wall_ms() } };
    pthread_mutex_unlock(&c->mutex);
    qd_code code = qd_store_read(c->service->store, look, &s, err);
    if (s.row.id[0] != '\0')
        QD_FAULT("delivery.found");
    pthread_mutex_lock(&c->mutex);
    *row = s.row;
    *next_ms = s.next_ms;
    return code;
}

/* Called with the mutex held, which is let go meanwhile. */
static void run_errand(qd_courier *c, errand *e)
{
    e->next = c->errands;
    c->errands = e;
    pthread_mutex_unlock(&c->mutex);
    carry(c, e);
    pthread_mutex_lock(&c->mutex);
    errand **at = &c->errands;
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    c->turn++;
    c->ended++;
    pthread_cond_broadcast(&c->changed);
}

/* Called with the mutex held: until the next one is due, or something changed. */
static void wait_for_turn(qd_courier *c, uint64_t seen, int64_t next_ms)
{
    double seconds = LOOK_SECONDS;
    int64_t now = qd_clock_wall_ms();
    if (next_ms < now + (int64_t)LOOK_SECONDS * 1000)
        seconds = next_ms > now ? (double)(next_ms - now) / 1000 : 0.001;
    const struct timespec until = qd_clock_deadline(seconds);
    while (!c->stopping && c->turn == seen)
        if (pthread_cond_timedwait(&c->changed, &c->mutex, &until) != 0)
            return;
}

/* A row that was read while another carrier ended an errand is not carried: it may be that carrier's, as it was before
 * the try, and would be sent twice under one number. It is searched for again. */
static void *carry_loop(void *arg)
{
    const carrier *self = arg;
    qd_courier *c = self->courier;
    pthread_mutex_lock(&c->mutex);
    while (!c->stopping) {
        errand e = { .kind = self->kind };
        int64_t next_ms = INT64_MAX;
        qd_error err = { 0 };
        uint64_t seen = c->turn, ended = c->ended;
        qd_code code = find_due(c, self->kind, &e.row, &next_ms, &err);
        if (code != QD_OK) {
            qd_service_say(c->service, "error", "delivery.search-failed", "reason=\"%s\"", err.text);
            pause_seconds(c, 1);
        } else if (e.row.id[0] == '\0') {
            wait_for_turn(c, seen, next_ms);
        } else if (!c->stopping && c->ended == ended && is_free(c, self->kind, &e.row)) {
            run_errand(c, &e);
        }
        qd_delivery_row_fini(&e.row);
    }
    pthread_mutex_unlock(&c->mutex);
    return NULL;
}

static qd_code start_carriers(qd_courier *c, qd_error *err)
{
    size_t total = 0;
    const qd_delivery_kind *kind;
    for (size_t i = 0; (kind = qd_delivery_kind_at(i)) != NULL; i++)
        total += kind->threads;
    qd_code code = qd_alloc(total, sizeof *c->carriers, (void **)&c->carriers, err);
    for (size_t i = 0; code == QD_OK && (kind = qd_delivery_kind_at(i)) != NULL; i++)
        for (size_t k = 0; code == QD_OK && k < kind->threads; k++) {
            carrier *self = &c->carriers[c->count];
            *self = (carrier){ .courier = c, .kind = kind };
            if (pthread_create(&self->thread, NULL, carry_loop, self) != 0)
                code = qd_fail(err, QD_EBUSY, "a thread for deliveries could not be started");
            else
                c->count++;
        }
    return code;
}

qd_code qd_courier_start(qd_service *service, qd_courier **out, qd_error *err)
{
    qd_courier *c = NULL;
    qd_code code = qd_alloc(1, sizeof *c, (void **)&c, err);
    if (code != QD_OK)
        return code;
    c->service = service;
    pthread_mutex_init(&c->mutex, NULL);
    qd_clock_condition_init(&c->changed);
    code = start_carriers(c, err);
    if (code == QD_OK)
        *out = c;
    else
        qd_courier_destroy(c);
    return code;
}

void qd_courier_wake(qd_courier *c)
{
    if (c == NULL)
        return;
    pthread_mutex_lock(&c->mutex);
    c->turn++;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->mutex);
}

void qd_courier_destroy(qd_courier *c)
{
    if (c == NULL)
        return;
    pthread_mutex_lock(&c->mutex);
    c->stopping = true;
    qd_cancel_request(&c->cancel);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->mutex);
    for (size_t i = 0; i < c->count; i++)
        pthread_join(c->carriers[i].thread, NULL);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->mutex);
    free(c->carriers);
    free(c);
}
