/* environment.h: which variables a run finds: an allow-list, so that no token, key or setting of the service is among them.
 * Room: server/confine. May use: base.
 * Threads: any. */
#ifndef QD_CONFINE_ENVIRONMENT_H
#define QD_CONFINE_ENVIRONMENT_H

#include "base/error.h"

typedef enum qd_environment_for {
    QD_FOR_RUN,      /* the program itself */
    QD_FOR_LAUNCHER, /* srun, mpirun: also what those need and hand on */
} qd_environment_for;

/* What says how many threads BLAS and OpenMP take is set to one, whatever `from` has. `extra`: words NAME=VALUE that are added, NULL-terminated. *out is NULL-terminated and released by free(): its words are
 * borrowed from `from` and `extra`. */
qd_code qd_environment_make(char *const *from, qd_environment_for whom, const char *const *extra, char ***out,
                            qd_error *err);

#endif
