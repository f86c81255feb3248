/* test_format_gguf.c: whole GGUF artifacts: written from a model, opened by the reader of core/model, compared with what was decided. */
#include "folders.h"

#include "export/ggml_encode.h"
#include "export/gguf_tokenizer.h"
#include "model/gguf.h"

static const char novella[] = "tests/models/novella-1m";

static qd_grid_spec own_grid(size_t variant)
{
    qd_grid_spec spec = { .rule = qd_scale_rule_find("mse"), .shrink = 1.0 };
    qd_ggml_encoder_grid(qd_ggml_encoder_at(variant), &spec);
    return spec;
}

static void variants_are_the_types_in_order(void **state)
{
    (void)state;
    size_t variant = 0, count = 0;
    const qd_format *f = qd_format_find("gguf", &variant);
    for (; f->variants[count] != NULL; count++) {
        qd_error err = { 0 };
        const qd_grid_spec spec = own_grid(count);
        assert_string_equal(f->variants[count], qd_ggml_encoder_at(count)->variant);
        check_ok(qd_grid_spec_check(&spec, &err));
        check_ok(f->check(&spec, count, &err));
        assert_int_equal(spec.group_size, strtoul(f->implied(count)[2].value, NULL, 10));
        check_near(spec.bits, strtod(f->implied(count)[1].value, NULL), 0.0);
        check_contains(f->implied(count)[0].value, spec.alphabet->name);
        check_contains(f->implied(count)[3].value, spec.scale_type->name);
    }
    assert_null(qd_ggml_encoder_at(count));
}

static void compare_rounded(const scene *s, const qd_model *packed)
{
    qd_error err = { 0 };
    for (size_t i = 0; i < qd_model_linear_count(packed); i++) {
        QD_AUTO(qd_grid_fini) qd_grid grid = { 0 };
        QD_AUTO(qd_free_pointer) uint8_t *codes = NULL;
        const qd_linear *linear = qd_model_linear_at(packed, i);
        QD_AUTO(qd_matf_buf_fini) qd_matf_buf found = { 0 }, wanted = { 0 };
        check_ok(s->format->read_rounded(packed, linear, &grid, &codes, &err));
        check_ok(qd_matf_buf_init(&found, linear->out, linear->in, &err));
        check_ok(qd_matf_buf_init(&wanted, linear->out, linear->in, &err));
        qd_grid_dequantize(&grid, codes, found.view);
        qd_grid_dequantize(&s->decided.grids[i], s->decided.codes[i], wanted.view);
        for (size_t o = 0; o < linear->out; o++)
            assert_memory_equal(qd_matf_row(found.view, o), qd_matf_row(wanted.view, o), linear->in * sizeof(float));
        assert_int_equal(grid.group_size, s->decided.grids[i].group_size);
        assert_int_equal(grid.low, s->decided.grids[i].low);
        assert_memory_equal(codes, s->decided.codes[i], linear->out * linear->in);
    }
}

static void check_variant(const char *source, size_t variant)
{
    qd_error err = { 0 };
    char format[40], file[60];
    snprintf(format, sizeof format, "gguf:%s", qd_ggml_encoder_at(variant)->variant);
    snprintf(file, sizeof file, "model-%s.gguf", qd_ggml_encoder_at(variant)->variant);
    scene *s = scene_open(source, format, own_grid(variant));
    check_ok(s->format->check_model(s->model, s->variant, &err));
    check_ok(scene_write(s, &err));
    check_ok(scene_check(s, &err));
    qd_model *packed = NULL;
    char path[FOLDER_PATH];
    path_in(s->dir, file, path);
    check_ok(qd_model_open(path, &packed, &err));
    compare_rounded(s, packed);
    qd_grid_spec read = { 0 };
    check_ok(s->format->read_spec(packed, &read, &err));
    qd_model_destroy(packed);
    scene_close(s);
}

/* Rows of 128 and 384: every type of 256 falls back, where 384 is no multiple of the block. */
static void every_variant_of_novella_comes_back_as_decided(void **state)
{
    (void)state;
    char source[FOLDER_PATH];
    for (size_t v = 0; qd_ggml_encoder_at(v) != NULL; v++)
        check_variant(SOURCE_PATH(source, novella), v);
}

/* Rows of 256 and 768: none does. */
static void every_variant_of_the_larger_novella_comes_back_as_decided(void **state)
{
    (void)state;
    const char *shared = getenv("QUANTD_SHARED");
    char source[FOLDER_PATH];
    if (shared == NULL)
        skip();
    path_in(shared, "models/novella-7m", source);
    for (size_t v = 0; qd_ggml_encoder_at(v) != NULL; v++)
        check_variant(source, v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variants_are_the_types_in_order),
        cmocka_unit_test(every_variant_of_novella_comes_back_as_decided),
        cmocka_unit_test(every_variant_of_the_larger_novella_comes_back_as_decided),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
