/* attempt.c: see attempt.h. */
#include "jobs/attempt.h"

#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "jobs/course.h"
#include "jobs/ending.h"
#include "jobs/entrance.h"
#include "jobs/lock.h"
#include "jobs/run.h"
#include "jobs/service_private.h"
#include "jobs/sources.h"

/* An earlier run of this job that the kernel did not end with the last server gets this long to go by itself. */
static const double grace_seconds = 2;

static qd_code make_folder(const qd_course *course, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *parent = qd_path_join(course->service->settings.state_dir, "jobs");
    qd_code code = parent == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_dir_make(course->paths.dir, err);
    return code == QD_OK ? qd_dir_sync(parent, err) : code;
}

static qd_code write_job(const qd_course *course, const qd_sources *sources, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *text = json_dumps(sources->recipe_json, JSON_INDENT(2));
    if (text == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return qd_file_write(course->paths.job, text, strlen(text), err);
}

static qd_end carry_out(qd_course *course, const qd_job_row *row, int *out_lock_fd, qd_error *err)
{
    QD_AUTO(qd_sources_fini) qd_sources sources = { 0 };
    qd_code code = make_folder(course, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("attempt.folder", err);
    if (code == QD_OK)
        code = qd_lock_take(course->paths.lock, grace_seconds, &course->active->cancel, out_lock_fd, err);
    if (code == QD_EBUSY)
        return QD_END_CRASHED; /* another try may find it gone */
    if (code == QD_OK)
        code = QD_FAULT_CODE("attempt.locked", err);
    if (code == QD_OK)
        code = qd_sources_fetch(course, row, &sources, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("attempt.fetched", err);
    if (code == QD_OK)
        code = write_job(course, &sources, err);
    if (code == QD_OK)
        code = QD_FAULT_CODE("attempt.job-written", err);
    if (code != QD_OK) {
        err->code = code;
        return QD_END_FAILED;
    }
    return qd_run_child(course, &sources, *out_lock_fd, err);
}

void qd_attempt(qd_service *service, const qd_job_row *row, qd_active *active)
{
    qd_error err = { 0 };
    /* held until the end is written: the artifact of a job cancelled and retried meanwhile is the retry's to make */
    QD_AUTO(qd_close_fd) int lock_fd = -1;
    QD_AUTO(qd_course_fini)
    qd_course course = { .service = service,
                         .active = active,
                         .state = QD_STATE_DOWNLOADING,
                         .phase_started = qd_clock_seconds(),
                         .crashes = row->crashes,
                         .deaths = row->deaths };
    qd_code code = qd_job_paths_init(service->settings.state_dir, row->id, &course.paths, &err);
    qd_end end = code == QD_OK ? carry_out(&course, row, &lock_fd, &err) : QD_END_FAILED;
    qd_entrance_leave(&course);
    qd_end_attempt(&course, end, &err);
    if (course.paths.texts != NULL)
        qd_dir_remove(course.paths.texts, NULL); /* met again by the collector */
}
