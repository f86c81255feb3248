/* test_folder.c: files made of a GGUF's metadata, which of a folder's files are real, and what is refused. */
#include "check.h"

#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "folder.h"
#include "gguf_bytes.h"
#include "model/folder.h"
#include "model/gguf_pre_tokenizer.h"
#include "model/gguf_side.h"

static const char *const letters[] = { "<s>", "</s>", "a", "b", "ab", "c", "<x>" };
static const uint32_t letter_types[] = { 3, 3, 1, 1, 1, 1, 4 };
static const char *const letter_merges[] = { "a b" };

/* One thing of a sound file that is replaced, or left out. */
typedef struct odd {
    const char *without; /* key; NULL = none */
    const char *pre, *model;
    const char *piece; /* instead of the last */
    const char *merge;
    uint32_t type; /* of the last; 0 = as it is */
    uint32_t bos;
    size_t types; /* 0 = as many as tokens */
} odd;

static bool has(const odd *o, const char *key)
{
    return o->without == NULL || strcmp(o->without, key) != 0;
}

static void put_letters(gguf_bytes *g, const odd *o)
{
    const char *pieces[QD_LENGTH(letters)];
    memcpy(pieces, letters, sizeof pieces);
    if (o->piece != NULL)
        pieces[QD_LENGTH(letters) - 1] = o->piece;
    if (has(o, "tokens"))
        gguf_put_texts(g, "tokenizer.ggml.tokens", pieces, QD_LENGTH(pieces));
    size_t types = o->types == 0 ? QD_LENGTH(letters) : o->types;
    gguf_put_array(g, "tokenizer.ggml.token_type", 5, types);
    for (size_t i = 0; i < types; i++)
        gguf_u32(g, o->type != 0 && i + 1 == types ? o->type : letter_types[i]);
}

static void write_tokenizer(gguf_bytes *g, const odd *o)
{
    const char *merge = o->merge == NULL ? letter_merges[0] : o->merge;
    if (has(o, "model"))
        gguf_put_text(g, "tokenizer.ggml.model", o->model == NULL ? "gpt2" : o->model);
    if (has(o, "pre"))
        gguf_put_text(g, "tokenizer.ggml.pre", o->pre == NULL ? "llama-bpe" : o->pre);
    put_letters(g, o);
    if (has(o, "merges"))
        gguf_put_texts(g, "tokenizer.ggml.merges", &merge, 1);
    gguf_put_u32(g, "tokenizer.ggml.bos_token_id", o->bos);
    gguf_put_u32(g, "tokenizer.ggml.eos_token_id", 1);
    gguf_put_u32(g, "tokenizer.ggml.eot_token_id", 6);
    gguf_put_text(g, "tokenizer.chat_template", "{{ \"\\n\" }}\n");
}

static void write_file(const odd *o, qd_str *out)
{
    QD_AUTO(gguf_fini) gguf_bytes g = { 0 };
    gguf_put_text(&g, "general.architecture", "llama");
    gguf_put_u32(&g, "llama.context_length", 512);
    write_tokenizer(&g, o);
    gguf_finish(&g, out);
}

static qd_code tokenizer_of(const odd *o, qd_str *out, qd_error *out_err)
{
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str file = { 0 };
    qd_gguf *gguf = NULL;
    write_file(o, &file);
    check_ok(qd_gguf_parse("odd.gguf", (const unsigned char *)file.data, file.length, &gguf, &err));
    qd_code code = qd_gguf_tokenizer_json(gguf, out, out_err);
    qd_gguf_destroy(gguf);
    return code;
}

static json_t *parsed(const qd_str *text)
{
    qd_error err = { 0 };
    json_t *json = NULL;
    check_ok(qd_json_parse_object(qd_str_borrow(text), text->length, 32, &json, &err));
    return json;
}

static void a_tokenizer_is_made_of_metadata(void **state)
{
    (void)state;
    qd_error err = { 0 };
    const odd sound = { 0 };
    QD_AUTO(qd_str_fini) qd_str text = { 0 }, again = { 0 };
    check_ok(tokenizer_of(&sound, &text, &err));
    check_ok(tokenizer_of(&sound, &again, &err));
    assert_string_equal(text.data, again.data);
    QD_AUTO(qd_json_fini) json_t *json = parsed(&text);
    const json_t *model = json_object_get(json, "model"), *added = json_object_get(json, "added_tokens");
    assert_int_equal(json_object_size(json_object_get(model, "vocab")), QD_LENGTH(letters));
    assert_true(json_is_true(json_object_get(model, "ignore_merges")));
    assert_string_equal(json_string_value(json_array_get(json_object_get(model, "merges"), 0)), "a b");
    assert_int_equal(json_array_size(added), 3);
    assert_true(json_is_true(json_object_get(json_array_get(added, 0), "special")));
    assert_true(json_is_false(json_object_get(json_array_get(added, 2), "special"))); /* user-defined */
    const json_t *single = json_object_get(json_object_get(json, "post_processor"), "single");
    assert_int_equal(json_array_size(single), 2); /* BOS, as llama-bpe implies; no EOS */
}

static const struct {
    const char *claim;
    odd file;
    qd_code code;
    const char *text, *also;
} refusals[] = {
    { "a pre-tokenizer that nobody knows", { .pre = "klingon" }, QD_EUNSUPPORTED, "klingon", "smollm" },
    { "a tokenizer model that nobody knows", { .model = "rwkv" }, QD_EUNSUPPORTED, "rwkv", "gpt2, llama" },
    { "no model", { .without = "model" }, QD_EFORMAT, "tokenizer.ggml.model", "gpt2" },
    { "no tokens", { .without = "tokens" }, QD_EFORMAT, "tokenizer.ggml.tokens", "0 tokens" },
    { "no merges", { .without = "merges" }, QD_EFORMAT, "tokenizer.ggml.merges", "missing" },
    { "a token twice", { .piece = "ab" }, QD_EFORMAT, "4 and 6", "ab" },
    { "a token that is no UTF-8", { .piece = "\xc0\x80" }, QD_EFORMAT, "token 6", "UTF-8" },
    { "a surrogate", { .piece = "\xed\xa0\x80" }, QD_EFORMAT, "token 6", "UTF-8" },
    { "a type that is none", { .type = 7 }, QD_EFORMAT, "tokenizer.ggml.token_type", "token 6" },
    { "a negative type", { .type = 0xffffffff }, QD_EFORMAT, "tokenizer.ggml.token_type", "-1" },
    { "fewer types than tokens", { .types = 3 }, QD_EFORMAT, "tokenizer.ggml.token_type", "3 elements" },
    { "BOS beyond the vocabulary", { .bos = 7 }, QD_EFORMAT, "tokenizer.ggml.bos_token_id", "7" },
    { "a merge without a space", { .merge = "ab" }, QD_EFORMAT, "tokenizer.ggml.merges", "number 0" },
    { "a merge with two", { .merge = "a b c" }, QD_EFORMAT, "tokenizer.ggml.merges", "number 0" },
    { "a merge of nothing", { .merge = " b" }, QD_EFORMAT, "tokenizer.ggml.merges", "number 0" },
    { "SentencePiece without scores", { .model = "llama" }, QD_EFORMAT, "tokenizer.ggml.scores", "missing" },
};

static void bad_metadata_are_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < QD_LENGTH(refusals); i++) {
        qd_error err = { 0 };
        QD_AUTO(qd_str_fini) qd_str text = { 0 };
        qd_code code = tokenizer_of(&refusals[i].file, &text, &err);
        if (code != refusals[i].code)
            print_error("%s\n", refusals[i].claim);
        check_fails(code, refusals[i].code);
        check_contains(err.text, refusals[i].text);
        check_contains(err.text, refusals[i].also);
    }
}

static void every_pre_tokenizer_is_sound_json(void **state)
{
    (void)state;
    size_t count = 0;
    for (const qd_gguf_pre_tokenizer *row; (row = qd_gguf_pre_tokenizer_at(count)) != NULL; count++) {
        json_t *steps = json_loads(row->pre_tokenizer, 0, NULL),
               *form = json_loads(row->normalizer, JSON_DECODE_ANY, NULL);
        assert_true(json_is_object(steps) && form != NULL);
        json_decref(steps);
        json_decref(form);
        assert_ptr_equal(qd_gguf_pre_tokenizer_find(row->name), row);
    }
    assert_true(count >= 6);
}

static void write_at(const char *folder, const char *name, const void *bytes, size_t length)
{
    qd_error err = { 0 };
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(folder, name);
    check_ok(qd_file_write(path, bytes, length, &err));
}

static void write_gguf_at(const char *folder, const char *name)
{
    const odd sound = { 0 };
    QD_AUTO(qd_str_fini) qd_str file = { 0 };
    write_file(&sound, &file);
    write_at(folder, name, file.data, file.length);
}

static json_t *read_made(const qd_folder *folder, const char *name)
{
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    check_ok(qd_folder_read(folder, name, 1 << 20, &text, &err));
    return parsed(&text);
}

static void a_lone_file_has_what_can_be_made(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_folder *folder = NULL;
    char dir[256];
    temporary_folder(dir, sizeof dir);
    write_gguf_at(dir, "x.gguf");
    write_at(dir, "tokenizer.json", "{}", 2); /* lies beside it, but does not belong to it */
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, "x.gguf");
    check_ok(qd_folder_open(path, &folder, &err));
    assert_null(qd_folder_borrow_dir(folder));
    assert_string_equal(qd_folder_gguf(folder)->names[0], "x.gguf");
    QD_AUTO(qd_free_pointer) char *at = NULL, *made = NULL;
    check_ok(qd_folder_locate(folder, "x.gguf", &at, &err));
    check_ok(qd_folder_locate(folder, "tokenizer.json", &made, &err));
    assert_string_equal(at, path);
    assert_null(made);
    assert_string_equal(qd_folder_made_at(folder, 0), "config.json");
    assert_string_equal(qd_folder_made_at(folder, 3), "tokenizer_config.json");
    assert_null(qd_folder_made_at(folder, 4));
    QD_AUTO(qd_json_fini) json_t *config = read_made(folder, "tokenizer_config.json");
    QD_AUTO(qd_json_fini) json_t *generation = read_made(folder, "generation_config.json");
    assert_string_equal(json_string_value(json_object_get(config, "bos_token")), "<s>");
    assert_string_equal(json_string_value(json_object_get(config, "chat_template")), "{{ \"\\n\" }}\n");
    assert_true(json_is_true(json_object_get(config, "add_bos_token")));
    assert_int_equal(json_integer_value(json_object_get(config, "model_max_length")), 512);
    const json_t *ends = json_object_get(generation, "eos_token_id");
    assert_int_equal(json_array_size(ends), 2);
    assert_int_equal(json_integer_value(json_array_get(ends, 1)), 6);
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    check_fails(qd_folder_read(folder, "LICENSE", 100, &text, &err), QD_ENOTFOUND);
    check_contains(err.text, "LICENSE");
    check_fails(qd_folder_read(folder, "tokenizer.json", 10, &text, &err), QD_ETOOBIG);
    qd_folder_destroy(folder);
    remove_folder(dir);
}

static void real_files_win_over_made_ones(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_folder *folder = NULL;
    char dir[256];
    temporary_folder(dir, sizeof dir);
    write_gguf_at(dir, "x.gguf");
    write_at(dir, "tokenizer.json", "{\"mine\":1}", 10);
    write_at(dir, "config.json", "{\"model_type\":\"llama\"}", 22); /* a stub: names no architecture */
    check_ok(qd_folder_open(dir, &folder, &err));
    assert_false(qd_folder_makes(folder, "tokenizer.json"));
    assert_true(qd_folder_makes(folder, "config.json") && qd_folder_makes(folder, "tokenizer_config.json"));
    QD_AUTO(qd_json_fini) json_t *json = read_made(folder, "tokenizer.json");
    assert_int_equal(json_integer_value(json_object_get(json, "mine")), 1);
    qd_folder_destroy(folder);
    write_at(dir, "config.json", "{\"architectures\":[\"X\"]}", 23);
    check_ok(qd_folder_open(dir, &folder, &err));
    assert_false(qd_folder_makes(folder, "config.json"));
    QD_AUTO(qd_json_fini) json_t *config = NULL;
    check_ok(qd_folder_config(folder, &config, &err));
    assert_int_equal(json_array_size(json_object_get(config, "architectures")), 1);
    qd_folder_destroy(folder);
    remove_folder(dir);
}

static void safetensors_win_over_gguf_and_several_are_named(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_folder *folder = NULL;
    char dir[256];
    temporary_folder(dir, sizeof dir);
    write_gguf_at(dir, "one.gguf");
    write_gguf_at(dir, "two.gguf");
    check_fails(qd_folder_open(dir, &folder, &err), QD_EFORMAT);
    check_contains(err.text, "one.gguf");
    check_contains(err.text, "two.gguf");
    write_at(dir, "model.safetensors", "", 0);
    check_ok(qd_folder_open(dir, &folder, &err));
    assert_null(qd_folder_gguf(folder));
    assert_null(qd_folder_made_at(folder, 0));
    qd_folder_destroy(folder);
    remove_folder(dir);
}

static void paths_that_are_no_model_say_so(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_folder *folder = NULL;
    char dir[256];
    temporary_folder(dir, sizeof dir);
    QD_AUTO(qd_free_pointer) char *text = qd_path_join(dir, "x.txt"), *link = qd_path_join(dir, "y.gguf");
    write_at(dir, "x.txt", "hello", 5);
    check_fails(qd_folder_open(text, &folder, &err), QD_EINVAL);
    check_contains(err.text, ".gguf");
    check_fails(qd_folder_open("/nonexistent/folder", &folder, &err), QD_ENOTFOUND);
    check_contains(err.text, "/nonexistent/folder");
    assert_int_equal(symlink("/etc/passwd", link), 0);
    check_fails(qd_folder_open(dir, &folder, &err), QD_EFORMAT);
    check_contains(err.text, "leads out");
    remove_folder(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tokenizer_is_made_of_metadata),
        cmocka_unit_test(bad_metadata_are_refused_by_name),
        cmocka_unit_test(every_pre_tokenizer_is_sound_json),
        cmocka_unit_test(a_lone_file_has_what_can_be_made),
        cmocka_unit_test(real_files_win_over_made_ones),
        cmocka_unit_test(safetensors_win_over_gguf_and_several_are_named),
        cmocka_unit_test(paths_that_are_no_model_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
