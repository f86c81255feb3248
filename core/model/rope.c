/* rope.c: see rope.h. */
#include "model/rope.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"

struct qd_rope_scaling {
    const char *name;
    /* The frequency of pair i after scaling; plain = theta^(-2i/r). */
    double (*frequency)(const qd_rope *rope, size_t i, double plain);
    /* Needs these keys of the config. */
    const char *const *required;
};

static double default_frequency(const qd_rope *rope, size_t i, double plain)
{
    (void)rope;
    (void)i;
    return plain;
}

static double linear_frequency(const qd_rope *rope, size_t i, double plain)
{
    (void)i;
    return plain / rope->factor;
}

/* Long waves are slowed down by factor, short ones kept, those between blended. */
static double llama3_frequency(const qd_rope *rope, size_t i, double plain)
{
    (void)i;
    double wavelength = 2 * M_PI / plain;
    if (wavelength < rope->original_positions / rope->high_frequency_factor)
        return plain;
    if (wavelength > rope->original_positions / rope->low_frequency_factor)
        return plain / rope->factor;
    double s = (rope->original_positions / wavelength - rope->low_frequency_factor) /
               (rope->high_frequency_factor - rope->low_frequency_factor);
    return plain * ((1 - s) / rope->factor + s);
}

/* dim(n) = r ln(oc / (2 pi n)) / (2 ln theta): the pair that turns n times within the original length. */
static double yarn_dimension(const qd_rope *rope, double turns)
{
    return (double)rope->dimensions * log(rope->original_positions / (2 * M_PI * turns)) / (2 * log(rope->theta));
}

static double yarn_frequency(const qd_rope *rope, size_t i, double plain)
{
    double low = fmax(floor(yarn_dimension(rope, rope->beta_fast)), 0);
    double high = fmin(ceil(yarn_dimension(rope, rope->beta_slow)), (double)rope->dimensions - 1);
    double span = high == low ? 0.001 : high - low;
    double ramp = fmin(fmax(((double)i - low) / span, 0), 1);
    return plain / rope->factor * ramp + plain * (1 - ramp);
}

static const char *const needs_nothing[] = { NULL };
static const char *const needs_factor[] = { "factor", NULL };
static const char *const needs_llama3[] = { "factor", "low_freq_factor", "high_freq_factor",
                                            "original_max_position_embeddings", NULL };

static const qd_rope_scaling table[] = {
    { "default", default_frequency, needs_nothing },
    { "linear", linear_frequency, needs_factor },
    { "llama3", llama3_frequency, needs_llama3 },
    { "yarn", yarn_frequency, needs_factor },
};
enum { LLAMA3_ROW = 2, YARN_ROW = 3 };

static qd_code find_scaling(const char *name, const qd_rope_scaling **out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str known = { 0 };
    for (size_t i = 0; i < QD_LENGTH(table); i++) {
        if (strcmp(table[i].name, name) == 0) {
            *out = &table[i];
            return QD_OK;
        }
        qd_str_addf(&known, "%s%s", i == 0 ? "" : ", ", table[i].name);
    }
    return qd_fail(err, QD_EUNSUPPORTED, "rope type '%s' is not supported; supported are %s", name,
                   qd_str_borrow(&known));
}

static qd_code read_parameters(const json_t *source, const json_t *config, size_t max_positions, qd_rope *rope,
                               qd_error *err)
{
    double top_theta = 10000;
    qd_code code = qd_json_real(config, "rope_theta", 10000, &top_theta, err);
    if (code == QD_OK)
        code = qd_json_real(source, "rope_theta", top_theta, &rope->theta, err);
    if (code == QD_OK)
        code = qd_json_real(source, "factor", 1, &rope->factor, err);
    if (code == QD_OK)
        code = qd_json_real(source, "low_freq_factor", 1, &rope->low_frequency_factor, err);
    if (code == QD_OK)
        code = qd_json_real(source, "high_freq_factor", 4, &rope->high_frequency_factor, err);
    if (code == QD_OK)
        code = qd_json_real(source, "original_max_position_embeddings", (double)max_positions,
                            &rope->original_positions, err);
    if (code == QD_OK)
        code = qd_json_real(source, "beta_fast", 32, &rope->beta_fast, err);
    if (code == QD_OK)
        code = qd_json_real(source, "beta_slow", 1, &rope->beta_slow, err);
    if (code == QD_OK)
        code = qd_json_real(source, "attention_factor", 0, &rope->attention_factor, err);
    return code;
}

static qd_code check_parameters(const qd_rope *rope, const json_t *source, qd_error *err)
{
    for (size_t i = 0; rope->scaling->required[i] != NULL; i++)
        if (!json_is_number(json_object_get(source, rope->scaling->required[i])))
            return qd_fail(err, QD_EFORMAT, "rope type '%s' needs '%s'", rope->scaling->name,
                           rope->scaling->required[i]);
    if (!(rope->theta > 1) || !(rope->factor > 0) || !isfinite(rope->theta) || !isfinite(rope->factor))
        return qd_fail(err, QD_EFORMAT, "rope_theta %g and factor %g make no rotation", rope->theta, rope->factor);
    bool yarn = rope->scaling == &table[YARN_ROW], llama3 = rope->scaling == &table[LLAMA3_ROW];
    if ((yarn || llama3) && !(rope->original_positions > 0))
        return qd_fail(err, QD_EFORMAT, "rope type '%s' needs original_max_position_embeddings above 0",
                       rope->scaling->name);
    if (yarn && !(rope->beta_fast > 0 && rope->beta_slow > 0))
        return qd_fail(err, QD_EFORMAT, "beta_fast %g and beta_slow %g must be above 0", rope->beta_fast,
                       rope->beta_slow);
    if (llama3 && !(rope->low_frequency_factor > 0 && rope->high_frequency_factor > rope->low_frequency_factor))
        return qd_fail(err, QD_EFORMAT, "low_freq_factor %g must be above 0 and below high_freq_factor %g",
                       rope->low_frequency_factor, rope->high_frequency_factor);
    return QD_OK;
}

/* The object that holds the parameters: rope_parameters, rope_scaling, or neither (NULL). */
static qd_code find_source(const json_t *config, const json_t **out, qd_error *err)
{
    static const char *const keys[] = { "rope_parameters", "rope_scaling" };
    /* Parameters that change the result and that no row here reads; and one object a layer type. */
    static const char *const unread[] = { "mscale", "mscale_all_dim", "full_attention", "sliding_attention" };
    *out = NULL;
    for (size_t i = 0; *out == NULL && i < QD_LENGTH(keys); i++) {
        const json_t *value = json_object_get(config, keys[i]);
        if (value != NULL && !json_is_null(value) && !json_is_object(value))
            return qd_fail(err, QD_EFORMAT, "'%s': an object is wanted, found %s", keys[i], qd_json_type_name(value));
        *out = json_is_object(value) ? value : NULL;
    }
    for (size_t i = 0; i < QD_LENGTH(unread); i++)
        if (json_object_get(*out, unread[i]) != NULL)
            return qd_fail(err, QD_EUNSUPPORTED, "rope parameter '%s' is not supported here", unread[i]);
    return QD_OK;
}

static qd_code read_dimensions(const json_t *source, const json_t *config, size_t head_dim, size_t *out, qd_error *err)
{
    double partial = 1;
    qd_code code = qd_json_real(config, "partial_rotary_factor", 1, &partial, err);
    if (code == QD_OK)
        code = qd_json_real(source, "partial_rotary_factor", partial, &partial, err);
    if (code != QD_OK)
        return code;
    if (!(partial > 0 && partial <= 1))
        return qd_fail(err, QD_EFORMAT, "partial_rotary_factor %g is not in (0, 1]", partial);
    *out = (size_t)((double)head_dim * partial);
    if (*out == 0 || *out % 2 != 0)
        return qd_fail(err, QD_EFORMAT, "%zu rotary dimensions of a head of %zu; an even number is wanted", *out,
                       head_dim);
    return QD_OK;
}

const char *qd_rope_scaling_name(const qd_rope *rope)
{
    return rope->scaling->name;
}

double qd_rope_plain_frequency(const qd_rope *rope, size_t i)
{
    return pow(rope->theta, -2.0 * (double)i / (double)rope->dimensions);
}

double qd_rope_frequency(const qd_rope *rope, size_t i)
{
    return rope->scaling->frequency(rope, i, qd_rope_plain_frequency(rope, i));
}

/* What cosine and sine of position times frequency multiply: 1 but for yarn. */
static double amplitude_of(const qd_rope *rope)
{
    if (rope->scaling != &table[YARN_ROW])
        return 1;
    if (rope->attention_factor > 0)
        return rope->attention_factor;
    return rope->factor > 1 ? 0.1 * log(rope->factor) + 1 : 1;
}

/* Parameters that pass one by one may still make angles or amplitudes that no float holds. */
static qd_code check_angles(const qd_rope *rope, qd_error *err)
{
    const double most = 1e6; /* radians a position, and amplitude: far beyond any use, far from any overflow */
    if (!(rope->attention_factor >= 0 && rope->attention_factor <= most))
        return qd_fail(err, QD_EFORMAT, "attention_factor %g is not in [0, %g]", rope->attention_factor, most);
    for (size_t i = 0; i < rope->dimensions / 2; i++)
        if (!(qd_rope_frequency(rope, i) >= 0 && qd_rope_frequency(rope, i) <= most))
            return qd_fail(err, QD_EFORMAT, "rope type '%s': pair %zu turns by %g a position", rope->scaling->name, i,
                           qd_rope_frequency(rope, i));
    return QD_OK;
}

qd_code qd_rope_read(const json_t *config, size_t head_dim, size_t max_positions, qd_rope *out, qd_error *err)
{
    qd_rope rope = { 0 };
    const json_t *source = NULL;
    const char *type = NULL;
    qd_code code = find_source(config, &source, err);
    if (code == QD_OK)
        code = qd_json_text(source, "rope_type", NULL, &type, err);
    if (code == QD_OK && type == NULL)
        code = qd_json_text(source, "type", "default", &type, err);
    if (code == QD_OK)
        code = find_scaling(type, &rope.scaling, err);
    if (code == QD_OK)
        code = read_parameters(source, config, max_positions, &rope, err);
    if (code == QD_OK)
        code = check_parameters(&rope, source, err);
    if (code == QD_OK)
        code = read_dimensions(source, config, head_dim, &rope.dimensions, err);
    if (code == QD_OK)
        code = check_angles(&rope, err);
    if (code == QD_OK)
        *out = rope;
    return code;
}

void qd_rope_tables(const qd_rope *rope, qd_matf out_cosine, qd_matf out_sine)
{
    double scale = amplitude_of(rope);
    for (size_t i = 0; i < rope->dimensions / 2; i++) {
        double frequency = qd_rope_frequency(rope, i);
        for (size_t t = 0; t < out_cosine.rows; t++) {
            qd_matf_row(out_cosine, t)[i] = (float)(cos((double)t * frequency) * scale);
            qd_matf_row(out_sine, t)[i] = (float)(sin((double)t * frequency) * scale);
        }
    }
}

void qd_rope_apply(const qd_rope *rope, qd_cmatf cosine, qd_cmatf sine, size_t head_dim, qd_matf x)
{
    size_t half = rope->dimensions / 2;
    for (size_t t = 0; t < x.rows; t++) {
        const float *c = qd_cmatf_row(cosine, t), *s = qd_cmatf_row(sine, t);
        for (size_t start = 0; start + head_dim <= x.cols; start += head_dim) {
            float *head = qd_matf_row(x, t) + start;
            for (size_t i = 0; i < half; i++) {
                float a = head[i], b = head[i + half];
                head[i] = a * c[i] - b * s[i];
                head[i + half] = b * c[i] + a * s[i];
            }
        }
    }
}
