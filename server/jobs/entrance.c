/* entrance.c: see entrance.h. */
#include "jobs/entrance.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/file.h"
#include "engine/task_files.h"
#include "engine/text_sizes.h"
#include "jobs/outlook.h"

static const double look_seconds = 0.5;

static qd_code make_forecast(qd_course *course, const qd_sources *sources, qd_forecast *out, qd_error *err)
{
    qd_machine machine;
    qd_text_sizes texts;
    QD_AUTO(qd_task_files_fini) char **tasks = NULL;
    qd_code code = qd_outlook_machine(course->service, &machine, err);
    if (code == QD_OK)
        code = qd_text_sizes_of(sources->model.folder, sources->recipe, sources->calibration, sources->evaluation,
                                (const char *const *)sources->also, &texts, err);
    if (code == QD_OK && sources->tasks != NULL)
        code = qd_task_files_in(sources->recipe, sources->tasks, &tasks, err);
    if (code == QD_OK)
        code = qd_task_sizes_add(sources->recipe, (const char *const *)tasks, &texts, err);
    if (code == QD_OK)
        code = qd_forecast_folder(sources->recipe, sources->model.folder, &texts, &machine, out, err);
    if (code != QD_OK)
        return code;
    course->forecast = qd_forecast_print(out, &machine);
    course->pace = qd_machine_print_legs(&machine);
    return course->forecast == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

static qd_code judge(qd_course *course, const qd_recipe *recipe, const qd_forecast *forecast, qd_error *err)
{
    qd_outlook_finding findings[QD_OUTLOOK_FINDINGS];
    uint64_t there = qd_dir_bytes(course->paths.work); /* an earlier attempt's checkpoints */
    qd_forecast rest = *forecast;
    rest.disk_bytes -= there < rest.disk_bytes ? there : rest.disk_bytes;
    size_t count = qd_outlook_judge(course->service, recipe, &rest, 0, findings);
    return count == 0 ? QD_OK : qd_fail(err, findings[0].code, "%s", findings[0].detail);
}

static qd_code tell_waiting(qd_course *course, uint64_t bytes, qd_error *err)
{
    char text[200];
    qd_service *service = course->service;
    pthread_mutex_lock(&service->mutex);
    uint64_t inside = service->gate.inside_bytes, limit = service->gate.limit;
    pthread_mutex_unlock(&service->mutex);
    snprintf(text, sizeof text,
             "memory: the run is to have %" PRIu64 " bytes, and of %" PRIu64 " the others have %" PRIu64, bytes, limit,
             inside);
    qd_course_say(course, "info", "job.waiting", "reason=\"%s\"", text);
    return qd_course_progress_take(course,
                                   json_pack("{s:s, s:i, s:i, s:s, s:n, s:s}", "phase",
                                             qd_state_at(course->state)->name, "done", 0, "total", 0, "unit", "bytes",
                                             "eta", "waiting", text),
                                   err);
}

/* true: inside. */
static bool stand_in_line(qd_course *course)
{
    qd_service *service = course->service;
    const struct timespec until = qd_clock_deadline(look_seconds);
    pthread_mutex_lock(&service->mutex);
    bool inside = qd_gate_try(&service->gate, &course->ticket, qd_clock_seconds());
    if (!inside)
        pthread_cond_timedwait(&service->changed, &service->mutex, &until);
    pthread_mutex_unlock(&service->mutex);
    return inside;
}

static qd_code wait_for_memory(qd_course *course, uint64_t bytes, qd_error *err)
{
    qd_service *service = course->service;
    qd_code code = QD_OK;
    course->ticket = (qd_gate_ticket){ .bytes = bytes, .since = qd_clock_seconds() };
    pthread_mutex_lock(&service->mutex);
    qd_gate_come(&service->gate, &course->ticket);
    pthread_mutex_unlock(&service->mutex);
    for (bool told = false; code == QD_OK && !stand_in_line(course); told = true) {
        code = qd_cancel_check(&course->active->cancel, err);
        if (code == QD_OK && !told)
            code = tell_waiting(course, bytes, err);
    }
    return code;
}

qd_code qd_entrance(qd_course *course, const qd_sources *sources, qd_error *err)
{
    qd_forecast forecast;
    qd_error why = { 0 };
    if (make_forecast(course, sources, &forecast, &why) != QD_OK) {
        qd_course_say(course, "warn", "job.no-forecast", "reason=\"%s\"", why.text);
        return QD_OK;
    }
    qd_code code = judge(course, sources->recipe, &forecast, err);
    return code == QD_OK ? wait_for_memory(course, qd_outlook_claim(sources->recipe, &forecast), err) : code;
}

void qd_entrance_leave(qd_course *course)
{
    qd_service *service = course->service;
    pthread_mutex_lock(&service->mutex);
    qd_gate_leave(&service->gate, &course->ticket);
    pthread_cond_broadcast(&service->changed);
    pthread_mutex_unlock(&service->mutex);
}
