/* compressed_tensors_scheme.c: quantization_config to what a layer of it is like, by whoever wrote it: see compressed_tensors.h. */
#include <regex.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "export/compressed_tensors.h"
#include "export/config_edit.h"

enum { PATTERN_LIMIT = 400, PATTERNS_MAX = 256 };

const char *const qd_packing_names[] = { "pack-quantized", "int-quantized", "mxfp4-pack-quantized",
                                         "nvfp4-pack-quantized", NULL };

/* ---- targets ---- */

static bool repeats(char c)
{
    return c == '*' || c == '+' || c == '?';
}

/* What is beyond us: counts, and repeats of groups or of repeats, which can be made to take for ever; looking ahead; other letters after \, and
 * \ in brackets. "*?" and "+?" match what "*" and "+" match. */
static bool is_beyond(const char *at, bool in_brackets)
{
    char next = at[1];
    if (*at == '\\')
        return in_brackets || next == '\0' || strchr("dw.*+?()[]{}|^$\\-/_", next) == NULL;
    if (in_brackets)
        return false;
    return *at == '{' || (*at == '(' && next == '?' && at[2] != ':') || (*at == ')' && repeats(next)) ||
           (repeats(*at) && repeats(next) && (next != '?' || *at == '?'));
}

/* Python's pattern as POSIX has it: \d and \w are classes, (?: is a bracket. Python matches from the start and may leave a rest. */
static qd_code translate(const char *pattern, qd_str *out, qd_error *err)
{
    bool in_brackets = false;
    qd_str_add(out, "^(");
    for (const char *at = pattern; *at != '\0'; at++) {
        char next = at[1];
        if (is_beyond(at, in_brackets))
            return qd_fail(err, QD_EUNSUPPORTED, "pattern 're:%.100s': '%.3s' is not supported", pattern, at);
        if (*at == '\\' && (next == 'd' || next == 'w'))
            qd_str_add(out, next == 'd' ? "[0-9]" : "[A-Za-z0-9_]");
        else if (*at == '\\' && strchr("-/_", next) != NULL)
            qd_str_addf(out, "%c", next);
        else if (*at == '\\')
            qd_str_addf(out, "\\%c", next);
        else
            qd_str_addf(out, "%c", *at);
        in_brackets = *at == '[' || (in_brackets && *at != ']'); /* of an escaped one only the backslash is seen */
        if (*at == '\\')
            at++;
        else if (*at == '(' && next == '?' && !in_brackets)
            at += 2;
    }
    qd_str_add(out, ")");
    return qd_str_check(out, err);
}

static qd_code match_pattern(const char *pattern, const char *layer, bool *out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str posix = { 0 };
    regex_t compiled;
    if (strlen(pattern) > PATTERN_LIMIT)
        return qd_fail(err, QD_EUNSUPPORTED, "pattern 're:%.40s...' has %zu characters; %d are allowed", pattern,
                       strlen(pattern), PATTERN_LIMIT);
    qd_code code = translate(pattern, &posix, err);
    if (code != QD_OK)
        return code;
    if (regcomp(&compiled, posix.data, REG_EXTENDED | REG_NOSUB) != 0)
        return qd_fail(err, QD_EFORMAT, "pattern 're:%.100s' is none", pattern);
    *out = regexec(&compiled, layer, 0, NULL, 0) == 0;
    regfree(&compiled);
    return QD_OK;
}

qd_code qd_packed_target_matches(const char *target, const char *layer, bool *out, qd_error *err)
{
    if (strncmp(target, "re:", 3) == 0)
        return match_pattern(target + 3, layer, out, err);
    *out = strcmp(target, "Linear") == 0 || strcmp(target, layer) == 0;
    return QD_OK;
}

static qd_code any_matches(const json_t *list, const char *member, const char *layer, bool *out, qd_error *err)
{
    size_t patterns = 0;
    *out = false;
    if (list != NULL && !json_is_null(list) && !json_is_array(list))
        return qd_fail(err, QD_EFORMAT, "%s: an array of strings is wanted, found %s", member, qd_json_type_name(list));
    for (size_t i = 0; !*out && i < json_array_size(list); i++) {
        const char *target = json_string_value(json_array_get(list, i));
        if (target == NULL)
            return qd_fail(err, QD_EFORMAT, "%s[%zu]: a string is wanted, found %s", member, i,
                           qd_json_type_name(json_array_get(list, i)));
        patterns += strncmp(target, "re:", 3) == 0;
        if (patterns > PATTERNS_MAX)
            return qd_fail(err, QD_EUNSUPPORTED, "%s: more than %d patterns", member, PATTERNS_MAX);
        qd_code code = qd_packed_target_matches(target, layer, out, err);
        if (code != QD_OK)
            return qd_within(err, code, "%s", member);
    }
    return QD_OK;
}

/* ---- schemes ---- */

static qd_code read_packing(const char *format, qd_packing *out, qd_error *err)
{
    for (int i = 0; qd_packing_names[i] != NULL; i++)
        if (strcmp(qd_packing_names[i], format) == 0) {
            *out = (qd_packing)i;
            return QD_OK;
        }
    return qd_fail(err, QD_EUNSUPPORTED, "format: '%.40s' is not supported; %s, %s, %s and %s are", format,
                   qd_packing_names[0], qd_packing_names[1], qd_packing_names[2], qd_packing_names[3]);
}

static qd_code read_strategy(const json_t *weights, qd_packed_scheme *out, qd_error *err)
{
    const char *name = NULL;
    qd_code code = qd_json_text(weights, "strategy", "", &name, err);
    if (code == QD_OK)
        code = qd_json_size(weights, "group_size", 0, &out->group_size, err);
    if (code != QD_OK)
        return code;
    const char *grouped = out->packing == QD_PACK_NVFP4 ? "tensor_group" : "group";
    if (strcmp(name, grouped) == 0)
        out->strategy = QD_STRATEGY_GROUP;
    else if (strcmp(name, "channel") == 0)
        out->strategy = QD_STRATEGY_CHANNEL;
    else if (strcmp(name, "tensor") == 0)
        out->strategy = QD_STRATEGY_TENSOR;
    else
        return qd_fail(err, QD_EUNSUPPORTED, "strategy: '%.40s' is not supported; '%s', 'channel' and 'tensor' are",
                       name, grouped);
    if ((out->strategy == QD_STRATEGY_GROUP) != (out->group_size > 0))
        return qd_fail(err, QD_EFORMAT, "strategy: '%.40s' does not go with group_size %zu", name, out->group_size);
    return QD_OK;
}

/* actorder: null, false and "weight" leave columns in their place; true and "group" do not. "static" and "dynamic" are older names. */
static qd_code read_order(const json_t *weights, bool *out, qd_error *err)
{
    static const char *const names[] = { "weight", "static", "group", "dynamic" };
    const json_t *order = json_object_get(weights, "actorder");
    const char *text = json_string_value(order);
    *out = json_is_true(order);
    if (order == NULL || json_is_null(order) || json_is_boolean(order))
        return QD_OK;
    for (size_t i = 0; text != NULL && i < QD_LENGTH(names); i++)
        if (strcmp(text, names[i]) == 0) {
            *out = i >= 2;
            return QD_OK;
        }
    return qd_fail(err, QD_EUNSUPPORTED, "actorder: '%.40s' is not supported; null, 'weight' and 'group' are",
                   text == NULL ? qd_json_type_name(order) : text);
}

/* What numbers a container of this kind holds. */
static qd_code check_numbers(const qd_packed_scheme *s, const char *type, qd_error *err)
{
    bool is_float = s->packing == QD_PACK_MXFP4 || s->packing == QD_PACK_NVFP4;
    size_t group = s->packing == QD_PACK_MXFP4 ? 32 : 16;
    if (strcmp(type, is_float ? "float" : "int") != 0)
        return qd_fail(err, QD_EUNSUPPORTED, "type: '%.40s' does not go with format '%s'; '%s' does", type,
                       qd_packing_names[s->packing], is_float ? "float" : "int");
    if (is_float && (s->bits != 4 || !s->symmetric || s->group_size != group))
        return qd_fail(err, QD_EFORMAT,
                       "format '%s' has 4 bits, symmetric, in groups of %zu; found %u bits and groups of %zu",
                       qd_packing_names[s->packing], group, s->bits, s->group_size);
    if (s->packing == QD_PACK_INT8 && s->bits != 8)
        return qd_fail(err, QD_EUNSUPPORTED, "num_bits: %u is not supported in format 'int-quantized'; 8 is", s->bits);
    if (s->bits < 2 || s->bits > 8)
        return qd_fail(err, QD_EUNSUPPORTED, "num_bits: %u is not supported; 2 to 8 are", s->bits);
    return QD_OK;
}

static qd_code read_group(const json_t *quantization, const json_t *group, qd_packed_scheme *out, qd_error *err)
{
    const char *whole = NULL, *format = NULL, *type = NULL;
    const json_t *weights = json_object_get(group, "weights");
    size_t bits = 0;
    *out = (qd_packed_scheme){ 0 };
    if (!json_is_object(weights))
        return qd_fail(err, QD_EUNSUPPORTED, "weights: an object is wanted, found %s", qd_json_type_name(weights));
    qd_code code = qd_json_text(quantization, "format", "", &whole, err);
    if (code == QD_OK)
        code = qd_json_text(group, "format", whole, &format, err);
    if (code == QD_OK)
        code = read_packing(format, &out->packing, err);
    if (code == QD_OK)
        code = qd_json_text(weights, "type", "int", &type, err);
    if (code == QD_OK)
        code = qd_json_size(weights, "num_bits", 0, &bits, err);
    if (code == QD_OK)
        code = qd_json_bool(weights, "symmetric", true, &out->symmetric, err);
    if (code == QD_OK)
        code = read_order(weights, &out->ordered, err);
    if (code == QD_OK)
        code = read_strategy(weights, out, err);
    out->bits = bits > 99 ? 99 : (unsigned)bits;
    return code == QD_OK ? check_numbers(out, type, err) : code;
}

static qd_code groups_of(const json_t *config, const json_t **out_quantization, json_t **out_groups, qd_error *err)
{
    const json_t *quantization = qd_quantization_of(config);
    const char *method = NULL;
    if (!json_is_object(quantization))
        return qd_fail(err, QD_EFORMAT, "'quantization_config' is missing");
    qd_code code = qd_json_text(quantization, "quant_method", "", &method, err);
    if (code == QD_OK && strcmp(method, "compressed-tensors") != 0)
        code = qd_fail(err, QD_EUNSUPPORTED, "quant_method: '%.40s' is not supported; 'compressed-tensors' is", method);
    *out_quantization = quantization;
    *out_groups = json_object_get(quantization, "config_groups");
    if (code == QD_OK && (!json_is_object(*out_groups) || json_object_size(*out_groups) == 0))
        code = qd_fail(err, QD_EFORMAT, "config_groups: an object of groups is wanted, found %s",
                       json_is_object(*out_groups) ? "an empty one" : qd_json_type_name(*out_groups));
    return code;
}

qd_code qd_packed_scheme_read(const json_t *config, qd_packed_scheme *out, qd_error *err)
{
    const json_t *quantization = NULL;
    json_t *groups = NULL, *group;
    const char *key;
    bool first = true;
    qd_code code = groups_of(config, &quantization, &groups, err);
    if (code != QD_OK)
        return qd_within(err, code, "config.json: quantization_config");
    json_object_foreach(groups, key, group)
    {
        qd_packed_scheme scheme;
        code = read_group(quantization, group, &scheme, err);
        if (code != QD_OK)
            return qd_within(err, code, "config.json: quantization_config: config_groups.%.60s", key);
        *out = first ? scheme : *out;
        first = false;
    }
    return QD_OK;
}

static qd_code scheme_of(const json_t *config, const char *layer, qd_packed_scheme *out, bool *out_found, qd_error *err)
{
    const json_t *quantization = NULL;
    json_t *groups = NULL, *group;
    const char *key;
    bool ignored = false;
    *out_found = false;
    qd_code code = groups_of(config, &quantization, &groups, err);
    if (code == QD_OK)
        code = any_matches(json_object_get(quantization, "ignore"), "ignore", layer, &ignored, err);
    if (code != QD_OK || ignored)
        return code;
    json_object_foreach(groups, key, group)
    {
        code = any_matches(json_object_get(group, "targets"), "targets", layer, out_found, err);
        if (code == QD_OK && *out_found)
            code = read_group(quantization, group, out, err);
        if (code != QD_OK)
            return qd_within(err, code, "config_groups.%.60s", key);
        if (*out_found)
            return QD_OK;
    }
    return QD_OK;
}

qd_code qd_packed_scheme_of(const json_t *config, const char *layer, qd_packed_scheme *out, qd_error *err)
{
    bool found = false;
    qd_code code = scheme_of(config, layer, out, &found, err);
    if (code != QD_OK)
        return qd_within(err, code, "config.json: quantization_config");
    return found ? QD_OK : QD_ENOTFOUND;
}
