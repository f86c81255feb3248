/* outlook.h: what a job will take on this machine: forecasts, corrected by the jobs that finished here.
 * Room: server/jobs, private to it. May use: base, engine, store.
 * Threads: any, once begun. */
#ifndef QD_JOBS_OUTLOOK_H
#define QD_JOBS_OUTLOOK_H

#include "engine/forecast.h"
#include "jobs/service_private.h"

/* Measures the machine; once, before workers start. */
qd_code qd_outlook_begin(qd_service *service, qd_error *err);
/* The machine as a run has it, and as the newest finished jobs tell of it (witnesses.h). */
qd_code qd_outlook_machine(qd_service *service, qd_machine *out, qd_error *err);

/* Findings of a forecast against limits, as sentences; "" = none. `pointer` is a constant: the field that is meant. */
typedef struct qd_outlook_finding {
    const char *pointer;
    qd_code code;
    char detail[400];
} qd_outlook_finding;
enum { QD_OUTLOOK_FINDINGS = 4 };
/* Memory and disk; download: bytes that the model still takes of the disk. Returns how many were found. */
size_t qd_outlook_judge(qd_service *service, const qd_recipe *recipe, const qd_forecast *forecast, uint64_t download,
                        qd_outlook_finding out[QD_OUTLOOK_FINDINGS]);
/* Bytes of memory that a run is let in with. */
uint64_t qd_outlook_claim(const qd_recipe *recipe, const qd_forecast *forecast);

#endif
