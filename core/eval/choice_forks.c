/* choice_forks.c: see choice_forks.h. */
#include "eval/choice_forks.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* A trunk is worth its copies from here on; a tree of more rows is a task too long, and too much working memory of a thread. */
enum { TRUNK_LEAST = 8, TREE_ROWS = 512 };

static size_t common(const qd_continuation *x, const qd_continuation *y)
{
    size_t most = qd_min_size(qd_continuation_walks(x), qd_continuation_walks(y)), i = 0;
    while (i < most && x->ids[i] == y->ids[i])
        i++;
    return i;
}

typedef struct keyed {
    const qd_continuation *of;
    size_t index;
    size_t form; /* qd_model_length_form */
} keyed;

/* By the ids that walk, shorter first where one begins the other; then as given. */
static int compare_keyed(const void *a, const void *b)
{
    const keyed *x = a, *y = b;
    size_t same = common(x->of, y->of);
    if (same < qd_continuation_walks(x->of) && same < qd_continuation_walks(y->of))
        return x->of->ids[same] < y->of->ids[same] ? -1 : 1;
    if (qd_continuation_walks(x->of) != qd_continuation_walks(y->of))
        return qd_continuation_walks(x->of) < qd_continuation_walks(y->of) ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* A run of continuations, each beginning the next; the last of them walks. */
static size_t run_end(const keyed *sorted, size_t from, size_t count)
{
    while (from + 1 < count && sorted[from].form == sorted[from + 1].form &&
           common(sorted[from].of, sorted[from + 1].of) == qd_continuation_walks(sorted[from].of))
        from++;
    return from + 1;
}

/* A tree in the making: places are those of `sorted` still. */
typedef struct growth {
    size_t walkers, lengths; /* so far, and their ids in all */
    size_t trunk;
    const qd_continuation *last;
} growth;

static size_t rows_of(const growth *g)
{
    return g->lengths - (g->walkers - 1) * g->trunk;
}

/* Does one more walker make the tree smaller than it and the tree apart, and not too large? */
static bool joins(const growth *g, const qd_continuation *walker, growth *out)
{
    size_t same = common(g->last, walker);
    *out = (growth){ g->walkers + 1, g->lengths + qd_continuation_walks(walker), qd_min_size(g->trunk, same), walker };
    return out->trunk >= TRUNK_LEAST && rows_of(out) <= TREE_ROWS &&
           rows_of(out) < rows_of(g) + qd_continuation_walks(walker);
}

/* The places of `sorted` from `from` on that make one tree. */
static qd_walk_tree grow_tree(const keyed *sorted, size_t from, size_t count)
{
    size_t end = run_end(sorted, from, count);
    const qd_continuation *walker = sorted[end - 1].of;
    growth g = { 1, qd_continuation_walks(walker), qd_continuation_walks(walker), walker }, more;
    for (size_t next; end < count; end = next, g = more) {
        next = run_end(sorted, end, count);
        if (sorted[next - 1].form != sorted[from].form || !joins(&g, sorted[next - 1].of, &more))
            break;
    }
    qd_walk_tree out = {
        .first = from, .end = end, .earliest = sorted[from].index, .trunk = g.trunk, .rows = rows_of(&g)
    };
    for (size_t i = from; i < end; i++)
        out.earliest = qd_min_size(out.earliest, sorted[i].index);
    return out;
}

static int compare_trees(const void *a, const void *b)
{
    const qd_walk_tree *x = a, *y = b;
    return (x->earliest > y->earliest) - (x->earliest < y->earliest);
}

/* The tree's places, and the rows of its trunk and branches, at the next free ones. */
static void settle_tree(qd_grove *g, const keyed *sorted, qd_walk_tree *t, size_t place_at, size_t *branch,
                        uint32_t *ids)
{
    size_t count = t->end - t->first, row = t->trunk, walkers = 0;
    for (size_t i = 0; i < count; i++)
        g->places[place_at + i].index = sorted[t->first + i].index;
    memcpy(ids, sorted[t->first + count - 1].of->ids, t->trunk * sizeof *ids);
    for (size_t i = 0; i < count; walkers++) {
        size_t end = run_end(sorted + t->first, i, count);
        const qd_continuation *walker = sorted[t->first + end - 1].of;
        size_t own = qd_continuation_walks(walker) - t->trunk;
        g->branch_row[place_at + end - 1] = row;
        memcpy(ids + row, walker->ids + t->trunk, own * sizeof *ids);
        branch[walkers] = own;
        row += own;
        for (; i < end; i++)
            g->places[place_at + i].walker = place_at + end - 1;
    }
    t->shape = (qd_fork){ t->trunk, branch, row == t->trunk ? 0 : walkers };
    t->ids = ids;
    t->first = place_at;
    t->end = place_at + count;
}

static qd_code settle_trees(qd_grove *g, const keyed *sorted, size_t count, qd_error *err)
{
    size_t rows = 0, at = 0, branch = 0;
    for (size_t i = 0; i < g->tree_count; i++)
        rows += g->trees[i].rows;
    qd_code code = qd_alloc(rows, sizeof *g->ids, (void **)&g->ids, err);
    if (code == QD_OK)
        code = qd_alloc(count, sizeof *g->branches, (void **)&g->branches, err);
    if (code == QD_OK)
        code = qd_alloc(count, sizeof *g->branch_row, (void **)&g->branch_row, err);
    if (code != QD_OK)
        return code;
    qsort(g->trees, g->tree_count, sizeof *g->trees, compare_trees);
    rows = 0;
    for (size_t i = 0; i < g->tree_count; i++) {
        qd_walk_tree *t = &g->trees[i];
        settle_tree(g, sorted, t, at, g->branches + branch, g->ids + rows);
        at = t->end;
        branch += t->shape.count;
        rows += t->rows;
    }
    return code;
}

void qd_grove_fini(qd_grove *grove)
{
    void *all[] = { grove->places, grove->trees, grove->branches, grove->branch_row, grove->ids };
    for (size_t i = 0; i < QD_LENGTH(all); i++)
        free(all[i]);
    *grove = (qd_grove){ 0 };
}

qd_code qd_grove_plant(const qd_model *model, const qd_continuation *asked, size_t count, qd_grove *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) keyed *sorted = NULL;
    QD_AUTO(qd_grove_fini) qd_grove g = { 0 };
    qd_code code = qd_alloc(count, sizeof *sorted, (void **)&sorted, err);
    if (code == QD_OK)
        code = qd_alloc(count, sizeof *g.places, (void **)&g.places, err);
    if (code == QD_OK)
        code = qd_alloc(count, sizeof *g.trees, (void **)&g.trees, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < count; i++)
        sorted[i] = (keyed){ &asked[i], i, qd_model_length_form(model, qd_continuation_walks(&asked[i])) };
    qsort(sorted, count, sizeof *sorted, compare_keyed);
    for (size_t from = 0; from < count; from = g.trees[g.tree_count++].end)
        g.trees[g.tree_count] = grow_tree(sorted, from, count);
    code = settle_trees(&g, sorted, count, err);
    if (code == QD_OK) {
        *out = g;
        g = (qd_grove){ 0 };
    }
    return code;
}
