/* shut_in.h: a run that closes itself in: below a launcher, where the service cannot do it, or by hand.
 * Room: server/cli. May use: base, confine.
 * Threads: main thread only, before it starts others.
 *
 * A domain of Landlock holds for the thread that enters it, and OpenBLAS starts threads before main: so the program is
 * started once more, from inside. The environment says that it is in: QUANTD_CONFINED, as the service sets it too. */
#ifndef QD_CLI_SHUT_IN_H
#define QD_CLI_SHUT_IN_H

#include "base/error.h"

typedef struct qd_shut_in {
    const char *how;             /* "auto", "require", "off" or NULL */
    const char *const *readable; /* NULL-terminated */
    const char *const *writable; /* folders, which are made */
} qd_shut_in;
/* Returns when there is nothing (more) to close. QD_EUNSUPPORTED: "require" where a part is missing. */
qd_code qd_shut_in_enter(const qd_shut_in *places, qd_error *err);

#endif
