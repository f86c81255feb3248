/* filter_rows.c: the system calls that a run has no use for; see filter.h. One line a call, by what it would reach.
 *
 * A list of what is refused, and not of what is allowed: libraries change which harmless calls they make, and a run must
 * not die of a new libc. What a kernel newer than this list knows is refused by its number (filter.c). */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>

#include "base/auto.h"
#include "confine/filter.h"
#include "confine/sanitizer.h"

/* Calls that Debian 12's headers do not name. Same numbers on every processor. */
enum { CALL_CACHESTAT = 451, CALL_FCHMODAT2 = 452, CALL_STATMOUNT = 457, CALL_LISTMOUNT = 458, CALL_LSM_SET = 460 };

enum {
    NAMESPACES =
        CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET,
    /* LeakSanitizer stops a process from a clone of it that shares its memory and traces it. */
    OF_THREADS = QD_SANITIZED ? CLONE_THREAD | CLONE_VM : CLONE_THREAD,
};

static const qd_filter_row rows[] = {
    /* the network, and other processes by sockets */
    { .call = SYS_socket },
    { .call = SYS_socketpair },
    { .call = SYS_connect },
    { .call = SYS_bind },
    { .call = SYS_listen },
    { .call = SYS_accept },
    { .call = SYS_accept4 },
    { .call = SYS_sendto },
    { .call = SYS_sendmsg },
    { .call = SYS_sendmmsg },
    { .call = SYS_recvfrom },
    { .call = SYS_recvmsg },
    { .call = SYS_recvmmsg },
    { .call = SYS_io_uring_setup },
    { .call = SYS_io_uring_enter },
    { .call = SYS_io_uring_register },
    /* other processes: looking into them, signals, shared objects. ptrace stays within the domain of Landlock */
    { .call = QD_SANITIZED ? -1 : SYS_ptrace },
    { .call = SYS_process_vm_readv },
    { .call = SYS_process_vm_writev },
    { .call = SYS_process_madvise },
    { .call = SYS_process_mrelease },
    { .call = SYS_pidfd_open },
    { .call = SYS_pidfd_getfd },
    { .call = SYS_pidfd_send_signal },
    { .call = SYS_kcmp },
    { .call = SYS_kill },
    { .call = SYS_tkill },
    { .call = SYS_rt_sigqueueinfo },
    { .call = SYS_rt_tgsigqueueinfo, .stage = QD_FILTER_AT_WORK, .test = QD_REFUSE_IF_OTHER },
    { .call = SYS_tgkill, .stage = QD_FILTER_AT_WORK, .test = QD_REFUSE_IF_OTHER },
    { .call = SYS_prlimit64, .test = QD_REFUSE_IF_BITS, .bits = UINT32_MAX },
    { .call = SYS_setpriority },
    { .call = SYS_ioprio_set },
    { .call = SYS_sched_setparam },
    { .call = SYS_sched_setscheduler },
    { .call = SYS_sched_setattr },
    { .call = SYS_migrate_pages },
    { .call = SYS_move_pages },
    { .call = SYS_shmget },
    { .call = SYS_shmat },
    { .call = SYS_shmctl },
    { .call = SYS_semget },
    { .call = SYS_semctl },
    { .call = SYS_semop },
    { .call = SYS_semtimedop },
    { .call = SYS_msgget },
    { .call = SYS_msgctl },
    { .call = SYS_msgsnd },
    { .call = SYS_msgrcv },
    { .call = SYS_mq_open },
    { .call = SYS_mq_unlink },
    { .call = SYS_add_key },
    { .call = SYS_request_key },
    { .call = SYS_keyctl },
    /* what Landlock leaves open: attributes of files anywhere; truncate by name before its ABI 3; programs without a name */
    { .call = SYS_truncate },
    { .call = SYS_fchmod }, /* of what may only be read, too: the cache's files */
    { .call = SYS_fchmodat },
    { .call = CALL_FCHMODAT2 },
    { .call = SYS_fchown },
    { .call = SYS_fchownat },
    { .call = SYS_utimensat },
    { .call = SYS_setxattr },
    { .call = SYS_lsetxattr },
    { .call = SYS_fsetxattr },
    { .call = SYS_removexattr },
    { .call = SYS_lremovexattr },
    { .call = SYS_fremovexattr },
    { .call = SYS_name_to_handle_at },
    { .call = SYS_open_by_handle_at },
    { .call = SYS_inotify_init1 },
    { .call = SYS_fanotify_init },
    { .call = SYS_memfd_create },
    { .call = SYS_memfd_secret },
    /* other views of the system, other rules for oneself */
    { .call = SYS_unshare },
    { .call = SYS_setns },
    { .call = SYS_clone, .test = QD_REFUSE_IF_BITS, .bits = NAMESPACES },
    { .call = SYS_clone3, .error = ENOSYS }, /* its flags are in memory; libc takes clone instead */
    { .call = SYS_chroot },
    { .call = SYS_pivot_root },
    { .call = SYS_mount },
    { .call = SYS_umount2 },
    { .call = SYS_fsopen },
    { .call = SYS_fsconfig },
    { .call = SYS_fsmount },
    { .call = SYS_fspick },
    { .call = SYS_open_tree },
    { .call = SYS_move_mount },
    { .call = SYS_mount_setattr },
    { .call = CALL_STATMOUNT },
    { .call = CALL_LISTMOUNT },
    { .call = CALL_LSM_SET },
    { .call = QD_SANITIZED ? -1 : SYS_personality },
    { .call = SYS_setuid },
    { .call = SYS_setgid },
    { .call = SYS_setreuid },
    { .call = SYS_setregid },
    { .call = SYS_setresuid },
    { .call = SYS_setresgid },
    { .call = SYS_setfsuid },
    { .call = SYS_setfsgid },
    { .call = SYS_setgroups },
    { .call = SYS_capset },
    { .call = SYS_setsid },
    { .call = SYS_setpgid }, /* the group is how it is ended */
    /* the kernel and the machine */
    { .call = SYS_bpf },
    { .call = SYS_perf_event_open },
    { .call = SYS_userfaultfd },
    { .call = SYS_init_module },
    { .call = SYS_finit_module },
    { .call = SYS_delete_module },
    { .call = SYS_kexec_load },
    { .call = SYS_reboot },
    { .call = SYS_swapon },
    { .call = SYS_swapoff },
    { .call = SYS_acct },
    { .call = SYS_quotactl },
    { .call = SYS_quotactl_fd },
    { .call = SYS_syslog },
    { .call = SYS_sethostname },
    { .call = SYS_setdomainname },
    { .call = SYS_settimeofday },
    { .call = SYS_clock_settime },
    { .call = SYS_clock_adjtime },
    { .call = SYS_adjtimex },
    { .call = SYS_vhangup },
    { .call = CALL_CACHESTAT },
#ifdef SYS_kexec_file_load
    { .call = SYS_kexec_file_load },
#endif
#ifdef __x86_64__ /* older forms, and what only this processor has */
    { .call = SYS_chmod },
    { .call = SYS_chown },
    { .call = SYS_lchown },
    { .call = SYS_utime },
    { .call = SYS_utimes },
    { .call = SYS_futimesat },
    { .call = SYS_inotify_init },
    { .call = SYS_uselib },
    { .call = SYS_modify_ldt },
    { .call = SYS_iopl },
    { .call = SYS_ioperm },
    { .call = SYS_fork },
    { .call = SYS_vfork },
#endif
    { .call = SYS_clone, .test = QD_REFUSE_UNLESS, .bits = OF_THREADS },
    { .call = SYS_execve, .stage = QD_FILTER_AT_WORK },
    { .call = SYS_execveat, .stage = QD_FILTER_AT_WORK },
};

const qd_filter_row *qd_filter_row_at(size_t index)
{
    return index < QD_LENGTH(rows) ? &rows[index] : NULL;
}
