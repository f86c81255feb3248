/* weight_bytes.c: see weight_bytes.h. */
#include "export/weight_bytes.h"

#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "export/side_files.h"
#include "export/weights.h"
#include "model/folder.h"

/* {"NAME":{"dtype":"BF16","shape":[49152,576],"data_offsets":[123456789,123456789]}, */
enum { ENTRY_BYTES = 60, HEADER_BYTES = 64, SIDE_LIMIT = 256 << 20 };

uint64_t qd_format_layer_bytes(const qd_format_choice *choice, const qd_grid_spec *spec, const qd_linear *linear,
                               const char *model_dtype)
{
    return choice->format->layer_bytes(spec, choice->variant, linear, model_dtype);
}

static uint64_t entry_bytes(const char *name, size_t longer)
{
    return ENTRY_BYTES + strlen(name) + longer;
}

/* As qd_shard_writer_copy stores it. */
static uint64_t kept_bytes(const qd_tensor *tensor)
{
    bool widened = tensor->dtype->block != 0 || !qd_tensor_is_plain(tensor);
    return widened ? tensor->elements * sizeof(float) : tensor->bytes;
}

static size_t part_count(const qd_format *format)
{
    size_t count = 0;
    while (format->parts != NULL && format->parts[count] != NULL)
        count++;
    return count == 0 ? 1 : count;
}

/* Most layers have not all parts; the names of three are as good a guess as any. */
static uint64_t names_of_layer(const qd_format *format, const char *name)
{
    enum { USUAL_PARTS = 3, PART_NAME = 14 };
    return qd_min_size(part_count(format), USUAL_PARTS) * entry_bytes(name, PART_NAME);
}

qd_code qd_format_other_bytes(const qd_format_choice *choice, const qd_model *model, uint64_t *out, qd_error *err)
{
    uint64_t bytes = HEADER_BYTES;
    if (choice->format->other_bytes != NULL)
        return choice->format->other_bytes(model, choice->variant, out, err);
    for (size_t i = 0; i < qd_model_tensor_count(model); i++) {
        size_t ignored;
        const qd_tensor *tensor = qd_model_tensor_at(model, i);
        bool left = choice->format->leaves_out != NULL && choice->format->leaves_out(model, tensor);
        if (!left && qd_weights_linear(model, tensor, &ignored) == NULL)
            bytes += kept_bytes(tensor) + entry_bytes(tensor->name, 0);
    }
    for (size_t i = 0; i < qd_model_linear_count(model); i++) {
        const qd_linear *linear = qd_model_linear_at(model, i);
        bytes += names_of_layer(choice->format, linear->name);
        if (choice->format->repeated_bytes != NULL)
            bytes += choice->format->repeated_bytes(choice->variant, linear);
    }
    *out = bytes;
    return QD_OK;
}

static qd_code file_bytes(const qd_folder *folder, const char *name, uint64_t *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = NULL;
    QD_AUTO(qd_str_fini) qd_str made = { 0 };
    qd_code code = qd_folder_locate(folder, name, &path, err);
    if (code == QD_OK && path != NULL)
        return qd_file_size(path, out, err);
    if (code == QD_OK)
        code = qd_folder_read(folder, name, SIDE_LIMIT, &made, err);
    *out = made.length;
    return code;
}

qd_code qd_format_side_bytes(const qd_model *model, uint64_t *out, qd_error *err)
{
    const char *path = qd_model_borrow_path(model);
    char **names = NULL;
    size_t count = 0;
    uint64_t bytes = 0, size = 0;
    qd_folder *folder = NULL;
    qd_code code = qd_folder_open(path, &folder, err);
    if (code == QD_OK)
        code = qd_side_files_list(path, &names, &count, err);
    if (code == QD_OK)
        code = file_bytes(folder, "config.json", &bytes, err);
    for (size_t i = 0; code == QD_OK && i < count; i++) {
        code = file_bytes(folder, names[i], &size, err);
        bytes += size;
    }
    qd_names_free(names, count);
    qd_folder_destroy(folder);
    if (code == QD_OK)
        *out = bytes;
    return code;
}
