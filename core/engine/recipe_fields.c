/* recipe_fields.c: see recipe_fields.h. */
#include "engine/recipe_fields.h"

#include <stdio.h>
#include <string.h>

#include "engine/arithmetic.h"
#include "engine/effort.h"
#include "engine/recipe_issues.h"

static bool word(const char *name, char out[QD_WORD])
{
    if (name == NULL)
        return false;
    snprintf(out, QD_WORD, "%s", name);
    return true;
}

/* The three functions of a registry of rows with a name. */
#define ROW_CHOICE(id, at, find, member) \
    static bool id##_name(size_t index, char out[QD_WORD]) \
    { \
        return at(index) != NULL && word(at(index)->name, out); \
    } \
    static bool id##_take(qd_recipe *recipe, const char *name) \
    { \
        if (find(name) == NULL) \
            return false; \
        recipe->member = find(name); \
        return true; \
    } \
    static bool id##_give(const qd_recipe *recipe, char *out) \
    { \
        return word(recipe->member->name, out); \
    } \
    static const qd_choice id##_choice = { id##_name, id##_take, id##_give }

/* The same for an enum whose names are a table. */
#define ENUM_CHOICE(id, name_of, find, type, member) \
    static bool id##_name(size_t index, char out[QD_WORD]) \
    { \
        return word(name_of(index), out); \
    } \
    static bool id##_take(qd_recipe *recipe, const char *name) \
    { \
        if (find(name) < 0) \
            return false; \
        recipe->member = (type)find(name); \
        return true; \
    } \
    static bool id##_give(const qd_recipe *recipe, char *out) \
    { \
        return word(name_of((size_t)recipe->member), out); \
    } \
    static const qd_choice id##_choice = { id##_name, id##_take, id##_give }

static const char *zero_word(size_t index)
{
    return index <= QD_ZERO_FLOAT ? qd_zero_kind_name((qd_zero_kind)index) : NULL;
}

static const char *on_degraded_name(size_t index)
{
    static const char *const names[] = { "warn", "fail" };
    return index < QD_LENGTH(names) ? names[index] : NULL;
}

static int find_name(const char *(*name_of)(size_t index), const char *name)
{
    for (int i = 0; name_of((size_t)i) != NULL; i++)
        if (strcmp(name_of((size_t)i), name) == 0)
            return i;
    return -1;
}

static int on_degraded_find(const char *name)
{
    return find_name(on_degraded_name, name);
}

static const char *on_unknown_name(size_t index)
{
    static const char *const names[] = { "refuse", "data-free" };
    return index < QD_LENGTH(names) ? names[index] : NULL;
}

static int on_unknown_find(const char *name)
{
    return find_name(on_unknown_name, name);
}

const char *qd_fallback_name(size_t index)
{
    static const char *const names[] = { "shared", "rtn" };
    return index < QD_LENGTH(names) ? names[index] : NULL;
}

static int fallback_find(const char *name)
{
    return find_name(qd_fallback_name, name);
}

ROW_CHOICE(alphabet, qd_alphabet_at, qd_alphabet_find, grid.alphabet);
ROW_CHOICE(effort, qd_effort_at, qd_effort_find, effort);
ROW_CHOICE(arithmetic, qd_arithmetic_rule_at, qd_arithmetic_rule_find, arithmetic);
ROW_CHOICE(order, qd_order_at, qd_order_find, order);
ROW_CHOICE(rule, qd_scale_rule_at, qd_scale_rule_find, grid.rule);
ROW_CHOICE(scale_type, qd_scale_type_at, qd_scale_type_find, grid.scale_type);
ENUM_CHOICE(scope, qd_scope_name, qd_scope_find, qd_scope, scope);
ENUM_CHOICE(start, qd_start_name, qd_start_find, qd_start, mismatch.start);
ENUM_CHOICE(rounding, qd_rounding_name, qd_rounding_find, qd_rounding, rounding);
ENUM_CHOICE(zero, zero_word, qd_zero_kind_find, qd_zero_kind, grid.zero);
ENUM_CHOICE(unknown, on_unknown_name, on_unknown_find, qd_on_unknown, on_unknown);
ENUM_CHOICE(degraded, on_degraded_name, on_degraded_find, qd_on_degraded, on_degraded);
ENUM_CHOICE(fallback, qd_fallback_name, fallback_find, qd_fallback, fallback);
ENUM_CHOICE(calibration_split, qd_split_name, qd_split_find, qd_split, calibration_split);
ENUM_CHOICE(calibration_format, qd_text_format_name, qd_text_format_find, qd_text_format, calibration_format);
ENUM_CHOICE(documents, qd_boundary_name, qd_boundary_find, qd_boundary, calibration_documents);
ENUM_CHOICE(sampling, qd_sampling_name, qd_sampling_find, qd_sampling, calibration_sampling);
ENUM_CHOICE(first, qd_first_position_name, qd_first_position_find, qd_first_position, first_position);
ENUM_CHOICE(evaluation_format, qd_text_format_name, qd_text_format_find, qd_text_format, evaluation_format);
ENUM_CHOICE(evaluation_split, qd_split_name, qd_split_find, qd_split, evaluation.split);
ENUM_CHOICE(bos, qd_bos_policy_name, qd_bos_policy_find, qd_bos_policy, evaluation.bos);
ROW_CHOICE(protocol, qd_protocol_at, qd_protocol_find, evaluation.row);

/* Names of all algorithms, then their other names. */
static bool algorithm_name(size_t index, char out[QD_WORD])
{
    size_t rows = 0;
    while (qd_algorithm_at(rows) != NULL)
        rows++;
    if (index < rows)
        return word(qd_algorithm_at(index)->name, out);
    for (size_t i = 0, aliases = rows; i < rows; i++)
        if (qd_algorithm_at(i)->alias != NULL && aliases++ == index)
            return word(qd_algorithm_at(i)->alias, out);
    return false;
}

static bool algorithm_take(qd_recipe *recipe, const char *name)
{
    if (qd_algorithm_find(name) == NULL)
        return false;
    recipe->algorithm = qd_algorithm_find(name);
    return true;
}

static bool algorithm_give(const qd_recipe *recipe, char *out)
{
    return word(recipe->algorithm->name, out);
}

/* Only what needs no data can be made on the grid that was decided. */
static bool baseline_name(size_t index, char out[QD_WORD])
{
    for (size_t i = 0, seen = 0; qd_algorithm_at(i) != NULL; i++)
        if (qd_algorithm_at(i)->needs == QD_NEEDS_NOTHING && seen++ == index)
            return word(qd_algorithm_at(i)->name, out);
    return false;
}

static bool baseline_take(qd_recipe *recipe, const char *name)
{
    const qd_algorithm *found = name == NULL ? NULL : qd_algorithm_find(name);
    if (name != NULL && (found == NULL || found->needs != QD_NEEDS_NOTHING))
        return false;
    recipe->baseline = found;
    return true;
}

static bool baseline_give(const qd_recipe *recipe, char *out)
{
    return recipe->baseline != NULL && word(recipe->baseline->name, out);
}

static bool knows_mismatch(const qd_recipe *recipe)
{
    return recipe->algorithm->needs == QD_NEEDS_MISMATCH;
}

static bool has_start(const qd_recipe *recipe)
{
    return recipe->algorithm->starts;
}

static bool refines(const qd_recipe *recipe)
{
    return recipe->algorithm->refines;
}

/* Does the alphabet leave this to the job? */
static bool takes(const qd_recipe *recipe, const char *param)
{
    const qd_param *p = recipe->grid.alphabet->params;
    while (p->name != NULL && strcmp(p->name, param) != 0)
        p++;
    return p->name != NULL;
}

static bool has_zero(const qd_recipe *recipe)
{
    return takes(recipe, "zero");
}

static bool has_narrow(const qd_recipe *recipe)
{
    return takes(recipe, "narrow");
}

static bool has_own_levels(const qd_recipe *recipe)
{
    return recipe->grid.alphabet->codes == QD_CODES_OWN_LEVELS;
}

static const qd_choice algorithm_choice = { algorithm_name, algorithm_take, algorithm_give };
static const qd_choice baseline_choice = { baseline_name, baseline_take, baseline_give };

#define REFINING "algorithm optq or qronos"
#define AT(member) .offset = offsetof(qd_recipe, member)

static const qd_field table[] = {
    { "name", QD_FIELD_TEXT, QD_FIELD_NULLABLE, AT(name), .max = 200, .help = "label" },
    { "tags", QD_FIELD_LABELS, 0, AT(tags), .max = 200, .help = "labels to find jobs by, text to text" },
    { "priority", QD_FIELD_COUNT, 0, AT(priority), .max = 100, .def = 50, .help = "higher ones start first" },
    { "limits", QD_FIELD_OBJECT, 0,
      .help = "what the run may use; refused before the start when it cannot do with less" },
    { "limits/memory", QD_FIELD_COUNT, QD_FIELD_NULLABLE, AT(limit_memory), .min = 1 << 20, .max = 9007199254740991.0,
      .unit = "bytes", .help = "memory of the run; null = its forecast decides" },
    { "limits/disk", QD_FIELD_COUNT, QD_FIELD_NULLABLE, AT(limit_disk), .min = 1 << 20, .max = 9007199254740991.0,
      .unit = "bytes", .help = "checkpoints and artifact together; null = what is free" },
    { "limits/runtime", QD_FIELD_REAL, QD_FIELD_NULLABLE, AT(limit_runtime), .min = 1, .max = 315360000, .def = -1,
      .unit = "seconds",
      .help = "time of the run, without waiting and downloading; null = the operator's job-runtime" },
    { "webhook", QD_FIELD_OBJECT, QD_FIELD_NULLABLE,
      .help = "told when the job has ended (Standard Webhooks 1.0); url and secret are both required" },
    { "webhook/url", QD_FIELD_URL, QD_FIELD_NULLABLE, AT(webhook_url), .max = QD_URL_CHARACTERS,
      .help = "where a POST goes when the job has ended; null = nowhere" },
    { "webhook/secret", QD_FIELD_TEXT, QD_FIELD_NULLABLE | QD_FIELD_SECRET, AT(webhook_secret), .min = 1, .max = 200,
      .help = "whsec_ and 24 to 64 bytes in base64: signs the message; never shown again" },
    { "publish", QD_FIELD_OBJECT, QD_FIELD_NULLABLE, .shorthand = "publish/url",
      .help = "where the artifact is uploaded to when the job has succeeded" },
    { "publish/url", QD_FIELD_URL, QD_FIELD_NULLABLE, AT(publish_url), .max = QD_URL_CHARACTERS,
      .help = "s3://bucket/prefix, or an https:// folder that takes PUT; null = nowhere" },
    { "model", QD_FIELD_OBJECT, QD_FIELD_REQUIRED, .shorthand = "model/url",
      .help = "what is quantized; a bare string is its URL" },
    { "model/url", QD_FIELD_URL, QD_FIELD_REQUIRED, AT(model_url), .max = QD_URL_CHARACTERS,
      .help = "a Hugging Face model page or hf://org/name, or a folder, a .safetensors or a .gguf file by https://, "
              "s3:// or file://" },
    { "model/revision", QD_FIELD_TEXT, 0, AT(model_revision), .min = 1, .max = 200, .def_text = "main",
      .help = "branch, tag or commit of a hub model" },
    { "model/token", QD_FIELD_TEXT, QD_FIELD_NULLABLE | QD_FIELD_SECRET, AT(model_token), .min = 1, .max = 500,
      .help = "access token of the hub; never shown again" },
    { "model/sha256", QD_FIELD_DIGESTS, QD_FIELD_NULLABLE, AT(model_sha256),
      .help = "digests that files must have, by file name" },
    { "model/unknown", QD_FIELD_CHOICE, 0, .def_text = "refuse", .choice = &unknown_choice,
      .help = "a model whose architecture is not known: refused; or data-free: what names and shapes tell to be linear "
              "layers is rounded to nearest, the rest is kept, and nothing is evaluated; wants algorithm rtn" },
    { "algorithm", QD_FIELD_CHOICE, 0, .def_text = "qronos", .choice = &algorithm_choice,
      .help = "how weights are rounded" },
    { "effort", QD_FIELD_CHOICE, 0, .def_text = "balanced", .choice = &effort_choice,
      .help = "preset of the fields whose default it decides; fields that are given win" },
    { "rounding", QD_FIELD_CHOICE, 0, .def_text = "nearest", .choice = &rounding_choice,
      .help = "how one value goes to a code" },
    { "seed", QD_FIELD_COUNT, 0, AT(seed), .max = 9007199254740991.0, .help = "key of all random numbers" },
    { "certified", QD_FIELD_BOOLEAN, 0, AT(certified),
      .help =
          "stochastic rounding: steps for which the alphabet guarantee holds, or fail with the bits that would do" },
    { "bits", QD_FIELD_WIDTH, 0, AT(grid.bits), .def = 4, .unit = "bits",
      .help = "width of a code; 1.58 = three levels; the alphabet's own where it has one" },
    { "alphabet", QD_FIELD_OBJECT, 0, .shorthand = "alphabet/kind",
      .help = "the values a weight may take, but for scale and zero; a bare string is its kind" },
    { "alphabet/kind", QD_FIELD_CHOICE, 0, .def_text = "int", .choice = &alphabet_choice,
      .help = "family of values; levels when levels are given" },
    { "alphabet/zero", QD_FIELD_CHOICE, QD_FIELD_DERIVED, .def_text = "none", .choice = &zero_choice,
      .applies = has_zero, .wanted = "alphabet int or int-asymmetric",
      .help = "zero point: none (signed codes), integer (a code) or float; the kind's own when absent" },
    { "alphabet/narrow", QD_FIELD_BOOLEAN, 0, AT(grid.narrow), .applies = has_narrow,
      .wanted = "alphabet int or int-asymmetric", .help = "drop the lowest (signed) or highest (unsigned) code" },
    { "alphabet/levels", QD_FIELD_LEVELS, QD_FIELD_DERIVED, AT(grid.levels), .min = QD_LEVELS_MIN, .max = QD_LEVELS_MAX,
      .applies = has_own_levels, .wanted = "alphabet levels",
      .help = "ascending numbers, each once; a group's scale brings its largest weight to the largest of them" },
    { "group_size", QD_FIELD_COUNT, 0, AT(grid.group_size), .max = 1048576, .def = 128, .unit = "input features",
      .help = "features that share a scale; 0 = the whole row" },
    { "scale", QD_FIELD_OBJECT, 0, .help = "how scales are chosen and stored" },
    { "scale/rule", QD_FIELD_CHOICE, 0, .def_text = "mse", .choice = &rule_choice,
      .help = "how a group's scale is chosen" },
    { "scale/shrink", QD_FIELD_REAL, QD_FIELD_ABOVE, AT(grid.shrink), .max = 4, .def = 1,
      .unit = "fraction of the range", .help = "the range is multiplied by it" },
    { "scale/type", QD_FIELD_CHOICE, 0, .def_text = "bf16", .choice = &scale_type_choice,
      .help = "what a scale is stored as" },
    { "transforms", QD_FIELD_TRANSFORMS, 0, AT(transforms),
      .help = "what is done to the weights before they are rounded, in order" },
    { "order", QD_FIELD_CHOICE, 0, .def_text = "norm-descending", .choice = &order_choice,
      .help = "order of columns; auto = the one with the least sum of squared pivots" },
    { "regularization", QD_FIELD_REGULARIZATION, 0, .help = "damping of H: auto, or one rule and its value" },
    { "mismatch", QD_FIELD_OBJECT, 0, .applies = knows_mismatch, .wanted = "algorithm gpfq or qronos",
      .help = "what is done about the difference between the float model's activations and the quantized one's" },
    { "mismatch/scope", QD_FIELD_CHOICE, 0, .def_text = "model", .choice = &scope_choice, .applies = knows_mismatch,
      .wanted = "algorithm gpfq or qronos",
      .help = "model: the float model's own activations; block: every block starts from the quantized one's" },
    { "mismatch/shrink", QD_FIELD_SHRINK, 0, AT(mismatch), .max = 1, .applies = knows_mismatch,
      .wanted = "algorithm gpfq or qronos",
      .help = "share of the difference that is corrected; auto = what every fifth calibration sequence confirms" },
    { "mismatch/start", QD_FIELD_CHOICE, 0, .def_text = "projected", .choice = &start_choice, .applies = has_start,
      .wanted = "algorithm qronos",
      .help = "projected: every column from the least-squares target; original: the first one as first published" },
    { "mismatch/residual", QD_FIELD_BOOLEAN, 0, AT(residual), .applies = knows_mismatch,
      .wanted = "algorithm gpfq or qronos",
      .help = "layers that write to the residual stream repair its error too; wants mismatch.scope model" },
    { "refine", QD_FIELD_OBJECT, 0, .applies = refines, .wanted = REFINING,
      .help = "what is done to the codes of the sweep; nothing of it raises a layer's error" },
    { "refine/beam", QD_FIELD_COUNT, 0, AT(refine.beam), .min = 1, .max = QD_BEAM_MAX, .def = 1, .applies = refines,
      .wanted = REFINING, .unit = "partial roundings",
      .help = "how many are kept of a row, from column to column; 1 = the plain sweep" },
    { "refine/coordinate_descent", QD_FIELD_COUNT, 0, AT(refine.rounds), .max = QD_DESCENT_MAX, .applies = refines,
      .wanted = REFINING, .unit = "rounds", .help = "each moves every code to the best one beside the others" },
    { "refine/refit_scales", QD_FIELD_BOOLEAN, 0, AT(refine.refit), .applies = refines, .wanted = REFINING,
      .help = "every round first fits scales and zeros to the codes, by least squares in the layer's output" },
    { "arithmetic", QD_FIELD_CHOICE, 0, .def_text = "auto", .choice = &arithmetic_choice,
      .help = "what products of calibration are made of, activations and their moments: auto = by the type of the "
              "model's weights, on every "
              "processor alike. Evaluation is in float32 always" },
    { "on_degraded", QD_FIELD_CHOICE, 0, .def_text = "warn", .choice = &degraded_choice,
      .help = "what happens when a layer can only be rounded to nearest" },
    { "experts", QD_FIELD_OBJECT, 0,
      .help = "of models that send a token to a few of many experts: what becomes of those that see few" },
    { "experts/min_tokens", QD_FIELD_COUNT, QD_FIELD_NULLABLE, AT(expert_tokens), .min = 1, .max = 9007199254740991.0,
      .unit = "tokens",
      .help = "calibration tokens below which an expert is starved; null = twice as many as its widest input has "
              "features" },
    { "experts/fallback", QD_FIELD_CHOICE, 0, .def_text = "shared", .choice = &fallback_choice,
      .help = "starved experts: shared = by the statistics of all tokens of their block; rtn = to nearest, degraded" },
    { "calibration", QD_FIELD_OBJECT, 0, .help = "the text that statistics are taken from" },
    { "calibration/source", QD_FIELD_URL, QD_FIELD_NULLABLE | QD_FIELD_SELF, AT(calibration_source),
      .max = QD_URL_CHARACTERS,
      .help = "URL of a text; self: sequences that the source model samples, by seed; null = the operator's, else self "
              "where data is needed" },
    { "calibration/samples", QD_FIELD_COUNT, 0, AT(calibration_samples), .min = 1, .max = 65536, .def = 128,
      .unit = "sequences", .help = "how many sequences" },
    { "calibration/length", QD_FIELD_COUNT, QD_FIELD_NULLABLE, AT(calibration_length), .min = 2, .max = 1048576,
      .unit = "tokens", .help = "tokens a sequence; null = 2048, at most the model's positions" },
    { "calibration/bos", QD_FIELD_BOOLEAN, 0, AT(calibration_bos), .def = 1,
      .help = "every sequence begins with the model's BOS" },
    { "calibration/format", QD_FIELD_CHOICE, 0, .def_text = "auto", .choice = &calibration_format_choice,
      .help =
          "text: one document; jsonl: one a line, an object with text, messages, or prompt and completion; auto: by "
          "content. Each may be in gzip or zstd" },
    { "calibration/documents", QD_FIELD_CHOICE, 0, .def_text = "joined", .choice = &documents_choice,
      .help =
          "joined: sequences run across documents; separated: so they do, with the model's BOS between two, or its "
          "EOS where it has no BOS; within: whole sequences of one document each, the rest of it dropped and counted" },
    { "calibration/split", QD_FIELD_CHOICE, 0, .def_text = "whole", .choice = &calibration_split_choice,
      .help = "whole: one encode call a document; lines: each line with its newline by itself" },
    { "calibration/sampling", QD_FIELD_CHOICE, 0, .def_text = "even", .choice = &sampling_choice,
      .help = "where sequences start: evenly spaced, or random by seed" },
    { "calibration/phase", QD_FIELD_REAL, QD_FIELD_BELOW, AT(calibration_phase), .max = 1, .unit = "spacings",
      .help = "shift of evenly spaced starts" },
    { "calibration/first_position", QD_FIELD_CHOICE, 0, .def_text = "counted", .choice = &first_choice,
      .help =
          "left-out: no statistics are taken from the first token of a sequence, which still goes through the model" },
    { "evaluation", QD_FIELD_OBJECT, 0, .help = "the texts that perplexity is measured on, and how" },
    { "evaluation/text", QD_FIELD_URL, QD_FIELD_NULLABLE | QD_FIELD_SELF, AT(evaluation_text), .max = QD_URL_CHARACTERS,
      .help = "URL of the text that result and gate speak of; self: other sequences of the source model than "
              "calibration's; null = the operator's, else self" },
    { "evaluation/also", QD_FIELD_TEXTS, 0, AT(evaluation_also),
      .help = "further texts, each measured in the same way: a good number on one text says little of another" },
    { "evaluation/protocol", QD_FIELD_CHOICE, 0, .def_text = "plain", .choice = &protocol_choice,
      .help = "preset of length, stride, context, bos and split; fields that are given win" },
    { "evaluation/length", QD_FIELD_COUNT, QD_FIELD_NULLABLE, AT(evaluation.length), .min = 2, .max = 1048576,
      .unit = "tokens", .help = "tokens a window; null = the protocol's, at most the model's positions" },
    { "evaluation/stride", QD_FIELD_COUNT, QD_FIELD_NULLABLE, AT(evaluation.stride), .min = 1, .max = 1048576,
      .unit = "tokens",
      .help = "from the start of a window to the next; of windows that overlap only new tokens are scored; null = the "
              "protocol's, which mostly is side by side" },
    { "evaluation/context", QD_FIELD_COUNT, QD_FIELD_NULLABLE, AT(evaluation.context), .min = 1, .max = 1048576,
      .unit = "tokens", .help = "leading tokens of a window that are not scored; null = the protocol's" },
    { "evaluation/windows", QD_FIELD_COUNT, QD_FIELD_NULLABLE, AT(evaluation.max_windows), .min = 1, .max = 1048576,
      .unit = "windows", .help = "at most so many windows of a text; null = all, of self 16" },
    { "evaluation/format", QD_FIELD_CHOICE, 0, .def_text = "auto", .choice = &evaluation_format_choice,
      .help = "as calibration.format, of every text; documents are joined" },
    { "evaluation/split", QD_FIELD_CHOICE, QD_FIELD_DERIVED, .def_text = "whole", .choice = &evaluation_split_choice,
      .decided_by = "evaluation.protocol", .help = "as calibration.split" },
    { "evaluation/bos", QD_FIELD_CHOICE, QD_FIELD_DERIVED, .def_text = "every-window", .choice = &bos_choice,
      .decided_by = "evaluation.protocol",
      .help =
          "how BOS enters the windows: in place of the first token of each, as one more before its text, once before "
          "the text, or not" },
    { "evaluation/tasks", QD_FIELD_TASKS, 0,
      .help = "zero-shot tasks: names, or objects that say how many examples and where they are; the operator's folder "
              "where they do not" },
    { "evaluation/baseline", QD_FIELD_CHOICE, QD_FIELD_NULLABLE, .def_text = "rtn", .choice = &baseline_choice,
      .help = "what is measured beside the result: nearest on the same grid, or where that was moved to a target, to "
              "the codes or "
              "up to a guarantee, on the one that the scale rule chooses from the weights alone; null = nothing" },
    { "gate", QD_FIELD_OBJECT, 0,
      .help = "what the artifact, opened again, must hold to be published; outside it is quarantined" },
    { "gate/perplexity_ratio", QD_FIELD_REAL, QD_FIELD_NULLABLE, AT(gate_ratio), .max = 1e6, .def = -1,
      .help = "perplexity of the artifact over the source's, at most; null = not asked" },
    { "gate/kl", QD_FIELD_REAL, QD_FIELD_NULLABLE, AT(gate_kl), .max = 1e6, .def = -1, .unit = "nats a token",
      .help = "mean KL(source || artifact), at most; null = not asked" },
    { "gate/every_text", QD_FIELD_BOOLEAN, 0, AT(gate_every),
      .help = "must hold on every text of the evaluation, not on evaluation.text alone" },
    { "format", QD_FIELD_FORMATS, 0, .def_text = "compressed-tensors",
      .help = "container of the artifact, or a list of containers: one run, the same codes in each" },
};

const qd_field *qd_field_at(size_t index)
{
    return index < QD_LENGTH(table) ? &table[index] : NULL;
}

const char *qd_field_key(const qd_field *field)
{
    const char *slash = strrchr(field->path, '/');
    return slash == NULL ? field->path : slash + 1;
}

bool qd_field_is_member(const qd_field *field, const char *parent)
{
    size_t length = strlen(parent);
    const char *slash = strrchr(field->path, '/');
    if (length == 0)
        return slash == NULL;
    return slash != NULL && (size_t)(slash - field->path) == length && strncmp(field->path, parent, length) == 0;
}

const qd_field *qd_field_find(const char *parent, const char *key)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (qd_field_is_member(&table[i], parent) && strcmp(qd_field_key(&table[i]), key) == 0)
            return &table[i];
    return NULL;
}

const qd_field *qd_field_at_path(const char *path)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (strcmp(table[i].path, path) == 0)
            return &table[i];
    return NULL;
}

const json_t *qd_field_value(const qd_field *field, const json_t *request)
{
    char key[QD_WORD];
    const char *at = field->path;
    for (const char *slash = strchr(at, '/'); slash != NULL; at = slash + 1, slash = strchr(at, '/')) {
        snprintf(key, sizeof key, "%.*s", (int)(slash - at), at);
        request = json_object_get(request, key);
    }
    return json_object_get(request, at);
}
