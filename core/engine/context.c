/* context.c: see context.h. */
#include "engine/context.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

enum { TEXT_LIMIT = 1 << 30, DEFAULT_LENGTH = 2048 };
/* Part of every checkpoint key: raised when the same recipe would give other bytes. */
static const char engine_version[] = "quantd-engine-1";

void qd_context_fini(qd_context *c)
{
    qd_windows_fini(&c->calibration);
    qd_tokenizer_destroy(c->tokenizer);
    qd_model_destroy(c->model);
    qd_pool_destroy(c->pool);
    free(c->keys);
    json_decref(c->model_files);
}

qd_code qd_context_length(const qd_context *c, const char *field, size_t wanted, size_t *out, qd_error *err)
{
    size_t most = qd_model_borrow_config(c->model)->max_positions;
    if (wanted != 0 && most != 0 && wanted > most)
        return qd_fail(err, QD_EINVAL, "%s.length: %zu is beyond the model's max_position_embeddings of %zu", field,
                       wanted, most);
    size_t length = wanted != 0 ? wanted : DEFAULT_LENGTH;
    *out = wanted == 0 && most != 0 ? qd_min_size(length, most) : length;
    return QD_OK;
}

static qd_code digest_model(qd_context *c, qd_error *err)
{
    c->model_files = json_array();
    for (size_t i = 0; i < qd_model_file_count(c->model); i++) {
        char hex[QD_DIGEST_HEX];
        uint64_t size = 0;
        QD_AUTO(qd_free_pointer) char *path = qd_path_join(c->paths->model_dir, qd_model_file_at(c->model, i));
        qd_code code = path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_sha256_file(path, hex, err);
        if (code == QD_OK)
            code = qd_file_size(path, &size, err);
        if (code == QD_OK)
            code = qd_cancel_check(c->cancel, err);
        if (code != QD_OK)
            return code;
        json_array_append_new(c->model_files, json_pack("{s:s, s:I, s:s}", "name", qd_model_file_at(c->model, i),
                                                        "size", (json_int_t)size, "sha256", hex));
    }
    return QD_OK;
}

static qd_code open_tokenizer(qd_context *c, qd_error *err)
{
    if (c->paths->calibration_text == NULL && c->paths->evaluation_text == NULL)
        return QD_OK;
    qd_code code = qd_tokenizer_open(c->paths->model_dir, &c->tokenizer, err);
    if (code != QD_OK)
        return qd_within(err, code, "model '%s'", c->paths->model_dir);
    uint32_t id = 0;
    c->bos = qd_model_borrow_config(c->model)->bos;
    if (c->bos < 0 && qd_tokenizer_bos(c->tokenizer, &id))
        c->bos = id;
    return QD_OK;
}

static qd_code sample_calibration(qd_context *c, qd_error *err)
{
    const qd_recipe *r = c->recipe;
    if (c->paths->calibration_text == NULL)
        return r->algorithm->needs == QD_NEEDS_NOTHING
                   ? QD_OK
                   : qd_fail(
                         err, QD_EINVAL,
                         "calibration.source: '%s' needs a calibration text, and neither job nor operator names one",
                         r->algorithm->name);
    QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
    qd_window_request request = { .count = r->calibration_samples,
                                  .sampling = r->calibration_sampling,
                                  .phase = r->calibration_phase,
                                  .seed = r->seed,
                                  .bos = r->calibration_bos ? c->bos : -1 };
    qd_code code = qd_context_length(c, "calibration", r->calibration_length, &request.length, err);
    if (code == QD_OK)
        code = qd_corpus_read(c->tokenizer, c->paths->calibration_text, r->calibration_split, TEXT_LIMIT, &ids, err);
    if (code == QD_OK)
        code = qd_windows_sample(&ids, &request, &c->calibration, err);
    if (code != QD_OK)
        return qd_within(err, code, "calibration");
    code = qd_sha256(c->calibration.ids, c->calibration.count * c->calibration.length * sizeof *c->calibration.ids,
                     c->calibration_digest, err);
    return code == QD_OK ? qd_sha256_file(c->paths->calibration_text, c->text_digest, err) : code;
}

/* Members of the recipe that do not change a layer's bytes. */
static void keep_what_matters(json_t *recipe)
{
    static const char *const others[] = {
        "name", "tags", "model", "evaluation", "format", "on_degraded", "calibration"
    };
    for (size_t i = 0; i < QD_LENGTH(others); i++)
        json_object_del(recipe, others[i]);
}

static qd_code first_key(const qd_context *c, char *out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *recipe = qd_recipe_print(c->recipe);
    if (recipe != NULL)
        keep_what_matters(recipe);
    QD_AUTO(qd_json_fini)
    json_t *seed = json_pack("{s:s, s:O?, s:O, s:s}", "engine", engine_version, "recipe", recipe, "files",
                             c->model_files, "tokens", c->calibration_digest);
    QD_AUTO(qd_free_pointer) char *text = seed == NULL ? NULL : json_dumps(seed, JSON_COMPACT | JSON_SORT_KEYS);
    return text == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_sha256(text, strlen(text), out, err);
}

static qd_code make_keys(qd_context *c, qd_error *err)
{
    char previous[QD_KEY_HEX];
    size_t count = qd_model_linear_count(c->model);
    qd_code code = qd_alloc(count, sizeof *c->keys, (void **)&c->keys, err);
    if (code == QD_OK)
        code = first_key(c, previous, err);
    for (size_t i = 0; code == QD_OK && i < count; i++) {
        code = qd_checkpoint_next_key(previous, qd_model_linear_at(c->model, i)->name, c->keys[i], err);
        memcpy(previous, c->keys[i], sizeof previous);
    }
    return code;
}

/* What the artifact's container asks of each layer, before hours of work. */
static qd_code check_format(const qd_context *c, qd_error *err)
{
    qd_code code = QD_OK;
    const char *dtype = qd_model_borrow_config(c->model)->dtype;
    for (size_t i = 0; code == QD_OK && i < qd_model_linear_count(c->model); i++) {
        const qd_linear *linear = qd_model_linear_at(c->model, i);
        code = c->recipe->format->check_layer(&c->recipe->grid, c->recipe->format_variant, linear, dtype, err);
    }
    return code;
}

qd_code qd_context_init(qd_context *c, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *layers = qd_path_join(c->paths->work_dir, "layers");
    c->bos = -1;
    qd_code code = layers == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_dir_make(layers, err);
    if (code == QD_OK)
        code = qd_model_open(c->paths->model_dir, &c->model, err);
    if (code == QD_OK)
        code = check_format(c, err);
    for (size_t i = 0; code == QD_OK && qd_model_warning_at(c->model, i) != NULL; i++)
        qd_emit_warning(c->sink, "%s", qd_model_warning_at(c->model, i));
    if (code == QD_OK)
        code = open_tokenizer(c, err);
    if (code == QD_OK)
        code = sample_calibration(c, err);
    if (code == QD_OK)
        code = digest_model(c, err);
    return code == QD_OK ? make_keys(c, err) : code;
}

void qd_finished_fini(qd_finished *finished)
{
    qd_checkpoint_fini(&finished->current);
}

qd_code qd_finished_layer(void *ctx, size_t linear_index, qd_rounded *out, qd_error *err)
{
    qd_finished *f = ctx;
    const qd_context *c = f->context;
    qd_checkpoint_fini(&f->current);
    qd_code code = qd_checkpoint_read(c->paths->work_dir, linear_index, c->keys[linear_index],
                                      qd_model_linear_at(c->model, linear_index), &c->recipe->grid, &f->current, err);
    if (code == QD_OK)
        *out = (qd_rounded){ .grid = &f->current.grid, .codes = f->current.codes };
    return code;
}
