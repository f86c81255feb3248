/* test_foreign.c: packed folders as others write them, and as nobody should. Each is made of one of ours: a tensor exchanged, the config
 * rewritten; what must be read is computed here by the layout's definition. */
#include "folders.h"

#define LAYER "model.layers.0.mlp.down_proj"
enum { INDEX = 6, OUT = 32, IN = 64, GROUP = 32, GROUPS = IN / GROUP };

/* ---- one folder, rewritten ---- */

/* The tensor under a new shape and content, or gone (data NULL). */
static void put_tensor(const char *dir, const char *name, const char *dtype, size_t rank, size_t rows, size_t cols,
                       const void *data)
{
    qd_error err = { 0 };
    char path[FOLDER_PATH];
    qd_tensor_out tensors[80];
    qd_safetensors *file = NULL;
    size_t count = 0;
    path_in(dir, "model.safetensors", path);
    check_ok(qd_safetensors_open(path, &file, &err));
    assert_true(qd_safetensors_count(file) + 1 < QD_LENGTH(tensors));
    for (size_t i = 0; i < qd_safetensors_count(file); i++) {
        const qd_tensor *t = qd_safetensors_at(file, i);
        if (strcmp(t->name, name) == 0)
            continue;
        tensors[count] = (qd_tensor_out){ .name = t->name, .dtype = t->dtype, .rank = t->rank, .data = t->data };
        memcpy(tensors[count++].shape, t->shape, sizeof t->shape);
    }
    if (data != NULL)
        tensors[count++] = (qd_tensor_out){ name, qd_dtype_find(dtype), rank, { rows, cols }, data };
    check_ok(qd_safetensors_write(path, tensors, count, NULL, NULL, 0, &err));
    qd_safetensors_destroy(file);
}

static void drop_tensor(const char *dir, const char *name)
{
    put_tensor(dir, name, NULL, 0, 0, 0, NULL);
}

static void replace(const char *dir, const char *name, const char *old, const char *new)
{
    qd_str text = file_get(dir, name), out = { 0 };
    char *at = strstr(text.data, old);
    if (at == NULL)
        fail_msg("'%s' is not in %s", old, text.data);
    qd_str_add_bytes(&out, text.data, (size_t)(at - text.data));
    qd_str_add(&out, new);
    qd_str_add(&out, at + strlen(old));
    text_put(dir, name, out.data);
    qd_str_fini(&text);
    qd_str_fini(&out);
}

static qd_code read_layer(const char *dir, size_t index, qd_matf_buf *out, qd_error *err)
{
    qd_artifact *artifact = NULL;
    qd_code code = qd_artifact_open(dir, &artifact, err);
    if (code == QD_OK && qd_artifact_overlay(artifact) == NULL)
        code = qd_fail(err, QD_EINTERNAL, "a plain model");
    if (code == QD_OK) {
        const qd_linear *linear = qd_model_linear_at(qd_artifact_model(artifact), index);
        const qd_overlay *overlay = qd_artifact_overlay(artifact);
        code = qd_matf_buf_init(out, linear->out, linear->in, err);
        if (code == QD_OK)
            code = overlay->weight(overlay->ctx, index, linear, out->view, err);
    }
    qd_artifact_destroy(artifact);
    return code;
}

static void check_weights(const char *dir, size_t index, const float *wanted)
{
    qd_error err = { 0 };
    qd_matf_buf found = { 0 };
    check_ok(read_layer(dir, index, &found, &err));
    for (size_t i = 0; i < found.view.rows * found.view.cols; i++)
        assert_true(found.view.data[i] == wanted[i]);
    qd_matf_buf_fini(&found);
}

/* All layers, by what was decided for them. */
static void check_decided(const scene *s, const char *dir, size_t but)
{
    for (size_t i = 0; i < qd_model_linear_count(s->model); i++) {
        const qd_linear *linear = qd_model_linear_at(s->model, i);
        qd_error err = { 0 };
        qd_matf_buf wanted = { 0 };
        if (i == but)
            continue;
        check_ok(qd_matf_buf_init(&wanted, linear->out, linear->in, &err));
        qd_grid_dequantize(&s->decided.grids[i], s->decided.codes[i], wanted.view);
        check_weights(dir, i, wanted.view.data);
        qd_matf_buf_fini(&wanted);
    }
}
enum { ALL = 99 };

static scene *folder_of(char *source, const char *format, qd_grid_spec spec)
{
    return written_scene(source, (tiny){ .head_dim = OUT, .intermediate = IN, .seed = 6, .dtype = "F16" }, format,
                         spec);
}

static void close_folder(scene *s, const char *source)
{
    scene_close(s);
    remove_folder(source);
}

/* ---- compressed-tensors ---- */

/* Whole codes in a word, high bits unused. */
static void pack_padded(const uint8_t *codes, size_t count, unsigned bits, uint32_t *words)
{
    size_t each = 32 / bits;
    memset(words, 0, (count + each - 1) / each * 4);
    for (size_t i = 0; i < count; i++)
        words[i / each] |= (uint32_t)codes[i] << (i % each * bits);
}

static void pad_layer(const scene *s, size_t index, unsigned bits)
{
    const qd_linear *linear = qd_model_linear_at(s->model, index);
    const qd_grid *grid = &s->decided.grids[index];
    char name[160];
    size_t each = 32 / bits, words = (linear->in + each - 1) / each, rows = (linear->out + each - 1) / each;
    uint32_t packed[64 * 32], zeros[64 * 8], one[64];
    uint8_t column[64];
    for (size_t o = 0; o < linear->out; o++)
        pack_padded(s->decided.codes[index] + o * linear->in, linear->in, bits, packed + o * words);
    for (size_t g = 0; g < grid->groups; g++) {
        for (size_t o = 0; o < linear->out; o++)
            column[o] = (uint8_t)qd_matf_row(grid->zero.view, o)[g];
        pack_padded(column, linear->out, bits, one);
        for (size_t k = 0; k < rows; k++)
            zeros[k * grid->groups + g] = one[k];
    }
    snprintf(name, sizeof name, "%s.weight_packed", linear->name);
    put_tensor(s->dir, name, "I32", 2, linear->out, words, packed);
    snprintf(name, sizeof name, "%s.weight_zero_point", linear->name);
    put_tensor(s->dir, name, "I32", 2, rows, grid->groups, zeros);
}

static void codes_padded_as_before_0_18_are_read(void **state)
{
    (void)state;
    static const double widths[] = { 3, 5, 6, 7 };
    for (size_t b = 0; b < QD_LENGTH(widths); b++) {
        char source[FOLDER_PATH];
        scene *s = folder_of(source, "compressed-tensors", grid_of(widths[b], QD_ZERO_INTEGER, GROUP, "f16"));
        for (size_t i = 0; i < qd_model_linear_count(s->model); i++)
            pad_layer(s, i, (unsigned)widths[b]);
        check_decided(s, s->dir, ALL);
        close_folder(s, source);
    }
}

static float value_of(const scene *s, size_t o, size_t i, size_t group)
{
    const qd_grid *grid = &s->decided.grids[INDEX];
    float level = (float)qd_grid_level(grid, s->decided.codes[INDEX][o * IN + i]);
    return (level - qd_matf_row(grid->zero.view, o)[group]) * qd_matf_row(grid->scale.view, o)[group];
}

/* Of every feature its own group, as act-order leaves them. */
static void features_in_groups_of_their_own_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *format, *tensor;
        qd_zero_kind zero;
    } cases[] = { { "compressed-tensors", LAYER ".weight_g_idx", QD_ZERO_INTEGER },
                  { "gptq:v1", LAYER ".g_idx", QD_ZERO_NONE },
                  { "gptq:v2", LAYER ".g_idx", QD_ZERO_INTEGER } };
    for (size_t k = 0; k < QD_LENGTH(cases); k++) {
        char source[FOLDER_PATH];
        int32_t order[IN];
        float wanted[OUT * IN];
        qd_error err = { 0 };
        qd_grid grid = { 0 };
        uint8_t *codes = NULL;
        qd_artifact *artifact = NULL;
        scene *s = folder_of(source, cases[k].format, grid_of(4, cases[k].zero, GROUP, "f16"));
        for (size_t i = 0; i < IN; i++)
            order[i] = (int32_t)(i * 37 % IN / GROUP);
        for (size_t o = 0; o < OUT; o++)
            for (size_t i = 0; i < IN; i++)
                wanted[o * IN + i] = value_of(s, o, i, (size_t)order[i]);
        put_tensor(s->dir, cases[k].tensor, "I32", 1, IN, 0, order);
        check_weights(s->dir, INDEX, wanted);
        check_decided(s, s->dir, INDEX);
        check_ok(qd_artifact_open(s->dir, &artifact, &err));
        const qd_linear *linear = qd_model_linear_at(qd_artifact_model(artifact), INDEX);
        check_fails(s->format->read_rounded(qd_artifact_model(artifact), linear, &grid, &codes, &err), QD_EUNSUPPORTED);
        check_contains(err.text, "act-order");
        qd_artifact_destroy(artifact);
        memset(order, 0xFF, sizeof order); /* all -1: no order */
        put_tensor(s->dir, cases[k].tensor, "I32", 1, IN, 0, order);
        check_decided(s, s->dir, ALL);
        close_folder(s, source);
    }
}

static void one_scale_for_a_tensor_and_signed_zero_points_are_read(void **state)
{
    (void)state;
    char source[FOLDER_PATH];
    scene *s = folder_of(source, "compressed-tensors", grid_of(4, QD_ZERO_NONE, 0, "f16"));
    static const float half = 0.5f;
    float wanted[OUT * IN];
    for (size_t i = 0; i < QD_LENGTH(wanted); i++)
        wanted[i] = (float)(s->decided.codes[INDEX][i] - 8) * half;
    replace(s->dir, "config.json", "\"channel\"", "\"tensor\"");
    for (size_t rank = 1; rank <= 2; rank++) {
        put_tensor(s->dir, LAYER ".weight_scale", "F32", rank, 1, 1, &half);
        check_weights(s->dir, INDEX, wanted);
    }
    close_folder(s, source);
    s = folder_of(source, "compressed-tensors", grid_of(4, QD_ZERO_INTEGER, GROUP, "f16"));
    int8_t zeros[OUT * GROUPS];
    for (size_t i = 0; i < QD_LENGTH(zeros); i++)
        zeros[i] = (int8_t)(s->decided.grids[INDEX].zero.view.data[i] - 8);
    put_tensor(s->dir, LAYER ".weight_zero_point", "I8", 2, OUT, GROUPS, zeros);
    check_decided(s, s->dir, ALL);
    close_folder(s, source);
}

/* What the config ignores, or no target names, is a plain weight. */
static void layers_left_out_are_read_as_they_stand(void **state)
{
    (void)state;
    static const struct {
        const char *old, *new;
    } cases[] = {
        { "\"lm_head\"", "\"lm_head\", \"" LAYER "\"" },
        { "\"lm_head\"", "\"re:.*down_proj$\"" },
        { "\"lm_head\"", "\"re:.*\\\\.(gate|down)_proj$\"" }, /* gate is quantized all the same: see below */
        { "\"Linear\"", "\"re:model.layers.\\\\d+.self_attn.*\", \"re:.*\\\\.(?:up|gate)_proj\"" },
    };
    for (size_t k = 0; k < QD_LENGTH(cases); k++) {
        char source[FOLDER_PATH];
        uint16_t weights[OUT * IN];
        float wanted[OUT * IN];
        scene *s = folder_of(source, "compressed-tensors", grid_of(4, QD_ZERO_NONE, GROUP, "f16"));
        for (size_t i = 0; i < QD_LENGTH(weights); i++)
            weights[i] = (uint16_t)(0x3C00 + i % 700);
        qd_dtype_find("F16")->to_floats(weights, QD_LENGTH(weights), wanted);
        drop_tensor(s->dir, LAYER ".weight_packed");
        drop_tensor(s->dir, LAYER ".weight_scale");
        drop_tensor(s->dir, LAYER ".weight_shape");
        put_tensor(s->dir, LAYER ".weight", "F16", 2, OUT, IN, weights);
        qd_error err = { 0 };
        qd_matf_buf found = { 0 };
        check_fails(read_layer(s->dir, INDEX, &found, &err), QD_EFORMAT);
        check_contains(err.text, "config.json should ignore it");
        qd_matf_buf_fini(&found);
        replace(s->dir, "config.json", cases[k].old, cases[k].new);
        check_weights(s->dir, INDEX, wanted);
        if (k != 2)
            check_decided(s, s->dir, INDEX);
        else {
            check_fails(read_layer(s->dir, 4, &found, &err), QD_EFORMAT);
            check_contains(err.text, "gate_proj.weight' is missing");
            qd_matf_buf_fini(&found);
        }
        close_folder(s, source);
    }
}

/* "mixed-precision": groups of their own widths, each with its format. */
static void layers_of_different_groups_have_different_schemes(void **state)
{
    (void)state;
    char source[FOLDER_PATH], other[FOLDER_PATH];
    qd_error err = { 0 };
    scene *s = folder_of(source, "compressed-tensors", grid_of(4, QD_ZERO_NONE, GROUP, "f16"));
    scene *b = folder_of(other, "compressed-tensors:int-quantized", grid_of(8, QD_ZERO_NONE, 0, "f16"));
    qd_artifact *bytes = NULL;
    check_ok(qd_artifact_open(b->dir, &bytes, &err));
    const qd_tensor *q = qd_model_tensor(qd_artifact_model(bytes), LAYER ".weight"),
                    *scale = qd_model_tensor(qd_artifact_model(bytes), LAYER ".weight_scale");
    drop_tensor(s->dir, LAYER ".weight_packed");
    drop_tensor(s->dir, LAYER ".weight_shape");
    put_tensor(s->dir, LAYER ".weight", "I8", 2, OUT, IN, q->data);
    put_tensor(s->dir, LAYER ".weight_scale", "F16", 2, OUT, 1, scale->data);
    replace(s->dir, "config.json", "\"config_groups\": {",
            "\"config_groups\": { \"bytes\": {\"targets\": [\"re:.*down_proj\"], \"format\": \"int-quantized\", "
            "\"weights\": {"
            "\"num_bits\": 8, \"type\": \"int\", \"strategy\": \"channel\", \"symmetric\": true}},");
    replace(s->dir, "config.json", "\"pack-quantized\"", "\"mixed-precision\"");
    replace(s->dir, "config.json", "\"group_0\": {", "\"group_0\": { \"format\": \"pack-quantized\",");
    replace(s->dir, "config.json", "\"quantization_config\"", "\"compression_config\"");
    check_decided(s, s->dir, INDEX);
    qd_matf_buf wanted = { 0 };
    check_ok(qd_matf_buf_init(&wanted, OUT, IN, &err));
    qd_grid_dequantize(&b->decided.grids[INDEX], b->decided.codes[INDEX], wanted.view);
    check_weights(s->dir, INDEX, wanted.view.data);
    qd_matf_buf_fini(&wanted);
    qd_artifact_destroy(bytes);
    close_folder(s, source);
    close_folder(b, other);
}

/* E2M1 (scale / global), where the global scale is no power of two, as others choose it. */
static void nvfp4_of_others_is_read(void **state)
{
    (void)state;
    static const float magnitudes[8] = { 0, .5f, 1, 1.5f, 2, 3, 4, 6 };
    static const float global = 448.0f * 6 / 1.7f;
    static const struct {
        uint8_t byte;
        float value;
    } scales[] = { { 0x38, 1 }, { 0x7E, 448 }, { 0x01, 0x1p-9f }, { 0x08, 0x1p-6f }, { 0x3C, 1.5f }, { 0x45, 3.25f } };
    char source[FOLDER_PATH], name[160];
    qd_grid_spec spec = grid_of(4, QD_ZERO_NONE, 32, "e8m0");
    spec.alphabet = qd_alphabet_find("mxfp4");
    scene *s = folder_of(source, "compressed-tensors:mxfp4-pack-quantized", spec);
    replace(s->dir, "config.json", "\"mxfp4-pack-quantized\"", "\"nvfp4-pack-quantized\"");
    replace(s->dir, "config.json", "\"strategy\": \"group\"", "\"strategy\": \"tensor_group\"");
    replace(s->dir, "config.json", "\"group_size\": 32", "\"group_size\": 16");
    for (size_t i = 0; i < qd_model_linear_count(s->model); i++) {
        const qd_linear *linear = qd_model_linear_at(s->model, i);
        uint8_t packed[64 * 32], bytes[64 * 4];
        float wanted[64 * 64];
        for (size_t k = 0; k < linear->out * linear->in / 2; k++)
            packed[k] = (uint8_t)(k * 89 + i);
        for (size_t k = 0; k < linear->out * linear->in / 16; k++)
            bytes[k] = scales[(k + i) % QD_LENGTH(scales)].byte;
        for (size_t k = 0; k < linear->out * linear->in; k++) {
            unsigned code = packed[k / 2] >> (k % 2 * 4) & 15;
            float scale = scales[(k / 16 + i) % QD_LENGTH(scales)].value / global;
            wanted[k] = (code & 8 ? -magnitudes[code & 7] : magnitudes[code & 7]) * scale;
        }
        snprintf(name, sizeof name, "%s.weight_packed", linear->name);
        put_tensor(s->dir, name, "U8", 2, linear->out, linear->in / 2, packed);
        snprintf(name, sizeof name, "%s.weight_scale", linear->name);
        put_tensor(s->dir, name, "F8_E4M3", 2, linear->out, linear->in / 16, bytes);
        snprintf(name, sizeof name, "%s.weight_global_scale", linear->name);
        put_tensor(s->dir, name, "F32", 1, 1, 0, &global);
        check_weights(s->dir, i, wanted);
    }
    close_folder(s, source);
}

/* ---- GPTQ and AWQ ---- */

static void drop_quantization(const char *dir)
{
    qd_error err = { 0 };
    char path[FOLDER_PATH];
    json_t *config = NULL;
    path_in(dir, "config.json", path);
    check_ok(qd_json_read_object(path, 1 << 20, 32, &config, &err));
    assert_int_equal(json_object_del(config, "quantization_config"), 0);
    char *text = json_dumps(config, 0);
    text_put(dir, "config.json", text);
    free(text);
    json_decref(config);
}

/* As AutoGPTQ and AutoAWQ left them: the numbers in a file of their own, no method, no order. */
static void folders_that_say_it_in_a_file_of_its_own_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *format, *file, *text;
    } cases[] = {
        { "gptq", "quantize_config.json", "{\"bits\": 4, \"group_size\": 32, \"desc_act\": false, \"sym\": true}" },
        { "gptq:v2", "quantize_config.json",
          "{\"bits\":4,\"group_size\":32,\"sym\":false,\"checkpoint_format\":\"gptq_v2\"}" },
        { "awq", "quant_config.json",
          "{\"zero_point\": true, \"q_group_size\": 32, \"w_bit\": 4, \"version\": \"GEMM\"}" },
    };
    for (size_t k = 0; k < QD_LENGTH(cases); k++) {
        char source[FOLDER_PATH], path[FOLDER_PATH];
        scene *s = folder_of(source, cases[k].format, grid_of(4, QD_ZERO_NONE, GROUP, "f16"));
        drop_quantization(s->dir);
        path_in(s->dir, "quantize_config.json", path);
        unlink(path);
        text_put(s->dir, cases[k].file, cases[k].text);
        if (strncmp(cases[k].format, "gptq", 4) == 0)
            drop_tensor(s->dir, LAYER ".g_idx");
        check_decided(s, s->dir, ALL);
        close_folder(s, source);
    }
}

static void layers_without_qweight_are_read_as_they_stand(void **state)
{
    (void)state;
    static const char *const formats[] = { "gptq", "awq" };
    static const char *const parts[] = { "qweight", "qzeros", "scales", "g_idx" };
    for (size_t k = 0; k < QD_LENGTH(formats); k++) {
        char source[FOLDER_PATH], name[160];
        float weights[OUT * IN];
        scene *s = folder_of(source, formats[k], grid_of(4, QD_ZERO_NONE, GROUP, "f16"));
        for (size_t i = 0; i < QD_LENGTH(weights); i++)
            weights[i] = (float)i / 7;
        for (size_t i = 0; i < QD_LENGTH(parts); i++) {
            snprintf(name, sizeof name, LAYER ".%s", parts[i]);
            drop_tensor(s->dir, name);
        }
        put_tensor(s->dir, LAYER ".weight", "F32", 2, OUT, IN, weights);
        check_weights(s->dir, INDEX, weights);
        check_decided(s, s->dir, INDEX);
        close_folder(s, source);
    }
}

/* v1 with zero points of its own, by the stored words: code z - 1 on disk. */
static void asymmetric_v1_is_read_with_one_added(void **state)
{
    (void)state;
    char source[FOLDER_PATH];
    uint32_t words[GROUPS * OUT / 8];
    float wanted[OUT * IN];
    scene *s = folder_of(source, "gptq", grid_of(4, QD_ZERO_NONE, GROUP, "f16"));
    const qd_grid *grid = &s->decided.grids[INDEX];
    memset(words, 0, sizeof words);
    for (size_t g = 0; g < GROUPS; g++)
        for (size_t o = 0; o < OUT; o++)
            words[g * OUT / 8 + o / 8] |= (uint32_t)((3 * o + g) % 15) << (4 * (o % 8));
    for (size_t o = 0; o < OUT; o++)
        for (size_t i = 0; i < IN; i++) {
            int u = s->decided.codes[INDEX][o * IN + i], zero = (int)((3 * o + i / GROUP) % 15) + 1;
            wanted[o * IN + i] = (float)(u - zero) * qd_matf_row(grid->scale.view, o)[i / GROUP];
        }
    put_tensor(s->dir, LAYER ".qzeros", "I32", 2, GROUPS, OUT / 8, words);
    check_weights(s->dir, INDEX, wanted); /* "sym": true notwithstanding: the zero points tell */
    close_folder(s, source);
}

/* ---- what is not sound ---- */

typedef struct fault {
    const char *part, *dtype; /* dtype NULL = the tensor is gone */
    size_t rank, rows, cols;
    const void *data;
    const char *named;
    qd_code code;
} fault;

static const unsigned char zeros[1 << 14];

static void check_faults(const char *format, qd_grid_spec spec, const fault *faults, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        qd_error err = { 0 };
        char source[FOLDER_PATH], name[160];
        qd_matf_buf found = { 0 };
        const fault *f = &faults[i];
        scene *s = folder_of(source, format, spec);
        snprintf(name, sizeof name, LAYER ".%s", f->part);
        put_tensor(s->dir, name, f->dtype, f->rank, f->rows, f->cols,
                   f->dtype == NULL  ? NULL
                   : f->data == NULL ? zeros
                                     : f->data);
        check_fails(read_layer(s->dir, INDEX, &found, &err), f->code);
        check_contains(err.text, f->named);
        check_contains(err.text, LAYER);
        qd_matf_buf_fini(&found);
        close_folder(s, source);
    }
}

#define FAULTS(format, spec, ...) \
    do { \
        const fault faults[] = { __VA_ARGS__ }; \
        check_faults(format, spec, faults, QD_LENGTH(faults)); \
    } while (0)

static int32_t order_with(int32_t value, int32_t *out)
{
    for (size_t i = 0; i < IN; i++)
        out[i] = (int32_t)(i / GROUP);
    out[5] = value;
    return value;
}

static void faults_of_compressed_tensors_are_named_by_tensor(void **state)
{
    (void)state;
    static int32_t beyond[IN], negative[IN];
    static uint8_t nan_exponents[OUT * IN / 32];
    static const float nan_scale[OUT * GROUPS] = { [3] = NAN };
    static int8_t wide[OUT * GROUPS];
    static const int64_t other_shape[] = { OUT, IN + 1 }, negative_shape[] = { -1, IN };
    order_with(GROUPS, beyond);
    order_with(-1, negative);
    nan_exponents[7] = 255;
    wide[9] = 8;
    FAULTS("compressed-tensors", grid_of(4, QD_ZERO_INTEGER, GROUP, "f16"),
           { "weight_packed", NULL, 0, 0, 0, NULL, "its tensors have 176 bytes", QD_EFORMAT },
           { "weight_packed", "I32", 2, OUT, IN / 8 - 1, NULL, "[32, 7]; by config.json it is [32, 8]", QD_EFORMAT },
           { "weight_packed", "I32", 1, OUT * IN / 8, 0, NULL, "[256]", QD_EFORMAT },
           { "weight_packed", "F32", 2, OUT, IN / 8, NULL, "dtype F32 is not I32", QD_EFORMAT },
           { "weight_scale", NULL, 0, 0, 0, NULL, "weight_scale' is missing", QD_EFORMAT },
           { "weight_scale", "F16", 2, OUT, 1, NULL, "[32, 1]", QD_EFORMAT },
           { "weight_scale", "I16", 2, OUT, GROUPS, NULL, "dtype I16", QD_EFORMAT },
           { "weight_scale", "F32", 2, OUT, GROUPS, nan_scale, "weight_scale", QD_ENUMERIC },
           { "weight_zero_point", NULL, 0, 0, 0, NULL, "weight_zero_point' is missing", QD_EFORMAT },
           { "weight_zero_point", "I32", 2, OUT, GROUPS, NULL, "weight_zero_point", QD_EFORMAT },
           { "weight_zero_point", "I8", 2, OUT, GROUPS, wide, "zero point 8 is not a code of 4 bits", QD_EFORMAT },
           { "weight_shape", NULL, 0, 0, 0, NULL, "I64 [2]", QD_EFORMAT },
           { "weight_shape", "I64", 1, 2, 0, other_shape, "32 x 65", QD_EFORMAT },
           { "weight_shape", "I64", 1, 2, 0, negative_shape, "-1 x 64", QD_EFORMAT },
           { "weight_g_idx", "I32", 1, IN, 0, beyond, "feature 5 is in group 2; there are 0..1", QD_EFORMAT },
           { "weight_g_idx", "I32", 1, IN, 0, negative, "feature 5 is in group -1", QD_EFORMAT },
           { "weight_g_idx", "I32", 1, IN - 1, 0, beyond, "[63]", QD_EFORMAT },
           { "weight", "F32", 2, OUT, IN, NULL, "stands beside its packed form", QD_EFORMAT });
    FAULTS("compressed-tensors:int-quantized", grid_of(8, QD_ZERO_NONE, 0, "f16"),
           { "weight", NULL, 0, 0, 0, NULL, "its tensors have 64 bytes", QD_EFORMAT },
           { "weight", "I8", 2, IN, OUT, NULL, "[64, 32]", QD_EFORMAT },
           { "weight", "F32", 2, OUT, IN, NULL, "beside its packed form", QD_EFORMAT },
           { "weight_zero_point", "I8", 2, OUT, 1, NULL, "the config says symmetric", QD_EFORMAT });
    qd_grid_spec mxfp4 = grid_of(4, QD_ZERO_NONE, 32, "e8m0");
    mxfp4.alphabet = qd_alphabet_find("mxfp4");
    FAULTS("compressed-tensors:mxfp4-pack-quantized", mxfp4,
           { "weight_packed", "I8", 2, OUT, IN / 2, NULL, "dtype I8 is not U8", QD_EFORMAT },
           { "weight_packed", "U8", 2, OUT, IN, NULL, "[32, 64]", QD_EFORMAT },
           { "weight_scale", "U8", 2, OUT, IN / 32, nan_exponents, "element 7 is NaN", QD_ENUMERIC },
           { "weight_scale", "F16", 2, OUT, IN / 32, NULL, "dtype F16 is not U8", QD_EFORMAT });
}

static void faults_of_gptq_and_awq_are_named_by_tensor(void **state)
{
    (void)state;
    static int32_t beyond[IN];
    static uint32_t wrapped[GROUPS * OUT / 8];
    order_with(1 << 30, beyond);
    wrapped[1] = 0xF0; /* row 9 of group 0 stores 15: 16 in v1 */
    FAULTS("gptq", grid_of(4, QD_ZERO_NONE, GROUP, "f16"),
           { "qweight", NULL, 0, 0, 0, NULL, "qweight' is missing", QD_EFORMAT },
           { "qweight", "I32", 2, OUT, IN / 8, NULL, "[32, 8]; by config.json it is [8, 32]", QD_EFORMAT },
           { "qweight", "F32", 2, IN / 8, OUT, NULL, "dtype F32", QD_EFORMAT },
           { "qzeros", NULL, 0, 0, 0, NULL, "qzeros' is missing", QD_EFORMAT },
           { "qzeros", "I32", 2, GROUPS, OUT / 8, wrapped, "row 9, group 0 is 16, beyond 0..15", QD_EFORMAT },
           { "qzeros", "I32", 2, 1, OUT / 8, NULL, "[1, 4]", QD_EFORMAT },
           { "scales", "F16", 2, OUT, GROUPS, NULL, "[32, 2]", QD_EFORMAT },
           { "scales", NULL, 0, 0, 0, NULL, "scales' is missing", QD_EFORMAT },
           { "g_idx", "I32", 1, IN, 0, beyond, "feature 5 is in group 1073741824", QD_EFORMAT },
           { "g_idx", "I64", 1, IN, 0, NULL, "dtype I64 is not I32", QD_EFORMAT },
           { "weight", "F32", 2, OUT, IN, NULL, "beside its packed form", QD_EFORMAT });
    FAULTS("awq", grid_of(4, QD_ZERO_INTEGER, GROUP, "f16"),
           { "qweight", "I32", 2, IN / 8, OUT, NULL, "[8, 32]; by config.json it is [64, 4]", QD_EFORMAT },
           { "qzeros", "I32", 2, GROUPS, OUT, NULL, "[2, 32]", QD_EFORMAT });
}

static void configs_that_cannot_be_read_are_refused_naming_the_member(void **state)
{
    (void)state;
    static const struct {
        const char *format, *old, *new, *named;
        qd_code code;
    } cases[] = {
        { "gptq", "\"bits\": 4", "\"bits\": 5", "bits: 5", QD_EUNSUPPORTED },
        { "gptq", "\"bits\": 4", "\"bits\": \"4\"", "bits", QD_EFORMAT },
        { "gptq", "\"group_size\": 32", "\"group_size\": -2", "group_size", QD_EFORMAT },
        { "gptq", "\"group_size\": 32", "\"group_size\": 16", "qzeros", QD_EFORMAT },
        { "gptq", "\"sym\": true", "\"sym\": 1", "sym", QD_EFORMAT },
        { "gptq", "\"gptq\",\n    \"pack", "\"marlin\",\n    \"pack", "checkpoint_format: 'marlin'", QD_EUNSUPPORTED },
        { "gptq", "\"sym\"", "\"dynamic\": {\"+:.*down.*\": {\"bits\": 8}}, \"sym\"", "dynamic: '+:", QD_EUNSUPPORTED },
        { "awq", "\"bits\": 4", "\"bits\": 8", "bits: 8", QD_EUNSUPPORTED },
        { "awq", "\"gemm\"", "\"gemv\"", "version: 'gemv'", QD_EUNSUPPORTED },
        { "awq", "\"group_size\": 32", "\"group_size\": 0", "qzeros", QD_EFORMAT },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        qd_error err = { 0 };
        char source[FOLDER_PATH];
        qd_matf_buf found = { 0 };
        scene *s = folder_of(source, cases[i].format, grid_of(4, QD_ZERO_NONE, GROUP, "f16"));
        replace(s->dir, "config.json", cases[i].old, cases[i].new);
        check_fails(read_layer(s->dir, INDEX, &found, &err), cases[i].code);
        check_contains(err.text, cases[i].named);
        qd_matf_buf_fini(&found);
        close_folder(s, source);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_padded_as_before_0_18_are_read),
        cmocka_unit_test(features_in_groups_of_their_own_are_read),
        cmocka_unit_test(one_scale_for_a_tensor_and_signed_zero_points_are_read),
        cmocka_unit_test(layers_left_out_are_read_as_they_stand),
        cmocka_unit_test(layers_of_different_groups_have_different_schemes),
        cmocka_unit_test(nvfp4_of_others_is_read),
        cmocka_unit_test(folders_that_say_it_in_a_file_of_its_own_are_read),
        cmocka_unit_test(layers_without_qweight_are_read_as_they_stand),
        cmocka_unit_test(asymmetric_v1_is_read_with_one_added),
        cmocka_unit_test(faults_of_compressed_tensors_are_named_by_tensor),
        cmocka_unit_test(faults_of_gptq_and_awq_are_named_by_tensor),
        cmocka_unit_test(configs_that_cannot_be_read_are_refused_naming_the_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
