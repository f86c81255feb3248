/* ballast.c: see ballast.h. */
#include "store/ballast.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/fault.h"

static const uint64_t full_size = 64 << 20;

/* A small disk gets a small ballast: it must never be what fills it. */
static uint64_t wanted_size(const struct statvfs *disk)
{
    uint64_t whole = (uint64_t)disk->f_blocks * disk->f_frsize / 16;
    uint64_t free_part = (uint64_t)disk->f_bavail * disk->f_frsize / 16;
    uint64_t size = whole < free_part ? whole : free_part;
    return size < full_size ? size : full_size;
}

void qd_ballast_restore(const char *path)
{
    struct stat info;
    if (stat(path, &info) == 0)
        return;
    QD_AUTO(qd_close_fd) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    struct statvfs disk;
    if (fd < 0)
        return;
    uint64_t size = fstatvfs(fd, &disk) == 0 ? wanted_size(&disk) : 0;
    if (size < 16384 || QD_FAULT_FAILS("ballast.make") || posix_fallocate(fd, 0, (off_t)size) != 0)
        unlink(path);
}

bool qd_ballast_release(const char *path)
{
    QD_FAULT("ballast.release");
    return unlink(path) == 0;
}
