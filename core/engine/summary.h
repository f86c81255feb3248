/* summary.h: layer records added up: the summary of a run, of certificate.json, and of a job's certificate.
 * Room: core/engine. May use: base.
 * Threads: values. */
#ifndef QD_ENGINE_SUMMARY_H
#define QD_ENGINE_SUMMARY_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialize; add every record. */
typedef struct qd_summary {
    size_t layers, certified, degraded;
    size_t measured;            /* layers with calibration data (m > 0) */
    double error_sq, output_sq; /* over those; over all when there is none: the others' are in weight units */
    size_t experts, starved;    /* experts of all blocks that tokens were counted of */
    size_t fewest;              /* tokens of the one with the fewest */
    int64_t last[2];            /* block and number of the one whose layers came last, when there are any */
} qd_summary;
void qd_summary_add(qd_summary *summary, const json_t *record);
/* Error over output norm, 0 where there is no output. */
double qd_summary_relative_error(const qd_summary *summary);

/* {"count","starved","fewest_tokens"}, or null where no expert's tokens were counted (new reference). */
json_t *qd_summary_experts(const qd_summary *summary);

#endif
