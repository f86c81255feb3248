/* test_gguf_config.c: the config.json of a GGUF file: what it says, what is refused; names of tensors. */
#include "gguf_model.h"

#include "base/json.h"
#include "model/gguf_config.h"

static json_t *config_of(gguf_file *g)
{
    size_t size = 0;
    json_t *config = NULL;
    qd_gguf *file = NULL;
    qd_error err = { 0 };
    unsigned char *bytes = gguf_file_finish(g, &size);
    check_ok(qd_gguf_parse("m", bytes, size, &file, &err));
    check_ok(qd_gguf_config(file, &config, &err));
    qd_gguf_destroy(file);
    free(bytes);
    return config;
}

/* Decimals are those a person would write, not the float's 17 digits. */
static void the_config_is_what_transformers_would_write(void **state)
{
    (void)state;
    static const char want[] =
        "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_act\":\"silu\",\"hidden_size\":16,"
        "\"intermediate_size\":32,\"num_hidden_layers\":1,\"num_attention_heads\":4,\"num_key_value_heads\":4,"
        "\"head_dim\":4,\"max_position_embeddings\":64,\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0,"
        "\"vocab_size\":4,\"eos_token_id\":2,\"tie_word_embeddings\":true,\"attention_bias\":false,\"mlp_bias\":false,"
        "\"torch_dtype\":\"float32\"}";
    gguf_file g = { 0 };
    qd_error err = { 0 };
    json_t *config, *wanted = NULL;
    put_least_keys(&g);
    gf_put_u32(&g, "tokenizer.ggml.eos_token_id", 2);
    gf_put_u32(&g, "tokenizer.ggml.padding_token_id", 4); /* beyond the words: none */
    put_embedding(&g);
    config = config_of(&g);
    check_ok(qd_json_parse_object(want, strlen(want), 4, &wanted, &err));
    if (!json_equal(config, wanted))
        fail_msg("%s", qd_json_print(config));
    json_decref(config);
    json_decref(wanted);
}

/* Divisors made in float32 of real models' parameters: the parameters come back as they were written. */
static void llama3_parameters_come_back_from_their_divisors(void **state)
{
    (void)state;
    static const struct {
        double theta, factor, low, high, original;
        size_t head_dim;
        double shown_high, shown_original; /* with low = 1 */
    } models[] = { { 500000, 8, 1, 4, 8192, 128, 4, 8192 },
                   { 500000, 32, 1, 4, 8192, 64, 4, 8192 },
                   { 500000, 16, 1, 4, 16384, 128, 4, 16384 },
                   { 500000, 8, 1, 8, 4096, 128, 8, 4096 },
                   { 1000000, 4, 2, 8, 32768, 128, 4, 16384 } };
    for (size_t i = 0; i < QD_LENGTH(models); i++) {
        gguf_file g = { 0 };
        json_t *rope = json_pack("{s:f, s:f, s:f, s:f, s:f}", "rope_theta", models[i].theta, "factor", models[i].factor,
                                 "low_freq_factor", models[i].low, "high_freq_factor", models[i].high,
                                 "original_max_position_embeddings", models[i].original);
        put_least_keys(&g);
        gf_put_u32(&g, "llama.attention.key_length", (uint32_t)models[i].head_dim);
        gf_put_u32(&g, "llama.attention.value_length", (uint32_t)models[i].head_dim);
        gf_put_f32(&g, "llama.rope.freq_base", (float)models[i].theta);
        put_divisors(&g, rope, models[i].head_dim);
        put_embedding(&g);
        json_t *config = config_of(&g), *scaling = json_object_get(config, "rope_scaling");
        assert_string_equal(json_string_value(json_object_get(scaling, "rope_type")), "llama3");
        check_close(member(scaling, "factor", 0), models[i].factor, 0);
        check_close(member(scaling, "low_freq_factor", 0), 1, 0);
        check_close(member(scaling, "high_freq_factor", 0), models[i].shown_high, 0);
        check_close(member(scaling, "original_max_position_embeddings", 0), models[i].shown_original, 0);
        json_decref(config);
        json_decref(rope);
    }
}

static void put_u32(gguf_file *g, const char *key)
{
    gf_put_u32(g, key, 3);
}
static void put_real(gguf_file *g, const char *key)
{
    gf_put_f32(g, key, 0.5f);
}
static void put_divisors_of(gguf_file *g, const char *key)
{
    static const float rising[] = { 1, 3 }, falling[] = { 4, 1 }, bad[] = { 1, NAN }, many[] = { 1, 1, 1 };
    const float *values = key[0] == 'r' ? rising : key[0] == 'f' ? falling : key[0] == 'b' ? bad : many;
    gf_tensor(g, "rope_freqs.weight", 0, 0, values == many ? 3 : 2, values, values == many ? 12 : 8);
}
static void put_type(gguf_file *g, const char *key)
{
    gf_put_text(g, "llama.rope.scaling.type", key);
    gf_put_f32(g, "llama.rope.scaling.factor", 2);
}
static void put_type_alone(gguf_file *g, const char *key)
{
    gf_put_text(g, "llama.rope.scaling.type", key);
}

static const struct refusal {
    const char *claim;
    void (*put)(gguf_file *g, const char *key);
    const char *key, *part;
} refusals[] = {
    { "experts", put_u32, "llama.expert_count", "'llama.expert_count' is 3: mixtures of experts" },
    { "a scale of attention", put_real, "llama.attention.scale", "key 'llama.attention.scale' is not supported" },
    { "capped logits", put_real, "llama.final_logit_softcapping", "is not supported here" },
    { "values of another width", put_u32, "llama.attention.value_length", "keys of 4 and values of 3" },
    { "half-turned heads", put_u32, "llama.rope.dimension_count", "'llama.rope.dimension_count' is 3; all 4" },
    { "theta below 1", put_real, "llama.rope.freq_base", "'llama.rope.freq_base' is 0.5; above 1" },
    { "a head count of another type", put_real, "llama.attention.head_count_kv", "an integer below 2^63 is wanted" },
    { "an unknown scaling", put_type, "longrope", "'longrope' is not supported; none, linear and yarn are" },
    { "a scaling without a factor", put_type_alone, "yarn", "'llama.rope.scaling.factor' is missing" },
    { "divisors of no rule", put_divisors_of, "falling", "divisor 0 is 4; these fit no llama3 scaling" },
    { "a divisor that is no number", put_divisors_of, "bad", "tensor 'rope_freqs.weight': element 1 is nan" },
    { "too many divisors", put_divisors_of, "many", "has 3 elements, the heads turn 2 pairs" },
};

static void what_cannot_be_run_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < QD_LENGTH(refusals); i++) {
        gguf_file g = { 0 };
        size_t size = 0;
        json_t *config = NULL;
        qd_gguf *file = NULL;
        qd_error err = { 0 };
        put_least_keys(&g);
        refusals[i].put(&g, refusals[i].key);
        put_embedding(&g);
        unsigned char *bytes = gguf_file_finish(&g, &size);
        check_ok(qd_gguf_parse("m", bytes, size, &file, &err));
        if (qd_gguf_config(file, &config, &err) == QD_OK)
            fail_msg("accepted: %s", refusals[i].claim);
        check_contains(err.text, refusals[i].part);
        qd_gguf_destroy(file);
        free(bytes);
    }
}

static void a_missing_key_is_named(void **state)
{
    (void)state;
    static const char *const keys[] = { "llama.block_count",          "llama.context_length",
                                        "llama.embedding_length",     "llama.feed_forward_length",
                                        "llama.attention.head_count", "llama.attention.layer_norm_rms_epsilon" };
    for (size_t missing = 0; missing <= QD_LENGTH(keys); missing++) {
        gguf_file g = { 0 };
        size_t size = 0;
        json_t *config = NULL;
        qd_gguf *file = NULL;
        qd_error err = { 0 };
        if (missing < QD_LENGTH(keys))
            gf_put_text(&g, "general.architecture", "llama");
        for (size_t i = 0; i + 1 < QD_LENGTH(keys); i++)
            if (i != missing)
                gf_put_u32(&g, keys[i], 16);
        put_embedding(&g);
        unsigned char *bytes = gguf_file_finish(&g, &size);
        check_ok(qd_gguf_parse("m", bytes, size, &file, &err));
        check_fails(qd_gguf_config(file, &config, &err), QD_EFORMAT);
        check_contains(err.text, missing < QD_LENGTH(keys) ? keys[missing] : "'general.architecture' is missing");
        qd_gguf_destroy(file);
        free(bytes);
    }
}

static void names_go_over_and_back(void **state)
{
    (void)state;
    const qd_gguf_arch *llama = qd_gguf_arch_find("llama");
    char theirs[QD_GGUF_NAME_BYTES], ours[QD_GGUF_NAME_BYTES];
    for (const qd_gguf_name *row = llama->names; row->ours != NULL; row++) {
        char name[256];
        const char *number = strstr(row->ours, "%zu");
        snprintf(name, sizeof name, "%.*s%s%s.weight",
                 number == NULL ? (int)strlen(row->ours) : (int)(number - row->ours), row->ours,
                 number == NULL ? "" : "107", number == NULL ? "" : number + 3);
        assert_ptr_equal(qd_gguf_name_to_theirs(llama, name, theirs), row);
        assert_ptr_equal(qd_gguf_name_to_ours(llama, theirs, ours), row);
        assert_string_equal(ours, name);
    }
    static const char *const strangers[] = { "blk.attn_q.weight",
                                             "blk.01.attn_q.weight",
                                             "blk.0.attn_q",
                                             "blk.0.attn_q.w",
                                             "blk.0.attn_q.weight.weight",
                                             "blk.1000000000.attn_q.weight",
                                             "" };
    for (size_t i = 0; i < QD_LENGTH(strangers); i++)
        assert_null(qd_gguf_name_to_ours(llama, strangers[i], ours));
    assert_ptr_equal(qd_gguf_arch_of_class("MistralForCausalLM"), llama);
    assert_null(qd_gguf_arch_of_class("MambaForCausalLM"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_config_is_what_transformers_would_write),
        cmocka_unit_test(llama3_parameters_come_back_from_their_divisors),
        cmocka_unit_test(what_cannot_be_run_is_refused),
        cmocka_unit_test(a_missing_key_is_named),
        cmocka_unit_test(names_go_over_and_back),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("gguf_config", tests, NULL, NULL);
}
