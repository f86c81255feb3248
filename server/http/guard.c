/* guard.c: see guard.h. A table of fixed size: who floods it with addresses only makes it forget. */
#include "http/guard.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/mem.h"
#include "fetch/policy.h"

enum { SETS = 1024, WAYS = 4 };

typedef struct place {
    qd_net who;
    double tokens, at; /* failures it still has, as of a time; at 0 = free */
} place;

struct qd_guard {
    pthread_mutex_t mutex;
    double limit;
    uint64_t seed; /* nobody shall choose addresses that share a set */
    place places[SETS][WAYS];
};

qd_code qd_guard_create(unsigned failures_per_minute, qd_guard **out, qd_error *err)
{
    qd_guard *g = NULL;
    qd_code code = qd_alloc(1, sizeof *g, (void **)&g, err);
    if (code != QD_OK)
        return code;
    if (getrandom(&g->seed, sizeof g->seed, 0) != (ssize_t)sizeof g->seed) {
        free(g);
        return qd_fail_errno(err, "getrandom");
    }
    pthread_mutex_init(&g->mutex, NULL);
    g->limit = failures_per_minute;
    *out = g;
    return QD_OK;
}

void qd_guard_destroy(qd_guard *g)
{
    if (g == NULL)
        return;
    pthread_mutex_destroy(&g->mutex);
    free(g);
}

/* One household has a whole /64. */
static qd_net who_is(const char *address)
{
    qd_net net = { 0 };
    qd_net_parse(address, &net, NULL);
    if (net.family == QD_IPV6) {
        memset(net.bytes + 8, 0, 8);
        net.bits = 64;
    }
    return net;
}

/* FNV-1a from a secret start, stirred: enough to spread addresses over sets. */
static size_t set_of(const qd_guard *g, const qd_net *who)
{
    uint64_t hash = 0xcbf29ce484222325u ^ g->seed;
    for (size_t i = 0; i < sizeof who->bytes; i++)
        hash = (hash ^ who->bytes[i]) * 0x100000001b3u;
    hash = (hash ^ (hash >> 31)) * (g->seed | 1);
    return (hash >> 40) % SETS;
}

/* Called with the mutex held: its place, else the one that was quiet for longest. */
static place *find(qd_guard *g, const qd_net *who, double now)
{
    place *set = g->places[set_of(g, who)], *oldest = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].at > 0 && set[i].who.family == who->family &&
            memcmp(set[i].who.bytes, who->bytes, sizeof who->bytes) == 0)
            return &set[i];
        oldest = set[i].at < oldest->at ? &set[i] : oldest;
    }
    *oldest = (place){ .who = *who, .tokens = g->limit, .at = now };
    return oldest;
}

unsigned qd_guard_failed(qd_guard *g, const char *address)
{
    const qd_net who = who_is(address);
    unsigned wait = 0;
    pthread_mutex_lock(&g->mutex);
    double now = qd_clock_seconds();
    place *p = find(g, &who, now);
    p->tokens = fmin(g->limit, p->tokens + (now - p->at) * g->limit / 60);
    p->at = now;
    if (p->tokens >= 1)
        p->tokens -= 1;
    else
        wait = (unsigned)ceil((1 - p->tokens) * 60 / g->limit);
    pthread_mutex_unlock(&g->mutex);
    return wait;
}
