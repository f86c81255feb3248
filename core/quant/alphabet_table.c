/* alphabet_table.c: the registered alphabets. */
#include <string.h>

#include "quant/grid.h"

static const char *const zero_names[] = { "none", "integer", "float", NULL };

const char *qd_zero_kind_name(qd_zero_kind kind)
{
    return zero_names[kind];
}

int qd_zero_kind_find(const char *name)
{
    for (int i = 0; zero_names[i] != NULL; i++)
        if (strcmp(zero_names[i], name) == 0)
            return i;
    return -1;
}

static const double widths[] = { 2, 3, 4, 5, 6, 8, 0 };

static const char zero_help[] = "none: signed codes around 0; integer: zero is a code; float: zero is not rounded";
static const char narrow_help[] = "drop the lowest code (signed) or the highest (unsigned)";

static const qd_param int_params[] = {
    { .name = "zero", .type = QD_PARAM_CHOICE, .def = QD_ZERO_NONE, .choices = zero_names, .help = zero_help },
    { .name = "narrow", .type = QD_PARAM_BOOLEAN, .max = 1, .help = narrow_help },
    { .name = NULL },
};
static const qd_param asymmetric_params[] = {
    { .name = "zero", .type = QD_PARAM_CHOICE, .def = QD_ZERO_INTEGER, .choices = zero_names, .help = zero_help },
    { .name = "narrow", .type = QD_PARAM_BOOLEAN, .max = 1, .help = narrow_help },
    { .name = NULL },
};

static const qd_alphabet table[] = {
    { "int", "signed integers -2^(b-1)..2^(b-1)-1 times a scale", QD_ZERO_NONE, widths, int_params },
    { "int-asymmetric", "integers 0..2^b-1 with a zero point, times a scale", QD_ZERO_INTEGER, widths,
      asymmetric_params },
};

const qd_alphabet *qd_alphabet_at(size_t index)
{
    return index < QD_LENGTH(table) ? &table[index] : NULL;
}

const qd_alphabet *qd_alphabet_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}
