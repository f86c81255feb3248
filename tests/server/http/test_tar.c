/* test_tar.c: the parts of a tar file, judged by tar itself: names of every length, sizes beyond what octal digits hold. */
#include "check.h"
#include "folder.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "http/tar.h"

/* A name of so many bytes, cut by '/' after each `part`. */
static void make_name(size_t length, size_t part, char *out)
{
    for (size_t i = 0; i < length; i++)
        out[i] = (i + 1) % (part + 1) == 0 && i + 1 < length ? '/' : (char)('a' + i % 26);
    out[length] = '\0';
}

/* What `tar -tv` prints of an archive with one file of `size` bytes (a hole). */
static void list(const char *name, uint64_t size, char *out, size_t room)
{
    char folder[256], path[300], command[400];
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str prefix = { 0 };
    temporary_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/a.tar", folder);
    qd_tar_add_prefix(&prefix, name, size, 86400);
    assert_int_equal(prefix.length % QD_TAR_BLOCK, 0);
    check_ok(qd_file_write(path, prefix.data, prefix.length, &err));
    assert_int_equal(truncate(path, (off_t)(prefix.length + size + qd_tar_padding(size) + QD_TAR_END)), 0);
    snprintf(command, sizeof command, "TZ=UTC LC_ALL=C tar --numeric-owner -tvf %s 2>&1", path);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t length = fread(out, 1, room - 1, pipe);
    out[length] = '\0';
    assert_int_equal(pclose(pipe), 0);
    remove_folder(folder);
}

static void check_listed(const char *name, uint64_t size)
{
    char got[2048], want[1200];
    list(name, size, got, sizeof got);
    check_contains(got, "-rw-r--r-- 0/0");
    snprintf(want, sizeof want, " %" PRIu64 " 1970-01-02 00:00 %s\n", size, name);
    check_contains(got, want);
}

static void names_of_every_length_are_told(void **state)
{
    (void)state;
    static const size_t lengths[] = { 1, 99, 100, 101, 155, 156, 200, 255, 256, 257, 300, 511, 512, 513, 1000 };
    static const size_t parts[] = { 10, 100, 101, 154, 155, 156, 2000 };
    for (size_t l = 0; l < QD_LENGTH(lengths); l++)
        for (size_t p = 0; p < QD_LENGTH(parts); p++) {
            char name[1100];
            make_name(lengths[l], parts[p], name);
            check_listed(name, l);
        }
}

static void sizes_beyond_eight_gibibytes_are_told(void **state)
{
    (void)state;
    static const uint64_t sizes[] = { 0, 1, 511, 512, 513, 077777777777, 0100000000000, 20000000001 };
    for (size_t i = 0; i < QD_LENGTH(sizes); i++)
        check_listed("model.safetensors", sizes[i]);
    char name[400];
    make_name(390, 2000, name);
    check_listed(name, 0100000000000);
}

static void files_fill_whole_blocks(void **state)
{
    (void)state;
    for (uint64_t size = 0; size < 2000; size++) {
        assert_true(qd_tar_padding(size) < QD_TAR_BLOCK);
        assert_int_equal((size + qd_tar_padding(size)) % QD_TAR_BLOCK, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_every_length_are_told),
        cmocka_unit_test(sizes_beyond_eight_gibibytes_are_told),
        cmocka_unit_test(files_fill_whole_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
