/* task.h: zero-shot tasks: how a line of a data set becomes texts to be continued, and what is made of their likelihoods.
 * Room: core/eval. May use: base, linalg, text, model, jansson. One row a task in task_table.c, one a metric in task_metric.c.
 * Threads: rows are constant; examples are values.
 * Source: the task definitions of lm-evaluation-harness 0.4 (prompts, what is scored, what lengths are divided by), so that numbers can be held
 * against published ones. Differences: the perplexity's standard error is the delta method's, not a bootstrap's. */
#ifndef QD_EVAL_TASK_H
#define QD_EVAL_TASK_H

#include <jansson.h>

#include "base/str.h"
#include "eval/choice.h"

/* What is asked of a model: how likely is `continuation` after `context`? Owned texts. */
typedef struct qd_pair {
    char *context, *continuation;
    size_t characters; /* of the choice as the data set has it: what acc_norm divides by */
} qd_pair;

enum { QD_CHOICES_MAX = 16 };

/* One line of a data set. Zero-initialize; qd_example_fini. */
typedef struct qd_example {
    qd_pair pairs[QD_CHOICES_MAX];
    size_t count; /* 1 or more; 1 where a word is to be found, not chosen */
    size_t gold;  /* the right one */
} qd_example;
void qd_example_fini(qd_example *example);

/* What metrics see of an example. */
typedef struct qd_answer {
    const qd_likelihood *choices; /* as its pairs */
    const size_t *characters;     /* as its pairs */
    size_t count, gold;
} qd_answer;

/* A value and its standard error; NaN = there is none (one example alone). */
typedef struct qd_figure {
    double value, standard_error;
} qd_figure;

typedef struct qd_metric {
    const char *name, *summary;
    enum { QD_METRIC_MEAN, QD_METRIC_PERPLEXITY } kind; /* mean of the examples' numbers, or exp of minus that mean */
    double (*of)(const qd_answer *answer);              /* the number of one example */
} qd_metric;
const qd_metric *qd_metric_at(size_t index); /* NULL past the end */
const qd_metric *qd_metric_find(const char *name);
/* numbers: one an example, count >= 1. Standard error: sample deviation over sqrt(count), through the metric's slope. */
qd_figure qd_metric_figure(const qd_metric *metric, const double *numbers, size_t count);
/* `after` minus `before`, of the same examples: the standard error is that of the paired difference. */
qd_figure qd_metric_difference(const qd_metric *metric, const double *before, const double *after, size_t count);

enum { QD_TASK_METRICS_MAX = 2 };

typedef struct qd_eval_task {
    const char *name, *summary;
    const char *fields; /* of a line: "query, choices, gold; or question, choices, answerKey" */
    const char *metrics[QD_TASK_METRICS_MAX + 1]; /* names, then NULL; the first is the one to look at */
    /* QD_EFORMAT names the field, what was found, what is wanted. */
    qd_code (*read)(const json_t *line, qd_example *out, qd_error *err);
} qd_eval_task;
const qd_eval_task *qd_eval_task_at(size_t index);       /* NULL past the end */
const qd_eval_task *qd_eval_task_find(const char *name); /* NULL for unknown */
void qd_eval_task_list(char *out, size_t size);          /* "arc_easy, arc_challenge, ...": for messages */
const qd_metric *qd_eval_task_metric(const qd_eval_task *task, size_t index); /* NULL past the end */

#endif
