/* run_limits.c: see run_limits.h. */
#include "jobs/run_limits.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "jobs/course.h"
#include "jobs/service_private.h"

static const double look_seconds = 2;

void qd_run_limits_init(qd_run_limits *limits, const qd_course *course, const qd_recipe *recipe)
{
    double own = recipe->limit_runtime, usual = qd_service_now(course->service).job_runtime_seconds;
    *limits =
        (qd_run_limits){ .runtime = own >= 0 ? own : usual, .disk = recipe->limit_disk, .started = qd_clock_seconds() };
}

void qd_run_limits_reached(qd_run_limits *limits, const json_t *progress)
{
    const char *unit = json_string_value(json_object_get(progress, "unit"));
    limits->done = (size_t)json_integer_value(json_object_get(progress, "done"));
    limits->total = (size_t)json_integer_value(json_object_get(progress, "total"));
    snprintf(limits->unit, sizeof limits->unit, "%s", unit == NULL ? "" : unit);
}

static qd_code look_at_disk(const qd_course *course, const qd_run_limits *limits, qd_error *err)
{
    if (limits->disk == 0)
        return QD_OK;
    uint64_t taken = qd_dir_bytes(course->paths.work) + qd_dir_bytes(course->paths.out);
    if (taken <= limits->disk)
        return QD_OK;
    return qd_fail(err, QD_ETOOBIG,
                   "limits.disk: checkpoints and artifact in the making take %" PRIu64 " bytes, and %" PRIu64
                   " are allowed",
                   taken, limits->disk);
}

qd_code qd_run_limits_look(const qd_course *course, qd_run_limits *limits, qd_error *err)
{
    double now = qd_clock_seconds();
    if (limits->runtime > 0 && now - limits->started > limits->runtime)
        return qd_fail(err, QD_ETIMEOUT,
                       "limits.runtime: %g seconds are over while %s, after %zu of %zu %s; a retry with a larger limit "
                       "goes on from the last finished layer",
                       limits->runtime, qd_state_at(course->state)->name, limits->done, limits->total, limits->unit);
    if (now - limits->looked < look_seconds)
        return QD_OK;
    limits->looked = now;
    return look_at_disk(course, limits, err);
}
