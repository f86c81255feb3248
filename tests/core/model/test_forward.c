/* test_forward.c: the forward pass against the float64 reference of make_fixtures.py, and against itself another
 * way. */
#include "forward.h"

#include "base/rng.h"
#include "linalg/gemm.h"

typedef struct fixture {
    qd_model *model;
    qd_safetensors *reference;
    uint32_t *ids;
    size_t length;
} fixture;

static void open_fixture(const char *name, fixture *out)
{
    qd_error err = { 0 };
    char relative[256], path[4096], file[4200];
    snprintf(relative, sizeof relative, "tests/core/model/fixtures/%s", name);
    SOURCE_PATH(path, relative);
    snprintf(file, sizeof file, "%s/reference.safetensors", path);
    check_ok(qd_model_open(path, &out->model, &err));
    check_ok(qd_safetensors_open(file, &out->reference, &err));
    const qd_tensor *ids = qd_safetensors_find(out->reference, "ids");
    assert_non_null(ids);
    out->length = (size_t)ids->elements;
    out->ids = calloc(out->length, sizeof *out->ids);
    for (size_t i = 0; i < out->length; i++) {
        int64_t id;
        memcpy(&id, ids->data + 8 * i, sizeof id);
        out->ids[i] = (uint32_t)id;
    }
}

static void close_fixture(fixture *f)
{
    qd_model_destroy(f->model);
    qd_safetensors_destroy(f->reference);
    free(f->ids);
}

/* Largest difference over the rows that the reference has, relative to its largest value. */
static double difference(const qd_safetensors *reference, const char *name, qd_cmatf got)
{
    const qd_tensor *want = qd_safetensors_find(reference, name), *rows = qd_safetensors_find(reference, "positions");
    assert_non_null(want);
    assert_int_equal(want->shape[1], got.cols);
    double worst = 0, largest = 0;
    for (size_t r = 0; r < want->shape[0]; r++) {
        int64_t t;
        memcpy(&t, rows->data + 8 * r, sizeof t);
        for (size_t i = 0; i < got.cols; i++) {
            double value;
            memcpy(&value, want->data + 8 * (r * got.cols + i), sizeof value);
            worst = fmax(worst, fabs(value - (double)qd_cmatf_row(got, (size_t)t)[i]));
            largest = fmax(largest, fabs(value));
        }
    }
    return worst / largest;
}

static void matches_the_float64_reference(void **state)
{
    qd_error err = { 0 };
    fixture f = { 0 };
    open_fixture(*state, &f);
    const qd_model_config *c = qd_model_borrow_config(f.model);
    qd_matf_buf first = { 0 }, hidden = { 0 }, logits = { 0 };
    check_ok(qd_matf_buf_init(&first, f.length, c->hidden, &err));
    check_ok(qd_matf_buf_init(&hidden, f.length, c->hidden, &err));
    check_ok(qd_matf_buf_init(&logits, f.length, c->vocabulary, &err));
    forward_hidden(f.model, NULL, f.ids, BY_BLOCK, first.view, hidden.view);
    check_ok(qd_model_logits(f.model, qd_matf_const(hidden.view), logits.view, &err));
    check_near(difference(f.reference, "first_block", qd_matf_const(first.view)), 0, 2e-6);
    check_near(difference(f.reference, "logits", qd_matf_const(logits.view)), 0, 2e-6);
    assert_null(qd_model_warning_at(f.model, 0));
    qd_matf_buf_fini(&first);
    qd_matf_buf_fini(&hidden);
    qd_matf_buf_fini(&logits);
    close_fixture(&f);
}

static void group_by_group_gives_the_same_bits(void **state)
{
    qd_error err = { 0 };
    fixture f = { 0 };
    open_fixture(*state, &f);
    size_t v = qd_model_borrow_config(f.model)->vocabulary;
    qd_matf_buf a = { 0 }, b = { 0 };
    check_ok(qd_matf_buf_init(&a, f.length, v, &err));
    check_ok(qd_matf_buf_init(&b, f.length, v, &err));
    forward_logits(f.model, f.ids, BY_BLOCK, a.view);
    forward_logits(f.model, f.ids, BY_GROUP, b.view);
    assert_memory_equal(a.view.data, b.view.data, f.length * v * sizeof(float));
    qd_matf_buf_fini(&a);
    qd_matf_buf_fini(&b);
    close_fixture(&f);
}

/* Row t sees ids 0..t only; with a window, a change at s reaches t only through blocks * (window - 1) positions. */
static void the_future_does_not_reach_the_past(void **state)
{
    qd_error err = { 0 };
    fixture f = { 0 };
    open_fixture(*state, &f);
    size_t v = qd_model_borrow_config(f.model)->vocabulary, changed = f.length * 2 / 3;
    qd_matf_buf a = { 0 }, b = { 0 };
    check_ok(qd_matf_buf_init(&a, f.length, v, &err));
    check_ok(qd_matf_buf_init(&b, f.length, v, &err));
    forward_logits(f.model, f.ids, BY_BLOCK, a.view);
    f.ids[changed] = (f.ids[changed] + 1) % (uint32_t)v;
    forward_logits(f.model, f.ids, BY_BLOCK, b.view);
    assert_memory_equal(a.view.data, b.view.data, changed * v * sizeof(float));
    for (size_t t = changed; t < f.length && t <= changed + 1; t++)
        assert_memory_not_equal(qd_matf_row(a.view, t), qd_matf_row(b.view, t), v * sizeof(float));
    if (strcmp(*state, "mistral-window-5") == 0)
        for (size_t t = changed + 2 * 4 + 1; t < f.length; t++)
            for (size_t i = 0; i < v; i++)
                check_near(qd_matf_row(b.view, t)[i], qd_matf_row(a.view, t)[i], 1e-5);
    qd_matf_buf_fini(&a);
    qd_matf_buf_fini(&b);
    close_fixture(&f);
}

static void nll_is_minus_log_softmax_of_the_logits(void **state)
{
    qd_error err = { 0 };
    fixture f = { 0 };
    open_fixture(*state, &f);
    size_t v = qd_model_borrow_config(f.model)->vocabulary, d = qd_model_borrow_config(f.model)->hidden;
    qd_matf_buf hidden = { 0 }, logits = { 0 };
    double *rows = calloc(f.length, sizeof *rows), sum = 0, got = 0;
    check_ok(qd_matf_buf_init(&hidden, f.length, d, &err));
    check_ok(qd_matf_buf_init(&logits, f.length, v, &err));
    forward_hidden(f.model, NULL, f.ids, BY_BLOCK, (qd_matf){ 0 }, hidden.view);
    check_ok(qd_model_logits(f.model, qd_matf_const(hidden.view), logits.view, &err));
    qd_cmatf context = qd_cmatf_block(qd_matf_const(hidden.view), 0, 0, f.length - 1, d);
    check_ok(qd_model_nll(f.model, context, f.ids + 1, rows, &got, &err));
    for (size_t t = 0; t + 1 < f.length; t++) {
        double want = naive_nll(qd_matf_row(logits.view, t), v, f.ids[t + 1]);
        check_close_at(rows[t], want, 1e-6, 1e-6, __FILE__, __LINE__);
        sum += rows[t];
    }
    check_close(got, sum, 1e-15);
    uint32_t beyond = (uint32_t)v;
    check_fails(qd_model_nll(f.model, qd_cmatf_block(context, 0, 0, 1, d), &beyond, NULL, &got, &err), QD_EINVAL);
    check_fails(qd_model_embed(f.model, &beyond, qd_matf_block(hidden.view, 0, 0, 1, d), &err), QD_EINVAL);
    check_contains(err.text, "not below the vocabulary");
    free(rows);
    qd_matf_buf_fini(&hidden);
    qd_matf_buf_fini(&logits);
    close_fixture(&f);
}

/* One block, D 4, V 4099: the head is widened in slices of 2048 rows, the last one of 3. */
static void make_wide_vocabulary(const char *folder)
{
    static const char config[] = "{\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":4,\"intermediate_size\":4,"
                                 "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"vocab_size\":4099}";
    static const char *const square[] = { "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                          "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                          "mlp.down_proj" };
    qd_error err = { 0 };
    static float values[4099 * 4];
    char names[QD_LENGTH(square)][64];
    const qd_dtype *f32 = qd_dtype_find("F32");
    qd_tensor_out tensors[11] = { { "model.embed_tokens.weight", f32, 2, { 4099, 4 }, values },
                                  { "model.norm.weight", f32, 1, { 4 }, values + 5 },
                                  { "model.layers.0.input_layernorm.weight", f32, 1, { 4 }, values + 9 },
                                  { "model.layers.0.post_attention_layernorm.weight", f32, 1, { 4 }, values + 13 } };
    for (size_t i = 0; i < QD_LENGTH(values); i++)
        values[i] = (float)(3 * qd_rng_uniform(1, i) - 1);
    for (size_t i = 0; i < QD_LENGTH(square); i++) {
        snprintf(names[i], sizeof names[i], "model.layers.0.%s.weight", square[i]);
        tensors[4 + i] = (qd_tensor_out){ names[i], f32, 2, { 4, 4 }, values + 100 * (i + 1) };
    }
    char *path = qd_path_join(folder, "model.safetensors"), *config_path = qd_path_join(folder, "config.json");
    check_ok(qd_safetensors_write(path, tensors, 11, NULL, NULL, 0, &err));
    check_ok(qd_file_write(config_path, config, strlen(config), &err));
    free(path);
    free(config_path);
}

static void nll_holds_across_slices_of_the_vocabulary(void **state)
{
    (void)state;
    enum { V = 4099, D = 4, T = 9 };
    static const uint32_t ids[T] = { 7, 0, 2047, 2048, 4095, 4096, 4098, 2049, 1 };
    qd_error err = { 0 };
    char folder[4096];
    qd_model *model = NULL;
    float hidden[T * D], *logits = malloc(T * V * sizeof *logits);
    double rows[T], sum;
    temporary_folder(folder, sizeof folder);
    make_wide_vocabulary(folder);
    check_ok(qd_model_open(folder, &model, &err));
    forward_hidden(model, NULL, ids, BY_BLOCK, (qd_matf){ 0 }, qd_matf_view(hidden, T, D));
    check_ok(qd_model_logits(model, qd_cmatf_view(hidden, T, D), qd_matf_view(logits, T, V), &err));
    check_ok(qd_model_nll(model, qd_cmatf_view(hidden, T, D), ids, rows, &sum, &err));
    const qd_tensor *table = qd_model_tensor(model, "model.embed_tokens.weight");
    for (size_t t = 0; t < T; t++) {
        for (size_t i = 0; i < V; i++) { /* tied: the logit is a product with the embedding's row */
            float row[D];
            double want = 0;
            check_ok(qd_tensor_rows_to_floats(table, i, 1, row, &err));
            for (size_t k = 0; k < D; k++)
                want += (double)row[k] * (double)hidden[t * D + k];
            check_near((double)logits[t * V + i], want, 1e-5);
        }
        check_near(rows[t], naive_nll(logits + t * V, V, ids[t]), 1e-6);
    }
    free(logits);
    qd_model_destroy(model);
    check_ok(qd_dir_remove(folder, &err));
}

typedef struct replaced {
    const qd_model *model;
    size_t calls, at;
} replaced;

/* The stored weight, but minus itself for one linear. */
static qd_code negate_one(void *ctx, size_t index, const qd_linear *linear, qd_matf w, qd_error *err)
{
    replaced *r = ctx;
    r->calls++;
    assert_ptr_equal(linear, qd_model_linear_at(r->model, index));
    assert_int_equal(w.rows, linear->out);
    assert_int_equal(w.cols, linear->in);
    qd_code code = qd_tensor_to_floats(linear->weight, w.data, err);
    for (size_t i = 0; index == r->at && i < w.rows * w.cols; i++)
        w.data[i] = -w.data[i];
    return code;
}

static void an_overlay_replaces_every_linear_once(void **state)
{
    (void)state;
    qd_error err = { 0 };
    fixture f = { 0 };
    open_fixture("gqa-tied-bf16", &f);
    size_t linears = qd_model_linear_count(f.model), d = qd_model_borrow_config(f.model)->hidden;
    assert_int_equal(linears, 14);
    qd_matf_buf stored = { 0 }, same = { 0 }, other = { 0 };
    check_ok(qd_matf_buf_init(&stored, f.length, d, &err));
    check_ok(qd_matf_buf_init(&same, f.length, d, &err));
    check_ok(qd_matf_buf_init(&other, f.length, d, &err));
    replaced none = { f.model, 0, SIZE_MAX }, value = { f.model, 0, 9 };
    const qd_overlay same_weights = { negate_one, &none }, other_weights = { negate_one, &value };
    forward_hidden(f.model, NULL, f.ids, BY_BLOCK, (qd_matf){ 0 }, stored.view);
    forward_hidden(f.model, &same_weights, f.ids, BY_BLOCK, (qd_matf){ 0 }, same.view);
    forward_hidden(f.model, &other_weights, f.ids, BY_BLOCK, (qd_matf){ 0 }, other.view);
    assert_int_equal(none.calls, linears);
    assert_memory_equal(stored.view.data, same.view.data, f.length * d * sizeof(float));
    assert_memory_not_equal(stored.view.data, other.view.data, f.length * d * sizeof(float));
    qd_matf_buf_fini(&stored);
    qd_matf_buf_fini(&same);
    qd_matf_buf_fini(&other);
    close_fixture(&f);
}

static void a_weight_put_into_a_block_is_the_one_used(void **state)
{
    (void)state;
    qd_error err = { 0 };
    fixture f = { 0 };
    open_fixture("mha-biases-f32", &f);
    size_t d = qd_model_borrow_config(f.model)->hidden;
    qd_block *block = NULL;
    qd_scratch *scratch = NULL;
    qd_matf_buf before = { 0 }, after = { 0 };
    check_ok(qd_block_load(f.model, 0, NULL, QD_ARITHMETIC_FLOAT32, &block, &err));
    check_ok(qd_scratch_create(f.model, f.length, &scratch, &err));
    check_ok(qd_matf_buf_init(&before, f.length, d, &err));
    check_ok(qd_matf_buf_init(&after, f.length, d, &err));
    check_ok(qd_model_embed(f.model, f.ids, before.view, &err));
    check_ok(qd_model_embed(f.model, f.ids, after.view, &err));
    for (size_t k = 0; k < qd_model_block_size(f.model, 0); k++) { /* all weights 0: only biases of o and down remain */
        qd_matf w = qd_block_weight(block, k);
        memset(w.data, 0, w.rows * w.cols * sizeof(float));
    }
    check_ok(qd_block_forward(block, after.view, scratch, &err));
    float o[64], down[64];
    check_ok(qd_tensor_to_floats(qd_model_tensor(f.model, "model.layers.0.self_attn.o_proj.bias"), o, &err));
    check_ok(qd_tensor_to_floats(qd_model_tensor(f.model, "model.layers.0.mlp.down_proj.bias"), down, &err));
    /* Attention of equal values v_bias and the gate of two biases pass through zero weights. */
    for (size_t t = 0; t < f.length; t++)
        for (size_t i = 0; i < d; i++)
            assert_true(qd_matf_row(after.view, t)[i] == qd_matf_row(before.view, t)[i] + o[i] + down[i]);
    check_fails(qd_block_forward(block, (qd_matf){ f.length + 1, d, d, before.view.data }, scratch, &err), QD_ESHAPE);
    qd_block_destroy(block);
    qd_scratch_destroy(scratch);
    qd_matf_buf_fini(&before);
    qd_matf_buf_fini(&after);
    close_fixture(&f);
}

#define FIXTURES(each) \
    each("gqa-tied-bf16") each("mha-biases-f32") each("mqa-shards-f16") each("rope-linear") each("rope-llama3") \
        each("rope-yarn") each("rope-yarn-factor") each("rope-partial") each("mistral-window-67") \
            each("mistral-window-5")
#define MATCHES(name) \
    { name ": logits and first block match the float64 reference", matches_the_float64_reference, NULL, NULL, name },
#define GROUPS(name) \
    { name ": group by group gives the same bits", group_by_group_gives_the_same_bits, NULL, NULL, name },
#define CAUSAL(name) \
    { name ": the future does not reach the past", the_future_does_not_reach_the_past, NULL, NULL, name },
#define NLL(name) \
    { name ": nll is -log softmax of the logits", nll_is_minus_log_softmax_of_the_logits, NULL, NULL, name },

int main(void)
{
    qd_blas_single_thread();
    const struct CMUnitTest tests[] = {
        FIXTURES(MATCHES) FIXTURES(GROUPS) FIXTURES(CAUSAL) FIXTURES(NLL)
            cmocka_unit_test(nll_holds_across_slices_of_the_vocabulary),
        cmocka_unit_test(an_overlay_replaces_every_linear_once),
        cmocka_unit_test(a_weight_put_into_a_block_is_the_one_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
