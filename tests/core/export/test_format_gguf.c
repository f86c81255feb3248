/* test_format_gguf.c: whole GGUF artifacts: written from a model, opened by the reader of core/model, compared with what was decided. */
#include "gguf_scene.h"

static const char novella[] = "tests/models/novella-1m";

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
static void blocks_of_256_of_the_larger_novella_come_back_as_decided(void **state)
{
    (void)state;
    char source[FOLDER_PATH];
    path_in(shared_folder(), "models/novella-7m", source);
    for (size_t v = 0; qd_ggml_encoder_at(v) != NULL; v++)
        if (qd_ggml_encoder_at(v)->layout->block == QD_GGML_BLOCK_MAX)
            check_variant(source, v);
}

/* ---- what stands in the file ---- */

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

/* One layer that slides is enough. */
static void a_window_over_some_layers_bounds_the_context_too(void **state)
{
    (void)state;
    char source[FOLDER_PATH];
    scene *s = written_gguf(source, "q8_0", "F32", byte_level,
                            "{\"sliding_window\":24,\"layer_types\":[\"sliding_attention\"]}");
    qd_gguf *file = file_of(s);
    check_number(file, "llama.context_length", 24);
    qd_gguf_destroy(file);
    scene_close(s);
    remove_folder(source);
}

/* Clients would compute something else, and no key could tell them. */
static void what_clients_do_not_compute_is_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "{\"hidden_act\":\"gelu\"}", "hidden_act 'gelu' has no place" },
        { "{\"rope_scaling\":{\"type\":\"longrope\",\"original_max_position_embeddings\":8,"
          "\"short_factor\":[1,1,1,1,1,1,1,1],\"long_factor\":[2,2,2,2,2,2,2,2]}}",
          "rope type 'longrope' has no place" },
        { "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"original_max_position_embeddings\":8,\"truncate\":false}"
          "}",
          "rope type 'yarn' without truncation has no place" },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        qd_error err = { 0 };
        char source[FOLDER_PATH];
        gguf_source(source, "F32", byte_level, cases[i][0]);
        scene *s = scene_open(source, "gguf:q8_0", own_grid(4));
        check_fails(s->format->check_model(s->model, s->variant, &err), QD_EUNSUPPORTED);
        check_contains(err.text, cases[i][1]);
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

/* tiny_write's config is tied. */
static void put_extra(const char *dir, const char *name, uint64_t rows)
{
    qd_error err = { 0 };
    char path[FOLDER_PATH];
    qd_safetensors *file = NULL;
    qd_tensor_out items[32];
    QD_AUTO(qd_free_pointer) float *values = NULL;
    path_in(dir, "model.safetensors", path);
    check_ok(qd_safetensors_open(path, &file, &err));
    size_t count = qd_safetensors_count(file);
    check_ok(qd_alloc(rows, 32 * sizeof *values, (void **)&values, &err));
    for (size_t i = 0; i < count; i++) {
        const qd_tensor *t = qd_safetensors_at(file, i);
        items[i] = (qd_tensor_out){ t->name, t->dtype, t->rank, { t->shape[0], t->shape[1] }, t->data };
    }
    items[count] = (qd_tensor_out){ name, qd_dtype_find("F32"), 2, { rows, 32 }, values };
    check_ok(qd_safetensors_write(path, items, count + 1, NULL, NULL, 0, &err));
    qd_safetensors_destroy(file);
}

static void what_clients_make_themselves_is_left_out_and_what_has_no_place_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *refusal;
    } extras[] = { { "lm_head.weight", NULL },
                   { "model.layers.0.self_attn.rotary_emb.inv_freq", NULL },
                   { "model.layers.7.self_attn.q_proj.weight",
                     "tensor 'model.layers.7.self_attn.q_proj.weight' has no place" },
                   { "vision.weight", "tensor 'vision.weight' has no place in GGUF files of architecture 'llama'" } };
    for (size_t i = 0; i < QD_LENGTH(extras); i++) {
        qd_error err = { 0 };
        char source[FOLDER_PATH];
        gguf_source(source, "F32", byte_level, "{}");
        put_extra(source, extras[i].name, 11);
        scene *s = scene_open(source, "gguf:q8_0", own_grid(4));
        if (extras[i].refusal == NULL) {
            check_ok(s->format->check_model(s->model, s->variant, &err));
            check_ok(scene_write(s, &err));
            check_ok(scene_check(s, &err));
        } else {
            check_fails(s->format->check_model(s->model, s->variant, &err), QD_EUNSUPPORTED);
            check_contains(err.text, extras[i].refusal);
        }
        scene_close(s);
        remove_folder(source);
    }
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
        cmocka_unit_test(a_window_over_some_layers_bounds_the_context_too),
        cmocka_unit_test(what_clients_do_not_compute_is_refused),
        cmocka_unit_test(the_same_model_gives_the_same_bytes_also_from_its_own_gguf),
        cmocka_unit_test(a_layer_that_does_not_fit_leaves_no_file),
        cmocka_unit_test(what_clients_make_themselves_is_left_out_and_what_has_no_place_is_refused),
        cmocka_unit_test(rows_that_no_block_fits_are_refused_by_layer),
        SHARED_TEST("blocks_of_256_of_the_larger_novella_come_back_as_decided",
                    blocks_of_256_of_the_larger_novella_come_back_as_decided, NULL),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
