/* test_share.c: a block that uses another's weights: it runs as the other does, and becomes its own linear by linear. */
#include "moe.h"

enum { TOKENS = 21 };

typedef struct pair {
    char folder[200];
    qd_model *model;
    qd_block *of, *second;
    qd_scratch *scratch;
    qd_matf_buf start, out; /* T x D */
} pair;

static void fill(qd_matf m, uint64_t key, double scale)
{
    for (size_t i = 0; i < m.rows; i++)
        for (size_t j = 0; j < m.cols; j++)
            qd_matf_row(m, i)[j] = (float)(scale * (2 * qd_rng_uniform(key, i * m.cols + j) - 1));
}

static void open_pair(size_t block, qd_arithmetic arithmetic, pair *p)
{
    qd_error err = { 0 };
    check_ok(qd_block_load(p->model, block, NULL, arithmetic, &p->of, &err));
    check_ok(qd_block_share(p->of, &p->second, &err));
    check_ok(qd_scratch_create(p->model, TOKENS, &p->scratch, &err));
    check_ok(qd_matf_buf_init(&p->start, TOKENS, qd_model_borrow_config(p->model)->hidden, &err));
    check_ok(qd_matf_buf_init(&p->out, TOKENS, p->start.view.cols, &err));
    fill(p->start.view, 7, 1);
}

static void close_pair(pair *p)
{
    qd_matf_buf_fini(&p->start);
    qd_matf_buf_fini(&p->out);
    qd_scratch_destroy(p->scratch);
    qd_block_destroy(p->second); /* before the one whose weights it uses */
    qd_block_destroy(p->of);
    qd_model_destroy(p->model);
}

/* A family with biases, one with experts. */
static void open_biased(pair *p)
{
    qd_error err = { 0 };
    char path[4096];
    *p = (pair){ 0 };
    check_ok(qd_model_open(SOURCE_PATH(path, "tests/core/model/fixtures/mha-biases-f32"), &p->model, &err));
}

static void open_experts(pair *p)
{
    qd_error err = { 0 };
    *p = (pair){ 0 };
    temporary_folder(p->folder, sizeof p->folder);
    write_moe(&(moe_model){ .family = MOE_QWEN3 }, p->folder);
    check_ok(qd_model_open(p->folder, &p->model, &err));
    remove_folder(p->folder); /* the files stay mapped */
}

/* The bytes of what the block makes of `start`. */
static float *outcome(pair *p, const qd_block *block)
{
    qd_error err = { 0 };
    size_t bytes = TOKENS * p->start.view.cols * sizeof(float);
    float *copy = malloc(bytes);
    memcpy(p->out.view.data, p->start.view.data, bytes);
    check_ok(qd_block_forward(block, p->out.view, p->scratch, &err));
    memcpy(copy, p->out.view.data, bytes);
    return copy;
}

static void check_outcomes(pair *p, const float *first, const float *second)
{
    size_t bytes = TOKENS * p->start.view.cols * sizeof(float);
    float *a = outcome(p, p->of), *b = outcome(p, p->second);
    assert_memory_equal(a, first, bytes);
    assert_memory_equal(b, second, bytes);
    free(a);
    free(b);
}

/* Every linear of the second in turn: the first goes on as it was; the second then is what a loaded block with these weights is. */
static void each_weight_changes_only_the_second(pair *p, size_t index, qd_arithmetic arithmetic)
{
    qd_error err = { 0 };
    qd_block *apart = NULL;
    size_t first = qd_model_block_first(p->model, index), bytes = TOKENS * p->start.view.cols * sizeof(float);
    check_ok(qd_block_load(p->model, index, NULL, arithmetic, &apart, &err));
    float *before = outcome(p, p->of);
    check_outcomes(p, before, before);
    for (size_t k = 0; k < qd_model_block_size(p->model, index); k++) {
        const qd_linear *linear = qd_model_linear_at(p->model, first + k);
        qd_matf_buf w = { 0 };
        check_ok(qd_matf_buf_init(&w, linear->out, linear->in, &err));
        for (uint64_t again = 0; again < 2; again++) { /* the second time it has one of its own already */
            fill(w.view, 100 + 2 * k + again, 0.3);
            check_ok(qd_block_set_weight(p->second, k, qd_matf_const(w.view), &err));
            check_ok(qd_block_set_weight(apart, k, qd_matf_const(w.view), &err));
            float *wanted = outcome(p, apart);
            check_outcomes(p, before, wanted);
            free(wanted);
        }
        if (arithmetic == QD_ARITHMETIC_FLOAT32)
            assert_memory_equal(qd_block_weight(p->second, k).data, w.view.data,
                                linear->out * linear->in * sizeof(float));
        qd_matf_buf_fini(&w);
    }
    float *changed = outcome(p, p->second);
    assert_memory_not_equal(before, changed, bytes);
    free(changed);
    free(before);
    qd_block_destroy(apart);
}

static void weights_with_biases_are_shared_until_set(void **state)
{
    (void)state;
    for (int a = QD_ARITHMETIC_FLOAT32; a <= QD_ARITHMETIC_BFLOAT16; a++) {
        pair p;
        open_biased(&p);
        open_pair(1, (qd_arithmetic)a, &p);
        each_weight_changes_only_the_second(&p, 1, (qd_arithmetic)a);
        close_pair(&p);
    }
}

static void weights_of_experts_are_shared_until_set(void **state)
{
    (void)state;
    for (int a = QD_ARITHMETIC_FLOAT32; a <= QD_ARITHMETIC_BFLOAT16; a++) {
        pair p;
        open_experts(&p);
        open_pair(1, (qd_arithmetic)a, &p);
        each_weight_changes_only_the_second(&p, 1, (qd_arithmetic)a);
        close_pair(&p);
    }
}

static void what_the_first_is_given_shows_in_the_second(void **state)
{
    (void)state;
    pair p;
    qd_error err = { 0 };
    open_biased(&p);
    open_pair(0, QD_ARITHMETIC_FLOAT32, &p);
    qd_matf_buf w = { 0 };
    const qd_linear *linear = qd_model_linear_at(p.model, 0);
    check_ok(qd_matf_buf_init(&w, linear->out, linear->in, &err));
    check_ok(qd_block_set_weight(p.of, 0, qd_matf_const(w.view), &err));
    float *changed = outcome(&p, p.of);
    check_outcomes(&p, changed, changed);
    qd_matf_buf_fini(&w);
    free(changed);
    close_pair(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_with_biases_are_shared_until_set),
        cmocka_unit_test(weights_of_experts_are_shared_until_set),
        cmocka_unit_test(what_the_first_is_given_shows_in_the_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
