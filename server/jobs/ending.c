/* ending.c: see ending.h. */
#include "jobs/ending.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "engine/attest.h"
#include "jobs/publish.h"
#include "jobs/service_private.h"

/* One that gets on a little each time is ended too, some day. */
enum { CRASHES_MAX = 3, DEATHS_MAX = 20 };

static json_t *problem_document(const char *word, const char *detail, qd_state_id state)
{
    json_t *document = json_pack("{s:s, s:s, s:s}", "code", word, "detail", detail, "phase", qd_state_at(state)->name);
    if (document == NULL) /* text that is no UTF-8: say what can be said */
        document = json_pack("{s:s, s:s, s:s}", "code", word, "detail", "the reason cannot be printed; see the log",
                             "phase", qd_state_at(state)->name);
    return document;
}

/* An artifact that was made and does not hold what it should: kept for inspection, never served. */
static qd_state_id failed_state(const qd_course *course, qd_code code)
{
    bool wrong = code == QD_EFORMAT || code == QD_ESHAPE || code == QD_ENUMERIC || code == QD_EGATE;
    return course->state == QD_STATE_VERIFYING && wrong ? QD_STATE_QUARANTINED : QD_STATE_FAILED;
}

/* A job that filled the disk must not keep it from saying so: the artifact in the making goes first, its checkpoints
 * when that was not enough. Both can be made again. */
static void make_room(const qd_course *course, unsigned tries)
{
    if (course->state != QD_STATE_VERIFYING || tries > 1)
        qd_dir_remove(course->paths.out, NULL);
    if (tries > 2)
        qd_dir_remove(course->paths.work, NULL);
}

/* Until it is written, or somebody else has the job, or the service stops (then it is found running, and resumed, at
 * the next start). */
static qd_code insist(qd_course *course, qd_record *record, qd_state_id to, qd_error *err)
{
    for (unsigned tries = 1;; tries++) {
        qd_code code = qd_course_move(course, record, to, err);
        if (code != QD_ENOSPC && code != QD_EIO && code != QD_EBUSY)
            return code;
        qd_course_say(course, "error", "job.not-recorded", "state=%s reason=\"%s\"", qd_state_at(to)->name, err->text);
        if (qd_service_stopping(course->service))
            return code;
        if (code == QD_ENOSPC && record->ending == QD_RECORD_FINISH && to != QD_STATE_SUCCEEDED)
            make_room(course, tries);
        nanosleep(&(struct timespec){ .tv_nsec = tries < 5 ? 100000000 : 999999999 }, NULL);
    }
}

static void fail(qd_course *course, const char *word, qd_state_id to, const char *detail)
{
    qd_error err = { 0 };
    QD_AUTO(qd_json_fini) json_t *document = problem_document(word, detail, course->state);
    qd_record record = qd_course_record(course);
    record.type = "problem";
    record.data = document;
    record.problem = document;
    record.ending = QD_RECORD_FINISH;
    qd_code code = insist(course, &record, to, &err);
    if (code == QD_OK)
        qd_course_say(course, "warn", "job.ended", "state=%s code=%s reason=\"%s\"", qd_state_at(to)->name, word,
                      detail);
}

/* Back into the queue: the next attempt goes on from the checkpoints. */
static void resume(qd_course *course, const json_t *warning)
{
    qd_error err = { 0 };
    qd_record record = qd_course_record(course);
    record.ending = QD_RECORD_RESUME;
    if (warning != NULL) {
        record.type = "warning";
        record.data = warning;
        record.crash_rule = QD_CRASHES_SET;
        record.crashes = course->crashes;
    }
    if (insist(course, &record, QD_STATE_QUEUED, &err) != QD_OK)
        return;
    pthread_mutex_lock(&course->service->mutex);
    course->service->tally.resumes++;
    pthread_mutex_unlock(&course->service->mutex);
    qd_service_queued(course->service);
}

static void crash(qd_course *course, const qd_error *reason)
{
    char detail[800];
    course->crashes++;
    course->deaths++;
    if (course->crashes >= CRASHES_MAX || course->deaths >= DEATHS_MAX) {
        bool in_a_row = course->crashes >= CRASHES_MAX;
        snprintf(detail, sizeof detail, "the run died %u times %s; the last time: %s",
                 in_a_row ? course->crashes : course->deaths,
                 in_a_row ? "in a row without finishing a layer" : "in all", reason->text);
        fail(course, reason->code == QD_ENOMEM ? qd_code_name(QD_ENOMEM) : "crash", QD_STATE_FAILED, detail);
        return;
    }
    snprintf(detail, sizeof detail, "%s; it is started again and goes on from its last finished layer", reason->text);
    qd_course_say(course, "warn", "run.died", "reason=\"%s\"", reason->text);
    QD_AUTO(qd_json_fini) json_t *warning = json_pack("{s:s}", "detail", detail);
    resume(course, warning);
}

/* What cannot be published. */
static void put_aside(const qd_course *course, qd_error *err)
{
    char reason[sizeof err->text];
    if (rmdir(course->paths.out) == 0)
        return; /* it wrote nothing */
    snprintf(reason, sizeof reason, "%s", err->text);
    if (qd_dir_remove(course->paths.quarantine, NULL) == QD_OK &&
        qd_file_rename(course->paths.out, course->paths.quarantine, NULL) == QD_OK)
        qd_fail(err, err->code, "%s; the artifact is kept as '%s'", reason, course->paths.quarantine);
}

static void give_up(qd_course *course, const qd_error *reason)
{
    qd_error err = *reason;
    qd_state_id state = failed_state(course, err.code);
    if (state == QD_STATE_QUARANTINED)
        put_aside(course, &err);
    fail(course, qd_code_name(err.code), state, err.text);
}

/* Seconds of the run's phases. */
static double run_seconds(const json_t *result)
{
    const char *phase;
    json_t *seconds;
    double sum = 0;
    json_object_foreach(json_object_get(result, "seconds"), phase, seconds) sum += json_number_value(seconds);
    return sum;
}

/* What was forecast, beside what came of it. A run that found layers there has no seconds to compare. */
static void set_outcome(const qd_course *course, double seconds)
{
    json_t *said = json_object_get(course->forecast, "seconds");
    bool whole = json_integer_value(json_object_get(course->result, "resumed_layers")) == 0;
    json_t *forecast = json_pack("{s:O, s:O, s:O, s:O}", "seconds", json_object_get(said, "total"), "low",
                                 json_object_get(said, "low"), "high", json_object_get(said, "high"), "peak_memory",
                                 json_object_get(course->forecast, "peak_memory"));
    json_object_set_new(course->result, "forecast", forecast == NULL ? json_null() : forecast);
    json_object_set_new(course->result, "outcome",
                        json_pack("{s:o, s:O?}", "seconds", whole ? json_real(seconds) : json_null(), "peak_memory",
                                  json_object_get(course->result, "peak_memory")));
}

/* Before the end is written: who sees the end finds the figure. */
static void count_outcome(const qd_course *course, double seconds)
{
    double said = json_number_value(json_object_get(json_object_get(course->result, "forecast"), "seconds"));
    if (said <= 0 || json_is_null(json_object_get(json_object_get(course->result, "outcome"), "seconds")))
        return;
    pthread_mutex_lock(&course->service->mutex);
    course->service->tally.last_over_forecast = seconds / said;
    pthread_mutex_unlock(&course->service->mutex);
}

static void succeed(qd_course *course)
{
    qd_error err = { 0 };
    QD_AUTO(qd_publication_fini) qd_publication publication = { 0 };
    const qd_signer *signer = course->service->settings.signer;
    qd_code code = signer == NULL ? QD_OK : qd_attest_sign(course->paths.out, signer, &err);
    if (code == QD_OK)
        code = qd_publish(&course->paths, &publication, &err);
    if (code != QD_OK) {
        give_up(course, &err);
        return;
    }
    double spent = run_seconds(course->result);
    set_outcome(course, spent);
    count_outcome(course, spent);
    json_t *seconds = json_object_get(course->result, "seconds");
    if (json_is_object(seconds))
        json_object_set_new(seconds, "downloading", json_real(course->downloading));
    qd_record record = qd_course_record(course);
    record.type = "result";
    record.data = course->result;
    record.result = course->result;
    record.files = publication.files;
    record.file_count = publication.count;
    record.ending = QD_RECORD_FINISH;
    QD_FAULT("end.publish");
    code = insist(course, &record, QD_STATE_SUCCEEDED, &err);
    QD_FAULT("end.recorded");
    if (code == QD_OK)
        qd_course_say(course, "info", "job.ended", "state=succeeded");
    else if (code == QD_ECONFLICT) /* cancelled in the last moment: what nobody's row names is not kept */
        qd_dir_remove(course->paths.artifact, NULL);
    if (code == QD_OK)
        qd_dir_remove(course->paths.work, NULL);
    QD_FAULT("end.cleared");
}

void qd_end_attempt(qd_course *course, qd_end end, const qd_error *reason)
{
    if (end == QD_END_RESULT)
        succeed(course);
    else if (reason->code == QD_ECONFLICT && course->fault == QD_ECONFLICT)
        return; /* somebody else has the job now */
    else if (qd_service_stopping(course->service))
        resume(course, NULL);
    else if (reason->code == QD_ECANCELLED && qd_cancel_requested(&course->active->cancel))
        return; /* the row says so already */
    else if (end == QD_END_CRASHED || reason->code == QD_ECANCELLED)
        crash(course, reason);
    else
        give_up(course, reason);
}
