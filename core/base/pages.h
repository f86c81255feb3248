/* pages.h: mapped pages: scratch files that lie on disk, memory in their place, and what of a mapping stays resident.
 * Room: core/base. May use: libc.
 * Threads: any; a qd_scratch_file belongs to whoever made it.
 * Source: design.md §4 (streaming). Pages of a file that are given back cost a fault when they are touched again; the kernel writes what was
 * changed when it wants the memory, and no sooner. */
#ifndef QD_BASE_PAGES_H
#define QD_BASE_PAGES_H

#include <stddef.h>

#include "base/error.h"

/* A file without a name, mapped to be read and written, or memory in its place. data is NULL when size is 0. */
typedef struct qd_scratch_file {
    void *data;
    size_t size;
    char *folder; /* where it lies: for others beside it; NULL = in memory */
} qd_scratch_file;

/* Zeros, in `folder`, all of them reserved: QD_ENOSPC before anything is written. `what` is for the message: "activations". Without a folder (NULL)
 * they are in memory, in large pages where the system has such: nothing of that is ever released. */
qd_code qd_scratch_file_init(qd_scratch_file *file, const char *folder, size_t size, const char *what, qd_error *err);
void qd_scratch_file_fini(qd_scratch_file *file);

/* Takes every page that holds some of these bytes out of the process; what they hold stays. Only of memory that is mapped from a file:
 * shared, or never written. */
void qd_pages_release(const void *from, size_t size);
/* They are going to be read: what is not in memory is fetched from now on. */
void qd_pages_expect(const void *from, size_t size);

#endif
