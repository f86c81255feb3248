/* unknown.c: see unknown.h. */
#include "model/unknown.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* ---- shapes ---- */

static bool is_not_read(const qd_tensor *tensor, uint64_t vocabulary)
{
    (void)vocabulary;
    return tensor->dtype->from_floats == NULL && tensor->dtype->block == 0 && tensor->scale == NULL;
}

static bool is_vector(const qd_tensor *tensor, uint64_t vocabulary)
{
    (void)vocabulary;
    return tensor->rank < 2;
}

static bool is_stack(const qd_tensor *tensor, uint64_t vocabulary)
{
    (void)vocabulary;
    return tensor->rank > 2 && tensor->shape[tensor->rank - 1] >= QD_UNKNOWN_LEAST &&
           tensor->shape[tensor->rank - 2] >= QD_UNKNOWN_LEAST;
}

static bool is_no_matrix(const qd_tensor *tensor, uint64_t vocabulary)
{
    (void)vocabulary;
    return tensor->rank != 2;
}

static bool is_called_otherwise(const qd_tensor *tensor, uint64_t vocabulary)
{
    (void)vocabulary;
    return !qd_glob_match("?*.weight", tensor->name);
}

static bool is_output(const qd_tensor *tensor, uint64_t vocabulary)
{
    (void)vocabulary;
    return strcmp(tensor->name, "output.weight") == 0;
}

static bool is_as_long_as_the_vocabulary(const qd_tensor *tensor, uint64_t vocabulary)
{
    return vocabulary != 0 && (tensor->shape[0] == vocabulary || tensor->shape[1] == vocabulary);
}

/* A row an expert: few beside the columns. */
static bool is_flat(const qd_tensor *tensor, uint64_t vocabulary)
{
    (void)vocabulary;
    return tensor->shape[0] <= tensor->shape[1] / 2;
}

static bool is_small(const qd_tensor *tensor, uint64_t vocabulary)
{
    (void)vocabulary;
    return tensor->shape[0] < QD_UNKNOWN_LEAST || tensor->shape[1] < QD_UNKNOWN_LEAST;
}

/* ---- names ---- */

#define PARTS(...) \
    (const char *const[]) \
    { \
        __VA_ARGS__, NULL \
    }

static const qd_unknown_rule rules[] = {
    { "numbers", QD_UNKNOWN_OTHER, "not floating-point numbers that are read here", NULL, is_not_read },
    { "vector", QD_UNKNOWN_OTHER, "no matrix", NULL, is_vector },
    { "kernel", QD_UNKNOWN_OTHER, "the kernel of a convolution", PARTS("*conv*", "patch_embed*"), NULL },
    { "stack", QD_UNKNOWN_OPEN, "a stack of matrices: which layers they are, only the architecture tells", NULL,
      is_stack },
    { "dimensions", QD_UNKNOWN_OTHER, "more than two dimensions: the weight of no linear layer", NULL, is_no_matrix },
    { "name", QD_UNKNOWN_OPEN, "a matrix that is not called '.weight': what uses it, only the architecture tells", NULL,
      is_called_otherwise },
    { "norm", QD_UNKNOWN_OTHER, "a norm: everything behind it is multiplied by it",
      PARTS("*norm", "*norm_*", "*norm?", "ln", "ln_*", "*_ln"), NULL },
    { "head", QD_UNKNOWN_SPARED, "a head: its error goes into the output as it is",
      PARTS("head", "*_head", "lm_head*", "classifier", "score", "embed_out", "output_projection"), NULL },
    { "embedding", QD_UNKNOWN_OTHER, "an embedding: its rows are looked up, not multiplied",
      PARTS("*embed*", "emb", "*_emb", "emb_*", "wte", "wpe", "shared", "*embd*"), NULL },
    { "output", QD_UNKNOWN_SPARED, "a head: its error goes into the output as it is", NULL, is_output },
    { "vocabulary", QD_UNKNOWN_OTHER, "a side is as long as the vocabulary: an embedding or a head", NULL,
      is_as_long_as_the_vocabulary },
    { "position", QD_UNKNOWN_OTHER, "a table of positions",
      PARTS("*position*", "*rotary*", "rope", "rope_*", "pos", "pos_*", "*_pos", "relative_attention_bias"), NULL },
    { "router", QD_UNKNOWN_SPARED, "a router: a small error sends tokens to other experts", PARTS("*router*", "switch"),
      NULL },
    { "gate", QD_UNKNOWN_SPARED, "it may be a router: a small error would send tokens to other experts", PARTS("gate"),
      is_flat },
    { "size", QD_UNKNOWN_SPARED, "a side below 32: there is little to gain", NULL, is_small },
};

const qd_unknown_rule *qd_unknown_rule_at(size_t index)
{
    return index < QD_LENGTH(rules) ? &rules[index] : NULL;
}

enum { PART_BYTES = 128 };

/* The part of a name at `text`, in small letters; cut off where it is longer than any glob cares for. Returns what
 * follows. */
static const char *next_part(const char *text, char out[PART_BYTES])
{
    size_t length = strcspn(text, "."), kept = length < PART_BYTES ? length : PART_BYTES - 1;
    for (size_t i = 0; i < kept; i++)
        out[i] = (char)tolower((unsigned char)text[i]);
    out[kept] = '\0';
    return text[length] == '.' ? text + length + 1 : text + length;
}

static bool has_part(const char *name, const char *const *globs)
{
    char part[PART_BYTES];
    while (*name != '\0') {
        name = next_part(name, part);
        for (size_t i = 0; globs[i] != NULL; i++)
            if (qd_glob_match(globs[i], part))
                return true;
    }
    return false;
}

const qd_unknown_rule *qd_unknown_judge(const qd_tensor *tensor, uint64_t vocabulary)
{
    const qd_unknown_rule *rule;
    for (size_t i = 0; (rule = qd_unknown_rule_at(i)) != NULL; i++)
        if ((rule->parts == NULL || has_part(tensor->name, rule->parts)) &&
            (rule->holds == NULL || rule->holds(tensor, vocabulary)))
            return rule;
    return NULL;
}

/* ---- blocks ---- */

bool qd_unknown_block(const char *name, size_t *out_prefix, uint64_t *out_block)
{
    const char *part = name;
    while (*part != '\0') {
        size_t length = strcspn(part, "."), digits = strspn(part, "0123456789");
        enum { MOST_DIGITS = 18 };
        if (digits == length && digits > 0 && digits <= MOST_DIGITS) {
            *out_prefix = (size_t)(part - name);
            *out_block = strtoull(part, NULL, 10);
            return true;
        }
        part += part[length] == '.' ? length + 1 : length;
    }
    return false;
}

int qd_unknown_compare(const char *a, const char *b)
{
    size_t prefix_a = 0, prefix_b = 0;
    uint64_t block_a = 0, block_b = 0;
    bool in_a = qd_unknown_block(a, &prefix_a, &block_a), in_b = qd_unknown_block(b, &prefix_b, &block_b);
    if (in_a != in_b)
        return in_a ? 1 : -1;
    int order = strncmp(a, b, prefix_a < prefix_b ? prefix_a : prefix_b);
    if (order != 0 || !in_a)
        return order != 0 ? order : strcmp(a, b);
    if (prefix_a != prefix_b)
        return prefix_a < prefix_b ? -1 : 1;
    if (block_a != block_b)
        return block_a < block_b ? -1 : 1;
    return strcmp(a, b);
}
