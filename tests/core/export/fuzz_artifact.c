/* fuzz_artifact.c: a folder with sound weights and a hostile config.json, manifest.json or weight file is opened,
 * checked and read. Input: one byte says what the rest is: 'c' config.json, 'm' manifest.json, 'w' model.safetensors,
 * 'u' the same of an architecture that nobody knows; the others are as we write them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "export/artifact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HIDDEN = 4, PATH = 256 };

#define CONFIG(family) \
    "{\"architectures\":[\"" family \
    "ForCausalLM\"],\"hidden_size\":4,\"intermediate_size\":4,\"num_attention_heads\":1," \
    "\"num_hidden_layers\":1,\"vocab_size\":4,\"torch_dtype\":\"float32\",\"quantization_config\":{\"quant_method\":" \
    "\"compressed-tensors\",\"format\":\"pack-quantized\",\"config_groups\":{\"group_0\":{\"targets\":[\"Linear\"]," \
    "\"weights\":{\"num_bits\":4,\"type\":\"int\",\"symmetric\":false,\"strategy\":\"group\",\"group_size\":2}}}}}"
static const char config[] = CONFIG("Llama"), unknown[] = CONFIG("Nobodys");
static const char unquantized[] = "{\"architectures\":[\"NobodysForCausalLM\"],\"vocab_size\":40}";
static const char manifest[] = "{\"format\":\"compressed-tensors\",\"files\":[]}";

static void put(const char *dir, const char *name, const void *bytes, size_t length)
{
    char path[PATH];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, length, file) != length || fclose(file) != 0)
        abort();
}

/* Every tensor of the one block, all bytes zero but for the shape. */
static void put_weights(const char *dir)
{
    static const char *const linears[] = { "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                           "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                           "mlp.down_proj" };
    static const char *const plain[] = { "model.embed_tokens.weight", "model.norm.weight",
                                         "model.layers.0.input_layernorm.weight",
                                         "model.layers.0.post_attention_layernorm.weight" };
    static const unsigned char zeros[HIDDEN * HIDDEN * sizeof(float)];
    static const int64_t shape[] = { HIDDEN, HIDDEN };
    const qd_dtype *f32 = qd_dtype_find("F32"), *i32 = qd_dtype_find("I32"), *i64 = qd_dtype_find("I64");
    qd_tensor_out tensors[32];
    char names[32][96], path[PATH];
    size_t count = 0;
    for (size_t i = 0; i < QD_LENGTH(plain); i++)
        tensors[count++] = (qd_tensor_out){ plain[i], f32, i == 0 ? 2 : 1, { HIDDEN, HIDDEN }, zeros };
    for (size_t i = 0; i < QD_LENGTH(linears); i++) {
        const qd_tensor_out parts[] = { { "weight_packed", i32, 2, { HIDDEN, 1 }, zeros },
                                        { "weight_scale", f32, 2, { HIDDEN, 2 }, zeros },
                                        { "weight_zero_point", i32, 2, { 1, 2 }, zeros },
                                        { "weight_shape", i64, 1, { 2 }, shape } };
        for (size_t k = 0; k < QD_LENGTH(parts); k++, count++) {
            tensors[count] = parts[k];
            snprintf(names[count], sizeof names[count], "model.layers.0.%s.%s", linears[i], parts[k].name);
            tensors[count].name = names[count];
        }
    }
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    if (qd_safetensors_write(path, tensors, count, NULL, NULL, 0, NULL) != QD_OK)
        abort();
}

static void read_all(const char *dir)
{
    qd_artifact *artifact = NULL;
    qd_error err;
    qd_code code = qd_artifact_open(dir, &artifact, &err);
    const qd_overlay *overlay = code == QD_OK ? qd_artifact_overlay(artifact) : NULL;
    for (size_t i = 0; overlay != NULL && i < qd_model_linear_count(qd_artifact_model(artifact)); i++) {
        const qd_linear *linear = qd_model_linear_at(qd_artifact_model(artifact), i);
        QD_AUTO(qd_matf_buf_fini) qd_matf_buf w = { 0 };
        if (linear->out <= 4096 && linear->in <= 4096 && qd_matf_buf_init(&w, linear->out, linear->in, &err) == QD_OK)
            (void)overlay->weight(overlay->ctx, i, linear, w.view, &err);
    }
    qd_artifact_destroy(artifact);
    (void)qd_artifact_check_files(dir, NULL, &err);
}

/* The same weights as a source: layers by names and shapes, in blocks. */
static void read_source(const char *dir)
{
    const qd_layer_finder finder = { qd_unknown_find_stored, NULL };
    qd_model *model = NULL;
    qd_error err;
    put(dir, "config.json", unquantized, strlen(unquantized));
    if (qd_model_open_any(dir, &finder, &model, &err) != QD_OK)
        return;
    size_t listed = 0;
    for (size_t b = 0; b < qd_model_borrow_config(model)->blocks; b++) {
        qd_block *block = NULL;
        listed += qd_model_block_size(model, b);
        if (qd_block_load(model, b, NULL, QD_ARITHMETIC_FLOAT32, &block, &err) == QD_OK)
            qd_block_destroy(block);
    }
    if (listed != qd_model_linear_count(model) || listed == 0)
        abort();
    qd_model_destroy(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = { "config.json", "manifest.json", "model.safetensors" };
    const char *base = getenv("TMPDIR");
    char dir[PATH / 2], path[PATH];
    size_t which = size == 0 || data[0] == 'c' ? 0 : data[0] == 'm' ? 1 : 2;
    snprintf(dir, sizeof dir, "%s/quantd-fuzz-%ld", base == NULL ? "/tmp" : base, (long)getpid());
    (void)mkdir(dir, 0700);
    bool known = size == 0 || data[0] != 'u';
    put(dir, "config.json", known ? config : unknown, strlen(known ? config : unknown));
    put(dir, "manifest.json", manifest, strlen(manifest));
    if (which != 2)
        put_weights(dir);
    put(dir, names[which], size == 0 ? data : data + 1, size == 0 ? 0 : size - 1);
    read_all(dir);
    if (!known)
        read_source(dir);
    for (size_t i = 0; i < QD_LENGTH(names); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(dir);
    return 0;
}
