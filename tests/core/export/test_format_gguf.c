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

/* ---- what stands in the file ---- */

/* A tiny model whose tokenizer is one; `changes` go into its config. */
static const char byte_level[] =
    "{\"added_tokens\":[{\"id\":9,\"content\":\"<e>\",\"special\":true},{\"id\":8,\"content\":\"<u>\",\"special\":"
    "false}],"
    "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},"
    "\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},{\"type\":"
    "\"TemplateProcessing\",\"single\":"
    "[{\"SpecialToken\":{\"id\":\"<e>\"}},{\"Sequence\":{\"id\":\"A\"}}]}]},"
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"\\u0000\":3,\"a\\u0000\":4},\"merges\":[\"a "
    "b\",[\"a\",\"\\u0000\"]]}}";

static void gguf_source(char *dir, const char *dtype, const char *tokenizer, const char *changes)
{
    qd_error err = { 0 };
    folder_make(dir);
    tiny_write(dir, (tiny){ .head_dim = 16, .heads = 2, .intermediate = 64, .dtype = dtype, .seed = 5 });
    text_put(dir, "tokenizer.json", tokenizer);
    QD_AUTO(qd_str_fini) qd_str text = file_get(dir, "config.json");
    QD_AUTO(qd_json_fini) json_t *config = NULL, *more = NULL;
    check_ok(qd_json_parse_object(text.data, text.length, 8, &config, &err));
    check_ok(qd_json_parse_object(changes, strlen(changes), 8, &more, &err));
    json_object_update(config, more);
    QD_AUTO(qd_free_pointer) char *changed = json_dumps(config, 0);
    text_put(dir, "config.json", changed);
}

static scene *written_gguf(char *source, const char *variant, const char *dtype, const char *tokenizer,
                           const char *changes)
{
    qd_error err = { 0 };
    size_t v = 0;
    char format[40];
    while (strcmp(qd_ggml_encoder_at(v)->variant, variant) != 0)
        v++;
    snprintf(format, sizeof format, "gguf:%s", variant);
    gguf_source(source, dtype, tokenizer, changes);
    scene *s = scene_open(source, format, own_grid(v));
    check_ok(s->format->check_model(s->model, s->variant, &err));
    check_ok(scene_write(s, &err));
    check_ok(scene_check(s, &err));
    return s;
}

static qd_gguf *file_of(const scene *s)
{
    qd_error err = { 0 };
    char path[FOLDER_PATH], name[60];
    qd_gguf *file = NULL;
    snprintf(name, sizeof name, "model-%s.gguf", qd_ggml_encoder_at(s->variant)->variant);
    path_in(s->dir, name, path);
    check_ok(qd_gguf_open(path, &file, &err));
    return file;
}

static void check_number(const qd_gguf *file, const char *key, double wanted)
{
    qd_error err = { 0 };
    double found = 0;
    if (qd_gguf_key(file, key) == NULL)
        fail_msg("key '%s' is missing", key);
    check_ok(qd_gguf_real(file, key, -1, &found, &err));
    check_close(found, wanted, 1e-7);
}

static void check_text(const qd_gguf *file, const char *key, const char *wanted)
{
    qd_error err = { 0 };
    const char *found = NULL;
    check_ok(qd_gguf_text(file, key, "(none)", &found, &err));
    assert_string_equal(found, wanted);
}

static void check_flag(const qd_gguf *file, const char *key, bool wanted)
{
    qd_error err = { 0 };
    bool found = !wanted;
    check_ok(qd_gguf_bool(file, key, !wanted, &found, &err));
    assert_int_equal(found, wanted);
}

static void keys_say_what_llama_needs_to_run_novella(void **state)
{
    (void)state;
    char source[FOLDER_PATH];
    qd_error err = { 0 };
    scene *s = scene_open(SOURCE_PATH(source, novella), "gguf:q4_0", own_grid(0));
    check_ok(scene_write(s, &err));
    qd_gguf *file = file_of(s);
    assert_int_equal(qd_gguf_version(file), 3);
    check_text(file, "general.architecture", "llama");
    check_text(file, "general.size_label", "1M");
    static const struct {
        const char *key;
        double value;
    } numbers[] = { { "general.file_type", 2 },
                    { "general.quantization_version", 2 },
                    { "llama.context_length", 1024 },
                    { "llama.embedding_length", 128 },
                    { "llama.block_count", 6 },
                    { "llama.feed_forward_length", 384 },
                    { "llama.attention.head_count", 4 },
                    { "llama.attention.head_count_kv", 2 },
                    { "llama.attention.layer_norm_rms_epsilon", 1e-5 },
                    { "llama.rope.freq_base", 1e4 },
                    { "llama.rope.dimension_count", 32 },
                    { "llama.vocab_size", 2048 },
                    { "tokenizer.ggml.bos_token_id", 0 },
                    { "tokenizer.ggml.eos_token_id", 1 } };
    for (size_t i = 0; i < QD_LENGTH(numbers); i++)
        check_number(file, numbers[i].key, numbers[i].value);
    assert_null(qd_gguf_key(file, "llama.attention.key_length"));
    assert_null(qd_gguf_key(file, "llama.rope.scaling.type"));
    check_text(file, "tokenizer.ggml.model", "gpt2");
    check_text(file, "tokenizer.ggml.pre", "smaug-bpe"); /* llama3's pattern, and merges are not ignored */
    check_flag(file, "tokenizer.ggml.add_bos_token", true);
    check_flag(file, "tokenizer.ggml.add_eos_token", false);
    qd_gguf_destroy(file);
    scene_close(s);
}

/* formats.md §6.3: new row (h, 2i + j) = old row (h, j hd/2 + i). */
static void rows_of_q_and_k_are_interleaved_and_those_of_v_are_not(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char source[FOLDER_PATH];
    scene *s = written_gguf(source, "q8_0", "F32", byte_level, "{}");
    qd_gguf *file = file_of(s);
    static const struct {
        const char *theirs;
        size_t linear, heads, swapped;
    } parts[] = { { "blk.0.attn_q.weight", 0, 2, 1 },
                  { "blk.0.attn_k.weight", 1, 1, 1 },
                  { "blk.0.attn_v.weight", 2, 1, 0 } };
    for (size_t p = 0; p < QD_LENGTH(parts); p++) {
        const qd_tensor *tensor = qd_gguf_find(file, parts[p].theirs);
        const qd_linear *linear = qd_model_linear_at(s->model, parts[p].linear);
        QD_AUTO(qd_matf_buf_fini) qd_matf_buf wanted = { 0 };
        check_ok(qd_matf_buf_init(&wanted, linear->out, linear->in, &err));
        qd_grid_dequantize(&s->decided.grids[parts[p].linear], s->decided.codes[parts[p].linear], wanted.view);
        size_t head = linear->out / parts[p].heads;
        for (size_t h = 0; h < parts[p].heads; h++)
            for (size_t i = 0; i < head / 2; i++)
                for (size_t j = 0; j < 2; j++) {
                    float row[64];
                    size_t at = h * head + (parts[p].swapped ? 2 * i + j : j * head / 2 + i);
                    check_ok(qd_tensor_rows_to_floats(tensor, at, 1, row, &err));
                    assert_memory_equal(row, qd_matf_row(wanted.view, h * head + j * head / 2 + i),
                                        linear->in * sizeof(float));
                }
    }
    qd_gguf_destroy(file);
    scene_close(s);
    remove_folder(source);
}

static void kept_tensors_keep_their_type_where_there_is_one_and_vectors_become_f32(void **state)
{
    (void)state;
    static const char *const dtypes[] = { "F32", "BF16", "F16" };
    for (size_t d = 0; d < QD_LENGTH(dtypes); d++) {
        char source[FOLDER_PATH];
        scene *s = written_gguf(source, "q4_1", dtypes[d], byte_level, "{}");
        qd_gguf *file = file_of(s);
        const qd_tensor *embedding = qd_gguf_find(file, "token_embd.weight"),
                        *bias = qd_gguf_find(file, "blk.0.attn_v.bias");
        const qd_tensor *ours = qd_model_tensor(s->model, "model.embed_tokens.weight");
        assert_string_equal(embedding->dtype->name, dtypes[d]);
        assert_int_equal(embedding->bytes, ours->bytes);
        assert_memory_equal(embedding->data, ours->data, ours->bytes);
        assert_string_equal(qd_gguf_find(file, "output_norm.weight")->dtype->name, "F32");
        assert_string_equal(bias->dtype->name, "F32");
        assert_null(qd_gguf_find(file, "output.weight")); /* tied */
        qd_gguf_destroy(file);
        scene_close(s);
        remove_folder(source);
    }
}

static void scalings_of_positions_are_keys_or_divisors(void **state)
{
    (void)state;
    char source[FOLDER_PATH];
    float divisors[8];
    qd_error err = { 0 };
    scene *s = written_gguf(
        source, "q8_0", "F32", byte_level,
        "{\"rope_theta\":100,\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,"
        "\"high_freq_factor\":4,\"original_max_position_embeddings\":40}}");
    qd_gguf *file = file_of(s);
    const qd_tensor *tensor = qd_gguf_find(file, "rope_freqs.weight");
    assert_non_null(tensor);
    assert_int_equal(tensor->elements, 8);
    check_ok(qd_tensor_to_floats(tensor, divisors, &err));
    for (int i = 0; i < 8; i++) {
        double wavelength = 2 * M_PI * pow(100, i / 8.0), s1 = (40 / wavelength - 1) / 3;
        check_close((double)divisors[i], wavelength < 10 ? 1 : wavelength > 40 ? 8 : 1 / ((1 - s1) / 8 + s1), 1e-6);
    }
    assert_true(divisors[0] == 1 && divisors[7] == 8 && divisors[3] > 1 && divisors[3] < 8);
    assert_null(qd_gguf_key(file, "llama.rope.scaling.type"));
    qd_gguf_destroy(file);
    scene_close(s);
    remove_folder(source);
    s = written_gguf(source, "q8_0", "F32", byte_level,
                     "{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":16,"
                     "\"attention_factor\":0.5}}");
    file = file_of(s);
    check_text(file, "llama.rope.scaling.type", "yarn");
    check_number(file, "llama.rope.scaling.factor", 4);
    check_number(file, "llama.rope.scaling.original_context_length", 16);
    check_number(file, "llama.rope.scaling.attn_factor", 0.5 / (0.1 * log(4.0) + 1)); /* clients multiply by the rest */
    qd_gguf_destroy(file);
    scene_close(s);
    remove_folder(source);
}

/* Texts of no more positions than the window see all of it: so many may be asked for. */
static void a_window_over_all_layers_is_the_longest_context(void **state)
{
    (void)state;
    char source[FOLDER_PATH];
    scene *s = written_gguf(source, "q8_0", "F32", byte_level,
                            "{\"architectures\":[\"MistralForCausalLM\"],\"sliding_window\":32}");
    qd_gguf *file = file_of(s);
    check_number(file, "llama.context_length", 32);
    qd_gguf_destroy(file);
    scene_close(s);
    remove_folder(source);
}

/* ---- tokenizers ---- */

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

/* ---- writing ---- */

static void the_same_model_gives_the_same_bytes_also_from_its_own_gguf(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char source[FOLDER_PATH], path[FOLDER_PATH];
    scene *a = written_gguf(source, "q5_1", "BF16", byte_level, "{}");
    scene *b = scene_open(source, "gguf:q5_1", a->spec);
    check_ok(scene_write(b, &err));
    qd_str first = file_get(a->dir, "model-q5_1.gguf"), second = file_get(b->dir, "model-q5_1.gguf");
    assert_int_equal(first.length, second.length);
    assert_memory_equal(first.data, second.data, first.length);
    /* The file is a source as well: its keys and kept tensors stay, and the codes where the grid is found again. */
    path_in(a->dir, "model-q5_1.gguf", path);
    scene *c = scene_open(path, "gguf:q8_0", own_grid(4));
    check_ok(scene_write(c, &err));
    check_ok(scene_check(c, &err));
    qd_gguf *from = file_of(a), *to = file_of(c);
    assert_int_equal(qd_gguf_key_count(from), qd_gguf_key_count(to));
    for (size_t i = 0; i < qd_gguf_key_count(from); i++) {
        const qd_gguf_value *wanted = qd_gguf_key_at(from, i), *found = qd_gguf_key(to, wanted->key);
        assert_non_null(found);
        assert_int_equal(found->bytes, wanted->bytes);
        if (strcmp(wanted->key, "general.file_type") != 0)
            assert_memory_equal(found->data, wanted->data, wanted->bytes);
    }
    check_number(to, "general.file_type", 7);
    qd_gguf_destroy(from);
    qd_gguf_destroy(to);
    qd_str_fini(&first);
    qd_str_fini(&second);
    scene_close(a);
    scene_close(b);
    scene_close(c);
    remove_folder(source);
}

static void a_layer_that_does_not_fit_leaves_no_file(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char source[FOLDER_PATH];
    gguf_source(source, "F32", byte_level, "{}");
    scene *s = scene_open(source, "gguf:q4_0", own_grid(0));
    s->decided.grids[5].scale.view.data[0] = 0.1f;
    check_fails(scene_write(s, &err), QD_EUNSUPPORTED);
    check_contains(err.text, "tensor 'blk.0.ffn_up.weight': Q4_0 cannot hold row 0 from weight 0 on: scale");
    char **names = NULL;
    size_t count = 0;
    check_ok(qd_dir_list(s->dir, &names, &count, &err));
    for (size_t i = 0; i < count; i++)
        assert_null(strstr(names[i], "gguf"));
    qd_names_free(names, count);
    scene_close(s);
    remove_folder(source);
}

static void rows_that_no_block_fits_are_refused_by_layer(void **state)
{
    (void)state;
    qd_error err = { 0 };
    size_t variant = 0;
    const qd_format *f = qd_format_find("gguf:q4_k", &variant);
    const qd_linear linear = { .name = "model.layers.0.mlp.down_proj", .out = 8, .in = 48 };
    qd_grid_spec spec = own_grid(variant), own;
    check_fails(f->layer_spec(&spec, variant, &linear, &own, &err), QD_EINVAL);
    check_contains(err.text, "'gguf:q4_k' has blocks of 256 weights, or of 32 as q5_0");
    check_contains(err.text, "the rows of 'model.layers.0.mlp.down_proj' have 48");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variants_are_the_types_in_order),
        cmocka_unit_test(every_variant_of_novella_comes_back_as_decided),
        cmocka_unit_test(keys_say_what_llama_needs_to_run_novella),
        cmocka_unit_test(rows_of_q_and_k_are_interleaved_and_those_of_v_are_not),
        cmocka_unit_test(kept_tensors_keep_their_type_where_there_is_one_and_vectors_become_f32),
        cmocka_unit_test(scalings_of_positions_are_keys_or_divisors),
        cmocka_unit_test(a_window_over_all_layers_is_the_longest_context),
        cmocka_unit_test(a_vocabulary_is_as_long_as_the_embedding_and_keeps_its_nul),
        cmocka_unit_test(sentence_pieces_have_scores_by_rank),
        cmocka_unit_test(tokenizers_that_llama_cuts_otherwise_are_refused_before_any_work),
        cmocka_unit_test(the_same_model_gives_the_same_bytes_also_from_its_own_gguf),
        cmocka_unit_test(a_layer_that_does_not_fit_leaves_no_file),
        cmocka_unit_test(rows_that_no_block_fits_are_refused_by_layer),
        cmocka_unit_test(every_variant_of_the_larger_novella_comes_back_as_decided),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
