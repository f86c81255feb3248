/* plan.c: see plan.h. The list of tensors is plan_layers.c's. */
#include "engine/plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "engine/plan_layers.h"
#include "engine/source.h"
#include "engine/source_model.h"
#include "engine/task_files.h"
#include "engine/text_sizes.h"
#include "export/artifact.h"

enum { DETAIL_BYTES = 700, POINTER_BYTES = 160 };

void qd_plan_fini(qd_plan *plan)
{
    json_decref(plan->document);
    *plan = (qd_plan){ 0 };
}

void qd_plan_object(qd_plan *plan, const char *pointer, const char *format, ...)
{
    char text[DETAIL_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    json_array_append_new(json_object_get(plan->document, "problems"),
                          json_pack("{s:s, s:s}", "pointer", pointer, "detail", text));
    json_object_set_new(plan->document, "possible", json_false());
}

void qd_plan_warn(qd_plan *plan, const char *format, ...)
{
    char text[DETAIL_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    json_array_append_new(json_object_get(plan->document, "warnings"), json_string(text));
}

/* "scale.type: 'x' does not ..." is about /scale/type. */
static void pointer_of(const char *detail, const char *otherwise, char *out)
{
    size_t length = strspn(detail, "abcdefghijklmnopqrstuvwxyz_.");
    if (length == 0 || detail[length] != ':' || length + 2 > POINTER_BYTES) {
        snprintf(out, POINTER_BYTES, "%s", otherwise);
        return;
    }
    snprintf(out, POINTER_BYTES, "/%.*s", (int)length, detail);
    for (char *p = out; *p != '\0'; p++)
        if (*p == '.')
            *p = '/';
}

/* false: a failure of ours, not a finding. */
static bool is_finding(qd_code code)
{
    return code != QD_ENOMEM && code != QD_EIO && code != QD_ENOSPC && code != QD_EINTERNAL;
}

/* QD_OK where the failure could be told as a finding. */
static qd_code take_finding(qd_plan *plan, qd_code code, const char *otherwise, const qd_error *why, qd_error *err)
{
    char pointer[POINTER_BYTES];
    if (code == QD_OK)
        return QD_OK;
    if (!is_finding(code))
        return qd_fail(err, code, "%s", why->text);
    pointer_of(why->text, otherwise, pointer);
    qd_plan_object(plan, pointer, "%s", why->text);
    return QD_OK;
}

static qd_code check_formats(const qd_recipe *recipe, const qd_model *model, qd_plan *plan, qd_error *err)
{
    qd_error why = { 0 };
    qd_code code = take_finding(plan, qd_artifact_check_source(model, &why), "/model", &why, err);
    const char *dtype = qd_model_borrow_config(model)->dtype;
    for (size_t i = 0; code == QD_OK && i < recipe->format_count; i++) {
        const qd_format_choice *choice = &recipe->formats[i];
        if (choice->format->check_model != NULL)
            code = take_finding(plan, choice->format->check_model(model, choice->variant, &why), "/format", &why, err);
        qd_code found = QD_OK;
        /* one layer that does not fit is enough said */
        for (size_t k = 0; found == QD_OK && k < qd_model_linear_count(model); k++) {
            qd_grid_spec spec;
            const qd_linear *linear = qd_model_linear_at(model, k);
            found = qd_recipe_layer_spec(recipe, linear, &spec, &why);
            if (found == QD_OK)
                found = choice->format->check_layer(&spec, choice->variant, linear, dtype, &why);
        }
        if (code == QD_OK)
            code = take_finding(plan, found, "/format", &why, err);
    }
    return code;
}

static void check_length(const qd_model *model, const char *field, size_t wanted, qd_plan *plan)
{
    char pointer[POINTER_BYTES];
    size_t most = qd_model_borrow_config(model)->max_positions;
    snprintf(pointer, sizeof pointer, "/%s/length", field);
    if (wanted != 0 && most != 0 && wanted > most)
        qd_plan_object(plan, pointer, "%s.length: %zu is beyond the model's max_position_embeddings of %zu", field,
                       wanted, most);
}

static void warn_of_loaders(const qd_recipe *recipe, const qd_model *model, qd_plan *plan)
{
    for (size_t i = 0; i < recipe->format_count; i++) {
        const qd_format *format = recipe->formats[i].format;
        const char *caution = format->caution == NULL ? NULL : format->caution(model);
        if (caution != NULL)
            qd_plan_warn(plan, "format %s: %s", format->name, caution);
    }
}

static void warn_of_model(const qd_recipe *recipe, const qd_model *model, const qd_forecast *f, qd_plan *plan)
{
    size_t tokens = f->volume.samples * f->volume.length, short_of = 0;
    const char *name = NULL, *words = qd_model_quantized_source(model);
    char unknown[400];
    qd_source_describe_unknown(model, unknown, sizeof unknown);
    if (unknown[0] != '\0')
        qd_plan_warn(plan, "%s", unknown);
    for (size_t i = 0; qd_model_warning_at(model, i) != NULL; i++)
        qd_plan_warn(plan, "%s", qd_model_warning_at(model, i));
    if (words != NULL)
        qd_plan_warn(plan, "the source is quantized already, as %s: its dequantized values are taken for the model",
                     words);
    for (size_t i = 0; recipe->algorithm->needs != QD_NEEDS_NOTHING && i < qd_model_linear_count(model); i++)
        if (qd_model_linear_at(model, i)->in > tokens && short_of++ == 0)
            name = qd_model_linear_at(model, i)->name;
    if (short_of > 0)
        qd_plan_warn(plan, "%zu layers, '%s' first, have more columns than the %zu calibration tokens", short_of, name,
                     tokens);
    if (f->volume.drawn > 0)
        qd_plan_warn(plan, "no text: the source model samples %zu tokens itself", f->volume.drawn);
}

static qd_code measure_texts(const qd_recipe *recipe, const qd_model *model, const char *model_dir,
                             const qd_plan_terms *terms, qd_text_sizes *out, qd_plan *plan, qd_error *err)
{
    qd_error why = { 0 };
    *out = (qd_text_sizes){ 0 };
    if (!qd_model_is_known(model))
        return QD_OK; /* no text goes through it */
    qd_code code =
        qd_text_sizes_of(model_dir, recipe, terms->calibration_text, terms->evaluation_text, NULL, out, &why);
    code = take_finding(plan, code, "/model", &why, err);
    if (code == QD_OK)
        code = take_finding(plan, qd_task_sizes_add(recipe, terms->tasks, out, &why), "/evaluation/tasks", &why, err);
    out->calibration += terms->calibration_guess;
    out->evaluation[0] += terms->evaluation_guess;
    for (size_t i = 0; i < recipe->evaluation_also.count; i++)
        out->evaluation[1 + i] = terms->also_guess;
    uint64_t guessed =
        terms->calibration_guess + terms->evaluation_guess + recipe->evaluation_also.count * terms->also_guess;
    if (guessed > 0)
        qd_plan_warn(plan, "a text of the job is not here yet: the forecast takes it to have %llu bytes",
                     (unsigned long long)guessed);
    return code;
}

static void tell_compatibility(const qd_recipe *recipe, qd_plan *plan)
{
    static const char *const loaders[] = { "vLLM", "transformers", "llama.cpp" };
    json_t *list = json_object_get(plan->document, "compatibility");
    for (size_t i = 0; i < recipe->format_count; i++) {
        char name[QD_FORMAT_NAME];
        const qd_format_choice *choice = &recipe->formats[i];
        const char *note = choice->format->note == NULL ? NULL : choice->format->note(&recipe->grid, choice->variant);
        qd_format_print(choice->format, choice->variant, name);
        for (size_t k = 0; k < QD_LENGTH(loaders); k++) {
            bool loads = false;
            for (size_t m = 0; choice->format->loaders != NULL && choice->format->loaders[m] != NULL; m++)
                loads |= strcmp(choice->format->loaders[m], loaders[k]) == 0;
            json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s?}", "format", name, "loader", loaders[k],
                                                  "loads", loads ? "yes" : "no", "note", loads ? note : NULL));
        }
    }
}

static void tell_totals(const qd_plan_terms *terms, const qd_forecast *f, const qd_plan_weights *weights, qd_plan *plan)
{
    double bits = weights->quantized > 0 ? 8.0 * (double)weights->packed_bytes / (double)weights->quantized : 0;
    json_object_set_new(plan->document, "totals",
                        json_pack("{s:I, s:I, s:I, s:f, s:I, s:I, s:I}", "layers", (json_int_t)weights->layers,
                                  "weights", (json_int_t)weights->quantized, "kept_weights", (json_int_t)weights->kept,
                                  "bits_per_weight", bits, "artifact_bytes", (json_int_t)f->artifact_bytes,
                                  "download_bytes", (json_int_t)terms->download_bytes, "checkpoint_bytes",
                                  (json_int_t)f->checkpoint_bytes));
}

static qd_code plan_model(const qd_recipe *recipe, const qd_model *model, const char *model_dir,
                          const qd_plan_terms *terms, qd_plan *plan, qd_error *err)
{
    qd_text_sizes texts = { 0 };
    qd_plan_weights weights = { 0 };
    json_object_set_new(plan->document, "architecture", json_string(qd_model_borrow_config(model)->architecture));
    qd_code code = qd_plan_tensors(recipe, model, json_object_get(plan->document, "layers"), &weights, err);
    if (code == QD_OK)
        code = check_formats(recipe, model, plan, err);
    check_length(model, "calibration", recipe->calibration_length, plan);
    check_length(model, "evaluation", recipe->evaluation.length, plan);
    if (code == QD_OK)
        code = measure_texts(recipe, model, model_dir, terms, &texts, plan, err);
    if (code != QD_OK)
        return code;
    qd_error why = { 0 };
    code = qd_forecast_make(recipe, model, &texts, &terms->machine, &plan->forecast, &why);
    if (code != QD_OK) /* a container that does not fit: said already */
        return take_finding(plan, code, "/format", &why, err);
    warn_of_model(recipe, model, &plan->forecast, plan);
    warn_of_loaders(recipe, model, plan);
    tell_totals(terms, &plan->forecast, &weights, plan);
    json_object_set_new(plan->document, "forecast", qd_forecast_print(&plan->forecast, &terms->machine));
    return QD_OK;
}

qd_code qd_plan_make(const qd_recipe *recipe, const char *model_dir, const qd_plan_terms *terms, qd_plan *out,
                     qd_error *err)
{
    qd_error why = { 0 };
    qd_model *model = NULL;
    QD_AUTO(qd_plan_fini)
    qd_plan plan = { .document =
                         json_pack("{s:b, s:n, s:[], s:n, s:n, s:[], s:[], s:[]}", "possible", 1, "architecture",
                                   "layers", "totals", "forecast", "compatibility", "problems", "warnings") };
    if (plan.document == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    tell_compatibility(recipe, &plan);
    qd_code code = qd_source_model(recipe, model_dir, &model, &why);
    if (code == QD_OK) {
        code = plan_model(recipe, model, model_dir, terms, &plan, err);
    } else {
        code = take_finding(&plan, code, "/model", &why, err);
        if (code == QD_OK)
            code = qd_plan_unknown(recipe, model_dir, json_object_get(plan.document, "layers"), err);
    }
    qd_model_destroy(model);
    if (code != QD_OK)
        return code;
    *out = plan;
    plan = (qd_plan){ 0 };
    return QD_OK;
}
