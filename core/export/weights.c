/* weights.c: see weights.h. */
#include "export/weights.h"

#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

const qd_linear *qd_weights_linear(const qd_model *model, const qd_tensor *tensor, size_t *out_index)
{
    const char *dot = strrchr(tensor->name, '.');
    size_t length = dot == NULL ? 0 : (size_t)(dot - tensor->name);
    if (dot == NULL || strcmp(dot, ".bias") == 0)
        return NULL;
    for (size_t i = 0; i < qd_model_linear_count(model); i++) {
        const qd_linear *linear = qd_model_linear_at(model, i);
        if (strncmp(linear->name, tensor->name, length) == 0 && linear->name[length] == '\0') {
            *out_index = i;
            return linear;
        }
    }
    return NULL;
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

/* Of a file under names of its own, which is the only one. */
static qd_code write_all(const walk *w, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < qd_model_tensor_count(w->model); i++)
        code = write_tensor(w, qd_model_tensor_at(w->model, i), err);
    return code;
}

/* The file is opened again only for the names in it: the model knows tensors, not where they lie. */
static qd_code write_file(const walk *w, const char *name, qd_error *err)
{
    qd_safetensors *file = NULL;
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(qd_model_borrow_dir(w->model), name);
    if (path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    if (qd_glob_match("*.gguf", name))
        return write_all(w, err);
    qd_code code = qd_safetensors_open(path, &file, err);
    for (size_t i = 0; code == QD_OK && i < qd_safetensors_count(file); i++) {
        const qd_tensor *tensor = qd_model_tensor(w->model, qd_safetensors_at(file, i)->name);
        code = tensor == NULL ? qd_fail(err, QD_EFORMAT, "'%s' changed while it was read", path)
                              : write_tensor(w, tensor, err);
    }
    qd_safetensors_destroy(file);
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
        code = write_file(&w, qd_model_file_at(model, i), err);
        if (code == QD_OK)
            code = qd_shard_writer_cut(&writer, err);
    }
    return code == QD_OK ? qd_shard_writer_finish(&writer, err) : code;
}
