/* witnesses.h: what finished jobs tell of this machine: how long each leg of a run took over what is expected of it.
 * Room: server/jobs, private to it. May use: base, engine, store.
 * Threads: any. They are rows of jobs: they outlast the service, are part of its backups, and go with their jobs. */
#ifndef QD_JOBS_WITNESSES_H
#define QD_JOBS_WITNESSES_H

#include "engine/machine.h"
#include "store/store.h"

/* Sets factor, witnesses and leg of *machine by the newest jobs that succeeded in one run. `factor` is the median over jobs; a leg's is the median over their
 * seconds, so that a long job's word outweighs that of many short ones. Left as they are where nobody tells. */
qd_code qd_witnesses_hear(qd_store *store, qd_machine *machine, qd_error *err);
/* The member "pace" of a result, put into *machine as if it were the only one; nothing where it is none. */
void qd_witness_read(const char *pace, qd_machine *machine);

#endif
