/* program.c: see program.h. */
#define _GNU_SOURCE
#include "confine/program.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

static int read_at(int fd, void *out, size_t size, uint64_t offset)
{
    return pread(fd, out, size, (off_t)offset) == (ssize_t)size;
}

static qd_code read_name(int fd, const ElfW(Phdr) * part, char **out, qd_error *err)
{
    char name[PATH_MAX] = "";
    if (part->p_filesz >= sizeof name || !read_at(fd, name, part->p_filesz, part->p_offset))
        return QD_OK; /* exec will say what it thinks of it */
    return qd_dup(name, out, err);
}

qd_code qd_program_interpreter(const char *path, char **out, qd_error *err)
{
    ElfW(Ehdr) header;
    ElfW(Phdr) part;
    *out = NULL;
    QD_AUTO(qd_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return qd_fail_errno(err, "open '%s'", path);
    if (!read_at(fd, &header, sizeof header, 0) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
        header.e_phentsize != sizeof part)
        return QD_OK;
    for (unsigned i = 0; i < header.e_phnum; i++)
        if (read_at(fd, &part, sizeof part, header.e_phoff + i * sizeof part) && part.p_type == PT_INTERP)
            return read_name(fd, &part, out, err);
    return QD_OK;
}

typedef struct walk {
    qd_code (*each)(void *ctx, const char *path, qd_error *err);
    void *ctx;
    qd_code code;
    qd_error *err;
} walk;

static int visit(struct dl_phdr_info *info, size_t size, void *ctx)
{
    walk *w = ctx;
    (void)size;
    if (info->dlpi_name != NULL && info->dlpi_name[0] == '/') /* neither the program nor the vdso */
        w->code = w->each(w->ctx, info->dlpi_name, w->err);
    return w->code != QD_OK;
}

qd_code qd_program_libraries(qd_code (*each)(void *ctx, const char *path, qd_error *err), void *ctx, qd_error *err)
{
    walk w = { .each = each, .ctx = ctx, .code = QD_OK, .err = err };
    dl_iterate_phdr(visit, &w);
    return w.code;
}
