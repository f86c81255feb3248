/* sequence_deal.c: which sequences are judged by, so that their documents are not fitted: see sequences.h. */
#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"
#include "text/sequences.h"

/* Sequences of one document. */
typedef struct group {
    size_t first, count;
    size_t judged; /* of them, spread evenly */
} group;

static size_t find_groups(const size_t *document, size_t count, group *groups)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || document[i] != document[i - 1])
            groups[found++] = (group){ .first = i };
        groups[found - 1].count++;
    }
    return found;
}

/* Groups every - 1, 2 every - 1, ... come first: where each has one sequence, they are taken, as they would be without documents. */
static void prefer(size_t groups, size_t every, size_t *out)
{
    size_t next = 0;
    for (size_t r = every; r-- > 0;)
        for (size_t g = r; g < groups; g += every)
            out[next++] = g;
}

/* Which sums up to `wanted` can groups make up, asked one by one in their order? by[s]: 1 + the place of the group that first made s. */
static void make_sums(const group *groups, const size_t *order, size_t count, size_t wanted, size_t *by)
{
    for (size_t k = 0; k < count && by[wanted] == 0; k++) {
        size_t size = groups[order[k]].count;
        for (size_t s = wanted + 1; s-- > size;)
            if (by[s] == 0 && (s == size || by[s - size] != 0))
                by[s] = k + 1;
    }
}

/* Whole groups up to the largest sum, and of the first other one what is missing. Returns the number of groups on both sides. */
static size_t mark(group *groups, const size_t *order, size_t wanted, const size_t *by)
{
    size_t sum = wanted, next = 0;
    while (sum > 0 && by[sum] == 0)
        sum--;
    size_t missing = wanted - sum;
    for (; sum > 0; sum -= groups[order[by[sum] - 1]].count)
        groups[order[by[sum] - 1]].judged = groups[order[by[sum] - 1]].count;
    if (missing == 0)
        return 0;
    while (groups[order[next]].judged > 0)
        next++; /* each that is left has more than is missing, or it would have been taken */
    groups[order[next]].judged = missing;
    return 1;
}

static void lay_out(const group *groups, size_t count, size_t every, size_t *out)
{
    size_t judge = every - 1, fit = 0;
    for (size_t g = 0; g < count; g++)
        for (size_t m = 0; m < groups[g].count; m++) {
            bool judges = (m + 1) * groups[g].judged / groups[g].count > m * groups[g].judged / groups[g].count;
            fit += fit % every == every - 1;
            out[judges ? judge : fit] = groups[g].first + m;
            *(judges ? &judge : &fit) += judges ? every : 1;
        }
}

qd_code qd_sequences_deal(const size_t *document, size_t count, size_t every, size_t *out_order,
                          size_t *out_shared_documents, qd_error *err)
{
    QD_AUTO(qd_free_pointer) group *groups = NULL;
    QD_AUTO(qd_free_pointer) size_t *order = NULL, *by = NULL;
    *out_shared_documents = 0;
    for (size_t i = 0; i < count; i++)
        out_order[i] = i;
    every = qd_min_size(every, count);
    if (every < 2)
        return QD_OK; /* nothing is judged by, or there is but one */
    size_t wanted = count / every;
    qd_code code = qd_alloc(count, sizeof *groups, (void **)&groups, err);
    if (code == QD_OK)
        code = qd_alloc(count, sizeof *order, (void **)&order, err);
    if (code == QD_OK)
        code = qd_alloc(wanted + 1, sizeof *by, (void **)&by, err);
    if (code != QD_OK)
        return code;
    size_t found = find_groups(document, count, groups);
    if (found == 1) {
        *out_shared_documents = 1; /* nothing to deal */
        return QD_OK;
    }
    prefer(found, every, order);
    make_sums(groups, order, found, wanted, by);
    *out_shared_documents = mark(groups, order, wanted, by);
    lay_out(groups, found, every, out_order);
    return QD_OK;
}
