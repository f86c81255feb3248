/* lock.h: one run a job at a time, across restarts of the service.
 * Room: server/jobs, private to it. May use: base.
 * Threads: any.
 *
 * jobs/ID/lock is flocked by the worker; the run inherits the open file, so the lock lasts as long as either lives.
 * The file says which process was started last. */
#ifndef QD_JOBS_LOCK_H
#define QD_JOBS_LOCK_H

#include <sys/types.h>

#include "base/cancel.h"

/* Waits until an earlier run is gone; after a grace the process the file names is ended. QD_EBUSY when it does not
 * go. */
qd_code qd_lock_take(const char *path, double grace_seconds, const qd_cancel *cancel, int *out_fd, qd_error *err);
/* Notes the run's process in the file. */
qd_code qd_lock_note(int fd, pid_t pid, qd_error *err);

#endif
