/* test_corpus.c: texts cut into documents, ids cut into windows (reference-numbers.md §1). */
#include "tiny.h"

#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "text/corpus.h"

static qd_tokenizer *letters(void)
{
    return tiny_open((tiny){ .vocab = "\"a\":0,\"b\":1,\"\\n\":2,\"ab\":3,\"b\\n\":4,\"\\na\":5",
                             .merges = "[\"\\n\",\"a\"],[\"a\",\"b\"],[\"b\",\"\\n\"]" });
}

static const char *write_text(const char *text, size_t length)
{
    static char path[64];
    qd_error err = { 0 };
    snprintf(path, sizeof path, "test_corpus.%d.txt", (int)getpid());
    check_ok(qd_file_write(path, text, length, &err));
    return path;
}

static void expect_corpus(const char *text, qd_split split, const uint32_t *want, size_t count)
{
    qd_error err = { 0 };
    QD_AUTO(qd_corpus_fini) qd_corpus corpus = { 0 };
    qd_tokenizer *t = letters();
    const char *path = write_text(text, strlen(text));
    check_ok(qd_corpus_read(t, path, &(qd_corpus_way){ .split = split, .limit = 100 }, &corpus, &err));
    assert_int_equal(corpus.ids.count, count);
    assert_memory_equal(corpus.ids.data, want, count * sizeof *want);
    unlink(path);
    qd_tokenizer_destroy(t);
}

static void whole_sees_across_newlines_and_lines_does_not(void **state)
{
    (void)state;
    expect_corpus("ab\na", QD_SPLIT_WHOLE, (const uint32_t[]){ 3, 5 }, 2);
    expect_corpus("ab\na", QD_SPLIT_LINES, (const uint32_t[]){ 3, 2, 0, 2 }, 4);
    expect_corpus("ab\na\n", QD_SPLIT_LINES, (const uint32_t[]){ 3, 2, 0, 2 }, 4);
}

static void empty_lines_give_the_id_of_the_newline(void **state)
{
    (void)state;
    expect_corpus("a\n\n\nb\n", QD_SPLIT_LINES, (const uint32_t[]){ 0, 2, 2, 2, 4 }, 5);
}

/* reference-numbers.md §2: 232,282 calibration ids of novella-1m. */
static void the_calibration_text_has_its_reference_count(void **state)
{
    (void)state;
    char path[1024];
    qd_error err = { 0 };
    qd_tokenizer *t = NULL;
    QD_AUTO(qd_corpus_fini) qd_corpus corpus = { 0 };
    check_ok(qd_tokenizer_open(SOURCE_PATH(path, "tests/models/novella-1m"), &t, &err));
    SOURCE_PATH(path, "tests/texts/novella-calibration.txt");
    check_ok(qd_corpus_read(t, path, &(qd_corpus_way){ .split = QD_SPLIT_LINES, .limit = 1 << 20 }, &corpus, &err));
    assert_int_equal(corpus.ids.count, 232282);
    qd_tokenizer_destroy(t);
}

static void texts_that_are_empty_missing_or_too_long_are_refused(void **state)
{
    (void)state;
    qd_error err = { 0 };
    QD_AUTO(qd_corpus_fini) qd_corpus corpus = { 0 };
    qd_tokenizer *t = letters();
    const char *path = write_text("", 0);
    check_fails(qd_corpus_read(t, path, &(qd_corpus_way){ .split = QD_SPLIT_WHOLE, .limit = 100 }, &corpus, &err),
                QD_EINVAL);
    check_contains(err.text, "empty");
    check_contains(err.text, path);
    path = write_text("abab", 4);
    check_fails(qd_corpus_read(t, path, &(qd_corpus_way){ .split = QD_SPLIT_WHOLE, .limit = 3 }, &corpus, &err),
                QD_ETOOBIG);
    unlink(path);
    check_fails(qd_corpus_read(t, path, &(qd_corpus_way){ .split = QD_SPLIT_WHOLE, .limit = 100 }, &corpus, &err),
                QD_ENOTFOUND);
    assert_int_equal(corpus.ids.count, 0);
    qd_tokenizer_destroy(t);
}

/* ids 100, 101, ...: a window's content tells where it was cut. */
static qd_ids numbered(size_t count)
{
    qd_error err = { 0 };
    qd_ids ids = { 0 };
    for (size_t i = 0; i < count; i++)
        check_ok(qd_ids_add(&ids, (uint32_t)(100 + i), &err));
    return ids;
}

static void even_samples_begin_where_the_formula_says(void **state)
{
    (void)state;
    qd_error err = { 0 };
    QD_AUTO(qd_ids_fini) qd_ids ids = numbered(1003);
    for (int k = 0; k < 3; k++) {
        QD_AUTO(qd_windows_fini) qd_windows w = { 0 };
        qd_window_request request = {
            .count = 64, .length = 51, .sampling = QD_SAMPLING_EVEN, .phase = k / 3.0, .bos = 7
        };
        check_ok(qd_windows_sample(&ids, &request, &w, &err));
        assert_int_equal(w.count, 64);
        assert_int_equal(w.length, 51);
        for (size_t i = 0; i < 64; i++) {
            size_t start = (3 * i + (size_t)k) * (1003 - 51) / (3 * 64); /* floor in integers */
            const uint32_t *window = w.ids + i * 51;
            assert_int_equal(window[0], 7);
            assert_int_equal(window[1], 100 + start);
            assert_int_equal(window[50], 100 + start + 49);
        }
        assert_int_equal(w.tokens_available, 1003);
    }
}

/* Plain twin of the coverage: a mark for every id that stands in a window. */
static size_t distinct_ids(const qd_windows *w, size_t available)
{
    char *seen = calloc(available, 1);
    size_t count = 0;
    for (size_t i = 0; i < w->count * w->length; i++)
        if (w->ids[i] >= 100 && !seen[w->ids[i] - 100]++)
            count++;
    free(seen);
    return count;
}

static void used_tokens_are_those_that_stand_in_some_window(void **state)
{
    (void)state;
    qd_error err = { 0 };
    for (uint64_t seed = 0; seed < 40; seed++) {
        QD_AUTO(qd_windows_fini) qd_windows w = { 0 };
        QD_AUTO(qd_ids_fini) qd_ids ids = numbered(60 + 10 * seed);
        qd_window_request request = { .count = 1 + seed % 9,
                                      .length = 2 + seed,
                                      .seed = seed,
                                      .sampling = seed % 2 == 0 ? QD_SAMPLING_RANDOM : QD_SAMPLING_EVEN,
                                      .bos = seed % 3 == 0 ? -1 : 3 };
        check_ok(qd_windows_sample(&ids, &request, &w, &err));
        assert_int_equal(w.tokens_used, distinct_ids(&w, ids.count));
    }
}

static void random_samples_depend_on_the_seed_alone_and_ascend(void **state)
{
    (void)state;
    qd_error err = { 0 };
    QD_AUTO(qd_ids_fini) qd_ids ids = numbered(5000);
    QD_AUTO(qd_windows_fini) qd_windows a = { 0 }, b = { 0 }, c = { 0 };
    qd_window_request request = { .count = 32, .length = 16, .sampling = QD_SAMPLING_RANDOM, .seed = 5, .bos = -1 };
    check_ok(qd_windows_sample(&ids, &request, &a, &err));
    check_ok(qd_windows_sample(&ids, &request, &b, &err));
    request.seed = 6;
    check_ok(qd_windows_sample(&ids, &request, &c, &err));
    assert_memory_equal(a.ids, b.ids, 32 * 16 * sizeof *a.ids);
    assert_memory_not_equal(a.ids, c.ids, 32 * 16 * sizeof *a.ids);
    for (size_t i = 1; i < 32; i++)
        assert_true(a.ids[i * 16] >= a.ids[(i - 1) * 16]);
}

static void a_text_of_exactly_one_window_is_enough(void **state)
{
    (void)state;
    qd_error err = { 0 };
    QD_AUTO(qd_ids_fini) qd_ids ids = numbered(8);
    QD_AUTO(qd_windows_fini) qd_windows w = { 0 }, none = { 0 };
    for (int sampling = QD_SAMPLING_EVEN; sampling <= QD_SAMPLING_RANDOM; sampling++) {
        qd_windows_fini(&w);
        qd_window_request request = { .count = 3, .length = 8, .sampling = (qd_sampling)sampling, .bos = -1 };
        check_ok(qd_windows_sample(&ids, &request, &w, &err));
        assert_memory_equal(w.ids + 16, ids.data, 8 * sizeof *ids.data);
        request.length = 9;
        check_fails(qd_windows_sample(&ids, &request, &none, &err), QD_EINVAL);
        check_contains(err.text, "8");
        check_contains(err.text, "9");
    }
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    qd_error err = { 0 };
    QD_AUTO(qd_ids_fini) qd_ids ids = numbered(100);
    qd_windows w = { 0 };
    const qd_window_request good = { .count = 2, .length = 4, .bos = -1 };
    qd_window_request bad = good;
    bad.count = 0;
    check_fails(qd_windows_sample(&ids, &bad, &w, &err), QD_EINVAL);
    bad = good;
    bad.length = 1;
    check_fails(qd_windows_sample(&ids, &bad, &w, &err), QD_EINVAL);
    bad = good;
    bad.phase = 1.0;
    check_fails(qd_windows_sample(&ids, &bad, &w, &err), QD_EINVAL);
    bad.phase = (double)NAN;
    check_fails(qd_windows_sample(&ids, &bad, &w, &err), QD_EINVAL);
    bad = good;
    bad.bos = INT64_C(1) << 40;
    check_fails(qd_windows_sample(&ids, &bad, &w, &err), QD_EINVAL);
    assert_null(w.ids);
}

static void names_and_values_are_one_table(void **state)
{
    (void)state;
    for (size_t i = 0; qd_split_name(i) != NULL; i++)
        assert_int_equal(qd_split_find(qd_split_name(i)), i);
    for (size_t i = 0; qd_sampling_name(i) != NULL; i++)
        assert_int_equal(qd_sampling_find(qd_sampling_name(i)), i);
    assert_int_equal(qd_split_find("lines"), QD_SPLIT_LINES);
    assert_int_equal(qd_sampling_find("random"), QD_SAMPLING_RANDOM);
    assert_int_equal(qd_split_find("Lines"), -1);
    assert_int_equal(qd_sampling_find(""), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_sees_across_newlines_and_lines_does_not),
        cmocka_unit_test(empty_lines_give_the_id_of_the_newline),
        cmocka_unit_test(the_calibration_text_has_its_reference_count),
        cmocka_unit_test(texts_that_are_empty_missing_or_too_long_are_refused),
        cmocka_unit_test(even_samples_begin_where_the_formula_says),
        cmocka_unit_test(used_tokens_are_those_that_stand_in_some_window),
        cmocka_unit_test(random_samples_depend_on_the_seed_alone_and_ascend),
        cmocka_unit_test(a_text_of_exactly_one_window_is_enough),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(names_and_values_are_one_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
