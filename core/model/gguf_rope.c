/* gguf_rope.c: rotary positions of a GGUF file as config.json says them: see gguf_config.h.
 *
 * llama3 scaling is not in the keys: converters store what it divides each pair's frequency by, as rope_freqs.weight.
 * Its parameters come back from the divisors: factor is the largest; between 1 and factor a divisor is
 * 1 / ((1 - s) / factor + s) with s = (oc / wavelength - low) / (high - low), a straight line in the frequency. Only
 * two of oc, low and high can be told from a line: low is 1 in every model there is, and any other choice gives the
 * same frequencies. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "model/gguf_config.h"

enum { KEY_BYTES = 128, MOST_PAIRS = 4096 };
#define CLOSE 2e-5 /* relative: converters compute frequencies in float32 */

typedef struct llama3 {
    double factor, low, high, original;
} llama3;

static double divisor_of(const llama3 *p, double frequency)
{
    double turns = p->original * frequency / (2 * M_PI); /* oc / wavelength */
    if (turns > p->high)
        return 1;
    if (turns < p->low)
        return p->factor;
    double s = (turns - p->low) / (p->high - p->low);
    return 1 / ((1 - s) / p->factor + s);
}

static double frequency(double theta, size_t i, size_t pairs)
{
    return pow(theta, -(double)i / (double)pairs);
}

static bool fits(const llama3 *p, const float *divisors, size_t pairs, double theta)
{
    if (!(p->original > 0 && p->high > p->low && isfinite(p->original) && isfinite(p->high)))
        return false;
    for (size_t i = 0; i < pairs; i++) {
        double want = divisor_of(p, frequency(theta, i, pairs));
        if (!(fabs((double)divisors[i] - want) <= CLOSE * want))
            return false;
    }
    return true;
}

static double round_if_close(double value)
{
    return fabs(value - rint(value)) <= 1e-3 * fabs(value) ? rint(value) : value;
}

/* The pairs whose divisors are neither 1 nor factor: first and last; `pairs` where there is none. */
typedef struct between {
    size_t first, last;
} between;

static between find_between(const float *divisors, size_t pairs, double factor)
{
    between b = { pairs, pairs };
    for (size_t i = 0; i < pairs; i++)
        if ((double)divisors[i] > 1 + CLOSE && (double)divisors[i] < factor * (1 - CLOSE)) {
            b.first = b.first == pairs ? i : b.first;
            b.last = i;
        }
    return b;
}

/* s of a divisor between 1 and factor. */
static double blend(double divisor, double factor)
{
    return (factor / divisor - 1) / (factor - 1);
}

/* The line through two points. */
static llama3 line_through(const float *divisors, size_t pairs, double theta, double factor, between b)
{
    if (b.first == b.last)
        return (llama3){ .factor = factor }; /* too few: no fit */
    double f1 = frequency(theta, b.first, pairs), f2 = frequency(theta, b.last, pairs);
    double s1 = blend((double)divisors[b.first], factor), s2 = blend((double)divisors[b.last], factor);
    double slope = (s1 - s2) / (f1 - f2), below = slope * f1 - s1; /* s = slope f - below */
    double high = round_if_close(1 + 1 / below);
    return (llama3){ factor, 1, high, round_if_close(slope * 2 * M_PI * (high - 1)) };
}

/* With the usual low and high, oc follows from one point; without any, from the two divisors the step lies between. */
static llama3 usual_through(const float *divisors, size_t pairs, double theta, double factor, between b)
{
    llama3 p = { factor, 1, 4, 0 };
    size_t step = 0;
    if (b.first < pairs) {
        double s = blend((double)divisors[b.first], factor);
        p.original = round_if_close(2 * M_PI * (p.low + s * (p.high - p.low)) / frequency(theta, b.first, pairs));
        return p;
    }
    while (step < pairs && divisors[step] == 1)
        step++;
    if (step == 0 || step == pairs)
        return p; /* all or none slowed down: linear, or nothing */
    double least = 2 * M_PI * p.high / frequency(theta, step - 1, pairs);
    double most = 2 * M_PI * p.low / frequency(theta, step, pairs);
    p.original = rint(sqrt(least * most));
    return p;
}

static qd_code recover(const qd_tensor *tensor, size_t pairs, double theta, json_t **out, qd_error *err)
{
    float divisors[MOST_PAIRS];
    if (tensor->elements != pairs || pairs > MOST_PAIRS)
        return qd_fail(err, QD_ESHAPE, "tensor 'rope_freqs.weight' has %llu elements, the heads turn %zu pairs",
                       (unsigned long long)tensor->elements, pairs);
    qd_code code = qd_tensor_check_finite(tensor, err);
    if (code == QD_OK)
        code = qd_tensor_to_floats(tensor, divisors, err);
    if (code != QD_OK)
        return code;
    double factor = 1;
    for (size_t i = 0; i < pairs; i++)
        factor = fmax(factor, (double)divisors[i]);
    factor = qd_gguf_tidy(factor);
    between b = find_between(divisors, pairs, factor);
    const llama3 tries[] = { { factor, 1, 4, 8192 },
                             usual_through(divisors, pairs, theta, factor, b),
                             line_through(divisors, pairs, theta, factor, b) };
    for (size_t i = 0; factor > 1 && i < QD_LENGTH(tries); i++)
        if (fits(&tries[i], divisors, pairs, theta)) {
            *out = json_pack("{s:s, s:f, s:f, s:f, s:I}", "rope_type", "llama3", "factor", tries[i].factor,
                             "low_freq_factor", tries[i].low, "high_freq_factor", tries[i].high,
                             "original_max_position_embeddings", (json_int_t)rint(tries[i].original));
            return *out != NULL ? QD_OK : qd_fail(err, QD_ENOMEM, "out of memory");
        }
    for (size_t i = 0; i < pairs; i++)
        if (divisors[i] != 1)
            return qd_fail(err, QD_EUNSUPPORTED,
                           "tensor 'rope_freqs.weight': divisor %zu is %g; these fit no llama3 scaling, the one that "
                           "is supported",
                           i, (double)divisors[i]);
    return QD_OK;
}

/* The keys of one architecture's rotary positions. */
typedef struct keys {
    const qd_gguf_set *set;
    const char *arch;
} keys;

static qd_code real(const keys *k, const char *key, double fallback, double *out, qd_error *err)
{
    char full[KEY_BYTES];
    snprintf(full, sizeof full, "%s.rope.%s", k->arch, key);
    return qd_gguf_real(k->set->files[0], full, fallback, out, err);
}

static qd_code linear_scaling(double factor, json_t **out, qd_error *err)
{
    *out = json_pack("{s:s, s:f}", "rope_type", "linear", "factor", qd_gguf_tidy(factor));
    return *out != NULL ? QD_OK : qd_fail(err, QD_ENOMEM, "out of memory");
}

/* yarn: amplitudes there are attn_factor (0.1 ln(factor) + 1); config.json's attention_factor is the whole. */
static qd_code yarn_scaling(const keys *k, double factor, json_t **out, qd_error *err)
{
    double original = 0, fast = 32, slow = 1, extrapolation = 1, amplitude = 1;
    qd_code code = real(k, "scaling.original_context_length", 0, &original, err);
    if (code == QD_OK)
        code = real(k, "scaling.yarn_beta_fast", 32, &fast, err);
    if (code == QD_OK)
        code = real(k, "scaling.yarn_beta_slow", 1, &slow, err);
    if (code == QD_OK)
        code = real(k, "scaling.yarn_ext_factor", 1, &extrapolation, err);
    if (code == QD_OK)
        code = real(k, "scaling.yarn_attn_factor", 1, &amplitude, err);
    if (code == QD_OK)
        code = real(k, "scaling.attn_factor", amplitude, &amplitude, err);
    if (code != QD_OK)
        return code;
    if (extrapolation != 1 && extrapolation != -1) /* -1: the default of its mode, which is 1 */
        return qd_fail(err, QD_EUNSUPPORTED, "key '%s.rope.scaling.yarn_ext_factor' of %g is not supported; 1 is",
                       k->arch, extrapolation);
    *out = json_pack("{s:s, s:f, s:f, s:f}", "rope_type", "yarn", "factor", qd_gguf_tidy(factor), "beta_fast",
                     qd_gguf_tidy(fast), "beta_slow", qd_gguf_tidy(slow));
    if (*out != NULL && original > 0)
        json_object_set_new(*out, "original_max_position_embeddings", json_integer((json_int_t)original));
    if (*out != NULL && amplitude != 1 && factor > 1)
        json_object_set_new(*out, "attention_factor", json_real(amplitude * (0.1 * log(factor) + 1)));
    return *out != NULL ? QD_OK : qd_fail(err, QD_ENOMEM, "out of memory");
}

static qd_code scaling_of(const keys *k, size_t dimensions, double theta, json_t **out, qd_error *err)
{
    char full[KEY_BYTES];
    const char *type = NULL;
    double old = 0, factor = 0;
    snprintf(full, sizeof full, "%s.rope.scaling.type", k->arch);
    qd_code code = qd_gguf_text(k->set->files[0], full, NULL, &type, err);
    if (code == QD_OK)
        code = real(k, "scale_linear", 0, &old, err); /* of 2023, before there were types */
    if (code == QD_OK)
        code = real(k, "scaling.factor", old, &factor, err);
    if (code != QD_OK)
        return code;
    const qd_tensor *divisors = qd_gguf_set_find(k->set, "rope_freqs.weight");
    if (type == NULL)
        type = factor != 0 && factor != 1 ? "linear" : "none";
    bool none = strcmp(type, "none") == 0;
    if (divisors != NULL && !none)
        return qd_fail(err, QD_EUNSUPPORTED, "tensor 'rope_freqs.weight' beside key '%s' = '%.40s'", full, type);
    if (divisors != NULL)
        return recover(divisors, dimensions / 2, theta, out, err);
    if (none)
        return QD_OK;
    if (!(factor > 0))
        return qd_fail(err, QD_EFORMAT, "key '%s.rope.scaling.factor' is missing or not above 0", k->arch);
    if (strcmp(type, "linear") == 0)
        return linear_scaling(factor, out, err);
    if (strcmp(type, "yarn") == 0)
        return yarn_scaling(k, factor, out, err);
    return qd_fail(err, QD_EUNSUPPORTED, "key '%s': '%.40s' is not supported; none, linear and yarn are", full, type);
}

qd_code qd_gguf_rope(const qd_gguf_set *set, const char *arch, size_t dimensions, json_t *config, qd_error *err)
{
    const keys k = { set, arch };
    double theta = 10000, turned = 0;
    json_t *scaling = NULL;
    qd_code code = real(&k, "freq_base", 10000, &theta, err);
    if (code == QD_OK)
        code = real(&k, "dimension_count", (double)dimensions, &turned, err);
    if (code == QD_OK && turned != (double)dimensions)
        code =
            qd_fail(err, QD_EUNSUPPORTED, "key '%s.rope.dimension_count' is %g; all %zu features of a head must turn",
                    arch, turned, dimensions);
    if (code == QD_OK && !(theta > 1))
        code = qd_fail(err, QD_EFORMAT, "key '%s.rope.freq_base' is %g; above 1 is wanted", arch, theta);
    if (code == QD_OK)
        code = scaling_of(&k, dimensions, qd_gguf_tidy(theta), &scaling, err);
    if (code != QD_OK)
        return qd_within(err, code, "'%s'", set->names[0]);
    if (json_object_set_new(config, "rope_theta", json_real(qd_gguf_tidy(theta))) != 0 ||
        (scaling != NULL && json_object_set_new(config, "rope_scaling", scaling) != 0))
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return QD_OK;
}
