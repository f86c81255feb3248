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

static const double widths[] = { QD_BITS_THREE_LEVELS, 2, 3, 4, 5, 6, 7, 8, 0 };
static const double three_levels[] = { QD_BITS_THREE_LEVELS, 0 };
static const double four_bits[] = { 4, 0 };
static const double one_bit[] = { 1, 0 };
static const double any_bits[] = { 1, 2, 3, 4, 5, 6, 7, 8, 0 };

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

static const qd_param no_params[] = { { .name = NULL } };

/* Sign, two bits of exponent with bias 1, one of mantissa. 0 and -0 are one level. Ties go to the even mantissa, which is every second
 * level counted from 0 (algorithms.md §2.5). */
static const qd_levels e2m1 = {
    .count = 15,
    .anchor = 7,
    .widest = 2,
    .narrowest = 0.5,
    .top = 6,
    .value = { -6, -4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 6 },
};

/* NormalFloat: Dettmers, Pagnoni, Holtzman, Zettlemoyer, arXiv 2305.14314, as published, in float32. By definition the normal quantiles of
 * 9 probabilities evenly spaced from 0.9677083 to 1/2, those of 8 with the other sign, each without the last, and 0, over the largest;
 * test_levels computes them. */
static const qd_levels nf4 = {
    .count = 16,
    .anchor = 7,
    .widest = 1 - 0.6961928009986877,
    .narrowest = 0.07958029955625534,
    .top = 1,
    .value = { -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
               -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725,
               0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023,
               1 },
};

/* llama.cpp's IQ4_NL: what its scales are multiplied with (formats.md §6.5). */
static const qd_levels iq4_nl = {
    .count = 16,
    .anchor = 0,
    .widest = 24,
    .narrowest = 11,
    .top = 127,
    .value = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 },
};

static const qd_levels binary = {
    .count = 2,
    .anchor = 0,
    .widest = 2,
    .narrowest = 2,
    .top = 1,
    .value = { -1, 1 },
};

static const qd_alphabet table[] = {
    { .name = "int",
      .summary = "signed integers -2^(b-1)..2^(b-1)-1 times a scale; at 1.58 bits -1, 0, 1, as ternary",
      .zero = QD_ZERO_NONE,
      .bits = widths,
      .params = int_params },
    { .name = "int-asymmetric",
      .summary = "integers 0..2^b-1 with a zero point, times a scale; at 1.58 bits three equispaced levels, 0..2",
      .zero = QD_ZERO_INTEGER,
      .bits = widths,
      .params = asymmetric_params },
    { .name = "ternary",
      .summary = "-1, 0 and 1 times a scale",
      .zero = QD_ZERO_NONE,
      .bits = three_levels,
      .params = no_params },
    { .name = "e2m1",
      .summary = "4-bit floating point: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives, times a scale",
      .zero = QD_ZERO_NONE,
      .bits = four_bits,
      .params = no_params,
      .codes = QD_CODES_LEVELS,
      .levels = &e2m1 },
    { .name = "mxfp4",
      .summary = "the levels of e2m1 in groups of 32 with scales that are powers of two (OCP MXFP4)",
      .zero = QD_ZERO_NONE,
      .bits = four_bits,
      .params = no_params,
      .codes = QD_CODES_LEVELS,
      .levels = &e2m1,
      .group_size = 32,
      .scale_type = "e8m0" },
    { .name = "nvfp4",
      .summary = "the levels of e2m1 in groups of 16 with E4M3 scales under a power of two for the layer (NVFP4)",
      .zero = QD_ZERO_NONE,
      .bits = four_bits,
      .params = no_params,
      .codes = QD_CODES_LEVELS,
      .levels = &e2m1,
      .group_size = 16,
      .scale_type = "e4m3" },
    { .name = "iq4_nl",
      .summary = "the 16 uneven levels of llama.cpp's IQ4_NL, -127 to 113, times a scale",
      .zero = QD_ZERO_NONE,
      .bits = four_bits,
      .params = no_params,
      .codes = QD_CODES_LEVELS,
      .levels = &iq4_nl },
    { .name = "binary",
      .summary = "-1 and 1 times a scale",
      .zero = QD_ZERO_NONE,
      .bits = one_bit,
      .params = no_params,
      .codes = QD_CODES_LEVELS,
      .levels = &binary },
    { .name = "nf4",
      .summary = "NormalFloat: 16 quantiles of the normal distribution from -1 to 1, times a scale",
      .zero = QD_ZERO_NONE,
      .bits = four_bits,
      .params = no_params,
      .codes = QD_CODES_LEVELS,
      .levels = &nf4 },
    { .name = "levels",
      .summary = "the job's own levels, 2 to 256 ascending numbers, times a scale; the width follows from how many",
      .zero = QD_ZERO_NONE,
      .bits = any_bits,
      .params = no_params,
      .codes = QD_CODES_OWN_LEVELS },
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
