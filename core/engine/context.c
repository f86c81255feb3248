/* context.c: see context.h. */
#include "engine/context.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "engine/arithmetic.h"
#include "engine/samples.h"
#include "engine/source.h"
#include "engine/source_model.h"
#include "export/artifact.h"
#include "model/folder.h"

enum { READ_BYTES = 4 << 20 };
/* Part of every checkpoint key: raised when the same recipe would give other bytes. */
static const char engine_version[] = "quantd-engine-5";

void qd_context_fini(qd_context *c)
{
    qd_windows_fini(&c->calibration);
    qd_evaluation_fini(&c->evaluation);
    qd_measured_fini(&c->measured);
    qd_task_scores_fini(&c->tasks);
    qd_tokenizer_destroy(c->tokenizer);
    qd_model_destroy(c->model);
    qd_pool_destroy(c->pool);
    free(c->keys);
    json_decref(c->model_files);
    json_decref(c->quantized);
}

qd_code qd_context_length(const qd_context *c, const char *field, size_t wanted, size_t *out, qd_error *err)
{
    size_t most = qd_model_borrow_config(c->model)->max_positions;
    if (wanted != 0 && most != 0 && wanted > most)
        return qd_fail(err, QD_EINVAL, "%s.length: %zu is beyond the model's max_position_embeddings of %zu", field,
                       wanted, most);
    size_t length = wanted != 0 ? wanted : QD_WINDOW_LENGTH;
    *out = wanted == 0 && most != 0 ? qd_min_size(length, most) : length;
    return QD_OK;
}

const char *qd_context_arithmetic_name(const qd_context *c)
{
    return c->calibration.count == 0 ? NULL : qd_arithmetic_name(qd_recipe_arithmetic(c->recipe, c->model));
}

static ssize_t read_some(int fd, unsigned char *bytes)
{
    ssize_t got;
    do
        got = read(fd, bytes, READ_BYTES);
    while (got < 0 && errno == EINTR);
    return got;
}

/* SHA-256 of a file of any size, with ears for cancel. */
static qd_code digest_file(const qd_context *c, const char *path, char *out_hex, json_int_t *out_size, qd_error *err)
{
    QD_AUTO(qd_digest_fini) qd_digest digest = { 0 };
    QD_AUTO(qd_free_pointer) unsigned char *bytes = NULL;
    QD_AUTO(qd_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return qd_fail_errno(err, "open '%s'", path);
    qd_code code = qd_alloc(READ_BYTES, 1, (void **)&bytes, err);
    if (code == QD_OK)
        code = qd_digest_init(&digest, QD_SHA256, err);
    ssize_t got = 1;
    for (*out_size = 0; code == QD_OK && got != 0; *out_size += got) {
        code = qd_cancel_check(c->cancel, err);
        got = code == QD_OK ? read_some(fd, bytes) : 0;
        if (got < 0)
            return qd_fail_errno(err, "read '%s'", path);
        if (code == QD_OK)
            code = qd_digest_add(&digest, bytes, (size_t)got, err);
    }
    if (code == QD_OK)
        qd_digest_hex(&digest, out_hex);
    return code;
}

/* A file that is made of another's metadata. */
static qd_code digest_made(const qd_folder *folder, const char *name, char *out_hex, json_int_t *out_size,
                           qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    qd_code code = qd_folder_read(folder, name, SIZE_MAX, &text, err);
    *out_size = (json_int_t)text.length;
    return code == QD_OK ? qd_sha256(qd_str_borrow(&text), text.length, out_hex, err) : code;
}

static qd_code digest_one(qd_context *c, const qd_folder *folder, const char *name, qd_error *err)
{
    char hex[QD_DIGEST_HEX];
    json_int_t size = 0;
    QD_AUTO(qd_free_pointer) char *path = NULL;
    qd_code code = qd_folder_locate(folder, name, &path, err);
    if (code == QD_OK)
        code = path == NULL ? digest_made(folder, name, hex, &size, err) : digest_file(c, path, hex, &size, err);
    if (code != QD_OK)
        return code;
    json_t *file = json_pack("{s:s, s:I, s:s}", "name", name, "size", size, "sha256", hex);
    return json_array_append_new(c->model_files, file) == 0 ? QD_OK : qd_fail(err, QD_ENOMEM, "out of memory");
}

/* What decides the numbers: the configuration and the weights. */
static qd_code digest_model(qd_context *c, qd_error *err)
{
    qd_folder *folder = NULL;
    qd_code code = qd_folder_open(c->paths->model_dir, &folder, err);
    c->model_files = json_array();
    if (code == QD_OK)
        code = digest_one(c, folder, "config.json", err);
    for (size_t i = 0; code == QD_OK && i < qd_model_file_count(c->model); i++)
        code = digest_one(c, folder, qd_model_file_at(c->model, i), err);
    qd_folder_destroy(folder);
    return code;
}

/* A value that is no number is found before hours of work, not after. */
static qd_code check_weights(const qd_context *c, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < qd_model_tensor_count(c->model); i++) {
        code = qd_tensor_check_finite(qd_model_tensor_at(c->model, i), err);
        if (code == QD_OK)
            code = qd_cancel_check(c->cancel, err);
    }
    return code;
}

static qd_code open_tokenizer(qd_context *c, qd_error *err)
{
    bool read =
        c->calibration_origin == QD_FROM_TEXT || c->evaluation_origin == QD_FROM_TEXT || c->recipe->task_count > 0;
    c->bos = qd_model_borrow_config(c->model)->bos;
    if (!read && c->bos >= 0)
        return QD_OK;
    qd_error why = { 0 };
    qd_code code = qd_source_tokenizer(c->paths->model_dir, &c->tokenizer, &why);
    if (code != QD_OK && read)
        return qd_fail(err, code, "model '%s': %s", c->paths->model_dir, why.text);
    c->bos = qd_source_bos(c->model, c->tokenizer);
    return QD_OK; /* a model that samples its own tokens can do without a tokenizer */
}

/* Tokens of the model's own: behind all that may be wrong with the job, for it takes its time. */
static qd_code sample_windows(qd_context *c, qd_error *err)
{
    qd_code code = qd_calibration_sample(c, err);
    return code == QD_OK && c->evaluation_origin == QD_FROM_MODEL ? qd_evaluation_sample(c, err) : code;
}

static qd_code first_key(const qd_context *c, char *out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *recipe = qd_recipe_print(c->recipe);
    if (recipe != NULL)
        qd_recipe_keep_layers(recipe);
    QD_AUTO(qd_json_fini)
    json_t *seed = json_pack("{s:s, s:O?, s:O, s:s, s:s, s:s}", "engine", engine_version, "recipe", recipe, "files",
                             c->model_files, "tokens", c->calibration_digest, "first_position",
                             qd_first_position_name(c->recipe->first_position), "arithmetic",
                             qd_arithmetic_name(qd_recipe_arithmetic(c->recipe, c->model)));
    QD_AUTO(qd_free_pointer) char *text = seed == NULL ? NULL : json_dumps(seed, JSON_COMPACT | JSON_SORT_KEYS);
    return text == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_sha256(text, strlen(text), out, err);
}

/* Another container is no other job, unless it gives the layer another grid. */
static qd_code layer_key(const qd_context *c, const char *previous, size_t index, char *out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    const qd_linear *linear = qd_model_linear_at(c->model, index);
    qd_grid_spec spec;
    qd_code code = qd_recipe_layer_spec(c->recipe, linear, &spec, err);
    if (code != QD_OK)
        return code;
    qd_str_addf(&text, "%s", linear->name);
    if (!qd_grid_spec_equal(&spec, &c->recipe->grid))
        qd_str_addf(&text, "\n%s %s %g %zu %s %s", spec.alphabet->name, qd_zero_kind_name(spec.zero), spec.bits,
                    spec.group_size, spec.scale_type->name, spec.narrow ? "narrow" : "whole");
    code = qd_str_check(&text, err);
    return code == QD_OK ? qd_checkpoint_next_key(previous, text.data, out, err) : code;
}

static qd_code make_keys(qd_context *c, qd_error *err)
{
    char previous[QD_DIGEST_HEX];
    size_t count = qd_model_linear_count(c->model);
    qd_code code = qd_alloc(count, sizeof *c->keys, (void **)&c->keys, err);
    if (code == QD_OK)
        code = first_key(c, previous, err);
    for (size_t i = 0; code == QD_OK && i < count; i++) {
        code = layer_key(c, previous, i, c->keys[i], err);
        memcpy(previous, c->keys[i], sizeof previous);
    }
    return code;
}

/* Layers that the job's own grid does not fit are said, with what they get instead. */
static qd_code report_fallbacks(const qd_context *c, qd_error *err)
{
    size_t layers = qd_model_linear_count(c->model), others = 0;
    qd_grid_spec first = { 0 };
    const char *name = NULL;
    for (size_t i = 0; i < layers; i++) {
        qd_grid_spec spec;
        qd_code code = qd_recipe_layer_spec(c->recipe, qd_model_linear_at(c->model, i), &spec, err);
        if (code != QD_OK)
            return code;
        if (qd_grid_spec_equal(&spec, &c->recipe->grid))
            continue;
        first = others++ == 0 ? spec : first;
        name = name == NULL ? qd_model_linear_at(c->model, i)->name : name;
    }
    if (others > 0)
        qd_emit_warning(
            c->sink,
            "%zu of %zu layers have rows that the container's grid does not fit; '%s' and such get alphabet %s, "
            "%g bits, groups of %zu, scales %s",
            others, layers, name, first.alphabet->name, first.bits, first.group_size, first.scale_type->name);
    return QD_OK;
}

/* What the artifact's container asks of each layer, before hours of work. */
static qd_code check_format(const qd_context *c, qd_error *err)
{
    qd_code code = qd_artifact_check_source(c->model, err);
    const char *dtype = qd_model_borrow_config(c->model)->dtype;
    size_t layers = qd_model_linear_count(c->model);
    for (size_t i = 0; code == QD_OK && i < c->recipe->format_count; i++)
        if (c->recipe->formats[i].format->check_model != NULL)
            code = c->recipe->formats[i].format->check_model(c->model, c->recipe->formats[i].variant, err);
    for (size_t i = 0; code == QD_OK && i < layers * c->recipe->format_count; i++) {
        const qd_format_choice *choice = &c->recipe->formats[i / layers];
        const qd_linear *linear = qd_model_linear_at(c->model, i % layers);
        qd_grid_spec spec;
        code = qd_recipe_layer_spec(c->recipe, linear, &spec, err);
        if (code == QD_OK)
            code = choice->format->check_layer(&spec, choice->variant, linear, dtype, err);
    }
    for (size_t i = 0; code == QD_OK && i < c->recipe->format_count; i++) {
        const qd_format *format = c->recipe->formats[i].format;
        if (format->caution != NULL && format->caution(c->model) != NULL)
            qd_emit_warning(c->sink, "format %s: %s", format->name, format->caution(c->model));
    }
    return code == QD_OK ? report_fallbacks(c, err) : code;
}

/* Texts that only the operator names are of no use to a model that nothing runs. */
static void leave_texts(qd_context *c)
{
    char text[400];
    c->without_texts = *c->paths;
    c->without_texts.calibration_text = c->without_texts.evaluation_text = NULL;
    c->calibration_origin = c->evaluation_origin = QD_FROM_NOWHERE; /* nor can it sample any */
    c->paths = &c->without_texts;
    qd_source_describe_unknown(c->model, text, sizeof text);
    qd_emit_warning(c->sink, "%s", text);
}

static qd_code open_model(qd_context *c, qd_error *err)
{
    qd_code code = qd_source_model(c->recipe, c->paths->model_dir, &c->model, err);
    if (code == QD_OK && !qd_model_is_known(c->model))
        leave_texts(c);
    if (code == QD_OK)
        code = check_format(c, err);
    for (size_t i = 0; code == QD_OK && qd_model_warning_at(c->model, i) != NULL; i++)
        qd_emit_warning(c->sink, "%s", qd_model_warning_at(c->model, i));
    if (code == QD_OK)
        code = qd_source_quantized(c->model, &c->quantized, err);
    if (code == QD_OK && c->quantized != NULL)
        qd_emit_warning(c->sink,
                        "the source is quantized already, as %s: its dequantized values are taken for the model",
                        qd_source_quantized_name(c->quantized));
    return code;
}

static qd_text_there text_there(const char *path)
{
    return path == NULL ? QD_TEXT_ABSENT : QD_TEXT_THERE;
}

qd_code qd_context_init(qd_context *c, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *layers = qd_path_join(c->paths->work_dir, "layers");
    qd_code code = layers == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_dir_make(layers, err);
    if (code == QD_OK)
        code = qd_publish_check(c, err);
    if (code == QD_OK)
        code = open_model(c, err);
    if (code == QD_OK && qd_model_is_known(c->model)) { /* another one can be neither calibrated nor measured */
        c->calibration_origin = qd_recipe_calibration_origin(c->recipe, text_there(c->paths->calibration_text));
        c->evaluation_origin = qd_recipe_evaluation_origin(c->recipe, text_there(c->paths->evaluation_text));
    }
    if (code == QD_OK)
        code = open_tokenizer(c, err);
    if (code == QD_OK)
        code = qd_calibration_cut(c, err);
    if (code == QD_OK)
        code = qd_evaluation_cut(c, err);
    if (code == QD_OK)
        code = qd_tasks_cut(c, err);
    if (code == QD_OK)
        code = check_weights(c, err);
    if (code == QD_OK)
        code = digest_model(c, err);
    if (code == QD_OK)
        code = sample_windows(c, err);
    return code == QD_OK ? make_keys(c, err) : code;
}

const char *qd_context_place(const qd_context *c, size_t format, char *out)
{
    const qd_format_choice *choice = &c->recipe->formats[format];
    if (c->recipe->format_count == 1)
        snprintf(out, QD_FORMAT_NAME, ".");
    else
        qd_format_folder(choice->format, choice->variant, out);
    return out;
}

char *qd_context_folder(const qd_context *c, size_t format)
{
    char place[QD_FORMAT_NAME];
    if (c->recipe->format_count == 1)
        return strdup(c->paths->out_dir);
    return qd_path_join(c->paths->out_dir, qd_context_place(c, format, place));
}

void qd_finished_fini(qd_finished *finished)
{
    qd_checkpoint_fini(&finished->current);
    qd_matf_buf_fini(&finished->turned);
}

qd_code qd_context_read_layer(const qd_context *c, size_t index, qd_checkpoint *out, qd_error *err)
{
    qd_grid_spec spec;
    const qd_linear *linear = qd_model_linear_at(c->model, index);
    qd_code code = qd_recipe_layer_spec(c->recipe, linear, &spec, err);
    if (code == QD_OK)
        code = qd_checkpoint_read(c->paths->work_dir, index, c->keys[index], linear, &spec, out, err);
    return code;
}

qd_code qd_finished_layer(void *ctx, size_t linear_index, qd_rounded *out, qd_error *err)
{
    qd_finished *f = ctx;
    const qd_context *c = f->context;
    const qd_linear *linear = qd_model_linear_at(c->model, linear_index);
    qd_finished_fini(f);
    qd_code code = qd_context_read_layer(c, linear_index, &f->current, err);
    if (code == QD_OK && qd_transforms_turning(&c->recipe->transforms) != NULL) {
        code = qd_matf_buf_init(&f->turned, linear->out, linear->in, err);
        if (code == QD_OK)
            code = qd_layer_weights(c->recipe, c->model, linear_index, &f->current.grid, f->current.codes, NULL,
                                    f->turned.view, err);
    }
    if (code == QD_OK)
        *out = (qd_rounded){ .grid = &f->current.grid,
                             .codes = f->current.codes,
                             .turned = qd_matf_const(f->turned.view) };
    return code;
}
