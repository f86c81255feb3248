/* verb_eval.c: quantd eval: perplexity of a model folder or an artifact on texts, KL from a source, and zero-shot tasks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/str.h"
#include "cli/eval_tasks.h"
#include "cli/verb.h"
#include "engine/conversations.h"
#include "engine/evaluation_json.h"
#include "engine/recipe.h"
#include "engine/source.h"
#include "export/artifact.h"

enum { TEXTS_MAX = 1 + QD_TEXTS_MAX };
enum { TEXT, PROTOCOL, LENGTH, STRIDE, CONTEXT, WINDOWS, FORMAT, SPLIT, BOS, TASK, DETAILS, AGAINST, THREADS };
static const qd_verb_option options[] = {
    [TEXT] = { "text", "FILE", NULL,
               "a text; may be repeated, the first stands for all; required unless there is a task" },
    [PROTOCOL] = { "protocol", "NAME", "plain",
                   "preset of the following: plain, tutorial, gptq, strided or llama.cpp (GET /catalog tells them)" },
    [LENGTH] = { "length", "N", "the protocol's, at most the model's positions", "tokens a window" },
    [STRIDE] = { "stride", "N", "the protocol's",
                 "tokens from the start of a window to the next; of windows that overlap only new tokens are scored" },
    [CONTEXT] = { "context", "N", "the protocol's", "leading tokens of a window that are not scored" },
    [WINDOWS] = { "windows", "N", "0", "first N windows of a text; 0 = all" },
    [FORMAT] = { "format", "WHAT", "auto",
                 "text, jsonl (a document a line), or auto: by content; also in gzip or zstd" },
    [SPLIT] = { "split", "HOW", "the protocol's", "whole or lines: what one encode call gets" },
    [BOS] = { "bos", "HOW", "the protocol's", "every-window, inserted, first-window or none" },
    [TASK] = { "task", "NAME=FILE[:N]", NULL, "JSON Lines of a zero-shot task, the first N; may be repeated" },
    [DETAILS] = { "details", "FILE", NULL, "write the tasks' log-likelihoods there, a line an example" },
    [AGAINST] = { "against", "MODEL", NULL,
                  "the source model: its perplexity, and KL(source || this) a token, are measured too" },
    [THREADS] = { "threads", "N", "all cores", "threads to use" },
    { 0 },
};
static const char notes[] = "Members of the line: perplexity, mean_nll and its standard_error by window; evaluation: "
                            "the protocol in numbers; with --against: kl, and\n"
                            "difference: how many nats a token more than the source are lost, with an error that is "
                            "paired by window; texts: each of several.";

typedef struct settings {
    const char *texts[TEXTS_MAX];
    size_t text_count;
    const char *model;
    uint64_t threads;
    qd_text_format format;
    qd_protocol_use use;
    bool bos_given;
} settings;

static const char *protocol_name(size_t index)
{
    const qd_protocol *row = qd_protocol_at(index);
    return row == NULL ? NULL : row->name;
}

static qd_code refuse(size_t option, const char *given, const char *(*name_of)(size_t index), qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str known = { 0 };
    for (size_t i = 0; name_of(i) != NULL; i++)
        qd_str_addf(&known, "%s%s", i == 0 ? "" : ", ", name_of(i));
    return qd_fail(err, QD_EINVAL, "--%s: '%s' is not in %s", options[option].name, given, qd_str_borrow(&known));
}

static qd_code read_choices(const qd_arguments *arguments, settings *out, qd_error *err)
{
    const char *const *values = arguments->values;
    const char *name = values[PROTOCOL];
    const qd_protocol *row = name == NULL ? qd_protocol_at(0) : qd_protocol_find(name);
    if (row == NULL)
        return refuse(PROTOCOL, name, protocol_name, err);
    out->use = qd_protocol_defaults(row);
    int format = qd_text_format_find(values[FORMAT] == NULL ? "auto" : values[FORMAT]);
    int split = values[SPLIT] == NULL ? (int)row->split : qd_split_find(values[SPLIT]);
    int bos = values[BOS] == NULL ? (int)row->bos : qd_bos_policy_find(values[BOS]);
    if (format < 0)
        return refuse(FORMAT, values[FORMAT], qd_text_format_name, err);
    if (split < 0)
        return refuse(SPLIT, values[SPLIT], qd_split_name, err);
    if (bos < 0)
        return refuse(BOS, values[BOS], qd_bos_policy_name, err);
    out->model = arguments->operands[0];
    out->format = (qd_text_format)format;
    out->use.split = (qd_split)split;
    out->use.bos = (qd_bos_policy)bos;
    out->bos_given = values[BOS] != NULL;
    return QD_OK;
}

static qd_code read_settings(const qd_arguments *arguments, settings *out, qd_error *err)
{
    const char *const *values = arguments->values;
    qd_code code = qd_argument_values(options, TEXT, arguments, TEXTS_MAX, out->texts, &out->text_count, err);
    if (code == QD_OK && out->text_count == 0 && !qd_eval_tasks_given(arguments, TASK))
        code = qd_fail(err, QD_EINVAL, "--text FILE or --task NAME=FILE is required");
    if (code == QD_OK && values[DETAILS] != NULL && !qd_eval_tasks_given(arguments, TASK))
        code = qd_fail(err, QD_EINVAL, "--details wants --task");
    if (code == QD_OK)
        code = read_choices(arguments, out, err);
    const struct {
        size_t option;
        size_t *to;
    } numbers[] = { { LENGTH, &out->use.length },
                    { STRIDE, &out->use.stride },
                    { CONTEXT, &out->use.context },
                    { WINDOWS, &out->use.max_windows } };
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(numbers); i++)
        code = qd_argument_number(&options[numbers[i].option], values[numbers[i].option], 0, numbers[i].to, err);
    if (code == QD_OK)
        code = qd_argument_number(&options[THREADS], values[THREADS], qd_pool_processors(), &out->threads, err);
    return code;
}

/* All of one call. */
typedef struct evaluation {
    settings settings;
    qd_artifact *artifact, *against; /* against: NULL without a source */
    qd_pool *pool;
    qd_window_cut cut;
    qd_windows windows[TEXTS_MAX];
    size_t before, total; /* windows of texts that are done; of all texts, or 0 while tasks are measured */
    double started;
} evaluation;

static void evaluation_fini(evaluation *e)
{
    for (size_t i = 0; i < TEXTS_MAX; i++)
        qd_windows_fini(&e->windows[i]);
    qd_artifact_destroy(e->artifact);
    qd_artifact_destroy(e->against);
    qd_pool_destroy(e->pool);
}

static void show_progress(void *ctx, size_t done, size_t total, const char *unit)
{
    const evaluation *e = ctx;
    size_t so_far = e->before + done, all = e->total == 0 ? total : e->total;
    double spent = qd_clock_seconds() - e->started;
    fprintf(stderr, "\r\033[K%zu of %zu %s, %.0f s left%s", so_far, all, unit,
            spent * (double)(all - so_far) / (double)qd_max_size(so_far, 1), so_far == all ? "\n" : "");
}

static qd_code cut_texts(evaluation *e, const qd_tokenizer *tokenizer, qd_error *err)
{
    const settings *s = &e->settings;
    const qd_model *model = qd_artifact_model(e->artifact);
    int64_t bos = qd_source_bos(model, tokenizer);
    qd_code code =
        qd_protocol_resolve(&s->use, "--length", qd_model_borrow_config(model)->max_positions, bos, &e->cut, err);
    if (code == QD_OK && bos < 0 && s->bos_given && s->use.bos != QD_BOS_NONE)
        code = qd_fail(err, QD_EINVAL, "--bos: the tokenizer has no BOS token: only 'none' works");
    for (size_t i = 0; code == QD_OK && i < s->text_count; i++) {
        QD_AUTO(qd_corpus_fini) qd_corpus corpus = { 0 };
        const qd_corpus_way way = { .split = s->use.split, .format = s->format };
        code = qd_conversations_corpus(s->model, tokenizer, s->texts[i], way, &corpus, err);
        if (code == QD_OK && (code = qd_windows_cut(&corpus.ids, &e->cut, &e->windows[i], err)) != QD_OK)
            qd_within(err, code, "'%s'", s->texts[i]);
        e->total += e->windows[i].count;
    }
    return code;
}

/* What one text told. */
typedef struct found {
    qd_perplexity source;
    qd_divergence divergence; /* its perplexity alone without a source */
    qd_window_mean gap;
} found;

static qd_code measure(evaluation *e, size_t text, found *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) double *nll = NULL;
    const qd_windows *windows = &e->windows[text];
    const qd_progress progress = { .step = isatty(STDERR_FILENO) ? show_progress : NULL, .ctx = e };
    const qd_rival own = { qd_artifact_model(e->artifact), qd_artifact_overlay(e->artifact) };
    if (e->against == NULL)
        return qd_perplexity_measure(own.model, own.overlay, windows, e->pool, &progress, NULL, NULL,
                                     &out->divergence.perplexity, err);
    const qd_rival source = { qd_artifact_model(e->against), qd_artifact_overlay(e->against) };
    qd_code code = qd_alloc(2 * windows->count, sizeof *nll, (void **)&nll, err);
    if (code == QD_OK)
        code = qd_divergence_measure(&source, &own, 1, windows, e->pool, &progress, NULL, nll, &out->source,
                                     &out->divergence, err);
    if (code == QD_OK)
        out->gap = qd_perplexity_gap(nll + windows->count, nll, windows);
    return code;
}

static json_t *print_found(const evaluation *e, const found *f)
{
    const qd_perplexity *p = &f->divergence.perplexity;
    json_t *out = json_pack("{s:f, s:f, s:f, s:I, s:I, s:I}", "perplexity", p->perplexity, "mean_nll", p->mean_nll,
                            "standard_error", p->standard_error, "windows", (json_int_t)p->windows, "length",
                            (json_int_t)e->cut.length, "predictions", (json_int_t)p->predictions);
    if (e->against == NULL)
        return out;
    json_object_set_new(out, "source_perplexity", qd_number_print(f->source.perplexity));
    json_object_set_new(out, "difference", qd_window_mean_print(&f->gap));
    json_object_set_new(out, "kl", qd_divergence_print(&f->divergence));
    return out;
}

/* The first text's members, and a list of all where there are several. */
static qd_code measure_texts(evaluation *e, json_t **out, qd_error *err)
{
    json_t *texts = json_array();
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < e->settings.text_count; i++) {
        found f = { 0 };
        code = measure(e, i, &f, err);
        if (code != QD_OK)
            break;
        json_t *one = print_found(e, &f);
        if (i == 0) {
            *out = json_deep_copy(one);
            json_object_set_new(*out, "evaluation", qd_protocol_print(&e->settings.use, &e->cut, &e->windows[0]));
        }
        char name[QD_TEXT_NAME];
        qd_text_name(e->settings.texts[i], name);
        json_object_set_new(one, "name", json_string(name));
        json_array_append_new(texts, one);
        e->before += e->windows[i].count;
    }
    if (code == QD_OK && json_array_size(texts) > 1)
        json_object_set(*out, "texts", texts);
    json_decref(texts);
    return code;
}

static qd_code measure_tasks(const qd_arguments *arguments, evaluation *e, json_t *out, qd_error *err)
{
    json_t *tasks = NULL;
    e->started = qd_clock_seconds();
    e->before = e->total = 0;
    const qd_progress progress = { .step = isatty(STDERR_FILENO) ? show_progress : NULL, .ctx = e };
    const qd_eval_asked asked = { .artifact = e->artifact,
                                  .against = e->against,
                                  .dir = arguments->operands[0],
                                  .details = arguments->values[DETAILS],
                                  .progress = &progress,
                                  .threads = e->settings.threads };
    if (!qd_eval_tasks_given(arguments, TASK))
        return QD_OK;
    qd_code code = qd_eval_tasks_run(arguments, TASK, &asked, &tasks, err);
    if (code == QD_OK)
        json_object_set_new(out, "tasks", tasks);
    return code;
}

static qd_code measure_given(const qd_arguments *arguments, evaluation *e, json_t **out, qd_error *err)
{
    qd_code code = qd_pool_create(e->settings.threads, &e->pool, err);
    e->started = qd_clock_seconds();
    if (code == QD_OK && e->settings.text_count > 0)
        code = measure_texts(e, out, err);
    else
        *out = json_object();
    return code == QD_OK ? measure_tasks(arguments, e, *out, err) : code;
}

static qd_code evaluate(const qd_arguments *arguments, evaluation *e, json_t **out, qd_error *err)
{
    qd_tokenizer *tokenizer = NULL;
    qd_code code = read_settings(arguments, &e->settings, err);
    if (code == QD_OK)
        code = qd_artifact_open(arguments->operands[0], &e->artifact, err);
    if (code == QD_OK && arguments->values[AGAINST] != NULL)
        code = qd_artifact_open(arguments->values[AGAINST], &e->against, err);
    if (code == QD_OK)
        code = qd_source_tokenizer(arguments->operands[0], &tokenizer, err);
    if (code == QD_OK)
        code = cut_texts(e, tokenizer, err);
    qd_tokenizer_destroy(tokenizer);
    return code == QD_OK ? measure_given(arguments, e, out, err) : code;
}

static int run(const qd_arguments *arguments)
{
    qd_error err = { 0 };
    QD_AUTO(qd_json_fini) json_t *out = NULL;
    QD_AUTO(evaluation_fini) evaluation e = { 0 };
    qd_code code = evaluate(arguments, &e, &out, &err);
    if (code != QD_OK)
        return qd_verb_fail(code, &err);
    json_dumpf(out, stdout, JSON_COMPACT | JSON_REAL_PRECISION(10));
    printf("\n");
    return QD_EXIT_OK;
}

const qd_verb qd_verb_eval = {
    .name = "eval",
    .summary = "perplexity of a model folder or an artifact on texts, and zero-shot tasks, as one line of JSON",
    .operands = "MODEL_OR_ARTIFACT",
    .operand_count = 1,
    .options = options,
    .notes = notes,
    .run = run,
};
