/* effort.c: see effort.h. */
#include "engine/effort.h"

#include <string.h>

#include "base/mem.h"

/* The split-sample rule needs a sequence to fit on and one to judge by. */
static bool can_split(const qd_recipe *recipe)
{
    return recipe->calibration_samples >= 2;
}

static bool cannot_split(const qd_recipe *recipe)
{
    return !can_split(recipe);
}

static bool follows_the_model(const qd_recipe *recipe)
{
    return recipe->scope == QD_SCOPE_MODEL;
}

static bool has_a_published_damping(const qd_recipe *recipe) /* Qronos: 1e-6 of the largest eigenvalue */
{
    return recipe->algorithm->starts;
}

static bool has_none(const qd_recipe *recipe)
{
    return !has_a_published_damping(recipe);
}

/* The guarantee is about errors that start from the target. */
static bool promises(const qd_recipe *recipe)
{
    return recipe->certified;
}

static bool promises_nothing(const qd_recipe *recipe)
{
    return !promises(recipe);
}

/* Stochastic rounding would be undone. */
static bool can_refine(const qd_recipe *recipe)
{
    return recipe->rounding == QD_ROUND_NEAREST;
}

static bool cannot_refine(const qd_recipe *recipe)
{
    return !can_refine(recipe);
}

/* Scales are fitted in the rounds of descent. */
static bool can_fit(const qd_recipe *recipe)
{
    return can_refine(recipe) && recipe->refine.rounds > 0;
}

static bool cannot_fit(const qd_recipe *recipe)
{
    return !can_fit(recipe);
}

/* Scales that follow a target have no use for what MagR makes of the weights. */
static bool has_shaped_scales(const qd_recipe *recipe)
{
    return recipe->algorithm->aim != NULL && qd_transforms_shaping(&recipe->transforms) != NULL;
}

static bool has_free_scales(const qd_recipe *recipe)
{
    return !has_shaped_scales(recipe);
}

/* Scopes and rounds before what depends on them. */
static const qd_setting reference[] = {
    { "scale/rule", "\"mse\"", NULL },
    { "order", "\"norm-descending\"", NULL },
    { "regularization", "{\"spectral\": 1e-6}", has_a_published_damping },
    { "regularization", "{\"mean_diagonal\": 0.01}", has_none },
    { "mismatch/scope", "\"block\"", NULL },
    { "mismatch/shrink", "1", NULL },
    { "mismatch/start", "\"original\"", promises_nothing },
    { "mismatch/start", "\"projected\"", promises },
    { "mismatch/residual", "false", NULL },
    { "calibration/samples", "128", NULL },
    { "calibration/first_position", "\"counted\"", NULL },
    { "refine/beam", "1", NULL },
    { "refine/coordinate_descent", "0", NULL },
    { "refine/refit_scales", "false", NULL },
    { NULL, NULL, NULL },
};

/* What every preset but `reference` does. norm-descending, not auto: three factors for one, and nothing gained (as below, not refined: 38.73
 * and 38.72). */
#define ADAPTED \
    { "scale/rule", "\"hessian-mse\"", has_free_scales }, { "scale/rule", "\"mse\"", has_shaped_scales }, \
        { "order", "\"norm-descending\"", NULL }, { "regularization", "\"auto\"", NULL }, \
        { "mismatch/start", "\"projected\"", NULL }, \
    { \
        "calibration/first_position", "\"left-out\"", NULL \
    }

/* As far as held-out sequences confirm it. */
#define BESIDE_THE_MODEL \
    { "mismatch/scope", "\"model\"", NULL }, { "mismatch/shrink", "\"auto\"", can_split }, \
        { "mismatch/shrink", "1", cannot_split }, \
    { \
        "mismatch/residual", "true", follows_the_model \
    }

/* And what takes the place of refinements that do not go with the job. */
#define REFINED(beam, rounds) \
    { "refine/beam", beam, can_refine }, { "refine/coordinate_descent", rounds, can_refine }, \
        { "refine/refit_scales", "true", can_fit }, { "refine/beam", "1", cannot_refine }, \
        { "refine/coordinate_descent", "0", cannot_refine }, \
    { \
        "refine/refit_scales", "false", cannot_fit \
    }

static const qd_setting fast[] = {
    ADAPTED,
    { "mismatch/scope", "\"block\"", NULL },
    { "mismatch/shrink", "1", NULL },
    { "mismatch/residual", "false", NULL },
    { "calibration/samples", "128", NULL },
    REFINED("1", "1"),
    { NULL, NULL, NULL },
};

static const qd_setting balanced[] = {
    ADAPTED, { "calibration/samples", "128", NULL }, BESIDE_THE_MODEL, REFINED("8", "4"), { NULL, NULL, NULL },
};

static const qd_setting best[] = {
    ADAPTED, { "calibration/samples", "256", NULL }, BESIDE_THE_MODEL, REFINED("32", "8"), { NULL, NULL, NULL },
};

/* Measured on novella-1m: Qronos, 3 bits a row with a float zero, 64 x 512 calibration tokens (best: 128), 200 windows, two calibration phases;
 * time is of quantizing alone, on one thread. */
static const qd_effort table[] = {
    { .name = "reference",
      .summary = "the algorithm as published, without refinement: to compare with others",
      .cost = "the measure of the others",
      .gain = "none; perplexity 40.4 where the float model has 32.8",
      .settings = reference },
    { .name = "fast",
      .summary = "streams that meet again at every block, damping by held-out sequences, scales weighted by H and "
                 "fitted with one round of descent",
      .cost = "1.1 times the processor time of reference",
      .gain = "perplexity 39.8; the damping suits the layer",
      .settings = fast },
    { .name = "balanced",
      .summary = "against the float model's own streams; o and down repair the residual stream too, all of it as far "
                 "as held-out sequences confirm; beam of 8, 4 rounds of fitted scales and descent",
      .cost = "1.3 times the processor time of reference, and O x I more sums in memory for layers that write to the "
              "residual stream",
      .gain = "perplexity 38.1: three tenths less of the excess over the float model than reference",
      .settings = balanced },
    { .name = "best",
      .summary = "balanced on twice the calibration text, with a beam of 32 and 8 rounds",
      .cost = "twice the hidden states (on disk, or in memory) and 1.9 times the processor time of balanced",
      .gain = "perplexity 38.0: 0.16 less than balanced in both phases",
      .settings = best },
};

const qd_effort *qd_effort_at(size_t index)
{
    return index < QD_LENGTH(table) ? &table[index] : NULL;
}

const qd_effort *qd_effort_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

bool qd_effort_decides(const char *path)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        for (const qd_setting *s = table[i].settings; s->path != NULL; s++)
            if (strcmp(s->path, path) == 0)
                return true;
    return false;
}
