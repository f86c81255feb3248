/* test_shards.c: model.safetensors.index.json and the files it names (formats.md §1.4, §1.2 rule 11). */
#include "forward.h"

#include <sys/stat.h>

#include "base/str.h"
#include "model/shards.h"

static const char first_shard[] = "model-00001-of-00002.safetensors";
static const char second_shard[] = "model-00002-of-00002.safetensors";
static const char index_name[] = "model.safetensors.index.json";

typedef struct folder {
    char path[4096];
    char file[4300]; /* what at() said last */
} folder;

static const char *at(folder *f, const char *name)
{
    snprintf(f->file, sizeof f->file, "%s/%s", f->path, name);
    return f->file;
}

/* A copy of the sharded fixture. */
static void open_folder(folder *f)
{
    char source[4096];
    temporary_folder(f->path, sizeof f->path);
    copy_folder(SOURCE_PATH(source, "tests/core/model/fixtures/mqa-shards-f16"), f->path);
}

static void close_folder(folder *f)
{
    qd_error err = { 0 };
    check_ok(qd_dir_remove(f->path, &err));
}

static void write_text(const char *path, const char *text)
{
    qd_error err = { 0 };
    check_ok(qd_file_write(path, text, strlen(text), &err));
}

/* The index with its first `from` replaced by `to`. */
static void edit_index(folder *f, const char *from, const char *to)
{
    qd_error err = { 0 };
    qd_str text = { 0 }, edited = { 0 };
    check_ok(qd_file_read(at(f, index_name), 1 << 20, &text, &err));
    const char *place = strstr(text.data, from);
    assert_non_null(place);
    qd_str_add_bytes(&edited, text.data, (size_t)(place - text.data));
    qd_str_add(&edited, to);
    qd_str_add(&edited, place + strlen(from));
    write_text(at(f, index_name), qd_str_borrow(&edited));
    qd_str_fini(&text);
    qd_str_fini(&edited);
}

static void open_is_refused(folder *f, qd_code code, const char *part)
{
    qd_error err = { 0 };
    qd_model *model = NULL;
    check_fails(qd_model_open(f->path, &model, &err), code);
    check_contains(err.text, f->path);
    check_contains(err.text, part);
}

static void shards_are_one_set_of_tensors(void **state)
{
    (void)state;
    qd_error err = { 0 };
    folder f;
    open_folder(&f);
    qd_shards shards = { 0 };
    check_ok(qd_shards_open(f.path, &shards, &err));
    assert_int_equal(shards.file_count, 2);
    assert_string_equal(shards.names[0], first_shard);
    assert_string_equal(shards.names[1], second_shard);
    assert_int_equal(shards.tensor_count, 29);
    assert_int_equal(shards.warning_count, 0);
    for (size_t i = 0; i < shards.tensor_count; i++) {
        assert_ptr_equal(qd_shards_find(&shards, shards.tensors[i]->name), shards.tensors[i]);
        assert_true(i == 0 || strcmp(shards.tensors[i - 1]->name, shards.tensors[i]->name) < 0);
    }
    assert_null(qd_shards_find(&shards, "model"));
    qd_shards_fini(&shards);
    close_folder(&f);
}

typedef struct edit {
    const char *claim, *from, *to, *part;
} edit;

static const edit edits[] = {
    { "a shard in the folder above", "model-00001-of", "../model-00001-of", "a bare name ending in .safetensors" },
    { "an absolute shard", "model-00001-of", "/tmp/model-00001-of", "a bare name ending in .safetensors" },
    { "a shard in a folder below", "model-00001-of", "x/model-00001-of", "a bare name ending in .safetensors" },
    { "a shard with a backslash", "model-00001-of", "..\\\\model-00001-of", "a bare name ending in .safetensors" },
    { "a shard that begins with a dot", "model-00001-of", ".model-00001-of", "a bare name ending in .safetensors" },
    { "a shard of another kind", "00002.safetensors", "00002.bin", "a bare name ending in .safetensors" },
    { "a shard that is only the ending", first_shard, ".safetensors", "a bare name ending in .safetensors" },
    { "an empty shard name", first_shard, "", "a bare name ending in .safetensors" },
    { "a NUL in a shard name", first_shard, "a\\u0000.safetensors", "JSON" },
    { "a shard that is not there", first_shard, "model-00003-of-00002.safetensors",
      "shard 'model-00003-of-00002.safetensors' is missing" },
    { "a tensor said to be in the other shard", first_shard, second_shard, "is not in 'model-00002-of-00002" },
    { "a tensor that no shard has", "\"model.norm.weight\"", "\"model.norm.other\"", "'model.norm.other' is not in" },
    { "a shard that is a number", "\"model-00001-of-00002.safetensors\"", "1", "names no file" },
    { "no weight_map", "\"weight_map\"", "\"weight_maps\"", "'weight_map' is missing" },
    { "a tensor twice", "\"weight_map\": {", "\"weight_map\": {\"model.norm.weight\": \"a\",", "duplicate" },
    { "deep nesting", "\"metadata\": {", "\"x\": [[[[1]]]], \"metadata\": {", "nested deeper" },
    { "cut JSON", "}\n", "", "JSON" },
};

static void index_is_refused(void **state)
{
    const edit *e = *state;
    folder f;
    open_folder(&f);
    edit_index(&f, e->from, e->to);
    open_is_refused(&f, QD_EFORMAT, e->part);
    close_folder(&f);
}

static void an_empty_weight_map_is_refused(void **state)
{
    (void)state;
    folder f;
    open_folder(&f);
    write_text(at(&f, index_name), "{\"weight_map\":{}}");
    open_is_refused(&f, QD_EFORMAT, "'weight_map' is missing or empty");
    write_text(at(&f, index_name), "{\"weight_map\":[\"a\"]}");
    open_is_refused(&f, QD_EFORMAT, "'weight_map' is missing or empty");
    write_text(at(&f, index_name), "[]");
    open_is_refused(&f, QD_EFORMAT, "an object is wanted");
    close_folder(&f);
}

static void a_tensor_in_two_shards_is_refused_with_both(void **state)
{
    (void)state;
    qd_error err = { 0 };
    folder f;
    open_folder(&f);
    char copy[4300];
    snprintf(copy, sizeof copy, "%s/extra.safetensors", f.path);
    check_ok(qd_file_copy(at(&f, first_shard), copy, &err));
    edit_index(&f, first_shard, "extra.safetensors"); /* one tensor from the copy, the others from the original */
    open_is_refused(&f, QD_EFORMAT, "is in two shards, 'extra.safetensors' and 'model-00001-of-00002.safetensors'");
    close_folder(&f);
}

static void a_link_must_stay_in_the_folder(void **state)
{
    (void)state;
    qd_error err = { 0 };
    folder f, outside;
    open_folder(&f);
    open_folder(&outside);
    char target[4300];
    snprintf(target, sizeof target, "%s", at(&outside, first_shard));
    assert_int_equal(unlink(at(&f, first_shard)), 0);
    assert_int_equal(symlink(target, at(&f, first_shard)), 0);
    open_is_refused(&f, QD_EFORMAT, "leads out of its folder");
    assert_int_equal(unlink(at(&f, first_shard)), 0);
    assert_int_equal(symlink(first_shard, at(&f, first_shard)), 0);
    open_is_refused(&f, QD_EFORMAT, "symbolic links in a circle");
    assert_int_equal(unlink(at(&f, first_shard)), 0);
    assert_int_equal(symlink("nowhere", at(&f, first_shard)), 0);
    open_is_refused(&f, QD_EFORMAT, "is missing");
    assert_int_equal(unlink(at(&f, first_shard)), 0);
    assert_int_equal(mkdir(at(&f, first_shard), 0700), 0);
    open_is_refused(&f, QD_EFORMAT, "not a regular file");
    assert_int_equal(rmdir(at(&f, first_shard)), 0);
    assert_int_equal(mkfifo(at(&f, first_shard), 0600), 0);
    open_is_refused(&f, QD_EFORMAT, "not a regular file");
    assert_int_equal(unlink(at(&f, first_shard)), 0);
    check_ok(qd_file_copy(target, at(&f, "blob"), &err)); /* a link to a neighbour is fine */
    assert_int_equal(symlink("blob", at(&f, first_shard)), 0);
    qd_model *model = NULL;
    check_ok(qd_model_open(f.path, &model, &err));
    qd_model_destroy(model);
    close_folder(&f);
    close_folder(&outside);
}

static void the_config_is_a_regular_file_of_the_folder(void **state)
{
    (void)state;
    folder f;
    open_folder(&f);
    assert_int_equal(unlink(at(&f, "config.json")), 0);
    open_is_refused(&f, QD_ENOTFOUND, "config.json");
    assert_int_equal(mkfifo(at(&f, "config.json"), 0600), 0); /* reading it would wait for ever */
    open_is_refused(&f, QD_EFORMAT, "not a regular file");
    assert_int_equal(unlink(at(&f, "config.json")), 0);
    assert_int_equal(symlink("/etc/hostname", at(&f, "config.json")), 0);
    open_is_refused(&f, QD_EFORMAT, "leads out of its folder");
    close_folder(&f);
}

static void a_folder_without_weights_says_what_it_looked_for(void **state)
{
    (void)state;
    folder f;
    open_folder(&f);
    assert_int_equal(unlink(at(&f, index_name)), 0);
    open_is_refused(&f, QD_ENOTFOUND, "has neither model.safetensors nor model.safetensors.index.json");
    qd_error err = { 0 };
    qd_model *model = NULL;
    check_fails(qd_model_open("/nonexistent", &model, &err), QD_ENOTFOUND);
    close_folder(&f);
}

static void the_single_file_wins_over_the_index(void **state)
{
    (void)state;
    qd_error err = { 0 };
    folder f;
    char source[4096];
    temporary_folder(f.path, sizeof f.path);
    copy_folder(SOURCE_PATH(source, "tests/core/model/fixtures/gqa-tied-bf16"), f.path);
    write_text(at(&f, index_name), "not even JSON");
    qd_model *model = NULL;
    check_ok(qd_model_open(f.path, &model, &err));
    assert_int_equal(qd_model_file_count(model), 1);
    assert_string_equal(qd_model_file_at(model, 0), "model.safetensors");
    assert_null(qd_model_file_at(model, 1));
    qd_model_destroy(model);
    write_text(at(&f, "model.safetensors"), "broken"); /* and does not give way to it */
    open_is_refused(&f, QD_EFORMAT, "at least 8");
    close_folder(&f);
}

static void harmless_findings_are_warnings(void **state)
{
    (void)state;
    qd_error err = { 0 };
    folder f;
    open_folder(&f);
    edit_index(&f, "\"total_size\": ", "\"total_size\": 1");
    edit_index(&f, "  \"model.norm.weight\": \"model-00001-of-00002.safetensors\"",
               "  \"lm_head.weight\": \"model-00003-of-00003.safetensors\"");
    const float values[31 * 16] = { 0 };
    const qd_dtype *f32 = qd_dtype_find("F32");
    const qd_tensor_out more[] = { { "lm_head.weight", f32, 2, { 31, 16 }, values },
                                   { "model.layers.0.self_attn.q_norm.weight", f32, 1, { 16 }, values },
                                   { "model.layers.0.self_attn.q_proj.bias", f32, 1, { 16 }, values },
                                   { "model.layers.0.self_attn.rotary_emb.inv_freq", f32, 1, { 2 }, values } };
    check_ok(
        qd_safetensors_write(at(&f, "model-00003-of-00003.safetensors"), more, QD_LENGTH(more), NULL, NULL, 0, &err));
    qd_model *model = NULL;
    check_ok(qd_model_open(f.path, &model, &err));
    qd_str all = { 0 };
    for (size_t i = 0; qd_model_warning_at(model, i) != NULL; i++)
        qd_str_addf(&all, "%s\n", qd_model_warning_at(model, i));
    check_contains(qd_str_borrow(&all), "does not list tensor 'model.norm.weight'");
    check_contains(qd_str_borrow(&all), "total_size is 1");
    check_contains(qd_str_borrow(&all), "tensor 'model.layers.0.self_attn.q_norm.weight' has no use in this "
                                        "architecture, nor have 1 others");
    /* attention_bias is not set: a stored bias is not one of the model's. */
    assert_null(qd_model_linear_at(model, 0)->bias);
    qd_str_fini(&all);
    qd_model_destroy(model);
    close_folder(&f);
}

int main(void)
{
    enum { OTHERS = 8 };
    struct CMUnitTest tests[QD_LENGTH(edits) + OTHERS] = {
        cmocka_unit_test(shards_are_one_set_of_tensors),
        cmocka_unit_test(an_empty_weight_map_is_refused),
        cmocka_unit_test(a_tensor_in_two_shards_is_refused_with_both),
        cmocka_unit_test(a_link_must_stay_in_the_folder),
        cmocka_unit_test(the_config_is_a_regular_file_of_the_folder),
        cmocka_unit_test(a_folder_without_weights_says_what_it_looked_for),
        cmocka_unit_test(the_single_file_wins_over_the_index),
        cmocka_unit_test(harmless_findings_are_warnings),
    };
    static char claims[QD_LENGTH(edits)][160];
    for (size_t i = 0; i < QD_LENGTH(edits); i++) {
        snprintf(claims[i], sizeof claims[i], "index refused: %s", edits[i].claim);
        tests[OTHERS + i] =
            (struct CMUnitTest){ claims[i], index_is_refused, NULL, NULL, (void *)(uintptr_t)&edits[i] };
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
