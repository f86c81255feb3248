/* ballast.h: a file that takes room on the disk so that it can be given back when the disk is full.
 * Room: server/store, private to it. May use: base.
 * Threads: any.
 * Source: server.md §2 "Disk full": with no free block even DELETE and a checkpoint fail. */
#ifndef QD_STORE_BALLAST_H
#define QD_STORE_BALLAST_H

#include <stdbool.h>

/* Makes the file unless it is there or would take more than a sixteenth of the disk or of what is free; 64 MiB at
 * most. Best effort. */
void qd_ballast_restore(const char *path);
/* true: there was something to give back. */
bool qd_ballast_release(const char *path);

#endif
