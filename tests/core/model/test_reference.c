/* test_reference.c: trained models against published numbers. */
#include "forward.h"

#include <jansson.h>

#include "base/json.h"
#include "linalg/gemm.h"

/* A published sum of log-probabilities of a probe, to its printed digits. */
typedef struct probe {
    const char *folder;     /* below $QUANTD_SHARED, or NULL: the copy in the tests */
    double log_probability; /* exact arithmetic; 0 = only the folder's own reference.json */
} probe;

static json_t *read_json(const char *folder, const char *name)
{
    qd_error err = { 0 };
    json_t *out = NULL;
    char *path = qd_path_join(folder, name);
    check_ok(qd_json_read_object(path, 1 << 20, 8, &out, &err));
    free(path);
    return out;
}

static size_t read_ids(const json_t *array, uint32_t *out, size_t limit)
{
    size_t count = json_array_size(array);
    assert_in_range(count, 1, limit);
    for (size_t i = 0; i < count; i++)
        out[i] = (uint32_t)json_integer_value(json_array_get(array, i));
    return count;
}

static const char *shared_path(char *buffer, size_t size, const char *relative)
{
    snprintf(buffer, size, "%s/%s", shared_folder(), relative);
    return buffer;
}

static void log_probabilities_are_the_published_ones(void **state)
{
    const probe *p = *state;
    qd_error err = { 0 };
    char path[4096];
    if (p->folder == NULL)
        SOURCE_PATH(path, "tests/models/novella-1m");
    else
        shared_path(path, sizeof path, p->folder);
    json_t *reference = read_json(path, "reference.json");
    uint32_t ids[256];
    size_t length = read_ids(json_object_get(reference, "probe_ids"), ids, 256);
    qd_model *model = NULL;
    check_ok(qd_model_open(path, &model, &err));
    assert_null(qd_model_warning_at(model, 0));
    size_t d = qd_model_borrow_config(model)->hidden, v = qd_model_borrow_config(model)->vocabulary;
    qd_matf_buf hidden = { 0 }, logits = { 0 };
    check_ok(qd_matf_buf_init(&hidden, length, d, &err));
    check_ok(qd_matf_buf_init(&logits, length, v, &err));
    forward_hidden(model, NULL, ids, BY_BLOCK, (qd_matf){ 0 }, hidden.view);
    double nll = 0, naive = 0;
    check_ok(qd_model_nll(model, qd_cmatf_block(qd_matf_const(hidden.view), 0, 0, length - 1, d), ids + 1, NULL, &nll,
                          &err));
    check_ok(qd_model_logits(model, qd_matf_const(hidden.view), logits.view, &err));
    for (size_t t = 0; t + 1 < length; t++)
        naive += naive_nll(qd_matf_row(logits.view, t), v, ids[t + 1]);
    print_message("# %s: log-probability sum %.6f\n", path, -nll);
    check_close(nll, naive, 1e-7);
    if (p->log_probability < 0)
        check_close(-nll, p->log_probability, 1e-5);
    check_close(-nll, json_real_value(json_object_get(reference, "probe_logprob_sum")), 1e-4);
    const json_t *top = json_object_get(reference, "probe_last_top5");
    for (size_t i = 0; i < json_array_size(top); i++) {
        const json_t *pair = json_array_get(top, i);
        size_t id = (size_t)json_integer_value(json_array_get(pair, 0));
        check_near(qd_matf_row(logits.view, length - 1)[id], json_number_value(json_array_get(pair, 1)), 5e-3);
    }
    json_decref(reference);
    qd_matf_buf_fini(&hidden);
    qd_matf_buf_fini(&logits);
    qd_model_destroy(model);
}

static void stories_logits_match_float64(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char path[4096];
    json_t *reference = read_json(shared_path(path, sizeof path, "models/stories260K"), "reference.json");
    uint32_t ids[300];
    qd_model *model = NULL;
    check_ok(qd_model_open(path, &model, &err));
    size_t v = qd_model_borrow_config(model)->vocabulary;
    qd_matf_buf logits = { 0 };
    size_t length = read_ids(json_object_get(reference, "prompt_ids"), ids, 300);
    check_ok(qd_matf_buf_init(&logits, 300, v, &err));
    forward_logits(model, ids, BY_BLOCK, qd_matf_block(logits.view, 0, 0, length, v));
    const json_t *last = json_object_get(reference, "prompt_last_logits");
    assert_int_equal(json_array_size(last), v);
    for (size_t i = 0; i < v; i++)
        check_near(qd_matf_row(logits.view, length - 1)[i], json_number_value(json_array_get(last, i)), 1e-5);
    /* Greedy continuation from BOS: every next id is the argmax of the row before. */
    length = read_ids(json_object_get(reference, "greedy_from_bos_ids"), ids, 300);
    forward_logits(model, ids, BY_BLOCK, qd_matf_block(logits.view, 0, 0, length, v));
    for (size_t t = 0; t + 1 < length; t++)
        for (size_t i = 0; i < v; i++)
            assert_true(qd_matf_row(logits.view, t)[i] <= qd_matf_row(logits.view, t)[ids[t + 1]]);
    json_decref(reference);
    qd_matf_buf_fini(&logits);
    qd_model_destroy(model);
}

int main(void)
{
    qd_blas_single_thread();
    static probe small = { NULL, -135.4909 }, large = { "models/novella-15m", -122.9261 },
                 middle = { "models/novella-7m", 0 };
#define PROBE "log-probabilities are the published ones"
    const struct CMUnitTest tests[] = {
        { "novella-1m: " PROBE, log_probabilities_are_the_published_ones, NULL, NULL, &small },
        SHARED_TEST("novella-7m: " PROBE, log_probabilities_are_the_published_ones, &middle),
        SHARED_TEST("novella-15m: " PROBE, log_probabilities_are_the_published_ones, &large),
        SHARED_TEST("stories260K: logits match float64", stories_logits_match_float64, NULL),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
