/* model_ends.c: what lies outside of blocks: the prefix of the names, embedding, positions, projections, norm, head. */
#include <string.h>

#include "model/model_private.h"

qd_code qd_model_need(qd_model *model, const char *name, size_t rows, size_t cols, const qd_tensor **out, qd_error *err)
{
    const qd_tensor *t = qd_shards_use(&model->shards, name);
    if (t == NULL)
        return qd_fail(err, QD_EFORMAT, "tensor '%s' is missing", name);
    bool fits =
        rows == 0 ? t->rank == 1 && t->shape[0] == cols : t->rank == 2 && t->shape[0] == rows && t->shape[1] == cols;
    if (!fits)
        return qd_fail(
            err, QD_ESHAPE, "tensor '%s' has %zu dimensions of %llu x %llu elements, the config wants %zu x %zu", name,
            t->rank, t->rank > 0 ? (unsigned long long)t->shape[0] : 0,
            t->rank > 1 ? (unsigned long long)t->shape[1] : 1, rows == 0 ? cols : rows, rows == 0 ? (size_t)1 : cols);
    if (t->dtype->from_floats == NULL && t->dtype->block == 0 && t->scale == NULL)
        return qd_fail(err, QD_EUNSUPPORTED,
                       "tensor '%s': weights of dtype %s are not supported; F32, F16 and BF16 are, F8_E4M3 and F8_E5M2 "
                       "with scales, and the blocks of GGUF files",
                       name, t->dtype->name);
    *out = t;
    return QD_OK;
}

/* Names as the family has them; without their first part, as files of the bare decoder have them ("wte.weight",
 * "decoder.embed_tokens.weight"); and within a wrapper of either generation. The first that the file has. */
static void find_prefix(qd_model *model)
{
    static const char *const around[] = { "", "", "language_model.", "model.language_model.", "language_model." };
    enum { WHOLE, REST } parts[] = { WHOLE, REST, WHOLE, REST, REST };
    const qd_arch_names *names = &model->arch->ops->names;
    const char *dot = strchr(names->prefix, '.'), *rest = dot == NULL ? "" : dot + 1;
    for (size_t i = 0; i < QD_LENGTH(around); i++) {
        char name[QD_NAME_BYTES];
        const char *part = parts[i] == WHOLE ? names->prefix : rest;
        snprintf(model->prefix, sizeof model->prefix, "%s%s", around[i], part);
        snprintf(name, sizeof name, "%s%s.weight", model->prefix, names->embedding);
        if (qd_shards_find(&model->shards, name) != NULL)
            return;
    }
    snprintf(model->prefix, sizeof model->prefix, "%s", names->prefix); /* to be named as missing */
}

static const char *end_name(const qd_model *model, const char *name, const char *ending, char out[QD_NAME_BYTES])
{
    snprintf(out, QD_NAME_BYTES, "%s%s%s", model->prefix, name, ending);
    return out;
}

/* The head stands beside the prefix: at the top, or in the wrapper's text model. */
static bool find_head(qd_model *model)
{
    static const char *const around[] = { "", "language_model.", "model.language_model." };
    for (size_t i = 0; i < QD_LENGTH(around); i++) {
        snprintf(model->head, sizeof model->head, "%s%s.weight", around[i], model->arch->ops->names.head);
        if (qd_shards_use(&model->shards, model->head) != NULL)
            return true;
    }
    return false;
}

static qd_code read_head(qd_model *model, qd_error *err)
{
    const qd_decoder *d = &model->decoder;
    model->ends.head = model->ends.embedding; /* a missing head means tied, whatever the flag says */
    if (find_head(model) && !d->tied)
        return qd_model_need(model, model->head, d->vocabulary, d->embedding, &model->ends.head, err);
    return QD_OK;
}

static qd_code read_final_norm(qd_model *model, qd_error *err)
{
    char name[QD_NAME_BYTES];
    const qd_decoder *d = &model->decoder;
    if (d->final_norm == NULL)
        return QD_OK;
    qd_code code = qd_model_need(model, end_name(model, d->final_norm, ".weight", name), 0, d->hidden,
                                 &model->ends.final_norm, err);
    if (code == QD_OK && d->ops->norm == QD_NORM_LAYER)
        code = qd_model_need(model, end_name(model, d->final_norm, ".bias", name), 0, d->hidden,
                             &model->ends.final_norm_bias, err);
    return code;
}

static qd_code read_projections(qd_model *model, qd_error *err)
{
    char name[QD_NAME_BYTES];
    const qd_decoder *d = &model->decoder;
    const qd_arch_names *names = &d->ops->names;
    if (d->embedding == d->hidden)
        return QD_OK;
    qd_code code = qd_model_need(model, end_name(model, names->project_in, ".weight", name), d->hidden, d->embedding,
                                 &model->ends.project_in, err);
    return code == QD_OK ? qd_model_need(model, end_name(model, names->project_out, ".weight", name), d->embedding,
                                         d->hidden, &model->ends.project_out, err)
                         : code;
}

static qd_code read_positions(qd_model *model, qd_error *err)
{
    char name[QD_NAME_BYTES];
    const qd_decoder *d = &model->decoder;
    if (d->ops->names.positions == NULL)
        return QD_OK;
    return qd_model_need(model, end_name(model, d->ops->names.positions, ".weight", name),
                         d->max_positions + d->ops->position_offset, d->hidden, &model->ends.positions, err);
}

qd_code qd_model_read_ends(qd_model *model, qd_error *err)
{
    char name[QD_NAME_BYTES];
    const qd_decoder *d = &model->decoder;
    find_prefix(model);
    qd_code code = qd_model_need(model, end_name(model, d->ops->names.embedding, ".weight", name), d->vocabulary,
                                 d->embedding, &model->ends.embedding, err);
    if (code == QD_OK)
        code = read_final_norm(model, err);
    if (code == QD_OK)
        code = read_positions(model, err);
    if (code == QD_OK)
        code = read_projections(model, err);
    return code == QD_OK ? read_head(model, err) : code;
}
