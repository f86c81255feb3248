/* unsigned_codes.c: see unsigned_codes.h. */
#include "export/unsigned_codes.h"

#include "base/mem.h"

int32_t qd_unsigned_offset(const qd_grid *grid, unsigned bits)
{
    return grid->zero_kind == QD_ZERO_NONE ? grid->low + (1 << (bits - 1)) : grid->low;
}

int32_t qd_unsigned_zero(const qd_grid *grid, unsigned bits, size_t row, size_t group)
{
    return grid->zero_kind == QD_ZERO_NONE ? 1 << (bits - 1) : (int32_t)qd_matf_row(grid->zero.view, row)[group];
}

qd_code qd_unsigned_check(const qd_grid *grid, const qd_linear *linear, unsigned bits, qd_error *err)
{
    int32_t offset = qd_unsigned_offset(grid, bits), top = (1 << bits) - 1;
    if (offset < 0 || offset + grid->high - grid->low > top)
        return qd_fail(err, QD_EINTERNAL, "codes %d..%d do not fit %u bits", (int)grid->low, (int)grid->high, bits);
    for (size_t i = 0; grid->zero_kind != QD_ZERO_NONE && i < linear->out * grid->groups; i++) {
        float zero = grid->zero.view.data[i];
        if (!(zero >= 0.0f && zero <= (float)top) || zero != (float)(int)zero)
            return qd_fail(err, QD_EINTERNAL, "zero point %g is not a code of %u bits", (double)zero, bits);
    }
    return QD_OK;
}

static bool group_is_zero(const qd_rounded *rounded, size_t in, size_t o, size_t g)
{
    const qd_grid *grid = rounded->grid;
    size_t end = qd_min_size((g + 1) * grid->group_size, in);
    int32_t zero = (int32_t)qd_matf_row(grid->zero.view, o)[g];
    for (size_t i = g * grid->group_size; i < end; i++)
        if (grid->low + rounded->codes[o * in + i] != zero)
            return false;
    return true;
}

size_t qd_unsigned_lost_scales(const qd_rounded *rounded, const qd_linear *linear, const qd_dtype *dtype,
                               const void *stored)
{
    const qd_grid *grid = rounded->grid;
    size_t lost = 0;
    for (size_t o = 0; o < linear->out; o++)
        for (size_t g = 0; g < grid->groups; g++) {
            float back;
            size_t at = o * grid->groups + g;
            dtype->to_floats((const unsigned char *)stored + at * dtype->bits / 8, 1, &back);
            lost += back != grid->scale.view.data[at] && !group_is_zero(rounded, linear->in, o, g);
        }
    return lost;
}
