/* test_convert.c: an artifact as another container: every pair that can be, value for value, and why the others cannot. */
#include "folders.h"

#include "base/digest.h"
#include "export/convert.h"

static const char novella[] = "tests/models/novella-1m";

static qd_grid_spec grid_of_levels(const char *alphabet, size_t group_size, const char *scale_type)
{
    qd_grid_spec spec = grid_of(4, QD_ZERO_NONE, group_size, scale_type);
    spec.alphabet = qd_alphabet_find(alphabet);
    return spec;
}

/* An artifact with records, as a run leaves it. */
static scene *recorded_scene(const char *source, const char *format, qd_grid_spec spec)
{
    qd_error err = { 0 };
    scene *s = scene_open(source, format, spec);
    check_ok(scene_write(s, &err));
    text_put(s->dir, "certificate.json", "{\"summary\":{\"layers\":3}}");
    text_put(s->dir, "recipe.json", "{\"recipe\":{}}");
    json_t *extra = json_pack("{s:{s:i}, s:s}", "certificates", "layers", 3, "converted_from", "nothing");
    check_ok(qd_artifact_write_manifest(s->dir, extra, NULL, &err));
    json_decref(extra);
    return s;
}

static void weights_of(const char *dir, size_t index, qd_matf_buf *out)
{
    qd_error err = { 0 };
    qd_artifact *artifact = NULL;
    check_ok(qd_artifact_open(dir, &artifact, &err));
    const qd_linear *linear = qd_model_linear_at(qd_artifact_model(artifact), index);
    const qd_overlay *overlay = qd_artifact_overlay(artifact);
    check_ok(qd_matf_buf_init(out, linear->out, linear->in, &err));
    check_ok(overlay->weight(overlay->ctx, index, linear, out->view, &err));
    qd_artifact_destroy(artifact);
}

static void compare_folders(const scene *s, const char *dir)
{
    for (size_t i = 0; i < qd_model_linear_count(s->model); i++) {
        qd_matf_buf a = { 0 }, b = { 0 };
        weights_of(s->dir, i, &a);
        weights_of(dir, i, &b);
        for (size_t k = 0; k < a.view.rows * a.view.cols; k++)
            assert_true(a.view.data[k] == b.view.data[k]);
        qd_matf_buf_fini(&a);
        qd_matf_buf_fini(&b);
    }
}

typedef struct pair {
    const char *from, *to;
    qd_grid_spec spec;
    const char *made, *grid; /* the format as the report names it; alphabet, bits, group size, scale type */
} pair;

static void check_report(const json_t *report, const pair *p)
{
    char grid[100] = "";
    const json_t *g = json_object_get(report, "grid");
    assert_string_equal(json_string_value(json_object_get(report, "format")), p->made);
    if (json_is_object(g))
        snprintf(grid, sizeof grid, "%s %g %d %s", json_string_value(json_object_get(g, "alphabet")),
                 json_number_value(json_object_get(g, "bits")),
                 (int)json_integer_value(json_object_get(g, "group_size")),
                 json_string_value(json_object_get(g, "scale_type")));
    assert_string_equal(grid, p->grid);
}

static void convert_pair(const char *source, const pair *p)
{
    qd_error err = { 0 };
    char dir[FOLDER_PATH], original[FOLDER_PATH];
    json_t *report = NULL;
    scene *s = recorded_scene(source, p->from, p->spec);
    folder_make(dir);
    print_message("%s -> %s\n", p->from, p->to);
    check_ok(qd_convert(s->dir, p->to, dir, &report, &err));
    check_report(report, p);
    compare_folders(s, dir);
    /* and back, where the way back is another one */
    folder_make(original);
    /* weights have lost their codes, and Q5_0 the zero points that AWQ would need */
    bool coded = strncmp(p->to, "safetensors", strlen("safetensors")) != 0 && strcmp(p->to, "gguf:q5_0") != 0;
    check_fails(qd_convert(dir, p->from, original, NULL, &err), coded ? QD_OK : QD_EINVAL);
    if (coded)
        compare_folders(s, original);
    json_decref(report);
    remove_folder(dir);
    remove_folder(original);
    scene_close(s);
}

#define ASYMMETRIC QD_ZERO_INTEGER

static void every_container_that_holds_the_weights_takes_them_as_they_are(void **state)
{
    (void)state;
    const pair pairs[] = {
        { "compressed-tensors", "gptq", grid_of(4, QD_ZERO_NONE, 64, "f16"), "gptq:v1", "int 4 64 f16" },
        { "compressed-tensors", "gptq", grid_of(3, QD_ZERO_NONE, 0, "f16"), "gptq:v1", "int 3 0 f16" },
        { "compressed-tensors", "gptq", grid_of(4, ASYMMETRIC, 64, "f16"), "gptq:v2", "int-asymmetric 4 64 f16" },
        { "compressed-tensors", "awq", grid_of(4, ASYMMETRIC, 32, "f16"), "awq", "int-asymmetric 4 32 f16" },
        { "compressed-tensors", "awq", grid_of(4, QD_ZERO_NONE, 0, "f16"), "awq", "int 4 64 f16" },
        { "compressed-tensors", "compressed-tensors:int-quantized", grid_of(4, QD_ZERO_NONE, 0, "f16"),
          "compressed-tensors:int-quantized", "int 8 0 f16" },
        { "compressed-tensors", "safetensors", grid_of(5, ASYMMETRIC, 32, "f16"), "safetensors:f32", "" },
        { "compressed-tensors:mxfp4-pack-quantized", "safetensors:f32", grid_of_levels("mxfp4", 32, "e8m0"),
          "safetensors:f32", "" },
        { "gptq", "compressed-tensors", grid_of(4, QD_ZERO_NONE, 32, "f16"), "compressed-tensors:pack-quantized",
          "int 4 32 f16" },
        /* 15 steps either way: 5 bits, and v1 has 8 */
        { "compressed-tensors", "gptq:v1", grid_of(4, ASYMMETRIC, 64, "f16"), "gptq:v1", "int 8 64 f16" },
        { "gptq:v1", "gptq:v2", grid_of(8, QD_ZERO_NONE, 32, "f16"), "gptq:v2", "int 8 32 f16" },
        { "gptq:v2", "awq", grid_of(4, ASYMMETRIC, 64, "f16"), "awq", "int-asymmetric 4 64 f16" },
        { "awq", "compressed-tensors", grid_of(4, ASYMMETRIC, 64, "f16"), "compressed-tensors:pack-quantized",
          "int-asymmetric 4 64 f16" },
    };
    char source[FOLDER_PATH];
    folder_make(source);
    tiny_write(source, (tiny){ .head_dim = 64, .intermediate = 128, .seed = 8, .dtype = "F16", .shards = 2 });
    for (size_t i = 0; i < QD_LENGTH(pairs); i++)
        convert_pair(source, &pairs[i]);
    remove_folder(source);
}

/* formats.md §6.6, over a model with a tokenizer. */
static void gguf_takes_what_its_blocks_hold(void **state)
{
    (void)state;
    const pair pairs[] = {
        { "compressed-tensors", "gguf:q4_0", grid_of(4, QD_ZERO_NONE, 64, "half"), "gguf:q4_0", "int 4 64 f16" },
        { "compressed-tensors", "gguf:q8_0", grid_of(8, QD_ZERO_NONE, 0, "half"), "gguf:q8_0", "int 8 0 f16" },
        { "compressed-tensors", "gguf:q8_0", grid_of(4, QD_ZERO_NONE, 32, "half"), "gguf:q8_0", "int 4 32 f16" },
        { "awq", "gguf:q5_0", grid_of(4, ASYMMETRIC, 32, "f16"), "gguf:q5_0", "int-asymmetric 4 32 f16" },
        { "compressed-tensors:mxfp4-pack-quantized", "gguf:mxfp4", grid_of_levels("mxfp4", 32, "e8m0"), "gguf:mxfp4",
          "mxfp4 4 32 e8m0" },
        { "compressed-tensors:nvfp4-pack-quantized", "gguf:nvfp4", grid_of_levels("nvfp4", 16, "e4m3"), "gguf:nvfp4",
          "nvfp4 4 16 e4m3" },
    };
    char source[FOLDER_PATH];
    SOURCE_PATH(source, novella);
    for (size_t i = 0; i < QD_LENGTH(pairs); i++)
        convert_pair(source, &pairs[i]);
}

/* bf16 has 8 significant bits: exact as f16 wherever the scale is not tiny. Three of novella's are made so. */
static void bf16_scales_go_to_f16_where_all_of_them_fit(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char source[FOLDER_PATH], dir[FOLDER_PATH];
    scene *s =
        recorded_scene(SOURCE_PATH(source, novella), "compressed-tensors", grid_of(4, QD_ZERO_NONE, 128, "bf16"));
    folder_make(dir);
    check_ok(qd_convert(s->dir, "gptq", dir, NULL, &err));
    compare_folders(s, dir);
    remove_folder(dir);
    for (size_t k = 0; k < 3; k++)
        s->decided.grids[2].scale.view.data[k] = 0x1.02p-20f;
    remove_folder(s->dir);
    folder_make(s->dir);
    check_ok(scene_write(s, &err));
    folder_make(dir);
    check_fails(qd_convert(s->dir, "gptq", dir, NULL, &err), QD_EINVAL);
    check_contains(err.text, "scales: 3 of ");
    check_contains(err.text, "are not exact as 'f16'");
    check_contains(err.text, "model.layers.0.self_attn.v_proj");
    check_contains(err.text, "stores 'bf16'");
    remove_folder(dir);
    scene_close(s);
}

/* The blocks of a GGUF are used as float32, but config.json, which goes along, has loaders copy scales into bf16. */
static void scales_that_loaders_would_round_are_refused(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char source[FOLDER_PATH], dir[FOLDER_PATH];
    scene *s = recorded_scene(SOURCE_PATH(source, novella), "gguf:q8_0", grid_of(8, QD_ZERO_NONE, 32, "f16"));
    for (size_t k = 0; k < 3; k++)
        s->decided.grids[2].scale.view.data[k] = 0x1.004p-6f; /* 11 bits */
    remove_folder(s->dir);
    folder_make(s->dir);
    check_ok(scene_write(s, &err));
    folder_make(dir);
    check_fails(qd_convert(s->dir, "compressed-tensors", dir, NULL, &err), QD_EINVAL);
    check_contains(err.text, "scales: 3 of ");
    check_contains(err.text, "are not exact as 'bf16'");
    check_ok(qd_convert(s->dir, "gptq", dir, NULL, &err)); /* has f16 whatever the model's type */
    compare_folders(s, dir);
    remove_folder(dir);
    scene_close(s);
}

static void what_cannot_be_is_refused_with_the_reason_and_nothing_is_left(void **state)
{
    (void)state;
    const struct {
        const char *from, *to;
        qd_grid_spec spec;
        const char *named[3];
    } cases[] = {
        { "compressed-tensors", "awq", grid_of(8, QD_ZERO_NONE, 64, "f16"), { "bits: 8", "'awq'", "'gptq'" } },
        { "compressed-tensors", "gptq:v1", grid_of(8, ASYMMETRIC, 64, "f16"), { "'gptq:v1'", "'gptq:v2'", "zero" } },
        { "compressed-tensors", "gptq", grid_of(8, QD_ZERO_NONE, 64, "f32"), { "not exact as 'f16'", "'f32'", "of" } },
        { "compressed-tensors",
          "compressed-tensors:mxfp4-pack-quantized",
          grid_of(4, QD_ZERO_NONE, 32, "f16"),
          { "alphabet: 'int'", "mxfp4-pack-quantized", "'mxfp4'" } },
        { "compressed-tensors:mxfp4-pack-quantized",
          "gptq",
          grid_of_levels("mxfp4", 32, "e8m0"),
          { "alphabet: ", "'gptq:v1'", "integers" } },
        { "safetensors:f32", "gptq", grid_of(4, QD_ZERO_NONE, 64, "f16"), { "'safetensors'", "no codes", "weights" } },
        { "compressed-tensors",
          "safetensors:bf16",
          grid_of(8, QD_ZERO_NONE, 64, "f32"),
          { "layer '", "weights would change", "of" } },
        { "compressed-tensors", "zip", grid_of(8, QD_ZERO_NONE, 64, "f32"), { "'zip'", "gptq:v2", "awq" } },
    };
    char source[FOLDER_PATH], dir[FOLDER_PATH];
    folder_make(source);
    tiny_write(source, (tiny){ .head_dim = 64, .intermediate = 128, .seed = 8 });
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        qd_error err = { 0 };
        scene *s = recorded_scene(source, cases[i].from, cases[i].spec);
        folder_make(dir);
        remove_folder(dir);
        check_fails(qd_convert(s->dir, cases[i].to, dir, NULL, &err), QD_EINVAL);
        for (size_t k = 0; k < 3; k++)
            check_contains(err.text, cases[i].named[k]);
        assert_false(qd_path_exists(dir));
        scene_close(s);
    }
    remove_folder(source);
}

static json_t *manifest_of(const char *dir)
{
    qd_error err = { 0 };
    json_t *manifest = NULL;
    check_ok(qd_artifact_check_files(dir, &manifest, &err));
    return manifest;
}

/* config.json is the source model's with the new format's part; records are byte for byte the same. */
static void config_records_and_side_files_go_along(void **state)
{
    (void)state;
    static const char *const carried[] = { "certificate.json", "recipe.json", "tokenizer.json", "empty.bin" };
    qd_error err = { 0 };
    char source[FOLDER_PATH], gptq[FOLDER_PATH], plain[FOLDER_PATH], hex[QD_DIGEST_HEX];
    folder_make(source);
    tiny_write(source, (tiny){ .head_dim = 64, .intermediate = 128, .seed = 8, .dtype = "F16" });
    scene *s = recorded_scene(source, "compressed-tensors", grid_of(4, QD_ZERO_NONE, 64, "f16"));
    folder_make(gptq);
    folder_make(plain);
    check_ok(qd_convert(s->dir, "gptq", gptq, NULL, &err));
    check_ok(qd_convert(gptq, "safetensors:f32", plain, NULL, &err));
    for (size_t i = 0; i < QD_LENGTH(carried); i++) {
        qd_str a = file_get(s->dir, carried[i]), b = file_get(gptq, carried[i]);
        assert_int_equal(a.length, b.length);
        assert_memory_equal(qd_str_borrow(&a), qd_str_borrow(&b), a.length);
        qd_str_fini(&a);
        qd_str_fini(&b);
    }
    qd_str card = file_get(gptq, "README.md");
    check_contains(card.data, "Weights in `gptq:v1`");
    check_contains(card.data, "`compressed-tensors:pack-quantized` artifact");
    qd_str_fini(&card);
    json_t *manifest = manifest_of(gptq), *origin = json_object_get(manifest, "converted_from");
    char path[FOLDER_PATH];
    path_in(s->dir, "manifest.json", path);
    check_ok(qd_sha256_file(path, hex, &err));
    assert_string_equal(json_string_value(json_object_get(origin, "manifest_sha256")), hex);
    assert_string_equal(json_string_value(json_object_get(origin, "format")), "compressed-tensors:pack-quantized");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(manifest, "certificates"), "layers")), 3);
    check_near(json_number_value(json_object_get(manifest, "bits_per_weight")), 4.0 + 16.0 / 64 + 4.0 / 64, 1e-12);
    json_decref(manifest);
    json_t *config = NULL;
    path_in(plain, "config.json", path);
    check_ok(qd_json_read_object(path, 1 << 20, 32, &config, &err));
    assert_null(json_object_get(config, "quantization_config"));
    assert_non_null(json_object_get(config, "a_key_we_do_not_know"));
    path_in(plain, "quantize_config.json", path);
    assert_false(qd_path_exists(path));
    json_decref(config);
    remove_folder(gptq);
    remove_folder(plain);
    scene_close(s);
    remove_folder(source);
}

static void damaged_or_plain_sources_and_full_folders_are_refused(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char source[FOLDER_PATH], dir[FOLDER_PATH];
    folder_make(source);
    tiny_write(source, (tiny){ .head_dim = 64, .intermediate = 128, .seed = 8, .dtype = "F16" });
    scene *s = recorded_scene(source, "compressed-tensors", grid_of(4, QD_ZERO_NONE, 64, "f16"));
    folder_make(dir);
    check_fails(qd_convert(source, "gptq", dir, NULL, &err), QD_EINVAL);
    check_contains(err.text, "a model and no artifact");
    text_put(dir, "precious.txt", "mine");
    check_fails(qd_convert(s->dir, "gptq", dir, NULL, &err), QD_ECONFLICT);
    check_contains(err.text, "not empty");
    qd_str kept = file_get(dir, "precious.txt");
    assert_string_equal(kept.data, "mine");
    qd_str_fini(&kept);
    text_put(s->dir, "recipe.json", "{}");
    check_fails(qd_convert(s->dir, "gptq", dir, NULL, &err), QD_EFORMAT);
    check_contains(err.text, "recipe.json");
    check_fails(qd_convert("/nowhere/at/all", "gptq", dir, NULL, &err), QD_ENOTFOUND);
    remove_folder(dir);
    scene_close(s);
    remove_folder(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_container_that_holds_the_weights_takes_them_as_they_are),
        cmocka_unit_test(gguf_takes_what_its_blocks_hold),
        cmocka_unit_test(bf16_scales_go_to_f16_where_all_of_them_fit),
        cmocka_unit_test(scales_that_loaders_would_round_are_refused),
        cmocka_unit_test(what_cannot_be_is_refused_with_the_reason_and_nothing_is_left),
        cmocka_unit_test(config_records_and_side_files_go_along),
        cmocka_unit_test(damaged_or_plain_sources_and_full_folders_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
