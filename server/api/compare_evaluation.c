/* compare_evaluation.c: see compare_evaluation.h. */
#include "api/compare_evaluation.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One job beside the first. */
typedef struct pair {
    const qd_job *first, *other;
    json_t *reasons, *differences;
} pair;

static void say(const pair *p, const char *format, ...) QD_PRINTF(2, 3);

static void say(const pair *p, const char *format, ...)
{
    char text[400], line[520];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(line, sizeof line, "%s beside %s: %s", p->other->id, p->first->id, text);
    json_array_append_new(p->reasons, json_string(line));
}

static const json_t *at(const json_t *object, const char *a, const char *b, const char *c)
{
    const json_t *value = json_object_get(object, a);
    value = b == NULL ? value : json_object_get(value, b);
    return c == NULL ? value : json_object_get(value, c);
}

static const char *word(const json_t *value, char out[40])
{
    if (json_is_string(value))
        snprintf(out, 40, "%.38s", json_string_value(value));
    else if (json_is_number(value))
        snprintf(out, 40, "%.10g", json_number_value(value));
    else
        snprintf(out, 40, "not said");
    return out;
}

/* What decides the numbers; the protocol's name does not. */
static bool same_protocol(const pair *p)
{
    static const char *const members[] = { "length", "stride", "context", "bos", "split" };
    bool same = true;
    for (size_t i = 0; i < QD_LENGTH(members); i++) {
        char a[40], b[40];
        const json_t *own = at(p->other->result, "evaluation", members[i], NULL),
                     *first = at(p->first->result, "evaluation", members[i], NULL);
        if (own != NULL && json_equal(own, first))
            continue;
        say(p, "evaluation.%s is %s, and %s", members[i], word(own, b), word(first, a));
        same = false;
    }
    return same;
}

static bool is_evaluated(const pair *p, const qd_job *job)
{
    bool found = json_array_size(json_object_get(job->result, "texts")) > 0;
    if (!found)
        say(p, "%s was not evaluated", job->id);
    return found;
}

static const json_t *find_text(const qd_job *job, const char *digest)
{
    size_t index;
    json_t *text;
    json_array_foreach(json_object_get(job->result, "texts"), index, text)
    {
        const char *own = json_string_value(json_object_get(text, "text_sha256"));
        if (own != NULL && digest != NULL && strcmp(own, digest) == 0)
            return text;
    }
    return NULL;
}

/* The same number but for what another machine's sums may do to it. */
static bool is_close(const json_t *a, const json_t *b)
{
    double x = json_number_value(a), y = json_number_value(b);
    return json_is_number(a) && json_is_number(b) && fabs(x - y) <= 1e-6 * fabs(y);
}

/* true: the same tokens in the same windows, of the same source. */
static bool same_text(const pair *p, const json_t *own, const json_t *first)
{
    const char *name = json_string_value(json_object_get(first, "name"));
    if (own == NULL)
        say(p, "it was not measured on the text '%.64s'", name == NULL ? "" : name);
    else if (!json_equal(json_object_get(own, "tokens_sha256"), json_object_get(first, "tokens_sha256")))
        say(p, "of the text '%.64s' other tokens were measured: another tokenizer, or more windows",
            name == NULL ? "" : name);
    else if (!is_close(at(own, "perplexity", "source", NULL), at(first, "perplexity", "source", NULL)))
        say(p, "the sources differ: their perplexities on '%.64s' are %.8g and %.8g", name == NULL ? "" : name,
            json_number_value(at(own, "perplexity", "source", NULL)),
            json_number_value(at(first, "perplexity", "source", NULL)));
    else
        return true;
    return false;
}

/* b - a, with the error of a difference of independent numbers. */
static void add_difference(json_t *out, const char *name, const char *error_name, const json_t *a, const json_t *b)
{
    const json_t *x = json_object_get(a, "mean"), *y = json_object_get(b, "mean");
    bool known = json_is_number(x) && json_is_number(y);
    double error = hypot(json_number_value(json_object_get(a, "standard_error")),
                         json_number_value(json_object_get(b, "standard_error")));
    json_object_set_new(out, name, known ? json_real(json_number_value(y) - json_number_value(x)) : json_null());
    json_object_set_new(out, error_name, known ? json_real(error) : json_null());
}

static json_t *difference(const pair *p, const json_t *own, const json_t *first)
{
    json_t *out =
        json_pack("{s:s, s:s, s:O}", "job", p->other->id, "than", p->first->id, "text", json_object_get(first, "name"));
    add_difference(out, "mean_nll", "standard_error", at(first, "perplexity", "difference", "source"),
                   at(own, "perplexity", "difference", "source"));
    const json_t *nll = json_object_get(out, "mean_nll");
    json_object_set_new(out, "perplexity_ratio",
                        json_is_number(nll) ? json_real(exp(json_number_value(nll))) : json_null());
    add_difference(out, "kl", "kl_standard_error", at(first, "kl", "quantized", NULL),
                   at(own, "kl", "quantized", NULL));
    return out;
}

/* true: comparable on the first text. */
static bool compare_pair(const pair *p)
{
    bool headline = false;
    size_t index;
    json_t *text;
    if (!is_evaluated(p, p->first) || !is_evaluated(p, p->other) || !same_protocol(p))
        return false;
    json_array_foreach(json_object_get(p->first->result, "texts"), index, text)
    {
        const json_t *own = find_text(p->other, json_string_value(json_object_get(text, "text_sha256")));
        if (!same_text(p, own, text))
            continue;
        json_array_append_new(p->differences, difference(p, own, text));
        headline |= index == 0;
    }
    return headline;
}

json_t *qd_compare_evaluation(const qd_job *jobs, size_t count)
{
    pair p = { .first = &jobs[0], .reasons = json_array(), .differences = json_array() };
    bool comparable = true;
    for (size_t i = 1; i < count; i++) {
        p.other = &jobs[i];
        comparable = compare_pair(&p) && comparable;
    }
    return json_pack("{s:b, s:o, s:o}", "comparable", comparable, "reasons", p.reasons, "differences", p.differences);
}
