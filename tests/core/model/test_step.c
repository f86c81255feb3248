/* test_step.c: a token at a time with kept keys and values gives what the whole sequence gives. */
#include "forward.h"

#include "base/rng.h"
#include "linalg/gemm.h"

enum { SEQUENCES = 3 };

/* ids of sequence b, unlike the other sequences': the fixture has one. */
static uint32_t id_of(size_t b, size_t t, size_t vocabulary)
{
    return (uint32_t)((7 * t * t + 31 * t + 13 * b + 5) % vocabulary);
}

typedef struct stepped {
    qd_model *model;
    qd_block **blocks;
    qd_cache **caches;
    qd_scratch *scratch;
    size_t count, length;
} stepped;

static void begin(const char *name, size_t length, stepped *s)
{
    qd_error err = { 0 };
    char relative[256], path[4096];
    snprintf(relative, sizeof relative, "tests/core/model/fixtures/%s", name);
    check_ok(qd_model_open(strchr(name, '/') == NULL ? SOURCE_PATH(path, relative) : name, &s->model, &err));
    size_t most = qd_model_borrow_config(s->model)->max_positions; /* learned ones end there */
    s->count = qd_model_borrow_config(s->model)->blocks;
    s->length = length = most > 0 ? qd_min_size(length, most) : length;
    s->blocks = calloc(s->count, sizeof *s->blocks);
    s->caches = calloc(s->count, sizeof(qd_cache *));
    check_ok(qd_scratch_create(s->model, SEQUENCES, &s->scratch, &err));
    for (size_t i = 0; i < s->count; i++) {
        check_ok(qd_block_load(s->model, i, NULL, QD_ARITHMETIC_FLOAT32, &s->blocks[i], &err));
        check_ok(qd_cache_create(s->model, i, SEQUENCES, length, &s->caches[i], &err));
    }
}

static void end(stepped *s)
{
    for (size_t i = 0; i < s->count; i++) {
        qd_block_destroy(s->blocks[i]);
        qd_cache_destroy(s->caches[i]);
    }
    free(s->blocks);
    free(s->caches);
    qd_scratch_destroy(s->scratch);
    qd_model_destroy(s->model);
}

/* Hidden states of sequence b, all at once: in front of every block and behind the last, T x D each. */
static void whole(const stepped *s, size_t b, qd_matf *out)
{
    qd_error err = { 0 };
    qd_scratch *scratch = NULL;
    size_t vocabulary = qd_model_borrow_config(s->model)->vocabulary;
    uint32_t *ids = calloc(s->length, sizeof *ids);
    for (size_t t = 0; t < s->length; t++)
        ids[t] = id_of(b, t, vocabulary);
    check_ok(qd_scratch_create(s->model, s->length, &scratch, &err));
    check_ok(qd_model_embed(s->model, ids, out[0], &err));
    for (size_t i = 0; i < s->count; i++) {
        memcpy(out[i + 1].data, out[i].data, out[i].rows * out[i].cols * sizeof(float));
        check_ok(qd_block_forward(s->blocks[i], out[i + 1], scratch, &err));
    }
    qd_scratch_destroy(scratch);
    free(ids);
}

/* What stands in front of block 0: words and, where they are learned, positions. */
static void embed_each(const stepped *s, const qd_matf *wholes, size_t apart, qd_matf got)
{
    qd_error err = { 0 };
    size_t vocabulary = qd_model_borrow_config(s->model)->vocabulary;
    for (size_t t = 0; t < s->length; t++) {
        uint32_t ids[SEQUENCES];
        for (size_t b = 0; b < SEQUENCES; b++)
            ids[b] = id_of(b, t, vocabulary);
        check_ok(qd_model_embed_at(s->model, ids, t, got, &err));
        for (size_t b = 0; b < SEQUENCES; b++)
            assert_memory_equal(qd_matf_row(got, b), qd_matf_row(wholes[b * apart], t), got.cols * sizeof(float));
    }
}

/* Block i by itself, from what the whole sequences bring to it: differences of earlier blocks do not add up. */
static void step_through(const stepped *s, size_t i, qd_matf (*states)[2], qd_matf got)
{
    qd_error err = { 0 };
    double largest = 0, worst = 0;
    for (size_t t = 0; t < s->length; t++) {
        for (size_t b = 0; b < SEQUENCES; b++)
            memcpy(qd_matf_row(got, b), qd_matf_row(states[b][0], t), got.cols * sizeof(float));
        check_ok(qd_block_step(s->blocks[i], s->caches[i], t, got, s->scratch, &err));
        for (size_t b = 0; b < SEQUENCES; b++)
            for (size_t k = 0; k < got.cols; k++) {
                double want = (double)qd_matf_row(states[b][1], t)[k];
                worst = fmax(worst, fabs((double)qd_matf_row(got, b)[k] - want));
                largest = fmax(largest, fabs(want));
            }
    }
    check_near(worst / largest, 0, 2e-6); /* tiles and single rows sum in orders of their own */
}

static void every_position_is_as_in_the_whole_sequence(void **state)
{
    enum { LENGTH = 150 }; /* longer than the windows and than a piece of attention's rows */
    qd_error err = { 0 };
    stepped s = { 0 };
    begin(*state, LENGTH, &s);
    size_t length = s.length;
    size_t hidden = qd_model_borrow_config(s.model)->hidden, states = s.count + 1;
    qd_matf_buf all = { 0 }, got = { 0 };
    qd_matf *of = calloc(SEQUENCES * states, sizeof *of);
    check_ok(qd_matf_buf_init(&all, SEQUENCES * states * length, hidden, &err));
    check_ok(qd_matf_buf_init(&got, SEQUENCES, hidden, &err));
    for (size_t k = 0; k < SEQUENCES * states; k++)
        of[k] = qd_matf_block(all.view, k * length, 0, length, hidden);
    for (size_t b = 0; b < SEQUENCES; b++)
        whole(&s, b, of + b * states);
    embed_each(&s, of, states, got.view);
    for (size_t i = 0; i < s.count; i++) {
        qd_matf sides[SEQUENCES][2];
        for (size_t b = 0; b < SEQUENCES; b++)
            memcpy(sides[b], of + b * states + i, sizeof sides[b]);
        step_through(&s, i, sides, got.view);
    }
    free(of);
    qd_matf_buf_fini(&all);
    qd_matf_buf_fini(&got);
    end(&s);
}

static void a_kept_head_gives_the_logits(void **state)
{
    enum { ROWS = 5 };
    qd_error err = { 0 };
    stepped s = { 0 };
    begin(*state, ROWS, &s);
    const qd_model_config *c = qd_model_borrow_config(s.model);
    qd_head *head = NULL;
    qd_matf_buf hidden = { 0 }, want = { 0 }, got = { 0 };
    check_ok(qd_matf_buf_init(&hidden, ROWS, c->hidden, &err));
    check_ok(qd_matf_buf_init(&want, ROWS, c->vocabulary, &err));
    check_ok(qd_matf_buf_init(&got, ROWS, c->vocabulary, &err));
    for (size_t i = 0; i < ROWS * c->hidden; i++)
        hidden.view.data[i] = (float)(2 * qd_rng_uniform(1, i) - 1);
    check_ok(qd_model_logits(s.model, qd_matf_const(hidden.view), want.view, &err));
    check_ok(qd_head_load(s.model, &head, &err));
    check_ok(qd_head_logits(head, qd_matf_const(hidden.view), got.view, &err));
    for (size_t i = 0; i < ROWS * c->vocabulary; i++)
        check_close_at((double)got.view.data[i], (double)want.view.data[i], 1e-6, 1e-6, __FILE__, __LINE__);
    qd_head_destroy(head);
    qd_matf_buf_fini(&hidden);
    qd_matf_buf_fini(&want);
    qd_matf_buf_fini(&got);
    end(&s);
}

static void positions_come_in_order(void **state)
{
    (void)state;
    enum { LENGTH = 2 };
    qd_error err = { 0 };
    stepped s = { 0 };
    begin("gqa-tied-bf16", LENGTH, &s);
    qd_matf_buf rows = { 0 };
    check_ok(qd_matf_buf_init(&rows, SEQUENCES + 1, qd_model_borrow_config(s.model)->hidden, &err));
    qd_matf fitting = qd_matf_block(rows.view, 0, 0, SEQUENCES, rows.view.cols);
    check_fails(qd_block_step(s.blocks[0], s.caches[0], 1, fitting, s.scratch, &err), QD_EINVAL);
    check_contains(err.text, "the next one is 0");
    check_fails(qd_block_step(s.blocks[0], s.caches[0], 0, rows.view, s.scratch, &err), QD_ESHAPE);
    check_ok(qd_block_step(s.blocks[0], s.caches[0], 0, fitting, s.scratch, &err));
    check_ok(qd_block_step(s.blocks[0], s.caches[0], 1, fitting, s.scratch, &err));
    check_fails(qd_block_step(s.blocks[0], s.caches[0], 2, fitting, s.scratch, &err), QD_ESHAPE);
    check_contains(err.text, "holds 2 tokens");
    qd_matf_buf_fini(&rows);
    end(&s);
}

#define FIXTURES(each) \
    each("gqa-tied-bf16") each("mha-biases-f32") each("mqa-shards-f16") each("rope-linear") each("rope-llama3") \
        each("rope-yarn") each("rope-yarn-factor") each("rope-partial") each("mistral-window-67") \
            each("mistral-window-5")
#define STEPS(name) \
    { name ": every position is as in the whole sequence", every_position_is_as_in_the_whole_sequence, NULL, NULL, \
      name },

/* One test a folder of an architecture. */
static size_t add_folders(const char *root, struct CMUnitTest *out, size_t room)
{
    qd_error err = { 0 };
    char **names = NULL;
    size_t count = 0;
    if (qd_dir_list(root, &names, &count, &err) != QD_OK || 2 * count > room) {
        fprintf(stderr, "%s: %s\n", root, 2 * count > room ? "too many folders" : err.text);
        exit(99);
    }
    for (size_t i = 0; i < count; i++) {
        char *path = qd_path_join(root, names[i]);
        out[2 * i] = (struct CMUnitTest){ path, every_position_is_as_in_the_whole_sequence, NULL, NULL, (void *)path };
        out[2 * i + 1] = (struct CMUnitTest){ path, a_kept_head_gives_the_logits, NULL, NULL, (void *)path };
    }
    qd_names_free(names, count);
    return 2 * count;
}

int main(void)
{
    enum { ROOM = 256 };
    static struct CMUnitTest tests[ROOM] = { FIXTURES(STEPS) cmocka_unit_test(positions_come_in_order) };
    size_t own = 0;
    char root[4096];
    qd_blas_single_thread();
    while (tests[own].name != NULL)
        own++;
    size_t count = own + add_folders(SOURCE_PATH(root, "tests/core/model/architectures"), tests + own, ROOM - own);
    if (shared_folder() != NULL) {
        snprintf(root, sizeof root, "%s/fixtures/arch", shared_folder());
        count += add_folders(root, tests + count, ROOM - count);
    }
    int failed = _cmocka_run_group_tests("steps", tests, count, NULL, NULL);
    for (size_t i = own; i < count; i += 2)
        free(tests[i].initial_state);
    return failed;
}
