/* streams.c: see streams.h. */
#include "http/streams.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/hosts.h"
#include "http/sse.h"
#include "jobs/keys.h"

enum { BATCH_EVENTS = 64, BLOCK_BYTES = 4096, KEY_SECONDS = 1 };

/* Frames that several subscribers may be sending at once; counted under the hub's lock. */
typedef struct batch {
    size_t users;
    qd_str text;
    uint64_t last; /* position of a subscriber that has got it */
    bool closes;   /* nothing follows */
} batch;

typedef struct subscriber {
    struct subscriber *previous, *next;
    qd_streams *hub;
    struct MHD_Connection *connection;
    char job[QD_JOB_ID];
    char address[QD_CALLER_ADDRESS];
    char key[QD_JOB_ID]; /* "" = none */
    double checked;      /* when the key was last known to be good */
    uint64_t position;   /* id of the last event handed out */
    batch *current;      /* being sent; NULL = wants more */
    size_t sent;         /* bytes of it */
    bool pending;        /* there may be events after position */
    bool ended;
    bool asleep; /* suspended: only resume may touch the connection */
    double last_write;
} subscriber;

struct qd_streams {
    qd_streams_config config;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t thread;
    bool running, closing;
    subscriber *first;
    size_t count;
    qd_watch *watch;
};

static batch *batch_create(void)
{
    batch *made = calloc(1, sizeof *made);
    if (made != NULL)
        made->users = 1;
    return made;
}

static void batch_release(batch *b)
{
    if (b != NULL && --b->users == 0) {
        qd_str_fini(&b->text);
        free(b);
    }
}

/* Below, "locked" in a name: the hub's mutex is held. */

static void wake_locked(subscriber *s)
{
    if (!s->asleep)
        return;
    s->asleep = false;
    MHD_resume_connection(s->connection);
}

static void give_locked(subscriber *s, batch *b)
{
    assert(s->current == NULL);
    b->users++;
    s->current = b;
    s->sent = 0;
    s->ended = b->closes;
    wake_locked(s);
}

static bool hungry(const subscriber *s)
{
    return s->current == NULL && !s->ended;
}

static subscriber *find_work_locked(qd_streams *hub)
{
    subscriber *s = hub->first;
    while (s != NULL && !(hungry(s) && s->pending))
        s = s->next;
    return s;
}

/* Ids have no gaps. A place beyond the newest event (a database put back from a backup), or before one that is no longer
 * kept, is no place in this job's events: the client is told to read the job anew, and where the stream goes on. */
static uint64_t add_resync(qd_str *out, const qd_job *job, const json_t *events, uint64_t after)
{
    json_int_t first = json_integer_value(json_object_get(json_array_get(events, 0), "id"));
    uint64_t place = after;
    if (first > 0 && (uint64_t)first > after + 1)
        place = (uint64_t)first - 1;
    else if (first == 0 && after > job->last_event)
        place = job->last_event;
    if (place != after)
        qd_sse_add_resync(out, place);
    return place;
}

/* The state is read first: events that came before the end are then all there. */
static qd_code load(qd_streams *hub, const char *job, uint64_t after, batch *b, qd_error *err)
{
    QD_AUTO(qd_job_fini) qd_job record = { 0 };
    json_t *events = NULL;
    qd_code code = qd_service_get(hub->config.service, job, &record, err);
    if (code == QD_OK)
        code = qd_service_events(hub->config.service, job, after, BATCH_EVENTS, &events, err);
    if (code != QD_OK)
        return code;
    b->last = add_resync(&b->text, &record, events, after);
    for (size_t i = 0; i < json_array_size(events); i++) {
        uint64_t id = qd_sse_add_event(&b->text, json_array_get(events, i));
        b->last = id > b->last ? id : b->last;
    }
    if (json_array_size(events) < BATCH_EVENTS && record.finished_ms != 0) {
        qd_sse_add_end(&b->text, record.state);
        b->closes = true;
    }
    json_decref(events);
    return qd_str_check(&b->text, err);
}

/* Everybody at this place gets the batch. An empty one says only that there is nothing new. */
static void hand_out_locked(qd_streams *hub, const char *job, uint64_t after, batch *b)
{
    if (b->text.length == 0 && !b->closes)
        return;
    for (subscriber *s = hub->first; s != NULL; s = s->next)
        if (hungry(s) && s->position == after && strcmp(s->job, job) == 0) {
            s->position = b->last;
            s->pending = true;
            give_locked(s, b);
        }
}

static void serve_locked(qd_streams *hub, const subscriber *first)
{
    char job[QD_JOB_ID];
    uint64_t after = first->position;
    qd_error err;
    memcpy(job, first->job, sizeof job);
    for (subscriber *s = hub->first; s != NULL; s = s->next)
        if (hungry(s) && s->position == after && strcmp(s->job, job) == 0)
            s->pending = false;
    pthread_mutex_unlock(&hub->mutex);
    batch *b = batch_create();
    qd_code code = b == NULL ? QD_ENOMEM : load(hub, job, after, b, &err);
    pthread_mutex_lock(&hub->mutex);
    if (b == NULL)
        return; /* tried again at the job's next event */
    if (code != QD_OK) {
        /* Deleted, or the store fails: the stream ends, and a client that reconnects learns why. */
        qd_str_clear(&b->text);
        b->closes = true;
        b->last = after;
    }
    hand_out_locked(hub, job, after, b);
    batch_release(b);
}

static void beat_locked(qd_streams *hub)
{
    double now = qd_clock_seconds();
    batch *b = NULL;
    for (subscriber *s = hub->first; s != NULL; s = s->next) {
        if (!s->asleep || !hungry(s) || now - s->last_write < hub->config.heartbeat_seconds)
            continue;
        if (b == NULL && (b = batch_create()) == NULL)
            return;
        if (b->text.length == 0)
            qd_sse_add_heartbeat(&b->text);
        give_locked(s, b);
    }
    batch_release(b);
}

static subscriber *find_doubtful_locked(qd_streams *hub, double now)
{
    subscriber *s = hub->first;
    while (s != NULL && (s->key[0] == '\0' || s->ended || now - s->checked < KEY_SECONDS))
        s = s->next;
    return s;
}

/* A stream outlives its request, but not its key: one that was revoked, or has expired, hears no more. */
static void check_keys_locked(qd_streams *hub)
{
    double now = qd_clock_seconds();
    for (const subscriber *first; (first = find_doubtful_locked(hub, now)) != NULL;) {
        qd_caller caller = { 0 };
        char key[QD_JOB_ID];
        memcpy(key, first->key, sizeof key);
        pthread_mutex_unlock(&hub->mutex);
        bool gone = qd_keyring_admit_id(qd_service_keyring(hub->config.service), key, &caller, NULL) == QD_EDENIED;
        pthread_mutex_lock(&hub->mutex);
        for (subscriber *s = hub->first; s != NULL; s = s->next)
            if (strcmp(s->key, key) == 0) {
                s->checked = now;
                s->ended |= gone;
                if (gone)
                    wake_locked(s);
            }
    }
}

static void wait_locked(qd_streams *hub)
{
    double pause = hub->config.heartbeat_seconds < 2 ? hub->config.heartbeat_seconds / 2 : 1;
    const struct timespec until = qd_clock_deadline(pause);
    pthread_cond_timedwait(&hub->changed, &hub->mutex, &until);
}

static void *run_hub(void *ctx)
{
    qd_streams *hub = ctx;
    pthread_mutex_lock(&hub->mutex);
    while (!hub->closing) {
        subscriber *s = find_work_locked(hub);
        if (s != NULL)
            serve_locked(hub, s);
        else
            wait_locked(hub);
        beat_locked(hub);
        check_keys_locked(hub);
    }
    pthread_mutex_unlock(&hub->mutex);
    return NULL;
}

/* From a thread of the service, after a commit: only marks. */
static void woken(void *ctx, const char *id, uint64_t last_event_id)
{
    qd_streams *hub = ctx;
    (void)last_event_id; /* one who waits beyond it must still learn that the job has ended */
    if (id == NULL)
        return; /* the service stops; whoever stops it stops us first */
    pthread_mutex_lock(&hub->mutex);
    bool any = false;
    for (subscriber *s = hub->first; s != NULL; s = s->next)
        if (strcmp(s->job, id) == 0)
            any = s->pending = true;
    if (any)
        pthread_cond_signal(&hub->changed);
    pthread_mutex_unlock(&hub->mutex);
}

static ssize_t send_locked(subscriber *s, char *out, size_t room)
{
    batch *b = s->current;
    size_t length = qd_min_size(b->text.length - s->sent, room);
    if (length > 0)
        memcpy(out, b->text.data + s->sent, length);
    s->sent += length;
    s->last_write = qd_clock_seconds();
    if (s->sent == b->text.length) {
        s->current = NULL;
        batch_release(b);
        if (s->pending)
            pthread_cond_signal(&s->hub->changed);
    }
    return length == 0 ? MHD_CONTENT_READER_END_OF_STREAM : (ssize_t)length;
}

static ssize_t read_stream(void *ctx, uint64_t sent_before, char *out, size_t room)
{
    subscriber *s = ctx;
    ssize_t result = 0;
    (void)sent_before;
    pthread_mutex_lock(&s->hub->mutex);
    if (s->hub->closing)
        result = MHD_CONTENT_READER_END_OF_STREAM;
    else if (s->current != NULL)
        result = send_locked(s, out, room);
    else if (s->ended)
        result = MHD_CONTENT_READER_END_OF_STREAM;
    else {
        s->asleep = true;
        MHD_suspend_connection(s->connection);
    }
    pthread_mutex_unlock(&s->hub->mutex);
    return result;
}

static void free_stream(void *ctx)
{
    subscriber *s = ctx;
    qd_streams *hub = s->hub;
    pthread_mutex_lock(&hub->mutex);
    if (s->next != NULL)
        s->next->previous = s->previous;
    *(s->previous == NULL ? &hub->first : &s->previous->next) = s->next;
    hub->count--;
    atomic_fetch_sub(&hub->config.counters->streams, 1);
    batch_release(s->current);
    pthread_mutex_unlock(&hub->mutex);
    free(s);
}

static size_t streams_of_locked(const qd_streams *hub, const char *address)
{
    size_t count = 0;
    for (const subscriber *s = hub->first; s != NULL; s = s->next)
        count += strcmp(s->address, address) == 0;
    return count;
}

static qd_code check_limits_locked(const qd_streams *hub, const char *address, qd_error *err)
{
    size_t most = hub->config.limit_per_address;
    if (hub->closing)
        return qd_fail(err, QD_ECANCELLED, "the service is stopping");
    if (hub->count == hub->config.limit)
        return qd_fail(err, QD_EBUSY, "%zu event streams are open, which is the limit", hub->count);
    if (most > 0 && !qd_host_is_loopback(address) && streams_of_locked(hub, address) >= most)
        return qd_fail(err, QD_EBUSY, "%zu event streams of %s are open, which is the limit of one address", most,
                       address);
    return QD_OK;
}

static qd_code add_subscriber(qd_streams *hub, subscriber *s, batch *opening, qd_error *err)
{
    pthread_mutex_lock(&hub->mutex);
    qd_code code = check_limits_locked(hub, s->address, err);
    if (code == QD_OK) {
        s->next = hub->first;
        if (s->next != NULL)
            s->next->previous = s;
        hub->first = s;
        hub->count++;
        atomic_fetch_add(&hub->config.counters->streams, 1);
        s->pending = true;
        give_locked(s, opening);
    }
    batch_release(opening);
    pthread_mutex_unlock(&hub->mutex);
    return code;
}

qd_code qd_streams_open(qd_streams *hub, const qd_streams_opening *asked, struct MHD_Response **out, qd_error *err)
{
    batch *opening = batch_create();
    subscriber *s = calloc(1, sizeof *s);
    if (opening == NULL || s == NULL) {
        batch_release(opening);
        free(s);
        return qd_fail(err, QD_ENOMEM, "out of memory");
    }
    *s = (subscriber){
        .hub = hub, .connection = asked->connection, .position = asked->after, .last_write = qd_clock_seconds()
    };
    s->checked = s->last_write;
    memcpy(s->key, asked->key, strnlen(asked->key, sizeof s->key - 1));
    memcpy(s->job, asked->job, strnlen(asked->job, QD_JOB_ID - 1));
    memcpy(s->address, asked->address, strnlen(asked->address, sizeof s->address - 1));
    qd_sse_add_opening(&opening->text);
    qd_code code = add_subscriber(hub, s, opening, err);
    if (code != QD_OK) {
        free(s);
        return code;
    }
    *out = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, read_stream, s, free_stream);
    if (*out == NULL) {
        free_stream(s);
        return qd_fail(err, QD_ENOMEM, "out of memory");
    }
    return QD_OK;
}

static qd_code start_hub(qd_streams *hub, qd_error *err)
{
    pthread_mutex_init(&hub->mutex, NULL);
    qd_clock_condition_init(&hub->changed);
    qd_code code = qd_service_watch(hub->config.service, NULL, woken, hub, &hub->watch, err);
    if (code != QD_OK)
        return code;
    int failed = pthread_create(&hub->thread, NULL, run_hub, hub);
    hub->running = failed == 0;
    return failed == 0 ? QD_OK
                       : qd_fail(err, QD_EIO, "the thread of event streams could not be started: %s", strerror(failed));
}

qd_code qd_streams_create(const qd_streams_config *config, qd_streams **out, qd_error *err)
{
    qd_streams *hub = NULL;
    qd_code code = qd_alloc(1, sizeof *hub, (void **)&hub, err);
    if (code != QD_OK)
        return code;
    hub->config = *config;
    code = start_hub(hub, err);
    if (code != QD_OK) {
        qd_streams_close(hub);
        qd_streams_destroy(hub);
        return code;
    }
    *out = hub;
    return QD_OK;
}

void qd_streams_close(qd_streams *hub)
{
    pthread_mutex_lock(&hub->mutex);
    hub->closing = true;
    for (subscriber *s = hub->first; s != NULL; s = s->next)
        wake_locked(s);
    pthread_cond_broadcast(&hub->changed);
    pthread_mutex_unlock(&hub->mutex);
    if (hub->running)
        pthread_join(hub->thread, NULL);
    hub->running = false;
    if (hub->watch != NULL)
        qd_service_unwatch(hub->config.service, hub->watch);
    hub->watch = NULL;
}

void qd_streams_destroy(qd_streams *hub)
{
    if (hub == NULL)
        return;
    assert(hub->first == NULL && !hub->running);
    pthread_cond_destroy(&hub->changed);
    pthread_mutex_destroy(&hub->mutex);
    free(hub);
}
