/* test_pages.c: scratch files keep what was written, whatever of them is resident. */
#include "check.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/mem.h"
#include "base/pages.h"

enum { SIZE = 8 << 20 };

static void what_is_given_back_is_still_there(void **state)
{
    (void)state;
    char folder[] = "/tmp/quantd-pages-XXXXXX";
    qd_error err = { 0 };
    QD_AUTO(qd_scratch_file_fini) qd_scratch_file file = { 0 };
    assert_non_null(mkdtemp(folder));
    check_ok(qd_scratch_file_init(&file, folder, SIZE, "numbers", &err));
    assert_int_equal(rmdir(folder), 0); /* no name is left in it */
    uint64_t *values = file.data, before = qd_resident_bytes();
    for (size_t i = 0; i < SIZE / sizeof *values; i++) {
        assert_int_equal(values[i], 0);
        values[i] = i * i;
    }
    uint64_t full = qd_resident_bytes();
    assert_true(full - before > SIZE / 2);
    qd_pages_release(values + 3, SIZE - 24); /* no whole number of pages */
    assert_true(qd_resident_bytes() < before + SIZE / 4);
    qd_pages_expect(values, SIZE);
    for (size_t i = 0; i < SIZE / sizeof *values; i++)
        assert_int_equal(values[i], i * i);
}

static void without_a_folder_it_is_memory(void **state)
{
    (void)state;
    qd_error err = { 0 };
    QD_AUTO(qd_scratch_file_fini) qd_scratch_file file = { 0 };
    check_ok(qd_scratch_file_init(&file, NULL, SIZE, "numbers", &err));
    assert_null(file.folder);
    uint64_t *values = file.data;
    for (size_t i = 0; i < SIZE / sizeof *values; i++) {
        assert_int_equal(values[i], 0);
        values[i] = i * i;
    }
    qd_scratch_file_fini(&file);
    assert_null(file.data);
    assert_int_equal(qd_scratch_file_init(&file, NULL, (size_t)1 << 62, "numbers", &err), QD_ENOMEM);
    assert_non_null(strstr(err.text, "for numbers"));
}

static void what_cannot_be_reserved_is_refused(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_scratch_file file = { 0 };
    assert_int_equal(qd_scratch_file_init(&file, "/tmp", (size_t)1 << 62, "numbers", &err), QD_EIO);
    assert_non_null(strstr(err.text, "for numbers"));
    assert_null(file.data);
    assert_int_not_equal(qd_scratch_file_init(&file, "/tmp/quantd-no-such-folder", 4096, "numbers", &err), QD_OK);
    check_ok(qd_scratch_file_init(&file, "/tmp", 0, "numbers", &err));
    qd_scratch_file_fini(&file);
}

/* Zeros that nothing touched take no memory, also where memory is used again. */
static void large_blocks_are_zero_and_not_resident_before_they_are_touched(void **state)
{
    (void)state;
    qd_error err = { 0 };
    for (size_t round = 0; round < 4; round++) {
        void *memory = NULL;
        uint64_t before = qd_resident_bytes();
        check_ok(qd_alloc(8 * SIZE, 1, &memory, &err));
        assert_true(qd_resident_bytes() < before + SIZE);
        for (size_t i = 0; i < 8 * SIZE; i += 1000)
            assert_int_equal(((const char *)memory)[i], 0);
        memset(memory, 0xa5, 8 * SIZE);
        free(memory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_given_back_is_still_there),
        cmocka_unit_test(without_a_folder_it_is_memory),
        cmocka_unit_test(what_cannot_be_reserved_is_refused),
        cmocka_unit_test(large_blocks_are_zero_and_not_resident_before_they_are_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
