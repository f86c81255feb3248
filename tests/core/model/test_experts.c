/* test_experts.c: routers and experts against plain twins; experts that lie stacked in the file. */
#include "moe.h"

#include "model/experts.h"
#include "model/fused_experts.h"

/* ---- routers ---- */

typedef struct mixture {
    qd_mixture plan;
    qd_dense router, *linears;
    const qd_dense **places;
    qd_expert_room room;
    size_t experts, hidden, features;
} mixture;

static void fill(qd_matf m, uint64_t key, double scale)
{
    for (size_t i = 0; i < m.rows; i++)
        for (size_t j = 0; j < m.cols; j++)
            qd_matf_row(m, i)[j] = (float)(scale * (2 * qd_rng_uniform(key, i * m.cols + j) - 1));
}

static void mixture_init(mixture *m, size_t tokens, size_t experts, size_t used, qd_routing routing, size_t hidden,
                         size_t features)
{
    qd_error err = { 0 };
    *m = (mixture){ .experts = experts, .hidden = hidden, .features = features };
    m->plan.used = used;
    m->plan.routing = routing;
    check_ok(qd_activation_find("hidden_act", "silu", &m->plan.activation, &err));
    check_ok(qd_matf_buf_init(&m->router.weight, experts, hidden, &err));
    fill(m->router.weight.view, 1, 2);
    m->linears = calloc(QD_EXPERT_LAYERS * experts, sizeof *m->linears);
    m->places = calloc(QD_EXPERT_LAYERS * experts, sizeof *m->places);
    for (size_t i = 0; i < QD_EXPERT_LAYERS * experts; i++) {
        bool down = i % QD_EXPERT_LAYERS == QD_EXPERT_DOWN;
        check_ok(qd_matf_buf_init(&m->linears[i].weight, down ? hidden : features, down ? features : hidden, &err));
        fill(m->linears[i].weight.view, 100 + i, 0.5);
        m->places[i] = &m->linears[i];
    }
    m->plan.router = &m->router;
    m->plan.linears = m->places;
    check_ok(qd_expert_room_init(tokens, hidden, features, experts, used, &m->room, &err));
}

static void mixture_fini(mixture *m)
{
    qd_dense_fini(&m->router);
    for (size_t i = 0; i < QD_EXPERT_LAYERS * m->experts; i++)
        qd_dense_fini(&m->linears[i]);
    free(m->linears);
    free(m->places);
    qd_expert_room_fini(&m->room);
}

static double product(qd_cmatf w, size_t row, const double *x)
{
    double sum = 0;
    for (size_t j = 0; j < w.cols; j++)
        sum += (double)qd_cmatf_row(w, row)[j] * x[j];
    return sum;
}

/* By the definition, in double: the share of every expert in one token, 0 of those that are not chosen. */
static void plain_shares(const mixture *m, const double *x, double *out)
{
    double sum = 0, chosen = 0, p[64];
    bool taken[64] = { false };
    for (size_t e = 0; e < m->experts; e++)
        sum += p[e] = exp(product(qd_matf_const(m->router.weight.view), e, x));
    for (size_t e = 0; e < m->experts; e++) {
        p[e] /= sum;
        out[e] = 0;
    }
    for (size_t n = 0; n < m->plan.used; n++) {
        size_t best = m->experts;
        for (size_t e = 0; e < m->experts; e++)
            if (!taken[e] && (best == m->experts || p[e] > p[best]))
                best = e;
        taken[best] = true;
        out[best] = p[best];
        chosen += p[best];
    }
    for (size_t e = 0; m->plan.routing == QD_ROUTING_RENORMALIZED && e < m->experts; e++)
        out[e] /= chosen;
}

static void plain_token(const mixture *m, const float *input, double *out)
{
    double x[128], shares[64], hidden[128];
    for (size_t j = 0; j < m->hidden; j++) {
        x[j] = (double)input[j];
        out[j] = 0;
    }
    plain_shares(m, x, shares);
    for (size_t e = 0; e < m->experts; e++) {
        const qd_dense *own = m->linears + QD_EXPERT_LAYERS * e;
        for (size_t f = 0; f < m->features; f++) {
            double gate = product(qd_matf_const(own[QD_EXPERT_GATE].weight.view), f, x);
            hidden[f] = gate / (1 + exp(-gate)) * product(qd_matf_const(own[QD_EXPERT_UP].weight.view), f, x);
        }
        for (size_t j = 0; j < m->hidden; j++)
            out[j] += shares[e] * product(qd_matf_const(own[QD_EXPERT_DOWN].weight.view), j, hidden);
    }
}

static void experts_give_what_a_plain_twin_gives(void **state)
{
    (void)state;
    static const struct {
        size_t tokens, experts, used, hidden, features;
        qd_routing routing;
    } cases[] = { { 1, 1, 1, 3, 5, QD_ROUTING_KEPT },
                  { 1, 5, 2, 8, 4, QD_ROUTING_RENORMALIZED },
                  { 7, 3, 3, 9, 11, QD_ROUTING_KEPT },
                  { 33, 8, 2, 16, 24, QD_ROUTING_RENORMALIZED },
                  { 20, 40, 6, 12, 7, QD_ROUTING_RENORMALIZED },
                  { 20, 40, 1, 12, 7, QD_ROUTING_KEPT } };
    for (size_t c = 0; c < QD_LENGTH(cases); c++) {
        qd_error err = { 0 };
        mixture m;
        qd_matf_buf x = { 0 }, out = { 0 };
        mixture_init(&m, cases[c].tokens, cases[c].experts, cases[c].used, cases[c].routing, cases[c].hidden,
                     cases[c].features);
        check_ok(qd_matf_buf_init(&x, cases[c].tokens, m.hidden, &err));
        check_ok(qd_matf_buf_init(&out, cases[c].tokens, m.hidden, &err));
        fill(x.view, 7 + c, 1);
        fill(out.view, 9, 1);
        qd_mixture_add(&m.plan, qd_matf_const(x.view), &m.room, out.view);
        for (size_t t = 0; t < x.view.rows; t++) {
            double wanted[64];
            plain_token(&m, qd_matf_row(x.view, t), wanted);
            for (size_t j = 0; j < m.hidden; j++)
                check_near((double)qd_matf_row(out.view, t)[j],
                           wanted[j] + (2 * qd_rng_uniform(9, t * m.hidden + j) - 1), 2e-5);
        }
        qd_matf_buf_fini(&x);
        qd_matf_buf_fini(&out);
        mixture_fini(&m);
    }
}

/* Rows of the router that are alike give equal probabilities. */
static void of_equal_probabilities_the_lower_numbers_are_chosen(void **state)
{
    (void)state;
    mixture m;
    float x[4] = { 1, -1, 0.5f, 2 };
    mixture_init(&m, 1, 6, 3, QD_ROUTING_RENORMALIZED, 4, 4);
    for (size_t e = 0; e < 6; e++)
        for (size_t j = 0; j < 4; j++)
            qd_matf_row(m.router.weight.view, e)[j] = e == 4 ? 1.0f : 0.5f;
    qd_mixture_choose(&m.plan, qd_cmatf_view(x, 1, 4), m.room.probabilities.view, m.room.experts, m.room.shares);
    static const uint32_t wanted[] = { 0, 1, 4 };
    assert_memory_equal(m.room.experts, wanted, sizeof wanted);
    check_near((double)m.room.shares[0], (double)m.room.shares[1], 0);
    assert_true(m.room.shares[2] > m.room.shares[0]);
    check_near((double)m.room.shares[0] + (double)m.room.shares[1] + (double)m.room.shares[2], 1, 1e-6);
    mixture_fini(&m);
}

static void what_is_no_number_still_goes_to_different_experts(void **state)
{
    (void)state;
    mixture m;
    float x[4] = { NAN, 1, INFINITY, 2 };
    mixture_init(&m, 1, 5, 3, QD_ROUTING_KEPT, 4, 4);
    qd_mixture_choose(&m.plan, qd_cmatf_view(x, 1, 4), m.room.probabilities.view, m.room.experts, m.room.shares);
    for (size_t i = 0; i < 3; i++)
        assert_true(m.room.experts[i] < 5 && (i == 0 || m.room.experts[i] > m.room.experts[i - 1]));
    mixture_fini(&m);
}

/* ---- stacked tensors ---- */

/* The sizes that the splitting goes by. */
static qd_decoder decoder_of(size_t blocks, size_t experts, size_t features, size_t hidden)
{
    return (qd_decoder){ .ops = qd_arch_find_class("Qwen3MoeForCausalLM")->ops,
                         .blocks = blocks,
                         .experts = experts,
                         .expert_intermediate = features,
                         .hidden = hidden };
}

static void open_stacked(char *folder, size_t size, qd_shards *out)
{
    qd_error err = { 0 };
    const moe_model stacked = { .family = MOE_QWEN3, .layout = MOE_STACKED };
    temporary_folder(folder, size);
    write_moe(&stacked, folder);
    check_ok(qd_shards_open(folder, out, &err));
}

static void stacked_experts_are_seen_one_by_one(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char folder[200], name[200];
    qd_shards shards = { 0 };
    open_stacked(folder, sizeof folder, &shards);
    size_t before = shards.tensor_count;
    const qd_decoder decoder = decoder_of(MOE_BLOCKS, MOE_E, MOE_F, MOE_D);
    check_ok(qd_fused_experts_split(&decoder, &shards, &err));
    assert_int_equal(shards.tensor_count, before + MOE_BLOCKS * (3 * MOE_E - 2));
    assert_null(qd_shards_find(&shards, "model.layers.0.mlp.experts.gate_up_proj"));
    for (size_t b = 0; b < MOE_BLOCKS; b++)
        for (size_t e = 0; e < MOE_E; e++)
            for (size_t part = 0; part < 3; part++) {
                float wanted[MOE_F * MOE_D];
                const qd_tensor *t = qd_shards_find(&shards, moe_name(MOE_QWEN3, b, e, part, name));
                assert_non_null(t);
                assert_int_equal(t->rank, 2);
                assert_int_equal(t->shape[0], part == 2 ? MOE_D : MOE_F);
                assert_int_equal(t->shape[1], part == 2 ? MOE_F : MOE_D);
                assert_int_equal(t->bytes, sizeof wanted);
                assert_int_equal(qd_shards_file_of(&shards, t), 0);
                moe_fill(name, MOE_F * MOE_D, 1 / sqrt(part == 2 ? MOE_F : MOE_D), 0, wanted);
                assert_memory_equal(t->data, wanted, sizeof wanted);
            }
    qd_shards_fini(&shards);
    remove_folder(folder);
}

static void a_stack_of_another_shape_is_refused(void **state)
{
    (void)state;
    const qd_decoder wrong[] = { decoder_of(MOE_BLOCKS, MOE_E - 1, MOE_F, MOE_D),
                                 decoder_of(MOE_BLOCKS, MOE_E, MOE_F + 1, MOE_D),
                                 decoder_of(MOE_BLOCKS, MOE_E, MOE_F, MOE_D / 2),
                                 decoder_of(MOE_BLOCKS, 2 * MOE_E, MOE_F / 2, MOE_D) };
    for (size_t i = 0; i < QD_LENGTH(wrong); i++) {
        qd_error err = { 0 };
        char folder[200];
        qd_shards shards = { 0 };
        open_stacked(folder, sizeof folder, &shards);
        check_fails(qd_fused_experts_split(&wrong[i], &shards, &err), QD_ESHAPE);
        check_contains(err.text, "mlp.experts.");
        check_contains(err.text, "the config wants");
        qd_shards_fini(&shards);
        remove_folder(folder);
    }
}

static void more_stacks_than_blocks_are_refused(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char folder[200];
    qd_shards shards = { 0 };
    const qd_decoder fewer = decoder_of(MOE_BLOCKS - 1, MOE_E, MOE_F, MOE_D);
    open_stacked(folder, sizeof folder, &shards);
    check_fails(qd_fused_experts_split(&fewer, &shards, &err), QD_EFORMAT);
    check_contains(err.text, "4 tensors of stacked experts, for 1 blocks");
    qd_shards_fini(&shards);
    remove_folder(folder);
}

/* ---- blocks of a model ---- */

typedef struct loaded {
    char folder[200];
    qd_model *model;
    qd_block *block;
    qd_scratch *scratch;
    qd_matf_buf residual, input; /* T x D: of the place */
} loaded;

enum { TOKENS = 40 };

static void load(const moe_model *m, loaded *out)
{
    qd_error err = { 0 };
    *out = (loaded){ 0 };
    temporary_folder(out->folder, sizeof out->folder);
    write_moe(m, out->folder);
    check_ok(qd_model_open(out->folder, &out->model, &err));
    assert_null(qd_model_warning_at(out->model, 0));
    check_ok(qd_block_load(out->model, 1, NULL, QD_ARITHMETIC_FLOAT32, &out->block, &err));
    check_ok(qd_scratch_create(out->model, TOKENS, &out->scratch, &err));
    check_ok(qd_matf_buf_init(&out->residual, TOKENS, MOE_D, &err));
    check_ok(qd_matf_buf_init(&out->input, TOKENS, MOE_D, &err));
    fill(out->residual.view, 5, 1);
    fill(out->input.view, 6, 1);
}

static void unload(loaded *l)
{
    qd_matf_buf_fini(&l->residual);
    qd_matf_buf_fini(&l->input);
    qd_scratch_destroy(l->scratch);
    qd_block_destroy(l->block);
    qd_model_destroy(l->model);
    remove_folder(l->folder);
}

static const moe_model kinds[] = { { .family = MOE_MIXTRAL },
                                   { .family = MOE_MIXTRAL, .layout = MOE_STACKED },
                                   { .family = MOE_QWEN3, .routing = "false" },
                                   { .family = MOE_QWEN3, .layout = MOE_STACKED, .routing = "true", .dense = 1 } };

/* The numbers of a block's tensors as a mixture for the plain twin. */
static void mixture_of(const moe_model *m, mixture *out)
{
    char name[200];
    bool kept = m->routing != NULL && strcmp(m->routing, "false") == 0;
    mixture_init(out, 1, MOE_E, MOE_K, kept ? QD_ROUTING_KEPT : QD_ROUTING_RENORMALIZED, MOE_D, MOE_F);
    moe_fill("router 1", MOE_E * MOE_D, 2 / sqrt(MOE_D), 0, out->router.weight.view.data);
    for (size_t e = 0; e < MOE_E; e++) {
        qd_matf_row(out->router.weight.view, e)[0] = 0;
        for (size_t part = 0; part < 3; part++)
            moe_fill(moe_name(m->family, 1, e, part, name), MOE_F * MOE_D, 1 / sqrt(part == 2 ? MOE_F : MOE_D), 0,
                     out->linears[QD_EXPERT_LAYERS * e + part].weight.view.data);
    }
}

static void a_block_adds_what_the_plain_twin_gives(void **state)
{
    (void)state;
    for (size_t k = 0; k < QD_LENGTH(kinds); k++) {
        qd_error err = { 0 };
        loaded l;
        mixture m;
        load(&kinds[k], &l);
        mixture_of(&kinds[k], &m);
        size_t groups = qd_block_groups(l.block);
        assert_int_equal(groups, 2 + 2 * MOE_E);
        for (size_t g = 2; g < groups; g++)
            check_ok(qd_block_advance(l.block, g, l.residual.view, qd_operand_floats(qd_matf_const(l.input.view)),
                                      l.scratch, (qd_matf){ 0 }, &err));
        for (size_t t = 0; t < TOKENS; t++) {
            double wanted[MOE_D];
            plain_token(&m, qd_matf_row(l.input.view, t), wanted);
            for (size_t j = 0; j < MOE_D; j++)
                check_near((double)qd_matf_row(l.residual.view, t)[j],
                           wanted[j] + (2 * qd_rng_uniform(5, t * MOE_D + j) - 1), 2e-5);
        }
        mixture_fini(&m);
        unload(&l);
    }
}

/* Every linear is one of a group that says whose it is; gate and up share, down follows; the place stays. */
static void groups_of_experts_are_listed_and_stand_at_one_place(void **state)
{
    (void)state;
    loaded l;
    load(&kinds[3], &l);
    assert_int_equal(qd_model_block_size(l.model, 0), 7);
    assert_int_equal(qd_model_block_size(l.model, 1), 4 + 3 * MOE_E);
    assert_int_equal(qd_model_linear_at(l.model, 4)->expert, QD_NO_EXPERT);
    assert_int_equal(qd_model_linear_at(l.model, 4)->out, MOE_DENSE_F);
    for (size_t g = 0; g < qd_block_groups(l.block); g++) {
        assert_int_equal(qd_block_group_place(l.block, g), g < 2 ? g : 2);
        assert_int_equal(qd_block_group_expert(l.block, g), g < 2 ? QD_NO_EXPERT : (g - 2) / 2);
        assert_int_equal(qd_block_group_width(l.block, g), g < 2 || g % 2 == 0 ? MOE_D : MOE_F);
        assert_int_equal(qd_block_group_writes_residual(l.block, g), g == 1 || g + 1 == qd_block_groups(l.block));
        assert_int_equal(qd_block_group_adds_output(l.block, g), g == 1);
    }
    for (size_t k = 4, first = qd_model_block_first(l.model, 1); k < 4 + 3 * MOE_E; k++) {
        const qd_linear *linear = qd_model_linear_at(l.model, first + k);
        assert_int_equal(linear->expert, (k - 4) / 3);
        assert_int_equal(linear->group, 2 + 2 * ((k - 4) / 3) + ((k - 4) % 3 == 2));
    }
    unload(&l);
}

/* An expert's own input is what its first layers make of the rows that the router sends there. */
static void what_an_expert_sees_is_derived_from_the_rows_routed_to_it(void **state)
{
    (void)state;
    qd_error err = { 0 };
    loaded l;
    mixture m;
    uint32_t routes[TOKENS * MOE_K];
    load(&kinds[0], &l);
    mixture_of(&kinds[0], &m);
    check_ok(qd_block_route(l.block, 5, qd_matf_const(l.input.view), l.scratch, routes, &err));
    for (size_t t = 0; t < TOKENS; t++) {
        double x[MOE_D], shares[MOE_E];
        for (size_t j = 0; j < MOE_D; j++)
            x[j] = (double)qd_matf_row(l.input.view, t)[j];
        plain_shares(&m, x, shares);
        for (size_t e = 0, i = 0; e < MOE_E; e++)
            if (shares[e] > 0)
                assert_int_equal(routes[t * MOE_K + i++], e);
    }
    qd_matf_buf gate = { 0 }, down = { 0 };
    check_ok(qd_matf_buf_init(&gate, 3, MOE_D, &err));
    check_ok(qd_matf_buf_init(&down, 3, MOE_F, &err));
    qd_cmatf picked = qd_cmatf_block(qd_matf_const(l.input.view), 7, 0, 3, MOE_D);
    check_ok(qd_block_derive(l.block, 2 + 2 * 4, picked, l.scratch, gate.view, &err));
    check_ok(qd_block_derive(l.block, 3 + 2 * 4, picked, l.scratch, down.view, &err));
    for (size_t t = 0; t < 3; t++) {
        double x[MOE_D];
        assert_memory_equal(qd_matf_row(gate.view, t), qd_cmatf_row(picked, t), MOE_D * sizeof(float));
        for (size_t j = 0; j < MOE_D; j++)
            x[j] = (double)qd_cmatf_row(picked, t)[j];
        for (size_t f = 0; f < MOE_F; f++) {
            const qd_dense *own = m.linears + QD_EXPERT_LAYERS * 4;
            double g = product(qd_matf_const(own[QD_EXPERT_GATE].weight.view), f, x);
            double up = product(qd_matf_const(own[QD_EXPERT_UP].weight.view), f, x);
            check_near((double)qd_matf_row(down.view, t)[f], g / (1 + exp(-g)) * up, 1e-5);
        }
    }
    qd_matf_buf_fini(&gate);
    qd_matf_buf_fini(&down);
    mixture_fini(&m);
    unload(&l);
}

static void both_layouts_give_the_same_bytes(void **state)
{
    (void)state;
    static const moe_family families[] = { MOE_MIXTRAL, MOE_QWEN3 };
    for (size_t f = 0; f < QD_LENGTH(families); f++) {
        qd_error err = { 0 };
        qd_matf_buf logits[2] = { 0 };
        uint32_t ids[TOKENS];
        for (uint32_t i = 0; i < TOKENS; i++)
            ids[i] = 10 + 37 * i;
        for (size_t layout = 0; layout < 2; layout++) {
            const moe_model m = { .family = families[f], .layout = (moe_layout)layout };
            loaded l;
            load(&m, &l);
            check_ok(qd_matf_buf_init(&logits[layout], TOKENS, MOE_V, &err));
            forward_logits(l.model, ids, layout == 0 ? BY_BLOCK : BY_GROUP, logits[layout].view);
            unload(&l);
        }
        assert_memory_equal(logits[0].view.data, logits[1].view.data, TOKENS * MOE_V * sizeof(float));
        qd_matf_buf_fini(&logits[0]);
        qd_matf_buf_fini(&logits[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(experts_give_what_a_plain_twin_gives),
        cmocka_unit_test(of_equal_probabilities_the_lower_numbers_are_chosen),
        cmocka_unit_test(what_is_no_number_still_goes_to_different_experts),
        cmocka_unit_test(stacked_experts_are_seen_one_by_one),
        cmocka_unit_test(a_stack_of_another_shape_is_refused),
        cmocka_unit_test(more_stacks_than_blocks_are_refused),
        cmocka_unit_test(a_block_adds_what_the_plain_twin_gives),
        cmocka_unit_test(groups_of_experts_are_listed_and_stand_at_one_place),
        cmocka_unit_test(what_an_expert_sees_is_derived_from_the_rows_routed_to_it),
        cmocka_unit_test(both_layouts_give_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
