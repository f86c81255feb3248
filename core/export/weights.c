/* weights.c: see weights.h. */
#include "export/weights.h"

#include "base/file.h"

const qd_linear *qd_weights_linear(const qd_model *model, const qd_tensor *tensor, size_t *out_index)
{
    for (size_t i = 0; i < qd_model_linear_count(model); i++)
        if (qd_model_linear_at(model, i)->weight == tensor) {
            *out_index = i;
            return qd_model_linear_at(model, i);
        }
    return NULL;
}

static qd_code write_tensor(const qd_model *model, const qd_tensor *tensor, const qd_rounded_source *source,
                            const qd_layer_writer *layers, qd_shard_writer *writer, qd_error *err)
{
    size_t index = 0;
    const qd_linear *linear = qd_weights_linear(model, tensor, &index);
    if (linear == NULL)
        return qd_shard_writer_copy(writer, tensor, err);
    qd_rounded rounded;
    qd_code code = source->layer(source->ctx, index, &rounded, err);
    if (code == QD_OK)
        code = layers->write(layers->ctx, writer, linear, &rounded, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "layer '%s'", linear->name);
}

/* The file is opened again only for the names in it: the model knows tensors, not where they lie. */
static qd_code write_file(const qd_model *model, const char *name, const qd_rounded_source *source,
                          const qd_layer_writer *layers, qd_shard_writer *writer, qd_error *err)
{
    qd_safetensors *file = NULL;
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(qd_model_borrow_dir(model), name);
    if (path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    qd_code code = qd_safetensors_open(path, &file, err);
    for (size_t i = 0; code == QD_OK && i < qd_safetensors_count(file); i++) {
        const qd_tensor *tensor = qd_model_tensor(model, qd_safetensors_at(file, i)->name);
        code = tensor == NULL ? qd_fail(err, QD_EFORMAT, "'%s' changed while it was read", path)
                              : write_tensor(model, tensor, source, layers, writer, err);
    }
    qd_safetensors_destroy(file);
    return code;
}

qd_code qd_weights_write(const qd_model *model, const qd_rounded_source *source, const qd_layer_writer *layers,
                         const char *dir, qd_error *err)
{
    QD_AUTO(qd_shard_writer_fini) qd_shard_writer writer = { 0 };
    qd_code code = qd_shard_writer_init(&writer, dir, 0, err);
    for (size_t i = 0; code == QD_OK && i < qd_model_file_count(model); i++) {
        code = write_file(model, qd_model_file_at(model, i), source, layers, &writer, err);
        if (code == QD_OK)
            code = qd_shard_writer_cut(&writer, err);
    }
    return code == QD_OK ? qd_shard_writer_finish(&writer, err) : code;
}
