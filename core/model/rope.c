/* rope.c: see rope.h. */
#include "model/rope.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "linalg/rows.h"

struct qd_rope_scaling {
    const char *name;
    /* The frequency of pair i after scaling; plain = theta^(-2i/r); form is qd_rope_form's. */
    double (*frequency)(const qd_rope *rope, size_t i, double plain, size_t form);
    /* See qd_rope_form; NULL = all lengths alike. */
    size_t (*form)(const qd_rope *rope, size_t length);
    /* What cosine and sine are multiplied by; NULL = 1. */
    double (*amplitude)(const qd_rope *rope);
    /* Its parameters beyond the common ones, and whether they make sense; NULL = none. */
    qd_code (*read)(const json_t *source, qd_rope *rope, qd_error *err);
    /* Needs these keys of the config. */
    const char *const *required;
};

static double default_frequency(const qd_rope *rope, size_t i, double plain, size_t form)
{
    (void)rope;
    (void)i;
    (void)form;
    return plain;
}

static double linear_frequency(const qd_rope *rope, size_t i, double plain, size_t form)
{
    (void)i;
    (void)form;
    return plain / rope->factor;
}

/* Beyond the trained length n grows the base: theta ((factor n / max) - (factor - 1))^(r / (r - 2)); the form is n. */
static double dynamic_frequency(const qd_rope *rope, size_t i, double plain, size_t form)
{
    if (form == 0)
        return plain;
    double r = (double)rope->dimensions,
           stretch = rope->factor * (double)form / rope->max_positions - (rope->factor - 1);
    return pow(rope->theta * pow(stretch, r / (r - 2)), -2.0 * (double)i / r);
}

static size_t dynamic_form(const qd_rope *rope, size_t length)
{
    return (double)length <= rope->max_positions ? 0 : length;
}

/* Long waves are slowed down by factor, short ones kept, those between blended. */
static double llama3_frequency(const qd_rope *rope, size_t i, double plain, size_t form)
{
    (void)i;
    (void)form;
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

static double yarn_frequency(const qd_rope *rope, size_t i, double plain, size_t form)
{
    (void)form;
    double low = yarn_dimension(rope, rope->beta_fast), high = yarn_dimension(rope, rope->beta_slow);
    low = fmax(rope->range == QD_ROPE_EXACT ? low : floor(low), 0);
    high = fmin(rope->range == QD_ROPE_EXACT ? high : ceil(high), (double)rope->dimensions - 1);
    double span = high == low ? 0.001 : high - low;
    double ramp = fmin(fmax(((double)i - low) / span, 0), 1);
    return plain / rope->factor * ramp + plain * (1 - ramp);
}

static double yarn_amplitude(const qd_rope *rope)
{
    if (rope->attention_factor > 0)
        return rope->attention_factor;
    return rope->factor > 1 ? 0.1 * log(rope->factor) + 1 : 1;
}

/* Divisors of their own for every pair, and others beyond the original length. */
static double longrope_frequency(const qd_rope *rope, size_t i, double plain, size_t form)
{
    return plain / (double)(form == 0 ? rope->short_divisors : rope->long_divisors)[i];
}

static size_t longrope_form(const qd_rope *rope, size_t length)
{
    return (double)length > rope->original_positions;
}

static double longrope_amplitude(const qd_rope *rope)
{
    if (rope->attention_factor > 0)
        return rope->attention_factor;
    return rope->factor > 1 ? sqrt(1 + log(rope->factor) / log(rope->original_positions)) : 1;
}

static qd_code need_original(const qd_rope *rope, double least, qd_error *err)
{
    if (rope->original_positions > least)
        return QD_OK;
    return qd_fail(err, QD_EFORMAT, "rope type '%s' needs original_max_position_embeddings above %g",
                   rope->scaling->name, least);
}

static qd_code dynamic_read(const json_t *source, qd_rope *rope, qd_error *err)
{
    (void)source;
    if (!(rope->max_positions > 0) || rope->dimensions <= 2 || rope->factor < 1)
        return qd_fail(
            err, QD_EFORMAT,
            "rope type 'dynamic' needs max_position_embeddings above 0 (%g), more than 2 dimensions (%zu) and "
            "a factor of 1 or more (%g)",
            rope->max_positions, rope->dimensions, rope->factor);
    return QD_OK;
}

static qd_code llama3_read(const json_t *source, qd_rope *rope, qd_error *err)
{
    qd_code code = qd_json_real(source, "low_freq_factor", 1, &rope->low_frequency_factor, err);
    if (code == QD_OK)
        code = qd_json_real(source, "high_freq_factor", 4, &rope->high_frequency_factor, err);
    if (code == QD_OK)
        code = need_original(rope, 0, err);
    if (code != QD_OK)
        return code;
    if (!(rope->low_frequency_factor > 0 && rope->high_frequency_factor > rope->low_frequency_factor))
        return qd_fail(err, QD_EFORMAT, "low_freq_factor %g must be above 0 and below high_freq_factor %g",
                       rope->low_frequency_factor, rope->high_frequency_factor);
    return QD_OK;
}

static qd_code yarn_read(const json_t *source, qd_rope *rope, qd_error *err)
{
    bool truncated = true;
    qd_code code = qd_json_real(source, "beta_fast", 32, &rope->beta_fast, err);
    if (code == QD_OK)
        code = qd_json_real(source, "beta_slow", 1, &rope->beta_slow, err);
    if (code == QD_OK)
        code = qd_json_bool(source, "truncate", true, &truncated, err);
    if (code == QD_OK)
        code = need_original(rope, 0, err);
    if (code != QD_OK)
        return code;
    rope->range = truncated ? QD_ROPE_TRUNCATED : QD_ROPE_EXACT;
    if (!(rope->beta_fast > 0 && rope->beta_slow > 0))
        return qd_fail(err, QD_EFORMAT, "beta_fast %g and beta_slow %g must be above 0", rope->beta_fast,
                       rope->beta_slow);
    return QD_OK;
}

static qd_code read_divisors(const json_t *source, const char *key, size_t pairs, float *out, qd_error *err)
{
    const json_t *list = json_object_get(source, key);
    if (!json_is_array(list) || json_array_size(list) != pairs)
        return qd_fail(err, QD_EFORMAT, "'%s': an array of %zu numbers, one a rotated pair, is wanted, found %s of %zu",
                       key, pairs, qd_json_type_name(list), json_array_size(list));
    for (size_t i = 0; i < pairs; i++) {
        out[i] = (float)json_number_value(json_array_get(list, i));
        if (!(out[i] > 0) || !isfinite(out[i]))
            return qd_fail(err, QD_EFORMAT, "'%s': element %zu is not a number above 0", key, i);
    }
    return QD_OK;
}

static qd_code longrope_read(const json_t *source, qd_rope *rope, qd_error *err)
{
    size_t pairs = rope->dimensions / 2;
    if (pairs > QD_ROPE_PAIRS)
        return qd_fail(err, QD_EUNSUPPORTED, "rope type 'longrope' of %zu pairs; at most %d are supported", pairs,
                       QD_ROPE_PAIRS);
    qd_code code = need_original(rope, 1, err);
    if (code == QD_OK)
        code = read_divisors(source, "short_factor", pairs, rope->short_divisors, err);
    if (code == QD_OK)
        code = read_divisors(source, "long_factor", pairs, rope->long_divisors, err);
    if (code == QD_OK && !json_is_number(json_object_get(source, "factor")) && rope->max_positions > 0)
        rope->factor = rope->max_positions / rope->original_positions;
    return code;
}

static const char *const needs_nothing[] = { NULL };
static const char *const needs_factor[] = { "factor", NULL };
static const char *const needs_llama3[] = { "factor", "low_freq_factor", "high_freq_factor",
                                            "original_max_position_embeddings", NULL };

static const qd_rope_scaling table[] = {
    { "default", default_frequency, NULL, NULL, NULL, needs_nothing },
    { "linear", linear_frequency, NULL, NULL, NULL, needs_factor },
    { "dynamic", dynamic_frequency, dynamic_form, NULL, dynamic_read, needs_factor },
    { "llama3", llama3_frequency, NULL, NULL, llama3_read, needs_llama3 },
    { "yarn", yarn_frequency, NULL, yarn_amplitude, yarn_read, needs_factor },
    { "longrope", longrope_frequency, longrope_form, longrope_amplitude, longrope_read, needs_nothing },
};

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

/* Phi-3 says the original length beside the parameters, where it counts more. */
static qd_code read_parameters(const json_t *source, const json_t *config, size_t max_positions, qd_rope *rope,
                               qd_error *err)
{
    double top_theta = 10000;
    rope->max_positions = (double)max_positions;
    qd_code code = qd_json_real(config, "rope_theta", 10000, &top_theta, err);
    if (code == QD_OK)
        code = qd_json_real(source, "rope_theta", top_theta, &rope->theta, err);
    if (code == QD_OK)
        code = qd_json_real(source, "factor", 1, &rope->factor, err);
    if (code == QD_OK)
        code = qd_json_real(source, "original_max_position_embeddings", (double)max_positions,
                            &rope->original_positions, err);
    if (code == QD_OK)
        code = qd_json_real(config, "original_max_position_embeddings", rope->original_positions,
                            &rope->original_positions, err);
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
    return QD_OK;
}

/* The object that holds the parameters: rope_parameters, rope_scaling, or neither (NULL). */
static qd_code find_source(const json_t *config, const json_t **out, qd_error *err)
{
    static const char *const keys[] = { "rope_parameters", "rope_scaling" };
    *out = NULL;
    for (size_t i = 0; *out == NULL && i < QD_LENGTH(keys); i++) {
        const json_t *value = json_object_get(config, keys[i]);
        if (value != NULL && !json_is_null(value) && !json_is_object(value))
            return qd_fail(err, QD_EFORMAT, "'%s': an object is wanted, found %s", keys[i], qd_json_type_name(value));
        *out = json_is_object(value) ? value : NULL;
    }
    return QD_OK;
}

/* Parameters that change the result and that no row here reads; and one object a layer type. */
static qd_code check_unread(const json_t *source, qd_error *err)
{
    static const char *const unread[] = { "mscale", "mscale_all_dim", "full_attention", "sliding_attention" };
    for (size_t i = 0; i < QD_LENGTH(unread); i++)
        if (json_object_get(source, unread[i]) != NULL)
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

size_t qd_rope_form(const qd_rope *rope, size_t length)
{
    return rope->scaling->form == NULL ? 0 : rope->scaling->form(rope, length);
}

double qd_rope_frequency(const qd_rope *rope, size_t i, size_t length)
{
    return rope->scaling->frequency(rope, i, qd_rope_plain_frequency(rope, i), qd_rope_form(rope, length));
}

/* Parameters that pass one by one may still make angles or amplitudes that no float holds. */
static qd_code check_angles(const qd_rope *rope, qd_error *err)
{
    const double most = 1e6; /* radians a position, and amplitude: far beyond any use, far from any overflow */
    if (!(rope->attention_factor >= 0 && rope->attention_factor <= most))
        return qd_fail(err, QD_EFORMAT, "attention_factor %g is not in [0, %g]", rope->attention_factor, most);
    for (size_t i = 0; i < rope->dimensions; i++) { /* every pair, of short sequences and of long ones */
        double turn = qd_rope_frequency(rope, i / 2, i % 2 == 0 ? 0 : SIZE_MAX);
        if (!(turn >= 0 && turn <= most))
            return qd_fail(err, QD_EFORMAT, "rope type '%s': pair %zu turns by %g a position", rope->scaling->name,
                           i / 2, turn);
    }
    return QD_OK;
}

qd_code qd_rope_parse(const json_t *config, const json_t *source, size_t head_dim, size_t max_positions, qd_rope *out,
                      qd_error *err)
{
    qd_rope rope = { 0 };
    const char *type = NULL;
    qd_code code = check_unread(source, err);
    if (code == QD_OK)
        code = qd_json_text(source, "rope_type", NULL, &type, err);
    if (code == QD_OK && type == NULL)
        code = qd_json_text(source, "type", "default", &type, err);
    if (code == QD_OK)
        code = find_scaling(strcmp(type, "su") == 0 ? "longrope" : type, &rope.scaling, err);
    if (code == QD_OK)
        code = read_parameters(source, config, max_positions, &rope, err);
    if (code == QD_OK)
        code = check_parameters(&rope, source, err);
    if (code == QD_OK)
        code = read_dimensions(source, config, head_dim, &rope.dimensions, err);
    if (code == QD_OK && rope.scaling->read != NULL)
        code = rope.scaling->read(source, &rope, err);
    if (code == QD_OK)
        code = check_angles(&rope, err);
    if (code == QD_OK)
        *out = rope;
    return code;
}

qd_code qd_rope_read(const json_t *config, size_t head_dim, size_t max_positions, qd_rope *out, qd_error *err)
{
    const json_t *source = NULL;
    qd_code code = find_source(config, &source, err);
    return code == QD_OK ? qd_rope_parse(config, source, head_dim, max_positions, out, err) : code;
}

void qd_rope_tables(const qd_rope *rope, size_t length, qd_matf out_cosine, qd_matf out_sine)
{
    double scale = rope->scaling->amplitude == NULL ? 1 : rope->scaling->amplitude(rope);
    for (size_t i = 0; i < rope->dimensions / 2; i++) {
        double frequency = qd_rope_frequency(rope, i, length);
        for (size_t t = 0; t < out_cosine.rows; t++) {
            qd_matf_row(out_cosine, t)[i] = (float)(cos((double)t * frequency) * scale);
            qd_matf_row(out_sine, t)[i] = (float)(sin((double)t * frequency) * scale);
        }
    }
}

void qd_rope_apply(const qd_rope *rope, qd_cmatf cosine, qd_cmatf sine, size_t head_dim, qd_matf x)
{
    const qd_rows *f = qd_rows_best();
    size_t half = rope->dimensions / 2;
    for (size_t t = 0; t < x.rows; t++) {
        const float *c = qd_cmatf_row(cosine, t), *s = qd_cmatf_row(sine, t);
        for (size_t start = 0; start + head_dim <= x.cols; start += head_dim) {
            float *head = qd_matf_row(x, t) + start;
            f->rotate(c, s, half, head, head + half);
        }
    }
}
