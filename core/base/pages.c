/* pages.c: see pages.h. */
#include "base/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/file.h"
#include "base/mem.h"

static qd_code reserve(int fd, const char *folder, size_t size, const char *what, qd_error *err)
{
    int refused = EINTR;
    while (refused == EINTR)
        refused = posix_fallocate(fd, 0, (off_t)size);
    if (refused == 0)
        return QD_OK;
    return qd_fail(err, refused == ENOSPC ? QD_ENOSPC : QD_EIO,
                   "scratch file of %zu bytes for %s: no space left in '%s'", size, what, folder);
}

static qd_code take_memory(qd_scratch_file *file, const char *what, qd_error *err)
{
    void *data = mmap(NULL, file->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return qd_fail(err, QD_ENOMEM, "out of memory: %zu bytes for %s", file->size, what);
    file->data = data;
#ifdef MADV_HUGEPAGE
    (void)madvise(data, file->size, MADV_HUGEPAGE);
#endif
    return QD_OK;
}

qd_code qd_scratch_file_init(qd_scratch_file *file, const char *folder, size_t size, const char *what, qd_error *err)
{
    *file = (qd_scratch_file){ .size = size };
    if (size == 0)
        return QD_OK;
    if (folder == NULL)
        return take_memory(file, what, err);
    QD_AUTO(qd_free_pointer) char *wanted = qd_path_join(folder, "scratch");
    QD_AUTO(qd_free_pointer) char *path = wanted == NULL ? NULL : qd_path_temporary(wanted);
    if (path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    QD_AUTO(qd_close_fd) int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return qd_fail_errno(err, "create '%s'", path);
    unlink(path);
    qd_code code = reserve(fd, folder, size, what, err);
    if (code != QD_OK)
        return code;
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED)
        return qd_fail_errno(err, "map a scratch file of %zu bytes", size);
    file->data = data;
    return qd_dup(folder, &file->folder, err);
}

void qd_scratch_file_fini(qd_scratch_file *file)
{
    if (file->data != NULL)
        munmap(file->data, file->size);
    free(file->folder);
    *file = (qd_scratch_file){ 0 };
}

/* Best effort: advice that is refused changes nothing but what is resident. */
static void advise(const void *from, size_t size, int advice)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)from / page * page;
    if (size > 0)
        (void)madvise((void *)begin, (uintptr_t)from + size - begin, advice);
}

void qd_pages_release(const void *from, size_t size)
{
    advise(from, size, MADV_DONTNEED);
}

void qd_pages_expect(const void *from, size_t size)
{
    advise(from, size, MADV_WILLNEED);
}
