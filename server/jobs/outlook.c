/* outlook.c: see outlook.h. */
#include "jobs/outlook.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "jobs/supervise.h"
#include "store/job_rows.h"

enum { WITNESSES_MAX = 15 };

qd_code qd_outlook_begin(qd_service *service, qd_error *err)
{
    qd_code code = qd_machine_probe(&service->machine, err);
    service->machine.threads = service->settings.threads_each;
    service->gate.limit = service->settings.config.memory_bytes;
    return code;
}

typedef struct witnesses {
    double ratio[WITNESSES_MAX];
    size_t count;
} witnesses;

static void hear(void *ctx, double ratio)
{
    witnesses *w = ctx;
    if (w->count < WITNESSES_MAX)
        w->ratio[w->count++] = ratio;
}

static qd_code read_witnesses(void *ctx, qd_tx *tx, qd_error *err)
{
    witnesses *w = ctx;
    w->count = 0;
    return qd_job_row_forecasts(tx, qd_state_at(QD_STATE_SUCCEEDED)->name, WITNESSES_MAX, hear, w, err);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

qd_code qd_outlook_machine(qd_service *service, qd_machine *out, qd_error *err)
{
    witnesses w = { 0 };
    qd_code code = qd_store_read(service->store, read_witnesses, &w, err);
    if (code != QD_OK)
        return code;
    qd_machine machine = service->machine;
    qsort(w.ratio, w.count, sizeof *w.ratio, compare);
    if (w.count > 0)
        machine.factor = w.ratio[w.count / 2];
    machine.witnesses = w.count;
    *out = machine;
    return QD_OK;
}

uint64_t qd_outlook_claim(const qd_recipe *recipe, const qd_forecast *forecast)
{
    return recipe->limit_memory > forecast->least_memory ? recipe->limit_memory : forecast->least_memory;
}

static qd_outlook_finding *next(qd_outlook_finding *out, size_t *count, const char *pointer, qd_code code)
{
    qd_outlook_finding *finding = &out[(*count)++];
    *finding = (qd_outlook_finding){ .pointer = pointer, .code = code };
    return finding;
}

static void judge_memory(const qd_service *service, const qd_recipe *recipe, const qd_forecast *f,
                         qd_outlook_finding *out, size_t *count)
{
    uint64_t own = recipe->limit_memory, all = service->settings.config.memory_bytes;
    if (own > 0 && own < f->least_memory) {
        qd_outlook_finding *finding = next(out, count, "/limits/memory", QD_ETOOBIG);
        snprintf(finding->detail, sizeof finding->detail,
                 "limits.memory: %" PRIu64 " bytes, and the job is forecast to need %" PRIu64
                 "; the smallest limit that will do is that",
                 own, f->least_memory);
    }
    if (all > 0 && qd_outlook_claim(recipe, f) > all) {
        qd_outlook_finding *finding = next(out, count, own > f->least_memory ? "/limits/memory" : "", QD_ETOOBIG);
        snprintf(finding->detail, sizeof finding->detail,
                 "memory: the job is to have %" PRIu64 " bytes, and this service's runs have %" PRIu64
                 " together: it could never start",
                 qd_outlook_claim(recipe, f), all);
    }
}

static void judge_disk(qd_service *service, const qd_recipe *recipe, const qd_forecast *f, uint64_t download,
                       qd_outlook_finding *out, size_t *count)
{
    uint64_t there = qd_free_bytes(service), floor_bytes = qd_service_now(service).disk_floor_bytes;
    uint64_t room = there > floor_bytes ? there - floor_bytes : 0;
    if (recipe->limit_disk > 0 && recipe->limit_disk < f->disk_bytes) {
        qd_outlook_finding *finding = next(out, count, "/limits/disk", QD_ETOOBIG);
        snprintf(finding->detail, sizeof finding->detail,
                 "limits.disk: %" PRIu64 " bytes, and checkpoints, scratch and artifact are forecast to take %" PRIu64,
                 recipe->limit_disk, f->disk_bytes);
    }
    if (f->disk_bytes + download > room) {
        qd_outlook_finding *finding = next(out, count, "", QD_ENOSPC);
        snprintf(finding->detail, sizeof finding->detail,
                 "disk: the job takes %" PRIu64 " bytes (of these %" PRIu64 " are downloaded), and %" PRIu64
                 " are free above the floor of %" PRIu64,
                 f->disk_bytes + download, download, room, floor_bytes);
    }
}

size_t qd_outlook_judge(qd_service *service, const qd_recipe *recipe, const qd_forecast *forecast, uint64_t download,
                        qd_outlook_finding out[QD_OUTLOOK_FINDINGS])
{
    size_t count = 0;
    judge_memory(service, recipe, forecast, out, &count);
    judge_disk(service, recipe, forecast, download, out, &count);
    return count;
}
