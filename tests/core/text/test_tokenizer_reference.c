/* test_tokenizer_reference.c: ids that other implementations wrote down, for the models and tokenizers of
 * $QUANTD_SHARED, and how long a long text takes. */
#include "config.h"

#include "check.h"

#include <time.h>

#include "base/file.h"
#include "base/json.h"
#include "text/corpus.h"

enum { FILE_BYTES = 64 << 20, MOST_IDS = 4096 };

static size_t read_ids(const json_t *list, uint32_t *out)
{
    assert_true(json_is_array(list) && json_array_size(list) <= MOST_IDS);
    for (size_t i = 0; i < json_array_size(list); i++)
        out[i] = (uint32_t)json_integer_value(json_array_get(list, i));
    return json_array_size(list);
}

static void print_ids(const char *what, const uint32_t *ids, size_t count)
{
    print_error("%s:", what);
    for (size_t i = 0; i < count; i++)
        print_error(" %u", ids[i]);
    print_error("\n");
}

/* 1 when encode(text) is the wanted list; prints both otherwise. */
static int encodes_as(const qd_tokenizer *t, const json_t *text, qd_special special, const json_t *wanted)
{
    qd_error err = { 0 };
    QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
    uint32_t want[MOST_IDS];
    size_t count = read_ids(wanted, want);
    check_ok(qd_tokenizer_encode(t, json_string_value(text), json_string_length(text), special, &ids, &err));
    if (ids.count == count && (count == 0 || memcmp(ids.data, want, count * sizeof *want) == 0))
        return 1;
    print_error("text '%s'\n", json_string_value(text));
    print_ids("got ", ids.data, ids.count);
    print_ids("want", want, count);
    return 0;
}

static int decodes_as(const qd_tokenizer *t, const json_t *list, const json_t *wanted)
{
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    uint32_t ids[MOST_IDS];
    size_t count = read_ids(list, ids);
    check_ok(qd_tokenizer_decode(t, ids, count, &text, &err));
    if (text.length == json_string_length(wanted) &&
        memcmp(qd_str_borrow(&text), json_string_value(wanted), text.length) == 0)
        return 1;
    print_error("got  '%s'\nwant '%s'\n", qd_str_borrow(&text), json_string_value(wanted));
    return 0;
}

static qd_tokenizer *open_at(const char *folder, const char *name, char path[1024])
{
    qd_error err = { 0 };
    qd_tokenizer *t = NULL;
    snprintf(path, 1024, "%s/%s", folder, name);
    check_ok(qd_tokenizer_open(path, &t, &err));
    return t;
}

static void check_vectors(const char *family)
{
    char path[1024], file[1100];
    qd_error err = { 0 };
    snprintf(file, sizeof file, "fixtures/tokenizers/%s", family);
    qd_tokenizer *t = open_at(shared_folder(), file, path);
    QD_AUTO(qd_str_fini) qd_str lines = { 0 };
    snprintf(file, sizeof file, "%s/vectors.jsonl", path);
    check_ok(qd_file_read(file, FILE_BYTES, &lines, &err));
    size_t seen = 0, wrong = 0;
    char *rest = lines.data;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (line[0] == '\0')
            continue;
        QD_AUTO(qd_json_fini) json_t *vector = NULL;
        vector = json_loads(line, JSON_ALLOW_NUL, NULL); /* one of the texts has a NUL */
        assert_non_null(vector);
        const json_t *text = json_object_get(vector, "text"), *ids = json_object_get(vector, "ids");
        int good = encodes_as(t, text, QD_SPECIAL_NONE, ids) &
                   encodes_as(t, text, QD_SPECIAL_ADD, json_object_get(vector, "ids_with_special")) &
                   decodes_as(t, ids, json_object_get(vector, "decoded"));
        wrong += good == 0;
        seen++;
    }
    print_message("# %s: %zu of %zu vectors\n", family, seen - wrong, seen);
    assert_true(seen >= 20);
    assert_int_equal(wrong, 0);
    qd_tokenizer_destroy(t);
}

static void gpt2_vectors_are_met(void **state)
{
    (void)state;
    check_vectors("gpt2-style");
}

static void qwen_vectors_are_met(void **state)
{
    (void)state;
    check_vectors("qwen-style");
}

static void smollm_vectors_are_met(void **state)
{
    (void)state;
    check_vectors("smollm-style");
}

static void llama2_vectors_are_met(void **state)
{
    (void)state;
    check_vectors("llama2-style");
}

static void metaspace_vectors_are_met(void **state)
{
    (void)state;
    check_vectors("metaspace-style");
}

static void unigram_vectors_are_met(void **state)
{
    (void)state;
    check_vectors("unigram-style");
}

/* The prompt of models/NAME/reference.json, BOS included, both ways. */
static void check_model(const char *folder, const char *name, const char *text_key, const char *ids_key)
{
    char path[1024], file[1100];
    qd_error err = { 0 };
    qd_tokenizer *t = open_at(folder, name, path);
    QD_AUTO(qd_json_fini) json_t *reference = NULL;
    snprintf(file, sizeof file, "%s/reference.json", path);
    check_ok(qd_json_read_object(file, FILE_BYTES, 8, &reference, &err));
    assert_true(
        encodes_as(t, json_object_get(reference, text_key), QD_SPECIAL_ADD, json_object_get(reference, ids_key)));
    uint32_t bos = 0;
    assert_true(qd_tokenizer_bos(t, &bos));
    assert_int_equal(bos, json_integer_value(json_array_get(json_object_get(reference, ids_key), 0)));
    qd_tokenizer_destroy(t);
}

static void shared_models_have_their_reference_ids(void **state)
{
    (void)state;
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/models", shared_folder());
    check_model(folder, "novella-1m", "probe_text", "probe_ids");
    check_model(folder, "novella-7m", "probe_text", "probe_ids");
    check_model(folder, "novella-15m", "probe_text", "probe_ids");
    check_model(folder, "stories260K", "prompt", "prompt_ids");
}

/* Processor seconds to encode FILE (others may share the machine); *out_count its tokens. */
static double time_corpus(const qd_tokenizer *t, const char *path, qd_split split, size_t *out_count)
{
    qd_error err = { 0 };
    QD_AUTO(qd_corpus_fini) qd_corpus corpus = { 0 };
    clock_t start = clock();
    check_ok(qd_corpus_read(t, path, &(qd_corpus_way){ .split = split, .limit = FILE_BYTES }, &corpus, &err));
    *out_count = corpus.ids.count;
    return (double)(clock() - start) / CLOCKS_PER_SEC;
}

/* Protocol of models/README.md: BOS + ids, windows of 512, 511 predictions each: heldout_tokens of reference.json. */
static void check_middlemarch(const char *name, size_t heldout_tokens)
{
    char path[1024], file[1100];
    snprintf(file, sizeof file, "models/%s", name);
    qd_tokenizer *t = open_at(shared_folder(), file, path);
    snprintf(file, sizeof file, "%s/data/text/middlemarch.txt", shared_folder());
    for (int split = QD_SPLIT_WHOLE; split <= QD_SPLIT_LINES; split++) {
        size_t count;
        double seconds = time_corpus(t, file, (qd_split)split, &count);
        print_message("# %s, middlemarch.txt, %s: %zu tokens in %.3f s\n", name, qd_split_name((size_t)split), count,
                      seconds);
        if (split == QD_SPLIT_LINES)
            assert_int_equal((count + 1) / 512 * 511, heldout_tokens);
        if (strcmp(QD_SANITIZERS, "no") == 0)
            assert_true(seconds < 2.0);
    }
    qd_tokenizer_destroy(t);
}

static void middlemarch_has_its_token_counts_and_takes_under_two_seconds(void **state)
{
    (void)state;
    check_middlemarch("novella-1m", 553924);
    check_middlemarch("novella-7m", 496692);
    check_middlemarch("novella-15m", 453768);
}

int main(void)
{
    if (shared_folder() == NULL) {
        puts("1..0 # SKIP QUANTD_SHARED is not set: no vectors, no larger models, no middlemarch.txt");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt2_vectors_are_met),
        cmocka_unit_test(qwen_vectors_are_met),
        cmocka_unit_test(smollm_vectors_are_met),
        cmocka_unit_test(llama2_vectors_are_met),
        cmocka_unit_test(metaspace_vectors_are_met),
        cmocka_unit_test(unigram_vectors_are_met),
        cmocka_unit_test(shared_models_have_their_reference_ids),
        cmocka_unit_test(middlemarch_has_its_token_counts_and_takes_under_two_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
