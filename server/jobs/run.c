/* run.c: see run.h. */
#define _GNU_SOURCE
#include "jobs/run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "jobs/child.h"
#include "jobs/confinement.h"
#include "jobs/death.h"
#include "jobs/lines.h"
#include "jobs/lock.h"
#include "jobs/service_private.h"

enum { TICK_MS = 500, MERCY_SECONDS = 5, MERCY_AT_THE_END = 3, ARGUMENTS_MAX = 26 + 2 * QD_TEXTS_MAX };
static const off_t log_bytes_max = 64 << 20;

typedef struct run {
    qd_course *course;
    qd_child child;
    qd_hold hold;
    qd_death death;
    qd_lines lines;
    int log_fd;
    double asked; /* when it was told to end; 0 = it was not */
} run;

static void add(char **words, size_t *count, const char *word)
{
    words[(*count)++] = (char *)(uintptr_t)word; /* exec's prototype; nothing writes there */
}

/* The command line: launcher words, the program, and the flags of server/cli/verb_run.c. */
static qd_code make_command(const qd_course *course, const qd_sources *s, char ***out, char threads[24],
                            const char *pace, qd_error *err)
{
    const qd_settings *settings = &course->service->settings;
    const qd_job_paths *paths = &course->paths;
    size_t count = 0;
    qd_code code = qd_alloc(settings->launcher_count + ARGUMENTS_MAX, sizeof **out, (void **)out, err);
    if (code != QD_OK)
        return code;
    snprintf(threads, 24, "%zu", settings->threads_each);
    for (size_t i = 0; i < settings->launcher_count; i++)
        add(*out, &count, settings->launcher[i]);
    const char *const words[] = { settings->program, "run",           paths->job, "--out",        paths->out,
                                  "--model",         s->model.folder, "--work",   paths->work,    "--threads",
                                  threads,           "--progress-fd", "3",        "--quarantine", paths->out };
    for (size_t i = 0; i < QD_LENGTH(words); i++)
        add(*out, &count, words[i]);
    if (course->service->confinement.told.by_run) {
        add(*out, &count, "--confine");
        add(*out, &count, course->service->confinement.told.mode);
    }
    if (pace != NULL) {
        add(*out, &count, "--pace");
        add(*out, &count, pace);
    }
    if (s->calibration != NULL) {
        add(*out, &count, "--calibration-text");
        add(*out, &count, s->calibration);
    }
    if (s->evaluation != NULL) {
        add(*out, &count, "--evaluation-text");
        add(*out, &count, s->evaluation);
    }
    if (s->tasks != NULL) {
        add(*out, &count, "--tasks");
        add(*out, &count, s->tasks);
    }
    for (size_t i = 0; i < s->recipe->evaluation_also.count; i++) {
        add(*out, &count, "--also-text");
        add(*out, &count, s->also[i]);
    }
    return QD_OK;
}

/* What holds it is part of the job's record. */
static qd_code note_run(const run *r, qd_error *err)
{
    QD_AUTO(qd_json_fini)
    json_t *data =
        json_pack("{s:i, s:s, s:o}", "attempt", (int)r->course->active->attempt, "confined", r->hold.applied,
                  "memory_limit", r->hold.memory > 0 ? json_integer((json_int_t)r->hold.memory) : json_null());
    return data == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_course_note(r->course, "run", data, err);
}

static qd_code start(run *r, const qd_sources *sources, int lock_fd, qd_error *err)
{
    const qd_course *course = r->course;
    QD_AUTO(qd_free_pointer) char **words = NULL;
    QD_AUTO(qd_free_pointer) char *pace = course->pace == NULL ? NULL : qd_json_print(course->pace);
    char threads[24];
    qd_code code = make_command(course, sources, &words, threads, pace, err);
    if (code == QD_OK)
        code = qd_dir_remove(course->paths.quarantine, err); /* an earlier attempt's */
    if (code == QD_OK && (r->log_fd = open(course->paths.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) < 0)
        code = qd_fail_errno(err, "open '%s'", course->paths.log);
    if (code == QD_OK)
        code = qd_hold_init(course, sources, &r->hold, err);
    if (code != QD_OK)
        return code;
    const qd_child_spec spec = { .command = words,
                                 .environment = r->hold.environment,
                                 .log_fd = r->log_fd,
                                 .lock_fd = lock_fd,
                                 .tie =
                                     course->service->settings.launcher_count == 0 ? QD_TIE_DIRECT : QD_TIE_BY_LAUNCHER,
                                 .cage = r->hold.caged ? &r->hold.cage : NULL };
    dprintf(r->log_fd, "attempt %u request_id=%s\nconfined: %s\n", course->active->attempt, course->active->request_id,
            r->hold.applied);
    r->death.all_oom_kills = qd_machine_oom_kills();
    code = note_run(r, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("child.start", err);
    if (code == QD_OK)
        code = qd_child_start(&spec, &r->child, err);
    if (code == QD_OK && qd_lock_note(lock_fd, r->child.pid, err) != QD_OK)
        qd_course_say(course, "warn", "run.not-noted", "reason=\"%s\"", err->text);
    return code;
}

/* One read; false = nothing there now, or nothing any more. */
static bool listen_once(run *r)
{
    char bytes[65536];
    ssize_t got = read(r->child.events_fd, bytes, sizeof bytes);
    if (got > 0)
        qd_lines_feed(&r->lines, bytes, (size_t)got);
    else if (got == 0 || (errno != EAGAIN && errno != EINTR))
        qd_close_fd(&r->child.events_fd);
    return got > 0;
}

static void ask_to_end(run *r, int number)
{
    r->asked = qd_clock_seconds();
    qd_child_signal(&r->child, number);
    qd_child_signal(&r->child, SIGCONT); /* a stopped one hears nothing else */
}

/* A log that grows without end is a fault, as is a run that says nothing. */
/* Where no cgroup holds it. One that grabs faster than this looks meets RLIMIT_DATA. */
static void look_at_memory(run *r)
{
    qd_course *course = r->course;
    uint64_t limit = r->hold.memory;
    if (limit == 0 || !r->hold.caged || r->asked > 0 || course->service->confinement.groups.memory)
        return;
    uint64_t held = qd_process_own_bytes(r->child.pid);
    if (held <= limit)
        return;
    course->fault =
        qd_fail(&course->fault_err, QD_ENOMEM, "the run held %" PRIu64 " bytes of memory and was ended", held);
    r->death.killed = true;
    ask_to_end(r, SIGKILL);
}

static void look_for_faults(run *r)
{
    qd_course *course = r->course;
    struct stat info;
    double heartbeat = qd_service_now(course->service).heartbeat_seconds;
    if (course->fault == QD_OK && fstat(r->log_fd, &info) == 0 && info.st_size > log_bytes_max)
        course->fault =
            qd_fail(&course->fault_err, QD_ETOOBIG, "the run's log grew beyond %lld bytes", (long long)log_bytes_max);
    if (course->fault == QD_OK)
        course->fault = qd_run_limits_look(course, &course->limits, &course->fault_err);
    if (course->fault == QD_OK)
        course->fault = qd_course_look_for_slowness(course, &course->fault_err);
    if (course->fault == QD_OK)
        look_at_memory(r);
    if (r->asked > 0)
        return;
    if (course->fault != QD_OK || qd_cancel_requested(&course->active->cancel)) {
        ask_to_end(r, SIGTERM);
    } else if (qd_clock_seconds() - course->last_heard > heartbeat) {
        r->death.silent = true;
        ask_to_end(r, SIGABRT);
    }
}

/* A service that ends is given ten seconds or so by whoever ends it. */
static double mercy(const run *r)
{
    return qd_service_stopping(r->course->service) ? MERCY_AT_THE_END : MERCY_SECONDS;
}

/* Until the process is gone. What it wrote before is read to the end, within reason. */
static void attend(run *r)
{
    enum { LAST_READS = 64 };
    uint64_t ignored;
    for (bool gone = false; !gone;) {
        struct pollfd fds[] = { { .fd = r->child.pid_fd, .events = POLLIN },
                                { .fd = r->child.events_fd, .events = POLLIN },
                                { .fd = r->course->active->wake_fd, .events = POLLIN } };
        poll(fds, r->asked > 0 ? 2 : 3, TICK_MS);
        gone = (fds[0].revents & POLLIN) != 0;
        if (fds[1].revents != 0)
            listen_once(r);
        look_for_faults(r);
        if (r->asked > 0 && !r->death.killed && qd_clock_seconds() - r->asked > mercy(r)) {
            r->death.killed = true;
            qd_child_signal(&r->child, SIGKILL);
        }
    }
    for (int i = 0; i < LAST_READS && r->child.events_fd >= 0 && listen_once(r); i++)
        continue;
    if (read(r->course->active->wake_fd, &ignored, sizeof ignored) < 0)
        return; /* nobody had rung */
}

static void count_death(qd_service *service, qd_code why)
{
    qd_tally *tally = &service->tally;
    pthread_mutex_lock(&service->mutex);
    uint64_t *counter = why == QD_ENOMEM     ? &tally->runs_out_of_memory
                        : why == QD_ETIMEOUT ? &tally->runs_silent
                                             : &tally->runs_crashed;
    ++*counter;
    pthread_mutex_unlock(&service->mutex);
}

static void say_memory(const run *r, qd_error *err)
{
    qd_death_add_memory(&r->death, err);
    count_death(r->course->service, QD_ENOMEM);
}

static qd_end judge(const run *r, qd_error *err)
{
    const qd_course *course = r->course;
    int status = r->death.status;
    if (course->fault != QD_OK) {
        *err = course->fault_err;
        if (course->fault == QD_ENOMEM)
            say_memory(r, err);
        return QD_END_FAILED;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && course->result != NULL)
        return QD_END_RESULT;
    if (qd_cancel_requested(&course->active->cancel)) {
        qd_fail(err, QD_ECANCELLED, "cancelled");
        return QD_END_FAILED;
    }
    /* A run that reports its reason has come to an end by itself; stopped from outside, it is as good as dead. */
    if (course->problem != QD_OK && course->problem != QD_ECANCELLED && !r->death.silent) {
        *err = course->problem_err;
        if (course->problem == QD_ENOMEM)
            say_memory(r, err);
        return QD_END_FAILED;
    }
    qd_end end = qd_death_judge(&r->death, err);
    count_death(course->service, err->code);
    return end;
}

/* Nothing of it is left after this. */
static void take_leave(run *r)
{
    qd_child_end end = { 0 };
    qd_cgroup_report report = { 0 };
    qd_child_reap(&r->child, &end);
    qd_hold_end(&r->hold, &report);
    r->death.status = end.status;
    r->death.peak_bytes = report.peak_bytes > 0 ? report.peak_bytes : end.peak_bytes;
    r->death.own_oom_kills = report.oom_kills;
    r->death.all_oom_kills = qd_machine_oom_kills() - r->death.all_oom_kills;
    r->death.memory_limit = r->hold.memory;
    r->death.heartbeat_seconds = qd_service_now(r->course->service).heartbeat_seconds;
}

qd_end qd_run_child(qd_course *course, const qd_sources *sources, int lock_fd, qd_error *err)
{
    run *r = NULL;
    if (qd_alloc(1, sizeof *r, (void **)&r, err) != QD_OK)
        return QD_END_FAILED;
    r->course = course;
    r->log_fd = -1;
    r->hold = qd_hold_none();
    r->lines.line = qd_course_line;
    r->lines.ctx = course;
    course->last_heard = qd_clock_seconds();
    qd_active_set_heard(course->service, course->active, course->last_heard);
    qd_run_limits_init(&course->limits, course, sources->recipe);
    qd_end end = QD_END_FAILED;
    if (start(r, sources, lock_fd, err) == QD_OK) {
        QD_FAULT("child.started");
        qd_course_say(course, "info", "run.started", "attempt=%u pid=%ld", course->active->attempt, (long)r->child.pid);
        attend(r);
        take_leave(r);
        QD_FAULT("child.reaped");
        end = judge(r, err);
        if (r->lines.dropped + course->bad_lines > 0)
            qd_course_say(course, "warn", "run.bad-lines", "too_long=%zu bad=%zu", r->lines.dropped, course->bad_lines);
    }
    qd_active_set_rss(course->service, course->active, 0);
    qd_active_set_heard(course->service, course->active, 0);
    qd_hold_end(&r->hold, &(qd_cgroup_report){ 0 });
    qd_close_fd(&r->log_fd);
    free(r);
    return end;
}
