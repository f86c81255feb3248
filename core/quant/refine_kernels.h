/* refine_kernels.h: the inner loops of beam search and coordinate descent, and the instruction sets they were compiled for.
 * Room: core/quant, private to refine*.c, its tests and its benchmark. May use: base, linalg.
 * Threads: pure functions on what their arguments hold.
 * Source: algorithms.md §13.1, §13.3.
 *
 * Lanes are the nodes of one row (beam), or neighbouring columns of one row (descent). As in sweep.h, sets with fused multiply-add give the same
 * bits; portable x86-64 code has none, and differs from them in the last bit of the beam's sums. */
#ifndef QD_QUANT_REFINE_KERNELS_H
#define QD_QUANT_REFINE_KERNELS_H

#include "quant/grid.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define QD_REFINE_X86 1
#endif

enum {
    QD_BEAM_BLOCK = 128, /* columns of a block */
    QD_BEAM_LANES = 8,   /* slots of a row are a multiple of that */
};

/* The nodes of one row in a block of columns. Arrays of [column][slots] are of the block, aligned to 64 bytes. */
typedef struct qd_beam_row {
    const qd_grid *grid;
    size_t columns;       /* of the block */
    size_t width;         /* nodes at most */
    size_t slots;         /* `width` rounded up */
    const double *target; /* of each column */
    const double *scale, *zero;
    const double *c; /* C from the block's first row and column on */
    size_t ld;
    size_t alive;    /* nodes */
    double *cost;    /* of each slot */
    double *product; /* [column][slots]: (d C)_j of the node, of the columns before; used up */
    uint8_t *codes;  /* [column][slots], set: code - low of the column's nodes */
    uint8_t *parent; /* [column][slots], set: slot of the node that each came from, in the column before */
} qd_beam_row;

/* One row of a layer whose codes are integers, for the search of the next code that moves. */
typedef struct qd_descent_row {
    size_t columns;
    const double *value, *gradient, *diagonal, *scale, *zero; /* of each column */
    const uint8_t *codes;                                     /* code - low */
    double low, high;
} qd_descent_row;

typedef struct qd_refine_kernel {
    const char *name; /* "portable", "avx2", "avx512" */
    bool (*supported)(void);
    /* Goes through the columns of the block; of equal costs the earlier node stays. */
    void (*expand)(qd_beam_row *row);
    /* product[column][slot] += difference[slot] * c[column] */
    void (*spread)(const qd_beam_row *row, const double *difference, const double *c);
    /* First column from `start` on whose nearest code to value + gradient / diagonal is another, or `columns`. Diagonals that are not positive
     * are passed over. */
    size_t (*next_move)(const qd_descent_row *row, size_t start);
} qd_refine_kernel;
const qd_refine_kernel *qd_refine_kernel_at(size_t index); /* fastest first; NULL past the end */
const qd_refine_kernel *qd_refine_kernel_best(void);       /* fastest this processor has */

extern const qd_refine_kernel qd_refine_portable;
#ifdef QD_REFINE_X86
extern const qd_refine_kernel qd_refine_avx2, qd_refine_avx512;
#endif

#endif
