/* test_format.c: the registry's contract, the packing vectors, and every grid through every format that says it holds
 * it. */
#include "folders.h"

#include "quant/pack.h"

static void every_row_is_complete_and_found_by_its_name_and_variants(void **state)
{
    (void)state;
    for (size_t i = 0; qd_format_at(i) != NULL; i++) {
        const qd_format *f = qd_format_at(i);
        size_t variant = 99;
        assert_true(f->name != NULL && f->summary != NULL && f->constraints != NULL);
        assert_true(f->check != NULL && f->check_layer != NULL && f->write != NULL && f->recognize != NULL);
        assert_true(f->read_weight != NULL && f->expected_weight != NULL);
        assert_ptr_equal(qd_format_find(f->name, &variant), f);
        assert_int_equal(variant, 0);
        for (size_t v = 0; f->variants != NULL && f->variants[v] != NULL; v++) {
            char name[80];
            snprintf(name, sizeof name, "%s:%s", f->name, f->variants[v]);
            assert_ptr_equal(qd_format_find(name, &variant), f);
            assert_int_equal(variant, v);
        }
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(qd_format_at(k)->name, f->name);
    }
}

static void unknown_names_and_variants_are_not_found(void **state)
{
    (void)state;
    static const char *const names[] = { "",
                                         ":",
                                         "compressed",
                                         "compressed-tensors:bf16",
                                         "safetensors:",
                                         "safetensors:f64",
                                         "safetensors:f32 ",
                                         "Safetensors" };
    size_t variant = 7;
    for (size_t i = 0; i < QD_LENGTH(names); i++)
        assert_null(qd_format_find(names[i], &variant));
    assert_int_equal(variant, 7);
}

static void check_refused(const char *format, qd_grid_spec spec, const char *const *parts)
{
    qd_error err = { 0 };
    size_t variant;
    const qd_format *f = qd_format_find(format, &variant);
    check_fails(f->check(&spec, variant, &err), QD_EINVAL);
    for (size_t i = 0; parts[i] != NULL; i++)
        check_contains(err.text, parts[i]);
}

static qd_grid_spec grid_of_levels(const char *alphabet, size_t group_size, const char *scale_type)
{
    qd_grid_spec spec = grid_of(4, QD_ZERO_NONE, group_size, scale_type);
    spec.alphabet = qd_alphabet_find(alphabet);
    return spec;
}

#define REFUSED(...) \
    (const char *const[]) \
    { \
        __VA_ARGS__, NULL \
    }

static void compressed_tensors_refuses_what_it_cannot_hold_naming_both_fields_and_a_way_out(void **state)
{
    (void)state;
    check_refused("compressed-tensors", grid_of_levels("nf4", 0, "f32"),
                  REFUSED("alphabet: 'nf4'", "format 'compressed-tensors'", "integers", "'int'", "'safetensors'"));
    check_refused("compressed-tensors", grid_of(4, QD_ZERO_FLOAT, 0, "f32"),
                  REFUSED("alphabet: zero 'float'", "format 'compressed-tensors'", "'integer'"));
    static const char bytes[] = "compressed-tensors:int-quantized";
    check_refused(bytes, grid_of(4, QD_ZERO_NONE, 0, "bf16"), REFUSED("bits: 4", bytes, "use 8", "pack-quantized"));
    check_refused(bytes, grid_of(8, QD_ZERO_INTEGER, 0, "bf16"), REFUSED("zero 'integer'", bytes, "alphabet 'int'"));
    check_refused(bytes, grid_of(8, QD_ZERO_NONE, 128, "bf16"), REFUSED("group_size: 128", bytes, "use 0"));
    static const char mx[] = "compressed-tensors:mxfp4-pack-quantized",
                      nv[] = "compressed-tensors:nvfp4-pack-quantized";
    check_refused(mx, grid_of(4, QD_ZERO_NONE, 32, "e8m0"), REFUSED("alphabet: 'int'", mx, "'mxfp4'", "'safetensors'"));
    check_refused(mx, grid_of_levels("e2m1", 64, "e8m0"), REFUSED("group_size: 64", mx, "groups of 32"));
    check_refused(mx, grid_of_levels("e2m1", 32, "bf16"), REFUSED("scale.type: 'bf16'", mx, "'e8m0'"));
    check_refused(nv, grid_of_levels("nf4", 16, "bf16"), REFUSED("alphabet: 'nf4'", nv, "'nvfp4'"));
    check_refused(nv, grid_of_levels("e2m1", 16, "bf16"), REFUSED("scale.type: 'bf16'", nv, "'e4m3'"));
}

static void gptq_and_awq_refuse_what_they_cannot_hold_naming_both_fields_and_a_way_out(void **state)
{
    (void)state;
    static const char *const both[] = { "gptq:v1", "gptq:v2", "awq" };
    for (size_t i = 0; i < QD_LENGTH(both); i++) {
        check_refused(both[i], grid_of_levels("mxfp4", 32, "e8m0"), REFUSED("alphabet: 'mxfp4'", both[i], "'int'"));
        check_refused(both[i], grid_of(4, QD_ZERO_FLOAT, 32, "f16"), REFUSED("zero 'float'", both[i], "'integer'"));
        check_refused(both[i], grid_of(4, QD_ZERO_NONE, 32, "bf16"),
                      REFUSED("scale.type: 'bf16'", both[i], "'half'", "'f16'"));
        check_refused(both[i], grid_of(5, QD_ZERO_NONE, 32, "f16"),
                      REFUSED("bits: 5", both[i], "'compressed-tensors'"));
    }
    check_refused("gptq:v1", grid_of(4, QD_ZERO_INTEGER, 32, "f16"),
                  REFUSED("zero 'integer'", "'gptq:v1'", "'gptq:v2'"));
    check_refused("awq", grid_of(4, QD_ZERO_NONE, 0, "f16"), REFUSED("group_size: 0", "'awq'", "32, 64 and 128"));
    check_refused("awq", grid_of(3, QD_ZERO_NONE, 32, "f16"), REFUSED("bits: 3", "'awq'", "'gptq'"));
}

/* A name alone is the first of its variants that holds the grid; none: the first, whose check says why. */
static void a_name_without_a_variant_takes_the_first_that_holds_the_grid(void **state)
{
    (void)state;
    const struct {
        const char *format;
        qd_grid_spec spec;
        size_t variant;
    } cases[] = {
        { "compressed-tensors", grid_of(4, QD_ZERO_NONE, 128, "bf16"), 0 },
        { "compressed-tensors", grid_of(8, QD_ZERO_NONE, 0, "bf16"), 0 },
        { "compressed-tensors", grid_of_levels("mxfp4", 32, "e8m0"), 2 },
        { "compressed-tensors", grid_of_levels("nvfp4", 16, "e4m3"), 3 },
        { "compressed-tensors", grid_of_levels("nf4", 32, "bf16"), 0 },
        { "gptq", grid_of(4, QD_ZERO_NONE, 128, "f16"), 0 },
        { "gptq", grid_of(4, QD_ZERO_INTEGER, 128, "f16"), 1 },
        { "awq", grid_of(4, QD_ZERO_INTEGER, 128, "f16"), 0 },
        { "safetensors", grid_of(4, QD_ZERO_FLOAT, 7, "f32"), 0 },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        size_t ignored;
        assert_int_equal(qd_format_choose(qd_format_find(cases[i].format, &ignored), &cases[i].spec), cases[i].variant);
    }
}

static void a_group_size_that_does_not_divide_the_row_is_refused_with_sizes_that_do(void **state)
{
    (void)state;
    qd_error err = { 0 };
    size_t variant;
    const qd_format *f = qd_format_find("compressed-tensors", &variant);
    const qd_linear linear = { .name = "model.layers.3.mlp.down_proj", .out = 128, .in = 384 };
    qd_grid_spec spec = grid_of(4, QD_ZERO_NONE, 100, "bf16");
    check_fails(f->check_layer(&spec, variant, &linear, "BF16", &err), QD_EINVAL);
    static const char *const parts[] = { "group_size: 100", "384", "model.layers.3.mlp.down_proj",
                                         ", 128,",          "384", "0 (the whole row)" };
    for (size_t i = 0; i < QD_LENGTH(parts); i++)
        check_contains(err.text, parts[i]);
    spec.group_size = 128;
    check_ok(f->check_layer(&spec, variant, &linear, "BF16", &err));
    spec.group_size = 0;
    check_ok(f->check_layer(&spec, variant, &linear, "BF16", &err));
}

static void scales_that_the_model_type_would_round_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *scale, *model;
        qd_code code;
    } cases[] = {
        { "bf16", "BF16", QD_OK }, { "f16", "BF16", QD_EINVAL }, { "f32", "BF16", QD_EINVAL },
        { "bf16", "F16", QD_OK },  { "f16", "F16", QD_OK },      { "f32", "F16", QD_EINVAL },
        { "bf16", "F32", QD_OK },  { "f16", "F32", QD_OK },      { "f32", "F32", QD_OK },
    };
    size_t variant;
    const qd_format *f = qd_format_find("compressed-tensors", &variant);
    const qd_linear linear = { .name = "layer", .out = 4, .in = 8 };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        qd_error err = { 0 };
        qd_grid_spec spec = grid_of(4, QD_ZERO_NONE, 0, cases[i].scale);
        check_fails(f->check_layer(&spec, variant, &linear, cases[i].model, &err), cases[i].code);
        if (cases[i].code != QD_OK)
            check_contains(err.text, "scale.type");
    }
}

/* The second way: bit by bit, straight from "element i occupies bits i b .. i b + b - 1". */
static void pack_slowly(const uint8_t *codes, size_t count, unsigned bits, uint32_t *words)
{
    memset(words, 0, (count * bits + 31) / 32 * 4);
    for (size_t i = 0; i < count * bits; i++)
        words[i / 32] |= (uint32_t)(codes[i / bits] >> (i % bits) & 1) << (i % 32);
}

static void golden_words_come_out_two_ways(void **state)
{
    (void)state;
    static const int q4[] = { -8, -7, -1, 0, 1, 6, 7, 2 }, q8[] = { -128, -1, 0, 127 };
    static const int q2[] = { -2, -1, 0, 1, -2, -1, 0, 1, -2, -1, 0, 1, -2, -1, 0, 1 };
    static const struct {
        unsigned bits;
        const int *q;
        size_t count;
        uint32_t word;
    } vectors[] = { { 4, q4, 8, 0xAFE98710 }, { 2, q2, 16, 0xE4E4E4E4 }, { 8, q8, 4, 0xFF807F00 } };
    for (size_t v = 0; v < QD_LENGTH(vectors); v++) {
        uint8_t codes[16];
        uint32_t fast = 0, slow = 0;
        for (size_t i = 0; i < vectors[v].count; i++)
            codes[i] = (uint8_t)(vectors[v].q[i] + (1 << (vectors[v].bits - 1)));
        qd_pack_row(codes, vectors[v].count, vectors[v].bits, &fast);
        pack_slowly(codes, vectors[v].count, vectors[v].bits, &slow);
        assert_int_equal(fast, vectors[v].word);
        assert_int_equal(slow, vectors[v].word);
    }
}

static const qd_tensor *part(const qd_safetensors *file, const char *layer, const char *name)
{
    char full[160];
    snprintf(full, sizeof full, "%s.%s", layer, name);
    return qd_safetensors_find(file, full);
}

/* Zero points are packed along the rows: word k of group g holds rows 32 k / b and on. */
static void compare_zeros(const qd_tensor *t, const qd_grid *grid, size_t out, unsigned bits)
{
    size_t words = (out * bits + 31) / 32;
    assert_int_equal(t->shape[0], words);
    assert_int_equal(t->shape[1], grid->groups);
    for (size_t g = 0; g < grid->groups; g++) {
        uint8_t zeros[64];
        uint32_t want[16], found;
        for (size_t o = 0; o < out; o++)
            zeros[o] = (uint8_t)grid->zero.view.data[o * grid->groups + g];
        pack_slowly(zeros, out, bits, want);
        for (size_t k = 0; k < words; k++) {
            memcpy(&found, t->data + 4 * (k * grid->groups + g), 4);
            assert_int_equal(found, want[k]);
        }
    }
}

/* The bytes in the file, against the layout's text and not against our reader. */
static void compare_file(const scene *s, size_t index)
{
    qd_error err = { 0 };
    const qd_linear *linear = qd_model_linear_at(s->model, index);
    const qd_grid *grid = &s->decided.grids[index];
    unsigned bits = (unsigned)s->spec.bits;
    size_t words = (linear->in * bits + 31) / 32;
    char path[FOLDER_PATH];
    qd_safetensors *file = NULL;
    path_in(s->dir, "model.safetensors", path);
    check_ok(qd_safetensors_open(path, &file, &err));
    const qd_tensor *packed = part(file, linear->name, "weight_packed"),
                    *scale = part(file, linear->name, "weight_scale");
    const qd_tensor *zero = part(file, linear->name, "weight_zero_point"),
                    *shape = part(file, linear->name, "weight_shape");
    assert_null(part(file, linear->name, "weight"));
    assert_string_equal(packed->dtype->name, "I32");
    assert_int_equal(packed->shape[0], linear->out);
    assert_int_equal(packed->shape[1], words);
    for (size_t o = 0; o < linear->out; o++) {
        uint8_t row[128];
        uint32_t want[64];
        for (size_t i = 0; i < linear->in; i++)
            row[i] = (uint8_t)(grid->low + s->decided.codes[index][o * linear->in + i] +
                               (grid->zero_kind == QD_ZERO_NONE ? 1 << (bits - 1) : 0));
        pack_slowly(row, linear->in, bits, want);
        assert_memory_equal(packed->data + 4 * o * words, want, 4 * words);
    }
    assert_int_equal(scale->shape[0], linear->out);
    assert_int_equal(scale->shape[1], grid->groups);
    assert_string_equal(scale->dtype->name, s->spec.scale_type->dtype);
    const int64_t dims[] = { (int64_t)linear->out, (int64_t)linear->in };
    assert_string_equal(shape->dtype->name, "I64");
    assert_memory_equal(shape->data, dims, sizeof dims);
    assert_true((zero != NULL) == (s->spec.zero == QD_ZERO_INTEGER));
    if (zero != NULL)
        compare_zeros(zero, grid, linear->out, bits);
    qd_safetensors_destroy(file);
}

static void packed_bytes_are_those_of_the_layout(void **state)
{
    (void)state;
    static const double bits[] = { 2, 4, 8 };
    static const qd_zero_kind zeros[] = { QD_ZERO_NONE, QD_ZERO_INTEGER };
    char source[FOLDER_PATH];
    folder_make(source);
    tiny_write(source, (tiny){ .head_dim = 10, .intermediate = 35, .seed = 5 });
    for (size_t b = 0; b < QD_LENGTH(bits); b++)
        for (size_t z = 0; z < QD_LENGTH(zeros); z++)
            for (size_t g = 0; g < 2; g++) {
                qd_error err = { 0 };
                scene *s = scene_open(source, "compressed-tensors", grid_of(bits[b], zeros[z], g == 0 ? 0 : 5, "bf16"));
                check_ok(scene_write(s, &err));
                for (size_t i = 0; i < qd_model_linear_count(s->model); i++)
                    compare_file(s, i);
                scene_close(s);
            }
    remove_folder(source);
}

/* bf16 scales in an F16 model: F16 has no 2^-126, but where all weights of the group are 0 no scale is needed; where
 * one is not, the layer keeps BF16 and with it the decided values. */
static void scales_too_small_for_the_model_type_keep_their_own(void **state)
{
    (void)state;
    char source[FOLDER_PATH], path[FOLDER_PATH];
    folder_make(source);
    tiny_write(source, (tiny){ .dtype = "F16", .seed = 5 });
    for (int nonzero = 0; nonzero < 2; nonzero++) {
        qd_error err = { 0 };
        qd_safetensors *file = NULL;
        scene *s = scene_open(source, "compressed-tensors", grid_of(4, QD_ZERO_NONE, 4, "bf16"));
        s->decided.grids[0].scale.view.data[0] = 0x1p-126f;
        memset(s->decided.codes[0], 8, 4); /* code 0 */
        s->decided.codes[0][2] = (uint8_t)(8 + nonzero);
        check_ok(scene_write(s, &err));
        check_ok(scene_check(s, &err));
        path_in(s->dir, "model.safetensors", path);
        check_ok(qd_safetensors_open(path, &file, &err));
        const char *first = qd_model_linear_at(s->model, 0)->name, *second = qd_model_linear_at(s->model, 1)->name;
        assert_string_equal(part(file, first, "weight_scale")->dtype->name, nonzero ? "BF16" : "F16");
        assert_string_equal(part(file, second, "weight_scale")->dtype->name, "F16");
        qd_safetensors_destroy(file);
        scene_close(s);
    }
    remove_folder(source);
}

/* What the reader gives is (code - zero) scale, by our own arithmetic, rounded to the variant's type. */
static void compare_values(const scene *s)
{
    qd_error err = { 0 };
    qd_artifact *artifact = NULL;
    check_ok(qd_artifact_open(s->dir, &artifact, &err));
    assert_ptr_equal(qd_artifact_format(artifact), s->format);
    assert_int_equal(qd_artifact_variant(artifact), s->variant);
    const qd_overlay *overlay = qd_artifact_overlay(artifact);
    for (size_t i = 0; i < qd_model_linear_count(s->model); i++) {
        const qd_linear *linear = qd_model_linear_at(qd_artifact_model(artifact), i);
        const qd_grid *grid = &s->decided.grids[i];
        qd_matf_buf w = { 0 }, wide = { 0 };
        check_ok(qd_matf_buf_init(&wide, linear->out, linear->in + 3, &err)); /* a view with ld > cols */
        qd_matf view = qd_matf_block(wide.view, 0, 0, linear->out, linear->in);
        check_ok(overlay->weight(overlay->ctx, i, linear, view, &err));
        check_ok(qd_matf_buf_init(&w, linear->out, linear->in, &err));
        qd_rounded rounded = { .grid = grid, .codes = s->decided.codes[i] };
        s->format->expected_weight(&rounded, s->variant, w.view);
        for (size_t o = 0; o < linear->out; o++)
            for (size_t k = 0; k < linear->in; k++) {
                size_t g = k / grid->group_size;
                float code = (float)qd_grid_level(grid, s->decided.codes[i][o * linear->in + k]);
                float value = (code - qd_matf_row(grid->zero.view, o)[g]) * qd_matf_row(grid->scale.view, o)[g];
                double unit = s->format->variants == NULL || s->variant == 0 ? 0 : s->variant == 1 ? 0x1p-8 : 0x1p-11;
                double absolute = s->format->variants != NULL && s->variant == 2 ? 0x1p-25 : 0; /* subnormal in f16 */
                check_near((double)qd_matf_row(view, o)[k], (double)value, unit * fabs((double)value) + absolute);
                assert_true(qd_matf_row(view, o)[k] == qd_matf_row(w.view, o)[k]);
            }
        qd_matf_buf_fini(&w);
        qd_matf_buf_fini(&wide);
    }
    qd_artifact_destroy(artifact);
}

static void round_trip(const char *source, const char *model_dtype, const char *format, qd_grid_spec spec,
                       size_t *tried)
{
    qd_error err = { 0 };
    size_t variant;
    const qd_format *f = qd_format_find(format, &variant);
    scene *s = scene_open(source, format, spec);
    qd_code allowed = f->check(&spec, variant, &err);
    for (size_t i = 0; allowed == QD_OK && i < qd_model_linear_count(s->model); i++)
        allowed = f->check_layer(&spec, variant, qd_model_linear_at(s->model, i), model_dtype, &err);
    assert_int_equal(scene_write(s, &err), allowed);
    if (allowed == QD_OK) {
        check_ok(scene_check(s, &err));
        compare_values(s);
        ++*tried;
    } else
        assert_int_equal(allowed, QD_EINVAL);
    scene_close(s);
}

/* Every bits x zero x group x narrow x format, over odd shapes; the model's type changes with the case. */
static void every_grid_comes_back_as_decided_from_every_format_that_takes_it(void **state)
{
    (void)state;
    static const struct {
        tiny model;
        const char *dtype;
    } models[] = { { { .head_dim = 6, .intermediate = 33, .seed = 1 }, "F32" },
                   { { .head_dim = 10, .heads = 2, .intermediate = 40, .seed = 2, .dtype = "BF16" }, "BF16" },
                   { { .head_dim = 2, .intermediate = 1, .seed = 3, .dtype = "F16" }, "F16" } };
    static const size_t groups[] = { 0, 1, 5, 7 };
    static const char *const formats[] = { "compressed-tensors", "safetensors", "safetensors:bf16", "safetensors:f16" };
    size_t tried = 0, cases = 0;
    for (size_t m = 0; m < QD_LENGTH(models); m++) {
        char source[FOLDER_PATH];
        folder_make(source);
        tiny_write(source, models[m].model);
        const double *bits = qd_alphabet_at(0)->bits;
        for (size_t b = 0; bits[b] > 0; b++)
            for (int zero = QD_ZERO_NONE; zero <= QD_ZERO_FLOAT; zero++) {
                /* groups, narrowness, scale types and formats in turn, each pair of them met several times */
                size_t g = cases % QD_LENGTH(groups);
                qd_grid_spec spec = grid_of(bits[b], (qd_zero_kind)zero, groups[g], cases % 3 == 0 ? "f16" : "bf16");
                spec.narrow = cases % 2 == 1;
                if (cases % 5 == 4)
                    spec.scale_type = qd_scale_type_find("e8m0");
                for (size_t f = 0; f < QD_LENGTH(formats); f++)
                    round_trip(source, models[m].dtype, formats[f], spec, &tried);
                spec.group_size = 0;
                spec.scale_type = qd_scale_type_find("bf16");
                round_trip(source, models[m].dtype, formats[0], spec, &tried);
                cases++;
            }
        remove_folder(source);
    }
    printf("# %zu round trips\n", tried);
    assert_true(tried > cases * 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_complete_and_found_by_its_name_and_variants),
        cmocka_unit_test(unknown_names_and_variants_are_not_found),
        cmocka_unit_test(compressed_tensors_refuses_what_it_cannot_hold_naming_both_fields_and_a_way_out),
        cmocka_unit_test(gptq_and_awq_refuse_what_they_cannot_hold_naming_both_fields_and_a_way_out),
        cmocka_unit_test(a_name_without_a_variant_takes_the_first_that_holds_the_grid),
        cmocka_unit_test(a_group_size_that_does_not_divide_the_row_is_refused_with_sizes_that_do),
        cmocka_unit_test(scales_that_the_model_type_would_round_are_refused),
        cmocka_unit_test(golden_words_come_out_two_ways),
        cmocka_unit_test(packed_bytes_are_those_of_the_layout),
        cmocka_unit_test(scales_too_small_for_the_model_type_keep_their_own),
        cmocka_unit_test(every_grid_comes_back_as_decided_from_every_format_that_takes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
