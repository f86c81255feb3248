/* gguf_names.c: see gguf_names.h. */
#include "model/gguf_names.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/auto.h"

#define LAYER "model.layers.%zu."
#define BLOCK "blk.%zu."

static const qd_gguf_name llama_names[] = {
    { "model.embed_tokens", "token_embd", QD_GGUF_ROWS_SAME },
    { "model.norm", "output_norm", QD_GGUF_ROWS_SAME },
    { "lm_head", "output", QD_GGUF_ROWS_SAME },
    { LAYER "input_layernorm", BLOCK "attn_norm", QD_GGUF_ROWS_SAME },
    { LAYER "self_attn.q_proj", BLOCK "attn_q", QD_GGUF_ROWS_BY_HEAD },
    { LAYER "self_attn.k_proj", BLOCK "attn_k", QD_GGUF_ROWS_BY_KV_HEAD },
    { LAYER "self_attn.v_proj", BLOCK "attn_v", QD_GGUF_ROWS_SAME },
    { LAYER "self_attn.o_proj", BLOCK "attn_output", QD_GGUF_ROWS_SAME },
    { LAYER "post_attention_layernorm", BLOCK "ffn_norm", QD_GGUF_ROWS_SAME },
    { LAYER "mlp.gate_proj", BLOCK "ffn_gate", QD_GGUF_ROWS_SAME },
    { LAYER "mlp.up_proj", BLOCK "ffn_up", QD_GGUF_ROWS_SAME },
    { LAYER "mlp.down_proj", BLOCK "ffn_down", QD_GGUF_ROWS_SAME },
    { NULL, NULL, QD_GGUF_ROWS_SAME },
};
static const char *const llama_classes[] = { "LlamaForCausalLM", "MistralForCausalLM", NULL };

static const qd_gguf_arch table[] = {
    { .id = "llama",
      .class_name = "LlamaForCausalLM",
      .classes = llama_classes,
      .model_type = "llama",
      .windowed_class = "MistralForCausalLM",
      .windowed_type = "mistral",
      .names = llama_names },
};

const qd_gguf_arch *qd_gguf_arch_at(size_t index)
{
    return index < QD_LENGTH(table) ? &table[index] : NULL;
}

const qd_gguf_arch *qd_gguf_arch_find(const char *id)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (strcmp(table[i].id, id) == 0)
            return &table[i];
    return NULL;
}

const qd_gguf_arch *qd_gguf_arch_of_class(const char *class_name)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        for (size_t k = 0; table[i].classes[k] != NULL; k++)
            if (strcmp(table[i].classes[k], class_name) == 0)
                return &table[i];
    return NULL;
}

/* The number at *text, moved behind it: digits, no leading zero, below 10^9. */
static bool take_number(const char **text, size_t *out)
{
    const char *at = *text;
    size_t value = 0, digits = 0;
    for (; at[digits] >= '0' && at[digits] <= '9'; digits++) {
        if (digits == 9)
            return false;
        value = 10 * value + (size_t)(at[digits] - '0');
    }
    if (digits == 0 || (digits > 1 && at[0] == '0'))
        return false;
    *text = at + digits;
    *out = value;
    return true;
}

/* text = pattern + ".weight" or ".bias": the ending, else NULL. *block is set where the pattern has a number. */
static const char *match(const char *pattern, const char *text, size_t *block)
{
    const char *number = strstr(pattern, "%zu");
    if (number != NULL) {
        size_t before = (size_t)(number - pattern);
        if (strncmp(pattern, text, before) != 0)
            return NULL;
        text += before;
        if (!take_number(&text, block))
            return NULL;
        pattern = number + 3;
    }
    size_t rest = strlen(pattern);
    if (strncmp(pattern, text, rest) != 0)
        return NULL;
    text += rest;
    return strcmp(text, ".weight") == 0 || strcmp(text, ".bias") == 0 ? text : NULL;
}

static void print(const char *pattern, size_t block, const char *ending, char *out)
{
    const char *number = strstr(pattern, "%zu");
    if (number == NULL)
        snprintf(out, QD_GGUF_NAME_BYTES, "%s%s", pattern, ending);
    else
        snprintf(out, QD_GGUF_NAME_BYTES, "%.*s%zu%s%s", (int)(number - pattern), pattern, block, number + 3, ending);
}

const qd_gguf_name *qd_gguf_name_to_theirs(const qd_gguf_arch *arch, const char *ours, char *out)
{
    for (const qd_gguf_name *row = arch->names; row->ours != NULL; row++) {
        size_t block = 0;
        const char *ending = match(row->ours, ours, &block);
        if (ending != NULL) {
            print(row->theirs, block, ending, out);
            return row;
        }
    }
    return NULL;
}

const qd_gguf_name *qd_gguf_name_to_ours(const qd_gguf_arch *arch, const char *theirs, char *out)
{
    for (const qd_gguf_name *row = arch->names; row->ours != NULL; row++) {
        size_t block = 0;
        const char *ending = match(row->theirs, theirs, &block);
        if (ending != NULL) {
            print(row->ours, block, ending, out);
            return row;
        }
    }
    return NULL;
}

size_t qd_gguf_row_place(size_t row, size_t head_dim)
{
    size_t start = row - row % head_dim, within = row % head_dim, half = head_dim / 2;
    return start + 2 * (within % half) + within / half;
}
