/* recipe_checks.c: see recipe_checks.h. */
#include "engine/recipe_checks.h"

#include <stdio.h>
#include <string.h>

#include "engine/recipe_issues.h"
#include "engine/recipe_transforms.h"

typedef struct pairing {
    const qd_recipe *recipe;
    const json_t *request;
    qd_issues *issues;
} pairing;

/* The sentence of a check begins with the field it is about: "scale.type: ..." -> "/scale/type". */
static qd_pointer pointer_of_sentence(const char *sentence)
{
    qd_pointer out = { "/format" };
    size_t length = strcspn(sentence, ":");
    if (sentence[length] == ':' && length > 0 && length + 2 < sizeof out.text &&
        strspn(sentence, "abcdefghijklmnopqrstuvwxyz0123456789_.") == length) {
        snprintf(out.text, sizeof out.text, "/%.*s", (int)length, sentence);
        for (char *at = out.text; *at != '\0'; at++)
            if (*at == '.')
                *at = '/';
    }
    return out;
}

static void check_grid(const pairing *p)
{
    static const char *const needed[] = { "/bits", "/alphabet", "/group_size", "/scale", NULL };
    qd_error why = { 0 };
    if (qd_issues_spare(p->issues, needed) && qd_grid_spec_check(&p->recipe->grid, &why) != QD_OK)
        qd_complain(p->issues, pointer_of_sentence(why.text).text, "%s", why.text);
}

/* Fields that mean nothing beside the others: the algorithm or alphabet that makes them so is named too. */
static void check_applies(const pairing *p)
{
    static const char *const needed[] = { "/algorithm", "/alphabet", NULL };
    for (size_t i = 0; qd_field_at(i) != NULL && qd_issues_spare(p->issues, needed); i++) {
        const qd_field *field = qd_field_at(i);
        qd_pointer where;
        const json_t *given = qd_field_value(field, p->request);
        if (field->applies == NULL || field->applies(p->recipe) || given == NULL || json_object_size(given) > 0)
            continue;
        snprintf(where.text, sizeof where.text, "/%s", field->path);
        bool about_alphabet = strncmp(field->wanted, "alphabet", strlen("alphabet")) == 0;
        qd_complain(p->issues, where.text, "%s: means nothing for %s '%s'; it wants %s", qd_label_of(field->path).text,
                    about_alphabet ? "alphabet" : "algorithm",
                    about_alphabet ? p->recipe->grid.alphabet->name : p->recipe->algorithm->name, field->wanted);
    }
}

/* Another stream's error can only be repaired where the float model has its own. */
static void check_residual(const pairing *p)
{
    static const char *const needed[] = { "/algorithm", "/mismatch", NULL };
    const qd_recipe *r = p->recipe;
    if (r->algorithm->needs == QD_NEEDS_MISMATCH && r->residual && r->scope != QD_SCOPE_MODEL &&
        qd_issues_spare(p->issues, needed))
        qd_complain(p->issues, "/mismatch/residual",
                    "mismatch.residual: true does not go with mismatch.scope '%s'; scope '%s' does, or residual false",
                    qd_scope_name(r->scope), qd_scope_name(QD_SCOPE_MODEL));
}

/* The split-sample rule needs a sequence to fit on and one to judge by. */
static void check_shrink(const pairing *p)
{
    static const char *const needed[] = { "/algorithm", "/mismatch", "/calibration", NULL };
    const qd_recipe *r = p->recipe;
    if (r->algorithm->needs == QD_NEEDS_MISMATCH && r->mismatch.shrink == QD_SHRINK_AUTO &&
        r->calibration_samples < 2 && qd_issues_spare(p->issues, needed))
        qd_complain(
            p->issues, "/mismatch/shrink",
            "mismatch.shrink: 'auto' does not go with calibration.samples of %zu; 2 samples do, or a number in 0..1",
            r->calibration_samples);
}

/* Only nearest rounding has an error that refining could lower; scales are fitted in a round. */
static void check_refine(const pairing *p)
{
    static const char *const needed[] = { "/algorithm", "/rounding", "/refine", NULL };
    const qd_recipe *r = p->recipe;
    bool asked = r->refine.beam > 1 || r->refine.rounds > 0 || r->refine.refit;
    if (!r->algorithm->refines || !asked || !qd_issues_spare(p->issues, needed))
        return;
    if (r->rounding != QD_ROUND_NEAREST)
        qd_complain(p->issues, "/refine", "refine: does not go with rounding '%s', which it would undo; 'nearest' does",
                    qd_rounding_name(r->rounding));
    else if (r->refine.refit && r->refine.rounds == 0)
        qd_complain(
            p->issues, "/refine/refit_scales",
            "refine.refit_scales: true does nothing with refine.coordinate_descent of 0; 1 round does, or more");
}

static void check_transforms(const pairing *p)
{
    static const char *const needed[] = { "/transforms", "/format", NULL };
    if (qd_issues_spare(p->issues, needed))
        qd_transforms_check(p->recipe, p->issues);
}

/* The guarantee is about draws that are unbiased, and errors that start from the target. */
static void check_certified(const pairing *p)
{
    static const char *const needed[] = { "/rounding", "/algorithm", "/alphabet", "/mismatch", "/certified", NULL };
    const qd_recipe *r = p->recipe;
    if (!r->certified || !qd_issues_spare(p->issues, needed))
        return;
    if (r->rounding != QD_ROUND_STOCHASTIC)
        qd_complain(p->issues, "/certified", "certified: true does not go with rounding '%s'; rounding '%s' does",
                    qd_rounding_name(r->rounding), qd_rounding_name(QD_ROUND_STOCHASTIC));
    if (r->grid.alphabet->codes != QD_CODES_INTEGER)
        qd_complain(p->issues, "/certified",
                    "certified: true does not go with alphabet '%s'; the guarantee is about equal steps: int and "
                    "int-asymmetric have those",
                    r->grid.alphabet->name);
    if (!qd_scale_type_raises(r->grid.scale_type))
        qd_complain(
            p->issues, "/certified",
            "certified: true does not go with scale.type '%s', whose scales cannot each be raised; f16, bf16 and "
            "f32 can",
            r->grid.scale_type->name);
    if (r->algorithm->starts && r->mismatch.start != QD_START_PROJECTED)
        qd_complain(p->issues, "/certified",
                    "certified: true does not go with mismatch.start '%s'; mismatch.start '%s' does",
                    qd_start_name(r->mismatch.start), qd_start_name(QD_START_PROJECTED));
}

static void check_format(const pairing *p)
{
    static const char *const needed[] = { "/bits", "/alphabet", "/group_size", "/scale", "/format", NULL };
    const qd_recipe *r = p->recipe;
    qd_error why = { 0 };
    for (size_t i = 0; qd_issues_spare(p->issues, needed) && i < r->format_count; i++)
        for (size_t k = 0; k < i; k++)
            if (r->formats[k].format == r->formats[i].format && r->formats[k].variant == r->formats[i].variant)
                qd_complain(p->issues, "/format",
                            "format: '%s' without a variant is, for this grid, one that the list has too",
                            r->formats[i].format->name);
    for (size_t i = 0; qd_issues_spare(p->issues, needed) && i < r->format_count; i++)
        if (r->formats[i].format->check(&r->grid, r->formats[i].variant, &why) != QD_OK)
            qd_complain(p->issues, pointer_of_sentence(why.text).text, "%s", why.text);
}

void qd_recipe_check(const qd_recipe *recipe, const json_t *request, qd_issues *issues)
{
    static void (*const checks[])(const pairing *) = { check_applies, check_grid,       check_shrink,    check_residual,
                                                       check_refine,  check_transforms, check_certified, check_format };
    const pairing p = { recipe, request, issues };
    for (size_t i = 0; i < QD_LENGTH(checks); i++)
        checks[i](&p);
}
