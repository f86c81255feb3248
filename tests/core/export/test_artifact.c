/* test_artifact.c: a folder written, described and opened again; faults are in test_artifact_check.c. */
#include "folders.h"

#include "base/json.h"

#include <sys/stat.h>

#include "export/shard_writer.h"
#include "model/shards.h"

static const char novella[] = "tests/models/novella-1m";

/* ---- what a good artifact is ---- */

static json_t *manifest_of(const char *dir)
{
    qd_error err = { 0 };
    json_t *manifest = NULL;
    check_ok(qd_artifact_check_files(dir, &manifest, &err));
    return manifest;
}

static const json_t *file_of(const json_t *manifest, const char *path)
{
    size_t i;
    json_t *file;
    json_array_foreach(json_object_get(manifest, "files"), i,
                       file) if (strcmp(json_string_value(json_object_get(file, "path")), path) == 0) return file;
    return NULL;
}

static void check_role(const json_t *manifest, const char *path, const char *role)
{
    const json_t *file = file_of(manifest, path);
    assert_non_null(file);
    assert_string_equal(json_string_value(json_object_get(file, "role")), role);
}

/* 4 bits and one bf16 scale for 128 weights: 4 + 16/128. */
static void novella_in_4_bits_comes_back_with_its_side_files_and_a_true_manifest(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char source[FOLDER_PATH];
    scene *s = scene_open(SOURCE_PATH(source, novella), "compressed-tensors", grid_of(4, QD_ZERO_NONE, 128, "bf16"));
    check_ok(scene_write(s, &err));
    check_ok(scene_check(s, &err));
    json_t *manifest = manifest_of(s->dir);
    assert_string_equal(json_string_value(json_object_get(manifest, "format")), "compressed-tensors:pack-quantized");
    check_near(json_number_value(json_object_get(manifest, "bits_per_weight")), 4.125, 0.0);
    static const char *const sides[] = { "generation_config.json", "reference.json", "tokenizer.json",
                                         "tokenizer_config.json" };
    for (size_t i = 0; i < QD_LENGTH(sides); i++) {
        qd_str a = file_get(source, sides[i]), b = file_get(s->dir, sides[i]);
        assert_int_equal(a.length, b.length);
        assert_memory_equal(a.data, b.data, a.length);
        check_role(manifest, sides[i], "side");
        qd_str_fini(&a);
        qd_str_fini(&b);
    }
    check_role(manifest, "model.safetensors", "weights");
    check_role(manifest, "config.json", "config");
    assert_int_equal(json_array_size(json_object_get(manifest, "files")), QD_LENGTH(sides) + 2);
    assert_null(file_of(manifest, "manifest.json"));
    json_decref(manifest);
    scene_close(s);
}

static void config_json_is_the_sources_with_quantization_config_as_loaders_want_it(void **state)
{
    (void)state;
    static const char *const wanted[] = {
        "{\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\",\"quantization_status\":\"compressed\","
        "\"global_compression_ratio\":null,\"kv_cache_scheme\":null,\"ignore\":[\"lm_head\"],\"config_groups\":{"
        "\"group_0\":{"
        "\"targets\":[\"Linear\"],\"input_activations\":null,\"output_activations\":null,\"weights\":{\"num_bits\":4,"
        "\"type\":"
        "\"int\",\"symmetric\":true,\"strategy\":\"group\",\"group_size\":8,\"dynamic\":false,\"actorder\":null,"
        "\"block_structure\":null,\"observer\":\"minmax\",\"observer_kwargs\":{}}}}}",
        "{\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\",\"quantization_status\":\"compressed\","
        "\"global_compression_ratio\":null,\"kv_cache_scheme\":null,\"ignore\":[\"lm_head\"],\"config_groups\":{"
        "\"group_0\":{"
        "\"targets\":[\"Linear\"],\"input_activations\":null,\"output_activations\":null,\"weights\":{\"num_bits\":8,"
        "\"type\":"
        "\"int\",\"symmetric\":false,\"strategy\":\"channel\",\"group_size\":null,\"dynamic\":false,\"actorder\":null,"
        "\"block_structure\":null,\"observer\":\"minmax\",\"observer_kwargs\":{}}}}}",
    };
    const qd_grid_spec specs[] = { grid_of(4, QD_ZERO_NONE, 8, "bf16"), grid_of(8, QD_ZERO_INTEGER, 0, "bf16") };
    for (size_t i = 0; i < QD_LENGTH(wanted); i++) {
        qd_error err = { 0 };
        char source[FOLDER_PATH], path[FOLDER_PATH];
        json_t *config = NULL, *original = NULL;
        scene *s = written_scene(source, (tiny){ .dtype = "BF16" }, "compressed-tensors", specs[i]);
        path_in(s->dir, "config.json", path);
        check_ok(qd_json_read_object(path, 1 << 20, 32, &config, &err));
        path_in(source, "config.json", path);
        check_ok(qd_json_read_object(path, 1 << 20, 32, &original, &err));
        char *text = json_dumps(json_object_get(config, "quantization_config"), JSON_COMPACT);
        assert_string_equal(text, wanted[i]);
        free(text);
        json_object_del(config, "quantization_config");
        assert_true(json_equal(config, original));
        json_decref(config);
        json_decref(original);
        scene_close(s);
        remove_folder(source);
    }
}

/* Loaders cast all tensors to the config's type, so it must hold them all. */
static void a_dequantized_config_names_a_type_that_holds_every_tensor(void **state)
{
    (void)state;
    static const struct {
        const char *model, *format, *dtype;
    } cases[] = {
        { "BF16", "safetensors:bf16", "bfloat16" }, { "F16", "safetensors:f16", "float16" },
        { "BF16", "safetensors:f16", "float32" },   { "F32", "safetensors:bf16", "float32" },
        { "F16", "safetensors", "float32" },        { "F32", "safetensors", "float32" },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        qd_error err = { 0 };
        char source[FOLDER_PATH], path[FOLDER_PATH];
        json_t *config = NULL;
        scene *s = written_scene(source, (tiny){ .dtype = cases[i].model }, cases[i].format,
                                 grid_of(3, QD_ZERO_FLOAT, 5, "f32"));
        path_in(s->dir, "config.json", path);
        check_ok(qd_json_read_object(path, 1 << 20, 32, &config, &err));
        assert_string_equal(json_string_value(json_object_get(config, "torch_dtype")), cases[i].dtype);
        assert_null(json_object_get(config, "dtype"));
        json_decref(config);
        json_t *manifest = manifest_of(s->dir);
        const char *format = json_string_value(json_object_get(manifest, "format"));
        assert_string_equal(format, s->variant == 0 ? "safetensors:f32" : cases[i].format);
        json_decref(manifest);
        scene_close(s);
        remove_folder(source);
    }
}

static void a_sharded_source_stays_sharded_with_an_index_of_the_new_names(void **state)
{
    (void)state;
    static const char *const formats[] = { "compressed-tensors", "safetensors:bf16" };
    for (size_t f = 0; f < QD_LENGTH(formats); f++) {
        qd_error err = { 0 };
        char source[FOLDER_PATH];
        qd_artifact *artifact = NULL;
        scene *s = written_scene(source, (tiny){ .shards = 3, .blocks = 2 }, formats[f],
                                 grid_of(4, QD_ZERO_INTEGER, 8, "bf16"));
        check_ok(qd_artifact_open(s->dir, &artifact, &err));
        const qd_model *model = qd_artifact_model(artifact);
        assert_int_equal(qd_model_file_count(model), 3);
        for (size_t i = 0; i < 3; i++)
            assert_string_equal(qd_model_file_at(model, i), qd_model_file_at(s->model, i));
        assert_null(qd_model_warning_at(model, 0)); /* every tensor mapped, total_size right */
        qd_artifact_destroy(artifact);
        json_t *manifest = manifest_of(s->dir);
        check_role(manifest, "model.safetensors.index.json", "weights");
        check_role(manifest, "model-00002-of-00003.safetensors", "weights");
        json_decref(manifest);
        scene_close(s);
        remove_folder(source);
    }
}

/* 10 tensors of 400 bytes, at most 1000 bytes a file: 2 a file; and one larger than the limit by itself. */
static void tensors_beyond_the_limit_go_into_numbered_shards_with_an_index(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char dir[FOLDER_PATH], name[16];
    qd_shard_writer writer = { 0 };
    qd_shards shards = { 0 };
    folder_make(dir);
    check_ok(qd_shard_writer_init(&writer, dir, 1000, &err));
    for (size_t i = 0; i < 11; i++) {
        float *data = NULL;
        const uint64_t shape[] = { i < 10 ? 100 : 1000 };
        check_ok(qd_alloc((size_t)shape[0], sizeof *data, (void **)&data, &err));
        data[7] = (float)i;
        snprintf(name, sizeof name, "t%zu", i);
        check_ok(qd_shard_writer_take(&writer, name, "F32", 1, shape, data, &err));
    }
    check_ok(qd_shard_writer_cut(&writer, &err));
    check_ok(qd_shard_writer_cut(&writer, &err)); /* nothing to cut: no empty file */
    check_ok(qd_shard_writer_finish(&writer, &err));
    qd_shard_writer_fini(&writer);
    check_ok(qd_shards_open(dir, &shards, &err));
    assert_int_equal(shards.file_count, 6);
    assert_int_equal(shards.warning_count, 0);
    assert_string_equal(shards.names[5], "model-00006-of-00006.safetensors");
    for (size_t i = 0; i < 11; i++) {
        float found;
        snprintf(name, sizeof name, "t%zu", i);
        memcpy(&found, qd_shards_find(&shards, name)->data + 7 * sizeof found, sizeof found);
        assert_true(found == (float)i);
    }
    qd_shards_fini(&shards);
    remove_folder(dir);
}

static void the_same_decision_gives_the_same_bytes(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char source[FOLDER_PATH], again[FOLDER_PATH];
    scene *s =
        written_scene(source, (tiny){ .shards = 2 }, "compressed-tensors", grid_of(2, QD_ZERO_INTEGER, 8, "bf16"));
    qd_str first = file_get(s->dir, "manifest.json");
    snprintf(again, sizeof again, "%s", s->dir);
    remove_folder(again);
    folder_make(s->dir);
    check_ok(scene_write(s, &err));
    qd_str second = file_get(s->dir, "manifest.json"); /* holds the digest of every other file */
    assert_string_equal(first.data, second.data);
    assert_null(strstr(first.data, s->dir));
    qd_str_fini(&first);
    qd_str_fini(&second);
    scene_close(s);
    remove_folder(source);
}

static void extra_facts_are_merged_but_cannot_replace_ours(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char source[FOLDER_PATH];
    scene *s = written_scene(source, (tiny){ .seed = 1 }, "compressed-tensors", grid_of(4, QD_ZERO_NONE, 8, "bf16"));
    text_put(s->dir, "certificate.json", "{}");
    json_t *extra = json_pack("{s:{s:i}, s:s}", "recipe", "bits", 4, "format", "forged"), *manifest = NULL;
    check_ok(qd_artifact_write_manifest(s->dir, extra, &manifest, &err));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(manifest, "recipe"), "bits")), 4);
    assert_string_equal(json_string_value(json_object_get(manifest, "format")), "compressed-tensors:pack-quantized");
    check_role(manifest, "certificate.json", "record");
    check_ok(scene_check(s, &err));
    json_decref(extra);
    json_decref(manifest);
    scene_close(s);
    remove_folder(source);
}

/* ---- opening ---- */

static void a_plain_model_opens_as_itself(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char source[FOLDER_PATH];
    qd_artifact *artifact = NULL;
    check_ok(qd_artifact_open(SOURCE_PATH(source, novella), &artifact, &err));
    assert_null(qd_artifact_overlay(artifact));
    assert_null(qd_artifact_format(artifact));
    assert_int_equal(qd_model_linear_count(qd_artifact_model(artifact)), 42);
    qd_artifact_destroy(artifact);
    folder_make(source);
    tiny_write(source, (tiny){ .seed = 1 });
    text_put(source, "manifest.json", "{\"name\":\"somebody else's\"}");
    check_ok(qd_artifact_open(source, &artifact, &err));
    assert_null(qd_artifact_format(artifact));
    qd_artifact_destroy(artifact);
    remove_folder(source);
}

/* 8-bit floats with scales are numbers without a format's help, in the words of either writer. */
static void eight_bit_floats_open_as_a_plain_model(void **state)
{
    (void)state;
    static const char *const formats[] = { NULL, "float-quantized", "int-quantized" };
    for (size_t i = 0; i < QD_LENGTH(formats); i++) {
        qd_error err = { 0 };
        char source[FOLDER_PATH], path[FOLDER_PATH];
        qd_artifact *artifact = NULL;
        json_t *config = NULL;
        folder_make(source);
        tiny_write(source, (tiny){ .seed = 1 });
        path_in(source, "config.json", path);
        check_ok(qd_json_read_object(path, 1 << 20, 16, &config, &err));
        json_object_set_new(config, "quantization_config",
                            json_pack("{s:s, s:s*}", "quant_method", formats[i] == NULL ? "fp8" : "compressed-tensors",
                                      "format", formats[i]));
        char *text = qd_json_print(config);
        text_put(source, "config.json", text);
        if (i < 2) {
            check_ok(qd_artifact_open(source, &artifact, &err));
            assert_null(qd_artifact_format(artifact));
            assert_null(qd_artifact_overlay(artifact));
        } else {
            assert_int_not_equal(qd_artifact_open(source, &artifact, &err), QD_OK);
        }
        qd_artifact_destroy(artifact);
        free(text);
        json_decref(config);
        remove_folder(source);
    }
}

/* The model room's own loader, through the overlay: the block's weights are the decided ones. */
static void a_block_loads_through_the_overlay_of_an_artifact(void **state)
{
    (void)state;
    static const char *const formats[] = { "compressed-tensors", "safetensors" };
    for (size_t f = 0; f < QD_LENGTH(formats); f++) {
        qd_error err = { 0 };
        char source[FOLDER_PATH];
        qd_artifact *artifact = NULL;
        qd_block *block = NULL;
        scene *s = written_scene(source, (tiny){ .seed = 9 }, formats[f], grid_of(4, QD_ZERO_INTEGER, 8, "f32"));
        check_ok(qd_artifact_open(s->dir, &artifact, &err));
        check_ok(qd_block_load(qd_artifact_model(artifact), 0, qd_artifact_overlay(artifact), QD_ARITHMETIC_FLOAT32,
                               &block, &err));
        for (size_t k = 0; k < qd_model_linear_count(s->model); k++) {
            qd_matf found = qd_block_weight(block, k);
            qd_matf_buf want = { 0 };
            check_ok(qd_matf_buf_init(&want, found.rows, found.cols, &err));
            qd_grid_dequantize(&s->decided.grids[k], s->decided.codes[k], want.view);
            assert_memory_equal(found.data, want.view.data, found.rows * found.cols * sizeof(float));
            qd_matf_buf_fini(&want);
        }
        qd_block_destroy(block);
        qd_artifact_destroy(artifact);
        scene_close(s);
        remove_folder(source);
    }
}

/* ---- side files of hostile sources ---- */

static qd_code write_from(const char *source, qd_error *err)
{
    scene *s = scene_open(source, "compressed-tensors", grid_of(4, QD_ZERO_NONE, 8, "bf16"));
    qd_code early = qd_artifact_check_source(s->model, NULL);
    qd_code code = scene_write(s, err);
    assert_int_equal(early, code); /* known before any work */
    if (code == QD_OK)
        check_code_at(scene_check(s, err), QD_OK, err, __FILE__, __LINE__);
    scene_close(s);
    return code;
}

static void links_and_devices_among_side_files_are_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        qd_error err = { 0 };
        char source[FOLDER_PATH], path[FOLDER_PATH];
        folder_make(source);
        tiny_write(source, (tiny){ .seed = 1 });
        path_in(source, i < 3 ? "vocab.txt" : "bad\nname", path);
        if (i == 0)
            assert_int_equal(symlink("/etc/passwd", path), 0);
        else if (i == 1)
            assert_int_equal(symlink("/nowhere", path), 0);
        else if (i == 2)
            assert_int_equal(mkfifo(path, 0600), 0);
        else
            text_put(source, "bad\nname", "x");
        check_fails(write_from(source, &err), QD_EFORMAT);
        check_contains(err.text, i == 3 ? "not UTF-8 text" : "vocab.txt");
        remove_folder(source);
    }
}

static void check_text(const char *dir, const char *name, const char *wanted)
{
    char path[FOLDER_PATH];
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    path_in(dir, name, path);
    check_ok(qd_file_read(path, 100, &text, &err));
    assert_string_equal(qd_str_borrow(&text), wanted);
}

static void folders_and_other_weights_and_our_own_records_are_not_carried_over(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char source[FOLDER_PATH], path[FOLDER_PATH];
    static const char *const left_out[] = { "pytorch_model.bin",   "pytorch_model-00001-of-00002.bin",
                                            "model-q4.gguf",       "tf_model.h5",
                                            "manifest.json",       "certificate.json",
                                            "extra.safetensors",   "provenance.json",
                                            "provenance.dsse.json" };
    static const char *const carried[] = { "tok512.bin",       "README.md",     ".gitattributes", "a b \xc3\xa4.txt",
                                           "README.source.md", "README.md.txt", "tokenizer.json", "empty.bin" };
    folder_make(source);
    tiny_write(source, (tiny){ .seed = 1 });
    for (size_t i = 0; i < QD_LENGTH(left_out); i++)
        text_put(source, left_out[i], "{}");
    for (size_t i = 0; i < 6; i++)
        text_put(source, carried[i], carried[i]);
    path_in(source, "onnx", path);
    assert_int_equal(mkdir(path, 0755), 0);
    text_put(path, "inner.txt", "x");
    scene *s = scene_open(source, "compressed-tensors", grid_of(4, QD_ZERO_NONE, 8, "bf16"));
    check_ok(scene_write(s, &err));
    check_ok(scene_check(s, &err));
    json_t *manifest = manifest_of(s->dir);
    for (size_t i = 0; i < QD_LENGTH(carried); i++)
        if (strcmp(carried[i], "README.md") != 0)
            check_role(manifest, carried[i], "side");
    /* our card's name is free; who had it, or the name it gives way to, goes one further */
    assert_null(file_of(manifest, "README.md"));
    check_role(manifest, "README.source.source.md", "side");
    check_text(s->dir, "README.source.md", "README.md");
    check_text(s->dir, "README.source.source.md", "README.source.md");
    for (size_t i = 0; i < QD_LENGTH(left_out); i++)
        assert_null(file_of(manifest, left_out[i]));
    assert_int_equal(json_array_size(json_object_get(manifest, "files")), QD_LENGTH(carried) + 2);
    json_decref(manifest);
    scene_close(s);
    remove_folder(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(novella_in_4_bits_comes_back_with_its_side_files_and_a_true_manifest),
        cmocka_unit_test(config_json_is_the_sources_with_quantization_config_as_loaders_want_it),
        cmocka_unit_test(a_dequantized_config_names_a_type_that_holds_every_tensor),
        cmocka_unit_test(a_sharded_source_stays_sharded_with_an_index_of_the_new_names),
        cmocka_unit_test(tensors_beyond_the_limit_go_into_numbered_shards_with_an_index),
        cmocka_unit_test(the_same_decision_gives_the_same_bytes),
        cmocka_unit_test(extra_facts_are_merged_but_cannot_replace_ours),
        cmocka_unit_test(a_plain_model_opens_as_itself),
        cmocka_unit_test(eight_bit_floats_open_as_a_plain_model),
        cmocka_unit_test(a_block_loads_through_the_overlay_of_an_artifact),
        cmocka_unit_test(links_and_devices_among_side_files_are_refused_by_name),
        cmocka_unit_test(folders_and_other_weights_and_our_own_records_are_not_carried_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
