/* test_artifact.c: a folder written, described, opened again; and every planted fault found and named. */
#include "folders.h"

#include <sys/stat.h>

#include "export/shard_writer.h"
#include "model/shards.h"

static const char novella[] = "tests/models/novella-1m";

static scene *tiny_scene(char *source, tiny m, const char *format, qd_grid_spec spec)
{
    folder_make(source);
    tiny_write(source, m);
    return scene_open(source, format, spec);
}

static scene *written_scene(char *source, tiny m, const char *format, qd_grid_spec spec)
{
    qd_error err = { 0 };
    scene *s = tiny_scene(source, m, format, spec);
    check_ok(scene_write(s, &err));
    check_ok(scene_check(s, &err));
    return s;
}

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
    assert_string_equal(json_string_value(json_object_get(manifest, "format")), "compressed-tensors");
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
        folder_remove(source);
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
        folder_remove(source);
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
        folder_remove(source);
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
    folder_remove(dir);
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
    folder_remove(again);
    folder_make(s->dir);
    check_ok(scene_write(s, &err));
    qd_str second = file_get(s->dir, "manifest.json"); /* holds the digest of every other file */
    assert_string_equal(first.data, second.data);
    assert_null(strstr(first.data, s->dir));
    qd_str_fini(&first);
    qd_str_fini(&second);
    scene_close(s);
    folder_remove(source);
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
    assert_string_equal(json_string_value(json_object_get(manifest, "format")), "compressed-tensors");
    check_role(manifest, "certificate.json", "record");
    check_ok(scene_check(s, &err));
    json_decref(extra);
    json_decref(manifest);
    scene_close(s);
    folder_remove(source);
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
    folder_remove(source);
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
        check_ok(qd_block_load(qd_artifact_model(artifact), 0, qd_artifact_overlay(artifact), &block, &err));
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
        folder_remove(source);
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
        folder_remove(source);
    }
}

static void folders_and_other_weights_and_our_own_records_are_not_carried_over(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char source[FOLDER_PATH], path[FOLDER_PATH];
    static const char *const left_out[] = { "pytorch_model.bin", "pytorch_model-00001-of-00002.bin",
                                            "model-q4.gguf",     "tf_model.h5",
                                            "manifest.json",     "certificate.json",
                                            "extra.safetensors" };
    static const char *const carried[] = { "tok512.bin",       "README.md",      ".gitattributes",
                                           "a b \xc3\xa4.txt", "tokenizer.json", "empty.bin" };
    folder_make(source);
    tiny_write(source, (tiny){ .seed = 1 });
    for (size_t i = 0; i < QD_LENGTH(left_out); i++)
        text_put(source, left_out[i], "{}");
    for (size_t i = 0; i < 4; i++)
        text_put(source, carried[i], "text");
    path_in(source, "onnx", path);
    assert_int_equal(mkdir(path, 0755), 0);
    text_put(path, "inner.txt", "x");
    scene *s = scene_open(source, "compressed-tensors", grid_of(4, QD_ZERO_NONE, 8, "bf16"));
    check_ok(scene_write(s, &err));
    check_ok(scene_check(s, &err));
    json_t *manifest = manifest_of(s->dir);
    for (size_t i = 0; i < QD_LENGTH(carried); i++)
        check_role(manifest, carried[i], "side");
    for (size_t i = 0; i < QD_LENGTH(left_out); i++)
        assert_null(file_of(manifest, left_out[i]));
    assert_int_equal(json_array_size(json_object_get(manifest, "files")), QD_LENGTH(carried) + 2);
    json_decref(manifest);
    scene_close(s);
    folder_remove(source);
}

/* ---- planted faults ---- */

/* XORs one byte of a file; at < 0 counts from the end. */
static void flip(const char *dir, const char *name, long at, unsigned char bits)
{
    qd_str bytes = file_get(dir, name);
    size_t index = at < 0 ? bytes.length - (size_t)-at : (size_t)at;
    bytes.data[index] = (char)((unsigned char)bytes.data[index] ^ bits);
    file_put(dir, name, bytes.data, bytes.length);
    qd_str_fini(&bytes);
}

static void truncate_file(const char *dir, const char *name, size_t cut)
{
    qd_str bytes = file_get(dir, name);
    file_put(dir, name, bytes.data, bytes.length - cut);
    qd_str_fini(&bytes);
}

/* Where a tensor's bytes begin in the one weight file of a scene. */
static long place_of(const scene *s, const char *tensor)
{
    qd_error err = { 0 };
    char path[FOLDER_PATH];
    uint64_t header;
    qd_safetensors *file = NULL;
    path_in(s->dir, "model.safetensors", path);
    check_ok(qd_safetensors_open(path, &file, &err));
    qd_str bytes = file_get(s->dir, "model.safetensors");
    memcpy(&header, bytes.data, sizeof header);
    const unsigned char *first = NULL;
    for (size_t i = 0; i < qd_safetensors_count(file); i++)
        if (first == NULL || qd_safetensors_at(file, i)->data < first)
            first = qd_safetensors_at(file, i)->data;
    const qd_tensor *t = qd_safetensors_find(file, tensor);
    assert_non_null(t);
    long at = (long)(8 + header) + (long)(t->data - first);
    qd_str_fini(&bytes);
    qd_safetensors_destroy(file);
    return at;
}

/* A fault, then the check with the old manifest (digests must find it) and with a fresh one (the comparison itself must). */
typedef struct fault {
    const char *file;
    const char *tensor; /* place of the flip; NULL = the first byte of the file */
    unsigned char bits;
    size_t cut; /* instead of a flip */
    const char *named;
} fault;

static void plant(const char *format, qd_grid_spec spec, const fault *f)
{
    qd_error err = { 0 };
    char source[FOLDER_PATH];
    scene *s = written_scene(source, (tiny){ .seed = 4, .dtype = "BF16" }, format, spec);
    if (f->cut > 0)
        truncate_file(s->dir, f->file, f->cut);
    else
        flip(s->dir, f->file, f->tensor == NULL ? 0 : place_of(s, f->tensor) + 1, f->bits);
    check_fails(scene_check(s, &err), QD_EFORMAT);
    check_contains(err.text, f->file);
    if (qd_artifact_write_manifest(s->dir, NULL, NULL, &err) == QD_OK) {
        assert_int_not_equal(scene_check(s, &err), QD_OK);
        check_contains(err.text, f->named);
    } else
        check_contains(err.text, f->file);
    scene_close(s);
    folder_remove(source);
}

#define LAYER "model.layers.0.mlp.up_proj"

static void a_planted_fault_is_found_and_named_even_when_the_manifest_agrees_with_it(void **state)
{
    (void)state;
    static const fault packed[] = {
        { "model.safetensors", LAYER ".weight_packed", 0x01, 0, "layer '" LAYER "': weight (" },
        { "model.safetensors", LAYER ".weight_packed", 0x80, 0, "layer '" LAYER "': weight (" },
        { "model.safetensors", LAYER ".weight_scale", 0x01, 0, LAYER },
        { "model.safetensors", LAYER ".weight_zero_point", 0x01, 0, "layer '" LAYER "': weight (" },
        { "model.safetensors", LAYER ".weight_shape", 0x01, 0, LAYER ".weight_shape" },
        { "model.safetensors", "model.embed_tokens.weight", 0x01, 0, "'model.embed_tokens.weight'" },
        { "model.safetensors", "model.layers.0.self_attn.v_proj.bias", 0x80, 0, "v_proj.bias'" },
        { "model.safetensors", NULL, 0, 1, "model.safetensors" },
        { "model.safetensors", NULL, 0, 4000, "model.safetensors" },
        { "tokenizer.json", NULL, 0x20, 0, "tokenizer.json" },
        { "tokenizer.json", NULL, 0, 2, "tokenizer.json" },
        { "config.json", NULL, 0x20, 0, "config.json" },
    };
    static const fault plain[] = {
        { "model.safetensors", LAYER ".weight", 0x01, 0, "layer '" LAYER "': weight (" },
        { "model.safetensors", "model.norm.weight", 0x01, 0, "'model.norm.weight'" },
        { "tokenizer.json", NULL, 0x20, 0, "tokenizer.json" },
    };
    for (size_t i = 0; i < QD_LENGTH(packed); i++)
        plant("compressed-tensors", grid_of(4, QD_ZERO_INTEGER, 8, "bf16"), &packed[i]);
    for (size_t i = 0; i < QD_LENGTH(plain); i++)
        plant("safetensors:bf16", grid_of(5, QD_ZERO_FLOAT, 7, "f32"), &plain[i]);
}

/* Every bit of one packed row, one after the other. */
static void every_single_bit_of_a_packed_layer_counts(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char source[FOLDER_PATH];
    scene *s = written_scene(source, (tiny){ .head_dim = 4, .intermediate = 4 }, "compressed-tensors",
                             grid_of(8, QD_ZERO_NONE, 4, "bf16"));
    long at = place_of(s, "model.layers.0.self_attn.k_proj.weight_packed");
    for (long bit = 0; bit < 4 * 4 * 8; bit++) {
        flip(s->dir, "model.safetensors", at + bit / 8, (unsigned char)(1 << bit % 8));
        check_ok(qd_artifact_write_manifest(s->dir, NULL, NULL, &err));
        check_fails(scene_check(s, &err), QD_EFORMAT);
        char place[64];
        snprintf(place, sizeof place, "k_proj': weight (%ld, %ld)", bit / 32, bit / 8 % 4);
        check_contains(err.text, place);
        flip(s->dir, "model.safetensors", at + bit / 8, (unsigned char)(1 << bit % 8));
    }
    check_ok(qd_artifact_write_manifest(s->dir, NULL, NULL, &err));
    check_ok(scene_check(s, &err));
    scene_close(s);
    folder_remove(source);
}

static void a_nan_scale_is_named_with_its_tensor(void **state)
{
    (void)state;
    static const unsigned char nan_bf16[] = { 0xc0, 0x7f };
    qd_error err = { 0 };
    char source[FOLDER_PATH];
    scene *s =
        written_scene(source, (tiny){ .dtype = "BF16" }, "compressed-tensors", grid_of(4, QD_ZERO_NONE, 8, "bf16"));
    long at = place_of(s, LAYER ".weight_scale") + 2 * 3;
    qd_str bytes = file_get(s->dir, "model.safetensors");
    memcpy(bytes.data + at, nan_bf16, sizeof nan_bf16);
    file_put(s->dir, "model.safetensors", bytes.data, bytes.length);
    qd_str_fini(&bytes);
    check_ok(qd_artifact_write_manifest(s->dir, NULL, NULL, &err));
    check_fails(scene_check(s, &err), QD_ENUMERIC);
    check_contains(err.text, "'" LAYER ".weight_scale': element 3 is nan");
    scene_close(s);
    folder_remove(source);
}

static void files_too_many_or_too_few_are_named(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char source[FOLDER_PATH], path[FOLDER_PATH];
    scene *s = written_scene(source, (tiny){ .seed = 2 }, "compressed-tensors", grid_of(4, QD_ZERO_NONE, 8, "bf16"));
    text_put(s->dir, "stray.txt", "x");
    check_fails(scene_check(s, &err), QD_EFORMAT);
    check_contains(err.text, "'stray.txt' is not in the manifest");
    check_ok(qd_artifact_write_manifest(s->dir, NULL, NULL, &err));
    check_fails(scene_check(s, &err), QD_EFORMAT);
    check_contains(err.text, "'stray.txt' is neither the source's nor ours");
    path_in(s->dir, "stray.txt", path);
    assert_int_equal(unlink(path), 0);
    check_fails(scene_check(s, &err), QD_EFORMAT);
    check_contains(err.text, "'stray.txt' of the manifest is missing");
    path_in(s->dir, "tokenizer.json", path);
    assert_int_equal(unlink(path), 0);
    check_ok(qd_artifact_write_manifest(s->dir, NULL, NULL, &err));
    check_fails(scene_check(s, &err), QD_EFORMAT);
    check_contains(err.text, "'tokenizer.json' of the source is missing");
    assert_int_equal(symlink("config.json", path), 0);
    check_fails(scene_check(s, &err), QD_EFORMAT);
    check_contains(err.text, "tokenizer.json' is a symbolic link");
    scene_close(s);
    folder_remove(source);
}

static void a_check_against_another_decision_or_format_fails(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char source[FOLDER_PATH];
    scene *s = written_scene(source, (tiny){ .seed = 2 }, "compressed-tensors", grid_of(4, QD_ZERO_NONE, 8, "bf16"));
    s->decided.codes[6][17] ^= 1;
    check_fails(scene_check(s, &err), QD_EFORMAT);
    check_contains(err.text, "layer 'model.layers.0.mlp.down_proj': weight (0, 17)");
    s->decided.codes[6][17] ^= 1;
    check_ok(scene_check(s, &err));
    s->format = qd_format_find("safetensors", &s->variant);
    check_fails(scene_check(s, &err), QD_EFORMAT);
    check_contains(err.text, "not of format 'safetensors'");
    scene_close(s);
    folder_remove(source);
}

static void count_step(void *ctx, size_t done, size_t total, const char *unit)
{
    size_t *seen = ctx;
    assert_int_equal(done, ++*seen);
    assert_int_equal(total, 7);
    assert_string_equal(unit, "layers");
}

static void a_check_can_be_cancelled_and_reports_every_layer(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char source[FOLDER_PATH];
    size_t seen = 0;
    const qd_progress progress = { count_step, &seen };
    qd_cancel cancel = { 0 };
    scene *s = written_scene(source, (tiny){ .seed = 2 }, "compressed-tensors", grid_of(4, QD_ZERO_NONE, 8, "bf16"));
    qd_rounded_source decided = decided_source(&s->decided);
    check_ok(qd_artifact_check(s->dir, s->model, s->format, s->variant, &decided, &progress, &cancel, &err));
    assert_int_equal(seen, 7);
    qd_cancel_request(&cancel);
    check_fails(qd_artifact_check(s->dir, s->model, s->format, s->variant, &decided, NULL, &cancel, &err),
                QD_ECANCELLED);
    scene_close(s);
    folder_remove(source);
}

/* ---- hostile folders ---- */

/* Replaces the first `old` in a file of the artifact. */
static void replace(const char *dir, const char *name, const char *old, const char *new)
{
    qd_str text = file_get(dir, name), out = { 0 };
    char *at = strstr(text.data, old);
    assert_non_null(at);
    qd_str_add_bytes(&out, text.data, (size_t)(at - text.data));
    qd_str_add(&out, new);
    qd_str_add(&out, at + strlen(old));
    text_put(dir, name, out.data);
    qd_str_fini(&text);
    qd_str_fini(&out);
}

/* Opens, and reads the first layer where opening succeeds. */
static qd_code open_and_read(const char *dir, qd_error *err)
{
    qd_artifact *artifact = NULL;
    qd_code code = qd_artifact_open(dir, &artifact, err);
    qd_block *block = NULL;
    if (code == QD_OK)
        code = qd_block_load(qd_artifact_model(artifact), 0, qd_artifact_overlay(artifact), &block, err);
    qd_block_destroy(block);
    qd_artifact_destroy(artifact);
    return code;
}

static void a_config_that_does_not_fit_the_tensors_is_refused_naming_what(void **state)
{
    (void)state;
    static const struct {
        const char *old, *new, *named;
        qd_code code;
    } cases[] = {
        { "\"num_bits\": 4", "\"num_bits\": 8", "weight_packed", QD_EFORMAT },
        { "\"num_bits\": 4", "\"num_bits\": 3", "num_bits: 3", QD_EUNSUPPORTED },
        { "\"num_bits\": 4", "\"num_bits\": -4", "num_bits", QD_EFORMAT },
        { "\"num_bits\": 4", "\"num_bits\": 4294967300", "num_bits", QD_EUNSUPPORTED },
        { "\"group_size\": 8", "\"group_size\": 4", "weight_scale", QD_EFORMAT },
        { "\"group_size\": 8", "\"group_size\": 7", "groups of 7", QD_EFORMAT },
        { "\"group_size\": 8", "\"group_size\": null", "strategy", QD_EFORMAT },
        { "\"symmetric\": true", "\"symmetric\": false", "weight_zero_point", QD_EFORMAT },
        { "\"symmetric\": true", "\"symmetric\": 1", "symmetric", QD_EFORMAT },
        { "\"type\": \"int\"", "\"type\": \"float\"", "type: 'float'", QD_EUNSUPPORTED },
        { "\"actorder\": null", "\"actorder\": \"group\"", "actorder", QD_EUNSUPPORTED },
        { "\"pack-quantized\"", "\"int-quantized\"", "int-quantized", QD_EUNSUPPORTED },
        { "\"compressed-tensors\"", "\"gptq\"", "quantized already", QD_EUNSUPPORTED },
        { "\"Linear\"", "\"re:.*q_proj\"", "config_groups", QD_EUNSUPPORTED },
        { "\"input_activations\": null", "\"input_activations\": {}", "config_groups", QD_EUNSUPPORTED },
        { "\"group_0\": {", "\"group_0\": 5, \"x\": {", "config_groups", QD_EUNSUPPORTED },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        qd_error err = { 0 };
        char source[FOLDER_PATH];
        scene *s =
            written_scene(source, (tiny){ .seed = 2 }, "compressed-tensors", grid_of(4, QD_ZERO_NONE, 8, "bf16"));
        check_ok(open_and_read(s->dir, &err));
        replace(s->dir, "config.json", cases[i].old, cases[i].new);
        check_fails(open_and_read(s->dir, &err), cases[i].code);
        check_contains(err.text, cases[i].named);
        scene_close(s);
        folder_remove(source);
    }
}

static void a_manifest_that_lies_or_points_elsewhere_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *old, *new, *named;
    } cases[] = {
        { "\"path\": \"config.json\"", "\"path\": \"../config.json\"", "files[0]" },
        { "\"path\": \"config.json\"", "\"path\": \"/etc/passwd\"", "files[0]" },
        { "\"path\": \"config.json\"", "\"path\": 7", "files[0]" },
        { "\"path\": \"config.json\"", "\"path\": \"tokenizer.json\"", "listed twice" },
        { "\"size\": ", "\"size\": 1", "config.json' has" },
        { "\"sha256\": \"", "\"sha256\": \"0", "digest" },
        { "\"files\": [", "\"fils\": [", "'files'" },
        { "\"files\": [", "\"files\": [7,", "files[0]" },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        qd_error err = { 0 };
        char source[FOLDER_PATH];
        scene *s =
            written_scene(source, (tiny){ .seed = 2 }, "compressed-tensors", grid_of(4, QD_ZERO_NONE, 8, "bf16"));
        replace(s->dir, "manifest.json", cases[i].old, cases[i].new);
        check_fails(qd_artifact_check_files(s->dir, NULL, &err), QD_EFORMAT);
        check_contains(err.text, cases[i].named);
        scene_close(s);
        folder_remove(source);
    }
}

static void a_dequantized_value_beyond_f16_is_refused_when_written(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char source[FOLDER_PATH];
    scene *s = tiny_scene(source, (tiny){ .seed = 2 }, "safetensors:f16", grid_of(4, QD_ZERO_NONE, 8, "f32"));
    s->decided.grids[0].scale.view.data[0] = 1e6f;
    s->decided.codes[0][0] = 15;
    check_fails(scene_write(s, &err), QD_ENUMERIC);
    check_contains(err.text, "q_proj");
    check_contains(err.text, "does not fit F16");
    scene_close(s);
    folder_remove(source);
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
        cmocka_unit_test(a_block_loads_through_the_overlay_of_an_artifact),
        cmocka_unit_test(links_and_devices_among_side_files_are_refused_by_name),
        cmocka_unit_test(folders_and_other_weights_and_our_own_records_are_not_carried_over),
        cmocka_unit_test(a_planted_fault_is_found_and_named_even_when_the_manifest_agrees_with_it),
        cmocka_unit_test(every_single_bit_of_a_packed_layer_counts),
        cmocka_unit_test(a_nan_scale_is_named_with_its_tensor),
        cmocka_unit_test(files_too_many_or_too_few_are_named),
        cmocka_unit_test(a_check_against_another_decision_or_format_fails),
        cmocka_unit_test(a_check_can_be_cancelled_and_reports_every_layer),
        cmocka_unit_test(a_config_that_does_not_fit_the_tensors_is_refused_naming_what),
        cmocka_unit_test(a_manifest_that_lies_or_points_elsewhere_is_refused),
        cmocka_unit_test(a_dequantized_value_beyond_f16_is_refused_when_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
