/* bench_forward.c: what a block's forward pass costs, part by part, in both arithmetics; CPU time of one thread, medians of RUNS.
 *
 *     bench_forward [--json] [SHAPE TOKENS]          (all shapes at 2048 tokens unless told)
 *
 * The model is one block of random weights in bf16, written to a folder below $TMPDIR or /tmp that goes away. The parts alternate, so that a
 * machine that slows down slows all of them. `output` is the mean square of what the block adds: equal but for the fifth digit
 * or so where both arithmetics do the same work. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/auto.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "linalg/gemm.h"
#include "model/block_private.h"
#include "model/safetensors.h"

enum { RUNS = 5, VOCABULARY = 32 };

typedef struct shape {
    const char *name;
    size_t hidden, features, heads, kv_heads, head_dim;
} shape;
static const shape shapes[] = {
    { "smollm2-135m", 576, 1536, 9, 3, 64 },
    { "llama-1b", 2048, 8192, 32, 8, 64 },
    { "llama-8b-attention", 1024, 1024, 32, 8, 128 },
};

typedef struct bench {
    const shape *shape;
    size_t tokens;
    enum { TEXT, JSON } form;
    qd_model *model;
    qd_block *blocks[2]; /* by arithmetic */
    qd_scratch *scratch;
    qd_matf_buf start, residual;         /* T x D */
    qd_matf_buf hidden, wide, up;        /* T x D, T x F twice */
    qd_matf_buf q, k, v, attended;       /* T x heads hd; T x kv_heads hd */
    double seconds[32][RUNS], output[2]; /* by part */
} bench;

static void stop_on(qd_code code, const qd_error *err)
{
    if (code == QD_OK)
        return;
    fprintf(stderr, "bench_forward: %s\n", err->text);
    exit(1);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- the model ---- */

static qd_tensor_out random_tensor(const char *name, size_t rank, size_t rows, size_t cols)
{
    qd_error err = { 0 };
    const qd_dtype *bf16 = qd_dtype_find("BF16");
    size_t count = rank == 1 ? cols : rows * cols;
    float *values = NULL;
    void *bytes = NULL;
    uint64_t key = 0;
    for (const char *at = name; *at != '\0'; at++)
        key = qd_rng_mix(key + (unsigned char)*at);
    stop_on(qd_alloc(count, sizeof *values, (void **)&values, &err), &err);
    stop_on(qd_alloc(count, 2, &bytes, &err), &err);
    for (size_t i = 0; i < count; i++) {
        double u = 2 * qd_rng_uniform(key, i) - 1;
        values[i] = (float)(rank == 1 ? 1 + 0.3 * u : u * sqrt(3 / (double)cols));
    }
    bf16->from_floats(values, count, bytes);
    free(values);
    return (qd_tensor_out){
        .name = name, .dtype = bf16, .rank = rank, .shape = { rank == 1 ? cols : rows, cols }, .data = bytes
    };
}

static void write_weights(const shape *s, const char *path)
{
    qd_error err = { 0 };
    size_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    qd_tensor_out all[] = {
        random_tensor("model.embed_tokens.weight", 2, VOCABULARY, s->hidden),
        random_tensor("model.norm.weight", 1, 1, s->hidden),
        random_tensor("model.layers.0.input_layernorm.weight", 1, 1, s->hidden),
        random_tensor("model.layers.0.post_attention_layernorm.weight", 1, 1, s->hidden),
        random_tensor("model.layers.0.self_attn.q_proj.weight", 2, q, s->hidden),
        random_tensor("model.layers.0.self_attn.k_proj.weight", 2, kv, s->hidden),
        random_tensor("model.layers.0.self_attn.v_proj.weight", 2, kv, s->hidden),
        random_tensor("model.layers.0.self_attn.o_proj.weight", 2, s->hidden, q),
        random_tensor("model.layers.0.mlp.gate_proj.weight", 2, s->features, s->hidden),
        random_tensor("model.layers.0.mlp.up_proj.weight", 2, s->features, s->hidden),
        random_tensor("model.layers.0.mlp.down_proj.weight", 2, s->hidden, s->features),
    };
    stop_on(qd_safetensors_write(path, all, QD_LENGTH(all), NULL, NULL, 0, &err), &err);
    for (size_t i = 0; i < QD_LENGTH(all); i++)
        free((void *)(uintptr_t)all[i].data);
}

static void write_config(const bench *b, const char *path)
{
    qd_error err = { 0 };
    const shape *s = b->shape;
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    qd_str_addf(
        &text,
        "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_size\":%zu,"
        "\"intermediate_size\":%zu,\"num_hidden_layers\":1,\"num_attention_heads\":%zu,\"num_key_value_heads\":%zu,"
        "\"head_dim\":%zu,\"vocab_size\":%d,\"max_position_embeddings\":%zu,\"rms_norm_eps\":1e-05,"
        "\"hidden_act\":\"silu\",\"rope_theta\":10000.0,\"tie_word_embeddings\":true}",
        s->hidden, s->features, s->heads, s->kv_heads, s->head_dim, VOCABULARY, b->tokens);
    stop_on(qd_file_write(path, qd_str_borrow(&text), text.length, &err), &err);
}

static void open_model(bench *b)
{
    qd_error err = { 0 };
    char folder[4000];
    const char *parent = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/bench-forward-XXXXXX", parent == NULL ? "/tmp" : parent);
    if (mkdtemp(folder) == NULL) {
        perror("bench_forward: mkdtemp");
        exit(1);
    }
    QD_AUTO(qd_free_pointer)
    char *weights = qd_path_join(folder, "model.safetensors"), *config = qd_path_join(folder, "config.json");
    write_weights(b->shape, weights);
    write_config(b, config);
    stop_on(qd_model_open(folder, &b->model, &err), &err);
    stop_on(qd_dir_remove(folder, &err), &err); /* it stays mapped */
}

static void open_bench(bench *b)
{
    qd_error err = { 0 };
    const shape *s = b->shape;
    size_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    const struct {
        qd_matf_buf *buf;
        size_t cols;
    } parts[] = { { &b->start, s->hidden },
                  { &b->residual, s->hidden },
                  { &b->hidden, qd_max_size(s->hidden, q) },
                  { &b->wide, s->features },
                  { &b->up, s->features },
                  { &b->q, q },
                  { &b->k, kv },
                  { &b->v, kv },
                  { &b->attended, q } };
    open_model(b);
    stop_on(qd_scratch_create(b->model, b->tokens, &b->scratch, &err), &err);
    for (size_t i = 0; i < QD_LENGTH(parts); i++) {
        stop_on(qd_matf_buf_init(parts[i].buf, b->tokens, parts[i].cols, &err), &err);
        for (size_t j = 0; j < b->tokens * parts[i].cols; j++)
            parts[i].buf->view.data[j] = (float)(2 * qd_rng_uniform(i, j) - 1);
    }
}

static void close_bench(bench *b)
{
    qd_matf_buf *parts[] = { &b->start, &b->residual, &b->hidden, &b->wide, &b->up, &b->q, &b->k, &b->v, &b->attended };
    for (size_t i = 0; i < QD_LENGTH(parts); i++)
        qd_matf_buf_fini(parts[i]);
    for (size_t a = 0; a < 2; a++)
        qd_block_destroy(b->blocks[a]);
    qd_scratch_destroy(b->scratch);
    qd_model_destroy(b->model);
}

/* ---- parts ---- */

/* Weights of the page cache: the first run of a file also reads it from the disk. */
static void load(bench *b, qd_arithmetic arithmetic)
{
    qd_error err = { 0 };
    qd_block_destroy(b->blocks[arithmetic]);
    b->blocks[arithmetic] = NULL;
    stop_on(qd_block_load(b->model, 0, NULL, arithmetic, &b->blocks[arithmetic], &err), &err);
}

static void whole(bench *b, qd_arithmetic arithmetic)
{
    qd_error err = { 0 };
    double sum = 0;
    size_t count = b->tokens * b->shape->hidden;
    memcpy(b->residual.view.data, b->start.view.data, count * sizeof(float));
    stop_on(qd_block_forward(b->blocks[arithmetic], b->residual.view, b->scratch, &err), &err);
    for (size_t i = 0; i < count; i++) {
        double added = (double)b->residual.view.data[i] - (double)b->start.view.data[i];
        sum += added * added;
    }
    b->output[arithmetic] = sum / (double)count;
}

static void linears(bench *b, qd_arithmetic arithmetic)
{
    const qd_block *block = b->blocks[arithmetic];
    size_t q = b->q.view.cols, hidden = b->shape->hidden;
    qd_cmatf x = qd_cmatf_block(qd_matf_const(b->hidden.view), 0, 0, b->tokens, hidden);
    qd_dense_apply(*block->slots[QD_SLOT_Q], x, QD_SET, b->q.view);
    qd_dense_apply(*block->slots[QD_SLOT_K], x, QD_SET, b->k.view);
    qd_dense_apply(*block->slots[QD_SLOT_V], x, QD_SET, b->v.view);
    x = qd_cmatf_block(qd_matf_const(b->attended.view), 0, 0, b->tokens, q);
    qd_dense_apply(*block->slots[QD_SLOT_O], x, QD_ADD, b->residual.view);
    x = qd_matf_const(b->start.view);
    qd_dense_apply(*block->slots[QD_SLOT_GATE], x, QD_SET, b->wide.view);
    qd_dense_apply(*block->slots[QD_SLOT_UP], x, QD_SET, b->up.view);
    qd_dense_apply(*block->slots[QD_SLOT_DOWN], qd_matf_const(b->wide.view), QD_ADD, b->residual.view);
}

static void norms(bench *b, qd_arithmetic arithmetic)
{
    qd_matf out = qd_matf_block(b->hidden.view, 0, 0, b->tokens, b->shape->hidden);
    qd_block_norm(b->blocks[arithmetic], QD_NORM_BEFORE_ATTENTION, qd_matf_const(b->start.view), out);
    qd_block_norm(b->blocks[arithmetic], QD_NORM_BEFORE_MLP, qd_matf_const(b->start.view), out);
}

static void rotations(bench *b, qd_arithmetic arithmetic)
{
    const qd_block *block = b->blocks[arithmetic];
    const qd_rope *rope = &block->decoder->ropes[block->layer->rope];
    const qd_rope_table *table = qd_block_rope(block, b->tokens, b->scratch);
    qd_cmatf cosine = qd_matf_const(table->cosine.view), sine = qd_matf_const(table->sine.view);
    qd_rope_apply(rope, cosine, sine, b->shape->head_dim, b->q.view);
    qd_rope_apply(rope, cosine, sine, b->shape->head_dim, b->k.view);
}

static void attention(bench *b, qd_arithmetic arithmetic)
{
    const qd_block *block = b->blocks[arithmetic];
    const qd_attention a = { .heads = b->shape->heads,
                             .kv_heads = b->shape->kv_heads,
                             .head_dim = b->shape->head_dim,
                             .scale = block->layer->score_scale,
                             .arithmetic = arithmetic };
    qd_attention_apply(&a, qd_matf_const(b->q.view), qd_matf_const(b->k.view), qd_matf_const(b->v.view),
                       b->scratch->room.view, b->attended.view);
}

static void activation(bench *b, qd_arithmetic arithmetic)
{
    const qd_activation *f = b->blocks[arithmetic]->decoder->activation;
    for (size_t t = 0; t < b->tokens; t++)
        f->multiply(qd_matf_row(b->wide.view, t), qd_matf_row(b->up.view, t), b->wide.view.cols);
}

/* ---- work in 1e9 operations; 0: what counts is the time ---- */

static double linear_work(const bench *b)
{
    const shape *s = b->shape;
    double attention_weights = (double)(s->hidden * (2 * s->heads + 2 * s->kv_heads) * s->head_dim);
    return 2e-9 * (double)b->tokens * (attention_weights + 3.0 * (double)(s->hidden * s->features));
}

static double attention_work(const bench *b)
{
    double pairs = 0.5 * (double)b->tokens * (double)(b->tokens + 1); /* of a query and a key that it sees */
    return 4e-9 * pairs * (double)(b->shape->heads * b->shape->head_dim);
}

static double whole_work(const bench *b)
{
    return linear_work(b) + attention_work(b);
}

static const struct {
    const char *name;
    void (*run)(bench *b, qd_arithmetic arithmetic);
    double (*work)(const bench *b);
    int arithmetics; /* 1: it is the same in both */
} parts[] = {
    { "load", load, NULL, 2 },
    { "block", whole, whole_work, 2 },
    { "linears", linears, linear_work, 2 },
    { "attention", attention, attention_work, 1 },
    { "norms", norms, NULL, 1 },
    { "rotations", rotations, NULL, 1 },
    { "activation", activation, NULL, 1 },
};

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(bench *b, size_t part, qd_arithmetic arithmetic, double *runs)
{
    qsort(runs, RUNS, sizeof *runs, ascending);
    double ms = 1e3 * runs[RUNS / 2], rate = parts[part].work == NULL ? 0 : parts[part].work(b) / runs[RUNS / 2];
    const char *kind = parts[part].arithmetics == 1          ? "any"
                       : arithmetic == QD_ARITHMETIC_FLOAT32 ? "float32"
                                                             : "bfloat16";
    double output = parts[part].run == whole ? b->output[arithmetic] : 0;
    if (b->form == JSON)
        printf("{\"name\": \"forward %s, %zu tokens, %s, %s\", \"value\": %.3f, \"unit\": \"ms\", \"product\": \"%s\", "
               "\"gflops\": %.1f, \"output\": %.6g}\n",
               b->shape->name, b->tokens, parts[part].name, kind, ms, qd_product_name(), rate, output);
    else
        printf("%-20s %5zu  %-11s %-9s %10.3f ms %8.1f GF/s  %.6g\n", b->shape->name, b->tokens, parts[part].name, kind,
               ms, rate, output);
    fflush(stdout);
}

static void run(bench *b)
{
    open_bench(b);
    for (size_t r = 0; r < RUNS; r++)
        for (size_t p = 0; p < QD_LENGTH(parts); p++)
            for (int a = 0; a < parts[p].arithmetics; a++) {
                double start = seconds();
                parts[p].run(b, (qd_arithmetic)a);
                b->seconds[2 * p + (size_t)a][r] = seconds() - start;
            }
    for (size_t p = 0; p < QD_LENGTH(parts); p++)
        for (int a = 0; a < parts[p].arithmetics; a++)
            report(b, p, (qd_arithmetic)a, b->seconds[2 * p + (size_t)a]);
    close_bench(b);
}

int main(int argc, char **argv)
{
    int at = 1;
    qd_blas_single_thread();
    bool json = argc > at && strcmp(argv[at], "--json") == 0;
    at += json;
    const char *chosen = at < argc ? argv[at] : NULL;
    size_t tokens = at + 1 < argc ? strtoul(argv[at + 1], NULL, 10) : 2048;
    for (size_t i = 0; i < QD_LENGTH(shapes); i++)
        if (chosen == NULL || strcmp(chosen, shapes[i].name) == 0)
            run(&(bench){ .shape = &shapes[i], .tokens = tokens, .form = json ? JSON : TEXT });
    return 0;
}
