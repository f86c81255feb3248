/* artifact_write.c: the writing half of artifact.h. */
#include "export/artifact.h"
#include "export/side_files.h"

#include "base/file.h"

qd_code qd_artifact_check_source(const qd_model *model, qd_error *err)
{
    char **names = NULL;
    size_t count = 0;
    qd_code code = qd_side_files_list(qd_model_borrow_path(model), &names, &count, err);
    qd_names_free(names, count);
    return code;
}

static qd_code check_layer(const qd_format *format, size_t variant, const qd_model *model, const qd_grid_spec *spec,
                           const qd_linear *linear, qd_error *err)
{
    qd_grid_spec own = *spec;
    qd_code code = format->layer_spec == NULL ? QD_OK : format->layer_spec(spec, variant, linear, &own, err);
    return code == QD_OK ? format->check_layer(&own, variant, linear, qd_model_borrow_config(model)->dtype, err) : code;
}

qd_code qd_artifact_write(const qd_format *format, size_t variant, const qd_model *model, const qd_grid_spec *spec,
                          const qd_rounded_source *source, const char *dir, qd_error *err)
{
    qd_code code = format->check(spec, variant, err);
    for (size_t i = 0; code == QD_OK && i < qd_model_linear_count(model); i++)
        code = check_layer(format, variant, model, spec, qd_model_linear_at(model, i), err);
    if (code == QD_OK)
        code = qd_side_files_copy(qd_model_borrow_path(model), dir, err);
    if (code == QD_OK)
        code = format->write(model, spec, variant, source, dir, err);
    return code == QD_OK ? qd_dir_sync(dir, err) : code;
}
