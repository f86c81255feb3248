/* test_containers.c: every variant of the packed formats, from the decision to the bytes and back: layouts by their definition, bit by bit,
 * and codes and scales exactly as decided. Folders as others write them are in test_foreign.c. */
#include "folders.h"

#include "quant/pack.h"

static const char novella[] = "tests/models/novella-1m";

/* ---- layouts, by their definition ---- */

/* Bit k of a stream of 32-bit words that lies `stride` words apart in a tensor. */
static unsigned bit_at(const qd_tensor *t, size_t first, size_t stride, size_t k)
{
    uint32_t word;
    memcpy(&word, t->data + 4 * (first + k / 32 * stride), sizeof word);
    return word >> (k % 32) & 1;
}

static unsigned code_at(const qd_tensor *t, size_t first, size_t stride, size_t i, unsigned bits)
{
    unsigned code = 0;
    for (unsigned b = 0; b < bits; b++)
        code |= bit_at(t, first, stride, i * bits + b) << b;
    return code;
}

static const qd_tensor *part(const qd_artifact *artifact, size_t index, const char *name)
{
    char full[160];
    const qd_model *model = qd_artifact_model(artifact);
    snprintf(full, sizeof full, "%s.%s", qd_model_linear_at(model, index)->name, name);
    return qd_model_tensor(model, full);
}

static void check_shape(const qd_tensor *t, const char *dtype, size_t rows, size_t cols)
{
    assert_non_null(t);
    assert_string_equal(t->dtype->name, dtype);
    assert_int_equal(t->rank, cols == 0 ? 1 : 2);
    assert_int_equal(t->shape[0], rows);
    if (cols != 0)
        assert_int_equal(t->shape[1], cols);
}

/* What a client multiplies by the scale: u - zero. */
static int steps_of(const scene *s, size_t index, size_t o, size_t i)
{
    const qd_grid *grid = &s->decided.grids[index];
    size_t in = qd_model_linear_at(s->model, index)->in;
    return grid->low + s->decided.codes[index][o * in + i] - (int)qd_matf_row(grid->zero.view, o)[i / grid->group_size];
}

static float f16_at(const qd_tensor *t, size_t index)
{
    float out;
    qd_dtype_find("F16")->to_floats(t->data + 2 * index, 1, &out);
    return out;
}

/* formats.md §5: w[n, k] = scales[g_idx[k], n] (u - z); qweight along in, qzeros along out, v1 has z - 1. */
static void compare_gptq(const scene *s, const qd_artifact *artifact, size_t index, unsigned bits)
{
    const qd_linear *l = qd_model_linear_at(s->model, index);
    const qd_grid *grid = &s->decided.grids[index];
    const qd_tensor *q = part(artifact, index, "qweight"), *z = part(artifact, index, "qzeros"),
                    *scales = part(artifact, index, "scales"), *order = part(artifact, index, "g_idx");
    check_shape(q, "I32", l->in * bits / 32, l->out);
    check_shape(z, "I32", grid->groups, l->out * bits / 32);
    check_shape(scales, "F16", grid->groups, l->out);
    check_shape(order, "I32", l->in, 0);
    for (size_t n = 0; n < l->out; n++)
        for (size_t k = 0; k < l->in; k++) {
            int32_t g;
            memcpy(&g, order->data + 4 * k, 4);
            assert_int_equal(g, k / grid->group_size);
            int u = (int)code_at(q, n, l->out, k, bits);
            int zero = (int)code_at(z, (size_t)g * (l->out * bits / 32), 1, n, bits) + (s->variant == 0);
            assert_int_equal(u - zero, steps_of(s, index, n, k));
            assert_true(f16_at(scales, (size_t)g * l->out + n) == qd_matf_row(grid->scale.view, n)[g]);
        }
}

/* Nibble k of word j is column 8 j + [0, 2, 4, 6, 1, 3, 5, 7][k]. */
static int awq_at(const qd_tensor *t, size_t row, size_t column)
{
    static const unsigned nibble_of[8] = { 0, 4, 1, 5, 2, 6, 3, 7 };
    uint32_t word;
    memcpy(&word, t->data + 4 * (row * t->shape[1] + column / 8), sizeof word);
    return word >> (4 * nibble_of[column % 8]) & 15;
}

static void compare_awq(const scene *s, const qd_artifact *artifact, size_t index)
{
    const qd_linear *l = qd_model_linear_at(s->model, index);
    const qd_grid *grid = &s->decided.grids[index];
    const qd_tensor *q = part(artifact, index, "qweight"), *z = part(artifact, index, "qzeros"),
                    *scales = part(artifact, index, "scales");
    check_shape(q, "I32", l->in, l->out / 8);
    check_shape(z, "I32", grid->groups, l->out / 8);
    check_shape(scales, "F16", grid->groups, l->out);
    assert_null(part(artifact, index, "g_idx"));
    for (size_t n = 0; n < l->out; n++)
        for (size_t k = 0; k < l->in; k++) {
            size_t g = k / grid->group_size;
            assert_int_equal(awq_at(q, k, n) - awq_at(z, g, n), steps_of(s, index, n, k));
            assert_true(f16_at(scales, g * l->out + n) == qd_matf_row(grid->scale.view, n)[g]);
        }
}

static void compare_bytes(const scene *s, const qd_artifact *artifact, size_t index)
{
    const qd_linear *l = qd_model_linear_at(s->model, index);
    const qd_tensor *q = part(artifact, index, "weight"), *scale = part(artifact, index, "weight_scale");
    check_shape(q, "I8", l->out, l->in);
    check_shape(scale, "BF16", l->out, 1);
    assert_null(part(artifact, index, "weight_shape"));
    for (size_t o = 0; o < l->out; o++)
        for (size_t i = 0; i < l->in; i++)
            assert_int_equal(((const int8_t *)q->data)[o * l->in + i], steps_of(s, index, o, i));
}

/* Element 2 i in the low nibble; code = sign << 3 | index into 0, .5, 1, 1.5, 2, 3, 4, 6; scale 2^(e - 127). */
static void compare_mxfp4(const scene *s, const qd_artifact *artifact, size_t index)
{
    static const double magnitudes[8] = { 0, .5, 1, 1.5, 2, 3, 4, 6 };
    const qd_linear *l = qd_model_linear_at(s->model, index);
    const qd_grid *grid = &s->decided.grids[index];
    const qd_tensor *q = part(artifact, index, "weight_packed"), *scale = part(artifact, index, "weight_scale");
    check_shape(q, "U8", l->out, l->in / 2);
    check_shape(scale, "U8", l->out, l->in / 32);
    for (size_t o = 0; o < l->out; o++)
        for (size_t i = 0; i < l->in; i++) {
            unsigned code = q->data[(o * l->in + i) / 2] >> (i % 2 * 4) & 15;
            double level = code & 8 ? -magnitudes[code & 7] : magnitudes[code & 7];
            assert_true(level == qd_grid_level(grid, s->decided.codes[index][o * l->in + i]));
            double wanted = (double)qd_matf_row(grid->scale.view, o)[i / 32];
            assert_true(ldexp(1, scale->data[(o * l->in + i) / 32] - 127) == wanted);
        }
}

/* Sign, four bits of exponent with bias 7, three of mantissa. */
static double e4m3(unsigned byte)
{
    int exponent = byte >> 3 & 15, mantissa = byte & 7;
    return exponent == 0 ? ldexp(mantissa, -9) : ldexp(1 + mantissa / 8.0, exponent - 7);
}

/* The true scale is weight_scale / weight_global_scale, which is a power of two here. */
static void compare_nvfp4(const scene *s, const qd_artifact *artifact, size_t index)
{
    static const double magnitudes[8] = { 0, .5, 1, 1.5, 2, 3, 4, 6 };
    const qd_linear *l = qd_model_linear_at(s->model, index);
    const qd_grid *grid = &s->decided.grids[index];
    const qd_tensor *q = part(artifact, index, "weight_packed"), *scale = part(artifact, index, "weight_scale"),
                    *whole = part(artifact, index, "weight_global_scale");
    float global;
    int exponent;
    check_shape(q, "U8", l->out, l->in / 2);
    check_shape(scale, "F8_E4M3", l->out, l->in / 16);
    check_shape(whole, "F32", 1, 0);
    memcpy(&global, whole->data, sizeof global);
    assert_true(frexpf(global, &exponent) == 0.5f);
    for (size_t o = 0; o < l->out; o++)
        for (size_t i = 0; i < l->in; i++) {
            unsigned code = q->data[(o * l->in + i) / 2] >> (i % 2 * 4) & 15;
            double level = code & 8 ? -magnitudes[code & 7] : magnitudes[code & 7];
            double stored = e4m3(scale->data[(o * l->in + i) / 16]) / (double)global;
            assert_true(level == qd_grid_level(grid, s->decided.codes[index][o * l->in + i]));
            assert_true(stored == (double)qd_matf_row(grid->scale.view, o)[i / 16]);
        }
}

typedef struct container {
    const char *format, *alphabet;
    double bits;
    qd_zero_kind zero;
    size_t group_size;
    const char *scale;
} container;

static const container containers[] = {
    { "compressed-tensors", "int", 1.58, QD_ZERO_NONE, 32, "bf16" },
    { "compressed-tensors", "int", 2, QD_ZERO_NONE, 32, "bf16" },
    { "compressed-tensors", "int", 3, QD_ZERO_NONE, 128, "bf16" },
    { "compressed-tensors", "int-asymmetric", 3, QD_ZERO_INTEGER, 32, "bf16" },
    { "compressed-tensors", "int", 4, QD_ZERO_NONE, 128, "bf16" },
    { "compressed-tensors", "int", 5, QD_ZERO_NONE, 0, "bf16" },
    { "compressed-tensors", "int-asymmetric", 6, QD_ZERO_INTEGER, 64, "bf16" },
    { "compressed-tensors", "int", 7, QD_ZERO_NONE, 32, "bf16" },
    { "compressed-tensors", "int-asymmetric", 7, QD_ZERO_INTEGER, 0, "bf16" },
    { "compressed-tensors", "int-asymmetric", 8, QD_ZERO_INTEGER, 128, "bf16" },
    { "compressed-tensors:int-quantized", "int", 8, QD_ZERO_NONE, 0, "bf16" },
    { "compressed-tensors:mxfp4-pack-quantized", "mxfp4", 4, QD_ZERO_NONE, 32, "e8m0" },
    { "compressed-tensors:nvfp4-pack-quantized", "nvfp4", 4, QD_ZERO_NONE, 16, "e4m3" },
    { "gptq:v1", "int", 1.58, QD_ZERO_NONE, 32, "f16" },
    { "gptq:v1", "int", 2, QD_ZERO_NONE, 32, "f16" },
    { "gptq:v1", "int", 3, QD_ZERO_NONE, 0, "f16" },
    { "gptq:v1", "int", 4, QD_ZERO_NONE, 128, "half" },
    { "gptq:v1", "int", 8, QD_ZERO_NONE, 64, "f16" },
    { "gptq:v2", "int-asymmetric", 2, QD_ZERO_INTEGER, 32, "f16" },
    { "gptq:v2", "int-asymmetric", 3, QD_ZERO_INTEGER, 32, "f16" },
    { "gptq:v2", "int", 4, QD_ZERO_NONE, 32, "f16" },
    { "gptq:v2", "int-asymmetric", 4, QD_ZERO_INTEGER, 128, "f16" },
    { "gptq:v2", "int-asymmetric", 8, QD_ZERO_INTEGER, 0, "f16" },
    { "awq", "int-asymmetric", 4, QD_ZERO_INTEGER, 32, "f16" },
    { "awq", "int-asymmetric", 4, QD_ZERO_INTEGER, 128, "f16" },
    { "awq", "int", 4, QD_ZERO_NONE, 64, "half" },
};

static qd_grid_spec spec_of(const container *c)
{
    qd_grid_spec spec = grid_of(c->bits, c->zero, c->group_size, c->scale);
    spec.alphabet = qd_alphabet_find(c->alphabet);
    return spec;
}

static void compare_layout(const container *c, const scene *s, const qd_artifact *artifact, size_t index)
{
    if (strncmp(c->format, "gptq", 4) == 0)
        compare_gptq(s, artifact, index, qd_grid_code_bits(&s->spec));
    else if (strcmp(c->format, "awq") == 0)
        compare_awq(s, artifact, index);
    else if (strstr(c->format, "int-quantized") != NULL)
        compare_bytes(s, artifact, index);
    else if (strstr(c->format, "mxfp4") != NULL)
        compare_mxfp4(s, artifact, index);
    else if (strstr(c->format, "nvfp4") != NULL)
        compare_nvfp4(s, artifact, index);
}

static scene *open_container(const container *c, const char *source, qd_artifact **out)
{
    qd_error err = { 0 };
    scene *s = scene_open(source, c->format, spec_of(c));
    check_ok(scene_write(s, &err));
    check_ok(scene_check(s, &err));
    check_ok(qd_artifact_open(s->dir, out, &err));
    assert_ptr_equal(qd_artifact_format(*out), s->format);
    assert_int_equal(qd_artifact_variant(*out), s->variant);
    return s;
}

static void every_byte_of_every_container_is_where_its_layout_says(void **state)
{
    (void)state;
    char source[FOLDER_PATH];
    folder_make(source);
    tiny_write(source, (tiny){ .head_dim = 128, .intermediate = 256, .seed = 3, .dtype = "BF16" });
    for (size_t k = 0; k < QD_LENGTH(containers); k++) {
        qd_artifact *artifact = NULL;
        scene *s = open_container(&containers[k], source, &artifact);
        for (size_t i = 0; i < qd_model_linear_count(s->model); i++)
            compare_layout(&containers[k], s, artifact, i);
        qd_artifact_destroy(artifact);
        scene_close(s);
    }
    remove_folder(source);
}

/* Codes as decided, in the container's own counting: steps from zero, and the scales they are multiplied by. */
static void compare_rounded(const scene *s, const qd_artifact *artifact, size_t index)
{
    qd_error err = { 0 };
    qd_grid grid = { 0 };
    uint8_t *codes = NULL;
    const qd_linear *l = qd_model_linear_at(qd_artifact_model(artifact), index);
    check_ok(s->format->read_rounded(qd_artifact_model(artifact), l, &grid, &codes, &err));
    const qd_grid *wanted = &s->decided.grids[index];
    assert_int_equal(grid.groups, wanted->groups);
    assert_int_equal(grid.group_size, wanted->group_size);
    assert_int_equal(grid.levels.count, wanted->levels.count);
    assert_memory_equal(grid.scale.view.data, wanted->scale.view.data, l->out * grid.groups * sizeof(float));
    for (size_t o = 0; o < l->out; o++)
        for (size_t i = 0; i < l->in; i++) {
            size_t at = o * l->in + i, g = i / grid.group_size;
            double zero = (double)qd_matf_row(grid.zero.view, o)[g], was = (double)qd_matf_row(wanted->zero.view, o)[g];
            assert_true(qd_grid_level(&grid, codes[at]) - zero ==
                        qd_grid_level(wanted, s->decided.codes[index][at]) - was);
        }
    qd_grid_fini(&grid);
    free(codes);
}

static void novella_in_every_container_gives_back_its_codes_and_scales(void **state)
{
    (void)state;
    char source[FOLDER_PATH];
    SOURCE_PATH(source, novella);
    for (size_t k = 0; k < QD_LENGTH(containers); k++) {
        qd_error err = { 0 };
        qd_artifact *artifact = NULL;
        qd_grid_spec spec;
        scene *s = open_container(&containers[k], source, &artifact);
        for (size_t i = 0; i < qd_model_linear_count(s->model); i++)
            compare_rounded(s, artifact, i);
        check_ok(s->format->read_spec(qd_artifact_model(artifact), &spec, &err));
        assert_true(spec.bits == ceil(containers[k].bits) && spec.group_size == containers[k].group_size);
        check_ok(s->format->check(&spec, s->variant, &err));
        qd_artifact_destroy(artifact);
        scene_close(s);
    }
}

/* ---- identities and golden words ---- */

/* For the same codes GPTQ's words are those of compressed-tensors, transposed. */
static void qweight_is_the_transpose_of_weight_packed(void **state)
{
    (void)state;
    static const double widths[] = { 2, 3, 4, 8 };
    char source[FOLDER_PATH];
    folder_make(source);
    tiny_write(source, (tiny){ .head_dim = 64, .intermediate = 96, .seed = 4, .dtype = "F16" });
    for (size_t b = 0; b < QD_LENGTH(widths); b++) {
        qd_artifact *packed = NULL, *gptq = NULL;
        const container first = { "compressed-tensors", "int", widths[b], QD_ZERO_NONE, 32, "f16" };
        const container second = { "gptq", "int", widths[b], QD_ZERO_NONE, 32, "f16" };
        scene *a = open_container(&first, source, &packed), *c = open_container(&second, source, &gptq);
        for (size_t i = 0; i < qd_model_linear_count(a->model); i++) {
            const qd_tensor *x = part(packed, i, "weight_packed"), *y = part(gptq, i, "qweight");
            assert_int_equal(x->shape[0], y->shape[1]);
            assert_int_equal(x->shape[1], y->shape[0]);
            for (size_t o = 0; o < x->shape[0]; o++)
                for (size_t k = 0; k < x->shape[1]; k++)
                    assert_memory_equal(x->data + 4 * (o * x->shape[1] + k), y->data + 4 * (k * y->shape[1] + o), 4);
        }
        qd_artifact_destroy(packed);
        qd_artifact_destroy(gptq);
        scene_close(a);
        scene_close(c);
    }
    remove_folder(source);
}

/* Symmetric v1 words are known: 2^(b-1) - 1 in every place. */
static void symmetric_v1_zeros_are_the_words_everybody_writes(void **state)
{
    (void)state;
    static const struct {
        double bits;
        uint32_t word;
    } cases[] = { { 2, 0x55555555 }, { 4, 0x77777777 }, { 8, 0x7F7F7F7F } };
    char source[FOLDER_PATH];
    folder_make(source);
    tiny_write(source, (tiny){ .head_dim = 32, .intermediate = 32, .seed = 4 });
    for (size_t k = 0; k < QD_LENGTH(cases); k++) {
        qd_artifact *artifact = NULL;
        const container c = { "gptq", "int", cases[k].bits, QD_ZERO_NONE, 32, "f16" };
        scene *s = open_container(&c, source, &artifact);
        const qd_tensor *t = part(artifact, 0, "qzeros");
        for (size_t i = 0; i < t->elements; i++)
            assert_memory_equal(t->data + 4 * i, &cases[k].word, 4);
        qd_artifact_destroy(artifact);
        scene_close(s);
    }
    remove_folder(source);
}

static void three_bit_codes_are_a_stream_across_words(void **state)
{
    (void)state;
    static const uint32_t golden[3] = { 0x88FAC688, 0xC688FAC6, 0xFAC688FA };
    uint32_t words[3];
    uint8_t codes[32], back[32];
    for (size_t i = 0; i < 32; i++)
        codes[i] = (uint8_t)(i % 8);
    qd_pack_row(codes, 32, 3, words);
    assert_memory_equal(words, golden, sizeof golden);
    qd_unpack_row(words, 32, 3, back);
    assert_memory_equal(back, codes, sizeof codes);
}

/* ---- config.json ---- */

static json_t *config_of(const char *dir, const char *name)
{
    qd_error err = { 0 };
    json_t *config = NULL;
    char path[FOLDER_PATH];
    path_in(dir, name, path);
    check_ok(qd_json_read_object(path, 1 << 20, 32, &config, &err));
    return config;
}

static void configs_are_as_loaders_want_them(void **state)
{
    (void)state;
    static const struct {
        container made;
        const char *wanted;
    } cases[] = {
        { { "compressed-tensors:int-quantized", "int", 8, QD_ZERO_NONE, 0, "f16" },
          "{\"format\":\"int-quantized\",\"config_groups\":{\"group_0\":{\"targets\":[\"Linear\"],\"input_"
          "activations\":{"
          "\"num_bits\":8,\"type\":\"int\",\"symmetric\":true,\"strategy\":\"token\",\"dynamic\":true},"
          "\"output_activations\":null,\"weights\":{\"num_bits\":8,\"type\":\"int\",\"symmetric\":true,\"strategy\":"
          "\"channel\",\"group_size\":null,\"dynamic\":false,\"actorder\":null,\"block_structure\":null,\"observer\":"
          "\"minmax\",\"observer_kwargs\":{}}}}}" },
        { { "compressed-tensors:mxfp4-pack-quantized", "mxfp4", 4, QD_ZERO_NONE, 32, "e8m0" },
          "{\"format\":\"mxfp4-pack-quantized\",\"config_groups\":{\"group_0\":{\"targets\":[\"Linear\"],"
          "\"input_activations\":null,\"output_activations\":null,\"weights\":{\"num_bits\":4,\"type\":\"float\","
          "\"symmetric\":true,\"strategy\":\"group\",\"group_size\":32,\"dynamic\":false,\"actorder\":null,"
          "\"block_structure\":null,\"observer\":\"minmax\",\"observer_kwargs\":{},\"scale_dtype\":\"torch.uint8\","
          "\"zp_dtype\":\"torch.uint8\"}}}}" },
        { { "gptq", "int", 4, QD_ZERO_NONE, 0, "f16" },
          "{\"quant_method\":\"gptq\",\"checkpoint_format\":\"gptq\",\"bits\":4,\"group_size\":-1,\"desc_act\":false,"
          "\"sym\":true}" },
        { { "gptq:v2", "int-asymmetric", 8, QD_ZERO_INTEGER, 64, "f16" },
          "{\"quant_method\":\"gptq\",\"checkpoint_format\":\"gptq_v2\",\"bits\":8,\"group_size\":64,\"desc_act\":"
          "false,"
          "\"sym\":false}" },
        { { "awq", "int-asymmetric", 4, QD_ZERO_INTEGER, 64, "f16" },
          "{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":64,\"zero_point\":true,\"version\":\"gemm\","
          "\"modules_to_not_convert\":null}" },
    };
    char source[FOLDER_PATH];
    folder_make(source);
    tiny_write(source, (tiny){ .head_dim = 64, .intermediate = 64, .seed = 4, .dtype = "F16" });
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        qd_artifact *artifact = NULL;
        const char *key;
        json_t *value, *wanted = json_loads(cases[i].wanted, 0, NULL);
        scene *s = open_container(&cases[i].made, source, &artifact);
        json_t *config = config_of(s->dir, "config.json"), *found = json_object_get(config, "quantization_config");
        assert_non_null(wanted);
        json_object_foreach(wanted, key, value)
        {
            assert_true(json_equal(json_object_get(found, key), value));
        }
        if (strncmp(cases[i].made.format, "gptq", 4) == 0) {
            json_t *beside = config_of(s->dir, "quantize_config.json");
            assert_true(json_equal(beside, found));
            json_decref(beside);
        }
        json_decref(config);
        json_decref(wanted);
        qd_artifact_destroy(artifact);
        scene_close(s);
    }
    remove_folder(source);
}

static void what_a_reader_needs_is_noted(void **state)
{
    (void)state;
    static const struct {
        container made;
        const char *named; /* NULL = nothing */
    } cases[] = {
        { { "compressed-tensors", "int", 4, QD_ZERO_NONE, 0, "bf16" }, NULL },
        { { "compressed-tensors", "int", 3, QD_ZERO_NONE, 0, "bf16" }, "0.18.0" },
        { { "compressed-tensors", "int", 7, QD_ZERO_NONE, 0, "bf16" }, "0.18.0" },
        { { "compressed-tensors:int-quantized", "int", 8, QD_ZERO_NONE, 0, "bf16" }, "W8A8" },
        { { "gptq", "int", 4, QD_ZERO_NONE, 0, "f16" }, NULL },
        { { "gptq", "int", 3, QD_ZERO_NONE, 0, "f16" }, "GPTQModel" },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        size_t variant;
        qd_grid_spec spec = spec_of(&cases[i].made);
        const qd_format *f = qd_format_find(cases[i].made.format, &variant);
        const char *note = f->note(&spec, variant);
        assert_true((note == NULL) == (cases[i].named == NULL));
        if (note != NULL)
            check_contains(note, cases[i].named);
    }
}

/* ---- what cannot be written ---- */

static void rows_that_do_not_fit_the_packing_are_refused_with_a_way_out(void **state)
{
    (void)state;
    static const struct {
        container made;
        size_t out, in;
        const char *named;
    } cases[] = {
        { { "gptq", "int", 4, QD_ZERO_NONE, 0, "f16" }, 16, 20, "4-bit codes of 8 rows" },
        { { "gptq", "int", 3, QD_ZERO_NONE, 0, "f16" }, 48, 64, "3-bit codes of 32 rows" },
        { { "gptq", "int", 4, QD_ZERO_NONE, 128, "f16" }, 64, 192, "group_size: 128 does not divide the 192" },
        { { "awq", "int", 4, QD_ZERO_NONE, 32, "f16" }, 12, 64, "'awq' packs 4-bit" },
        { { "compressed-tensors", "int", 4, QD_ZERO_NONE, 128, "bf16" }, 64, 192, "group_size: 128 does not divide" },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        qd_error err = { 0 };
        size_t variant;
        qd_grid_spec spec = spec_of(&cases[i].made);
        const qd_format *f = qd_format_find(cases[i].made.format, &variant);
        const qd_linear linear = { .name = "layer", .out = cases[i].out, .in = cases[i].in };
        check_fails(f->check_layer(&spec, variant, &linear, "BF16", &err), QD_EINVAL);
        check_contains(err.text, cases[i].named);
        assert_true(strstr(err.text, "format '") != NULL || strstr(err.text, "format: '") != NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_of_every_container_is_where_its_layout_says),
        cmocka_unit_test(novella_in_every_container_gives_back_its_codes_and_scales),
        cmocka_unit_test(qweight_is_the_transpose_of_weight_packed),
        cmocka_unit_test(symmetric_v1_zeros_are_the_words_everybody_writes),
        cmocka_unit_test(three_bit_codes_are_a_stream_across_words),
        cmocka_unit_test(configs_are_as_loaders_want_them),
        cmocka_unit_test(what_a_reader_needs_is_noted),
        cmocka_unit_test(rows_that_do_not_fit_the_packing_are_refused_with_a_way_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
