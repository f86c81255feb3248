/* decoder.c: config.json to the numbers of a model, by the rules of its architecture's row. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "model/arch_private.h"
#include "model/decoder_layers.h"

enum { LARGEST = 1 << 24, MOST_BLOCKS = 100000, DEFAULTS_DEPTH = 4 };

void qd_decoder_fini(qd_decoder *decoder)
{
    free(decoder->layers);
    decoder->layers = NULL;
}

/* ---- the config as every family would write it ---- */

static qd_code add_defaults(json_t *config, const char *text, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *defaults = NULL;
    if (text == NULL)
        return QD_OK;
    qd_code code = qd_json_parse_object(text, strlen(text), DEFAULTS_DEPTH, &defaults, err);
    if (code == QD_OK && json_object_update_missing(config, defaults) != 0)
        code = qd_fail(err, QD_ENOMEM, "out of memory reading a configuration");
    return code;
}

/* A copy with common names for the family's own keys, and with its defaults. */
static qd_code complete(const qd_arch_ops *ops, const json_t *config, const json_t *text, json_t **out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *full = json_copy((json_t *)(uintptr_t)text); /* reads only */
    qd_code code = full == NULL ? qd_fail(err, QD_ENOMEM, "out of memory reading a configuration") : QD_OK;
    for (const qd_key_name *key = ops->keys; code == QD_OK && key != NULL && key->theirs != NULL; key++) {
        json_t *value = json_object_get(text, key->theirs);
        if (value != NULL && !json_is_null(value) && json_object_set(full, key->common, value) != 0)
            code = qd_fail(err, QD_ENOMEM, "out of memory reading a configuration");
    }
    if (code == QD_OK)
        code = add_defaults(full, ops->defaults, err);
    if (code == QD_OK && text != config)
        code = add_defaults(full, ops->nested_defaults, err);
    if (code != QD_OK)
        return code;
    *out = full;
    full = NULL;
    return QD_OK;
}

/* What the family calls a key, for messages. */
static const char *spelling(const qd_arch_ops *ops, const char *common)
{
    for (const qd_key_name *key = ops->keys; key != NULL && key->theirs != NULL; key++)
        if (strcmp(key->common, common) == 0)
            return key->theirs;
    return common;
}

/* ---- numbers ---- */

/* The one of both spellings that has a value; the common one when neither has. */
static const char *used_key(const qd_decoder *d, const json_t *config, const char *common)
{
    const char *theirs = spelling(d->ops, common);
    const json_t *value = json_object_get(config, theirs);
    return value == NULL || json_is_null(value) ? common : theirs;
}

static qd_code read_size(const qd_decoder *d, const json_t *config, const char *key, size_t fallback, size_t *out,
                         qd_error *err)
{
    return qd_json_size(config, used_key(d, config, key), fallback, out, err);
}

/* A size that must be there, not zero, and no larger than any model's. */
static qd_code need_size(const qd_decoder *d, const json_t *config, const char *key, size_t most, size_t *out,
                         qd_error *err)
{
    qd_code code = read_size(d, config, key, 0, out, err);
    if (code != QD_OK)
        return code;
    if (*out == 0)
        return qd_fail(err, QD_EFORMAT, "'%s' is missing or 0", spelling(d->ops, key));
    if (*out > most)
        return qd_fail(err, QD_EFORMAT, "'%s': %zu is beyond %zu", spelling(d->ops, key), *out, most);
    return QD_OK;
}

static qd_code read_heads(const json_t *config, qd_decoder *d, qd_error *err)
{
    qd_code code = need_size(d, config, "num_attention_heads", LARGEST, &d->heads, err);
    if (code == QD_OK)
        code = read_size(d, config, "num_key_value_heads", d->heads, &d->kv_heads, err);
    if (code == QD_OK)
        code = read_size(d, config, "head_dim", 0, &d->head_dim, err);
    if (code != QD_OK)
        return code;
    if (d->head_dim == 0 && d->hidden % d->heads != 0)
        return qd_fail(err, QD_EFORMAT, "hidden_size %zu does not divide into %zu heads, and 'head_dim' is missing",
                       d->hidden, d->heads);
    if (d->head_dim == 0)
        d->head_dim = d->hidden / d->heads;
    if (d->head_dim > LARGEST || d->heads > LARGEST / d->head_dim)
        return qd_fail(err, QD_EFORMAT, "%zu heads of head_dim %zu: that is beyond %d", d->heads, d->head_dim, LARGEST);
    if (d->kv_heads == 0 || d->kv_heads > d->heads || d->heads % d->kv_heads != 0)
        return qd_fail(err, QD_EFORMAT, "%zu heads of %zu cannot share %zu key/value heads", d->heads, d->head_dim,
                       d->kv_heads);
    return QD_OK;
}

static qd_code read_inner(const json_t *config, qd_decoder *d, qd_error *err)
{
    qd_code code = read_size(d, config, "intermediate_size", 0, &d->intermediate, err);
    if (code == QD_OK && d->intermediate == 0 && d->ops->inner_factor > 0)
        d->intermediate = d->ops->inner_factor * d->hidden;
    else if (code == QD_OK)
        code = need_size(d, config, "intermediate_size", LARGEST, &d->intermediate, err);
    return code;
}

static qd_code read_sizes(const json_t *config, qd_decoder *d, qd_error *err)
{
    qd_code code = need_size(d, config, "hidden_size", LARGEST, &d->hidden, err);
    if (code == QD_OK)
        code = read_inner(config, d, err);
    if (code == QD_OK)
        code = read_heads(config, d, err);
    if (code == QD_OK)
        code = need_size(d, config, "num_hidden_layers", MOST_BLOCKS, &d->blocks, err);
    if (code == QD_OK)
        code = need_size(d, config, "vocab_size", SIZE_MAX, &d->vocabulary, err);
    if (code == QD_OK)
        code = read_size(d, config, "max_position_embeddings", 0, &d->max_positions, err);
    d->embedding = d->hidden;
    return code;
}

static qd_code read_eps(const json_t *config, qd_decoder *d, qd_error *err)
{
    double eps = d->ops->eps;
    const char *key = d->ops->eps_key == NULL ? NULL : used_key(d, config, d->ops->eps_key);
    qd_code code = key == NULL ? QD_OK : qd_json_real(config, key, d->ops->eps, &eps, err);
    if (code == QD_OK && !(eps >= 0 && eps <= 1))
        code = qd_fail(err, QD_EFORMAT, "%s %g is not in [0, 1]", key == NULL ? "eps" : key, eps);
    d->eps = (float)eps;
    return code;
}

static qd_code read_activation(const json_t *config, qd_decoder *d, qd_error *err)
{
    const char *name = NULL, *key = used_key(d, config, "hidden_act");
    qd_code code = qd_json_text(config, key, "silu", &name, err);
    return code == QD_OK ? qd_activation_find(key, name, &d->activation, err) : code;
}

static qd_code read_biases(const json_t *config, qd_decoder *d, qd_error *err)
{
    d->biases = d->ops->biases;
    for (const qd_bias_key *row = d->ops->bias_keys; row != NULL && row->key != NULL; row++) {
        bool biased = false;
        qd_code code = qd_json_bool(config, row->key, row->otherwise == QD_BIASED, &biased, err);
        if (code != QD_OK)
            return code;
        d->biases |= biased ? row->slots : 0;
    }
    return QD_OK;
}

/* A wrapper and its text model may each say it, or neither: what stands closer to the text counts. */
static qd_code read_tied(const json_t *config, const json_t *text, const json_t *full, qd_decoder *d, qd_error *err)
{
    static const char key[] = "tie_word_embeddings";
    const json_t *found = json_object_get(text, key) == NULL && json_object_get(config, key) != NULL ? config : full;
    return qd_json_bool(found, key, false, &d->tied, err);
}

static void set_plain(const qd_arch_ops *ops, qd_decoder *d)
{
    d->ops = ops;
    memcpy(d->norms, ops->names.norms, sizeof d->norms);
    d->final_norm = ops->names.final_norm;
    d->residual = ops->residual;
    d->embedding_scale = d->branch_scale = d->logit_scale = 1;
}

/* Factors and caps that a hook read: no NaN comes of them. */
static qd_code check_factors(const qd_decoder *d, qd_error *err)
{
    const struct {
        const char *name;
        float value;
    } factors[] = { { "embedding", d->embedding_scale },
                    { "residual", d->branch_scale },
                    { "logits", d->logit_scale },
                    { "attention", d->layers[0].score_scale },
                    { "attention's soft cap", d->score_cap },
                    { "logits' soft cap", d->logit_cap } };
    for (size_t i = 0; i < QD_LENGTH(factors); i++)
        if (!(fabsf(factors[i].value) <= 1e6f) || (i >= 4 && factors[i].value < 0))
            return qd_fail(err, QD_EFORMAT, "the factor of the %s, %g, is out of range", factors[i].name,
                           (double)factors[i].value);
    return QD_OK;
}

static qd_code read_full(const json_t *full, qd_decoder *d, qd_error *err)
{
    qd_code code = read_sizes(full, d, err);
    if (code == QD_OK)
        code = read_activation(full, d, err);
    if (code == QD_OK)
        code = read_eps(full, d, err);
    if (code == QD_OK)
        code = read_biases(full, d, err);
    if (code == QD_OK)
        code = qd_decoder_read_layers(full, d, err);
    if (code == QD_OK && d->ops->configure != NULL)
        code = d->ops->configure(full, d, err);
    return code == QD_OK ? check_factors(d, err) : code;
}

qd_code qd_decoder_read(const qd_arch *arch, const json_t *config, const json_t *text, qd_decoder *out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *full = NULL;
    QD_AUTO(qd_decoder_fini) qd_decoder d = { 0 };
    set_plain(arch->ops, &d);
    qd_code code = complete(arch->ops, config, text, &full, err);
    if (code == QD_OK)
        code = read_full(full, &d, err);
    if (code == QD_OK)
        code = read_tied(config, text, full, &d, err);
    if (code != QD_OK)
        return code;
    *out = d;
    d.layers = NULL;
    return QD_OK;
}

/* ---- sizes of linears ---- */

size_t qd_slot_out(const qd_decoder *d, qd_slot slot, size_t expert)
{
    size_t inner = expert == QD_NO_EXPERT ? d->intermediate : d->expert_intermediate;
    switch (slot) {
    case QD_SLOT_Q:
        return d->heads * d->head_dim;
    case QD_SLOT_K:
    case QD_SLOT_V:
        return d->kv_heads * d->head_dim;
    case QD_SLOT_QKV:
        return (d->heads + 2 * d->kv_heads) * d->head_dim;
    case QD_SLOT_GATE:
    case QD_SLOT_UP:
        return inner;
    case QD_SLOT_GATE_UP:
        return 2 * inner;
    default:
        return d->hidden;
    }
}

size_t qd_slot_in(const qd_decoder *d, qd_slot slot, size_t expert)
{
    if (slot == QD_SLOT_O)
        return d->heads * d->head_dim;
    if (slot == QD_SLOT_DOWN)
        return expert == QD_NO_EXPERT ? d->intermediate : d->expert_intermediate;
    return d->hidden;
}

size_t qd_slot_group(qd_slot slot, size_t expert)
{
    size_t first = expert == QD_NO_EXPERT ? QD_GROUP_MLP : QD_GROUP_MLP + 2 * expert;
    if (slot < QD_SLOT_O)
        return QD_GROUP_QKV;
    if (slot == QD_SLOT_O)
        return QD_GROUP_O;
    return slot == QD_SLOT_DOWN ? first + 1 : first;
}
