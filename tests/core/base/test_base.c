/* test_base.c: errors, strings, files, digests, JSON helpers. */
#include "check.h"
#include "folder.h"

#include <sys/stat.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"

static void context_reads_outside_in(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_code code = qd_fail(&err, QD_ENUMERIC, "pivot %d of %d is not positive", 2, 3);
    code = qd_within(&err, code, "cholesky");
    code = qd_within(&err, code, "layer '%s'", "mlp.up");
    assert_int_equal(code, QD_ENUMERIC);
    assert_string_equal(err.text, "layer 'mlp.up': cholesky: pivot 2 of 3 is not positive");
    assert_int_equal(qd_within(NULL, qd_fail(NULL, QD_EIO, "x"), "y"), QD_EIO);
}

static void long_error_texts_are_cut_not_overrun(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char text[2000];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    qd_code code = qd_fail(&err, QD_EINVAL, "%s", text);
    for (int i = 0; i < 5; i++)
        qd_within(&err, code, "%s", text);
    assert_true(strlen(err.text) < sizeof err.text);
}

static void error_texts_are_printable_utf8_whatever_names_hold(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char name[700];
    qd_fail(&err, QD_EINVAL, "'a\n\x1b[31m\xff\xc3' '\xc3\xa9'");
    assert_string_equal(err.text, "'a?"
                                  "?[31m?"
                                  "?' '\xc3\xa9'");
    for (size_t i = 0; i + 2 < sizeof name; i += 2)
        memcpy(name + i, "\xc3\xa9", 3);
    qd_fail(&err, QD_EINVAL, "%s", name); /* room for 599 bytes: the last character is cut in two */
    json_t *text = json_string(err.text);
    assert_non_null(text);
    json_decref(text);
}

static void a_negative_size_is_shown(void **state)
{
    (void)state;
    qd_error err = { 0 };
    size_t size = 0;
    json_t *object = json_pack("{s:i}", "hidden_size", -7);
    check_fails(qd_json_size(object, "hidden_size", 0, &size, &err), QD_EFORMAT);
    check_contains(err.text, "-7");
    json_decref(object);
}

static void allocation_overflow_is_an_error(void **state)
{
    (void)state;
    qd_error err = { 0 };
    void *p = NULL;
    check_fails(qd_alloc(SIZE_MAX / 2, 3, &p, &err), QD_ENOMEM);
    check_fails(qd_alloc(1, SIZE_MAX - 3, &p, &err), QD_ENOMEM);
    assert_null(p);
    check_ok(qd_alloc(0, 8, &p, &err));
    assert_non_null(p);
    free(p);
}

static void globs_match_whole_names(void **state)
{
    (void)state;
    assert_true(qd_glob_match("*.down_proj", "model.layers.0.mlp.down_proj"));
    assert_false(qd_glob_match("*.down_proj", "model.layers.0.mlp.down_proj.weight"));
    assert_true(qd_glob_match("a?c*", "abcd"));
    assert_true(qd_glob_match("*", ""));
    assert_false(qd_glob_match("?", ""));
    assert_true(qd_glob_match("*a*b*a", "xxaabbaa"));
}

static void blanks_around_a_text_go(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        { "a b", "a b" }, { " \t a b\r", "a b" }, { "", "" }, { " \t\r ", "" }, { "a\n ", "a\n" },
    };
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        char text[16];
        snprintf(text, sizeof text, "%s", rows[i][0]);
        assert_string_equal(qd_trim(text), rows[i][1]);
    }
}

static void files_are_written_whole_or_not_at_all(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char folder[150], path[200], deep[200], inner[210];
    temporary_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(deep, sizeof deep, "%s/a/b/c", folder);
    check_ok(qd_file_write(path, "one", 3, &err));
    check_ok(qd_file_write(path, "second", 6, &err));
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    check_ok(qd_file_read(path, 100, &text, &err));
    assert_string_equal(qd_str_borrow(&text), "second");
    check_fails(qd_file_read(path, 5, &text, &err), QD_ETOOBIG);
    check_ok(qd_dir_make(deep, &err));
    check_ok(qd_dir_make(deep, &err));
    struct stat before, after;
    assert_int_equal(stat(deep, &before), 0);
    snprintf(inner, sizeof inner, "%s/inner", deep);
    check_ok(qd_dir_make(inner, &err));
    check_ok(qd_dir_make_empty(deep, &err)); /* the folder itself stays, what is in it goes */
    assert_false(qd_path_exists(inner));
    assert_int_equal(stat(deep, &after), 0);
    assert_true(before.st_ino == after.st_ino);
    check_ok(qd_dir_make_empty(inner, &err)); /* made where there is none */
    assert_true(qd_path_is_folder(inner));
    check_fails(qd_file_write("/nonexistent-folder/x", "1", 1, &err), QD_ENOTFOUND);
    char **names = NULL;
    size_t count = 0;
    check_ok(qd_dir_list(folder, &names, &count, &err));
    assert_int_equal(count, 2); /* no temporary name is left */
    assert_string_equal(names[0], "a");
    qd_names_free(names, count);
    QD_AUTO(qd_map_fini) qd_map map = { 0 };
    check_fails(qd_map_open(folder, &map, &err), QD_EFORMAT);
    check_ok(qd_dir_remove(folder, &err));
    assert_false(qd_path_exists(folder));
    check_ok(qd_dir_remove(folder, &err));
}

static void fifos_are_refused_without_hanging(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char folder[150], path[200];
    temporary_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/fifo", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    QD_AUTO(qd_map_fini) qd_map map = { 0 };
    check_fails(qd_map_open(path, &map, &err), QD_EFORMAT);
    check_ok(qd_dir_remove(folder, &err));
}

static void digests_match_published_vectors(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char hex[QD_DIGEST_HEX];
    check_ok(qd_sha256("abc", 3, hex, &err));
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    QD_AUTO(qd_digest_fini) qd_digest digest = { 0 };
    check_ok(qd_digest_init(&digest, QD_SHA1, &err));
    check_ok(qd_digest_add(&digest, "blob 0\0", 7, &err)); /* git's empty blob */
    qd_digest_hex(&digest, hex);
    assert_string_equal(hex, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
}

/* transformers writes int(1e30) so; other files are refused for it. */
static void integers_beyond_64_bits_are_reals_where_they_are_let_in(void **state)
{
    (void)state;
    qd_error err = { 0 };
    static const char text[] =
        "{\"a\":1000000000000000019884624838656,\"b\":[-12345678901234567890,123456789012345678,1.5e3,-7,"
        "12345678901234567890.25],\"12345678901234567890\":\"12345678901234567890\"}";
    QD_AUTO(qd_json_fini) json_t *object = NULL;
    check_fails(qd_json_parse_object(text, strlen(text), 4, &object, &err), QD_EFORMAT);
    check_contains(err.text, "too big integer");
    check_ok(qd_json_parse_object_wide(text, strlen(text), 4, &object, &err));
    const json_t *b = json_object_get(object, "b");
    check_close(json_real_value(json_object_get(object, "a")), 1e30, 1e-15);
    check_close(json_real_value(json_array_get(b, 0)), -12345678901234567890.0, 1e-15);
    assert_int_equal(json_integer_value(json_array_get(b, 1)), 123456789012345678);
    check_near(json_real_value(json_array_get(b, 2)), 1500, 0);
    assert_int_equal(json_integer_value(json_array_get(b, 3)), -7);
    check_close(json_real_value(json_array_get(b, 4)), 12345678901234567890.25, 1e-15);
    assert_string_equal(json_string_value(json_object_get(object, "12345678901234567890")), "12345678901234567890");
    static const char *const bad[] = { "{\"a\":12345678901234567890-1}", "{\"a\":", "", "{\"a\":-}",
                                       "{\"a\":01234567890123456789012}" };
    for (size_t i = 0; i < QD_LENGTH(bad); i++) {
        json_t *none = NULL;
        check_fails(qd_json_parse_object_wide(bad[i], strlen(bad[i]), 4, &none, &err), QD_EFORMAT);
    }
}

static void json_helpers_name_the_field(void **state)
{
    (void)state;
    qd_error err = { 0 };
    QD_AUTO(qd_json_fini) json_t *object = NULL;
    const char *text = "{\"n\": 3, \"bad\": -1, \"none\": null, \"s\": \"x\"}";
    check_ok(qd_json_parse_object(text, strlen(text), 4, &object, &err));
    size_t n = 0;
    check_ok(qd_json_size(object, "n", 7, &n, &err));
    assert_int_equal(n, 3);
    check_ok(qd_json_size(object, "none", 7, &n, &err));
    assert_int_equal(n, 7);
    check_fails(qd_json_size(object, "bad", 7, &n, &err), QD_EFORMAT);
    check_contains(err.text, "'bad'");
    check_fails(qd_json_size(object, "s", 7, &n, &err), QD_EFORMAT);
    check_contains(err.text, "a string");
}

static void json_refuses_duplicates_depth_and_trailing_text(void **state)
{
    (void)state;
    qd_error err = { 0 };
    json_t *object = NULL;
    check_fails(qd_json_parse_object("{\"a\":1,\"a\":2}", 13, 4, &object, &err), QD_EFORMAT);
    check_fails(qd_json_parse_object("{\"a\":[[[[1]]]]}", 15, 4, &object, &err), QD_EFORMAT);
    check_contains(err.text, "4 levels");
    check_fails(qd_json_parse_object("{} x", 4, 4, &object, &err), QD_EFORMAT);
    check_fails(qd_json_parse_object("[]", 2, 4, &object, &err), QD_EFORMAT);
}

static void random_numbers_are_a_function_of_key_and_counter(void **state)
{
    (void)state;
    uint64_t key = qd_rng_key(1, 2, 3);
    assert_true(key == qd_rng_key(1, 2, 3));
    assert_true(key != qd_rng_key(1, 3, 2));
    double sum = 0, square = 0;
    enum { DRAWS = 100000 };
    for (uint64_t i = 0; i < DRAWS; i++) {
        double u = qd_rng_uniform(key, i);
        assert_true(u >= 0 && u < 1);
        sum += u;
        square += u * u;
    }
    check_near(sum / DRAWS, 0.5, 5 * 0.2887 / sqrt(DRAWS));
    check_near(square / DRAWS, 1.0 / 3, 5 * 0.2981 / sqrt(DRAWS));
    for (uint64_t i = 0; i < 1000; i++)
        assert_true(qd_rng_below(key, i, 7) < 7);
}

static void times_are_rfc3339(void **state)
{
    (void)state;
    char text[QD_TIME_TEXT];
    qd_clock_format(INT64_C(951782400123), text);
    assert_string_equal(text, "2000-02-29T00:00:00.123Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(context_reads_outside_in),
        cmocka_unit_test(long_error_texts_are_cut_not_overrun),
        cmocka_unit_test(error_texts_are_printable_utf8_whatever_names_hold),
        cmocka_unit_test(a_negative_size_is_shown),
        cmocka_unit_test(allocation_overflow_is_an_error),
        cmocka_unit_test(globs_match_whole_names),
        cmocka_unit_test(blanks_around_a_text_go),
        cmocka_unit_test(files_are_written_whole_or_not_at_all),
        cmocka_unit_test(fifos_are_refused_without_hanging),
        cmocka_unit_test(digests_match_published_vectors),
        cmocka_unit_test(json_helpers_name_the_field),
        cmocka_unit_test(integers_beyond_64_bits_are_reals_where_they_are_let_in),
        cmocka_unit_test(json_refuses_duplicates_depth_and_trailing_text),
        cmocka_unit_test(random_numbers_are_a_function_of_key_and_counter),
        cmocka_unit_test(times_are_rfc3339),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
