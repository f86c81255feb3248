/* state.c: see state.h. */
#include "jobs/state.h"

#include <string.h>

#include "jobs/service.h"

#define BIT(state) (1u << (state))
/* What may happen to any job a worker owns: it fails, is cancelled, or goes back because its run or the service
 * ended. */
#define ANY_TIME (BIT(QD_STATE_FAILED) | BIT(QD_STATE_CANCELLED) | BIT(QD_STATE_QUEUED))

static const qd_state states[QD_STATE_COUNT] = {
    [QD_STATE_QUEUED] = { "queued", QD_STATE_WAITING, BIT(QD_STATE_DOWNLOADING) | BIT(QD_STATE_CANCELLED) },
    [QD_STATE_DOWNLOADING] = { "downloading", QD_STATE_RUNNING, BIT(QD_STATE_QUANTIZING) | ANY_TIME },
    [QD_STATE_QUANTIZING] = { "quantizing", QD_STATE_RUNNING,
                              BIT(QD_STATE_EVALUATING) | BIT(QD_STATE_EXPORTING) | ANY_TIME },
    [QD_STATE_EVALUATING] = { "evaluating", QD_STATE_RUNNING, BIT(QD_STATE_EXPORTING) | ANY_TIME },
    [QD_STATE_EXPORTING] = { "exporting", QD_STATE_RUNNING, BIT(QD_STATE_VERIFYING) | ANY_TIME },
    [QD_STATE_VERIFYING] = { "verifying", QD_STATE_RUNNING,
                             BIT(QD_STATE_SUCCEEDED) | BIT(QD_STATE_QUARANTINED) | ANY_TIME },
    [QD_STATE_SUCCEEDED] = { "succeeded", QD_STATE_FINAL, 0 },
    [QD_STATE_FAILED] = { "failed", QD_STATE_FINAL, BIT(QD_STATE_QUEUED) },
    [QD_STATE_CANCELLED] = { "cancelled", QD_STATE_FINAL, BIT(QD_STATE_QUEUED) },
    [QD_STATE_QUARANTINED] = { "quarantined", QD_STATE_FINAL, BIT(QD_STATE_QUEUED) },
};

const qd_state *qd_state_at(size_t index)
{
    return index < QD_STATE_COUNT ? &states[index] : NULL;
}

bool qd_state_find(const char *name, qd_state_id *out)
{
    for (size_t i = 0; i < QD_STATE_COUNT; i++) {
        if (strcmp(states[i].name, name) == 0) {
            *out = (qd_state_id)i;
            return true;
        }
    }
    return false;
}

qd_code qd_state_read(const char *job, const char *name, qd_state_id *out, qd_error *err)
{
    return qd_state_find(name, out) ? QD_OK
                                    : qd_fail(err, QD_EINTERNAL, "job '%s' has the unknown state '%s'", job, name);
}

bool qd_state_may_follow(qd_state_id from, qd_state_id to)
{
    return (states[from].followers & BIT(to)) != 0;
}

const char *qd_state_words(void)
{
    return "queued, downloading, quantizing, evaluating, exporting, verifying, succeeded, failed, cancelled, "
           "quarantined";
}

const char *qd_state_name(size_t index)
{
    return index < QD_STATE_COUNT ? states[index].name : NULL;
}

const char *qd_phase_name(size_t index)
{
    return index <= QD_STATE_VERIFYING - QD_STATE_DOWNLOADING ? states[QD_STATE_DOWNLOADING + index].name : NULL;
}
