/* test_gguf_tokenizer.c: tokenizer.json as the keys of a GGUF file, and what of it is refused. */
#include "gguf_scene.h"

static void check_strings(const qd_gguf *file, const char *key, const char *const *wanted, const size_t *lengths,
                          size_t count)
{
    qd_error err = { 0 };
    QD_AUTO(qd_free_pointer) qd_gguf_string *found = NULL;
    size_t found_count = 0;
    check_ok(qd_gguf_strings(file, key, &found, &found_count, &err));
    assert_int_equal(found_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(found[i].length, lengths == NULL ? strlen(wanted[i]) : lengths[i]);
        assert_memory_equal(found[i].data, wanted[i], found[i].length);
    }
}

static void check_integers(const qd_gguf *file, const char *key, const int64_t *wanted, size_t count)
{
    qd_error err = { 0 };
    QD_AUTO(qd_free_pointer) int64_t *found = NULL;
    size_t found_count = 0;
    check_ok(qd_gguf_integers(file, key, &found, &found_count, &err));
    assert_int_equal(found_count, count);
    assert_memory_equal(found, wanted, count * sizeof *wanted);
}

static void a_vocabulary_is_as_long_as_the_embedding_and_keeps_its_nul(void **state)
{
    (void)state;
    char source[FOLDER_PATH];
    scene *s = written_gguf(source, "q8_0", "F32", byte_level, "{\"eos_token_id\":[9,2]}");
    qd_gguf *file = file_of(s);
    static const char *const tokens[] = { "a",      "b",      "ab",  "\0",  "a\0",    "[PAD5]",
                                          "[PAD6]", "[PAD7]", "<u>", "<e>", "[PAD10]" };
    static const size_t lengths[] = { 1, 1, 2, 1, 2, 6, 6, 6, 3, 3, 7 };
    static const int64_t types[] = { 1, 1, 1, 1, 1, 5, 5, 5, 4, 3, 5 };
    static const char *const merges[] = { "a b", "a \0" };
    static const size_t merge_lengths[] = { 3, 3 };
    check_strings(file, "tokenizer.ggml.tokens", tokens, lengths, 11);
    check_integers(file, "tokenizer.ggml.token_type", types, 11);
    check_strings(file, "tokenizer.ggml.merges", merges, merge_lengths, 2);
    check_text(file, "tokenizer.ggml.pre", "gpt-2");
    check_number(file, "tokenizer.ggml.eos_token_id", 9);
    check_flag(file, "tokenizer.ggml.add_bos_token", true);
    check_number(file, "tokenizer.ggml.bos_token_id", 9); /* what the template puts first, whatever the configs say */
    assert_null(qd_gguf_key(file, "tokenizer.ggml.scores"));
    qd_gguf_destroy(file);
    scene_close(s);
    remove_folder(source);
}

/* A SentencePiece-like vocabulary: <unk>, 256 bytes, and pieces with their merges. */
static json_t *piece_tokenizer(void)
{
    json_t *vocabulary = json_pack("{s:i}", "<unk>", 0);
    for (int i = 0; i < 256; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", i);
        json_object_set_new(vocabulary, name, json_integer(i + 1));
    }
    static const char *const pieces[] = { "a", "b", "ab", "aab", "x" };
    for (int i = 0; i < 5; i++)
        json_object_set_new(vocabulary, pieces[i], json_integer(257 + i));
    return json_pack("{s:[{s:i,s:s,s:b}], s:{s:s, s:[{s:s,s:s},{s:s,s:{s:s},s:s}]}, s:n, s:{s:s, s:o, "
                     "s:[s,[s,s],[s,s]], s:s, s:b, s:b}}",
                     "added_tokens", "id", 0, "content", "<unk>", "special", 1, "normalizer", "type", "Sequence",
                     "normalizers", "type", "Prepend", "prepend", "\xe2\x96\x81", "type", "Replace", "pattern",
                     "String", " ", "content", "\xe2\x96\x81", "pre_tokenizer", "model", "type", "BPE", "vocab",
                     vocabulary, "merges", "a b", "a", "ab", "aa", "b", "unk_token", "<unk>", "byte_fallback", 1,
                     "fuse_unk", 1);
}

static void sentence_pieces_have_scores_by_rank(void **state)
{
    (void)state;
    qd_error err = { 0 };
    QD_AUTO(qd_gguf_texts_fini) qd_gguf_texts texts = { .tokenizer = piece_tokenizer() };
    QD_AUTO(qd_gguf_meta_fini) qd_gguf_meta meta = { 0 };
    assert_non_null(texts.tokenizer);
    check_ok(qd_gguf_tokenizer_put(&texts, 264, &meta, &err));
    QD_AUTO(qd_gguf_writer_fini) qd_gguf_writer writer = { .fd = -1 };
    char dir[FOLDER_PATH], path[FOLDER_PATH];
    folder_make(dir);
    path_in(dir, "t.gguf", path);
    check_ok(qd_gguf_writer_init(&writer, path, &meta, NULL, 0, &err));
    check_ok(qd_gguf_writer_finish(&writer, &err));
    qd_gguf *file = NULL;
    check_ok(qd_gguf_open(path, &file, &err));
    check_text(file, "tokenizer.ggml.model", "llama");
    check_flag(file, "tokenizer.ggml.add_space_prefix", true);
    QD_AUTO(qd_free_pointer) double *scores = NULL;
    QD_AUTO(qd_free_pointer) int64_t *types = NULL;
    size_t count = 0;
    check_ok(qd_gguf_reals(file, "tokenizer.ggml.scores", &scores, &count, &err));
    check_ok(qd_gguf_integers(file, "tokenizer.ggml.token_type", &types, &count, &err));
    assert_int_equal(count, 264);
    static const double wanted[] = {
        -1e9, -1e9, 0, -1, -1e9, 0, 0
    }; /* a, b, "a b" first, "a ab" second, x, two fillers */
    for (size_t i = 0; i < 7; i++)
        check_near(scores[257 + i], wanted[i], 0);
    assert_true(types[0] == 2 && types[1] == 6 && types[256] == 6 && types[257] == 1 && types[263] == 5 &&
                scores[5] == 0);
    assert_null(qd_gguf_key(file, "tokenizer.ggml.merges"));
    qd_gguf_destroy(file);
    remove_folder(dir);
}

static void tokenizers_that_llama_cuts_otherwise_are_refused_before_any_work(void **state)
{
    (void)state;
    static const struct {
        const char *tokenizer, *part;
    } bad[] = {
        { "{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", "model 'Unigram'" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]},\"pre_tokenizer\":{\"type\":\"Whitespace\"}}",
          "pre_tokenizer 'Whitespace'" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]},\"normalizer\":{\"type\":\"Lowercase\"},\"pre_"
          "tokenizer\":{\"type\":"
          "\"ByteLevel\",\"add_prefix_space\":false}}",
          "normalizer 'Lowercase' with pre_tokenizer 'ByteLevel(pattern)'" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[],\"ignore_merges\":true},\"pre_tokenizer\":{\"type\":"
          "\"ByteLevel\","
          "\"add_prefix_space\":false}}",
          "and ignore_merges" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":11},\"merges\":[]},\"pre_tokenizer\":{\"type\":\"ByteLevel\","
          "\"add_prefix_space\":"
          "false}}",
          "token 'a' is 11, the model has 11 embeddings" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]},\"pre_tokenizer\":{\"type\":\"ByteLevel\","
          "\"add_prefix_space\":"
          "false}}",
          "the id of 'a'" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1},\"merges\":[\"aa\"]},\"pre_tokenizer\":{\"type\":"
          "\"ByteLevel\","
          "\"add_prefix_space\":false}}",
          "merges[0] is not a pair" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1},\"merges\":[]},\"pre_tokenizer\":{\"type\":\"Metaspace\","
          "\"split\":false}}",
          "0 tokens <0x00> to <0xFF>" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[],\"end_of_word_suffix\":\"</w>\"}}",
          "end_of_word_suffix '</w>'" },
        { "{\"model\":", "tokenizer.json: JSON" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"\\u0000\":1,\"\\uf8f0\":2},\"merges\":[]}}",
          "both U+0000 and U+F8F0" },
    };
    for (size_t i = 0; i < QD_LENGTH(bad); i++) {
        qd_error err = { 0 };
        char source[FOLDER_PATH];
        gguf_source(source, "F32", bad[i].tokenizer, "{}");
        scene *s = scene_open(source, "gguf:q8_0", own_grid(4));
        qd_code code = s->format->check_model(s->model, s->variant, &err);
        assert_true(code == QD_EUNSUPPORTED || code == QD_EFORMAT);
        check_contains(err.text, "format 'gguf'");
        check_contains(err.text, bad[i].part);
        scene_close(s);
        remove_folder(source);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vocabulary_is_as_long_as_the_embedding_and_keeps_its_nul),
        cmocka_unit_test(sentence_pieces_have_scores_by_rank),
        cmocka_unit_test(tokenizers_that_llama_cuts_otherwise_are_refused_before_any_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
