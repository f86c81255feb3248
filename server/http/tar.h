/* tar.h: the parts of a tar file.
 * Room: server/http. May use: base. Never: MHD.
 * Threads: any; there is no state.
 * Source: POSIX.1-2017 pax, "ustar Interchange Format", "pax Extended Header". */
#ifndef QD_HTTP_TAR_H
#define QD_HTTP_TAR_H

#include <stdint.h>

#include "base/str.h"

/* An archive is, for every file, what stands before it, its bytes, and zeros up to a whole block; then two blocks of
 * zeros. */
enum { QD_TAR_BLOCK = 512, QD_TAR_END = 2 * QD_TAR_BLOCK };

/* Adds what stands before a regular file: a ustar header with owner 0 and mode 0644, and before that an extended header
 * where a path or a size does not fit. Whole blocks. */
void qd_tar_add_prefix(qd_str *out, const char *path, uint64_t size, int64_t mtime_seconds);
/* Zeros after a file. */
uint64_t qd_tar_padding(uint64_t size);

#endif
