/* admission.c: who may come in with a key, and how often; see keys.h. What the rows say is remembered for a moment only: other
 * processes change them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/mem.h"
#include "jobs/keyring.h"

/* One thread reads again what is older than the first; nobody uses what is older than the second; and before a key is called unknown
 * whatever is older than the third is read again. */
static const double fresh_seconds = 0.1, stale_seconds = 0.2, doubt_seconds = 0.01;
enum { TOUCH_MS = 60000 };

void qd_keyring_forget(qd_keyring *k)
{
    pthread_mutex_lock(&k->mutex);
    k->loaded_at = 0;
    k->generation++;
    pthread_mutex_unlock(&k->mutex);
}

void qd_keyring_set_rate(qd_keyring *k, uint64_t rate_per_minute)
{
    pthread_mutex_lock(&k->mutex);
    k->rules.rate_per_minute = rate_per_minute;
    pthread_mutex_unlock(&k->mutex);
}

typedef struct loading {
    qd_key_entry *entries;
    size_t count, capacity;
} loading;

static qd_code add_entry(void *ctx, const qd_key_row *row, qd_error *err)
{
    loading *l = ctx;
    qd_code code = qd_grow((void **)&l->entries, &l->capacity, l->count + 1, sizeof *l->entries, err);
    if (code != QD_OK)
        return code;
    qd_key_entry *entry = &l->entries[l->count];
    *entry = (qd_key_entry){ .row = *row, .filled_at = -1 };
    code = qd_scopes_parse(row->scopes, &entry->scopes, err);
    l->count += code == QD_OK;
    return code == QD_OK ? QD_OK : qd_within(err, QD_EFORMAT, "key '%s'", row->name);
}

static qd_code read_rows(void *ctx, qd_tx *tx, qd_error *err)
{
    return qd_key_row_each(tx, add_entry, ctx, err);
}

/* Rows never go, and both lists are in the order of ids: what is remembered of a key goes along. */
static void replace(qd_keyring *k, loading *l)
{
    for (size_t i = 0, at = 0; i < k->count; i++) {
        while (at < l->count && strcmp(l->entries[at].row.id, k->entries[i].row.id) < 0)
            at++;
        if (at == l->count || strcmp(l->entries[at].row.id, k->entries[i].row.id) != 0)
            continue;
        l->entries[at].tokens = k->entries[i].tokens;
        l->entries[at].filled_at = k->entries[i].filled_at;
        l->entries[at].used_ms = k->entries[i].used_ms;
    }
    free(k->entries);
    k->entries = l->entries;
    k->count = l->count;
}

static qd_code load(qd_keyring *k, uint64_t generation, qd_error *err)
{
    loading l = { 0 };
    double now = qd_clock_seconds();
    qd_code code = qd_store_read(k->store, read_rows, &l, err);
    pthread_mutex_lock(&k->mutex);
    k->loading = false;
    if (code == QD_OK) {
        replace(k, &l);
        k->loaded_at = k->generation == generation ? now : 0;
    }
    pthread_mutex_unlock(&k->mutex);
    if (code != QD_OK)
        free(l.entries);
    return code;
}

void qd_keyring_settle(const qd_keyring *k)
{
    if (k->beside)
        nanosleep(&(struct timespec){ .tv_nsec = (long)(stale_seconds * 1e9) }, NULL);
}

/* One thread reads while the others go on with what is there; where that is too old, everyone reads. */
static qd_code refresh(qd_keyring *k, double seconds, qd_error *err)
{
    pthread_mutex_lock(&k->mutex);
    double age = k->loaded_at == 0 ? INFINITY : qd_clock_seconds() - k->loaded_at;
    bool due = age > stale_seconds || (age > seconds && (!k->loading || seconds < fresh_seconds));
    uint64_t generation = k->generation;
    k->loading |= due;
    pthread_mutex_unlock(&k->mutex);
    return due ? load(k, generation, err) : QD_OK;
}

qd_code qd_keyring_asks(qd_keyring *k, bool *out, qd_error *err)
{
    if (k->rules.auth != QD_AUTH_AUTO) {
        *out = k->rules.auth == QD_AUTH_KEYS;
        return QD_OK;
    }
    qd_code code = refresh(k, fresh_seconds, err);
    if (code != QD_OK)
        return code;
    pthread_mutex_lock(&k->mutex);
    *out = k->count > 0;
    pthread_mutex_unlock(&k->mutex);
    return QD_OK;
}

/* Takes as long whatever the digests have in common. */
static bool same_digest(const char a[QD_KEY_DIGEST], const char b[QD_KEY_DIGEST])
{
    unsigned difference = 0;
    for (size_t i = 0; i < QD_KEY_DIGEST; i++)
        difference |= (unsigned)(a[i] ^ b[i]);
    return difference == 0;
}

/* Called with the mutex held; looks at every key in any case. */
static qd_key_entry *find_digest(qd_keyring *k, const char digest[QD_KEY_DIGEST])
{
    qd_key_entry *found = NULL;
    for (size_t i = 0; i < k->count; i++)
        found = same_digest(k->entries[i].row.sha256, digest) ? &k->entries[i] : found;
    return found;
}

/* Called with the mutex held. */
static qd_key_entry *find_id(qd_keyring *k, const char *id)
{
    size_t low = 0, high = k->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(k->entries[middle].row.id, id);
        if (order == 0)
            return &k->entries[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Called with the mutex held. */
static qd_code admit(qd_key_entry *entry, qd_caller *caller, qd_error *err)
{
    int64_t now = qd_clock_wall_ms();
    if (entry == NULL)
        return qd_fail(err, QD_EDENIED, "the key is not one of this service");
    if (entry->row.revoked_ms != 0)
        return qd_fail(err, QD_EDENIED, "the key was revoked");
    if (entry->row.expires_ms != 0 && now >= entry->row.expires_ms)
        return qd_fail(err, QD_EDENIED, "the key has expired");
    entry->used_ms = now;
    memcpy(caller->key_id, entry->row.id, sizeof caller->key_id);
    caller->scopes = entry->scopes;
    return QD_OK;
}

/* *out_known: there is such a key, whether it may come in or not. */
static qd_code admit_digest(qd_keyring *k, const char digest[QD_KEY_DIGEST], qd_caller *caller, bool *out_known,
                            qd_error *err)
{
    pthread_mutex_lock(&k->mutex);
    qd_key_entry *entry = find_digest(k, digest);
    qd_code code = admit(entry, caller, err);
    *out_known = entry != NULL;
    pthread_mutex_unlock(&k->mutex);
    return code;
}

qd_code qd_keyring_admit(qd_keyring *k, const char *text, qd_caller *caller, qd_error *err)
{
    char digest[QD_DIGEST_HEX];
    bool known = false;
    qd_code code = qd_sha256(text, strlen(text), digest, err);
    if (code == QD_OK)
        code = refresh(k, fresh_seconds, err);
    if (code == QD_OK)
        code = admit_digest(k, digest, caller, &known, err);
    if (code != QD_EDENIED || known)
        return code;
    code = refresh(k, doubt_seconds, err); /* it may be new */
    return code == QD_OK ? admit_digest(k, digest, caller, &known, err) : code;
}

qd_code qd_keyring_admit_id(qd_keyring *k, const char *id, qd_caller *caller, qd_error *err)
{
    qd_code code = refresh(k, fresh_seconds, err);
    if (code != QD_OK)
        return code;
    pthread_mutex_lock(&k->mutex);
    code = admit(find_id(k, id), caller, err);
    pthread_mutex_unlock(&k->mutex);
    return code;
}

/* A bucket that holds a minute's requests and fills evenly. Called with the mutex held. */
static double take_token(qd_key_entry *entry, double rate)
{
    double now = qd_clock_seconds();
    double filled = entry->filled_at < 0 ? rate : entry->tokens + (now - entry->filled_at) * rate / 60;
    entry->filled_at = now;
    entry->tokens = filled > rate ? rate : filled;
    if (entry->tokens < 1)
        return (1 - entry->tokens) * 60 / rate;
    entry->tokens -= 1;
    return 0;
}

qd_code qd_keyring_turn(qd_keyring *k, const qd_caller *caller, double *out_seconds, qd_error *err)
{
    *out_seconds = 0;
    pthread_mutex_lock(&k->mutex);
    qd_key_entry *entry = find_id(k, caller->key_id);
    uint64_t own = entry == NULL ? 0 : entry->row.rate_per_minute;
    uint64_t rate = own == 0 ? k->rules.rate_per_minute : own;
    if (entry != NULL && rate > 0)
        *out_seconds = take_token(entry, (double)rate);
    pthread_mutex_unlock(&k->mutex);
    return *out_seconds == 0
               ? QD_OK
               : qd_fail(err, QD_EBUSY, "the key may make %llu requests a minute", (unsigned long long)rate);
}

typedef struct use {
    char id[QD_ID_SIZE];
    int64_t used_ms;
} use;
typedef struct uses {
    use *items;
    size_t count;
} uses;

static qd_code write_uses(void *ctx, qd_tx *tx, qd_error *err)
{
    const uses *u = ctx;
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < u->count; i++)
        code = qd_key_row_touch(tx, u->items[i].id, u->items[i].used_ms, err);
    return code;
}

void qd_keyring_flush(qd_keyring *k, qd_flush what)
{
    int64_t least = what == QD_FLUSH_ALL ? 1 : TOUCH_MS;
    uses u = { 0 };
    pthread_mutex_lock(&k->mutex);
    if (k->count == 0 || qd_alloc(k->count, sizeof *u.items, (void **)&u.items, NULL) != QD_OK) {
        pthread_mutex_unlock(&k->mutex);
        return;
    }
    for (size_t i = 0; i < k->count; i++) {
        qd_key_entry *entry = &k->entries[i];
        if (entry->used_ms - entry->row.last_used_ms < least)
            continue;
        entry->row.last_used_ms = entry->used_ms;
        memcpy(u.items[u.count].id, entry->row.id, sizeof entry->row.id);
        u.items[u.count++].used_ms = entry->used_ms;
    }
    pthread_mutex_unlock(&k->mutex);
    if (u.count > 0)
        qd_store_write(k->store, write_uses, &u, NULL); /* a time of use that is lost harms nobody */
    free(u.items);
}
