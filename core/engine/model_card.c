/* model_card.c: see model_card.h. */
#include "engine/model_card.h"

#include <stdio.h>
#include <string.h>

#include "config.h"

#include "base/file.h"
#include "base/json.h"
#include "engine/source_model.h"

enum { WORD_SIZE = 128, RECORD_LIMIT = 64 << 20, RECORD_DEPTH = 32, CARD_LIMIT = 4 << 20 };

/* What a card is made from. */
typedef struct card {
    const qd_context *context;
    const qd_format_choice *choice;
    const char *dir;
    const json_t *manifest;
    json_t *config, *recipe;                  /* config.json and recipe.json of the folder */
    char base[WORD_SIZE], license[WORD_SIZE]; /* "org/name"; "" = not known */
    char format[QD_FORMAT_NAME];
    qd_str *out;
} card;

static qd_code read_record(const card *k, const char *name, json_t **out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(k->dir, name);
    return path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory")
                        : qd_json_read_object(path, RECORD_LIMIT, RECORD_DEPTH, out, err);
}

/* Letters, digits and -._ from `text` on; their number. */
static size_t word_length(const char *text)
{
    return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
}

/* "org/name" at the start of text, if it is one and what follows is in `ends`. */
static bool take_hub_name(const char *text, const char *ends, char out[WORD_SIZE])
{
    size_t org = word_length(text), name = text[org] == '/' ? word_length(text + org + 1) : 0;
    char after = text[org] == '/' ? text[org + 1 + name] : 'x';
    if (org == 0 || name == 0 || text[0] == '.' || org + 1 + name >= WORD_SIZE ||
        (after != '\0' && strchr(ends, after) == NULL))
        return false;
    snprintf(out, WORD_SIZE, "%.*s", (int)(org + 1 + name), text);
    return true;
}

/* From the hub's address, else as the configuration calls it. */
static void find_base(card *k)
{
    static const char *const hubs[] = { "hf://", "https://huggingface.co/" };
    const char *url = k->context->recipe->model_url;
    const char *name = json_string_value(json_object_get(k->config, "_name_or_path"));
    for (size_t i = 0; url != NULL && i < QD_LENGTH(hubs); i++)
        if (strncmp(url, hubs[i], strlen(hubs[i])) == 0 && take_hub_name(url + strlen(hubs[i]), "/@?#", k->base))
            return;
    if (name != NULL)
        take_hub_name(name, "", k->base);
}

/* "license: mit" between the two lines of --- that a source's card may begin with. */
static void find_license_line(const char *text, char out[WORD_SIZE])
{
    static const char fence[] = "---\n", key[] = "\nlicense:";
    if (strncmp(text, fence, strlen(fence)) != 0)
        return;
    const char *end = strstr(text + strlen(fence) - 1, "\n---"), *found = strstr(text + strlen(fence) - 1, key);
    if (end == NULL || found == NULL || found > end)
        return;
    found += strlen(key);
    found += strspn(found, " \"'");
    size_t length = word_length(found);
    if (length > 0 && length < WORD_SIZE)
        snprintf(out, WORD_SIZE, "%.*s", (int)length, found);
}

static void find_license(card *k)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(k->dir, "README.source.md");
    const char *said = json_string_value(json_object_get(k->config, "license"));
    if (path != NULL && qd_file_read(path, CARD_LIMIT, &text, NULL) == QD_OK)
        find_license_line(qd_str_borrow(&text), k->license);
    size_t length = said == NULL ? 0 : word_length(said);
    if (k->license[0] == '\0' && length > 0 && length < WORD_SIZE && said[length] == '\0')
        snprintf(k->license, WORD_SIZE, "%s", said);
}

static bool has_file(const card *k, const char *name)
{
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(k->dir, name);
    return path != NULL && qd_path_exists(path);
}

/* ---- parts ---- */

static void front_matter(const card *k)
{
    const qd_recipe *r = k->context->recipe;
    qd_str_add(k->out, "---\n");
    if (k->base[0] != '\0')
        qd_str_addf(k->out, "base_model: %s\nbase_model_relation: quantized\n", k->base);
    if (k->license[0] != '\0')
        qd_str_addf(k->out, "license: %s\n", k->license);
    if (k->choice->format->library != NULL)
        qd_str_addf(k->out, "library_name: %s\n", k->choice->format->library);
    qd_str_addf(k->out, "tags:\n- quantd\n- %s\n- %s\n- %g-bit\n---\n\n", k->choice->format->name, r->algorithm->name,
                r->grid.bits);
}

/* Layers that the container's own grid does not fit. */
static void fallbacks(const card *k)
{
    const qd_model *model = k->context->model;
    const qd_recipe *r = k->context->recipe;
    size_t count = 0;
    const char *first = NULL;
    for (size_t i = 0; i < qd_model_linear_count(model); i++) {
        qd_grid_spec spec = r->grid;
        const qd_linear *linear = qd_model_linear_at(model, i);
        if (qd_recipe_layer_spec(r, linear, &spec, NULL) != QD_OK || qd_grid_spec_equal(&spec, &r->grid))
            continue;
        first = first == NULL ? linear->name : first;
        count++;
    }
    if (count > 0)
        qd_str_addf(k->out,
                    "\nThe rows of %zu layers do not fill whole blocks of `%s`, as those of `%s`: they are in the type "
                    "that it falls back to, which `certificate.json` names layer by layer.\n",
                    count, k->format, first);
}

static void introduction(const card *k)
{
    const qd_recipe *r = k->context->recipe;
    const char *quantized = json_string_value(json_object_get(json_object_get(k->recipe, "source"), "quantized"));
    char unknown[400];
    qd_str_addf(k->out, "# %s, %g bits, `%s`\n\n",
                k->base[0] != '\0' ? k->base : qd_model_borrow_config(k->context->model)->architecture, r->grid.bits,
                k->format);
    qd_str_addf(
        k->out,
        "Weights of %zu linear layers, rounded by `%s` (quantd %s) to %g bits, alphabet `%s`; %.4g bits a weight "
        "with scales as stored. %s are the source's.\n",
        qd_model_linear_count(k->context->model), r->algorithm->name, PACKAGE_VERSION, r->grid.bits,
        r->grid.alphabet->name, json_number_value(json_object_get(k->manifest, "bits_per_weight")),
        qd_model_is_known(k->context->model) ? "Embedding, norms and head" : "All other tensors");
    qd_source_describe_unknown(k->context->model, unknown, sizeof unknown);
    if (unknown[0] != '\0')
        qd_str_addf(k->out, "\n**Not evaluated.** This is %s.\n", unknown);
    if (quantized != NULL)
        qd_str_addf(k->out,
                    "\nThe source was quantized already, as %s: its dequantized values were taken for the model.\n",
                    quantized);
    fallbacks(k);
    qd_str_add(k->out, "\n");
}

static void loading(const card *k)
{
    const qd_format *format = k->choice->format;
    const char *note = format->note == NULL ? NULL : format->note(&k->context->recipe->grid, k->choice->variant);
    qd_str_addf(k->out, "## Loading\n\n%s\n\n", format->usage != NULL ? format->usage : format->summary);
    if (note != NULL)
        qd_str_addf(k->out, "%s\n\n", note);
    if (format->caution != NULL && format->caution(k->context->model) != NULL)
        qd_str_addf(k->out, "**Caution:** %s.\n\n", format->caution(k->context->model));
}

static void add_result(const card *k, const char *name, const qd_perplexity *p, const qd_divergence *d)
{
    qd_str_addf(k->out, "| %s | %.5g | ", name, p->perplexity);
    if (d == NULL)
        qd_str_add(k->out, "0 | 0 | 100 % |\n");
    else
        qd_str_addf(k->out, "%.4g ± %.2g | %.4g | %.2f %% |\n", d->mean, d->standard_error, d->percentile_99,
                    100 * d->same_top);
}

/* Source, artifact and what lies between them, a metric a line. */
static void add_tasks(const card *k, size_t index)
{
    static const char *const columns[] = { "source", "quantized", "difference" };
    QD_AUTO(qd_json_fini) json_t *tasks = qd_task_scores_print(&k->context->tasks, index);
    size_t i;
    const char *metric;
    json_t *task, *figures;
    if (json_array_size(tasks) == 0)
        return;
    qd_str_add(
        k->out,
        "| task | metric | source | this artifact | difference, paired | examples |\n|---|---|---|---|---|---|\n");
    json_array_foreach(tasks, i, task)
    {
        json_object_foreach(json_object_get(task, "metrics"), metric, figures)
        {
            qd_str_addf(k->out, "| %s | %s |", json_string_value(json_object_get(task, "task")), metric);
            for (size_t c = 0; c < QD_LENGTH(columns); c++) {
                const json_t *figure = json_object_get(figures, columns[c]);
                qd_str_addf(k->out, " %.4g ± %.2g |", json_number_value(json_object_get(figure, "value")),
                            json_number_value(json_object_get(figure, "standard_error")));
            }
            qd_str_addf(k->out, " %lld |\n", (long long)json_integer_value(json_object_get(task, "examples")));
        }
    }
    qd_str_add(k->out, "\nZero-shot; ± is one standard error.\n\n");
}

static void text_results(const card *k, size_t index, size_t text)
{
    const qd_measured *m = &k->context->measured;
    const qd_measured_text *t = &m->texts[text];
    const qd_evaluation_text *of = &k->context->evaluation.texts[text];
    bool sampled = qd_evaluation_origin(of) == QD_FROM_MODEL;
    if (k->context->evaluation.text_count > 1)
        qd_str_addf(k->out, "### %s\n\n", of->name);
    qd_str_add(k->out, "| | perplexity | KL(source‖·), nats a token | 99th percentile | same likeliest token |\n"
                       "|---|---|---|---|---|\n");
    add_result(k, "source", &t->source, NULL);
    add_result(k, "this artifact, opened again", &t->artifacts[index].perplexity, &t->artifacts[index]);
    if (m->with_baseline)
        add_result(k, "rounding to nearest", &t->baseline.perplexity, &t->baseline);
    qd_str_addf(k->out, "\nThe artifact loses %.4g ± %.2g nats a token more than the source", t->source_gap[index].mean,
                t->source_gap[index].standard_error);
    if (m->with_baseline)
        qd_str_addf(k->out, ", and %.4g ± %.2g more than rounding to nearest", t->artifact_gap[index].mean,
                    t->artifact_gap[index].standard_error);
    qd_str_addf(
        k->out, " (paired by window). %zu windows of %zu tokens, of which %zu are scored, %s with SHA-256 `%s`.\n\n",
        t->source.windows, of->windows.length, t->source.predictions,
        sampled ? "that the source model sampled itself (perplexities are of its own words), ids" : "of the text",
        sampled ? of->tokens_digest : of->digest);
}

static void results(const card *k, size_t index)
{
    const qd_evaluation *e = &k->context->evaluation;
    qd_str_add(k->out, "## Results\n\n");
    add_tasks(k, index);
    if (!k->context->measured.made) {
        qd_str_addf(k->out, "Perplexity was not measured%s.\n\n",
                    qd_model_is_known(k->context->model) ? ""
                                                         : ": the architecture is not known, nothing runs it here");
        return;
    }
    qd_str_addf(k->out, "Protocol `%s`: %s.\n\n", e->use.row->name, e->use.row->summary);
    for (size_t i = 0; i < e->text_count; i++)
        text_results(k, index, i);
}

/* `calibration.samples` | 128 */
static void add_fields(const card *k, const json_t *object, const char *prefix)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        QD_AUTO(qd_str_fini) qd_str path = { 0 };
        qd_str_addf(&path, "%s%s%s", prefix, prefix[0] == '\0' ? "" : ".", key);
        if (json_is_object(value) && json_object_size(value) > 0) {
            add_fields(k, value, qd_str_borrow(&path));
            continue;
        }
        QD_AUTO(qd_free_pointer)
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
        qd_str_addf(k->out, "| `%s` | `%s` |\n", qd_str_borrow(&path), text == NULL ? "?" : text);
    }
}

/* What became of the tokens of a text. */
static void calibration(const card *k)
{
    const qd_sequence_report *r = &k->context->calibration_text.report;
    if (r->documents == 0)
        return;
    qd_str_addf(k->out, "They hold %zu of the %zu tokens of %zu documents (`%s`); ", r->kept, r->tokens, r->documents,
                qd_boundary_name((size_t)k->context->recipe->calibration_documents));
    if (r->too_short + r->left_over > 0)
        qd_str_addf(k->out, "%zu stand in documents that are too short, %zu behind the last whole sequence of theirs, ",
                    r->too_short, r->left_over);
    qd_str_addf(k->out, "%zu were not asked for.\n\n", r->unused);
}

static void recipe(const card *k)
{
    qd_str_add(k->out, "## Recipe\n\n| field | value |\n|---|---|\n");
    add_fields(k, json_object_get(k->recipe, "recipe"), "");
    qd_str_add(k->out, "\n");
    if (k->context->calibration.count > 0)
        qd_str_addf(k->out, "Calibrated on %zu sequences of %zu tokens%s (SHA-256 of the ids `%s`).\n\n",
                    k->context->calibration.count, k->context->calibration.length,
                    k->context->calibration_origin == QD_FROM_MODEL ? " that the source model sampled itself" : "",
                    k->context->calibration_digest);
    calibration(k);
}

static void certificate(const card *k)
{
    const qd_summary *s = &k->context->summary;
    qd_str_addf(k->out,
                "## Certificate\n\n%zu of %zu layers are certified, %zu degraded; relative output error %.5g. "
                "`certificate.json` has every layer with its bound and what was measured.\n\n",
                s->certified, qd_model_linear_count(k->context->model), s->degraded, qd_summary_relative_error(s));
    if (s->experts > 0)
        qd_str_addf(
            k->out,
            "%zu of %zu experts were starved, that is, sent fewer calibration tokens than `experts.min_tokens`; "
            "the fewest were %zu.\n\n",
            s->starved, s->experts, s->fewest);
    qd_str_add(k->out, "`manifest.json` lists all files with SHA-256; `provenance.json` says what they were made from. "
                       "`quantd verify` checks both.\n");
    if (has_file(k, "README.source.md"))
        qd_str_add(k->out, "\nThe source's own README.md is here as `README.source.md`.\n");
}

qd_code qd_model_card(const qd_context *c, size_t format, const json_t *manifest, qd_str *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *dir = qd_context_folder(c, format);
    card k = { .context = c, .choice = &c->recipe->formats[format], .dir = dir, .manifest = manifest, .out = out };
    qd_code code =
        dir == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : read_record(&k, "config.json", &k.config, err);
    if (code == QD_OK)
        code = read_record(&k, "recipe.json", &k.recipe, err);
    if (code == QD_OK) {
        qd_format_print(k.choice->format, k.choice->variant, k.format);
        find_base(&k);
        find_license(&k);
        front_matter(&k);
        introduction(&k);
        loading(&k);
        results(&k, format);
        recipe(&k);
        certificate(&k);
        code = qd_str_check(out, err);
    }
    json_decref(k.config);
    json_decref(k.recipe);
    return code;
}
