/* weights.c: see weights.h. */
#include "export/weights.h"

#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/unknown.h"

const qd_linear *qd_weights_linear(const qd_model *model, const qd_tensor *tensor, size_t *out_index)
{
    const char *dot = strrchr(tensor->name, '.');
    size_t length = dot == NULL ? 0 : (size_t)(dot - tensor->name);
    if (dot == NULL || strcmp(dot, ".bias") == 0)
        return NULL;
    return qd_model_linear_named(model, tensor->name, length, out_index);
}

static bool is_plain_linear(const qd_model *model, const qd_tensor *tensor)
{
    size_t index;
    const qd_unknown_rule *rule = qd_unknown_judge(tensor, 0);
    return tensor->rank == 2 && qd_glob_match("?*.weight", tensor->name) &&
           (rule == NULL || rule->finding != QD_UNKNOWN_OTHER) && qd_weights_linear(model, tensor, &index) == NULL;
}

qd_code qd_weights_name_plain(const qd_model *model, json_t *names, qd_error *err)
{
    for (size_t i = 0; i < qd_model_tensor_count(model); i++) {
        const qd_tensor *tensor = qd_model_tensor_at(model, i);
        size_t length = strlen(tensor->name);
        if (!is_plain_linear(model, tensor))
            continue;
        json_t *module = json_stringn(tensor->name, length - strlen(".weight"));
        bool head = module != NULL && strcmp(json_string_value(module), "lm_head") == 0;
        if (head)
            json_decref(module); /* always named */
        else if (json_array_append_new(names, module) != 0)
            return qd_fail(err, QD_ENOMEM, "out of memory");
    }
    return QD_OK;
}

/* One walk over the source. */
typedef struct walk {
    const qd_model *model;
    const qd_rounded_source *source;
    const qd_layer_writer *layers;
    qd_shard_writer *writer;
    bool *written; /* linears: the first part met brings the layer, wherever the others lie */
} walk;

static qd_code write_tensor(const walk *w, const qd_tensor *tensor, qd_error *err)
{
    size_t index = 0;
    const qd_linear *linear = qd_weights_linear(w->model, tensor, &index);
    if (linear == NULL)
        return qd_shard_writer_copy(w->writer, tensor, err);
    if (w->written[index])
        return QD_OK;
    w->written[index] = true;
    qd_rounded rounded;
    qd_code code = w->source->layer(w->source->ctx, index, &rounded, err);
    if (code == QD_OK)
        code = w->layers->write(w->layers->ctx, w->writer, linear, &rounded, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "layer '%s'", linear->name);
}

/* Tensors of one file of the source, by name. */
static qd_code write_file(const walk *w, size_t file, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < qd_model_tensor_count(w->model); i++) {
        const qd_tensor *tensor = qd_model_tensor_at(w->model, i);
        if (qd_model_file_of(w->model, tensor) == file)
            code = write_tensor(w, tensor, err);
    }
    return code;
}

qd_code qd_weights_write(const qd_model *model, const qd_rounded_source *source, const qd_layer_writer *layers,
                         const char *dir, qd_error *err)
{
    QD_AUTO(qd_shard_writer_fini) qd_shard_writer writer = { 0 };
    QD_AUTO(qd_free_pointer) bool *written = NULL;
    qd_code code = qd_alloc(qd_model_linear_count(model), sizeof *written, (void **)&written, err);
    if (code == QD_OK)
        code = qd_shard_writer_init(&writer, dir, 0, err);
    const walk w = { model, source, layers, &writer, written };
    for (size_t i = 0; code == QD_OK && i < qd_model_file_count(model); i++) {
        code = write_file(&w, i, err);
        if (code == QD_OK)
            code = qd_shard_writer_cut(&writer, err);
    }
    return code == QD_OK ? qd_shard_writer_finish(&writer, err) : code;
}
