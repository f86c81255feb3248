/* convert_fit.c: see convert_fit.h. */
#include "export/convert_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "export/config_edit.h"
#include "export/stored.h"

static qd_code read_layer(const qd_artifact *artifact, const qd_linear *linear, qd_grid *grid, uint8_t **codes,
                          qd_error *err)
{
    const qd_format *format = qd_artifact_format(artifact);
    qd_code code = format->read_rounded(qd_artifact_model(artifact), linear, grid, codes, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "layer '%s'", linear->name);
}

/* ---- the survey ---- */

/* A group that stands on its zero needs no scale. */
static bool group_is_zero(const qd_grid *grid, const uint8_t *codes, size_t in, size_t o, size_t g)
{
    double zero = (double)qd_matf_row(grid->zero.view, o)[g];
    size_t end = qd_min_size((g + 1) * grid->group_size, in);
    if (grid->offset.view.rows > 0)
        return false;
    for (size_t i = g * grid->group_size; i < end; i++)
        if (qd_grid_level(grid, codes[o * in + i]) != zero)
            return false;
    return true;
}

/* A type of another container holds only what came from there, with its units or offsets. */
static bool holds(const qd_survey *s, const qd_scale_type *type, const qd_grid *grid, float scale)
{
    bool whole = grid->unit.view.rows > 0 || grid->offset.view.rows > 0;
    return qd_scale_type_is_free(type) ? type->round(scale) == scale : type == s->spec.scale_type && whole;
}

static void survey_scale(qd_survey *s, const qd_linear *linear, const qd_grid *grid, float scale)
{
    s->scales++;
    for (size_t t = 0; t < QD_SCALE_TYPES_MAX && qd_scale_type_at(t) != NULL; t++) {
        if (holds(s, qd_scale_type_at(t), grid, scale))
            continue;
        s->lossy_layer[t] = s->lost[t] == 0 ? linear->name : s->lossy_layer[t];
        s->lost[t]++;
    }
}

static void survey_group(qd_survey *s, const qd_grid *grid, const uint8_t *codes, size_t in, size_t o, size_t g)
{
    double zero = (double)qd_matf_row(grid->zero.view, o)[g];
    size_t end = qd_min_size((g + 1) * grid->group_size, in);
    for (size_t i = g * grid->group_size; i < end; i++) {
        double steps = qd_grid_level(grid, codes[o * in + i]) - zero;
        s->lowest = fmin(s->lowest, steps);
        s->highest = fmax(s->highest, steps);
    }
}

static void survey_layer(qd_survey *s, const qd_linear *linear, const qd_grid *grid, const uint8_t *codes)
{
    s->integers =
        s->integers && grid->levels.count == 0 && grid->zero_kind != QD_ZERO_FLOAT && grid->offset.view.rows == 0;
    s->integer_zero = s->integer_zero || grid->zero_kind == QD_ZERO_INTEGER;
    for (size_t o = 0; o < linear->out; o++)
        for (size_t g = 0; g < grid->groups; g++) {
            survey_group(s, grid, codes, linear->in, o, g);
            if (!group_is_zero(grid, codes, linear->in, o, g))
                survey_scale(s, linear, grid, qd_matf_row(grid->scale.view, o)[g]);
        }
}

qd_code qd_survey_take(const qd_artifact *artifact, qd_survey *out, qd_error *err)
{
    const qd_model *model = qd_artifact_model(artifact);
    *out = (qd_survey){ .integers = true };
    qd_code code = qd_artifact_format(artifact)->read_spec(model, &out->spec, err);
    for (size_t i = 0; code == QD_OK && i < qd_model_linear_count(model); i++) {
        const qd_linear *linear = qd_model_linear_at(model, i);
        QD_AUTO(qd_grid_fini) qd_grid grid = { 0 };
        QD_AUTO(qd_free_pointer) uint8_t *codes = NULL;
        code = read_layer(artifact, linear, &grid, &codes, err);
        if (code == QD_OK)
            survey_layer(out, linear, &grid, codes);
    }
    return code;
}

/* ---- the fit ---- */

/* A search: the first candidate that passes; else why the first of all did not, or, better, which scales were in the way. */
typedef struct search {
    const qd_artifact *artifact;
    const qd_survey *survey;
    const qd_format *format;
    size_t variant;
    const char *dtype; /* of the parameters that a loader of the new folder copies scales into */
    qd_error why;
    bool found, scales_named;
    qd_grid_spec spec;
} search;

static qd_code check_layers(const search *s, const qd_grid_spec *spec, qd_error *err)
{
    const qd_model *model = qd_artifact_model(s->artifact);
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < qd_model_linear_count(model); i++) {
        const qd_linear *linear = qd_model_linear_at(model, i);
        qd_grid_spec own = *spec;
        if (s->format->layer_spec != NULL)
            code = s->format->layer_spec(spec, s->variant, linear, &own, err);
        if (code == QD_OK && (own.alphabet != spec->alphabet || own.zero != spec->zero || own.bits != spec->bits ||
                              own.group_size != spec->group_size || own.scale_type != spec->scale_type))
            code = qd_fail(err, QD_EINVAL, "format: '%s' has another grid for rows of %zu, as '%s' has them",
                           s->format->name, linear->in, linear->name);
        if (code == QD_OK)
            code = s->format->check_layer(spec, s->variant, linear, s->dtype, err);
    }
    return code;
}

static size_t index_of(const qd_scale_type *type)
{
    size_t t = 0;
    while (qd_scale_type_at(t) != type)
        t++;
    return t;
}

static void try_spec(search *s, const qd_grid_spec *spec)
{
    qd_error why = { 0 };
    const qd_survey *survey = s->survey;
    if (s->found)
        return;
    qd_code code = qd_grid_spec_check(spec, &why);
    if (code == QD_OK)
        code = s->format->check(spec, s->variant, &why);
    if (code == QD_OK)
        code = check_layers(s, spec, &why);
    if (code != QD_OK) {
        if (s->why.text[0] == '\0')
            s->why = why;
        return;
    }
    size_t type = index_of(spec->scale_type);
    if (survey->lost[type] == 0) {
        s->spec = *spec;
        s->found = true;
    } else if (!s->scales_named) {
        s->scales_named = true;
        qd_fail(&s->why, QD_EINVAL,
                "scales: %zu of %zu are not exact as '%s', which the format has; the first of them is in '%s', and the "
                "artifact stores '%s'",
                survey->lost[type], survey->scales, spec->scale_type->name, survey->lossy_layer[type],
                survey->spec.scale_type->name);
    }
}

/* Offsets and two-signed scales with zero points in the middle are what only their own containers have. */
static bool is_elsewhere(const qd_survey *survey, const qd_grid_spec *spec, const qd_scale_type *type)
{
    return type == survey->spec.scale_type || (type->offset && survey->integers) ||
           (type->mirrored && spec->zero == QD_ZERO_INTEGER);
}

/* The artifact's own type first. */
static void try_types(search *s, qd_grid_spec spec)
{
    spec.scale_type = s->survey->spec.scale_type;
    try_spec(s, &spec);
    for (size_t t = 0; t < QD_SCALE_TYPES_MAX && qd_scale_type_at(t) != NULL; t++) {
        if (is_elsewhere(s->survey, &spec, qd_scale_type_at(t)))
            continue;
        spec.scale_type = qd_scale_type_at(t);
        try_spec(s, &spec);
    }
}

/* A scale stands for smaller groups as well. */
static void try_groups(search *s, qd_grid_spec spec)
{
    static const size_t smaller[] = { 256, 128, 64, 32, 16 };
    size_t own = s->survey->spec.group_size;
    try_types(s, spec);
    for (size_t i = 0; i < QD_LENGTH(smaller); i++) {
        if (own != 0 && (own <= smaller[i] || own % smaller[i] != 0))
            continue;
        spec.group_size = smaller[i];
        try_types(s, spec);
    }
}

/* Whole steps from zero as signed codes. */
static void try_widths(search *s)
{
    qd_grid_spec spec = s->survey->spec;
    spec.alphabet = qd_alphabet_find("int");
    spec.zero = QD_ZERO_NONE;
    for (const double *bits = spec.alphabet->bits; *bits > 0; bits++) {
        int32_t low, high;
        spec.bits = *bits;
        qd_grid_range(&spec, &low, &high);
        if (s->survey->lowest >= low && s->survey->highest <= high)
            try_groups(s, spec);
    }
}

qd_code qd_fit_find(const qd_artifact *artifact, const qd_survey *survey, const qd_format *format, size_t variant,
                    qd_fit_codes codes, qd_grid_spec *out, qd_error *err)
{
    search s = { .artifact = artifact, .survey = survey, .format = format, .variant = variant };
    const qd_model *model = qd_artifact_model(artifact);
    /* config.json goes along, and may name a smaller type than blocks are used in */
    QD_AUTO(qd_json_fini) json_t *config = NULL;
    qd_code code = qd_config_json_read(qd_model_borrow_path(model), &config, err);
    if (code != QD_OK)
        return code;
    s.dtype = qd_config_dtype(config, qd_model_borrow_config(model)->dtype);
    qd_grid_spec own = survey->spec;
    if (survey->integers) {
        own.alphabet = qd_alphabet_find(survey->integer_zero ? "int-asymmetric" : "int");
        own.zero = own.alphabet->zero;
    }
    if (codes == QD_FIT_SAME)
        try_groups(&s, own);
    else if (survey->integers)
        try_widths(&s);
    if (!s.found)
        return qd_fail(err, QD_EINVAL, "%s", s.why.text);
    *out = s.spec;
    return QD_OK;
}

/* ---- a layer on the new grid ---- */

static qd_code copy_matrix(const qd_matf_buf *from, qd_matf_buf *out, qd_error *err)
{
    if (from->view.rows == 0)
        return QD_OK;
    qd_code code = qd_matf_buf_init(out, from->view.rows, from->view.cols, err);
    if (code == QD_OK)
        memcpy(out->view.data, from->view.data, from->view.rows * from->view.cols * sizeof(float));
    return code;
}

/* Scales and zeros for groups as small as the new grid's. */
static void spread(const qd_grid *from, const qd_grid_spec *spec, qd_grid *to)
{
    float middle = spec->zero == QD_ZERO_INTEGER ? (float)(1 << (qd_grid_code_bits(spec) - 1)) : 0.0f;
    for (size_t o = 0; o < to->scale.view.rows; o++)
        for (size_t g = 0; g < to->groups; g++) {
            size_t old = g * to->group_size / from->group_size;
            qd_matf_row(to->scale.view, o)[g] = qd_matf_row(from->scale.view, o)[old];
            qd_matf_row(to->zero.view, o)[g] = to->zero_kind == QD_ZERO_NONE     ? 0.0f
                                               : from->zero_kind == QD_ZERO_NONE ? middle
                                                                                 : qd_matf_row(from->zero.view, o)[old];
        }
}

/* Integers: code = steps from the old zero, counted from the new one. */
static qd_code recode(const qd_grid *from, const uint8_t *codes, const qd_grid *to, const qd_linear *linear,
                      uint8_t *out, qd_error *err)
{
    for (size_t o = 0; o < linear->out; o++)
        for (size_t i = 0; i < linear->in; i++) {
            size_t at = o * linear->in + i;
            double steps =
                qd_grid_level(from, codes[at]) - (double)qd_matf_row(from->zero.view, o)[i / from->group_size];
            double code = steps + (double)qd_matf_row(to->zero.view, o)[i / to->group_size] - to->low;
            if (!(code >= 0 && code <= to->high - to->low))
                return qd_fail(err, QD_EINTERNAL, "layer '%s': %g steps from zero do not fit %d..%d", linear->name,
                               steps, (int)to->low, (int)to->high);
            out[at] = (uint8_t)code;
        }
    return QD_OK;
}

/* Levels, offsets and units are what they are: only groups may be smaller, of scales that stand alone. */
static qd_code keep(const qd_grid *from, const uint8_t *codes, const qd_linear *linear, qd_grid *to, uint8_t *out,
                    qd_error *err)
{
    memcpy(out, codes, linear->out * linear->in);
    if (to->group_size != from->group_size && (from->offset.view.rows > 0 || from->unit.view.cols > 1))
        return qd_fail(err, QD_EINVAL, "group_size: %zu is not %zu, and scales of blocks cannot be told apart",
                       to->group_size, from->group_size);
    qd_code code = copy_matrix(&from->offset, &to->offset, err);
    if (code == QD_OK)
        code = copy_matrix(&from->unit, &to->unit, err);
    return code == QD_OK ? copy_matrix(&from->offset_unit, &to->offset_unit, err) : code;
}

qd_code qd_fit_layer(const qd_artifact *artifact, const qd_linear *linear, const qd_grid_spec *spec, qd_grid *grid,
                     uint8_t **out_codes, qd_error *err)
{
    QD_AUTO(qd_grid_fini) qd_grid from = { 0 };
    QD_AUTO(qd_free_pointer) uint8_t *codes = NULL;
    QD_AUTO(qd_stored_fini) qd_stored to = { 0 };
    qd_code code = read_layer(artifact, linear, &from, &codes, err);
    if (code == QD_OK)
        code = qd_stored_init(&to, spec, linear, err);
    if (code != QD_OK)
        return code;
    bool integers = from.levels.count == 0 && from.zero_kind != QD_ZERO_FLOAT && from.offset.view.rows == 0;
    spread(&from, spec, &to.grid);
    if (integers)
        code = recode(&from, codes, &to.grid, linear, to.codes, err);
    if (code == QD_OK && (!integers || from.unit.view.rows > 0))
        code = integers ? copy_matrix(&from.unit, &to.grid.unit, err)
                        : keep(&from, codes, linear, &to.grid, to.codes, err);
    return code == QD_OK ? qd_stored_take(&to, linear, grid, out_codes, err) : code;
}
