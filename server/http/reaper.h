/* reaper.h: deadlines of connections: the library has only an inactivity timer, which every dribbled byte resets.
 * Room: server/http. May use: base.
 * Threads: any; one thread of its own looks once a second and shuts late sockets down, whereupon their owner closes
 * them.
 * Source: server.md §1.4. */
#ifndef QD_HTTP_REAPER_H
#define QD_HTTP_REAPER_H

#include <stdatomic.h>

#include "base/error.h"

typedef struct qd_reaper qd_reaper;
typedef struct qd_reaper_socket qd_reaper_socket;

/* cut counts what was shut down. */
qd_code qd_reaper_create(atomic_uint_fast64_t *cut, qd_reaper **out, qd_error *err);
/* Joins; every socket has been removed. NULL is fine. */
void qd_reaper_destroy(qd_reaper *reaper);

/* Watches fd, without a deadline yet. NULL when out of memory. Remove it before fd is closed. */
qd_reaper_socket *qd_reaper_add(qd_reaper *reaper, int fd);
void qd_reaper_remove(qd_reaper *reaper, qd_reaper_socket *socket);
/* It must be armed anew, or disarmed (0), within so many seconds. NULL sockets are fine. */
void qd_reaper_arm(qd_reaper *reaper, qd_reaper_socket *socket, double seconds);
/* A reply is being sent: in every so many seconds the peer must take QD_REAPER_TAKEN bytes, or all that waits for it; until it is armed. */
enum { QD_REAPER_TAKEN = 16 << 10 };
void qd_reaper_arm_sending(qd_reaper *reaper, qd_reaper_socket *socket, double seconds);

#endif
