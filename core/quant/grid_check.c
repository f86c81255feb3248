/* grid_check.c: which alphabets, zeros, widths, groups and scale types go together. */
#include <stdio.h>
#include <string.h>

#include "quant/grid.h"

bool qd_grid_spec_equal(const qd_grid_spec *a, const qd_grid_spec *b)
{
    const qd_levels *x = qd_grid_spec_levels(a), *y = qd_grid_spec_levels(b);
    if (a->alphabet != b->alphabet || a->zero != b->zero || a->narrow != b->narrow || a->bits != b->bits ||
        a->group_size != b->group_size || a->rule != b->rule || a->shrink != b->shrink ||
        a->scale_type != b->scale_type)
        return false;
    return x == NULL || (x->count == y->count && memcmp(x->value, y->value, x->count * sizeof *x->value) == 0);
}

static qd_code check_width(const qd_grid_spec *spec, qd_error *err)
{
    const qd_alphabet *alphabet = spec->alphabet;
    char widths[100] = "";
    size_t used = 0;
    for (const double *b = alphabet->bits; *b > 0; b++) {
        if (*b == spec->bits)
            return QD_OK;
        used += (size_t)snprintf(widths + used, sizeof widths - used, "%s%g", used == 0 ? "" : ", ", *b);
    }
    if (alphabet->bits[1] == 0)
        return qd_fail(err, QD_EINVAL, "bits: %.17g does not go with alphabet '%s', which has %s bits", spec->bits,
                       alphabet->name, widths);
    return qd_fail(err, QD_EINVAL, "bits: %.17g is not in %s", spec->bits, widths);
}

static qd_code check_own_levels(const qd_grid_spec *spec, qd_error *err)
{
    size_t count = spec->levels.count;
    if (count < QD_LEVELS_MIN || count > QD_LEVELS_MAX)
        return qd_fail(err, QD_EINVAL,
                       "alphabet.levels: is missing; alphabet '%s' wants %d to %d numbers, as [-1, 0, 1]",
                       spec->alphabet->name, QD_LEVELS_MIN, QD_LEVELS_MAX);
    if (spec->bits != qd_levels_bits(count))
        return qd_fail(err, QD_EINVAL,
                       "bits: %.17g does not go with alphabet.levels of %zu numbers, which make %u bits", spec->bits,
                       count, qd_levels_bits(count));
    return QD_OK;
}

/* "4, 5": widths ahead of a final 0. */
static void list_widths(const double *bits, char *out, size_t size)
{
    size_t used = 0;
    for (const double *b = bits; *b > 0 && used < size; b++)
        used += (size_t)snprintf(out + used, size - used, "%s%g", b == bits ? "" : ", ", *b);
}

/* What a scale type that is more than a number format goes with. */
static qd_code check_zero(const qd_grid_spec *spec, qd_error *err)
{
    const qd_scale_type *type = spec->scale_type;
    if (type->offset && !qd_scale_type_takes(type, spec->zero))
        return qd_fail(err, QD_EINVAL,
                       "alphabet.zero: '%s' does not go with scale.type '%s', which stores an offset; 'float' of "
                       "alphabet 'int-asymmetric' does",
                       qd_zero_kind_name(spec->zero), type->name);
    if (type->mirrored && !qd_scale_type_takes(type, spec->zero))
        return qd_fail(
            err, QD_EINVAL,
            "alphabet.zero: 'float' does not go with scale.type '%s', which stores no offset; 'integer' (the "
            "middle code, of either sign) and 'none' do",
            type->name);
    if (type->layer_unit && qd_grid_spec_levels(spec) == NULL)
        return qd_fail(err, QD_EINVAL,
                       "scale.type: '%s' does not go with alphabet '%s': its scales are of levels, as 'nvfp4' has them",
                       type->name, spec->alphabet->name);
    if (type->mirrored && spec->zero == QD_ZERO_INTEGER && spec->narrow)
        return qd_fail(
            err, QD_EINVAL,
            "alphabet.narrow: true does not go with scale.type '%s' and zero 'integer', whose sign says which "
            "side has one code more",
            type->name);
    return QD_OK;
}

static qd_code check_container(const qd_grid_spec *spec, qd_error *err)
{
    const qd_scale_type *type = spec->scale_type;
    char widths[100] = "";
    bool integers = qd_grid_spec_levels(spec) == NULL;
    if (qd_scale_type_searches(type) && !integers)
        return qd_fail(err, QD_EINVAL, "scale.type: '%s' does not go with alphabet '%s'; 'int' and 'int-asymmetric' do",
                       type->name, spec->alphabet->name);
    qd_code code = check_zero(spec, err);
    if (code != QD_OK)
        return code;
    for (const double *b = type->bits; b != NULL && *b != spec->bits; b++)
        if (*b == 0) {
            list_widths(type->bits, widths, sizeof widths);
            return qd_fail(err, QD_EINVAL, "bits: %.17g does not go with scale.type '%s', which has %s", spec->bits,
                           type->name, widths);
        }
    if (type->group_size != 0 && spec->group_size != type->group_size)
        return qd_fail(err, QD_EINVAL, "group_size: %zu does not go with scale.type '%s', which has groups of %zu",
                       spec->group_size, type->name, type->group_size);
    if (qd_scale_type_searches(type) && spec->shrink != 1.0)
        return qd_fail(err, QD_EINVAL,
                       "scale.shrink: %g does not go with scale.type '%s', whose scales are searched; 1 does",
                       spec->shrink, type->name);
    return QD_OK;
}

qd_code qd_grid_spec_check(const qd_grid_spec *spec, qd_error *err)
{
    const qd_alphabet *alphabet = spec->alphabet;
    qd_code code = alphabet->codes == QD_CODES_OWN_LEVELS ? check_own_levels(spec, err) : check_width(spec, err);
    if (code != QD_OK)
        return code;
    if (alphabet->codes != QD_CODES_INTEGER && spec->zero != QD_ZERO_NONE)
        return qd_fail(err, QD_EINVAL, "alphabet.zero: '%s' does not go with alphabet '%s', which has none",
                       qd_zero_kind_name(spec->zero), alphabet->name);
    if (alphabet->group_size != 0 && spec->group_size != alphabet->group_size)
        return qd_fail(err, QD_EINVAL, "group_size: %zu does not go with alphabet '%s', which has groups of %zu",
                       spec->group_size, alphabet->name, alphabet->group_size);
    if (alphabet->scale_type != NULL && strcmp(spec->scale_type->name, alphabet->scale_type) != 0)
        return qd_fail(err, QD_EINVAL, "scale.type: '%s' does not go with alphabet '%s', whose scales are %s",
                       spec->scale_type->name, alphabet->name, alphabet->scale_type);
    if (!(spec->shrink > 0.0 && spec->shrink <= 4.0))
        return qd_fail(err, QD_EINVAL, "scale.shrink: %g is not in (0, 4]", spec->shrink);
    return check_container(spec, err);
}
