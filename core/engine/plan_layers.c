/* plan_layers.c: see plan_layers.h. */
#include "engine/plan_layers.h"

#include <string.h>

#include "base/file.h"
#include "base/str.h"
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

static const qd_linear *layer_of(const qd_model *model, const qd_tensor *tensor)
{
    for (size_t i = 0; i < qd_model_linear_count(model); i++)
        if (qd_model_linear_at(model, i)->weight == tensor)
            return qd_model_linear_at(model, i);
    return NULL;
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

static qd_code add_unknown(const qd_tensor *tensor, json_t *list, qd_error *err)
{
    bool matrix = tensor->rank == 2 && tensor->shape[0] > 1 && tensor->shape[1] > 1;
    json_t *entry = describe(tensor, NULL, matrix ? "unknown" : "kept",
                             matrix ? "a matrix: which layer's it is, only the architecture tells" : "no matrix");
    return entry == NULL || json_array_append_new(list, entry) != 0 ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}

static qd_code add_file(const char *dir, const char *name, json_t *list, qd_error *err)
{
    qd_safetensors *file = NULL;
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, name);
    qd_code code = path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
    if (code == QD_OK && qd_safetensors_open(path, &file, NULL) != QD_OK)
        return QD_OK; /* the finding about the model says what is wrong with it */
    for (size_t i = 0; code == QD_OK && i < qd_safetensors_count(file); i++)
        code = add_unknown(qd_safetensors_at(file, i), list, err);
    qd_safetensors_destroy(file);
    return code;
}

static qd_code add_gguf(const char *dir, json_t *list, qd_error *err)
{
    qd_folder *folder = NULL;
    qd_code code = QD_OK;
    if (qd_folder_open(dir, &folder, NULL) != QD_OK)
        return QD_OK;
    const qd_gguf_set *set = qd_folder_gguf(folder);
    for (size_t f = 0; set != NULL && f < set->count; f++)
        for (size_t i = 0; code == QD_OK && i < qd_gguf_count(set->files[f]); i++)
            code = add_unknown(qd_gguf_at(set->files[f], i), list, err);
    qd_folder_destroy(folder);
    return code;
}

qd_code qd_plan_unknown(const char *model_dir, json_t *list, qd_error *err)
{
    char **names = NULL;
    size_t count = 0;
    qd_code code = qd_dir_list(model_dir, &names, &count, err);
    for (size_t i = 0; code == QD_OK && i < count; i++)
        if (qd_glob_match("*.safetensors", names[i]))
            code = add_file(model_dir, names[i], list, err);
    qd_names_free(names, count);
    return code == QD_OK && json_array_size(list) == 0 ? add_gguf(model_dir, list, err) : code;
}
