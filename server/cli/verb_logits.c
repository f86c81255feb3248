/* verb_logits.c: quantd logits: the forward pass by itself, safetensors in and out. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "cli/verb.h"
#include "eval/perplexity.h"
#include "export/artifact.h"

enum { IDS, OUT, THREADS };
static const qd_verb_option options[] = {
    [IDS] = { "ids", "FILE", NULL, "safetensors with input_ids I64 [B, T]; required" },
    [OUT] = { "out", "FILE", NULL, "safetensors to write: logits F32 [B, T, V]; required" },
    [THREADS] = { "threads", "N", "all cores", "threads to use" },
    { 0 },
};

/* The ids of `path` as B x T of uint32. */
static qd_code read_ids(const char *path, uint32_t **out, size_t *out_batch, size_t *out_length, qd_error *err)
{
    qd_safetensors *file = NULL;
    qd_code code = qd_safetensors_open(path, &file, err);
    if (code != QD_OK)
        return code;
    const qd_tensor *tensor = qd_safetensors_find(file, "input_ids");
    if (tensor == NULL || strcmp(tensor->dtype->name, "I64") != 0 || tensor->rank != 2 || tensor->elements == 0)
        code = qd_fail(err, QD_EFORMAT, "'%s': a tensor input_ids of I64 [B, T] is wanted", path);
    else
        code = qd_alloc(tensor->elements, sizeof **out, (void **)out, err);
    for (size_t i = 0; code == QD_OK && i < tensor->elements; i++) {
        int64_t id;
        memcpy(&id, tensor->data + 8 * i, sizeof id);
        if (id < 0 || id > UINT32_MAX)
            code = qd_fail(err, QD_EFORMAT, "'%s': input_ids[%zu] = %lld is no token id", path, i, (long long)id);
        else
            (*out)[i] = (uint32_t)id;
    }
    if (code == QD_OK) {
        *out_batch = (size_t)tensor->shape[0];
        *out_length = (size_t)tensor->shape[1];
    }
    qd_safetensors_destroy(file);
    return code;
}

static qd_code compute(const char *dir, const char *ids_path, const char *out_path, size_t threads, qd_error *err)
{
    QD_AUTO(qd_free_pointer) uint32_t *ids = NULL;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf logits = { 0 };
    size_t batch = 0, length = 0;
    qd_artifact *artifact = NULL;
    qd_pool *pool = NULL;
    qd_code code = read_ids(ids_path, &ids, &batch, &length, err);
    if (code == QD_OK)
        code = qd_artifact_open(dir, &artifact, err);
    if (code == QD_OK)
        code = qd_pool_create(threads, &pool, err);
    size_t vocabulary = code == QD_OK ? qd_model_borrow_config(qd_artifact_model(artifact))->vocabulary : 0;
    if (code == QD_OK)
        code = qd_matf_buf_init(&logits, batch * length, vocabulary, err);
    if (code == QD_OK)
        code = qd_logits_compute(qd_artifact_model(artifact), qd_artifact_overlay(artifact), ids, batch, length, pool,
                                 logits.view, err);
    if (code == QD_OK) {
        const qd_tensor_out tensor = {
            "logits", qd_dtype_find("F32"), 3, { batch, length, vocabulary }, logits.view.data
        };
        code = qd_safetensors_write(out_path, &tensor, 1, NULL, NULL, 0, err);
    }
    qd_pool_destroy(pool);
    qd_artifact_destroy(artifact);
    return code;
}

static int run(const qd_arguments *arguments)
{
    qd_error err = { 0 };
    uint64_t threads = 1;
    const char *const *values = arguments->values;
    qd_code code = QD_OK;
    if (values[IDS] == NULL || values[OUT] == NULL)
        code = qd_fail(&err, QD_EINVAL, "--ids FILE and --out FILE are required");
    if (code == QD_OK)
        code = qd_argument_number(&options[THREADS], values[THREADS], qd_pool_processors(), &threads, &err);
    if (code == QD_OK)
        code = compute(arguments->operands[0], values[IDS], values[OUT], threads, &err);
    return code == QD_OK ? QD_EXIT_OK : qd_verb_fail(code, &err);
}

const qd_verb qd_verb_logits = {
    .name = "logits",
    .summary = "input_ids in, logits out (safetensors): the forward pass by itself",
    .operands = "MODEL_OR_ARTIFACT",
    .operand_count = 1,
    .options = options,
    .run = run,
};
