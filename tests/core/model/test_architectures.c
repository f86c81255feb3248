/* test_architectures.c: every architecture and its variants against the logits of transformers: the folders of
 * make_architectures.py, and those of $QUANTD_SHARED. */
#include "forward.h"

#include "linalg/gemm.h"

/* References and forward pass are float32, both: a formula that is wrong shows as 1e-4 or more (fixtures.md). */
#define ALLOWED 2e-5

typedef struct reference {
    size_t sequences, length, width, vocabulary;
    uint32_t *ids;         /* sequences x length */
    float *logits, *first; /* sequences x length x vocabulary, x width */
} reference;

static const qd_tensor *need_tensor(const qd_safetensors *file, const char *name)
{
    const qd_tensor *tensor = qd_safetensors_find(file, name);
    if (tensor == NULL)
        fail_msg("no tensor '%s'", name);
    return tensor;
}

static float *read_floats(const qd_tensor *tensor)
{
    qd_error err = { 0 };
    float *out = calloc((size_t)tensor->elements, sizeof *out);
    check_ok(qd_tensor_to_floats(tensor, out, &err));
    return out;
}

static void read_reference(const char *folder, reference *out)
{
    qd_error err = { 0 };
    char *path = qd_path_join(folder, "reference.safetensors");
    qd_safetensors *file = NULL;
    check_ok(qd_safetensors_open(path, &file, &err));
    const qd_tensor *ids = need_tensor(file, "input_ids"), *logits = need_tensor(file, "logits"),
                    *first = need_tensor(file, "hidden_after_first_block");
    *out = (reference){ .sequences = (size_t)ids->shape[0],
                        .length = (size_t)ids->shape[1],
                        .vocabulary = (size_t)logits->shape[2],
                        .width = (size_t)first->shape[2],
                        .ids = calloc((size_t)ids->elements, sizeof(uint32_t)),
                        .logits = read_floats(logits),
                        .first = read_floats(first) };
    for (size_t i = 0; i < ids->elements; i++)
        memcpy(&out->ids[i], ids->data + 8 * i, 4); /* low half of a small I64 */
    free(path);
    qd_safetensors_destroy(file);
}

static void reference_fini(reference *r)
{
    free(r->ids);
    free(r->logits);
    free(r->first);
}

/* Largest difference so far, and the largest value it is measured by. */
typedef struct distance {
    double worst, largest;
} distance;

static void compare(const float *want, qd_cmatf got, distance *d)
{
    for (size_t t = 0; t < got.rows; t++)
        for (size_t i = 0; i < got.cols; i++) {
            double value = (double)want[t * got.cols + i], apart = fabs(value - (double)qd_cmatf_row(got, t)[i]);
            assert_true(isfinite(apart));
            d->worst = fmax(d->worst, apart);
            d->largest = fmax(d->largest, fabs(value));
        }
}

static void compare_sequence(const qd_model *model, const reference *r, size_t s, walk how, distance *logits,
                             distance *first)
{
    qd_error err = { 0 };
    qd_matf_buf after = { 0 }, hidden = { 0 }, out = { 0 };
    check_ok(qd_matf_buf_init(&after, r->length, r->width, &err));
    check_ok(qd_matf_buf_init(&hidden, r->length, r->width, &err));
    check_ok(qd_matf_buf_init(&out, r->length, r->vocabulary, &err));
    forward_hidden(model, NULL, r->ids + s * r->length, how, after.view, hidden.view);
    check_ok(qd_model_logits(model, qd_matf_const(hidden.view), out.view, &err));
    compare(r->logits + s * r->length * r->vocabulary, qd_matf_const(out.view), logits);
    compare(r->first + s * r->length * r->width, qd_matf_const(after.view), first);
    qd_matf_buf_fini(&after);
    qd_matf_buf_fini(&hidden);
    qd_matf_buf_fini(&out);
}

static void logits_are_those_of_transformers(void **state)
{
    const char *folder = *state;
    qd_error err = { 0 };
    reference r = { 0 };
    qd_model *model = NULL;
    check_ok(qd_model_open(folder, &model, &err));
    read_reference(folder, &r);
    assert_int_equal(qd_model_borrow_config(model)->hidden, r.width);
    assert_int_equal(qd_model_borrow_config(model)->vocabulary, r.vocabulary);
    assert_null(qd_model_warning_at(model, 0)); /* a wrapper's other parts are no concern of the text model */
    for (walk how = BY_BLOCK; how <= BY_GROUP; how++) {
        distance logits = { 0 }, first = { 0 };
        for (size_t s = 0; s < r.sequences; s++)
            compare_sequence(model, &r, s, how, &logits, &first);
        print_message("# %s: logits within %.2g of the largest, first block within %.2g\n", folder,
                      logits.worst / logits.largest, first.worst / first.largest);
        check_near(first.worst / first.largest, 0, ALLOWED);
        check_near(logits.worst / logits.largest, 0, ALLOWED);
    }
    reference_fini(&r);
    qd_model_destroy(model);
}

/* A row without a folder would be a formula that nobody has checked. */
static void every_row_has_a_folder(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char root[4096], **names = NULL;
    size_t count = 0;
    bool seen[64] = { false };
    check_ok(qd_dir_list(SOURCE_PATH(root, "tests/core/model/architectures"), &names, &count, &err));
    for (size_t i = 0; i < count; i++) {
        char *path = qd_path_join(root, names[i]);
        qd_model *model = NULL;
        check_ok(qd_model_open(path, &model, &err));
        for (size_t k = 0; qd_arch_at(k) != NULL; k++)
            seen[k] = seen[k] || qd_arch_at(k) == qd_model_arch(model);
        qd_model_destroy(model);
        free(path);
    }
    for (size_t k = 0; qd_arch_at(k) != NULL; k++)
        if (!seen[k])
            fail_msg("no folder of architecture '%s' in %s", qd_arch_at(k)->name, root);
    qd_names_free(names, count);
}

/* One test a folder below `root`. */
static size_t add_folders(const char *root, const char *prefix, struct CMUnitTest *out, size_t room)
{
    qd_error err = { 0 };
    char **names = NULL;
    size_t count = 0;
    if (qd_dir_list(root, &names, &count, &err) != QD_OK || count > room) {
        fprintf(stderr, "%s: %s\n", root, count > room ? "too many folders" : err.text);
        exit(99);
    }
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(prefix) + strlen(names[i]) + 64;
        char *title = malloc(size);
        snprintf(title, size, "%s%s: logits are those of transformers", prefix, names[i]);
        out[i] =
            (struct CMUnitTest){ title, logits_are_those_of_transformers, NULL, NULL, qd_path_join(root, names[i]) };
    }
    qd_names_free(names, count);
    return count;
}

int main(void)
{
    enum { ROOM = 128 };
    static struct CMUnitTest tests[ROOM + 1] = { cmocka_unit_test(every_row_has_a_folder) };
    char root[4096];
    size_t count = 1;
    qd_blas_single_thread();
    count += add_folders(SOURCE_PATH(root, "tests/core/model/architectures"), "", tests + count, ROOM - count);
    size_t own = count;
    if (shared_folder() != NULL) {
        snprintf(root, sizeof root, "%s/fixtures/arch", shared_folder());
        count += add_folders(root, "shared ", tests + count, ROOM - count);
    } else
        tests[count++] = (struct CMUnitTest)SHARED_TEST("shared folders", shared_is_absent, NULL);
    int failed = _cmocka_run_group_tests("architectures", tests, count, NULL, NULL);
    for (size_t i = 1; i < count; i++) {
        if (i == own && shared_folder() == NULL)
            continue; /* its name is a constant */
        free((char *)(uintptr_t)tests[i].name);
        free(tests[i].initial_state);
    }
    return failed;
}
