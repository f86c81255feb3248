/* peek_header.h: how long the header of a weight file is, from its first bytes.
 * Room: server/fetch, private to it. May use: base.
 * Threads: pure functions.
 * Source: formats.md §1.2 (safetensors), §6.1 (GGUF). */
#ifndef QD_FETCH_PEEK_HEADER_H
#define QD_FETCH_PEEK_HEADER_H

#include <stddef.h>
#include <stdint.h>

enum { QD_PEEK_HEADER_LIMIT = 256 << 20 };

/* Given the first `have` bytes: a result <= have is the header's length; a larger one is how many bytes are wanted before more can be told. What is
 * no such file, or has a header beyond what is read, counts as whole: the file's reader says what is wrong with it. */
typedef uint64_t (*qd_header_rule)(const unsigned char *bytes, size_t have);
uint64_t qd_header_of_safetensors(const unsigned char *bytes, size_t have);
uint64_t qd_header_of_gguf(const unsigned char *bytes, size_t have);

#endif
