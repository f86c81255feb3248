/* test_config.c: config.json and the tensors it promises: what is refused, in whose name; packed folders; NaN. */
#include "forward.h"

#include <jansson.h>

#include "base/json.h"
#include "linalg/gemm.h"

static void fixture_folder(const char *fixture, char *path, size_t size)
{
    char relative[256], source[4096];
    snprintf(relative, sizeof relative, "tests/core/model/fixtures/%s", fixture);
    temporary_folder(path, size);
    copy_folder(SOURCE_PATH(source, relative), path);
}

/* Sets keys of config.json from a JSON object; null removes. */
static void edit_config(const char *folder, const char *changes)
{
    qd_error err = { 0 };
    char *path = qd_path_join(folder, "config.json");
    json_t *config = NULL, *edits = json_loads(changes, 0, NULL), *value;
    const char *key;
    assert_non_null(edits);
    check_ok(qd_json_read_object(path, 1 << 20, 8, &config, &err));
    json_object_foreach(edits, key, value)
    {
        if (json_is_null(value))
            json_object_del(config, key);
        else
            json_object_set(config, key, value);
    }
    char *text = qd_json_print(config);
    check_ok(qd_file_write(path, text, strlen(text), &err));
    free(text);
    json_decref(config);
    json_decref(edits);
    free(path);
}

typedef struct bad_config {
    const char *changes;
    qd_code code;
    const char *part;
} bad_config;

/* Of the fixture mha-biases-f32: D 15, 3 heads of 6, F 11, V 19, 2 blocks, F32. */
static const bad_config table[] = {
    { "{\"architectures\":null}", QD_EFORMAT, "config.json: 'architectures' is missing or empty" },
    { "{\"architectures\":[]}", QD_EFORMAT, "'architectures' is missing or empty" },
    { "{\"architectures\":\"LlamaForCausalLM\"}", QD_EFORMAT, "'architectures' is missing or empty" },
    { "{\"architectures\":[\"BertModel\"]}", QD_EUNSUPPORTED,
      "'BertModel' is not supported; supported are LlamaForCausalLM, MistralForCausalLM" },
    { "{\"quantization_config\":{}}", QD_EUNSUPPORTED, "quantized already" },
    { "{\"architectures\":[\"Qwen3MoeForCausalLM\"],\"mlp_only_layers\":[1,\"0\"]}", QD_EFORMAT,
      "'mlp_only_layers': item 1: an integer is wanted, found a string" },
    { "{\"hidden_size\":null}", QD_EFORMAT, "config.json: 'hidden_size' is missing" },
    { "{\"hidden_size\":0}", QD_EFORMAT, "'hidden_size' is missing or 0" },
    { "{\"hidden_size\":-15}", QD_EFORMAT, "'hidden_size': a non-negative integer is wanted" },
    { "{\"hidden_size\":15.0}", QD_EFORMAT,
      "config.json: 'hidden_size': a non-negative integer is wanted, found a number" },
    { "{\"hidden_size\":\"15\"}", QD_EFORMAT, "found a string" },
    { "{\"hidden_size\":16}", QD_ESHAPE, "tensor 'model.embed_tokens.weight' has 2 dimensions of 19 x 15" },
    { "{\"hidden_size\":9223372036854775807}", QD_EFORMAT, "is beyond" },
    { "{\"intermediate_size\":null}", QD_EFORMAT, "'intermediate_size' is missing" },
    { "{\"intermediate_size\":12}", QD_ESHAPE, "tensor 'model.layers.0.mlp.gate_proj.weight'" },
    { "{\"num_attention_heads\":null}", QD_EFORMAT, "'num_attention_heads' is missing" },
    { "{\"num_attention_heads\":6,\"head_dim\":3}", QD_EFORMAT, "even number is wanted" },
    { "{\"num_attention_heads\":4,\"head_dim\":null}", QD_EFORMAT, "does not divide into 4 heads" },
    { "{\"num_key_value_heads\":2}", QD_EFORMAT, "3 heads of 6 cannot share 2 key/value heads" },
    { "{\"num_key_value_heads\":0}", QD_EFORMAT, "cannot share 0" },
    { "{\"num_key_value_heads\":6}", QD_EFORMAT, "cannot share 6" },
    { "{\"num_key_value_heads\":1}", QD_ESHAPE, "tensor 'model.layers.0.self_attn.k_proj.weight'" },
    { "{\"head_dim\":4}", QD_ESHAPE, "tensor 'model.layers.0.self_attn.q_proj.weight'" },
    { "{\"head_dim\":16777218}", QD_EFORMAT, "is beyond" },
    { "{\"num_hidden_layers\":null}", QD_EFORMAT, "'num_hidden_layers' is missing" },
    { "{\"num_hidden_layers\":3}", QD_EFORMAT, "tensor 'model.layers.2.input_layernorm.weight' is missing" },
    { "{\"num_hidden_layers\":100001}", QD_EFORMAT, "is beyond 100000" },
    { "{\"vocab_size\":null}", QD_EFORMAT, "'vocab_size' is missing" },
    { "{\"vocab_size\":20}", QD_ESHAPE, "tensor 'model.embed_tokens.weight'" },
    { "{\"hidden_act\":\"mish\"}", QD_EUNSUPPORTED,
      "hidden_act 'mish' is not supported here; supported are silu, swish" },
    { "{\"hidden_act\":1}", QD_EFORMAT, "'hidden_act': a string is wanted" },
    { "{\"rms_norm_eps\":-1e-5}", QD_EFORMAT, "rms_norm_eps -1e-05" },
    { "{\"rms_norm_eps\":1e105}", QD_EFORMAT, "rms_norm_eps 1e+105 is not in [0, 1]" },
    { "{\"rms_norm_eps\":\"1e-5\"}", QD_EFORMAT, "'rms_norm_eps': a number is wanted" },
    { "{\"tie_word_embeddings\":1}", QD_EFORMAT, "'tie_word_embeddings': true or false is wanted" },
    { "{\"attention_bias\":\"yes\"}", QD_EFORMAT, "'attention_bias': true or false is wanted" },
    { "{\"layer_types\":[\"full_attention\",\"sliding_attention\"]}", QD_EFORMAT,
      "layer 1 slides, and there is no 'sliding_window'" },
    { "{\"layer_types\":[\"linear_attention\"]}", QD_EUNSUPPORTED, "'linear_attention' of layer 0" },
    { "{\"architectures\":[\"MistralForCausalLM\"],\"sliding_window\":-1}", QD_EFORMAT, "'sliding_window'" },
    { "{\"rope_theta\":0}", QD_EFORMAT, "rope_theta 0" },
    { "{\"rope_theta\":\"big\"}", QD_EFORMAT, "'rope_theta': a number is wanted" },
    { "{\"rope_scaling\":\"linear\"}", QD_EFORMAT, "'rope_scaling': an object is wanted, found a string" },
    { "{\"rope_parameters\":[1]}", QD_EFORMAT, "'rope_parameters': an object is wanted, found an array" },
    { "{\"rope_scaling\":{\"type\":\"cubic\",\"factor\":2}}", QD_EUNSUPPORTED,
      "rope type 'cubic' is not supported; supported are default, linear, dynamic, llama3, yarn, longrope" },
    { "{\"max_position_embeddings\":null,\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}}", QD_EFORMAT,
      "'dynamic' needs max_position_embeddings above 0" },
    { "{\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":0.5}}", QD_EFORMAT, "a factor of 1 or more (0.5)" },
    { "{\"rope_scaling\":{\"type\":\"longrope\",\"original_max_position_embeddings\":8}}", QD_EFORMAT,
      "'short_factor': an array of 3 numbers, one a rotated pair, is wanted, found nothing of 0" },
    { "{\"rope_scaling\":{\"type\":\"longrope\",\"original_max_position_embeddings\":8,\"short_factor\":[1,0,1]}}",
      QD_EFORMAT, "'short_factor': element 1 is not a number above 0" },
    { "{\"rope_scaling\":{\"type\":\"linear\"}}", QD_EFORMAT, "rope type 'linear' needs 'factor'" },
    { "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}}", QD_EFORMAT, "factor 0 make no rotation" },
    { "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":-2}}", QD_EFORMAT, "factor -2 make no rotation" },
    { "{\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8}}", QD_EFORMAT, "rope type 'llama3' needs 'low_freq" },
    { "{\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":4,"
      "\"original_max_position_embeddings\":32}}",
      QD_EFORMAT, "low_freq_factor 4 must be above 0 and below high_freq_factor 4" },
    { "{\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4,"
      "\"original_max_position_embeddings\":0}}",
      QD_EFORMAT, "needs original_max_position_embeddings above 0" },
    { "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"beta_fast\":-1}}", QD_EFORMAT, "beta_fast -1" },
    { "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"mscale\":1}}", QD_EUNSUPPORTED, "'mscale'" },
    { "{\"max_position_embeddings\":null,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2}}", QD_EFORMAT,
      "'yarn' needs original_max_position_embeddings" },
    { "{\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1e6}}}", QD_EUNSUPPORTED, "'full_attention'" },
    { "{\"rope_parameters\":{\"partial_rotary_factor\":-1e300}}", QD_EFORMAT, "is not in (0, 1]" },
    { "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":1e-308}}", QD_EFORMAT, "pair 0 turns by" },
    { "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"attention_factor\":1e300}}", QD_EFORMAT,
      "attention_factor 1e+300" },
    { "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"attention_factor\":-1}}", QD_EFORMAT,
      "attention_factor -1" },
    { "{\"partial_rotary_factor\":1.5}", QD_EFORMAT, "is not in (0, 1]" },
    { "{\"partial_rotary_factor\":0.5}", QD_EFORMAT, "3 rotary dimensions of a head of 6" },
    { "{\"partial_rotary_factor\":0.01}", QD_EFORMAT, "0 rotary dimensions of a head of 6" },
};

static void config_is_refused(void **state)
{
    const bad_config *bad = *state;
    qd_error err = { 0 };
    char folder[4096];
    qd_model *model = NULL;
    fixture_folder("mha-biases-f32", folder, sizeof folder);
    edit_config(folder, bad->changes);
    check_fails(qd_model_open(folder, &model, &err), bad->code);
    check_contains(err.text, folder);
    check_contains(err.text, bad->part);
    check_ok(qd_dir_remove(folder, &err));
}

static void unusual_configs_are_read(void **state)
{
    (void)state;
    static const char *const changes[] = {
        "{\"bos_token_id\":\"x\",\"eos_token_id\":[1,2],\"num_key_value_heads\":null,\"rms_norm_eps\":0}",
        "{\"rope_parameters\":{},\"rope_scaling\":{\"type\":\"unknown\"}}", /* rope_parameters first */
        "{\"layer_types\":[\"full_attention\",\"full_attention\"],\"sliding_window\":4}",
        "{\"max_position_embeddings\":9223372036854775807,\"hidden_act\":\"swish\"}",
        "{\"rope_scaling\":{\"rope_type\":\"default\",\"low_freq_factor\":4,\"high_freq_factor\":4}}",
    };
    for (size_t i = 0; i < QD_LENGTH(changes); i++) {
        qd_error err = { 0 };
        char folder[4096];
        qd_model *model = NULL;
        fixture_folder("mha-biases-f32", folder, sizeof folder);
        edit_config(folder, changes[i]);
        check_ok(qd_model_open(folder, &model, &err));
        assert_int_equal(qd_model_borrow_config(model)->bos, -1);
        assert_int_equal(qd_model_linear_count(model), 14);
        qd_model_destroy(model);
        check_ok(qd_dir_remove(folder, &err));
    }
}

/* Logits of three ids after a change of the config. */
static void logits_with(const char *fixture, const char *changes, float *out, size_t count)
{
    static const uint32_t ids[3] = { 3, 1, 2 };
    qd_error err = { 0 };
    char folder[4096];
    qd_model *model = NULL;
    fixture_folder(fixture, folder, sizeof folder);
    edit_config(folder, changes);
    check_ok(qd_model_open(folder, &model, &err));
    size_t v = qd_model_borrow_config(model)->vocabulary;
    assert_int_equal(3 * v, count);
    forward_logits(model, ids, BY_BLOCK, qd_matf_view(out, 3, v));
    qd_model_destroy(model);
    check_ok(qd_dir_remove(folder, &err));
}

static void a_null_quantization_config_is_none(void **state)
{
    (void)state;
    static const char text[] =
        "{\"quantization_config\":null,\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":15,"
        "\"intermediate_size\":11,\"num_hidden_layers\":2,\"num_attention_heads\":3,"
        "\"head_dim\":6,\"vocab_size\":19}";
    qd_error err = { 0 };
    char folder[4096];
    qd_model *model = NULL;
    fixture_folder("mha-biases-f32", folder, sizeof folder);
    char *path = qd_path_join(folder, "config.json");
    check_ok(qd_file_write(path, text, strlen(text), &err));
    check_ok(qd_model_open(folder, &model, &err));
    free(path);
    qd_model_destroy(model);
    check_ok(qd_dir_remove(folder, &err));
}

static void both_spellings_of_rope_mean_the_same(void **state)
{
    (void)state;
    float a[57], b[57], c[57];
    logits_with("mha-biases-f32", "{\"rope_theta\":500,\"rope_scaling\":{\"type\":\"linear\",\"factor\":3}}", a, 57);
    logits_with("mha-biases-f32",
                "{\"rope_theta\":null,\"rope_parameters\":{\"rope_theta\":500,\"rope_type\":\"linear\",\"factor\":3}}",
                b, 57);
    logits_with("mha-biases-f32", "{\"rope_theta\":400,\"rope_scaling\":{\"type\":\"linear\",\"factor\":3}}", c, 57);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, c, sizeof a);
}

static void the_flag_decides_which_head_is_used(void **state)
{
    (void)state;
    float untied[57], tied[57], absent[57];
    logits_with("mha-biases-f32", "{\"tie_word_embeddings\":false}", untied, 57);
    logits_with("mha-biases-f32", "{\"tie_word_embeddings\":true}", tied, 57);
    logits_with("mha-biases-f32", "{\"tie_word_embeddings\":null}", absent, 57);
    assert_memory_equal(untied, absent, sizeof untied);
    assert_memory_not_equal(untied, tied, sizeof untied);
}

static void biases_come_by_the_flags(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char folder[4096];
    qd_model *model = NULL;
    fixture_folder("mha-biases-f32", folder, sizeof folder);
    edit_config(folder, "{\"mlp_bias\":false}");
    check_ok(qd_model_open(folder, &model, &err));
    for (size_t k = 0; k < qd_model_block_size(model, 0); k++)
        assert_int_equal(qd_model_linear_at(model, k)->bias != NULL, k < 4);
    check_contains(qd_model_warning_at(model, 0), "'model.layers.0.mlp.down_proj.bias' has no use");
    qd_model_destroy(model);
    check_ok(qd_dir_remove(folder, &err));
    fixture_folder("rope-linear", folder, sizeof folder);
    edit_config(folder, "{\"mlp_bias\":true}");
    check_fails(qd_model_open(folder, &model, &err), QD_EFORMAT);
    check_contains(err.text, "tensor 'model.layers.0.mlp.gate_proj.bias' is missing");
    check_ok(qd_dir_remove(folder, &err));
}

static void linears_are_listed_in_execution_order(void **state)
{
    (void)state;
    static const char *const names[] = { "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                                         "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj" };
    static const size_t groups[] = { 0, 0, 0, 1, 2, 2, 3 };
    qd_error err = { 0 };
    char path[4096], full[128];
    qd_model *model = NULL;
    check_ok(qd_model_open(SOURCE_PATH(path, "tests/core/model/fixtures/mha-biases-f32"), &model, &err));
    assert_string_equal(qd_model_borrow_dir(model), path);
    assert_string_equal(qd_model_borrow_config(model)->dtype, "F32");
    assert_string_equal(qd_model_arch(model)->name, "llama");
    for (size_t i = 0; i < qd_model_linear_count(model); i++) {
        const qd_linear *l = qd_model_linear_at(model, i);
        snprintf(full, sizeof full, "model.layers.%zu.%s", i / 7, names[i % 7]);
        assert_string_equal(l->name, full);
        assert_int_equal(l->group, groups[i % 7]);
        assert_int_equal(l->weight->shape[0], l->out);
        assert_int_equal(l->weight->shape[1], l->in);
    }
    assert_null(qd_model_linear_at(model, 14));
    assert_int_equal(qd_model_block_first(model, 1), 7);
    qd_model_destroy(model);
}

/* Every registry row has what the code needs of it, and is found by each of its classes. */
static void every_architecture_row_is_complete(void **state)
{
    (void)state;
    size_t count = 0;
    for (const qd_arch *arch; (arch = qd_arch_at(count)) != NULL; count++) {
        assert_true(arch->name[0] != '\0' && arch->summary[0] != '\0' && arch->ops != NULL);
        assert_non_null(arch->classes[0]);
        for (size_t k = 0; arch->classes[k] != NULL; k++)
            assert_ptr_equal(qd_arch_find_class(arch->classes[k]), arch);
    }
    assert_in_range(count, 2, 100);
    assert_null(qd_arch_find_class(""));
}

/* The folder's model.safetensors with bytes of one tensor's element replaced. */
static void damage(const char *folder, const char *tensor, size_t element, uint32_t bits)
{
    qd_error err = { 0 };
    char *path = qd_path_join(folder, "model.safetensors");
    qd_str bytes = { 0 };
    qd_safetensors *file = NULL;
    check_ok(qd_file_read(path, 1 << 20, &bytes, &err));
    check_ok(qd_safetensors_parse(path, (const unsigned char *)bytes.data, bytes.length, &file, &err));
    const qd_tensor *t = qd_safetensors_find(file, tensor);
    assert_non_null(t);
    size_t place = (size_t)(t->data - (const unsigned char *)bytes.data) + 4 * element;
    memcpy(bytes.data + place, &bits, 4);
    qd_safetensors_destroy(file);
    check_ok(qd_file_write(path, bytes.data, bytes.length, &err));
    qd_str_fini(&bytes);
    free(path);
}

/* Embeds, runs and ends a model; the first failure. */
static qd_code run_all(const qd_model *model, qd_error *err)
{
    static const uint32_t ids[3] = { 3, 1, 2 };
    size_t d = qd_model_borrow_config(model)->hidden, v = qd_model_borrow_config(model)->vocabulary;
    qd_matf_buf hidden = { 0 }, logits = { 0 };
    qd_scratch *scratch = NULL;
    double nll;
    qd_code code = qd_matf_buf_init(&hidden, 3, d, err);
    if (code == QD_OK)
        code = qd_matf_buf_init(&logits, 3, v, err);
    if (code == QD_OK)
        code = qd_scratch_create(model, 3, &scratch, err);
    if (code == QD_OK)
        code = qd_model_embed(model, ids, hidden.view, err);
    for (size_t b = 0; code == QD_OK && b < qd_model_borrow_config(model)->blocks; b++) {
        qd_block *block = NULL;
        code = qd_block_load(model, b, NULL, QD_ARITHMETIC_FLOAT32, &block, err);
        if (code == QD_OK)
            code = qd_block_forward(block, hidden.view, scratch, err);
        qd_block_destroy(block);
    }
    if (code == QD_OK)
        code = qd_model_final_norm(model, hidden.view, err);
    if (code == QD_OK) {
        qd_error other = { 0 };
        code = qd_model_logits(model, qd_matf_const(hidden.view), logits.view, err);
        assert_int_equal(qd_model_nll(model, qd_matf_const(hidden.view), ids, NULL, &nll, &other), code);
        assert_string_equal(other.text, code == QD_OK ? "" : err->text);
    }
    qd_scratch_destroy(scratch);
    qd_matf_buf_fini(&hidden);
    qd_matf_buf_fini(&logits);
    return code;
}

static void a_value_that_is_not_finite_names_its_tensor(void **state)
{
    (void)state;
    static const char *const tensors[] = { "model.embed_tokens.weight",
                                           "model.layers.0.input_layernorm.weight",
                                           "model.layers.1.post_attention_layernorm.weight",
                                           "model.layers.1.self_attn.v_proj.weight",
                                           "model.layers.0.mlp.down_proj.bias",
                                           "model.norm.weight",
                                           "lm_head.weight" };
    static const uint32_t values[] = { 0x7fc00000, 0x7f800000, 0xff800000, 0x7f800001 };
    for (size_t i = 0; i < QD_LENGTH(tensors) * QD_LENGTH(values); i++) {
        const char *tensor = tensors[i / QD_LENGTH(values)];
        size_t element = i < QD_LENGTH(values) ? 3 * 15 + 2 : 7; /* an embedding row that the ids use */
        qd_error err = { 0 };
        char folder[4096], part[128];
        qd_model *model = NULL;
        fixture_folder("mha-biases-f32", folder, sizeof folder);
        damage(folder, tensor, element, values[i % QD_LENGTH(values)]);
        check_ok(qd_model_open(folder, &model, &err));
        check_fails(run_all(model, &err), QD_ENUMERIC);
        snprintf(part, sizeof part, "tensor '%s': element %zu is ", tensor, element);
        check_contains(err.text, part);
        qd_model_destroy(model);
        check_ok(qd_dir_remove(folder, &err));
    }
}

static void weights_that_are_integers_are_refused(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char folder[4096];
    qd_model *model = NULL;
    qd_str bytes = { 0 };
    fixture_folder("mha-biases-f32", folder, sizeof folder);
    char *path = qd_path_join(folder, "model.safetensors");
    check_ok(qd_file_read(path, 1 << 20, &bytes, &err));
    size_t start = 8;
    while (memcmp(bytes.data + start, "q_proj.weight", 13) != 0)
        start++;
    char *dtype = strstr(bytes.data + start, "F32");
    assert_non_null(dtype);
    dtype[0] = 'I';
    check_ok(qd_file_write(path, bytes.data, bytes.length, &err));
    check_fails(qd_model_open(folder, &model, &err), QD_EUNSUPPORTED);
    check_contains(err.text, "q_proj.weight': weights of dtype I32 are not supported; F32, F16 and BF16 are");
    qd_str_fini(&bytes);
    free(path);
    check_ok(qd_dir_remove(folder, &err));
}

/* A folder with everything but the weights of the linears, and a quantization_config. */
static void make_packed(const char *folder, const qd_model *plain)
{
    qd_error err = { 0 };
    qd_tensor_out kept[32];
    size_t count = 0;
    for (size_t i = 0; i < qd_model_tensor_count(plain); i++) {
        const qd_tensor *t = qd_model_tensor_at(plain, i);
        if (strstr(t->name, "_proj.weight") != NULL)
            continue;
        kept[count] = (qd_tensor_out){ t->name, t->dtype, t->rank, { 0 }, t->data };
        memcpy(kept[count++].shape, t->shape, sizeof t->shape);
        assert_in_range(count, 1, 31);
    }
    char *path = qd_path_join(folder, "model.safetensors");
    check_ok(qd_safetensors_write(path, kept, count, NULL, NULL, 0, &err));
    free(path);
    edit_config(folder, "{\"quantization_config\":{\"quant_method\":\"x\"}}");
}

/* ctx: the plain model. */
static qd_code weight_of_plain(void *ctx, size_t index, const qd_linear *linear, qd_matf w, qd_error *err)
{
    assert_null(linear->weight);
    return qd_tensor_to_floats(qd_model_linear_at(ctx, index)->weight, w.data, err);
}

static void a_packed_folder_runs_with_an_overlay(void **state)
{
    (void)state;
    static const uint32_t ids[3] = { 3, 1, 2 };
    qd_error err = { 0 };
    char folder[4096], path[4096];
    qd_model *plain = NULL, *packed = NULL;
    fixture_folder("mha-biases-f32", folder, sizeof folder);
    check_ok(qd_model_open(SOURCE_PATH(path, "tests/core/model/fixtures/mha-biases-f32"), &plain, &err));
    make_packed(folder, plain);
    check_fails(qd_model_open(folder, &packed, &err), QD_EUNSUPPORTED);
    check_ok(qd_model_open_packed(folder, &packed, &err));
    assert_int_equal(qd_model_linear_count(packed), 14);
    for (size_t i = 0; i < 14; i++) {
        assert_null(qd_model_linear_at(packed, i)->weight);
        assert_non_null(qd_model_linear_at(packed, i)->bias);
        assert_int_equal(qd_model_linear_at(packed, i)->out, qd_model_linear_at(plain, i)->out);
        assert_int_equal(qd_model_linear_at(packed, i)->in, qd_model_linear_at(plain, i)->in);
    }
    qd_block *block = NULL;
    check_fails(qd_block_load(packed, 0, NULL, QD_ARITHMETIC_FLOAT32, &block, &err), QD_ENOTFOUND);
    check_contains(err.text, "'model.layers.0.self_attn.q_proj' has no stored weight");
    const qd_overlay overlay = { weight_of_plain, plain };
    float a[45], b[45];
    forward_hidden(plain, NULL, ids, BY_BLOCK, (qd_matf){ 0 }, qd_matf_view(a, 3, 15));
    forward_hidden(packed, &overlay, ids, BY_BLOCK, (qd_matf){ 0 }, qd_matf_view(b, 3, 15));
    assert_memory_equal(a, b, sizeof a);
    qd_model_destroy(plain);
    qd_model_destroy(packed);
    check_ok(qd_dir_remove(folder, &err));
}

int main(void)
{
    qd_blas_single_thread();
    enum { OTHERS = 10 };
    struct CMUnitTest tests[QD_LENGTH(table) + OTHERS] = {
        cmocka_unit_test(unusual_configs_are_read),
        cmocka_unit_test(a_null_quantization_config_is_none),
        cmocka_unit_test(both_spellings_of_rope_mean_the_same),
        cmocka_unit_test(the_flag_decides_which_head_is_used),
        cmocka_unit_test(biases_come_by_the_flags),
        cmocka_unit_test(linears_are_listed_in_execution_order),
        cmocka_unit_test(every_architecture_row_is_complete),
        cmocka_unit_test(a_value_that_is_not_finite_names_its_tensor),
        cmocka_unit_test(weights_that_are_integers_are_refused),
        cmocka_unit_test(a_packed_folder_runs_with_an_overlay),
    };
    static char claims[QD_LENGTH(table)][256];
    for (size_t i = 0; i < QD_LENGTH(table); i++) {
        snprintf(claims[i], sizeof claims[i], "config refused: %s", table[i].changes);
        tests[OTHERS + i] =
            (struct CMUnitTest){ claims[i], config_is_refused, NULL, NULL, (void *)(uintptr_t)&table[i] };
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
