/* test_unknown.c: what is taken for a linear layer where nothing but names and shapes is known. */
#include "check.h"

#include "base/mem.h"
#include "model/unknown.h"

typedef struct sample {
    const char *name, *dtype;
    size_t rank;
    uint64_t shape[5];
    const char *rule; /* NULL = a linear layer's weight */
} sample;

enum { VOCABULARY = 50280 };

/* As published models have them: Mamba, RWKV, T5, BERT, Switch, Mixtral, DeepSeek, vision towers. */
static const sample samples[] = {
    { "backbone.layers.3.mixer.in_proj.weight", "BF16", 2, { 3072, 768 }, NULL },
    { "backbone.layers.3.mixer.out_proj.weight", "F16", 2, { 768, 1536 }, NULL },
    { "backbone.layers.3.mixer.x_proj.weight", "F32", 2, { 80, 1536 }, NULL },
    { "backbone.layers.3.mixer.dt_proj.weight", "BF16", 2, { 1536, 24 }, "size" },
    { "backbone.layers.3.mixer.A_log", "F32", 2, { 1536, 64 }, "name" },
    { "backbone.layers.3.mixer.D", "F32", 1, { 1536 }, "vector" },
    { "backbone.layers.3.mixer.conv1d.weight", "BF16", 3, { 1536, 1, 4 }, "kernel" },
    { "backbone.layers.3.norm.weight", "BF16", 1, { 768 }, "vector" },
    { "backbone.embeddings.weight", "BF16", 2, { VOCABULARY, 768 }, "embedding" },
    { "lm_head.weight", "BF16", 2, { VOCABULARY, 768 }, "head" },
    { "output.weight", "BF16", 2, { VOCABULARY, 768 }, "output" },
    { "encoder.layer.0.attention.output.dense.weight", "BF16", 2, { 768, 768 }, NULL },
    { "emb.weight", "BF16", 2, { VOCABULARY, 768 }, "embedding" },
    { "blocks.11.ffn.receptance.weight", "BF16", 2, { 768, 768 }, NULL },
    { "blocks.11.att.gate.weight", "BF16", 2, { 768, 768 }, NULL },
    { "blocks.0.ln0.weight", "BF16", 1, { 768 }, "vector" },
    { "shared.weight", "F32", 2, { 32128, 512 }, "embedding" },
    { "decoder.words.weight", "F32", 2, { VOCABULARY, 512 }, "vocabulary" },
    { "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", "F32", 2, { 32, 64 }, "position" },
    { "encoder.block.0.layer.0.SelfAttention.q.weight", "F32", 2, { 512, 512 }, NULL },
    { "bert.embeddings.position_embeddings.weight", "F32", 2, { 512, 768 }, "embedding" },
    { "decoder.position.weight", "F32", 2, { 512, 768 }, "position" },
    { "encoder.block.1.layer.1.mlp.router.classifier.weight", "F32", 2, { 8, 768 }, "head" },
    { "model.layers.0.mlp.gate.weight", "BF16", 2, { 256, 7168 }, "gate" },
    { "model.layers.0.ffn.router.weight", "BF16", 2, { 64, 64 }, "router" },
    { "model.layers.0.mlp.shared_expert.up_proj.weight", "BF16", 2, { 5632, 2048 }, NULL },
    { "model.layers.0.mlp.experts.gate_up_proj", "BF16", 3, { 128, 1536, 2048 }, "stack" },
    { "visual.patch_embed.proj.weight", "BF16", 5, { 1152, 3, 2, 14, 14 }, "kernel" },
    { "visual.proj.weight", "BF16", 4, { 1152, 3, 14, 14 }, "dimensions" },
    { "vision_tower.head.attention.in_proj_weight", "F32", 2, { 1536, 512 }, "name" },
    { "model.layers.0.mixer.Norm.weight", "F32", 2, { 64, 64 }, "norm" },
    { "model.layers.0.q.weight", "I32", 2, { 64, 64 }, "numbers" },
    { "model.layers.0.q.weight", "F32", 2, { 31, 4096 }, "size" },
    { "model.layers.0.q.weight", "F32", 2, { 32, 32 }, NULL },
    { "weight", "F32", 2, { 64, 64 }, "name" },
    { "", "F32", 2, { 64, 64 }, "name" },
};

static qd_tensor tensor_of(const sample *s)
{
    qd_tensor out = { .name = s->name, .dtype = qd_dtype_find(s->dtype), .rank = s->rank };
    assert_non_null(out.dtype);
    memcpy(out.shape, s->shape, sizeof s->shape);
    return out;
}

static void each_rule_finds_what_it_is_for(void **state)
{
    (void)state;
    bool seen[64] = { false };
    for (size_t i = 0; i < QD_LENGTH(samples); i++) {
        const qd_tensor tensor = tensor_of(&samples[i]);
        const qd_unknown_rule *rule = qd_unknown_judge(&tensor, VOCABULARY);
        if (samples[i].rule == NULL && rule != NULL)
            fail_msg("'%s': kept by '%s'", samples[i].name, rule->name);
        if (samples[i].rule == NULL)
            continue;
        if (rule == NULL || strcmp(rule->name, samples[i].rule) != 0)
            fail_msg("'%s': %s, not '%s'", samples[i].name, rule == NULL ? "a linear layer" : rule->name,
                     samples[i].rule);
        for (size_t k = 0; qd_unknown_rule_at(k) != NULL; k++)
            seen[k] = seen[k] || qd_unknown_rule_at(k) == rule;
    }
    for (size_t k = 0; qd_unknown_rule_at(k) != NULL; k++)
        if (!seen[k])
            fail_msg("rule '%s' has no sample", qd_unknown_rule_at(k)->name);
}

static void every_rule_has_a_reason_and_something_to_judge_by(void **state)
{
    (void)state;
    const qd_unknown_rule *rule;
    for (size_t i = 0; (rule = qd_unknown_rule_at(i)) != NULL; i++) {
        assert_true(strlen(rule->why) > 5);
        assert_true(rule->parts != NULL || rule->holds != NULL);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(rule->name, qd_unknown_rule_at(k)->name);
    }
}

static void without_a_vocabulary_no_side_is_one(void **state)
{
    (void)state;
    const qd_tensor tensor = {
        .name = "decoder.words.weight", .dtype = qd_dtype_find("F32"), .rank = 2, .shape = { VOCABULARY, 512 }
    };
    assert_null(qd_unknown_judge(&tensor, 0));
}

static void blocks_are_the_first_number(void **state)
{
    (void)state;
    static const struct {
        const char *name, *prefix;
        uint64_t block;
    } wanted[] = { { "backbone.layers.12.mixer.0.in_proj", "backbone.layers.", 12 },
                   { "0.weight", "", 0 },
                   { "h.007.x", "h.", 7 } };
    static const char *const outside[] = { "lm_head", "layer1.weight", "", "...", "a.99999999999999999999.b" };
    for (size_t i = 0; i < QD_LENGTH(wanted); i++) {
        size_t prefix = 99;
        uint64_t block = 99;
        assert_true(qd_unknown_block(wanted[i].name, &prefix, &block));
        assert_int_equal(prefix, strlen(wanted[i].prefix));
        assert_int_equal(block, wanted[i].block);
    }
    for (size_t i = 0; i < QD_LENGTH(outside); i++) {
        size_t prefix;
        uint64_t block;
        assert_false(qd_unknown_block(outside[i], &prefix, &block));
    }
}

/* In this order; compared every one with every one, so that the order is one. */
static void names_are_ordered_by_block(void **state)
{
    (void)state;
    static const char *const ordered[] = {
        "adapter.down",   "z",     "dec.layers.0.a", "dec.layers.0.b", "dec.layers.2.a", "dec.layers.10.a",
        "enc.layers.1.a", "h.2.x", "h.10.x",         "h.1x.3.y"
    };
    for (size_t i = 0; i < QD_LENGTH(ordered); i++)
        for (size_t k = 0; k < QD_LENGTH(ordered); k++) {
            int order = qd_unknown_compare(ordered[i], ordered[k]);
            if ((i < k && order >= 0) || (i == k && order != 0) || (i > k && order <= 0))
                fail_msg("'%s' and '%s': %d", ordered[i], ordered[k], order);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_finds_what_it_is_for),
        cmocka_unit_test(every_rule_has_a_reason_and_something_to_judge_by),
        cmocka_unit_test(without_a_vocabulary_no_side_is_one),
        cmocka_unit_test(blocks_are_the_first_number),
        cmocka_unit_test(names_are_ordered_by_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
