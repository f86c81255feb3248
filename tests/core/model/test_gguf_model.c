/* test_gguf_model.c: a GGUF file as a model: the same numbers as the safetensors it was made of, bit for bit; sets,
 * blocks, what lies beside. */
#include "gguf_model.h"

enum { LENGTH = 12 };
static const char fixtures[] = "tests/core/model/fixtures";

static qd_model *open_fixture(const char *name)
{
    char path[4096], relative[256];
    qd_model *model = NULL;
    qd_error err = { 0 };
    snprintf(relative, sizeof relative, "%s/%s", fixtures, name);
    check_ok(qd_model_open(SOURCE_PATH(path, relative), &model, &err));
    return model;
}

static void same_logits(const qd_model *a, const qd_model *b)
{
    qd_error err = { 0 };
    size_t words = qd_model_borrow_config(a)->vocabulary;
    qd_matf_buf x = { 0 }, y = { 0 };
    uint32_t ids[LENGTH];
    assert_int_equal(qd_model_borrow_config(b)->vocabulary, words);
    for (size_t i = 0; i < LENGTH; i++)
        ids[i] = (uint32_t)((7 * i + 3) % words);
    check_ok(qd_matf_buf_init(&x, LENGTH, words, &err));
    check_ok(qd_matf_buf_init(&y, LENGTH, words, &err));
    forward_logits(a, ids, BY_BLOCK, x.view);
    forward_logits(b, ids, BY_BLOCK, y.view);
    assert_memory_equal(x.view.data, y.view.data, LENGTH * words * sizeof(float));
    qd_matf_buf_fini(&x);
    qd_matf_buf_fini(&y);
}

static void put_tensors(gguf_file *g, const qd_model *model, size_t first, size_t last)
{
    for (size_t i = first; i < last; i++)
        put_tensor(g, model, qd_model_tensor_at(model, i));
}

static void same_config(const qd_model *a, const qd_model *b)
{
    const qd_model_config *x = qd_model_borrow_config(a), *y = qd_model_borrow_config(b);
    const qd_decoder *d = qd_model_decoder(a), *e = qd_model_decoder(b);
    assert_string_equal(x->architecture, y->architecture);
    assert_string_equal(x->dtype, y->dtype);
    assert_true(x->max_positions == y->max_positions && x->bos == y->bos && x->blocks == y->blocks);
    assert_true(d->biases == e->biases && d->layers[0].window == e->layers[0].window);
    assert_int_equal(qd_model_tensor_count(a), qd_model_tensor_count(b));
    assert_null(qd_model_warning_at(b, 0));
    assert_null(qd_model_quantized_source(b));
}

/* By the path of the file, and as the only weights of a folder. */
static void a_file_is_the_model_it_was_made_of(void **state)
{
    qd_model *source = open_fixture(*state), *model = NULL;
    char dir[4096];
    qd_error err = { 0 };
    gguf_file g = { 0 };
    temporary_folder(dir, sizeof dir);
    put_keys(&g, source);
    put_tensors(&g, source, 0, qd_model_tensor_count(source));
    save(&g, dir, "some-name.gguf");
    char *path = qd_path_join(dir, "some-name.gguf");
    const char *ways[] = { path, dir };
    for (size_t i = 0; i < QD_LENGTH(ways); i++) {
        check_ok(qd_model_open(ways[i], &model, &err));
        same_config(source, model);
        same_logits(source, model);
        assert_string_equal(qd_model_borrow_dir(model), dir);
        assert_int_equal(qd_model_file_count(model), 1);
        assert_string_equal(qd_model_file_at(model, 0), "some-name.gguf");
        assert_int_equal(qd_model_file_of(model, qd_model_tensor_at(model, 0)), 0);
        qd_model_destroy(model);
    }
    free(path);
    qd_model_destroy(source);
    remove_folder(dir);
}

/* ---- sets ---- */

static const char *const parts[] = { "m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf" };

/* The first file has keys and no tensor, as converters may write it. */
static void save_set(const qd_model *source, const char *dir, uint32_t shift)
{
    size_t count = qd_model_tensor_count(source);
    for (uint32_t i = 0; i < 3; i++) {
        gguf_file g = { 0 };
        if (i == 0)
            put_keys(&g, source);
        gf_key(&g, "split.no", 2);
        uint16_t number = (uint16_t)i, all = 3;
        qd_str_add_bytes(&g.keys, &number, 2);
        gf_key(&g, "split.count", 2);
        qd_str_add_bytes(&g.keys, &all, 2);
        gf_key(&g, "split.tensors.count", 5);
        gf_u32(&g.keys, (uint32_t)count + shift);
        put_tensors(&g, source, i == 1 ? 0 : i == 2 ? count / 3 : count, i == 1 ? count / 3 : count);
        save(&g, dir, parts[i]);
    }
}

static void a_set_is_one_model(void **state)
{
    (void)state;
    qd_model *source = open_fixture("mqa-shards-f16"), *model = NULL;
    char dir[4096];
    qd_error err = { 0 };
    temporary_folder(dir, sizeof dir);
    save_set(source, dir, 0);
    char *paths[] = { qd_path_join(dir, parts[0]), qd_path_join(dir, parts[1]), qd_path_join(dir, parts[2]) };
    const char *ways[] = { dir, paths[0], paths[2] };
    for (size_t i = 0; i < QD_LENGTH(ways); i++) {
        check_ok(qd_model_open(ways[i], &model, &err));
        same_config(source, model);
        same_logits(source, model);
        assert_int_equal(qd_model_file_count(model), 3);
        assert_string_equal(qd_model_file_at(model, 1), parts[1]);
        assert_int_equal(qd_model_file_of(model, qd_model_tensor(model, "model.norm.weight")), 2);
        qd_model_destroy(model);
    }
    save_set(source, dir, 1);
    check_fails(qd_model_open(dir, &model, &err), QD_EFORMAT);
    check_contains(err.text, "key 'split.tensors.count' is");
    save_set(source, dir, 0);
    copy_file(paths[1], paths[2]);
    check_fails(qd_model_open(dir, &model, &err), QD_EFORMAT);
    check_contains(err.text, "'m-00003-of-00003.gguf': keys 'split.no' 1 and 'split.count' 3, but it is file 3 of 3");
    assert_int_equal(unlink(paths[1]), 0);
    check_fails(qd_model_open(dir, &model, &err), QD_EFORMAT);
    check_contains(err.text, "but not 'm-00002-of-00003.gguf'");
    check_fails(qd_model_open(paths[0], &model, &err), QD_ENOTFOUND);
    copy_file(paths[0], paths[1]);
    save_set(source, dir, 0);
    char *other = qd_path_join(dir, "other.gguf");
    copy_file(paths[0], other);
    check_fails(qd_model_open(dir, &model, &err), QD_EFORMAT);
    check_contains(err.text, "holds 'm-00001-of-00003.gguf' and 'other.gguf', which are no set: give the path of one");
    free(other);
    for (size_t i = 0; i < 3; i++)
        free(paths[i]);
    qd_model_destroy(source);
    remove_folder(dir);
}

/* ---- blocks ---- */

enum { WIDE = 256, HEADS = 4, WORDS = 19, TENSORS = 11 };

/* A model of one block in two shapes: as GGUF with its matrices in blocks, and as float32 safetensors. */
typedef struct twins {
    const qd_ggml_type *type;
    unsigned seed;
    gguf_file gguf;
    qd_tensor_out plain[TENSORS];
    size_t count;
} twins;

/* Random codes; the f16 scales (at two places of a block, or one) get a small exponent, so that the model has numbers. */
static void fill_block(const qd_ggml_type *type, unsigned char *block, unsigned *seed)
{
    static const struct {
        const char *name;
        size_t first, second;
    } places[] = { { "Q4_1", 0, 2 }, { "Q5_1", 0, 2 },     { "Q2_K", 80, 82 },  { "Q3_K", 108, 108 }, { "Q4_K", 0, 2 },
                   { "Q5_K", 0, 2 }, { "Q6_K", 208, 208 }, { "TQ1_0", 52, 52 }, { "TQ2_0", 64, 64 } };
    size_t first = 0, second = 0;
    for (size_t i = 0; i < QD_LENGTH(places); i++)
        if (strcmp(places[i].name, type->dtype.name) == 0) {
            first = places[i].first;
            second = places[i].second;
        }
    for (size_t i = 0; i < type->dtype.block_bytes; i++)
        block[i] = (unsigned char)((*seed = 1664525 * *seed + 1013904223) >> 24);
    if (strcmp(type->dtype.name, "MXFP4") == 0)
        block[0] = 122;
    else if (strcmp(type->dtype.name, "NVFP4") == 0)
        memset(block, 0x18, 4);
    else
        block[first + 1] = block[second + 1] = (unsigned char)(0x10 | (block[first + 1] & 0x83));
}

static const char *their_name(const char *ours, char *out)
{
    assert_non_null(qd_gguf_name_to_theirs(qd_gguf_arch_find("llama"), ours, out));
    return out;
}

static void add_plain(twins *t, const char *name, size_t rank, size_t rows, float *values)
{
    t->plain[t->count++] = (qd_tensor_out){ .name = name,
                                            .dtype = qd_dtype_find("F32"),
                                            .rank = rank,
                                            .shape = { rank == 1 ? WIDE : rows, WIDE },
                                            .data = values };
}

/* head_rows > 1: row (h, i) of the model is row (h, 2 (i mod half) + i / half) of the file. */
static void add_matrix(twins *t, const char *name, size_t rows, size_t head_rows)
{
    char theirs[QD_GGUF_NAME_BYTES];
    const qd_dtype *dtype = &t->type->dtype;
    size_t stride = WIDE / dtype->block * dtype->block_bytes, half = head_rows / 2;
    unsigned char *blocks = malloc(rows * stride);
    float *values = malloc(rows * WIDE * sizeof *values);
    for (size_t at = 0; at < rows * stride; at += dtype->block_bytes)
        fill_block(t->type, blocks + at, &t->seed);
    for (size_t r = 0; r < rows; r++) {
        size_t i = r % head_rows, place = head_rows == 1 ? r : r - i + 2 * (i % half) + i / half;
        dtype->to_floats(blocks + place * stride, WIDE, values + r * WIDE);
    }
    gf_tensor(&t->gguf, their_name(name, theirs), t->type->id, rows, WIDE, blocks, rows * stride);
    add_plain(t, name, 2, rows, values);
    free(blocks);
}

static void add_norm(twins *t, const char *name)
{
    char theirs[QD_GGUF_NAME_BYTES];
    float *values = malloc(WIDE * sizeof *values);
    for (size_t i = 0; i < WIDE; i++)
        values[i] = 1 + (float)i / 1000;
    gf_tensor(&t->gguf, their_name(name, theirs), 0, 0, WIDE, values, WIDE * sizeof *values);
    add_plain(t, name, 1, 0, values);
}

static void make_twins(twins *t)
{
    static const char *const sizes[] = { "embedding_length", "feed_forward_length" };
    gf_put_text(&t->gguf, "general.architecture", "llama");
    gf_put_f32(&t->gguf, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gf_put_u32(&t->gguf, "llama.block_count", 1);
    gf_put_u32(&t->gguf, "llama.context_length", 64);
    gf_put_u32(&t->gguf, "llama.attention.head_count", HEADS);
    for (size_t i = 0; i < QD_LENGTH(sizes); i++) {
        char key[64];
        snprintf(key, sizeof key, "llama.%s", sizes[i]);
        gf_put_u32(&t->gguf, key, WIDE);
    }
    add_matrix(t, "model.layers.0.self_attn.q_proj.weight", WIDE, WIDE / HEADS);
    add_matrix(t, "model.layers.0.self_attn.k_proj.weight", WIDE, WIDE / HEADS);
    add_matrix(t, "model.layers.0.self_attn.v_proj.weight", WIDE, 1);
    add_matrix(t, "model.layers.0.self_attn.o_proj.weight", WIDE, 1);
    add_matrix(t, "model.layers.0.mlp.gate_proj.weight", WIDE, 1);
    add_matrix(t, "model.layers.0.mlp.up_proj.weight", WIDE, 1);
    add_matrix(t, "model.layers.0.mlp.down_proj.weight", WIDE, 1);
    add_matrix(t, "model.embed_tokens.weight", WORDS, 1);
    add_norm(t, "model.layers.0.input_layernorm.weight");
    add_norm(t, "model.layers.0.post_attention_layernorm.weight");
    add_norm(t, "model.norm.weight");
    assert_int_equal(t->count, TENSORS);
}

static void write_in(const char *dir, const char *name, const char *text)
{
    qd_error err = { 0 };
    char *path = qd_path_join(dir, name);
    check_ok(qd_file_write(path, text, strlen(text), &err));
    free(path);
}

static const char wide_config[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":256,\"intermediate_size\":256,\"num_hidden_layers\":1,"
    "\"num_attention_heads\":4,\"vocab_size\":19,\"rms_norm_eps\":1e-5,\"max_position_embeddings\":64}";

static void one_type(const qd_ggml_type *type, const char *dir)
{
    twins t = { .type = type, .seed = 17 + type->id };
    char words[64];
    qd_model *plain = NULL, *model = NULL;
    qd_error err = { 0 };
    make_twins(&t);
    save(&t.gguf, dir, "m.gguf");
    write_in(dir, "config.json", wide_config);
    char *weights = qd_path_join(dir, "model.safetensors"), *gguf = qd_path_join(dir, "m.gguf");
    check_ok(qd_safetensors_write(weights, t.plain, TENSORS, NULL, NULL, 0, &err));
    check_ok(qd_model_open(dir, &plain, &err)); /* safetensors first, where both are */
    check_ok(qd_model_open(gguf, &model, &err));
    same_logits(plain, model);
    snprintf(words, sizeof words, "GGUF %s", type->dtype.name);
    assert_string_equal(qd_model_quantized_source(model), words);
    assert_null(qd_model_quantized_source(plain));
    assert_string_equal(qd_model_borrow_config(model)->dtype, "F32");
    qd_model_destroy(plain);
    qd_model_destroy(model);
    for (size_t i = 0; i < TENSORS; i++)
        free((void *)(uintptr_t)t.plain[i].data);
    free(weights);
    free(gguf);
}

static void blocks_of_any_type_are_the_values_they_stand_for(void **state)
{
    (void)state;
    char dir[4096];
    temporary_folder(dir, sizeof dir);
    for (size_t i = 0; qd_ggml_type_at(i) != NULL; i++)
        if (qd_ggml_type_at(i)->dtype.block != 0)
            one_type(qd_ggml_type_at(i), dir);
    remove_folder(dir);
}

/* NVFP4 may have one scale a tensor beside it. */
static void a_scale_beside_a_weight_multiplies_it(void **state)
{
    (void)state;
    twins t = { .type = qd_ggml_type_named("NVFP4"), .seed = 5 };
    char dir[4096];
    const float scale = 0.75f;
    qd_model *model = NULL;
    qd_error err = { 0 };
    make_twins(&t);
    gf_tensor(&t.gguf, "blk.0.attn_q.scale", 0, 0, 1, &scale, sizeof scale);
    temporary_folder(dir, sizeof dir);
    save(&t.gguf, dir, "m.gguf");
    check_ok(qd_model_open(dir, &model, &err));
    assert_int_equal(qd_model_tensor_count(model), TENSORS);
    float *got = malloc(WIDE * WIDE * sizeof *got);
    const float *want = t.plain[0].data;
    check_ok(qd_tensor_to_floats(qd_model_tensor(model, t.plain[0].name), got, &err));
    for (size_t i = 0; i < WIDE * WIDE; i++)
        assert_true(got[i] == want[i] * scale);
    free(got);
    qd_model_destroy(model);
    for (size_t i = 0; i < TENSORS; i++)
        free((void *)(uintptr_t)t.plain[i].data);
    remove_folder(dir);
}

/* ---- folders ---- */

static void save_fixture(const char *name, const char *dir)
{
    qd_model *source = open_fixture(name);
    gguf_file g = { 0 };
    put_keys(&g, source);
    put_tensors(&g, source, 0, qd_model_tensor_count(source));
    save(&g, dir, "m.gguf");
    qd_model_destroy(source);
}

/* A stub is no config; one that names its class is, and may be wrong. */
static void a_config_beside_counts_when_it_names_its_class(void **state)
{
    (void)state;
    char dir[4096];
    qd_model *model = NULL;
    qd_error err = { 0 };
    temporary_folder(dir, sizeof dir);
    save_fixture("gqa-tied-bf16", dir);
    write_in(dir, "config.json", "{\"model_type\":\"llama\"}");
    check_ok(qd_model_open(dir, &model, &err));
    qd_model_destroy(model);
    write_in(dir, "config.json", wide_config);
    check_fails(qd_model_open(dir, &model, &err), QD_ESHAPE);
    write_in(dir, "config.json", "{");
    check_fails(qd_model_open(dir, &model, &err), QD_EFORMAT);
    remove_folder(dir);
}

static void other_architectures_are_refused_by_name(void **state)
{
    (void)state;
    char dir[4096];
    gguf_file g = { 0 };
    qd_model *model = NULL;
    qd_error err = { 0 };
    temporary_folder(dir, sizeof dir);
    gf_put_text(&g, "general.architecture", "mamba");
    put_embedding(&g);
    save(&g, dir, "m.gguf");
    check_fails(qd_model_open(dir, &model, &err), QD_EUNSUPPORTED);
    check_contains(err.text, "'m.gguf': architecture 'mamba' is not supported; supported are llama");
    remove_folder(dir);
}

/* q and k must fall into heads of an even number of rows; a tensor without use is a warning. */
static void rows_that_are_no_heads_are_refused(void **state)
{
    (void)state;
    static const float zeros[16 * 16];
    char dir[4096];
    gguf_file g = { 0 };
    qd_model *model = NULL;
    qd_error err = { 0 };
    temporary_folder(dir, sizeof dir);
    put_least_keys(&g);
    put_embedding(&g);
    gf_tensor(&g, "blk.0.attn_q.weight", 0, 12, 16, zeros, 12 * 16 * sizeof(float)); /* 4 heads of 3 */
    save(&g, dir, "m.gguf");
    check_fails(qd_model_open(dir, &model, &err), QD_ESHAPE);
    check_contains(err.text, "q_proj.weight': 12 rows are not 4 heads of an even number of rows");
    remove_folder(dir);
}

#define OF(name) \
    { \
        name " as GGUF gives the same logits", a_file_is_the_model_it_was_made_of, NULL, NULL, name \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        OF("gqa-tied-bf16"),
        OF("mha-biases-f32"),
        OF("mqa-shards-f16"),
        OF("mistral-window-5"),
        OF("rope-linear"),
        OF("rope-llama3"),
        OF("rope-yarn"),
        OF("rope-yarn-factor"),
        cmocka_unit_test(a_set_is_one_model),
        cmocka_unit_test(blocks_of_any_type_are_the_values_they_stand_for),
        cmocka_unit_test(a_scale_beside_a_weight_multiplies_it),
        cmocka_unit_test(a_config_beside_counts_when_it_names_its_class),
        cmocka_unit_test(other_architectures_are_refused_by_name),
        cmocka_unit_test(rows_that_are_no_heads_are_refused),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("gguf_model", tests, NULL, NULL);
}
