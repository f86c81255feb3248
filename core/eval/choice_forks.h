/* choice_forks.h: which continuations walk together: a plan that depends on their ids and lengths alone.
 * Room: core/eval, private to it. May use: base, model.
 * Threads: values. */
#ifndef QD_EVAL_CHOICE_FORKS_H
#define QD_EVAL_CHOICE_FORKS_H

#include "eval/choice.h"

/* Ids that go through the model: the last is only asked for. */
static inline size_t qd_continuation_walks(const qd_continuation *c)
{
    return c->count - 1;
}

/* A continuation in its place: in the order of ids, cut into trees, which come in the order of what was given. */
typedef struct qd_place {
    size_t index;  /* of what was given */
    size_t walker; /* place of the one that it begins, whose walk answers it: itself, or one behind it */
} qd_place;

/* Neighbours that begin alike walk as branches of one trunk. */
typedef struct qd_walk_tree {
    size_t first, end; /* places */
    size_t earliest;   /* index, as given */
    size_t trunk, rows;
    qd_fork shape;
    uint32_t *ids; /* one a row; shape and ids lead into the grove's */
    size_t row;    /* of its first, in the batch */
} qd_walk_tree;

typedef struct qd_grove {
    qd_place *places;
    qd_walk_tree *trees;
    size_t tree_count;
    size_t *branches;   /* of all trees */
    size_t *branch_row; /* of a walker's place: first row of its branch within the tree */
    uint32_t *ids;      /* of all trees */
} qd_grove;
void qd_grove_fini(qd_grove *grove); /* fine on a zeroed one */
/* Every continuation in one tree, count >= 1. What walks together is alike to the model in its length. */
qd_code qd_grove_plant(const qd_model *model, const qd_continuation *asked, size_t count, qd_grove *out, qd_error *err);

#endif
