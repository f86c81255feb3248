/* program.h: the files that a program is made of: itself, its interpreter, its libraries.
 * Room: server/confine, private to it. May use: base.
 * Threads: any. */
#ifndef QD_CONFINE_PROGRAM_H
#define QD_CONFINE_PROGRAM_H

#include "base/error.h"

/* The dynamic linker that an ELF file names (a heap string), or NULL: a static program, a script. */
qd_code qd_program_interpreter(const char *path, char **out, qd_error *err);

/* Each library that this process has loaded, wherever it lies. Stops at the first failure. */
qd_code qd_program_libraries(qd_code (*each)(void *ctx, const char *path, qd_error *err), void *ctx, qd_error *err);

#endif
