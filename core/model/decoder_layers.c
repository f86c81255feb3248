/* decoder_layers.c: see decoder_layers.h. */
#include "model/decoder_layers.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

/* ---- windows ---- */

/* What decides which layers slide where the config does not list them. */
typedef struct sliding {
    qd_window_rule rule;
    size_t first, pattern;
} sliding;

static bool slides_by_rule(const sliding *s, size_t layer)
{
    switch (s->rule) {
    case QD_WINDOW_NEVER:
        return false;
    case QD_WINDOW_ALWAYS:
        return true;
    case QD_WINDOW_FROM_LAYER:
        return layer >= s->first;
    default:
        return (layer + 1) % s->pattern != 0;
    }
}

static qd_code read_rule(const json_t *config, const qd_decoder *d, sliding *out, qd_error *err)
{
    static const char *const spellings[] = { "sliding_window_pattern", "_sliding_window_pattern" };
    *out = (sliding){ .rule = d->ops->windows, .pattern = d->ops->window_pattern };
    qd_code code = qd_json_size(config, "max_window_layers", d->blocks, &out->first, err);
    if (d->ops->windows != QD_WINDOW_PATTERN)
        return code;
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(spellings); i++)
        code = qd_json_size(config, spellings[i], out->pattern, &out->pattern, err);
    if (code == QD_OK && out->pattern == 0)
        code = qd_fail(err, QD_EFORMAT, "'%s' is 0", spellings[0]);
    return code;
}

/* The window of layers that slide; 0 = none does. */
static qd_code read_window(const json_t *config, const qd_decoder *d, size_t *out, qd_error *err)
{
    bool used = true;
    qd_code code = qd_json_size(config, "sliding_window", 0, out, err);
    if (code == QD_OK && d->ops->window_switch != NULL)
        code = qd_json_bool(config, d->ops->window_switch, false, &used, err);
    if (code == QD_OK && !used)
        *out = 0;
    return code;
}

static qd_code check_types(const json_t *types, const qd_decoder *d, qd_error *err)
{
    size_t count = json_array_size(types);
    for (size_t i = 0; i < count; i++) {
        const char *type = json_string_value(json_array_get(types, i));
        if (type == NULL || (strcmp(type, "full_attention") != 0 && strcmp(type, "sliding_attention") != 0))
            return qd_fail(
                err, QD_EUNSUPPORTED,
                "layer_types: '%.60s' of layer %zu is not supported; full_attention and sliding_attention are",
                type == NULL ? "" : type, i);
    }
    if (!json_is_array(types) || count != d->blocks)
        return qd_fail(err, QD_EFORMAT, "layer_types: an array of %zu, one a layer, is wanted, found %s of %zu",
                       d->blocks, qd_json_type_name(types), count);
    return QD_OK;
}

/* layer_types, where there, says which layers see only the window (fixtures.md); a layer that slides has the rotation
 * of those. */
static qd_code read_windows(const json_t *config, qd_decoder *d, qd_error *err)
{
    sliding rule;
    size_t window = 0;
    const json_t *types = json_object_get(config, "layer_types");
    bool listed = types != NULL && !json_is_null(types);
    qd_code code = read_rule(config, d, &rule, err);
    if (code == QD_OK)
        code = read_window(config, d, &window, err);
    if (code == QD_OK && listed)
        code = check_types(types, d, err);
    for (size_t i = 0; code == QD_OK && i < d->blocks; i++) {
        const char *type = json_string_value(json_array_get(types, i));
        bool slides = listed ? type[0] == 's' : slides_by_rule(&rule, i);
        if (slides && listed && window == 0 && d->ops->window_switch == NULL)
            return qd_fail(err, QD_EFORMAT, "layer_types: layer %zu slides, and there is no 'sliding_window'", i);
        d->layers[i].window = slides ? window : 0;
        d->layers[i].rope = slides && d->ops->rotation == QD_ROTATION_BY_TYPE ? QD_ROPE_LOCAL : QD_ROPE_GLOBAL;
    }
    return code;
}

/* ---- rotations ---- */

/* transformers 5: an object a layer type. A type that no layer has may be null or missing: it then is like the other.
 */
static qd_code read_nested_ropes(const json_t *config, const json_t *nested, qd_decoder *d, qd_error *err)
{
    static const char *const types[QD_ROPES] = { "full_attention", "sliding_attention" };
    for (size_t i = 0; i < QD_ROPES; i++) {
        const json_t *source = json_object_get(nested, types[i]);
        source = json_is_object(source) ? source : json_object_get(nested, types[QD_ROPES - 1 - i]);
        if (!json_is_object(source))
            return qd_fail(err, QD_EFORMAT, "rope_parameters: '%s' is no object", types[i]);
        qd_code code = qd_rope_parse(config, source, d->head_dim, d->max_positions, &d->ropes[i], err);
        if (code != QD_OK)
            return qd_within(err, code, "rope_parameters '%s'", types[i]);
    }
    return QD_OK;
}

/* transformers 4: the usual keys are those of layers that see everything; the others only have a base. */
static qd_code read_local_rope(const json_t *config, qd_decoder *d, qd_error *err)
{
    double theta = 0;
    qd_code code = qd_json_real(config, "rope_local_base_freq", 10000, &theta, err);
    QD_AUTO(qd_json_fini) json_t *source = json_pack("{s:f}", "rope_theta", theta);
    if (code == QD_OK && source == NULL)
        code = qd_fail(err, QD_ENOMEM, "out of memory reading a configuration");
    return code == QD_OK ? qd_rope_parse(config, source, d->head_dim, d->max_positions, &d->ropes[QD_ROPE_LOCAL], err)
                         : code;
}

static qd_code read_ropes(const json_t *config, qd_decoder *d, qd_error *err)
{
    const json_t *parameters = json_object_get(config, "rope_parameters");
    bool nested = d->ops->rotation == QD_ROTATION_BY_TYPE && (json_object_get(parameters, "full_attention") != NULL ||
                                                              json_object_get(parameters, "sliding_attention") != NULL);
    for (size_t i = 0; d->ops->rotation == QD_ROTATION_NONE && i < d->blocks; i++)
        d->layers[i].rope = QD_NO_ROPE;
    if (d->ops->rotation == QD_ROTATION_NONE)
        return QD_OK;
    if (nested)
        return read_nested_ropes(config, parameters, d, err);
    qd_code code = qd_rope_read(config, d->head_dim, d->max_positions, &d->ropes[QD_ROPE_GLOBAL], err);
    if (code == QD_OK && d->ops->rotation == QD_ROTATION_BY_TYPE)
        code = read_local_rope(config, d, err);
    return code;
}

qd_code qd_decoder_read_layers(const json_t *config, qd_decoder *d, qd_error *err)
{
    qd_code code = qd_alloc(d->blocks, sizeof *d->layers, (void **)&d->layers, err);
    for (size_t i = 0; code == QD_OK && i < d->blocks; i++)
        d->layers[i].score_scale = 1.0f / sqrtf((float)d->head_dim);
    if (code == QD_OK)
        code = read_windows(config, d, err);
    return code == QD_OK ? read_ropes(config, d, err) : code;
}
