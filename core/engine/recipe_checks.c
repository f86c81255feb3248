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

/* Lengths that the model may still shorten are judged when it is there. */
static void check_windows(const pairing *p)
{
    static const char *const needed[] = { "/evaluation", NULL };
    const qd_protocol_use *e = &p->recipe->evaluation;
    size_t content = e->length - (e->bos == QD_BOS_INSERTED ? 1 : 0);
    if (e->length == 0 || !qd_issues_spare(p->issues, needed))
        return;
    if (e->context >= e->length)
        qd_complain(p->issues, "/evaluation/context",
                    "evaluation.context: %zu does not go with evaluation.length of %zu, of which it leaves nothing to "
                    "score; a smaller one does",
                    e->context, e->length);
    if (e->stride > content)
        qd_complain(
            p->issues, "/evaluation/stride",
            "evaluation.stride: %zu does not go with evaluation.length of %zu: tokens between windows would not "
            "be scored; at most %zu does",
            e->stride, e->length, content);
}

/* Sequences that the source model samples are cut from no text. */
static void check_self(const pairing *p)
{
    static const char *const needed[] = { "/calibration", NULL };
    const qd_recipe *r = p->recipe;
    const struct {
        const char *field;
        bool asked;
    } of_texts[] = {
        { "format", r->calibration_format != QD_TEXT_AUTO },
        { "documents", r->calibration_documents != QD_DOCUMENTS_JOINED },
        { "split", r->calibration_split != QD_SPLIT_WHOLE },
        { "sampling", r->calibration_sampling != QD_SAMPLING_EVEN },
        { "phase", r->calibration_phase > 0 },
    };
    if (!qd_source_is_self(r->calibration_source) || !qd_issues_spare(p->issues, needed))
        return;
    for (size_t i = 0; i < QD_LENGTH(of_texts); i++)
        if (of_texts[i].asked)
            qd_complain(p->issues, qd_pointer_to("/calibration", of_texts[i].field).text,
                        "calibration.%s: says how a text is read, and calibration.source 'self' has none; the URL of a "
                        "text does",
                        of_texts[i].field);
}

/* Without an architecture there is no forward pass: nothing that looks at activations or logits. */
static void check_unknown(const pairing *p)
{
    static const char *const needed[] = { "/model", "/algorithm", "/transforms", "/gate", "/format", NULL };
    static const char why[] = "does not go with model.unknown 'data-free': a model of unknown architecture has no "
                              "forward pass";
    const qd_recipe *r = p->recipe;
    if (r->on_unknown != QD_ON_UNKNOWN_DATA_FREE || !qd_issues_spare(p->issues, needed))
        return;
    if (r->algorithm->needs != QD_NEEDS_NOTHING)
        qd_complain(p->issues, "/algorithm", "algorithm: '%s' %s; 'rtn' does", r->algorithm->name, why);
    if (r->transforms.count > 0)
        qd_complain(p->issues, "/transforms", "transforms: '%s' %s to be the same for; no transforms do",
                    r->transforms.items[0].row->name, why);
    if (r->certified)
        qd_complain(p->issues, "/certified", "certified: true %s; false does", why);
    if (qd_recipe_gated(r))
        qd_complain(p->issues, "/gate", "gate: %s to be measured with; no gate does", why);
    if (r->calibration_source != NULL)
        qd_complain(p->issues, "/calibration/source", "calibration.source: %s; null does", why);
    if (r->evaluation_text != NULL)
        qd_complain(p->issues, "/evaluation/text", "evaluation.text: %s to be measured with; null does", why);
    if (r->evaluation_also.count > 0)
        qd_complain(p->issues, "/evaluation/also", "evaluation.also: %s to be measured with; no texts do", why);
    if (r->task_count > 0)
        qd_complain(p->issues, "/evaluation/tasks", "evaluation.tasks: %s to answer them; no tasks do", why);
    for (size_t i = 0; i < r->format_count; i++)
        if (r->formats[i].format->find_layer == NULL)
            qd_complain(p->issues, "/format",
                        "format: '%s' does not go with model.unknown 'data-free': its loaders must know the "
                        "architecture; compressed-tensors does",
                        r->formats[i].format->name);
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
    static void (*const checks[])(const pairing *) = { check_applies, check_grid,    check_shrink,     check_residual,
                                                       check_refine,  check_unknown, check_transforms, check_certified,
                                                       check_windows, check_self,    check_format };
    const pairing p = { recipe, request, issues };
    for (size_t i = 0; i < QD_LENGTH(checks); i++)
        checks[i](&p);
}
