/* folder.h: folders that go away.
 * Room: tests. May use: base.
 * Threads: any. */
#ifndef QD_TESTS_FOLDER_H
#define QD_TESTS_FOLDER_H

#include "check.h"

#include "base/file.h"

/* A new folder below $TMPDIR, or else below `parent`; out is its path. */
static inline char *temporary_folder_in(const char *parent, char *out, size_t size)
{
    const char *chosen = getenv("TMPDIR");
    snprintf(out, size, "%s/quantd-test-XXXXXX", chosen == NULL ? parent : chosen);
    assert_non_null(mkdtemp(out));
    return out;
}

static inline char *temporary_folder(char *out, size_t size)
{
    return temporary_folder_in("/tmp", out, size);
}

static inline void remove_folder(const char *path)
{
    qd_error err = { 0 };
    check_ok(qd_dir_remove(path, &err));
}

#endif
