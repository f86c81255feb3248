/* test_families.c: rows of architectures: what they refuse and in whose name; files of bare decoders and of wrappers;
 * what the groups of a block are. */
#include "forward.h"

#include "base/json.h"
#include "linalg/gemm.h"
#include "model/arch_private.h"

/* ---- configs ---- */

static const char sizes[] = "{\"hidden_size\":16,\"intermediate_size\":32,\"num_attention_heads\":2,"
                            "\"num_hidden_layers\":3,\"vocab_size\":32,\"max_position_embeddings\":64}";

typedef struct bad_config {
    const char *arch, *changes;
    qd_code code;
    const char *part;
} bad_config;

static const bad_config table[] = {
    { "gpt2", "{\"n_embd\":0}", QD_EFORMAT, "'n_embd' is missing or 0" },
    { "gpt2", "{\"hidden_size\":null}", QD_EFORMAT, "'n_embd' is missing or 0" },
    { "gpt2", "{\"n_head\":\"2\"}", QD_EFORMAT, "'n_head': a non-negative integer is wanted" },
    { "gpt2", "{\"activation_function\":\"gelu_10\"}", QD_EUNSUPPORTED, "activation_function 'gelu_10'" },
    { "gpt2", "{\"layer_norm_epsilon\":-1}", QD_EFORMAT, "layer_norm_epsilon -1 is not in [0, 1]" },
    { "gpt2", "{\"add_cross_attention\":true}", QD_EUNSUPPORTED, "add_cross_attention" },
    { "opt", "{\"ffn_dim\":0}", QD_EFORMAT, "'ffn_dim' is missing or 0" },
    { "opt", "{\"layer_norm_elementwise_affine\":false}", QD_EUNSUPPORTED, "layer_norm_elementwise_affine" },
    { "opt", "{\"word_embed_proj_dim\":0}", QD_EFORMAT, "word_embed_proj_dim 0" },
    { "gpt_neox", "{\"num_key_value_heads\":1}", QD_EUNSUPPORTED, "num_key_value_heads 1 of 2 heads" },
    { "gpt_neox", "{\"rotary_pct\":2}", QD_EFORMAT, "partial_rotary_factor 2 is not in (0, 1]" },
    { "gemma", "{\"use_bidirectional_attention\":true}", QD_EUNSUPPORTED, "use_bidirectional_attention" },
    { "gemma2", "{\"query_pre_attn_scalar\":0}", QD_EFORMAT, "query_pre_attn_scalar 0" },
    { "gemma2", "{\"attn_logit_softcapping\":-50}", QD_EFORMAT, "soft cap" },
    { "gemma2", "{\"final_logit_softcapping\":1e300}", QD_EFORMAT, "soft cap" },
    { "gemma2", "{\"hidden_activation\":\"swiglu\"}", QD_EUNSUPPORTED, "hidden_activation 'swiglu'" },
    { "gemma3", "{\"sliding_window_pattern\":0}", QD_EFORMAT, "'sliding_window_pattern' is 0" },
    { "gemma3", "{\"rope_local_base_freq\":0.5}", QD_EFORMAT, "rope_theta 0.5" },
    { "gemma3", "{\"rope_parameters\":{\"full_attention\":7}}", QD_EFORMAT, "'full_attention' is no object" },
    { "gemma3", "{\"rope_parameters\":{\"sliding_attention\":{\"rope_type\":\"cubic\"}}}", QD_EUNSUPPORTED,
      "rope_parameters 'full_attention': rope type 'cubic'" },
    { "phi3", "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2}}", QD_EUNSUPPORTED,
      "'yarn' is not supported for phi3" },
    { "phi3", "{\"sliding_window\":-1}", QD_EFORMAT, "'sliding_window'" },
    { "granite", "{\"logits_scaling\":0}", QD_EFORMAT, "logits_scaling 0 is no divisor" },
    { "granite", "{\"embedding_multiplier\":1e9}", QD_EFORMAT, "factor of the embedding" },
    { "granite", "{\"attention_multiplier\":\"x\"}", QD_EFORMAT, "'attention_multiplier': a number is wanted" },
    { "smollm3", "{\"no_rope_layers\":[1,0]}", QD_EFORMAT, "no_rope_layers: an array of 3" },
    { "smollm3", "{\"no_rope_layers\":[1,0,true]}", QD_EFORMAT, "0 or 1 is wanted for layer 2" },
    { "smollm3", "{\"no_rope_layer_interval\":0}", QD_EFORMAT, "'no_rope_layer_interval' is 0" },
    { "stablelm", "{\"use_parallel_residual\":1}", QD_EFORMAT, "'use_parallel_residual': true or false" },
    { "stablelm", "{\"qk_layernorm\":\"no\"}", QD_EFORMAT, "'qk_layernorm': true or false" },
    { "qwen2", "{\"use_sliding_window\":3}", QD_EFORMAT, "'use_sliding_window': true or false" },
    { "qwen2", "{\"max_window_layers\":-3}", QD_EFORMAT, "'max_window_layers'" },
    { "qwen3", "{\"head_dim\":16777216}", QD_EFORMAT, "that is beyond" },
    { "olmo2", "{\"rms_norm_eps\":2}", QD_EFORMAT, "rms_norm_eps 2 is not in [0, 1]" },
    { "llama", "{\"num_key_value_heads\":3}", QD_EFORMAT, "cannot share 3" },
};

static const qd_arch *arch_named(const char *name)
{
    for (size_t i = 0; qd_arch_at(i) != NULL; i++)
        if (strcmp(qd_arch_at(i)->name, name) == 0)
            return qd_arch_at(i);
    fail_msg("no architecture '%s'", name);
    return NULL;
}

static qd_code read_with(const char *arch, const char *changes, qd_decoder *out, qd_error *err)
{
    json_t *config = json_loads(sizes, 0, NULL), *edits = json_loads(changes, 0, NULL);
    assert_non_null(edits);
    json_object_update(config, edits);
    qd_code code = qd_decoder_read(arch_named(arch), config, config, out, err);
    json_decref(config);
    json_decref(edits);
    return code;
}

static void configs_are_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < QD_LENGTH(table); i++) {
        qd_decoder d = { 0 };
        qd_error err = { 0 };
        qd_code code = read_with(table[i].arch, table[i].changes, &d, &err);
        if (code != table[i].code || strstr(err.text, table[i].part) == NULL)
            fail_msg("%s %s: '%s'", table[i].arch, table[i].changes, err.text);
        assert_null(d.layers);
    }
}

static void every_row_reads_plain_sizes(void **state)
{
    (void)state;
    for (size_t i = 0; qd_arch_at(i) != NULL; i++) {
        qd_decoder d = { 0 };
        qd_error err = { 0 };
        check_ok(read_with(qd_arch_at(i)->name, "{}", &d, &err));
        assert_int_equal(d.blocks, 3);
        assert_int_equal(qd_slot_in(&d, QD_SLOT_Q, QD_NO_EXPERT), 16);
        for (size_t k = 0; qd_arch_at(i)->ops->model_types[k] != NULL; k++)
            assert_ptr_equal(qd_arch_find_type(qd_arch_at(i)->ops->model_types[k]), qd_arch_at(i));
        qd_decoder_fini(&d);
    }
    assert_null(qd_arch_find_type("bert"));
}

/* Published wrappers leave out of text_config what its class has by default, sizes too. */
static void a_short_text_config_is_completed(void **state)
{
    (void)state;
    static const char gemma3[] =
        "{\"architectures\":[\"Gemma3ForConditionalGeneration\"],\"text_config\":{\"hidden_size\":2560,"
        "\"intermediate_size\":10240,\"model_type\":\"gemma3_text\",\"num_hidden_layers\":34,"
        "\"rope_scaling\":{\"factor\":8.0,\"rope_type\":\"linear\"},\"sliding_window\":1024}}";
    static const char llava[] =
        "{\"architectures\":[\"LlavaForConditionalGeneration\"],\"tie_word_embeddings\":true,\"text_config\":"
        "{\"model_type\":\"llama\",\"rms_norm_eps\":1e-5,\"vocab_size\":32064}}";
    const char *const texts[] = { gemma3, llava };
    qd_decoder d[2] = { 0 };
    for (size_t i = 0; i < 2; i++) {
        qd_error err = { 0 };
        const qd_arch *arch = NULL;
        const json_t *text = NULL;
        json_t *config = json_loads(texts[i], 0, NULL);
        check_ok(qd_arch_of_config(config, &arch, &text, &err));
        check_ok(qd_decoder_read(arch, config, text, &d[i], &err));
        json_decref(config);
    }
    assert_true(d[0].heads == 8 && d[0].kv_heads == 4 && d[0].head_dim == 256 && d[0].vocabulary == 262208);
    assert_true(d[0].tied && d[0].layers[4].window == 1024 && d[0].layers[5].window == 0);
    const qd_rope *global = &d[0].ropes[d[0].layers[5].rope], *local = &d[0].ropes[d[0].layers[4].rope];
    check_close(qd_rope_frequency(global, 64, 1), pow(1e6, -0.5) / 8, 1e-12);
    check_close(qd_rope_frequency(local, 64, 1), pow(1e4, -0.5), 1e-12);
    assert_true(d[1].hidden == 4096 && d[1].intermediate == 11008 && d[1].blocks == 32 && d[1].vocabulary == 32064);
    assert_true(d[1].tied && d[1].eps == 1e-5f); /* the wrapper's word where the text model has none */
    qd_decoder_fini(&d[0]);
    qd_decoder_fini(&d[1]);
}

static void expect_windows(const char *arch, const char *changes, const size_t windows[3])
{
    qd_decoder d = { 0 };
    qd_error err = { 0 };
    check_ok(read_with(arch, changes, &d, &err));
    for (size_t i = 0; i < 3; i++)
        if (d.layers[i].window != windows[i])
            fail_msg("%s %s: layer %zu has a window of %zu", arch, changes, i, d.layers[i].window);
    qd_decoder_fini(&d);
}

static void windows_follow_the_rules_of_families(void **state)
{
    (void)state;
    static const size_t none[3] = { 0 }, all[3] = { 5, 5, 5 }, odd[3] = { 5, 0, 5 }, last[3] = { 0, 0, 5 };
#define TYPES "\"layer_types\":[\"full_attention\",\"full_attention\",\"sliding_attention\"]"
    expect_windows("llama", "{\"sliding_window\":5}", none);
    expect_windows("mistral", "{\"sliding_window\":5}", all);
    expect_windows("mistral", "{\"sliding_window\":null}", none);
    expect_windows("mistral", "{\"sliding_window\":5," TYPES "}", last);
    expect_windows("qwen2", "{\"sliding_window\":5,\"max_window_layers\":2}", none);
    expect_windows("qwen2", "{\"sliding_window\":5,\"max_window_layers\":2,\"use_sliding_window\":true}", last);
    expect_windows("qwen2", "{\"sliding_window\":5," TYPES "}", none); /* the switch is off */
    expect_windows("gemma2", "{\"sliding_window\":5}", odd);
    expect_windows("gemma3", "{\"sliding_window\":5}", all);
    expect_windows("gemma3", "{\"sliding_window\":5,\"_sliding_window_pattern\":2}", odd);
    expect_windows("smollm3", "{\"sliding_window\":5,\"use_sliding_window\":true,\"no_rope_layers\":[1,1,0]}", last);
#undef TYPES
}

/* ---- names of tensors ---- */

/* The folder's tensors under other names; a prefix may go, and another come. */
static void rename_tensors(const char *folder, const char *from, const char *to)
{
    qd_error err = { 0 };
    qd_safetensors *file = NULL;
    char *path = qd_path_join(folder, "model.safetensors"), *other = qd_path_join(folder, "other.safetensors");
    check_ok(qd_safetensors_open(path, &file, &err));
    size_t count = qd_safetensors_count(file);
    qd_tensor_out *out = calloc(count, sizeof *out);
    char(*names)[256] = calloc(count, sizeof *names);
    for (size_t i = 0; i < count; i++) {
        const qd_tensor *t = qd_safetensors_at(file, i);
        bool match = strncmp(t->name, from, strlen(from)) == 0;
        snprintf(names[i], sizeof names[i], "%s%s", match ? to : "", t->name + (match ? strlen(from) : 0));
        out[i] = (qd_tensor_out){ names[i], t->dtype, t->rank, { 0 }, t->data };
        memcpy(out[i].shape, t->shape, sizeof t->shape);
    }
    check_ok(qd_safetensors_write(other, out, count, NULL, NULL, 0, &err));
    qd_safetensors_destroy(file);
    assert_int_equal(rename(other, path), 0);
    free(names);
    free(out);
    free(path);
    free(other);
}

enum { LENGTH = 11, WORDS = 256 };

static void logits_of(const char *folder, float *out)
{
    qd_error err = { 0 };
    qd_model *model = NULL;
    uint32_t ids[LENGTH];
    check_ok(qd_model_open(folder, &model, &err));
    size_t words = qd_model_borrow_config(model)->vocabulary;
    assert_in_range(words, 2, WORDS);
    for (size_t i = 0; i < LENGTH; i++)
        ids[i] = (uint32_t)((5 * i + 2) % words);
    forward_logits(model, ids, BY_BLOCK, qd_matf_view(out, LENGTH, words));
    assert_null(qd_model_warning_at(model, 0));
    qd_model_destroy(model);
}

typedef struct renaming {
    const char *fixture, *from, *to;
} renaming;

static void names_may_stand_within_others(void **state)
{
    (void)state;
    static const renaming cases[] = {
        { "gpt2", "", "transformer." },
        { "gpt2-scaled", "transformer.", "" },
        { "opt", "model.decoder.", "decoder." },
        { "gpt_neox", "gpt_neox.", "" },
        { "qwen2", "model.", "" },
        { "qwen2", "model.", "language_model.model." },
        { "qwen2", "model.", "model.language_model." },
        { "gemma", "model.", "language_model." },
        { "llava", "language_model.model.", "model.language_model." },
        { "llava", "language_model.lm_head.", "lm_head." },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        char relative[256], source[4096], folder[4096];
        static float a[LENGTH * WORDS], b[LENGTH * WORDS];
        qd_error err = { 0 };
        snprintf(relative, sizeof relative, "tests/core/model/architectures/%s", cases[i].fixture);
        temporary_folder(folder, sizeof folder);
        copy_folder(SOURCE_PATH(source, relative), folder);
        logits_of(folder, a);
        rename_tensors(folder, cases[i].from, cases[i].to);
        logits_of(folder, b);
        assert_memory_equal(a, b, sizeof a);
        check_ok(qd_dir_remove(folder, &err));
    }
}

/* ---- groups ---- */

static void adds(const char *fixture, bool wanted)
{
    qd_error err = { 0 };
    char relative[256], path[4096];
    qd_model *model = NULL;
    snprintf(relative, sizeof relative, "tests/core/model/architectures/%s", fixture);
    check_ok(qd_model_open(SOURCE_PATH(path, relative), &model, &err));
    for (size_t b = 0; b < qd_model_borrow_config(model)->blocks; b++) {
        qd_block *block = NULL;
        check_ok(qd_block_load(model, b, NULL, QD_ARITHMETIC_FLOAT32, &block, &err));
        assert_int_equal(qd_block_groups(block), 4);
        for (size_t g = 0; g < 4; g++) {
            if (qd_block_group_adds_output(block, g) != (wanted && g % 2 == 1))
                fail_msg("%s: group %zu", fixture, g);
            assert_int_equal(qd_block_group_writes_residual(block, g), g % 2 == 1);
            assert_int_equal(qd_block_group_place(block, g), g);
            assert_true(qd_block_group_expert(block, g) == QD_NO_EXPERT);
        }
        qd_block_destroy(block);
    }
    qd_model_destroy(model);
}

static void norms_and_factors_around_a_branch_are_told(void **state)
{
    (void)state;
    static const char *const plain[] = { "gpt2", "gpt_neox", "opt", "phi3", "qwen2", "stablelm", "gemma" };
    static const char *const others[] = { "gemma2", "gemma3", "olmo2", "granite", "opt-350m" };
    for (size_t i = 0; i < QD_LENGTH(plain); i++)
        adds(plain[i], true);
    for (size_t i = 0; i < QD_LENGTH(others); i++)
        adds(others[i], false);
}

static void learned_positions_have_an_end(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char path[4096];
    qd_model *model = NULL;
    qd_matf_buf whole = { 0 }, one = { 0 };
    check_ok(qd_model_open(SOURCE_PATH(path, "tests/core/model/architectures/opt"), &model, &err));
    size_t most = qd_model_borrow_config(model)->max_positions, d = qd_model_borrow_config(model)->hidden;
    uint32_t *ids = calloc(most + 1, sizeof *ids);
    check_ok(qd_matf_buf_init(&whole, most + 1, d, &err));
    check_ok(qd_matf_buf_init(&one, 1, d, &err));
    check_ok(qd_model_embed(model, ids, qd_matf_block(whole.view, 0, 0, most, d), &err));
    for (size_t t = 0; t < most; t++) { /* one at a time is the same */
        check_ok(qd_model_embed_at(model, ids, t, one.view, &err));
        assert_memory_equal(one.view.data, qd_matf_row(whole.view, t), d * sizeof(float));
    }
    check_fails(qd_model_embed(model, ids, whole.view, &err), QD_EINVAL);
    check_contains(err.text, "this model has learned");
    check_fails(qd_model_embed_at(model, ids, most, one.view, &err), QD_EINVAL);
    free(ids);
    qd_matf_buf_fini(&whole);
    qd_matf_buf_fini(&one);
    qd_model_destroy(model);
}

int main(void)
{
    qd_blas_single_thread();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configs_are_refused_by_name),
        cmocka_unit_test(every_row_reads_plain_sizes),
        cmocka_unit_test(a_short_text_config_is_completed),
        cmocka_unit_test(windows_follow_the_rules_of_families),
        cmocka_unit_test(names_may_stand_within_others),
        cmocka_unit_test(norms_and_factors_around_a_branch_are_told),
        cmocka_unit_test(learned_positions_have_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
