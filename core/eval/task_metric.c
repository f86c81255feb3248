/* task_metric.c: the registry of metrics, and what a set of examples comes to. */
#include "eval/task.h"

#include <math.h>
#include <string.h>

/* The largest of the choices, the first of equals. */
static size_t best_of(const qd_answer *a, double (*weigh)(const qd_answer *a, size_t index))
{
    size_t best = 0;
    for (size_t i = 1; i < a->count; i++)
        if (weigh(a, i) > weigh(a, best))
            best = i;
    return best;
}

static double log_p(const qd_answer *a, size_t index)
{
    return a->choices[index].log_p;
}

static double log_p_a_character(const qd_answer *a, size_t index)
{
    return a->choices[index].log_p / (double)a->characters[index];
}

/* Where there is nothing to choose from, the continuation has to be the likeliest word by word. */
static double accuracy(const qd_answer *a)
{
    bool right = a->count == 1 ? a->choices[0].greedy : best_of(a, log_p) == a->gold;
    return right ? 1 : 0;
}

static double accuracy_normed(const qd_answer *a)
{
    return best_of(a, log_p_a_character) == a->gold ? 1 : 0;
}

static double gold_log_p(const qd_answer *a)
{
    return a->choices[a->gold].log_p;
}

static const qd_metric table[] = {
    { "acc", "share of examples whose likeliest choice is the right one, or whose word is the likeliest",
      QD_METRIC_MEAN, accuracy },
    { "acc_norm", "the same by likelihood a character of the choice", QD_METRIC_MEAN, accuracy_normed },
    { "perplexity", "exp of minus the mean log-likelihood of the continuation", QD_METRIC_PERPLEXITY, gold_log_p },
};

const qd_metric *qd_metric_at(size_t index)
{
    return index < QD_LENGTH(table) ? &table[index] : NULL;
}

const qd_metric *qd_metric_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

static double mean_of(const double *numbers, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += numbers[i];
    return sum / (double)count;
}

/* What the metric makes of a mean, and how steep it is there. */
static double value_at(const qd_metric *metric, double mean)
{
    return metric->kind == QD_METRIC_MEAN ? mean : exp(-mean);
}

static double slope_at(const qd_metric *metric, double mean)
{
    return metric->kind == QD_METRIC_MEAN ? 1 : -exp(-mean);
}

/* Sample standard deviation over sqrt(count), of x[i] * scale_x - y[i] * scale_y; y NULL = nothing. */
static double error_of(const double *x, double scale_x, const double *y, double scale_y, size_t count)
{
    double mean = scale_x * mean_of(x, count) - (y == NULL ? 0 : scale_y * mean_of(y, count)), square = 0;
    if (count < 2)
        return NAN;
    for (size_t i = 0; i < count; i++) {
        double off = scale_x * x[i] - (y == NULL ? 0 : scale_y * y[i]) - mean;
        square += off * off;
    }
    return sqrt(square / (double)(count - 1) / (double)count);
}

qd_figure qd_metric_figure(const qd_metric *metric, const double *numbers, size_t count)
{
    double mean = mean_of(numbers, count);
    return (qd_figure){ value_at(metric, mean), error_of(numbers, slope_at(metric, mean), NULL, 0, count) };
}

qd_figure qd_metric_difference(const qd_metric *metric, const double *before, const double *after, size_t count)
{
    double was = mean_of(before, count), is = mean_of(after, count);
    return (qd_figure){ value_at(metric, is) - value_at(metric, was),
                        error_of(after, slope_at(metric, is), before, slope_at(metric, was), count) };
}
