/* signals.c: see signals.h. */
#include "cli/signals.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

#include "cli/verb.h"

enum { STOPS_MAX = 2 };

/* All that a signal handler touches. Handlers and not a blocked mask: OpenBLAS starts its threads before main, and a
 * blocked signal would kill the process through one of them. */
static sem_t arrived;
static volatile sig_atomic_t stop_signal, stops_wanted, reloads_wanted, ending;
static int stops_taken, reloads_taken;

static void on_signal(int number)
{
    int saved = errno;
    if (number == SIGHUP) {
        reloads_wanted++;
    } else {
        stop_signal = number;
        if (++stops_wanted > STOPS_MAX || ending)
            _exit(QD_EXIT_CANCELLED);
    }
    sem_post(&arrived);
    errno = saved;
}

void qd_signals_install(void)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    sem_init(&arrived, 0, 0);
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGTERM);
    sigaddset(&action.sa_mask, SIGINT);
    sigaddset(&action.sa_mask, SIGHUP);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

void qd_signals_last(void)
{
    ending = 1;
}

qd_wish qd_signals_wait(double seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until); /* sem_timedwait's; a clock that is set wakes us early or late, no more */
    until.tv_sec += (time_t)seconds;
    until.tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (sem_timedwait(&arrived, &until) != 0)
        if (errno != EINTR)
            break;
    if (stops_taken < stops_wanted) {
        stops_taken++;
        return QD_WISH_STOP;
    }
    if (reloads_taken != reloads_wanted) {
        reloads_taken = reloads_wanted; /* several are one */
        return QD_WISH_RELOAD;
    }
    return QD_WISH_NONE;
}

const char *qd_signals_name(void)
{
    return stop_signal == SIGTERM ? "SIGTERM" : "SIGINT";
}
