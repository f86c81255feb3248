/* death.c: see death.h. */
#define _GNU_SOURCE
#include "jobs/death.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/file.h"

/* In a file of lines NAME NUMBER [kB]; 0 where it is not there. */
static uint64_t number_after(const qd_str *text, const char *name)
{
    const char *found = strstr(qd_str_borrow(text), name);
    return found == NULL ? 0 : strtoull(found + strlen(name), NULL, 10);
}

uint64_t qd_process_own_bytes(pid_t pid)
{
    char path[40];
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    if (qd_file_read(path, 1 << 16, &text, NULL) != QD_OK)
        return 0;
    return (number_after(&text, "\nRssAnon:") + number_after(&text, "\nRssShmem:")) << 10;
}

uint64_t qd_machine_oom_kills(void)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    return qd_file_read("/proc/vmstat", 1 << 20, &text, NULL) == QD_OK ? number_after(&text, "\noom_kill ") : 0;
}

void qd_death_add_memory(const qd_death *death, qd_error *err)
{
    size_t used = strlen(err->text);
    if (death->memory_limit > 0)
        snprintf(err->text + used, sizeof err->text - used,
                 "; its memory limit is %" PRIu64 " bytes, its peak was %" PRIu64, death->memory_limit,
                 death->peak_bytes);
    else if (death->peak_bytes > 0)
        snprintf(err->text + used, sizeof err->text - used, "; its peak was %" PRIu64 " bytes of memory",
                 death->peak_bytes);
}

/* SIGKILL leaves no trace of who sent it; the kernel counts what it sent itself. */
static qd_end judge_kill(const qd_death *death, qd_error *err)
{
    qd_end end = QD_END_CRASHED;
    if (death->own_oom_kills > 0) {
        qd_fail(err, QD_ENOMEM, "the run went beyond its memory limit and was ended by the kernel");
        end = QD_END_FAILED;
    } else if (death->all_oom_kills > 0) {
        qd_fail(err, QD_ENOMEM,
                "the run ended by signal 9 (KILL), which the service did not send; meanwhile the kernel ended %" PRIu64
                " processes of this machine for want of memory",
                death->all_oom_kills);
    } else {
        qd_fail(err, QD_EINTERNAL, "the run ended by signal 9 (KILL), which the service did not send");
    }
    qd_death_add_memory(death, err);
    return end;
}

static qd_end judge_signal(const qd_death *death, int number, qd_error *err)
{
    if (number == SIGKILL && !death->killed)
        return judge_kill(death, err);
    if (number == SIGXFSZ) {
        qd_fail(err, QD_ETOOBIG, "a file of the run grew beyond limits.disk");
        return QD_END_FAILED;
    }
    qd_fail(err, QD_EINTERNAL, "the run ended by signal %d (%s)", number, sigabbrev_np(number));
    if (death->memory_limit > 0)
        qd_death_add_memory(death, err);
    return QD_END_CRASHED;
}

qd_end qd_death_judge(const qd_death *death, qd_error *err)
{
    int status = death->status;
    if (death->silent)
        qd_fail(err, QD_ETIMEOUT, "the run was silent for %.0f seconds and was ended by signal %d (%s)",
                death->heartbeat_seconds, death->killed ? SIGKILL : SIGABRT, death->killed ? "KILL" : "ABRT");
    else if (WIFSIGNALED(status))
        return judge_signal(death, WTERMSIG(status), err);
    else if (WEXITSTATUS(status) != 0)
        qd_fail(err, QD_EINTERNAL, "the run ended with exit status %d and gave no reason", WEXITSTATUS(status));
    else
        qd_fail(err, QD_EINTERNAL, "the run ended without a result");
    return QD_END_CRASHED;
}
