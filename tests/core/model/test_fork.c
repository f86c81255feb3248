/* test_fork.c: every architecture: a text with several continuations, at once, is each of its paths alone. */
#include "forward.h"

#include "base/rng.h"
#include "linalg/gemm.h"

enum { TRUNK = 9, BRANCHES = 4, ROWS = TRUNK + 1 + 7 + 3 + 12, LONGEST = TRUNK + 12 };
static const size_t branches[BRANCHES] = { 1, 7, 3, 12 };
static const qd_fork fork_of_four = { TRUNK, branches, BRANCHES };

/* Before the final norm. */
static void walk_fork(const qd_model *model, const uint32_t *ids, qd_matf out)
{
    qd_error err = { 0 };
    qd_scratch *scratch = NULL;
    check_ok(qd_scratch_create(model, ROWS, &scratch, &err));
    check_ok(qd_model_embed_fork(model, &fork_of_four, ids, out, &err));
    for (size_t b = 0; b < qd_model_borrow_config(model)->blocks; b++) {
        qd_block *block = NULL;
        check_ok(qd_block_load(model, b, NULL, QD_ARITHMETIC_FLOAT32, &block, &err));
        check_ok(qd_block_forward_fork(block, &fork_of_four, out, scratch, &err));
        qd_block_destroy(block);
    }
    qd_scratch_destroy(scratch);
}

static void walk_path(const qd_model *model, const uint32_t *ids, qd_matf out)
{
    qd_error err = { 0 };
    qd_scratch *scratch = NULL;
    check_ok(qd_scratch_create(model, out.rows, &scratch, &err));
    check_ok(qd_model_embed(model, ids, out, &err));
    for (size_t b = 0; b < qd_model_borrow_config(model)->blocks; b++) {
        qd_block *block = NULL;
        check_ok(qd_block_load(model, b, NULL, QD_ARITHMETIC_FLOAT32, &block, &err));
        check_ok(qd_block_forward(block, out, scratch, &err));
        qd_block_destroy(block);
    }
    qd_scratch_destroy(scratch);
}

static double largest_of(qd_cmatf x)
{
    double largest = 0;
    for (size_t t = 0; t < x.rows; t++)
        for (size_t i = 0; i < x.cols; i++)
            largest = fmax(largest, fabs((double)qd_cmatf_row(x, t)[i]));
    return largest;
}

/* Rows [at, at + path's rows - skip) of `got` are those of the path behind `skip`. */
static void check_rows(const char *name, qd_matf got, size_t at, qd_matf path, size_t skip)
{
    double scale = largest_of(qd_matf_const(path));
    for (size_t t = skip; t < path.rows; t++)
        for (size_t i = 0; i < path.cols; i++) {
            double difference = fabs((double)qd_matf_row(got, at + t - skip)[i] - (double)qd_matf_row(path, t)[i]);
            if (difference > 2e-5 * scale)
                fail_msg("%s: row %zu of a path, column %zu: off by %g of %g", name, t, i, difference, scale);
        }
}

static void check_model(const char *name, const char *folder)
{
    qd_error err = { 0 };
    qd_model *model = NULL;
    uint32_t ids[ROWS], path_ids[LONGEST];
    check_ok(qd_model_open(folder, &model, &err));
    const qd_model_config *config = qd_model_borrow_config(model);
    for (size_t i = 0; i < ROWS; i++)
        ids[i] = (uint32_t)qd_rng_below(11, i, config->vocabulary);
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf all = { 0 };
    check_ok(qd_matf_buf_init(&all, ROWS, config->hidden, &err));
    walk_fork(model, ids, all.view);
    for (size_t b = 0, at = TRUNK; b < BRANCHES; at += branches[b++]) {
        QD_AUTO(qd_matf_buf_fini) qd_matf_buf path = { 0 };
        check_ok(qd_matf_buf_init(&path, TRUNK + branches[b], config->hidden, &err));
        memcpy(path_ids, ids, TRUNK * sizeof *ids);
        memcpy(path_ids + TRUNK, ids + at, branches[b] * sizeof *ids);
        walk_path(model, path_ids, path.view);
        check_rows(name, all.view, 0, qd_matf_block(path.view, 0, 0, TRUNK, config->hidden), 0);
        check_rows(name, all.view, at, path.view, TRUNK);
    }
    qd_model_destroy(model);
}

/* Paths whose lengths are rotated differently cannot walk together. */
static bool fits(const char *folder)
{
    qd_error err = { 0 };
    qd_model *model = NULL;
    check_ok(qd_model_open(folder, &model, &err));
    size_t form = qd_model_length_form(model, TRUNK + 1);
    bool alike = true;
    for (size_t b = 0; b < BRANCHES; b++)
        alike = alike && qd_model_length_form(model, TRUNK + branches[b]) == form;
    qd_model_destroy(model);
    return alike;
}

static size_t check_folder(const char *parent)
{
    qd_error err = { 0 };
    char **names = NULL, folder[4096];
    size_t count = 0, checked = 0;
    snprintf(folder, sizeof folder, "%s/%s", source_folder(), parent);
    check_ok(qd_dir_list(folder, &names, &count, &err));
    for (size_t i = 0; i < count; i++) {
        char model[4400], config[4500];
        snprintf(model, sizeof model, "%s/%s", folder, names[i]);
        snprintf(config, sizeof config, "%s/config.json", model);
        if (!qd_path_exists(config) || !fits(model))
            continue;
        check_model(names[i], model);
        checked++;
    }
    qd_names_free(names, count);
    return checked;
}

static void every_architecture_is_its_paths_alone(void **state)
{
    (void)state;
    assert_true(check_folder("tests/core/model/architectures") >= 25);
    assert_true(check_folder("tests/core/model/fixtures") >= 5);
    assert_true(check_folder("tests/models") >= 1);
}

static void a_trunk_alone_is_a_sequence(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char path[4096];
    qd_model *model = NULL;
    qd_block *block = NULL;
    qd_scratch *scratch = NULL;
    uint32_t ids[TRUNK];
    const qd_fork alone = { TRUNK, NULL, 0 };
    check_ok(qd_model_open(SOURCE_PATH(path, "tests/models/novella-1m"), &model, &err));
    for (size_t i = 0; i < TRUNK; i++)
        ids[i] = (uint32_t)i + 5;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf one = { 0 }, other = { 0 };
    size_t hidden = qd_model_borrow_config(model)->hidden;
    check_ok(qd_matf_buf_init(&one, TRUNK, hidden, &err));
    check_ok(qd_matf_buf_init(&other, TRUNK, hidden, &err));
    check_ok(qd_scratch_create(model, TRUNK, &scratch, &err));
    check_ok(qd_block_load(model, 0, NULL, QD_ARITHMETIC_FLOAT32, &block, &err));
    check_ok(qd_model_embed_fork(model, &alone, ids, one.view, &err));
    check_ok(qd_model_embed(model, ids, other.view, &err));
    check_ok(qd_block_forward_fork(block, &alone, one.view, scratch, &err));
    check_ok(qd_block_forward(block, other.view, scratch, &err));
    assert_memory_equal(one.view.data, other.view.data, TRUNK * hidden * sizeof(float));
    qd_block_destroy(block);
    qd_scratch_destroy(scratch);
    qd_model_destroy(model);
}

int main(void)
{
    qd_blas_single_thread();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_architecture_is_its_paths_alone),
        cmocka_unit_test(a_trunk_alone_is_a_sequence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
