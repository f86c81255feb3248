/* folders.h: source models, rounded layers and artifacts in temporary folders, for the tests of export.
 * Room: tests. May use: everything of export.
 * Threads: none. */
#ifndef QD_TESTS_EXPORT_FOLDERS_H
#define QD_TESTS_EXPORT_FOLDERS_H

#include <jansson.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "check.h"
#include "folder.h"
#include "export/artifact.h"
#include "quant/algorithm.h"

enum { FOLDER_PATH = 512 };

static inline void folder_make(char *out)
{
    temporary_folder(out, FOLDER_PATH);
}

static inline void path_in(const char *dir, const char *name, char *out)
{
    char *joined = qd_path_join(dir, name);
    assert_true(joined != NULL && strlen(joined) < FOLDER_PATH);
    memcpy(out, joined, strlen(joined) + 1);
    free(joined);
}

static inline void file_put(const char *dir, const char *name, const void *bytes, size_t length)
{
    qd_error err = { 0 };
    char path[FOLDER_PATH];
    path_in(dir, name, path);
    check_ok(qd_file_write(path, bytes, length, &err));
}

static inline void text_put(const char *dir, const char *name, const char *text)
{
    file_put(dir, name, text, strlen(text));
}

static inline qd_str file_get(const char *dir, const char *name)
{
    qd_error err = { 0 };
    qd_str bytes = { 0 };
    char path[FOLDER_PATH];
    path_in(dir, name, path);
    check_ok(qd_file_read(path, 64u << 20, &bytes, &err));
    return bytes;
}

/* A Llama of one block with random weights; in and out of every layer follow from the three sizes. */
typedef struct tiny {
    size_t head_dim, heads, intermediate, blocks, shards; /* zeros: 8, 1, 24, 1, 1 */
    const char *dtype;                                    /* NULL = "F32" */
    uint64_t seed;
} tiny;

typedef struct tiny_tensors {
    qd_tensor_out items[64];
    char names[64][96];
    void *data[64];
    size_t count;
} tiny_tensors;

static inline void tiny_add(tiny_tensors *t, const char *dtype, uint64_t seed, const char *name, size_t rows,
                            size_t cols)
{
    qd_error err = { 0 };
    float *values = NULL;
    size_t count = rows * (cols == 0 ? 1 : cols), i = t->count++;
    uint64_t key = qd_rng_key(seed, i, 0);
    assert_true(i < QD_LENGTH(t->items));
    check_ok(qd_alloc(count, sizeof *values, (void **)&values, &err));
    for (size_t k = 0; k < count; k++)
        values[k] = (float)(qd_rng_uniform(key, k) + qd_rng_uniform(key, k + count) - 0.9);
    const qd_dtype *row = qd_dtype_find(dtype);
    check_ok(qd_alloc(count, row->bits / 8, &t->data[i], &err));
    row->from_floats(values, count, t->data[i]);
    free(values);
    snprintf(t->names[i], sizeof t->names[i], "%s", name);
    t->items[i] = (qd_tensor_out){ t->names[i], row, cols == 0 ? 1 : 2, { rows, cols }, t->data[i] };
}

static inline void tiny_block(tiny_tensors *t, const tiny *m, size_t block)
{
    size_t d = m->heads * m->head_dim, f = m->intermediate;
    const struct {
        const char *name;
        size_t rows, cols;
    } parts[] = {
        { "input_layernorm.weight", d, 0 },
        { "post_attention_layernorm.weight", d, 0 },
        { "self_attn.q_proj.weight", d, d },
        { "self_attn.k_proj.weight", m->head_dim, d },
        { "self_attn.v_proj.weight", m->head_dim, d },
        { "self_attn.v_proj.bias", m->head_dim, 0 },
        { "self_attn.o_proj.weight", d, d },
        { "mlp.gate_proj.weight", f, d },
        { "mlp.up_proj.weight", f, d },
        { "mlp.down_proj.weight", d, f },
    };
    for (size_t i = 0; i < QD_LENGTH(parts); i++) {
        char name[96];
        snprintf(name, sizeof name, "model.layers.%zu.%s", block, parts[i].name);
        tiny_add(t, m->dtype, m->seed, name, parts[i].rows, parts[i].cols);
    }
}

static inline void tiny_index(const char *dir, const tiny_tensors *t, size_t shards)
{
    qd_error err = { 0 };
    json_t *map = json_object();
    for (size_t s = 0; s < shards; s++) {
        char name[64], path[FOLDER_PATH];
        size_t first = s * t->count / shards, end = (s + 1) * t->count / shards;
        snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", s + 1, shards);
        path_in(dir, name, path);
        check_ok(qd_safetensors_write(path, t->items + first, end - first, NULL, NULL, 0, &err));
        for (size_t i = first; i < end; i++)
            json_object_set_new(map, t->names[i], json_string(name));
    }
    json_t *index = json_pack("{s:{}, s:o}", "metadata", "weight_map", map);
    char *text = json_dumps(index, 0);
    text_put(dir, "model.safetensors.index.json", text);
    free(text);
    json_decref(index);
}

/* Writes config.json, the weights and two side files into `dir`. */
static inline void tiny_write(const char *dir, tiny m)
{
    qd_error err = { 0 };
    static const tiny defaults = { .head_dim = 8, .heads = 1, .intermediate = 24, .blocks = 1, .shards = 1 };
    m.head_dim = m.head_dim == 0 ? defaults.head_dim : m.head_dim;
    m.heads = m.heads == 0 ? defaults.heads : m.heads;
    m.intermediate = m.intermediate == 0 ? defaults.intermediate : m.intermediate;
    m.blocks = m.blocks == 0 ? defaults.blocks : m.blocks;
    m.dtype = m.dtype == NULL ? "F32" : m.dtype;
    size_t d = m.heads * m.head_dim, vocabulary = 11;
    char config[600];
    snprintf(config, sizeof config,
             "{\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":%zu,\"intermediate_size\":%zu,"
             "\"num_attention_heads\":%zu,\"num_key_value_heads\":1,\"head_dim\":%zu,\"num_hidden_layers\":%zu,"
             "\"vocab_size\":%zu,\"rms_norm_eps\":1e-5,\"max_position_embeddings\":64,\"tie_word_embeddings\":true,"
             "\"torch_dtype\":\"%s\",\"a_key_we_do_not_know\":{\"kept\":[1,2.5,null]}}\n",
             d, m.intermediate, m.heads, m.head_dim, m.blocks, vocabulary,
             strcmp(m.dtype, "F32") == 0    ? "float32"
             : strcmp(m.dtype, "BF16") == 0 ? "bfloat16"
                                            : "float16");
    text_put(dir, "config.json", config);
    text_put(dir, "tokenizer.json", "{\"model\": \"\xc3\xa9\"}  \n\n");
    file_put(dir, "empty.bin", "", 0);
    tiny_tensors t = { .count = 0 };
    tiny_add(&t, m.dtype, m.seed, "model.embed_tokens.weight", vocabulary, d);
    tiny_add(&t, m.dtype, m.seed, "model.norm.weight", d, 0);
    for (size_t b = 0; b < m.blocks; b++)
        tiny_block(&t, &m, b);
    if (m.shards > 1)
        tiny_index(dir, &t, m.shards);
    else {
        char path[FOLDER_PATH];
        path_in(dir, "model.safetensors", path);
        check_ok(qd_safetensors_write(path, t.items, t.count, NULL, NULL, 0, &err));
    }
    for (size_t i = 0; i < t.count; i++)
        free(t.data[i]);
}

static inline qd_grid_spec grid_of(double bits, qd_zero_kind zero, size_t group_size, const char *scale_type)
{
    return (qd_grid_spec){ .alphabet = qd_alphabet_find(zero == QD_ZERO_NONE ? "int" : "int-asymmetric"),
                           .zero = zero,
                           .bits = bits,
                           .group_size = group_size,
                           .rule = qd_scale_rule_find("minmax"),
                           .shrink = 1.0,
                           .scale_type = qd_scale_type_find(scale_type) };
}

/* Every linear of a model, rounded to nearest by the room below: what an engine would have decided. */
typedef struct decision {
    const qd_model *model;
    qd_grid grids[64];
    uint8_t *codes[64];
} decision;

static inline qd_code decided_layer(void *ctx, size_t index, qd_rounded *out, qd_error *err)
{
    const decision *d = ctx;
    (void)err;
    *out = (qd_rounded){ .grid = &d->grids[index], .codes = d->codes[index] };
    return QD_OK;
}

static inline qd_rounded_source decided_source(decision *d)
{
    return (qd_rounded_source){ decided_layer, d };
}

/* Each layer on its own grid, where the format has another for some. */
static inline decision decide(const qd_model *model, const qd_grid_spec *whole, const qd_format *format, size_t variant)
{
    qd_error err = { 0 };
    decision d = { .model = model };
    assert_true(qd_model_linear_count(model) <= QD_LENGTH(d.grids));
    for (size_t i = 0; i < qd_model_linear_count(model); i++) {
        const qd_linear *linear = qd_model_linear_at(model, i);
        qd_matf_buf w = { 0 };
        qd_certificate certificate;
        qd_grid_spec spec = *whole;
        if (format->layer_spec != NULL)
            check_ok(format->layer_spec(whole, variant, linear, &spec, &err));
        check_ok(qd_matf_buf_init(&w, linear->out, linear->in, &err));
        check_ok(qd_tensor_to_floats(linear->weight, w.view.data, &err));
        check_ok(qd_grid_build(&spec, qd_matf_const(w.view), NULL, NULL, &d.grids[i], &err));
        check_ok(qd_alloc(linear->out, linear->in, (void **)&d.codes[i], &err));
        const qd_layer_input input = { .w = qd_matf_const(w.view), .grid = &d.grids[i] };
        check_ok(qd_layer_round(qd_algorithm_find("rtn"), &input, d.codes[i], &certificate, &err));
        qd_matf_buf_fini(&w);
    }
    return d;
}

static inline void decided_free(decision *d)
{
    for (size_t i = 0; i < QD_LENGTH(d->codes); i++) {
        free(d->codes[i]);
        qd_grid_fini(&d->grids[i]);
    }
}

/* A source, what was decided about it, and the artifact's folder (made, empty). */
typedef struct scene {
    char source[FOLDER_PATH], dir[FOLDER_PATH];
    qd_model *model;
    qd_grid_spec spec;
    decision decided;
    const qd_format *format;
    size_t variant;
} scene;

static inline scene *scene_open(const char *source, const char *format, qd_grid_spec spec)
{
    qd_error err = { 0 };
    scene *s = calloc(1, sizeof *s);
    assert_non_null(s);
    snprintf(s->source, sizeof s->source, "%s", source);
    folder_make(s->dir);
    s->spec = spec;
    s->format = qd_format_find(format, &s->variant);
    assert_non_null(s->format);
    check_ok(qd_model_open(source, &s->model, &err));
    s->decided = decide(s->model, &s->spec, s->format, s->variant);
    return s;
}

static inline qd_code scene_write(scene *s, qd_error *err)
{
    qd_rounded_source source = decided_source(&s->decided);
    qd_code code = qd_artifact_write(s->format, s->variant, s->model, &s->spec, &source, s->dir, err);
    return code == QD_OK ? qd_artifact_write_manifest(s->dir, NULL, NULL, err) : code;
}

static inline qd_code scene_check(scene *s, qd_error *err)
{
    qd_rounded_source source = decided_source(&s->decided);
    return qd_artifact_check(s->dir, s->model, s->format, s->variant, &source, NULL, NULL, err);
}

static inline void scene_close(scene *s)
{
    decided_free(&s->decided);
    qd_model_destroy(s->model);
    remove_folder(s->dir);
    free(s);
}

/* A scene over a fresh tiny source, whose folder goes to `source`; written: an artifact that passes its check. */
static inline scene *tiny_scene(char *source, tiny m, const char *format, qd_grid_spec spec)
{
    folder_make(source);
    tiny_write(source, m);
    return scene_open(source, format, spec);
}

static inline scene *written_scene(char *source, tiny m, const char *format, qd_grid_spec spec)
{
    qd_error err = { 0 };
    scene *s = tiny_scene(source, m, format, spec);
    check_ok(scene_write(s, &err));
    check_ok(scene_check(s, &err));
    return s;
}

#endif
