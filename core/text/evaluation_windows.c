/* evaluation_windows.c: see evaluation_windows.h. */
#include "text/evaluation_windows.h"

#include <string.h>

#include "base/mem.h"

static const char *const policies[] = { "every-window", "none", "inserted", "first-window" };

const char *qd_bos_policy_name(size_t index)
{
    return index < QD_LENGTH(policies) ? policies[index] : NULL;
}

int qd_bos_policy_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(policies); i++)
        if (strcmp(policies[i], name) == 0)
            return (int)i;
    return -1;
}

size_t qd_windows_from(const qd_windows *w, size_t index)
{
    size_t from = qd_max_size(w->context, 1);
    return index == 0 || w->fresh == 0 ? from : qd_max_size(from, w->length - w->fresh);
}

size_t qd_windows_predictions(const qd_windows *w, size_t index)
{
    return w->length - qd_windows_from(w, index);
}

size_t qd_windows_before(const qd_windows *w, size_t index)
{
    return index == 0 ? 0 : qd_windows_predictions(w, 0) + (index - 1) * qd_windows_predictions(w, 1);
}

/* The text as a row of places that windows are cut from: BOS, if any stands before it, then its ids. */
typedef struct places {
    const qd_ids *ids;
    size_t lead; /* 1 = BOS stands before the ids; 0 = it stands in the windows, or nowhere */
    uint32_t bos;
    size_t count;
} places;

static void copy_places(const places *p, size_t first, size_t count, uint32_t *out)
{
    if (first < p->lead && count > 0) {
        *out++ = p->bos;
        first++;
        count--;
    }
    memcpy(out, p->ids->data + (first - p->lead), count * sizeof *out);
}

static qd_code check_cut(const qd_window_cut *c, size_t content, qd_error *err)
{
    if (c->length < 2) /* a token predicts nothing alone */
        return qd_fail(err, QD_EINVAL, "windows of %zu tokens; at least 2 are wanted", c->length);
    if (c->bos > (int64_t)UINT32_MAX)
        return qd_fail(err, QD_EINVAL, "BOS %lld is no token id", (long long)c->bos);
    if (c->policy != QD_BOS_NONE && c->bos < 0)
        return qd_fail(
            err, QD_EINVAL,
            "the tokenizer has no BOS token: of every-window, none, inserted, first-window only 'none' works");
    if (c->context >= c->length)
        return qd_fail(err, QD_EINVAL, "context: %zu of the %zu tokens of a window leaves none to score", c->context,
                       c->length);
    if (c->stride > content)
        return qd_fail(err, QD_EINVAL,
                       "stride: %zu is beyond the %zu tokens of the text in a window: those between would not be "
                       "scored",
                       c->stride, content);
    return QD_OK;
}

qd_code qd_windows_cut(const qd_ids *ids, const qd_window_cut *c, qd_windows *out, qd_error *err)
{
    bool inserted = c->policy == QD_BOS_INSERTED, overwritten = c->policy == QD_BOS_EVERY_WINDOW;
    bool leads = overwritten || c->policy == QD_BOS_FIRST_WINDOW;
    size_t content = inserted && c->length > 0 ? c->length - 1 : c->length;
    qd_code code = check_cut(c, content, err);
    if (code != QD_OK)
        return code;
    /* a rendered conversation begins with a BOS of its own, which stands for the one that is put in */
    size_t own = c->policy != QD_BOS_NONE && ids->count > 0 && ids->data[0] == (uint32_t)c->bos ? 1 : 0;
    const qd_ids rest = { .data = ids->data + own, .count = ids->count - own };
    const places p = { &rest, leads ? 1 : 0, (uint32_t)(c->bos < 0 ? 0 : c->bos), rest.count + (leads ? 1 : 0) };
    size_t step = c->stride == 0 ? content : c->stride;
    if (p.count < content)
        return qd_fail(err, QD_EINVAL, "the text has %zu tokens, and a window needs %zu", ids->count, content - p.lead);
    size_t count = (p.count - content) / step + 1;
    qd_windows w = { 0 };
    code = qd_windows_init(&w, c->max_windows > 0 ? qd_min_size(count, c->max_windows) : count, c->length, err);
    for (size_t i = 0; code == QD_OK && i < w.count; i++) {
        uint32_t *window = w.ids + i * w.length;
        copy_places(&p, i * step, content, window + (w.length - content));
        if (inserted || overwritten)
            window[0] = p.bos;
    }
    if (code != QD_OK)
        return code;
    w.context = c->context;
    w.fresh = step < content ? step : 0;
    w.tokens_available = ids->count;
    w.tokens_used = own + (w.count - 1) * step + content - (overwritten && w.fresh == 0 ? w.count : p.lead);
    *out = w;
    return QD_OK;
}
