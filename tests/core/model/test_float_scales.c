/* test_float_scales.c: weights of 8-bit floats with scales beside them: numbers are code times scale, by the definition of
 * a block; what does not fit is refused by name. */
#include "forward.h"

#include "base/json.h"

/* The shape of q_proj of the fixture: not a multiple of the blocks below. */
enum { OUT = 16, IN = 16, HIDDEN = 16, LENGTH = 8 };
static const char layer[] = "model.layers.0.self_attn.q_proj.weight";

/* A copy of a fixture whose weights of one layer are codes and scales, under a config that says so. */
typedef struct folder {
    char path[4096];
    unsigned char codes[OUT * IN];
    float scales[OUT * IN];
    size_t scale_rank;
    uint64_t scale_shape[2];
    const char *scale_ending, *scale_dtype, *dtype;
} folder;

static void write_text(const folder *f, const char *name, const char *text)
{
    qd_error err = { 0 };
    char *path = qd_path_join(f->path, name);
    check_ok(qd_file_write(path, text, strlen(text), &err));
    free(path);
}

/* The fixture's config.json with this quantization_config. */
static void write_config(const folder *f, const char *source, const char *quantization)
{
    json_t *config = NULL, *member = NULL;
    qd_error err = { 0 };
    char *path = qd_path_join(source, "config.json");
    check_ok(qd_json_read_object(path, 1 << 20, 16, &config, &err));
    check_ok(qd_json_parse_object(quantization, strlen(quantization), 16, &member, &err));
    json_object_set_new(config, "quantization_config", member);
    char *text = qd_json_print(config);
    write_text(f, "config.json", text);
    free(text);
    free(path);
    json_decref(config);
}

static void make(folder *f, const char *quantization)
{
    char source[4096], scale_name[128];
    qd_model *model = NULL;
    qd_error err = { 0 };
    if (f->path[0] == '\0')
        temporary_folder(f->path, sizeof f->path);
    SOURCE_PATH(source, "tests/core/model/fixtures/gqa-tied-bf16");
    write_config(f, source, quantization);
    check_ok(qd_model_open(source, &model, &err));
    size_t count = 0;
    qd_tensor_out *out = calloc(qd_model_tensor_count(model) + 1, sizeof *out);
    for (size_t i = 0; i < qd_model_tensor_count(model); i++) {
        const qd_tensor *t = qd_model_tensor_at(model, i);
        out[count] = (qd_tensor_out){ .name = t->name, .dtype = t->dtype, .rank = t->rank, .data = t->data };
        memcpy(out[count].shape, t->shape, sizeof t->shape);
        if (strcmp(t->name, layer) == 0) {
            assert_true(t->shape[0] == OUT && t->shape[1] == IN);
            out[count].dtype = qd_dtype_find(f->dtype);
            out[count].data = f->codes;
        }
        count++;
    }
    uint16_t halves[OUT * IN];
    bool half = strcmp(f->scale_dtype, "BF16") == 0;
    if (half)
        qd_dtype_find("BF16")->from_floats(f->scales, OUT * IN, halves);
    snprintf(scale_name, sizeof scale_name, "%s%s", layer, f->scale_ending);
    out[count] = (qd_tensor_out){ .name = scale_name,
                                  .dtype = qd_dtype_find(f->scale_dtype),
                                  .rank = f->scale_rank,
                                  .shape = { f->scale_shape[0], f->scale_shape[1] },
                                  .data = half ? (const void *)halves : f->scales };
    char *path = qd_path_join(f->path, "model.safetensors");
    check_ok(qd_safetensors_write(path, out, f->scale_ending[0] == '\0' ? count : count + 1, NULL, NULL, 0, &err));
    free(path);
    free(out);
    qd_model_destroy(model);
}

/* Codes without NaN; scales that bf16 holds. */
static folder fresh(void)
{
    folder f = { .scale_ending = "_scale_inv", .scale_dtype = "F32", .dtype = "F8_E4M3", .scale_rank = 2 };
    unsigned seed = 3;
    for (size_t i = 0; i < OUT * IN; i++) {
        seed = 1664525 * seed + 1013904223;
        f.codes[i] = (unsigned char)(seed >> 24);
        if ((f.codes[i] & 0x7f) >= 0x70)
            f.codes[i] ^= 0x40;
        f.scales[i] = ldexpf((float)(128 + i % 128), -12);
    }
    return f;
}

/* Every number is its code times the scale of its block: row o, column i -> scale (o / rows, i / cols). */
static void check_values(const folder *f, size_t rows, size_t cols, const char *words)
{
    qd_model *model = NULL;
    qd_error err = { 0 };
    float codes[OUT * IN], got[OUT * IN], row[IN];
    size_t across = (IN + cols - 1) / cols;
    check_ok(qd_model_open(f->path, &model, &err));
    const qd_tensor *t = qd_model_tensor(model, layer);
    check_ok(qd_tensor_to_floats(t, got, &err));
    qd_dtype_find(f->dtype)->to_floats(f->codes, OUT * IN, codes);
    for (size_t o = 0; o < OUT; o++)
        for (size_t i = 0; i < IN; i++)
            assert_true(got[o * IN + i] == codes[o * IN + i] * f->scales[o / rows * across + i / cols]);
    for (size_t o = 0; o < OUT; o++) {
        check_ok(qd_tensor_rows_to_floats(t, o, 1, row, &err));
        assert_memory_equal(row, got + o * IN, sizeof row);
    }
    check_ok(qd_tensor_check_finite(t, &err));
    assert_string_equal(qd_model_quantized_source(model), words);
    assert_string_equal(qd_model_borrow_config(model)->dtype, "BF16");
    assert_null(qd_model_warning_at(model, 0));
    for (size_t i = 0; i < qd_model_tensor_count(model); i++)
        assert_null(strstr(qd_model_tensor_at(model, i)->name, "scale"));
    uint32_t ids[LENGTH] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    qd_matf_buf logits = { 0 };
    check_ok(qd_matf_buf_init(&logits, LENGTH, qd_model_borrow_config(model)->vocabulary, &err));
    forward_logits(model, ids, BY_BLOCK, logits.view); /* a whole pass reads them */
    for (size_t i = 0; i < LENGTH; i++)
        assert_true(isfinite(qd_matf_row(logits.view, i)[0]));
    qd_matf_buf_fini(&logits);
    qd_model_destroy(model);
}

static const char plain[] = "{\"quant_method\":\"fp8\"}";

static void blocks_multiply_their_codes(void **state)
{
    (void)state;
    static const struct {
        size_t rows, cols;
    } sizes[] = { { 4, 4 }, { 8, 16 }, { 5, 7 }, { 128, 128 }, { 3, 16 } }; /* the last blocks may be cut */
    for (size_t i = 0; i < 2 * QD_LENGTH(sizes); i++) {
        folder f = fresh();
        char quantization[128], words[64];
        size_t rows = sizes[i / 2].rows, cols = sizes[i / 2].cols;
        f.scale_shape[0] = (OUT + rows - 1) / rows;
        f.scale_shape[1] = (IN + cols - 1) / cols;
        f.scale_dtype = i % 2 == 0 ? "F32" : "BF16";
        snprintf(quantization, sizeof quantization, "{\"quant_method\":\"fp8\",\"weight_block_size\":[%zu,%zu]}", rows,
                 cols);
        make(&f, quantization);
        snprintf(words, sizeof words, "fp8, blocks of %zu x %zu", rows, cols);
        check_values(&f, rows, cols, rows == 128 ? "fp8, one scale a tensor" : words);
        remove_folder(f.path);
    }
}

static void one_scale_or_a_row_of_scales_will_do(void **state)
{
    (void)state;
    static const struct {
        size_t rank;
        uint64_t shape[2];
        size_t rows;
        const char *words, *quantization;
    } ways[] = { { 0, { 0 }, OUT, "fp8, one scale a tensor", plain },
                 { 1, { 1 }, OUT, "fp8, one scale a tensor", plain },
                 { 1, { OUT }, 1, "fp8, one scale a row", plain },
                 { 2,
                   { OUT, 1 },
                   1,
                   "fp8, one scale a row",
                   "{\"quant_method\":\"compressed-tensors\",\"format\":\"float-quantized\"}" } };
    for (size_t i = 0; i < QD_LENGTH(ways); i++)
        for (size_t k = 0; k < 2; k++) {
            folder f = fresh();
            f.dtype = k == 0 ? "F8_E4M3" : "F8_E5M2";
            f.scale_ending = "_scale";
            f.scale_rank = ways[i].rank;
            memcpy(f.scale_shape, ways[i].shape, sizeof f.scale_shape);
            make(&f, ways[i].quantization);
            check_values(&f, ways[i].rows, IN, ways[i].words);
            remove_folder(f.path);
        }
}

static void refuse(folder *f, const char *quantization, qd_code code, const char *part)
{
    qd_model *model = NULL;
    qd_error err = { 0 };
    make(f, quantization);
    check_fails(qd_model_open(f->path, &model, &err), code);
    check_contains(err.text, part);
    remove_folder(f->path);
    f->path[0] = '\0';
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    static const char blocks[] = "{\"quant_method\":\"fp8\",\"weight_block_size\":[4,4]}";
    folder f = fresh();
    f.scale_shape[0] = 4;
    f.scale_shape[1] = 4;
    refuse(&f, plain, QD_ESHAPE, "q_proj.weight_scale_inv': 16 scales of 2 dimensions fit neither the whole of");
    refuse(&f, "{\"quant_method\":\"fp8\",\"weight_block_size\":[4,8]}", QD_ESHAPE, "nor blocks of 4 x 8");
    refuse(&f, "{\"quant_method\":\"fp8\",\"weight_block_size\":[4,0]}", QD_EFORMAT, "'weight_block_size': two whole");
    refuse(&f, "{\"quant_method\":\"fp8\",\"weight_block_size\":[4]}", QD_EFORMAT, "'weight_block_size': two whole");
    refuse(&f, "{\"quant_method\":\"gptq\"}", QD_EUNSUPPORTED, "quantization_config");
    f.scale_dtype = "I32";
    refuse(&f, blocks, QD_EUNSUPPORTED, "scales of dtype I32 are not supported");
    f.scale_dtype = "F32";
    f.scale_ending = "";
    refuse(&f, blocks, QD_EFORMAT, "is F8_E4M3, but neither '");
    f.scale_ending = "_scale_inv";
    f.dtype = "I8";
    refuse(&f, blocks, QD_EUNSUPPORTED, "weights of dtype I8 are not supported");
}

/* A code that is NaN, and a scale that is none or beyond use, are named before they spoil anything. */
static void numbers_that_are_none_are_named(void **state)
{
    (void)state;
    static const float bad[] = { NAN, INFINITY, 1e38f };
    for (size_t i = 0; i <= QD_LENGTH(bad); i++) {
        folder f = fresh();
        qd_model *model = NULL;
        qd_error err = { 0 };
        f.scale_shape[0] = OUT;
        f.scale_shape[1] = 1;
        if (i == QD_LENGTH(bad))
            f.codes[37] = 0xff;
        else
            f.scales[7] = bad[i];
        make(&f, plain);
        check_ok(qd_model_open(f.path, &model, &err));
        check_fails(qd_tensor_check_finite(qd_model_tensor(model, layer), &err), QD_ENUMERIC);
        check_contains(err.text, i == QD_LENGTH(bad) ? "q_proj.weight': element 37 is" : "_scale_inv': element 7 is");
        qd_model_destroy(model);
        remove_folder(f.path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_multiply_their_codes),
        cmocka_unit_test(one_scale_or_a_row_of_scales_will_do),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(numbers_that_are_none_are_named),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("float_scales", tests, NULL, NULL);
}
