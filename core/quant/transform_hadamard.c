/* transform_hadamard.c: incoherence processing: the input in a Hadamard basis, where no feature stands out.
 * Source: algorithms.md §8.2 (one-sided), §8.3 (random signs). */
#include "quant/transform_rows.h"

enum { SIGNS };

static const char *const sign_words[] = { "random", "none", NULL };
static const qd_signs signs_of[] = { QD_SIGNS_RANDOM, QD_SIGNS_NONE };

static const qd_param params[] = {
    [SIGNS] = { .name = "signs",
                .type = QD_PARAM_CHOICE,
                .def = 0,
                .choices = sign_words,
                .help = "random: features are multiplied by +-1 first, by the job's seed; none: the plain matrix" },
    { .name = NULL },
};

static qd_code turn(const double *values, size_t features, uint64_t key, qd_hadamard **out, qd_error *err)
{
    return qd_hadamard_create(features, signs_of[(size_t)values[SIGNS]], key, out, err);
}

const qd_transform qd_transform_hadamard = {
    .name = "hadamard",
    .summary = "rounds in a Hadamard basis of the layer's input, where weights and inputs have no outliers",
    .params = params,
    .turn = turn,
};
