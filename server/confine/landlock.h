/* landlock.h: which files a process may touch, as rules in a descriptor (Linux's Landlock).
 * Room: server/confine. May use: base.
 * Threads: any. A domain is entered by the calling thread alone, and inherited by what it starts.
 * Source: Linux, Documentation/userspace-api/landlock.rst; the numbers are the kernel's ABI, so that an older header does. */
#ifndef QD_CONFINE_LANDLOCK_H
#define QD_CONFINE_LANDLOCK_H

#include "base/error.h"

/* 1 and up; 0: this kernel has none, or it is switched off. */
int qd_landlock_abi(void);

typedef enum qd_landlock_use {
    QD_MAY_READ,       /* files, and names in folders */
    QD_MAY_RUN,        /* a program: read and execute */
    QD_MAY_WRITE,      /* files in a folder, all but special files */
    QD_MAY_WRITE_FILE, /* this file or device */
} qd_landlock_use;

/* Nothing is allowed yet: files, TCP ports from ABI 4, signals and abstract sockets of others from ABI 6. */
qd_code qd_landlock_create(int abi, int *out_fd, qd_error *err);
/* Everything below `path`, or that file. QD_ENOTFOUND where there is none. */
qd_code qd_landlock_allow(int ruleset, int abi, const char *path, qd_landlock_use use, qd_error *err);

/* System calls only: for a child between vfork and exec. 0, or -1 and errno. */
int qd_landlock_allow_self(int ruleset); /* reading /proc/self of the calling process */
int qd_landlock_enter(int ruleset);      /* wants PR_SET_NO_NEW_PRIVS */

#endif
