/* sessions.c: see sessions.h. */
#include "http/sessions.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/hmac.h"
#include "base/mem.h"

const char qd_session_cookie[] = "quantd_session";

typedef struct session {
    char text[QD_SESSION_TEXT]; /* "" = free */
    char key_id[QD_JOB_ID];
    double begun;
} session;

struct qd_sessions {
    pthread_mutex_t mutex;
    size_t limit, each;
    double seconds;
    session *items;
};

qd_code qd_sessions_create(size_t limit, size_t each, double seconds, qd_sessions **out, qd_error *err)
{
    qd_sessions *s = NULL;
    qd_code code = qd_alloc(1, sizeof *s, (void **)&s, err);
    if (code == QD_OK && (code = qd_alloc(limit, sizeof *s->items, (void **)&s->items, err)) != QD_OK)
        free(s);
    if (code != QD_OK)
        return code;
    pthread_mutex_init(&s->mutex, NULL);
    s->limit = limit;
    s->each = each;
    s->seconds = seconds;
    *out = s;
    return QD_OK;
}

void qd_sessions_destroy(qd_sessions *s)
{
    if (s == NULL)
        return;
    pthread_mutex_destroy(&s->mutex);
    free(s->items);
    free(s);
}

/* Called with the mutex held. */
static void sweep(qd_sessions *s)
{
    double now = qd_clock_seconds();
    for (size_t i = 0; i < s->limit; i++)
        if (s->items[i].text[0] != '\0' && now - s->items[i].begun >= s->seconds)
            s->items[i] = (session){ 0 };
}

static bool is_older(const session *a, const session *b)
{
    return b == NULL || a->begun < b->begun;
}

/* Called with the mutex held: a free place, else that of the oldest; of the key's own where it has enough already. */
static session *find_place(qd_sessions *s, const char *key_id)
{
    session *oldest = NULL, *own = NULL;
    size_t count = 0;
    for (size_t i = 0; i < s->limit; i++) {
        session *one = &s->items[i]; /* a free one has begun at 0 */
        if (is_older(one, oldest))
            oldest = one;
        if (one->text[0] == '\0' || strcmp(one->key_id, key_id) != 0)
            continue;
        count++;
        if (is_older(one, own))
            own = one;
    }
    return count >= s->each ? own : oldest;
}

qd_code qd_sessions_begin(qd_sessions *s, const char *key_id, char out_text[QD_SESSION_TEXT], qd_error *err)
{
    unsigned char chance[QD_SESSION_TEXT / 2];
    if (getrandom(chance, sizeof chance, 0) != (ssize_t)sizeof chance)
        return qd_fail_errno(err, "random bytes for a session");
    qd_hex_encode(chance, sizeof chance, out_text);
    pthread_mutex_lock(&s->mutex);
    sweep(s);
    session *place = find_place(s, key_id);
    *place = (session){ .begun = qd_clock_seconds() };
    memcpy(place->text, out_text, sizeof place->text);
    snprintf(place->key_id, sizeof place->key_id, "%s", key_id);
    pthread_mutex_unlock(&s->mutex);
    return QD_OK;
}

/* Takes as long whatever they have in common. */
static bool is_same(const char a[QD_SESSION_TEXT], const char b[QD_SESSION_TEXT])
{
    unsigned difference = 0;
    for (size_t i = 0; i < QD_SESSION_TEXT; i++)
        difference |= (unsigned)(a[i] ^ b[i]);
    return difference == 0;
}

/* Called with the mutex held; looks at every place in any case. */
static session *find(qd_sessions *s, const char *text)
{
    session *found = NULL;
    char padded[QD_SESSION_TEXT] = "";
    if (strlen(text) != QD_SESSION_TEXT - 1)
        return NULL;
    memcpy(padded, text, sizeof padded);
    for (size_t i = 0; i < s->limit; i++)
        found = is_same(s->items[i].text, padded) ? &s->items[i] : found;
    return found;
}

bool qd_sessions_find(qd_sessions *s, const char *text, char out_key_id[QD_JOB_ID])
{
    pthread_mutex_lock(&s->mutex);
    sweep(s);
    const session *found = find(s, text);
    if (found != NULL)
        memcpy(out_key_id, found->key_id, sizeof found->key_id);
    pthread_mutex_unlock(&s->mutex);
    return found != NULL;
}

void qd_sessions_end(qd_sessions *s, const char *text)
{
    pthread_mutex_lock(&s->mutex);
    session *found = find(s, text);
    if (found != NULL)
        *found = (session){ 0 };
    pthread_mutex_unlock(&s->mutex);
}

bool qd_session_of_cookie(const char *cookie, char out_text[QD_SESSION_TEXT])
{
    const size_t name = strlen(qd_session_cookie);
    while (cookie != NULL && *(cookie += strspn(cookie, "; ,")) != '\0') {
        size_t length = strcspn(cookie, "; ,");
        if (length == name + QD_SESSION_TEXT && strncmp(cookie, qd_session_cookie, name) == 0 && cookie[name] == '=') {
            memcpy(out_text, cookie + name + 1, QD_SESSION_TEXT - 1);
            out_text[QD_SESSION_TEXT - 1] = '\0';
            return qd_hex_ok(out_text, QD_SESSION_TEXT - 1, QD_HEX_LOWER);
        }
        cookie += length;
    }
    return false;
}
