/* mutate.h: damaged files by the thousand: sound ones with bits, lengths, numbers and pieces changed.
 * Room: tests. May use: libc.
 * Threads: any; what comes out is a function of the seeds and the number alone. */
#ifndef QD_TESTS_MUTATE_H
#define QD_TESTS_MUTATE_H

#include <stddef.h>
#include <stdint.h>

enum { MUTATE_MOST = 256 << 10 /* bytes of a case */ };

typedef struct mutate_seed {
    uint8_t *bytes;
    size_t size;
} mutate_seed;

typedef enum mutate_head {
    MUTATE_ALL,
    MUTATE_BEHIND_LINE, /* the first line says whose bytes follow: it stays */
} mutate_head;

/* Case `number` of these seeds (count > 0) into out (MUTATE_MOST bytes): its size. */
size_t mutate(const mutate_seed *seeds, size_t count, mutate_head head, uint64_t number, uint8_t *out);

#endif
