/* eval_tasks.h: the tasks of quantd eval.
 * Room: server/cli. May use: core.
 * Threads: main thread only. */
#ifndef QD_CLI_EVAL_TASKS_H
#define QD_CLI_EVAL_TASKS_H

#include <jansson.h>

#include "base/pool.h"
#include "cli/verb.h"
#include "eval/task_set.h"
#include "export/artifact.h"

/* NAME=FILE[:N] of every --task. */
typedef struct qd_eval_asked {
    const qd_artifact *artifact, *against; /* against NULL = the artifact alone */
    const char *dir;                       /* of the artifact: its tokenizer is used */
    const char *details;                   /* file for a JSON line an example, or NULL */
    const qd_progress *progress;
    size_t threads;
} qd_eval_asked;

/* Does the command line ask for tasks? `option` is --task in the row. */
bool qd_eval_tasks_given(const qd_arguments *arguments, size_t option);
/* out: as task_results.h has it, columns "source" (where there is one) and "model"; new reference. */
qd_code qd_eval_tasks_run(const qd_arguments *arguments, size_t option, const qd_eval_asked *asked, json_t **out,
                          qd_error *err);

#endif
