/* bench_eval.c: how fast perplexity is measured: bench_eval MODEL IDS CONTEXT THREADS. IDS: i32 windows, i32 length, i32 ids, as tests/interop/llama_client
 * reads them. One line of JSON; seconds and processor seconds without opening the model. Driven by bench_eval.py. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/file.h"
#include "eval/perplexity.h"
#include "linalg/gemm.h"

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static qd_code read_windows(const char *path, qd_windows *out, qd_str *text, qd_error *err)
{
    qd_code code = qd_file_read(path, 1 << 30, text, err);
    const uint32_t *words = (const uint32_t *)(const void *)text->data;
    if (code == QD_OK && (text->length < 8 || text->length != 8 + 4 * (size_t)words[0] * words[1]))
        code = qd_fail(err, QD_EFORMAT, "'%s' holds no windows", path);
    if (code == QD_OK)
        *out = (qd_windows){ .ids = (uint32_t *)(uintptr_t)(words + 2), .count = words[0], .length = words[1] };
    return code;
}

int main(int count, char **word)
{
    qd_error err = { 0 };
    qd_model *model = NULL;
    qd_pool *pool = NULL;
    qd_windows windows = { 0 };
    qd_str text = { 0 };
    qd_perplexity found = { 0 };
    if (count != 5)
        return 2;
    qd_blas_single_thread();
    qd_code code = read_windows(word[2], &windows, &text, &err);
    windows.context = (size_t)atoi(word[3]);
    if (code == QD_OK)
        code = qd_model_open(word[1], &model, &err);
    if (code == QD_OK)
        code = qd_pool_create((size_t)atoi(word[4]), &pool, &err);
    const qd_windows one = { .ids = windows.ids, .count = 1, .length = windows.length, .context = windows.context };
    if (code == QD_OK)
        code = qd_perplexity_measure(model, NULL, &one, pool, NULL, NULL, NULL, &found, &err); /* warms up */
    double begin = seconds_of(CLOCK_MONOTONIC), cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    if (code == QD_OK)
        code = qd_perplexity_measure(model, NULL, &windows, pool, NULL, NULL, NULL, &found, &err);
    if (code == QD_OK)
        printf("{\"perplexity\":%.10g,\"seconds\":%.6f,\"cpu\":%.6f}\n", found.perplexity,
               seconds_of(CLOCK_MONOTONIC) - begin, seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    else
        fprintf(stderr, "%s\n", err.text);
    qd_pool_destroy(pool);
    qd_model_destroy(model);
    qd_str_fini(&text);
    return code == QD_OK ? 0 : 1;
}
