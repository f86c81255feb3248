/* windows.c: the windows that calibration cuts from ids; see corpus.h.
 * Source: reference-numbers.md §1 "Calibration". */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"
#include "base/rng.h"
#include "text/corpus.h"

static const char *const samplings[] = { "even", "random" };
static const char *const first_positions[] = { "counted", "left-out" };

static int find(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return (int)i;
    return -1;
}

const char *qd_sampling_name(size_t index)
{
    return index < QD_LENGTH(samplings) ? samplings[index] : NULL;
}

int qd_sampling_find(const char *name)
{
    return find(samplings, QD_LENGTH(samplings), name);
}

const char *qd_first_position_name(size_t index)
{
    return index < QD_LENGTH(first_positions) ? first_positions[index] : NULL;
}

int qd_first_position_find(const char *name)
{
    return find(first_positions, QD_LENGTH(first_positions), name);
}

void qd_windows_fini(qd_windows *windows)
{
    free(windows->ids);
    *windows = (qd_windows){ 0 };
}

qd_code qd_windows_init(qd_windows *windows, size_t count, size_t length, qd_error *err)
{
    size_t total;
    if (!qd_mul_size(count, length, &total))
        return qd_fail(err, QD_ETOOBIG, "%zu windows of %zu tokens", count, length);
    *windows = (qd_windows){ .count = count, .length = length };
    return qd_alloc(total, sizeof *windows->ids, (void **)&windows->ids, err);
}

qd_code qd_windows_digest(const qd_windows *windows, char *out_hex, qd_error *err)
{
    return qd_sha256(windows->ids, windows->count * windows->length * sizeof *windows->ids, out_hex, err);
}

/* A token predicts nothing alone. */
static qd_code check_length(size_t length, qd_error *err)
{
    return length >= 2 ? QD_OK : qd_fail(err, QD_EINVAL, "windows of %zu tokens; at least 2 are wanted", length);
}

static qd_code check_bos(int64_t bos, qd_error *err)
{
    return bos <= (int64_t)UINT32_MAX ? QD_OK : qd_fail(err, QD_EINVAL, "BOS %lld is no token id", (long long)bos);
}

static int by_size(const void *a, const void *b)
{
    const size_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

/* Where the windows begin: ascending, each + length within `available`. */
static void choose_starts(const qd_window_request *request, size_t available, size_t *starts)
{
    size_t free_places = available - request->length;
    uint64_t key = qd_rng_key(request->seed, 0, 0);
    for (size_t i = 0; i < request->count; i++)
        if (request->sampling == QD_SAMPLING_RANDOM)
            starts[i] = (size_t)qd_rng_below(key, i, (uint64_t)free_places + 1);
        else
            starts[i] = (size_t)floor(((double)i + request->phase) * (double)free_places / (double)request->count);
    qsort(starts, request->count, sizeof *starts, by_size);
}

qd_code qd_windows_check(const qd_window_request *request, qd_error *err)
{
    qd_code code = check_length(request->length, err);
    if (code == QD_OK)
        code = check_bos(request->bos, err);
    if (code != QD_OK)
        return code;
    if (request->count == 0)
        return qd_fail(err, QD_EINVAL, "0 samples; at least 1 is wanted");
    if (!(request->phase >= 0.0 && request->phase < 1.0))
        return qd_fail(err, QD_EINVAL, "phase %g is not within [0, 1)", request->phase);
    return QD_OK;
}

static qd_code check_request(const qd_ids *ids, const qd_window_request *request, qd_error *err)
{
    qd_code code = qd_windows_check(request, err);
    if (code == QD_OK && ids->count < request->length)
        return qd_fail(err, QD_EINVAL, "the text has %zu tokens, and a sample needs %zu", ids->count, request->length);
    return code;
}

qd_code qd_windows_sample(const qd_ids *ids, const qd_window_request *request, qd_windows *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) size_t *starts = NULL;
    QD_AUTO(qd_windows_fini) qd_windows windows = { 0 };
    qd_code code = check_request(ids, request, err);
    if (code == QD_OK)
        code = qd_alloc(request->count, sizeof *starts, (void **)&starts, err);
    if (code == QD_OK)
        code = qd_windows_init(&windows, request->count, request->length, err);
    if (code != QD_OK)
        return code;
    choose_starts(request, ids->count, starts);
    size_t lead = request->bos >= 0 ? 1 : 0, content = request->length - lead, covered = 0;
    for (size_t i = 0; i < request->count; i++) {
        uint32_t *window = windows.ids + i * request->length;
        if (lead > 0)
            window[0] = (uint32_t)request->bos;
        size_t own = lead > 0 && ids->data[starts[i]] == (uint32_t)request->bos ? 1 : 0,
               end = starts[i] + own + content;
        memcpy(window + lead, ids->data + starts[i] + own, content * sizeof *window);
        size_t fresh = qd_max_size(covered, starts[i]); /* starts ascend: what lies before `covered` was counted */
        windows.tokens_used += end > fresh ? end - fresh : 0;
        covered = qd_max_size(covered, end);
    }
    windows.tokens_available = ids->count;
    *out = windows;
    windows = (qd_windows){ 0 };
    return QD_OK;
}
