/* tar.c: see tar.h. */
#include "http/tar.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

typedef struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8];
    char type, link[100], magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], rest[12];
} header;
_Static_assert(sizeof(header) == QD_TAR_BLOCK, "a header is one block");

/* What 11 octal digits hold: 8 GiB less a byte. */
static const uint64_t size_max = 077777777777;

uint64_t qd_tar_padding(uint64_t size)
{
    return (QD_TAR_BLOCK - size % QD_TAR_BLOCK) % QD_TAR_BLOCK;
}

/* Octal digits and a NUL fill the field. */
static void set_number(char *field, size_t width, uint64_t value)
{
    field[--width] = '\0';
    while (width > 0) {
        field[--width] = (char)('0' + (value & 7));
        value >>= 3;
    }
}

/* The last place at which the path may be cut into prefix and name; NULL = it does not fit. */
static const char *find_cut(const char *path)
{
    const header *h = NULL;
    for (const char *slash = strrchr(path, '/'); slash != NULL && slash > path;) {
        if (strlen(slash + 1) > sizeof h->name)
            return NULL;
        if ((size_t)(slash - path) <= sizeof h->prefix)
            return slash;
        while (--slash > path && *slash != '/')
            continue;
    }
    return NULL;
}

/* Cuts a path that does not fit: whoever reads the extended header does not see it. */
static void set_path(header *h, const char *path)
{
    size_t length = strlen(path);
    const char *cut = length > sizeof h->name ? find_cut(path) : NULL;
    if (cut != NULL) {
        memcpy(h->prefix, path, (size_t)(cut - path));
        memcpy(h->name, cut + 1, strlen(cut + 1));
    } else
        memcpy(h->name, path, qd_min_size(length, sizeof h->name));
}

static void set_checksum(header *h)
{
    uint64_t sum = 0;
    memset(h->checksum, ' ', sizeof h->checksum);
    for (size_t i = 0; i < sizeof *h; i++)
        sum += ((const unsigned char *)h)[i];
    set_number(h->checksum, sizeof h->checksum - 1, sum);
}

static void add_header(qd_str *out, char type, const char *path, uint64_t size, int64_t mtime_seconds)
{
    header h = { .type = type, .magic = "ustar", .version = { '0', '0' } };
    set_path(&h, path);
    set_number(h.mode, sizeof h.mode, 0644);
    set_number(h.uid, sizeof h.uid, 0);
    set_number(h.gid, sizeof h.gid, 0);
    set_number(h.size, sizeof h.size, size > size_max ? 0 : size);
    set_number(h.mtime, sizeof h.mtime, (uint64_t)mtime_seconds);
    set_number(h.major, sizeof h.major, 0);
    set_number(h.minor, sizeof h.minor, 0);
    set_checksum(&h);
    qd_str_add_bytes(out, &h, sizeof h);
}

/* "LENGTH key=value\n", where LENGTH counts itself. */
static void add_record(qd_str *out, const char *key, const char *value)
{
    size_t rest = strlen(key) + strlen(value) + 3, length = rest + 1;
    char digits[24];
    while (rest + (size_t)snprintf(digits, sizeof digits, "%zu", length) != length)
        length = rest + strlen(digits);
    qd_str_addf(out, "%zu %s=%s\n", length, key, value);
}

void qd_tar_add_prefix(qd_str *out, const char *path, uint64_t size, int64_t mtime_seconds)
{
    static const char zeros[QD_TAR_BLOCK];
    QD_AUTO(qd_str_fini) qd_str records = { 0 };
    char number[24];
    if (strlen(path) > sizeof((header *)NULL)->name && find_cut(path) == NULL)
        add_record(&records, "path", path);
    if (size > size_max) {
        snprintf(number, sizeof number, "%" PRIu64, size);
        add_record(&records, "size", number);
    }
    if (records.length > 0) {
        add_header(out, 'x', "PaxHeader", records.length, mtime_seconds);
        qd_str_add_bytes(out, records.data, records.length);
        qd_str_add_bytes(out, zeros, (size_t)qd_tar_padding(records.length));
    }
    add_header(out, '0', path, size, mtime_seconds);
    out->failed |= records.failed;
}
