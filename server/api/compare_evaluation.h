/* compare_evaluation.h: whether jobs were measured alike, and how far their artifacts are from each other where they were.
 * Room: server/api. May use: core, jobs.
 * Threads: pure functions. */
#ifndef QD_API_COMPARE_EVALUATION_H
#define QD_API_COMPARE_EVALUATION_H

#include "jobs/service.h"

/* {"comparable":bool,"reasons":[text],"differences":[{"job","than","text","mean_nll","standard_error","perplexity_ratio","kl","kl_standard_error"}]}:
 * every job beside the first, on every text that both were measured on in the same windows by the same source. comparable: the first text is one of
 * them, for all jobs; reasons say what stands in the way. mean_nll: how many nats a token more it loses. Each job's own difference from the source is
 * paired by window, so that the text's hardness is in neither; of the two, rounding errors are taken to be independent of each other. */
json_t *qd_compare_evaluation(const qd_job *jobs, size_t count);

#endif
