/* test_artifact_check.c: every planted fault found and named; hostile folders refused. */
#include "folders.h"

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

/* A fault, then the check with the old manifest (digests must find it) and with a fresh one (the comparison itself
 * must). */
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
    remove_folder(source);
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
    remove_folder(source);
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
    remove_folder(source);
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
    remove_folder(source);
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
    remove_folder(source);
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
    remove_folder(source);
}

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

static void a_config_that_drifted_from_the_sources_is_named_by_its_key(void **state)
{
    (void)state;
    static const char *const keys[] = { "\"max_position_embeddings\": 64", "\"a_key_we_do_not_know\": {" };
    for (size_t i = 0; i < QD_LENGTH(keys); i++) {
        qd_error err = { 0 };
        char source[FOLDER_PATH], key[64];
        scene *s = written_scene(source, (tiny){ .seed = 2 }, "safetensors", grid_of(4, QD_ZERO_NONE, 8, "bf16"));
        replace(s->dir, "config.json", keys[i],
                i == 0 ? "\"max_position_embeddings\": 65" : "\"a_key_we_do_not_know\": { \"x\": 1,");
        check_ok(qd_artifact_write_manifest(s->dir, NULL, NULL, &err));
        check_fails(scene_check(s, &err), QD_EFORMAT);
        sscanf(keys[i], "\"%60[a-z_]\"", key);
        check_contains(err.text, key);
        scene_close(s);
        remove_folder(source);
    }
}

/* Rewrites model.safetensors with one more tensor, of zeros. */
static void add_tensor(const char *dir, const char *name, const char *dtype, size_t rows, size_t cols)
{
    qd_error err = { 0 };
    char path[FOLDER_PATH];
    qd_tensor_out tensors[80];
    void *zeros = NULL;
    qd_safetensors *file = NULL;
    path_in(dir, "model.safetensors", path);
    check_ok(qd_safetensors_open(path, &file, &err));
    size_t count = qd_safetensors_count(file);
    assert_true(count < QD_LENGTH(tensors));
    for (size_t i = 0; i < count; i++) {
        const qd_tensor *t = qd_safetensors_at(file, i);
        tensors[i] = (qd_tensor_out){ .name = t->name, .dtype = t->dtype, .rank = t->rank, .data = t->data };
        memcpy(tensors[i].shape, t->shape, sizeof t->shape);
    }
    check_ok(qd_alloc(rows * cols, 8, &zeros, &err));
    tensors[count++] = (qd_tensor_out){ name, qd_dtype_find(dtype), 2, { rows, cols }, zeros };
    check_ok(qd_safetensors_write(path, tensors, count, NULL, NULL, 0, &err));
    qd_safetensors_destroy(file);
    free(zeros);
}

static void a_tensor_too_many_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *name, *dtype;
        size_t rows, cols;
        const char *named;
        qd_code code;
    } cases[] = {
        { "model.stray", "F32", 2, 2, "'model.stray' is neither", QD_EFORMAT },
        { LAYER "2.weight_packed", "I32", 2, 2, "up_proj2.weight_packed' is neither", QD_EFORMAT },
        { LAYER ".weight", "F32", 24, 8, "beside its packed form", QD_EFORMAT },
        { LAYER ".weight_g_idx", "I32", 1, 8, "weight_g_idx", QD_EFORMAT },
        { LAYER ".weight_zero_point", "I32", 3, 1, "symmetric", QD_EFORMAT },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        qd_error err = { 0 };
        char source[FOLDER_PATH];
        scene *s =
            written_scene(source, (tiny){ .seed = 2 }, "compressed-tensors", grid_of(4, QD_ZERO_NONE, 8, "bf16"));
        add_tensor(s->dir, cases[i].name, cases[i].dtype, cases[i].rows, cases[i].cols);
        check_ok(qd_artifact_write_manifest(s->dir, NULL, NULL, &err));
        check_fails(scene_check(s, &err), cases[i].code);
        check_contains(err.text, cases[i].named);
        scene_close(s);
        remove_folder(source);
    }
}

/* ---- hostile folders ---- */

/* Opens, and reads the first layer where opening succeeds. */
static qd_code open_and_read(const char *dir, qd_error *err)
{
    qd_artifact *artifact = NULL;
    qd_code code = qd_artifact_open(dir, &artifact, err);
    qd_block *block = NULL;
    if (code == QD_OK)
        code = qd_block_load(qd_artifact_model(artifact), 0, qd_artifact_overlay(artifact), QD_ARITHMETIC_FLOAT32,
                             &block, err);
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
        { "\"num_bits\": 4", "\"num_bits\": 9", "num_bits: 9", QD_EUNSUPPORTED },
        { "\"num_bits\": 4", "\"num_bits\": -4", "num_bits", QD_EFORMAT },
        { "\"num_bits\": 4", "\"num_bits\": 4294967300", "num_bits", QD_EUNSUPPORTED },
        { "\"group_size\": 8", "\"group_size\": 4", "weight_scale", QD_EFORMAT },
        { "\"group_size\": 8", "\"group_size\": 7", "groups of 7", QD_EFORMAT },
        { "\"group_size\": 8", "\"group_size\": null", "strategy", QD_EFORMAT },
        { "\"symmetric\": true", "\"symmetric\": false", "weight_zero_point", QD_EFORMAT },
        { "\"symmetric\": true", "\"symmetric\": 1", "symmetric", QD_EFORMAT },
        { "\"type\": \"int\"", "\"type\": \"float\"", "type: 'float'", QD_EUNSUPPORTED },
        { "\"strategy\": \"group\"", "\"strategy\": \"block\"", "strategy: 'block'", QD_EUNSUPPORTED },
        { "\"pack-quantized\"", "\"int-quantized\"", "int-quantized", QD_EUNSUPPORTED },
        { "\"compressed-tensors\"", "\"gptq\"", "bits: 0", QD_EUNSUPPORTED },
        { "\"compressed-tensors\"", "\"bitsandbytes\"", "quantized already", QD_EUNSUPPORTED },
        { "\"Linear\"", "\"re:.*q_proj\"", "k_proj.weight' is missing", QD_EFORMAT },
        { "\"Linear\"", "\"re:.*(q|k)_proj{1,2}\"", "'{1,'", QD_EUNSUPPORTED },
        { "\"Linear\"", "\"re:.*((q|k)+)+_proj\"", "')+)' is not supported", QD_EUNSUPPORTED },
        { "\"Linear\"", "\"re:a++++\"", "'+++' is not supported", QD_EUNSUPPORTED },
        { "\"Linear\"", "\"re:.*(?=x)\"", "'(?=' is not supported", QD_EUNSUPPORTED },
        { "\"Linear\"", "\"re:[\\\\d]\"", "'\\d]' is not supported", QD_EUNSUPPORTED },
        { "\"Linear\"", "\"re:(\"", "'re:(' is none", QD_EFORMAT },
        { "\"lm_head\"", "\"re:.*mlp\"", "gate_proj.weight' is missing", QD_EFORMAT },
        { "\"lm_head\"", "7", "ignore[0]", QD_EFORMAT },
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
        remove_folder(source);
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
        remove_folder(source);
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
    remove_folder(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_planted_fault_is_found_and_named_even_when_the_manifest_agrees_with_it),
        cmocka_unit_test(every_single_bit_of_a_packed_layer_counts),
        cmocka_unit_test(a_nan_scale_is_named_with_its_tensor),
        cmocka_unit_test(files_too_many_or_too_few_are_named),
        cmocka_unit_test(a_config_that_drifted_from_the_sources_is_named_by_its_key),
        cmocka_unit_test(a_tensor_too_many_is_named),
        cmocka_unit_test(a_check_against_another_decision_or_format_fails),
        cmocka_unit_test(a_check_can_be_cancelled_and_reports_every_layer),
        cmocka_unit_test(a_config_that_does_not_fit_the_tensors_is_refused_naming_what),
        cmocka_unit_test(a_manifest_that_lies_or_points_elsewhere_is_refused),
        cmocka_unit_test(a_dequantized_value_beyond_f16_is_refused_when_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
