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

/* STATE/quantd.lock: one service, or one restore, a state folder. QD_EBUSY when it is not free after so long. */
qd_code qd_state_lock_take(const char *state_dir, double patience_seconds, int *out_fd, qd_error *err);
/* Below a state folder while a backup is brought back: what a service does not start on. */
#define QD_RESTORING "restoring"

#endif
