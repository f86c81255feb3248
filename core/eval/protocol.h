/* protocol.h: how perplexity is measured, by a name: the registry of protocols that others publish numbers by.
 * Room: core/eval. May use: base, linalg, text, model.
 * Threads: constant tables and pure functions.
 * Source: algorithms.md §10 "Evaluation protocol" (tutorial); reference-numbers.md §1 (plain).
 *
 * A row decides what nobody gives: fields that are given win. A new protocol is a row. */
#ifndef QD_EVAL_PROTOCOL_H
#define QD_EVAL_PROTOCOL_H

#include "text/evaluation_windows.h"

typedef struct qd_protocol {
    const char *name, *summary;
    size_t length; /* tokens a window, at most the model's positions */
    size_t stride; /* ids between the starts of windows; 0 = no overlap */
    /* leading tokens of a window that are not scored: context_part / 2 of its length, and context_more */
    size_t context_part, context_more;
    qd_bos_policy bos;
    qd_split split;
} qd_protocol;
const qd_protocol *qd_protocol_at(size_t index); /* NULL past the end; 0 = the default */
const qd_protocol *qd_protocol_find(const char *name);

/* What is asked: numbers that are 0 are the protocol's. */
typedef struct qd_protocol_use {
    const qd_protocol *row;
    size_t length, stride, context, max_windows;
    qd_bos_policy bos;
    qd_split split; /* of the text, before it is cut */
} qd_protocol_use;
/* With everything of the row. */
qd_protocol_use qd_protocol_defaults(const qd_protocol *row);

/* The cut for a model of `positions` (0 = any) and a BOS (-1 = none: then no window has one). A length that nobody gives is at most the model's
 * positions; QD_EINVAL names `field` where one that is given is longer. */
qd_code qd_protocol_resolve(const qd_protocol_use *use, const char *field, size_t positions, int64_t bos,
                            qd_window_cut *out, qd_error *err);
/* Tokens a window, as above without the refusal. */
size_t qd_protocol_length(const qd_protocol_use *use, size_t positions);

#endif
