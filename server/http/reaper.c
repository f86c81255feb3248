/* reaper.c: see reaper.h. */
#include "http/reaper.h"

#include <assert.h>
#include <linux/tcp.h> /* glibc's own tcp_info ends before tcpi_bytes_acked */
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"

struct qd_reaper_socket {
    qd_reaper_socket *previous, *next;
    int fd;
    double deadline; /* 0 = none */
    double window;   /* of sending; 0 = the deadline is the end */
    uint64_t taken;  /* bytes that the peer had when the window began */
};

struct qd_reaper {
    pthread_mutex_t mutex;
    pthread_cond_t stop;
    pthread_t thread;
    bool closing;
    qd_reaper_socket *first;
    atomic_uint_fast64_t *cut;
};

/* The kernel's own count. Where it has none (no TCP), the peer is taken to read. */
static bool read_taken(const qd_reaper_socket *s, uint64_t *out_taken, bool *out_waiting)
{
    struct tcp_info info = { 0 };
    socklen_t size = sizeof info;
    if (getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
        size < offsetof(struct tcp_info, tcpi_notsent_bytes) + sizeof info.tcpi_notsent_bytes)
        return false;
    *out_taken = info.tcpi_bytes_acked;
    *out_waiting = info.tcpi_notsent_bytes > 0 || info.tcpi_unacked > 0;
    return true;
}

/* The window of sending is over: does the next one begin? */
static bool reads_on(qd_reaper_socket *s, double now)
{
    uint64_t taken = s->taken;
    bool waiting = false;
    if (read_taken(s, &taken, &waiting) && waiting && taken - s->taken < QD_REAPER_TAKEN)
        return false;
    s->taken = taken;
    s->deadline = now + s->window;
    return true;
}

/* Its owner closes it next. What the peer never took is thrown away then: the kernel would keep it for minutes. */
static void cut(const qd_reaper_socket *s)
{
    const struct linger at_once = { .l_onoff = 1 };
    if (s->window > 0)
        setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    shutdown(s->fd, SHUT_RDWR);
}

static void reap_locked(qd_reaper *reaper)
{
    double now = qd_clock_seconds();
    for (qd_reaper_socket *s = reaper->first; s != NULL; s = s->next) {
        if (s->deadline <= 0 || now <= s->deadline || (s->window > 0 && reads_on(s, now)))
            continue;
        cut(s);
        s->deadline = 0;
        atomic_fetch_add(reaper->cut, 1);
    }
}

static void *run_reaper(void *ctx)
{
    qd_reaper *reaper = ctx;
    pthread_mutex_lock(&reaper->mutex);
    while (!reaper->closing) {
        const struct timespec until = qd_clock_deadline(1);
        pthread_cond_timedwait(&reaper->stop, &reaper->mutex, &until);
        reap_locked(reaper);
    }
    pthread_mutex_unlock(&reaper->mutex);
    return NULL;
}

qd_reaper_socket *qd_reaper_add(qd_reaper *reaper, int fd)
{
    qd_reaper_socket *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->fd = fd;
    pthread_mutex_lock(&reaper->mutex);
    s->next = reaper->first;
    if (s->next != NULL)
        s->next->previous = s;
    reaper->first = s;
    pthread_mutex_unlock(&reaper->mutex);
    return s;
}

void qd_reaper_remove(qd_reaper *reaper, qd_reaper_socket *s)
{
    pthread_mutex_lock(&reaper->mutex);
    if (s->next != NULL)
        s->next->previous = s->previous;
    *(s->previous == NULL ? &reaper->first : &s->previous->next) = s->next;
    pthread_mutex_unlock(&reaper->mutex);
    free(s);
}

void qd_reaper_arm(qd_reaper *reaper, qd_reaper_socket *s, double seconds)
{
    if (s == NULL)
        return;
    pthread_mutex_lock(&reaper->mutex);
    s->deadline = seconds > 0 ? qd_clock_seconds() + seconds : 0;
    s->window = 0;
    pthread_mutex_unlock(&reaper->mutex);
}

void qd_reaper_arm_sending(qd_reaper *reaper, qd_reaper_socket *s, double seconds)
{
    bool waiting;
    if (s == NULL)
        return;
    pthread_mutex_lock(&reaper->mutex);
    s->deadline = qd_clock_seconds() + seconds;
    s->window = seconds;
    s->taken = 0;
    read_taken(s, &s->taken, &waiting);
    pthread_mutex_unlock(&reaper->mutex);
}

qd_code qd_reaper_create(atomic_uint_fast64_t *cut, qd_reaper **out, qd_error *err)
{
    qd_reaper *reaper = NULL;
    qd_code code = qd_alloc(1, sizeof *reaper, (void **)&reaper, err);
    if (code != QD_OK)
        return code;
    reaper->cut = cut;
    pthread_mutex_init(&reaper->mutex, NULL);
    qd_clock_condition_init(&reaper->stop);
    int failed = pthread_create(&reaper->thread, NULL, run_reaper, reaper);
    if (failed != 0) {
        pthread_cond_destroy(&reaper->stop);
        pthread_mutex_destroy(&reaper->mutex);
        free(reaper);
        return qd_fail(err, QD_EIO, "the thread of deadlines could not be started: %s", strerror(failed));
    }
    *out = reaper;
    return QD_OK;
}

void qd_reaper_destroy(qd_reaper *reaper)
{
    if (reaper == NULL)
        return;
    pthread_mutex_lock(&reaper->mutex);
    reaper->closing = true;
    pthread_cond_signal(&reaper->stop);
    pthread_mutex_unlock(&reaper->mutex);
    pthread_join(reaper->thread, NULL);
    assert(reaper->first == NULL);
    pthread_cond_destroy(&reaper->stop);
    pthread_mutex_destroy(&reaper->mutex);
    free(reaper);
}
