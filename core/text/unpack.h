/* unpack.h: the bytes of a text file, out of gzip or zstd where its first bytes say that it is one.
 * Room: core/text, private to it. May use: base, zlib, libzstd.
 * Threads: belongs to one thread.
 * Source: RFC 1952 (members that follow each other are one file, and so are frames), RFC 8878. */
#ifndef QD_TEXT_UNPACK_H
#define QD_TEXT_UNPACK_H

#include <stddef.h>

#include "base/error.h"

typedef enum qd_packing { QD_PACKING_NONE, QD_PACKING_GZIP, QD_PACKING_ZSTD } qd_packing;
const char *qd_packing_name(size_t index); /* "none", "gzip", "zstd"; NULL past the end */

typedef struct qd_unpacker qd_unpacker;

/* Takes the descriptor over, a pipe's too, and closes it also when it fails. limit: unpacked bytes at most; the file that has more is
 * QD_ETOOBIG as soon as they are read. */
qd_code qd_unpack_open(int fd, size_t limit, qd_unpacker **out, qd_error *err);
void qd_unpack_close(qd_unpacker *unpacker); /* NULL is fine */
qd_packing qd_unpack_packing(const qd_unpacker *unpacker);

/* The next bytes, as many as are at hand, at most `capacity` > 0; *out_count 0 = the end. QD_EFORMAT: cut off, damaged (both kinds carry
 * checksums), or followed by something else. */
qd_code qd_unpack_read(qd_unpacker *unpacker, void *out, size_t capacity, size_t *out_count, qd_error *err);

#endif
