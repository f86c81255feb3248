/* fuzz_folder.h: a folder for a fuzz target that reads files; it goes away with the process. Written without fsync: a target runs thousands of
 * times a second.
 * Room: tests. May use: base.
 * Threads: one. */
#ifndef QD_TESTS_FUZZ_FOLDER_H
#define QD_TESTS_FUZZ_FOLDER_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

static char fuzz_folder[64];

static void fuzz_folder_remove(void)
{
    qd_dir_remove(fuzz_folder, NULL);
}

/* Made at the first call. */
static const char *fuzz_folder_path(void)
{
    if (fuzz_folder[0] == '\0') {
        const char *memory = "/dev/shm"; /* no disk in between, where there is one */
        snprintf(fuzz_folder, sizeof fuzz_folder, "%s/quantd-fuzz-XXXXXX", access(memory, W_OK) == 0 ? memory : "/tmp");
        if (mkdtemp(fuzz_folder) == NULL)
            abort();
        atexit(fuzz_folder_remove);
    }
    return fuzz_folder;
}

/* `name` below it, in a folder that is made too. */
static void fuzz_folder_put(const char *name, const void *bytes, size_t size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder_path(), name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        char *slash = strrchr(path, '/');
        *slash = '\0';
        if (qd_dir_make(path, NULL) != QD_OK)
            abort();
        *slash = '/';
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    }
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
        abort();
    close(fd);
}

#endif
