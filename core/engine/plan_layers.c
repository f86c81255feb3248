/* plan_layers.c: see plan_layers.h. */
#include "engine/plan_layers.h"

#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "engine/source_model.h"
#include "export/weight_bytes.h"
#include "model/folder.h"

static json_t *shape_of(const qd_tensor *tensor)
{
    json_t *shape = json_array();
    for (size_t i = 0; i < tensor->rank; i++)
        json_array_append_new(shape, json_integer((json_int_t)tensor->shape[i]));
    return shape;
}

static json_t *describe(const qd_tensor *tensor, const char *layer, const char *action, const char *why)
{
    return json_pack("{s:s, s:s?, s:o, s:s, s:s, s:s?}", "tensor", tensor->name, "layer", layer, "shape",
                     shape_of(tensor), "dtype", tensor->dtype->name, "action", action, "why", why);
}

/* What the layer gets instead of the job's own grid, and whose container asks for it; "" = nothing. */
static void tell_fallback(const qd_recipe *recipe, const qd_linear *linear, const qd_grid_spec *spec, char *out,
                          size_t size)
{
    out[0] = '\0';
    if (!qd_grid_spec_equal(spec, &recipe->grid))
        snprintf(out, size,
                 "rows of %zu do not fit the container's grid: alphabet %s, %g bits, groups of %zu, scales %s instead",
                 linear->in, spec->alphabet->name, spec->bits, spec->group_size, spec->scale_type->name);
}

static json_t *describe_layer(const qd_recipe *recipe, const qd_linear *linear, qd_plan_weights *weights)
{
    char why[300] = "";
    qd_error err = { 0 };
    qd_grid_spec spec;
    qd_code code = qd_recipe_layer_spec(recipe, linear, &spec, &err);
    if (code != QD_OK)
        return describe(linear->weight, linear->name, "unknown", err.text);
    tell_fallback(recipe, linear, &spec, why, sizeof why);
    json_t *entry = describe(linear->weight, linear->name, "quantized", why[0] == '\0' ? NULL : why);
    json_object_set_new(entry, "bits", json_real(spec.bits));
    json_object_set_new(entry, "group_size", json_integer((json_int_t)spec.group_size));
    json_object_set_new(entry, "alphabet", json_string(spec.alphabet->name));
    json_object_set_new(entry, "scale_type", json_string(spec.scale_type->name));
    weights->layers++;
    weights->quantized += (uint64_t)linear->out * linear->in;
    return entry;
}

/* Of a model whose architecture is not known, by name and shape; layers that the job does not take are unknown to it. */
typedef enum taking { TAKEN, REFUSED } taking;

static json_t *describe_judged(const qd_recipe *recipe, const qd_tensor *tensor, uint64_t vocabulary, taking how)
{
    static const char *const actions[] = {
        [QD_FATE_QUANTIZED] = "unknown", [QD_FATE_KEPT] = "kept", [QD_FATE_UNKNOWN] = "unknown"
    };
    char why[QD_FATE_WHY];
    qd_source_fate fate = qd_source_judge(recipe, tensor, vocabulary, why);
    if (fate == QD_FATE_QUANTIZED && how == REFUSED)
        snprintf(
            why, sizeof why,
            "a matrix: which layer's it is, only the architecture tells; model.unknown 'data-free' would round it to "
            "nearest");
    return describe(tensor, NULL, actions[fate], why);
}

static const qd_linear *layer_of(const qd_model *model, const qd_tensor *tensor)
{
    size_t index;
    const char *dot = strrchr(tensor->name, '.');
    const qd_linear *linear =
        dot == NULL ? NULL : qd_model_linear_named(model, tensor->name, (size_t)(dot - tensor->name), &index);
    return linear != NULL && linear->weight == tensor ? linear : NULL;
}

static bool left_out(const qd_recipe *recipe, const qd_model *model, const qd_tensor *tensor)
{
    for (size_t i = 0; i < recipe->format_count; i++) {
        const qd_format *format = recipe->formats[i].format;
        if (format->leaves_out == NULL || !format->leaves_out(model, tensor))
            return false;
    }
    return true;
}

qd_code qd_plan_tensors(const qd_recipe *recipe, const qd_model *model, json_t *list, qd_plan_weights *out,
                        qd_error *err)
{
    const char *dtype = qd_model_borrow_config(model)->dtype;
    for (size_t i = 0; i < qd_model_tensor_count(model); i++) {
        const qd_tensor *tensor = qd_model_tensor_at(model, i);
        const qd_linear *linear = layer_of(model, tensor);
        json_t *entry = NULL;
        if (linear != NULL)
            entry = describe_layer(recipe, linear, out);
        else if (left_out(recipe, model, tensor))
            entry = describe(tensor, NULL, "left out", "the container has no place and its clients no use for it");
        else if (!qd_model_is_known(model))
            entry = describe_judged(recipe, tensor, qd_model_borrow_config(model)->vocabulary, TAKEN);
        else
            entry = describe(tensor, NULL, "kept",
                             tensor->rank == 2 ? "embedding or head: kept as it is" : "no linear layer's weight");
        out->kept += linear == NULL ? tensor->elements : 0;
        if (entry == NULL || json_array_append_new(list, entry) != 0)
            return qd_fail(err, QD_ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < qd_model_linear_count(model); i++) {
        qd_grid_spec spec;
        const qd_linear *linear = qd_model_linear_at(model, i);
        if (qd_recipe_layer_spec(recipe, linear, &spec, NULL) == QD_OK)
            out->packed_bytes += qd_format_layer_bytes(&recipe->formats[0], &spec, linear, dtype);
    }
    return QD_OK;
}

/* ---- without an architecture ---- */

/* A folder whose model could not be opened, and the list. */
typedef struct folder_plan {
    const qd_recipe *recipe;
    const char *dir;
    uint64_t vocabulary;
    json_t *list;
} folder_plan;

static qd_code add_unknown(const folder_plan *p, const qd_tensor *tensor, qd_error *err)
{
    json_t *entry = describe_judged(p->recipe, tensor, p->vocabulary, REFUSED);
    return entry == NULL || json_array_append_new(p->list, entry) != 0 ? qd_fail(err, QD_ENOMEM, "out of memory")
                                                                       : QD_OK;
}

static qd_code add_file(const folder_plan *p, const char *name, qd_error *err)
{
    qd_safetensors *file = NULL;
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(p->dir, name);
    qd_code code = path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
    if (code == QD_OK && qd_safetensors_open(path, &file, NULL) != QD_OK)
        return QD_OK; /* the finding about the model says what is wrong with it */
    for (size_t i = 0; code == QD_OK && i < qd_safetensors_count(file); i++)
        code = add_unknown(p, qd_safetensors_at(file, i), err);
    qd_safetensors_destroy(file);
    return code;
}

static qd_code add_gguf(const folder_plan *p, qd_error *err)
{
    qd_folder *folder = NULL;
    qd_code code = QD_OK;
    if (qd_folder_open(p->dir, &folder, NULL) != QD_OK)
        return QD_OK;
    const qd_gguf_set *set = qd_folder_gguf(folder);
    for (size_t f = 0; set != NULL && f < set->count; f++)
        for (size_t i = 0; code == QD_OK && i < qd_gguf_count(set->files[f]); i++)
            code = add_unknown(p, qd_gguf_at(set->files[f], i), err);
    qd_folder_destroy(folder);
    return code;
}

/* vocab_size of config.json, where it can be read. */
static uint64_t vocabulary_of(const char *dir)
{
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, "config.json");
    QD_AUTO(qd_json_fini) json_t *config = NULL;
    size_t out = 0;
    if (path == NULL || qd_json_read_object(path, QD_CONFIG_LIMIT, QD_CONFIG_DEPTH, &config, NULL) != QD_OK)
        return 0;
    const json_t *text = json_object_get(config, "text_config");
    return qd_json_size(json_is_object(text) ? text : config, "vocab_size", 0, &out, NULL) == QD_OK ? out : 0;
}

qd_code qd_plan_unknown(const qd_recipe *recipe, const char *model_dir, json_t *list, qd_error *err)
{
    char **names = NULL;
    size_t count = 0;
    const folder_plan p = { recipe, model_dir, vocabulary_of(model_dir), list };
    qd_code code = qd_dir_list(model_dir, &names, &count, err);
    for (size_t i = 0; code == QD_OK && i < count; i++)
        if (qd_glob_match("*.safetensors", names[i]))
            code = add_file(&p, names[i], err);
    qd_names_free(names, count);
    return code == QD_OK && json_array_size(list) == 0 ? add_gguf(&p, err) : code;
}
