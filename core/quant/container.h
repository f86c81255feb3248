/* container.h: grids as containers of their own store them: scales of either sign, beside an offset, or whole multiples of a unit.
 * Room: core/quant. May use: base, linalg.
 * Threads: pure functions; a row's scales are written by one task.
 * Source: formats.md §6.5, §6.6. Such a grid has to be what the container holds before a sweep rounds to it, so scales, signs, offsets and units
 * are chosen here, by the (weighted) squared error of rounding to nearest, from where the scale rule begins. */
#ifndef QD_QUANT_CONTAINER_H
#define QD_QUANT_CONTAINER_H

#include "quant/grid.h"

enum { QD_CONTAINER_BLOCK = 16 }; /* groups of a block, at most */

/* Offsets and units of a grid that has scales and zeros; nothing for types without. */
qd_code qd_container_allocate(const qd_scale_type *type, size_t rows, qd_grid *grid, qd_error *err);
/* Scales, zeros, offsets and units of one row of w (O x I), of a type that searches. importance: as qd_grid_build, used where the rule uses it.
 * reversed: room for a group's weights. */
void qd_container_row(const qd_grid_spec *spec, qd_cmatf w, const double *importance, size_t row, float *reversed,
                      qd_grid *grid);
/* The power of two that a layer's scales are multiples of, so that the largest is near the top of the type. */
float qd_container_layer_unit(const qd_grid_spec *spec, qd_cmatf w);

/* What is stored where `scale` is wanted: > 0, beside the unit that the group has. A value past the type's range is infinite, of multiples the
 * largest. */
float qd_container_scale(const qd_scale_type *type, const qd_grid *grid, size_t row, size_t group, double scale);
/* The zero that is stored where `zero` is wanted beside a stored scale, and the offset it is stored as (0 where there is none). */
float qd_container_zero(const qd_scale_type *type, const qd_grid *grid, size_t row, size_t group, float scale,
                        double zero, float *out_offset);
/* Does the grid have the offsets and units that the type stores? A container of plain scales keeps none. */
bool qd_container_keeps(const qd_scale_type *type, const qd_grid *grid);
/* Is every scale, zero, offset and unit one that the type stores? QD_EINVAL names the first that is not. */
qd_code qd_container_check(const qd_scale_type *type, const qd_grid *grid, qd_error *err);

#endif
