/* format_gguf.c: GGUF v3, one file for llama.cpp and what is built on it: blocks, keys and tokenizer.
 * Layout: ggml_layout.h, gguf_write.h; source: formats.md §6. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "export/config_edit.h"
#include "export/gguf_plan.h"
#include "export/gguf_read.h"

/* In the order of ggml_table.c, which test_format_gguf compares. */
static const char *const variants[] = { "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl", "mxfp4", "nvfp4", "q1_0",
                                        "q2_0", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k",   "tq1_0", "tq2_0", NULL };

static const qd_format_field *implied(size_t variant)
{
    return qd_ggml_encoder_at(variant)->implied;
}

static qd_code check(const qd_grid_spec *spec, size_t variant, qd_error *err)
{
    return qd_ggml_encoder_check(qd_ggml_encoder_at(variant), spec, err);
}

static qd_code fitting(size_t variant, const qd_linear *linear, const qd_ggml_encoder **out, qd_error *err)
{
    const qd_ggml_encoder *encoder = qd_ggml_encoder_at(variant);
    *out = qd_ggml_encoder_for(encoder, linear->in);
    if (*out != NULL)
        return QD_OK;
    return qd_fail(
        err, QD_EINVAL,
        "format: 'gguf:%s' has blocks of %zu weights%s%s, and the rows of '%s' have %zu; use format 'safetensors' "
        "(dequantized)",
        encoder->variant, encoder->layout->block, encoder->fallback == NULL ? "" : ", or of 32 as ",
        encoder->fallback == NULL ? "" : encoder->fallback, linear->name, linear->in);
}

static qd_code layer_spec(const qd_grid_spec *spec, size_t variant, const qd_linear *linear, qd_grid_spec *out,
                          qd_error *err)
{
    const qd_ggml_encoder *encoder = NULL;
    qd_code code = fitting(variant, linear, &encoder, err);
    if (code != QD_OK)
        return code;
    *out = *spec;
    if (encoder != qd_ggml_encoder_at(variant))
        qd_ggml_encoder_grid(encoder, out);
    return QD_OK;
}

static qd_code check_layer(const qd_grid_spec *spec, size_t variant, const qd_linear *linear, const char *model_dtype,
                           qd_error *err)
{
    const qd_ggml_encoder *encoder = NULL;
    (void)model_dtype;
    qd_code code = fitting(variant, linear, &encoder, err);
    if (code == QD_OK)
        code = qd_ggml_encoder_check(encoder, spec, err);
    if (code != QD_OK && encoder != NULL && encoder != qd_ggml_encoder_at(variant))
        return qd_within(err, code, "rows of %zu, which 'gguf:%s' has as 'gguf:%s'", linear->in, variants[variant],
                         encoder->variant);
    return code;
}

/* Everything that the file says besides weights, made and thrown away. */
static qd_code check_model(const qd_model *model, size_t variant, qd_error *err)
{
    const qd_ggml_encoder *encoder = qd_ggml_encoder_at(variant);
    QD_AUTO(qd_gguf_meta_fini) qd_gguf_meta meta = { 0 };
    QD_AUTO(qd_gguf_plan_fini) qd_gguf_plan plan = { 0 };
    qd_code code = qd_gguf_plan_make(model, encoder, &plan, err);
    if (code == QD_OK)
        code = qd_gguf_meta_build(model, encoder, &meta, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "format 'gguf'");
}

static uint64_t layer_bytes(const qd_grid_spec *spec, size_t variant, const qd_linear *linear, const char *model_dtype)
{
    (void)spec;
    (void)model_dtype;
    const qd_ggml_encoder *encoder = qd_ggml_encoder_for(qd_ggml_encoder_at(variant), linear->in);
    return encoder == NULL ? 0 : (uint64_t)linear->out * qd_ggml_row_bytes(encoder, linear->in);
}

/* Entries, keys and what is kept; as the file is planned. */
static qd_code other_bytes(const qd_model *model, size_t variant, uint64_t *out, qd_error *err)
{
    enum { ENTRY_BYTES = 44, ALIGNMENT = 32, HEADER_BYTES = 24 };
    const qd_ggml_encoder *encoder = qd_ggml_encoder_at(variant);
    QD_AUTO(qd_gguf_meta_fini) qd_gguf_meta meta = { 0 };
    QD_AUTO(qd_gguf_plan_fini) qd_gguf_plan plan = { 0 };
    uint64_t bytes = HEADER_BYTES;
    qd_code code = qd_gguf_plan_make(model, encoder, &plan, err);
    if (code == QD_OK)
        code = qd_gguf_meta_build(model, encoder, &meta, err);
    for (size_t i = 0; code == QD_OK && i < plan.count; i++) {
        uint64_t data = plan.pieces[i].origin == QD_GGUF_ROUNDED ? 0 : qd_gguf_entry_bytes(&plan.entries[i]);
        bytes += ENTRY_BYTES + strlen(plan.entries[i].name) + (data + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    if (code == QD_OK)
        *out = bytes + meta.bytes.length;
    return code;
}

/* ---- data ---- */
typedef struct task {
    const qd_gguf_plan *plan;
    const qd_rounded_source *source;
    qd_gguf_writer *writer;
    float unit; /* of the last rounded layer */
} task;

static qd_code write_floats(const task *t, const qd_gguf_piece *piece, qd_error *err)
{
    const qd_tensor *tensor = piece->tensor;
    QD_AUTO(qd_free_pointer) float *values = NULL, *row = NULL;
    size_t rows = (size_t)tensor->shape[0], cols = (size_t)(tensor->elements / tensor->shape[0]);
    qd_code code = qd_alloc(cols, sizeof *row, (void **)&row, err);
    if (code == QD_OK && tensor->rank != 2)
        code = qd_alloc(rows * cols, sizeof *values, (void **)&values, err);
    if (code == QD_OK && tensor->rank != 2)
        code = qd_tensor_to_floats(tensor, values, err);
    for (size_t at = 0; code == QD_OK && at < rows; at++) {
        size_t from = qd_gguf_row_source(at, piece->head_rows);
        if (tensor->rank == 2)
            code = qd_tensor_rows_to_floats(tensor, from, 1, row, err);
        if (code == QD_OK)
            code = qd_gguf_writer_add(t->writer, values == NULL ? row : values + from * cols, cols * sizeof *row, err);
    }
    return code;
}

static qd_code write_kept(const task *t, const qd_gguf_entry *entry, const qd_gguf_piece *piece, qd_error *err)
{
    qd_code code = qd_tensor_check_finite(piece->tensor, err);
    if (code != QD_OK)
        return code;
    if (strcmp(entry->type->dtype.name, "F32") == 0)
        return write_floats(t, piece, err);
    size_t rows = (size_t)entry->shape[0], bytes = (size_t)(qd_gguf_entry_bytes(entry) / rows);
    for (size_t at = 0; code == QD_OK && at < rows; at++)
        code = qd_gguf_writer_add(t->writer, piece->tensor->data + qd_gguf_row_source(at, piece->head_rows) * bytes,
                                  bytes, err);
    return code;
}

static qd_code write_rounded(task *t, const qd_gguf_entry *entry, const qd_gguf_piece *piece, qd_error *err)
{
    qd_rounded rounded;
    size_t rows = (size_t)entry->shape[0], cols = (size_t)entry->shape[1],
           bytes = qd_ggml_row_bytes(piece->encoder, cols);
    QD_AUTO(qd_free_pointer) unsigned char *blocks = NULL;
    qd_code code = qd_alloc(bytes, 1, (void **)&blocks, err);
    if (code == QD_OK)
        code = t->source->layer(t->source->ctx, piece->linear, &rounded, err);
    for (size_t at = 0; code == QD_OK && at < rows; at++) {
        size_t row = qd_gguf_row_source(at, piece->head_rows);
        code = qd_ggml_encode_row(piece->encoder, rounded.grid, row, rounded.codes + row * cols, cols, blocks, err);
        if (code == QD_OK)
            code = qd_gguf_writer_add(t->writer, blocks, bytes, err);
    }
    if (code == QD_OK)
        t->unit = rounded.grid->unit.view.rows > 0 ? qd_matf_row(rounded.grid->unit.view, 0)[0] : 1.0f;
    return code;
}

static qd_code write_divisors(const task *t, qd_error *err)
{
    qd_code code = QD_OK;
    const qd_rope *rope = &t->plan->rope;
    for (size_t i = 0; code == QD_OK && i < rope->dimensions / 2; i++) {
        float divisor = (float)(qd_rope_plain_frequency(rope, i) / qd_rope_frequency(rope, i, 0));
        code = qd_gguf_writer_add(t->writer, &divisor, sizeof divisor, err);
    }
    return code;
}

static qd_code write_data(task *t, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < t->plan->count; i++) {
        const qd_gguf_piece *piece = &t->plan->pieces[i];
        if (piece->origin == QD_GGUF_KEPT)
            code = write_kept(t, &t->plan->entries[i], piece, err);
        else if (piece->origin == QD_GGUF_ROUNDED)
            code = write_rounded(t, &t->plan->entries[i], piece, err);
        else if (piece->origin == QD_GGUF_UNIT)
            code = qd_gguf_writer_add(t->writer, &t->unit, sizeof t->unit, err);
        else
            code = write_divisors(t, err);
        if (code != QD_OK)
            return qd_within(err, code, "tensor '%s'", t->plan->entries[i].name);
    }
    return code;
}

static qd_code write(const qd_model *model, const qd_grid_spec *spec, size_t variant, const qd_rounded_source *source,
                     const char *dir, qd_error *err)
{
    char name[QD_GGUF_FILE_NAME];
    (void)spec; /* each layer brings its grid */
    const qd_ggml_encoder *encoder = qd_ggml_encoder_at(variant);
    QD_AUTO(qd_gguf_meta_fini) qd_gguf_meta meta = { 0 };
    QD_AUTO(qd_gguf_plan_fini) qd_gguf_plan plan = { 0 };
    QD_AUTO(qd_gguf_writer_fini) qd_gguf_writer writer = { .fd = -1 };
    qd_gguf_file_name(encoder, name);
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, name);
    qd_code code =
        path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_gguf_plan_make(model, encoder, &plan, err);
    if (code == QD_OK)
        code = qd_gguf_meta_build(model, encoder, &meta, err);
    if (code == QD_OK)
        code = qd_gguf_writer_init(&writer, path, &meta, plan.entries, plan.count, err);
    qd_gguf_meta_fini(&meta); /* a vocabulary is large */
    task t = { .plan = &plan, .source = source, .writer = &writer, .unit = 1.0f };
    if (code == QD_OK)
        code = write_data(&t, err);
    if (code == QD_OK)
        code = qd_gguf_writer_finish(&writer, err);
    if (code != QD_OK)
        return code;
    QD_AUTO(qd_json_fini) json_t *nothing = json_object();
    return qd_config_json_edit(qd_model_borrow_path(model), nothing, dir, err);
}

static const char *note(const qd_grid_spec *spec, size_t variant)
{
    static const char *const recent[] = { "nvfp4", "q1_0", "q2_0" };
    (void)spec;
    for (size_t i = 0; i < QD_LENGTH(recent); i++)
        if (strcmp(variants[variant], recent[i]) == 0)
            return "llama.cpp knows this type since 2026.";
    return NULL;
}

static void expected_weight(const qd_rounded *rounded, size_t variant, qd_matf w)
{
    (void)variant;
    qd_rounded_weights(rounded, w);
    qd_gguf_plain_zeros(w);
}

static const char *const loaders[] = { "llama.cpp", NULL };

const qd_format qd_format_gguf = {
    .name = "gguf",
    .summary = "one GGUF file with tokenizer: llama.cpp, Ollama, LM Studio",
    .variants = variants,
    .constraints =
        "each variant a grid of its own, chosen where the job names none: 4 to 8-bit integers in groups of 32, "
        "two-level "
        "scales in blocks of 256 (K-quants; rows that do not fit fall back as llama-quantize has it), MXFP4, NVFP4, "
        "ternary; scales are f16",
    .implied = implied,
    .loaders = loaders,
    .library = "gguf",
    .usage = "The `.gguf` file has all that llama.cpp and what is built on it need, tokenizer included:\n\n```sh\n"
             "llama-cli -m model-*.gguf -p \"Once upon a time\"\n```\n\nThe files beside it are the source's, for "
             "other readers.",
    .note = note,
    .check = check,
    .layer_spec = layer_spec,
    .check_layer = check_layer,
    .layer_bytes = layer_bytes,
    .other_bytes = other_bytes,
    .check_model = check_model,
    .leaves_out = qd_gguf_leaves_out,
    .write = write,
    .recognize = qd_gguf_recognize,
    .recognize_files = qd_gguf_recognize_files,
    .read_weight = qd_gguf_read_weight,
    .read_spec = qd_gguf_read_spec,
    .read_rounded = qd_gguf_read_rounded,
    .expected_weight = expected_weight,
};
