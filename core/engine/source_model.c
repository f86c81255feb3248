/* source_model.c: see source_model.h. */
#include "engine/source_model.h"

#include <stdio.h>
#include <string.h>

#include "model/unknown.h"

/* Does every container of the job hold such a layer? */
static qd_code fits(const qd_recipe *recipe, const qd_linear *linear, const char *dtype, qd_error *err)
{
    qd_grid_spec spec;
    qd_code code = qd_recipe_layer_spec(recipe, linear, &spec, err);
    for (size_t i = 0; code == QD_OK && i < recipe->format_count; i++)
        code = recipe->formats[i].format->check_layer(&spec, recipe->formats[i].variant, linear, dtype, err);
    return code;
}

qd_source_fate qd_source_judge(const qd_recipe *recipe, const qd_tensor *tensor, uint64_t vocabulary,
                               char out_why[QD_FATE_WHY])
{
    const qd_unknown_rule *rule = qd_unknown_judge(tensor, vocabulary);
    qd_error why = { 0 };
    out_why[0] = '\0';
    if (rule != NULL) {
        snprintf(out_why, QD_FATE_WHY, "%s: %s", rule->name, rule->why);
        return rule->finding == QD_UNKNOWN_OPEN ? QD_FATE_UNKNOWN : QD_FATE_KEPT;
    }
    const qd_linear linear = { .name = tensor->name, .out = (size_t)tensor->shape[0], .in = (size_t)tensor->shape[1] };
    if (fits(recipe, &linear, tensor->dtype->name, &why) == QD_OK)
        return QD_FATE_QUANTIZED;
    snprintf(out_why, QD_FATE_WHY, "container: %.250s", why.text);
    return QD_FATE_KEPT;
}

static bool find_fitting(void *ctx, const qd_tensor *tensor, uint64_t vocabulary, qd_linear *out, size_t *out_length)
{
    char why[QD_FATE_WHY];
    return qd_source_judge(ctx, tensor, vocabulary, why) == QD_FATE_QUANTIZED &&
           qd_unknown_find_stored(NULL, tensor, vocabulary, out, out_length);
}

/* Says in the refusal what the job could ask for instead: before the list of what is supported, which may be cut. */
static qd_code offer(const qd_layer_finder *finder, const char *path, qd_error *err)
{
    qd_model *model = NULL;
    const qd_error refusal = *err;
    const char *list = strstr(refusal.text, "; supported are");
    size_t head = list == NULL ? strlen(refusal.text) : (size_t)(list - refusal.text);
    if (qd_model_open_any(path, finder, &model, NULL) == QD_OK && !qd_model_is_known(model))
        qd_fail(err, QD_EUNSUPPORTED,
                "%.*s; model.unknown 'data-free' with algorithm 'rtn' would round %zu matrices to nearest, found by "
                "name and shape, and evaluate nothing (a dry run lists them)%s",
                (int)head, refusal.text, qd_model_linear_count(model), list == NULL ? "" : list);
    qd_model_destroy(model);
    return QD_EUNSUPPORTED;
}

qd_code qd_source_model(const qd_recipe *recipe, const char *path, qd_model **out, qd_error *err)
{
    const qd_layer_finder finder = { find_fitting, (void *)(uintptr_t)recipe };
    qd_error own = { 0 };
    if (recipe->on_unknown == QD_ON_UNKNOWN_DATA_FREE)
        return qd_model_open_any(path, &finder, out, err);
    qd_code code = qd_model_open(path, out, &own);
    if (code == QD_EUNSUPPORTED)
        code = offer(&finder, path, &own);
    return code == QD_OK ? QD_OK : qd_fail(err, code, "%s", own.text);
}

void qd_source_describe_unknown(const qd_model *model, char *out, size_t size)
{
    out[0] = '\0';
    if (!qd_model_is_known(model))
        snprintf(out, size,
                 "data-free: architecture '%.100s' is not known; %zu linear layers were found by name and shape and "
                 "rounded to nearest, all else is the source's; nothing was calibrated or evaluated",
                 qd_model_borrow_config(model)->architecture, qd_model_linear_count(model));
}
