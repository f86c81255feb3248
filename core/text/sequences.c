/* sequences.c: see sequences.h. Which of them are judged by is sequence_deal.c's. */
#include "text/sequences.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

static const char *const names[] = { "joined", "separated", "within" };

const char *qd_boundary_name(size_t index)
{
    return index < QD_LENGTH(names) ? names[index] : NULL;
}

int qd_boundary_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(names); i++)
        if (strcmp(names[i], name) == 0)
            return (int)i;
    return -1;
}

static size_t start_of(const qd_corpus *corpus, size_t document)
{
    return document == 0 ? 0 : corpus->ends[document - 1];
}

/* ---- across documents ---- */

static qd_code separate(const qd_corpus *corpus, int64_t separator, qd_ids *out, size_t *out_count, qd_error *err)
{
    if (separator < 0 && corpus->documents > 1)
        return qd_fail(
            err, QD_EINVAL,
            "documents: 'separated' needs a BOS or EOS token, and the model names neither; joined and within "
            "do without");
    qd_code code = QD_OK;
    const uint32_t *ids = corpus->ids.data;
    for (size_t i = 0; code == QD_OK && i < corpus->documents; i++) {
        size_t start = start_of(corpus, i), end = corpus->ends[i];
        const qd_ids document = { .data = corpus->ids.data + start, .count = end - start };
        if (i > 0 && ids[start] != (uint32_t)separator && ids[start - 1] != (uint32_t)separator) {
            code = qd_ids_add(out, (uint32_t)separator, err);
            ++*out_count;
        }
        if (code == QD_OK)
            code = qd_ids_append(out, &document, err);
    }
    return code;
}

static qd_code cut_across(const qd_ids *ids, const qd_sequence_request *request, qd_windows *out,
                          qd_sequence_report *report, qd_error *err)
{
    size_t content = request->window.length - (request->window.bos >= 0 ? 1 : 0);
    qd_code code = qd_windows_sample(ids, &request->window, out, err);
    if (code != QD_OK)
        return code;
    report->tokens = ids->count;
    report->kept = out->tokens_used;
    report->unused = ids->count - out->tokens_used;
    report->repeated = qd_max_size(out->count * content, out->tokens_used) - out->tokens_used;
    return QD_OK;
}

/* ---- within documents ---- */

/* Of one document: where its sequences begin, behind a BOS that it brings itself and that stands for theirs. */
typedef struct pieces {
    size_t start, own, count, left_over;
} pieces;

static pieces pieces_of(const qd_corpus *corpus, const qd_window_request *w, size_t document)
{
    size_t start = start_of(corpus, document), length = corpus->ends[document] - start;
    size_t content = w->length - (w->bos >= 0 ? 1 : 0);
    size_t own = w->bos >= 0 && corpus->ids.data[start] == (uint32_t)w->bos ? 1 : 0;
    size_t count = (length - own) / content;
    return (pieces){ start, own, count, count == 0 ? 0 : length - own - count * content };
}

static size_t count_pieces(const qd_corpus *corpus, const qd_window_request *w, qd_sequence_report *report,
                           size_t *out_longest)
{
    size_t total = 0;
    for (size_t i = 0; i < corpus->documents; i++) {
        const pieces p = pieces_of(corpus, w, i);
        size_t length = corpus->ends[i] - p.start;
        *out_longest = qd_max_size(*out_longest, length);
        report->short_documents += p.count == 0;
        report->too_short += p.count == 0 ? length : 0;
        report->left_over += p.left_over;
        total += p.count;
    }
    return total;
}

/* `count` of 0..total-1, ascending, each once. Even ones: floor((i + phase) total / count), kept apart where that is rounded. */
static void choose(const qd_window_request *w, size_t total, size_t count, size_t *chosen)
{
    uint64_t key = qd_rng_key(w->seed, 0, 0);
    if (w->sampling == QD_SAMPLING_RANDOM) {
        for (size_t j = 0, taken = 0; taken < count; j++) /* each as likely as what is left to take of what is left */
            if (qd_rng_below(key, j, total - j) < count - taken)
                chosen[taken++] = j;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        size_t place = (size_t)floor(((double)i + w->phase) * (double)total / (double)count);
        size_t least = i == 0 ? 0 : chosen[i - 1] + 1;
        chosen[i] = qd_min_size(qd_max_size(place, least), total - count + i);
    }
}

/* Chosen sequences as places in the text; `at` and `document` have `count` places. */
static void locate(const qd_corpus *corpus, const qd_window_request *w, const size_t *chosen, size_t count, size_t *at,
                   size_t *document, qd_sequence_report *report)
{
    size_t content = w->length - (w->bos >= 0 ? 1 : 0);
    for (size_t i = 0, d = 0, before = 0; i < count; d++) {
        const pieces p = pieces_of(corpus, w, d);
        for (; i < count && chosen[i] < before + p.count; i++) {
            document[i] = d;
            at[i] = p.start + p.own + (chosen[i] - before) * content;
            report->kept += content + (chosen[i] == before ? p.own : 0);
        }
        before += p.count;
    }
}

static qd_code fill(const qd_corpus *corpus, const qd_window_request *w, const size_t *at, const size_t *order,
                    qd_windows *out, qd_error *err)
{
    size_t lead = w->bos >= 0 ? 1 : 0;
    qd_code code = qd_alloc(out->count * out->length, sizeof *out->ids, (void **)&out->ids, err);
    for (size_t i = 0; code == QD_OK && i < out->count; i++) {
        uint32_t *window = out->ids + i * out->length;
        if (lead > 0)
            window[0] = (uint32_t)w->bos;
        memcpy(window + lead, corpus->ids.data + at[order[i]], (out->length - lead) * sizeof *window);
    }
    return code;
}

static qd_code cut_pieces(const qd_corpus *corpus, const qd_sequence_request *request, size_t total, qd_windows *out,
                          qd_sequence_report *report, qd_error *err)
{
    const qd_window_request *w = &request->window;
    QD_AUTO(qd_free_pointer) size_t *places = NULL;
    size_t count = qd_min_size(w->count, total);
    qd_code code = qd_alloc(4 * count, sizeof *places, (void **)&places, err);
    if (code != QD_OK)
        return code;
    size_t *chosen = places, *at = places + count, *document = places + 2 * count, *order = places + 3 * count;
    choose(w, total, count, chosen);
    locate(corpus, w, chosen, count, at, document, report);
    code = qd_sequences_deal(document, count, request->every, order, &report->shared_documents, err);
    *out = (qd_windows){ .count = count, .length = w->length, .tokens_available = corpus->ids.count };
    out->tokens_used = report->kept;
    return code == QD_OK ? fill(corpus, w, at, order, out, err) : code;
}

static qd_code cut_within(const qd_corpus *corpus, const qd_sequence_request *request, qd_windows *out,
                          qd_sequence_report *report, qd_error *err)
{
    size_t longest = 0;
    qd_code code = qd_windows_check(&request->window, err);
    if (code != QD_OK)
        return code;
    size_t total = count_pieces(corpus, &request->window, report, &longest);
    if (total == 0)
        return qd_fail(err, QD_EINVAL,
                       "documents: none of %zu fills a sequence of %zu tokens; the longest has %zu. A smaller length "
                       "does, or documents joined or separated",
                       corpus->documents, request->window.length, longest);
    code = cut_pieces(corpus, request, total, out, report, err);
    report->tokens = corpus->ids.count;
    report->unused = report->tokens - report->kept - report->too_short - report->left_over;
    return code;
}

/* ---- all ---- */

static qd_code cut(const qd_corpus *corpus, const qd_sequence_request *request, qd_windows *out,
                   qd_sequence_report *report, qd_error *err)
{
    if (request->boundary == QD_DOCUMENTS_WITHIN)
        return cut_within(corpus, request, out, report, err);
    if (request->boundary == QD_DOCUMENTS_JOINED)
        return cut_across(&corpus->ids, request, out, report, err);
    QD_AUTO(qd_ids_fini) qd_ids separated = { 0 };
    qd_code code = separate(corpus, request->separator, &separated, &report->separators, err);
    return code == QD_OK ? cut_across(&separated, request, out, report, err) : code;
}

qd_code qd_sequences_cut(const qd_corpus *corpus, const qd_sequence_request *request, qd_windows *out,
                         qd_sequence_report *out_report, qd_error *err)
{
    QD_AUTO(qd_windows_fini) qd_windows windows = { 0 };
    qd_sequence_report report = { .documents = corpus->documents, .empty = corpus->empty };
    qd_code code = cut(corpus, request, &windows, &report, err);
    if (code != QD_OK)
        return code;
    if (request->every > 0)
        report.held_out = windows.count / qd_min_size(request->every, windows.count);
    *out_report = report;
    *out = windows;
    windows = (qd_windows){ 0 };
    return QD_OK;
}
