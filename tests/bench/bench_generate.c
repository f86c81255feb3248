/* bench_generate.c: tokens a second that a model makes of itself, by the sampler's settings; the ids go to standard output.
 *
 *     bench_generate MODEL COUNT LENGTH TEMPERATURE TOP_K TOP_P predicted|pieces SEED THREADS > ids.txt
 *
 * A line a sequence. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "generate/generate.h"
#include "linalg/gemm.h"

static qd_code run(char **word, qd_error *err)
{
    qd_model *model = NULL;
    qd_pool *pool = NULL;
    uint32_t *ids = NULL;
    qd_generation request = {
        .count = strtoul(word[2], NULL, 10),
        .length = strtoul(word[3], NULL, 10),
        .rule = { .temperature = atof(word[4]), .top_k = strtoul(word[5], NULL, 10), .top_p = atof(word[6]) },
        .opening = strcmp(word[7], "pieces") == 0 ? QD_OPEN_PIECES : QD_OPEN_PREDICTED,
        .seed = strtoul(word[8], NULL, 10)
    };
    qd_code code = qd_model_open(word[1], &model, err);
    if (code == QD_OK)
        code = qd_pool_create(strtoul(word[9], NULL, 10), &pool, err);
    if (code == QD_OK)
        code = qd_alloc(request.count * request.length, sizeof *ids, (void **)&ids, err);
    double started = qd_clock_seconds();
    if (code == QD_OK) {
        request.bos = qd_model_borrow_config(model)->bos;
        code = qd_generate(model, &request, pool, NULL, NULL, ids, err);
    }
    double spent = qd_clock_seconds() - started, worked = (double)clock() / CLOCKS_PER_SEC;
    for (size_t i = 0; code == QD_OK && i < request.count; i++)
        for (size_t t = 0; t < request.length; t++)
            printf("%u%c", ids[i * request.length + t], t + 1 == request.length ? '\n' : ' ');
    if (code == QD_OK)
        fprintf(stderr,
                "%zu tokens, %.2f s, %.2f processor seconds: %.1f tokens a processor second, at most %llu bytes\n",
                request.count * request.length, spent, worked, (double)(request.count * request.length) / worked,
                (unsigned long long)qd_generate_memory(model, request.length, qd_pool_threads(pool)));
    free(ids);
    qd_pool_destroy(pool);
    qd_model_destroy(model);
    return code;
}

int main(int argc, char **argv)
{
    qd_error err = { 0 };
    qd_blas_single_thread();
    if (argc != 10) {
        fprintf(stderr, "usage: %s MODEL COUNT LENGTH TEMPERATURE TOP_K TOP_P predicted|pieces SEED THREADS\n",
                argv[0]);
        return 2;
    }
    if (run(argv, &err) == QD_OK)
        return 0;
    fprintf(stderr, "%s\n", err.text);
    return 1;
}
