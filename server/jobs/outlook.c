/* outlook.c: see outlook.h. */
#include "jobs/outlook.h"

#include <inttypes.h>
#include <stdio.h>

#include "jobs/supervise.h"
#include "jobs/witnesses.h"

enum { WAY_OUT = 240 };

qd_code qd_outlook_begin(qd_service *service, qd_error *err)
{
    qd_code code = qd_machine_probe(&service->machine, err);
    service->machine.threads = service->settings.threads_each;
    service->gate.limit = service->settings.config.memory_bytes;
    return code;
}

qd_code qd_outlook_machine(qd_service *service, qd_machine *out, qd_error *err)
{
    qd_machine machine = service->machine;
    qd_code code = qd_witnesses_hear(service->store, &machine, err);
    if (code == QD_OK)
        *out = machine;
    return code;
}

uint64_t qd_outlook_claim(const qd_recipe *recipe, const qd_forecast *forecast)
{
    if (recipe->limit_memory == 0)
        return forecast->peak_memory;
    return recipe->limit_memory > forecast->least_memory ? recipe->limit_memory : forecast->least_memory;
}

static qd_outlook_finding *next(qd_outlook_finding *out, size_t *count, const char *pointer, qd_code code)
{
    qd_outlook_finding *finding = &out[(*count)++];
    *finding = (qd_outlook_finding){ .pointer = pointer, .code = code };
    return finding;
}

/* Where it is the source model's own sampling that takes so much, there is a way out. */
static const char *way_out(const qd_forecast *f, char out[WAY_OUT])
{
    out[0] = '\0';
    if (f->least_with_texts < f->least_memory)
        snprintf(
            out, WAY_OUT,
            "; with texts in calibration.source and evaluation.text, so that the model need not sample its own with "
            "all its weights in memory, %" PRIu64 " would do",
            f->least_with_texts);
    return out;
}

static void judge_memory(const qd_service *service, const qd_recipe *recipe, const qd_forecast *f,
                         qd_outlook_finding *out, size_t *count)
{
    char other[WAY_OUT];
    uint64_t own = recipe->limit_memory, all = service->settings.config.memory_bytes;
    if (own > 0 && own < f->least_memory) {
        qd_outlook_finding *finding = next(out, count, "/limits/memory", QD_ETOOBIG);
        snprintf(finding->detail, sizeof finding->detail,
                 "limits.memory: %" PRIu64 " bytes, and the job is forecast to need %" PRIu64
                 "; the smallest limit that will do is that%s",
                 own, f->least_memory, way_out(f, other));
    }
    if (all > 0 && qd_outlook_claim(recipe, f) > all) {
        qd_outlook_finding *finding = next(out, count, own > f->least_memory ? "/limits/memory" : "", QD_ETOOBIG);
        snprintf(finding->detail, sizeof finding->detail,
                 "memory: the job is to have %" PRIu64 " bytes, and this service's runs have %" PRIu64
                 " together: it could never start%s",
                 qd_outlook_claim(recipe, f), all, way_out(f, other));
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
