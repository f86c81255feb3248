/* packed.h: texts as tests pack them: gzip and zstd by the libraries themselves, in as many pieces as a test likes. */
#ifndef QD_TESTS_PACKED_H
#define QD_TESTS_PACKED_H

#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/str.h"

/* One member. */
static inline void add_gzip(const char *bytes, size_t length, int level, qd_str *out)
{
    z_stream z = { 0 };
    size_t room = length + length / 100 + 200;
    unsigned char *packed = malloc(room);
    assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)bytes;
    z.avail_in = (uInt)length;
    z.next_out = packed;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    qd_str_add_bytes(out, packed, room - z.avail_out);
    deflateEnd(&z);
    free(packed);
}

/* One frame, with a checksum. */
static inline void add_zstd(const char *bytes, size_t length, int level, qd_str *out)
{
    size_t room = ZSTD_compressBound(length);
    char *packed = malloc(room);
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    size_t count = ZSTD_compress2(context, packed, room, bytes, length);
    assert_false(ZSTD_isError(count));
    qd_str_add_bytes(out, packed, count);
    ZSTD_freeCCtx(context);
    free(packed);
}

/* A file of this process that holds `bytes`; its name stays the same. */
static inline const char *packed_file(const void *bytes, size_t length)
{
    static char path[64];
    snprintf(path, sizeof path, "test_packed.%d.tmp", (int)getpid());
    FILE *file = fopen(path, "wbe"); /* thousands of them: nothing is synced */
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    fclose(file);
    return path;
}

#endif
