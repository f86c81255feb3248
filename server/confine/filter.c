/* filter.c: see filter.h. The program tests one row after another; the kernel remembers (5.11 and later) which calls pass
 * whatever their arguments are, so its length costs those nothing. */
#define _GNU_SOURCE
#include "confine/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"

#if defined(__x86_64__)
static const uint32_t architecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
static const uint32_t architecture = AUDIT_ARCH_AARCH64;
#else
static const uint32_t architecture = 0; /* nobody has looked at its calls yet */
#endif

/* mseal: beyond it filter_rows.c knows no call. x32's numbers are there too. */
enum { NEWEST_CALL = 462 };
enum { INSTRUCTIONS_PER_ROW = 6, INSTRUCTIONS_BESIDE = 8 };

void qd_filter_fini(qd_filter *filter)
{
    free(filter->code);
    *filter = (qd_filter){ 0 };
}

bool qd_filter_available(void)
{
    uint32_t action = SECCOMP_RET_ERRNO;
    return architecture != 0 && syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

static void add(qd_filter *f, unsigned operation, uint32_t value, unsigned if_true, unsigned if_false)
{
    f->code[f->count++] = (struct sock_filter){
        .code = (unsigned short)operation, .jt = (unsigned char)if_true, .jf = (unsigned char)if_false, .k = value
    };
}

static void load(qd_filter *f, size_t offset)
{
    add(f, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void refuse(qd_filter *f, int error)
{
    add(f, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)(error == 0 ? EPERM : error), 0, 0);
}

/* Both processors are little-endian: an argument's low half comes first. */
static void load_argument(qd_filter *f, unsigned number)
{
    load(f, offsetof(struct seccomp_data, args) + number * sizeof(uint64_t));
}

/* The number of the call is loaded before and after. */
static void add_row(qd_filter *f, const qd_filter_row *row)
{
    if (row->test == QD_REFUSE_ALWAYS) {
        add(f, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)row->call, 0, 1);
        refuse(f, row->error);
        return;
    }
    bool other = row->test == QD_REFUSE_IF_OTHER;
    add(f, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)row->call, 0, other ? 5 : 4);
    load_argument(f, row->argument);
    if (other) {
        add(f, BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 0);
        add(f, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)getpid(), 1, 0);
    } else if (row->test == QD_REFUSE_IF_BITS) {
        add(f, BPF_JMP | BPF_JSET | BPF_K, row->bits, 0, 1);
    } else if (row->test == QD_REFUSE_IF_SAME) {
        add(f, BPF_JMP | BPF_JEQ | BPF_K, row->bits, 0, 1);
    } else {
        add(f, BPF_JMP | BPF_JSET | BPF_K, row->bits, 1, 0);
    }
    refuse(f, row->error);
    load(f, offsetof(struct seccomp_data, nr));
}

qd_code qd_filter_make(qd_filter_stage stage, qd_filter *out, qd_error *err)
{
    qd_filter f = { 0 };
    size_t rows = 0;
    while (qd_filter_row_at(rows) != NULL)
        rows++;
    qd_code code = qd_alloc(rows * INSTRUCTIONS_PER_ROW + INSTRUCTIONS_BESIDE, sizeof *f.code, (void **)&f.code, err);
    if (code != QD_OK)
        return code;
    load(&f, offsetof(struct seccomp_data, arch));
    add(&f, BPF_JMP | BPF_JEQ | BPF_K, architecture, 1, 0);
    refuse(&f, EPERM); /* calls of a 32-bit program */
    load(&f, offsetof(struct seccomp_data, nr));
    add(&f, BPF_JMP | BPF_JGT | BPF_K, NEWEST_CALL, 0, 1);
    refuse(&f, ENOSYS);
    for (size_t i = 0; i < rows; i++)
        if (qd_filter_row_at(i)->call >= 0 && qd_filter_row_at(i)->stage <= stage)
            add_row(&f, qd_filter_row_at(i));
    add(&f, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
    *out = f;
    return QD_OK;
}

static int enter(const qd_filter *filter, unsigned flags)
{
    const struct sock_fprog program = { .len = filter->count, .filter = filter->code };
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

int qd_filter_enter(const qd_filter *filter)
{
    return enter(filter, 0);
}

int qd_filter_enter_all(const qd_filter *filter)
{
    return enter(filter, SECCOMP_FILTER_FLAG_TSYNC);
}
