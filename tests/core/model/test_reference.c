/* test_reference.c: trained models and the fixtures of $QUANTD_SHARED against published numbers. */
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

/* Largest difference of `got` from rows [first, ...) of a reference tensor, relative to its largest value. */
static double difference(const float *want, qd_cmatf got, double *largest)
{
    double worst = 0;
    for (size_t t = 0; t < got.rows; t++)
        for (size_t i = 0; i < got.cols; i++) {
            double value = (double)want[t * got.cols + i];
            worst = fmax(worst, fabs(value - (double)qd_cmatf_row(got, t)[i]));
            *largest = fmax(*largest, fabs(value));
        }
    return worst;
}

typedef struct arch_reference {
    size_t sequences, length;
    uint32_t *ids;
    float *logits, *first;
} arch_reference;

static void read_arch_reference(const char *path, arch_reference *out)
{
    qd_error err = { 0 };
    char *file = qd_path_join(path, "reference.safetensors");
    qd_safetensors *tensors = NULL;
    check_ok(qd_safetensors_open(file, &tensors, &err));
    const qd_tensor *ids = qd_safetensors_find(tensors, "input_ids"), *logits = qd_safetensors_find(tensors, "logits"),
                    *first = qd_safetensors_find(tensors, "hidden_after_first_block");
    out->sequences = (size_t)ids->shape[0];
    out->length = (size_t)ids->shape[1];
    out->ids = calloc((size_t)ids->elements, sizeof *out->ids);
    out->logits = calloc((size_t)logits->elements, sizeof(float));
    out->first = calloc((size_t)first->elements, sizeof(float));
    for (size_t i = 0; i < ids->elements; i++)
        memcpy(&out->ids[i], ids->data + 8 * i, 4); /* low half of a small I64 */
    check_ok(qd_tensor_to_floats(logits, out->logits, &err));
    check_ok(qd_tensor_to_floats(first, out->first, &err));
    free(file);
    qd_safetensors_destroy(tensors);
}

static void logits_match_the_fixture(void **state)
{
    qd_error err = { 0 };
    char path[4096];
    shared_path(path, sizeof path, *state);
    arch_reference r = { 0 };
    qd_model *model = NULL;
    check_ok(qd_model_open(path, &model, &err));
    read_arch_reference(path, &r);
    size_t d = qd_model_borrow_config(model)->hidden, v = qd_model_borrow_config(model)->vocabulary;
    qd_matf_buf first = { 0 }, hidden = { 0 }, logits = { 0 };
    check_ok(qd_matf_buf_init(&first, r.length, d, &err));
    check_ok(qd_matf_buf_init(&hidden, r.length, d, &err));
    check_ok(qd_matf_buf_init(&logits, r.length, v, &err));
    double worst = 0, largest = 0, worst_first = 0, largest_first = 0;
    for (size_t s = 0; s < r.sequences; s++) {
        forward_hidden(model, NULL, r.ids + s * r.length, BY_GROUP, first.view, hidden.view);
        check_ok(qd_model_logits(model, qd_matf_const(hidden.view), logits.view, &err));
        worst = fmax(worst, difference(r.logits + s * r.length * v, qd_matf_const(logits.view), &largest));
        worst_first =
            fmax(worst_first, difference(r.first + s * r.length * d, qd_matf_const(first.view), &largest_first));
    }
    print_message("# %s: logits within %.2g of the largest, first block within %.2g\n", (const char *)*state,
                  worst / largest, worst_first / largest_first);
    check_near(worst / largest, 0, 2e-6);
    check_near(worst_first / largest_first, 0, 2e-6);
    free(r.ids);
    free(r.logits);
    free(r.first);
    qd_matf_buf_fini(&first);
    qd_matf_buf_fini(&hidden);
    qd_matf_buf_fini(&logits);
    qd_model_destroy(model);
}

/* Every class of the table opens its fixture; every fixture of another family is refused, and the refusal lists
 * ours. */
static void other_families_are_refused_by_name(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char root[4096];
    char **names = NULL;
    size_t count = 0, refused = 0;
    check_ok(qd_dir_list(shared_path(root, sizeof root, "fixtures/arch"), &names, &count, &err));
    for (size_t i = 0; i < count; i++) {
        char *path = qd_path_join(root, names[i]);
        json_t *config = read_json(path, "config.json");
        const char *name = json_string_value(json_array_get(json_object_get(config, "architectures"), 0));
        qd_model *model = NULL;
        if (qd_arch_find_class(name) != NULL)
            check_ok(qd_model_open(path, &model, &err));
        else {
            check_fails(qd_model_open(path, &model, &err), QD_EUNSUPPORTED);
            check_contains(err.text, name);
            check_contains(err.text, "supported are LlamaForCausalLM, MistralForCausalLM");
            refused++;
        }
        qd_model_destroy(model);
        json_decref(config);
        free(path);
    }
    assert_true(refused < count);
    qd_names_free(names, count);
}

int main(void)
{
    qd_blas_single_thread();
    static probe small = { NULL, -135.4909 }, large = { "models/novella-15m", -122.9261 },
                 middle = { "models/novella-7m", 0 };
#define PROBE "log-probabilities are the published ones"
#define ARCH(name) \
    SHARED_TEST(name ": logits match the fixture", logits_match_the_fixture, (char[]){ "fixtures/arch/" name })
    const struct CMUnitTest tests[] = {
        { "novella-1m: " PROBE, log_probabilities_are_the_published_ones, NULL, NULL, &small },
        SHARED_TEST("novella-7m: " PROBE, log_probabilities_are_the_published_ones, &middle),
        SHARED_TEST("novella-15m: " PROBE, log_probabilities_are_the_published_ones, &large),
        SHARED_TEST("stories260K: logits match float64", stories_logits_match_float64, NULL),
        ARCH("llama"),
        ARCH("llama-bias"),
        ARCH("llama3-rope"),
        ARCH("mistral"),
        SHARED_TEST("other families are refused by name", other_families_are_refused_by_name, NULL),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
