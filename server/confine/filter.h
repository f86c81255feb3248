/* filter.h: which system calls a run may make (seccomp), as a program of the kernel's that is made beforehand.
 * Room: server/confine. May use: base.
 * Threads: any. A filter holds for the calling thread and what it starts; qd_filter_enter_all: for the whole process.
 * Source: server.md §5; Linux, Documentation/userspace-api/seccomp_filter.rst.
 *
 * What is refused fails with EPERM and the process goes on: a run that tries says so in its own words. */
#ifndef QD_CONFINE_FILTER_H
#define QD_CONFINE_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct sock_filter;

/* When a call is refused. */
typedef enum qd_filter_stage {
    QD_FILTER_BEFORE_EXEC, /* no network, no other processes and no new ones, nothing that is the machine's owner's to do */
    QD_FILTER_AT_WORK,     /* also no other program: once `quantd run` is in its main */
} qd_filter_stage;

typedef struct qd_filter {
    struct sock_filter *code; /* owned */
    unsigned short count;
} qd_filter;
void qd_filter_fini(qd_filter *filter);

/* Whether this kernel and processor have filters. */
bool qd_filter_available(void);
qd_code qd_filter_make(qd_filter_stage stage, qd_filter *out, qd_error *err);

/* Both want PR_SET_NO_NEW_PRIVS. A system call only; 0, or -1 and errno. */
int qd_filter_enter(const qd_filter *filter);
int qd_filter_enter_all(const qd_filter *filter);

/* ---- the table, filter_rows.c ---- */

typedef enum qd_filter_test {
    QD_REFUSE_ALWAYS,
    QD_REFUSE_IF_BITS,  /* the argument has one of these bits */
    QD_REFUSE_UNLESS,   /* the argument has none of these bits */
    QD_REFUSE_IF_SAME,  /* the argument is `bits` */
    QD_REFUSE_IF_OTHER, /* the argument is not 0, nor this process: it means another one */
} qd_filter_test;

typedef struct qd_filter_row {
    int call;
    qd_filter_stage stage; /* from here on */
    qd_filter_test test;
    unsigned argument; /* 0..5; its low 32 bits are looked at */
    uint32_t bits;
    int error; /* 0 = EPERM */
} qd_filter_row;
const qd_filter_row *qd_filter_row_at(size_t index); /* NULL past the end */

#endif
