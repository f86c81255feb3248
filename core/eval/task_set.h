/* task_set.h: the examples of a task, read from a file and cut into tokens; and what the likelihoods of several models come to.
 * Room: core/eval. May use: base, linalg, text, model, jansson.
 * Threads: a set is read-only once read. */
#ifndef QD_EVAL_TASK_SET_H
#define QD_EVAL_TASK_SET_H

#include "base/digest.h"
#include "eval/task.h"

enum { QD_TASK_FILE_LIMIT = 256 << 20 }; /* bytes of a file of examples */

/* How texts become tokens. */
typedef struct qd_task_terms {
    const qd_tokenizer *tokenizer;
    int64_t bos;  /* stands where a context is empty; -1 = none */
    size_t most;  /* tokens that a model takes at once; longer ones lose their beginning */
    size_t first; /* only so many examples; 0 = all */
} qd_task_terms;

/* One example among the requests of its set. */
typedef struct qd_placed {
    size_t first, count; /* requests */
    size_t gold;
} qd_placed;

typedef struct qd_task_set {
    const qd_eval_task *task;
    qd_placed *examples;
    size_t count;
    qd_continuation *requests;
    size_t *characters; /* of each request's choice */
    size_t request_count;
    size_t truncated;           /* requests that lost their beginning */
    char digest[QD_DIGEST_HEX]; /* SHA-256 of the file */
    qd_ids ids;                 /* what the requests lead into */
} qd_task_set;
void qd_task_set_fini(qd_task_set *set); /* fine on a zeroed one */

/* JSON Lines; empty lines are skipped. Messages name the line and the field. QD_EINVAL: not one example. */
qd_code qd_task_set_read(const qd_eval_task *task, const char *path, const qd_task_terms *terms, qd_task_set *out,
                         qd_error *err);
/* What the examples of a file ask for, without a tokenizer. first: 0 = all. */
typedef struct qd_task_extent {
    size_t requests, bytes; /* of all contexts with their continuations */
} qd_task_extent;
qd_code qd_task_extent_of(const qd_eval_task *task, const char *path, size_t first, qd_task_extent *out, qd_error *err);
/* The number of each example by a metric (qd_metric's `of`); likelihoods: one a request. */
void qd_task_set_judge(const qd_task_set *set, const qd_metric *metric, const qd_likelihood *likelihoods, double *out);

/* What is measured together. */
typedef struct qd_task_sets {
    qd_task_set *items;
    size_t count;
} qd_task_sets;
void qd_task_sets_fini(qd_task_sets *sets);
size_t qd_task_sets_requests(const qd_task_sets *sets); /* of all */
/* Where a set's likelihoods begin among those of one model. */
const qd_likelihood *qd_task_sets_part(const qd_task_sets *sets, size_t index, const qd_likelihood *of_model);
/* As qd_choice_measure. out: models x requests, set by set. */
qd_code qd_task_sets_measure(const qd_task_sets *sets, const qd_rival *models, size_t model_count, qd_pool *pool,
                             const qd_progress *progress, const qd_cancel *cancel, qd_likelihood *out, qd_error *err);

/* Ids of a context and what follows it: blanks at the context's end belong to the continuation; the continuation's tokens are those of both
 * together without as many as the context has alone. Appends to `ids`. out_asked: of the continuation. */
qd_code qd_pair_encode(const qd_pair *pair, const qd_task_terms *terms, qd_ids *ids, size_t *out_asked, qd_error *err);

#endif
