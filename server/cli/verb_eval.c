/* verb_eval.c: quantd eval: perplexity of a model folder or an artifact on a text. */
#include <stdio.h>
#include <unistd.h>

#include "base/pool.h"
#include "cli/verb.h"
#include "engine/source.h"
#include "eval/divergence.h"
#include "export/artifact.h"
#include "text/corpus.h"

enum { TEXT, LENGTH, WINDOWS, SPLIT, BOS, AGAINST, THREADS };
static const qd_verb_option options[] = {
    [TEXT] = { "text", "FILE", NULL, "the text; required" },
    [LENGTH] = { "length", "N", "2048, at most the model's positions", "tokens a window" },
    [WINDOWS] = { "windows", "N", "0", "first N windows; 0 = all" },
    [SPLIT] = { "split", "HOW", "whole", "whole or lines: what one encode call gets" },
    [BOS] = { "bos", "HOW", "every-window", "every-window, inserted or none" },
    [AGAINST] = { "against", "MODEL", NULL, "the source model: KL(source || this) a token is measured too" },
    [THREADS] = { "threads", "N", "all cores", "threads to use" },
    { 0 },
};

typedef struct settings {
    const char *text;
    uint64_t length, windows, threads;
    qd_split split;
    qd_bos_policy bos;
} settings;

static qd_code read_settings(const qd_arguments *arguments, settings *out, qd_error *err)
{
    const char *const *values = arguments->values;
    if (values[TEXT] == NULL)
        return qd_fail(err, QD_EINVAL, "--text FILE is required");
    int split = qd_split_find(values[SPLIT] == NULL ? "whole" : values[SPLIT]);
    int bos = qd_bos_policy_find(values[BOS] == NULL ? "every-window" : values[BOS]);
    if (split < 0)
        return qd_fail(err, QD_EINVAL, "--split: '%s' is not whole or lines", values[SPLIT]);
    if (bos < 0)
        return qd_fail(err, QD_EINVAL, "--bos: '%s' is not every-window, inserted or none", values[BOS]);
    *out = (settings){ .text = values[TEXT], .split = (qd_split)split, .bos = (qd_bos_policy)bos };
    qd_code code = qd_argument_number(&options[LENGTH], values[LENGTH], 0, &out->length, err);
    if (code == QD_OK)
        code = qd_argument_number(&options[WINDOWS], values[WINDOWS], 0, &out->windows, err);
    if (code == QD_OK)
        code = qd_argument_number(&options[THREADS], values[THREADS], qd_pool_processors(), &out->threads, err);
    return code;
}

static void show_progress(void *ctx, size_t done, size_t total, const char *unit)
{
    (void)ctx;
    fprintf(stderr, "\r%zu of %zu %s%s", done, total, unit, done == total ? "\n" : "");
}

static qd_code cut_windows(const char *dir, const qd_model *model, const settings *s, qd_windows *out, qd_error *err)
{
    const qd_model_config *config = qd_model_borrow_config(model);
    qd_tokenizer *tokenizer = NULL;
    QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
    qd_code code = qd_source_tokenizer(dir, &tokenizer, err);
    if (code == QD_OK)
        code = qd_corpus_read(tokenizer, s->text, s->split, QD_TEXT_LIMIT, &ids, err);
    uint32_t id = 0;
    int64_t bos = config->bos >= 0                                        ? config->bos
                  : tokenizer != NULL && qd_tokenizer_bos(tokenizer, &id) ? (int64_t)id
                                                                          : -1;
    qd_tokenizer_destroy(tokenizer);
    if (code != QD_OK)
        return code;
    size_t length = s->length != 0 ? s->length : QD_WINDOW_LENGTH;
    if (s->length == 0 && config->max_positions != 0 && config->max_positions < length)
        length = config->max_positions;
    return qd_windows_cut(&ids, length, s->windows, s->bos, bos, out, err);
}

/* found->perplexity alone without a source: `against` NULL. */
static qd_code measure(const qd_artifact *artifact, const qd_artifact *against, const qd_windows *windows,
                       size_t threads, qd_divergence *found, qd_error *err)
{
    qd_pool *pool = NULL;
    qd_perplexity ignored;
    const qd_progress progress = { .step = isatty(STDERR_FILENO) ? show_progress : NULL };
    const qd_rival own = { qd_artifact_model(artifact), qd_artifact_overlay(artifact) };
    qd_code code = qd_pool_create(threads, &pool, err);
    if (code == QD_OK && against == NULL)
        code = qd_perplexity_measure(own.model, own.overlay, windows, pool, &progress, NULL, &found->perplexity, err);
    else if (code == QD_OK) {
        const qd_rival source = { qd_artifact_model(against), qd_artifact_overlay(against) };
        code = qd_divergence_measure(&source, &own, 1, windows, pool, &progress, NULL, &ignored, found, err);
    }
    qd_pool_destroy(pool);
    return code;
}

static void print(const qd_divergence *d, const qd_artifact *against, const qd_windows *windows)
{
    const qd_perplexity *p = &d->perplexity;
    printf("{\"perplexity\":%.10g,\"mean_nll\":%.10g,\"standard_error\":%.4g,\"windows\":%zu,\"length\":%zu,"
           "\"predictions\":%zu",
           p->perplexity, p->mean_nll, p->standard_error, p->windows, windows->length, p->predictions);
    if (against != NULL)
        printf(",\"kl\":{\"mean\":%.10g,\"standard_error\":%.4g,\"p99\":%.10g,\"max\":%.10g,\"same_top\":%.10g}",
               d->mean, d->standard_error, d->percentile_99, d->max, d->same_top);
    printf("}\n");
}

static int run(const qd_arguments *arguments)
{
    qd_error err = { 0 };
    settings s;
    qd_artifact *artifact = NULL, *against = NULL;
    qd_divergence found = { 0 };
    QD_AUTO(qd_windows_fini) qd_windows windows = { 0 };
    const char *dir = arguments->operands[0];
    qd_code code = read_settings(arguments, &s, &err);
    if (code == QD_OK)
        code = qd_artifact_open(dir, &artifact, &err);
    if (code == QD_OK && arguments->values[AGAINST] != NULL)
        code = qd_artifact_open(arguments->values[AGAINST], &against, &err);
    if (code == QD_OK)
        code = cut_windows(dir, qd_artifact_model(artifact), &s, &windows, &err);
    if (code == QD_OK)
        code = measure(artifact, against, &windows, s.threads, &found, &err);
    if (code == QD_OK)
        print(&found, against, &windows);
    qd_artifact_destroy(artifact);
    qd_artifact_destroy(against);
    return code == QD_OK ? QD_EXIT_OK : qd_verb_fail(code, &err);
}

const qd_verb qd_verb_eval = {
    .name = "eval",
    .summary = "perplexity of a model folder or an artifact on a text, as one line of JSON",
    .operands = "MODEL_OR_ARTIFACT",
    .operand_count = 1,
    .options = options,
    .run = run,
};
