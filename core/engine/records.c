/* records.c: see records.h. */
#include "engine/records.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "engine/pace.h"

static json_t *whole_or_real(double value)
{
    return value == rint(value) ? json_integer((json_int_t)value) : qd_number_print(value);
}

/* What only algorithms that know both streams have. */
static void print_mismatch(json_t *out, const qd_certificate *c)
{
    const struct {
        const char *name;
        double value;
    } reals[] = {
        { "shrink", c->share },    { "mismatch_sq", c->mismatch_sq }, { "mismatch_cross", c->cross_sq },
        { "base_sq", c->base_sq }, { "total_sq", c->total_sq },       { "shift_max", c->shift_max },
    };
    for (size_t i = 0; i < QD_LENGTH(reals); i++)
        json_object_set_new(out, reals[i].name, qd_number_print(reals[i].value));
    if (c->residual) {
        json_object_set_new(out, "residual_sq", qd_number_print(c->residual_sq));
        json_object_set_new(out, "residual_cross", qd_number_print(c->residual_cross));
    }
    if (c->start != NULL)
        json_object_set_new(out, "start", json_string(c->start));
}

/* What only a refined sweep has. */
static void print_refined(json_t *out, const qd_certificate *c)
{
    json_object_set_new(out, "swept_sq", qd_number_print(c->swept_sq));
    json_object_set_new(out, "searched_sq", qd_number_print(c->searched_sq));
    json_object_set_new(out, "codes_changed", json_integer((json_int_t)c->codes_changed));
    json_object_set_new(out, "scales_fitted", json_integer((json_int_t)c->scales_fitted));
    json_object_set_new(out, "refine_rounds", json_integer((json_int_t)c->refine_rounds));
}

/* What only stochastic rounding has. */
static void print_chance(json_t *out, const qd_chance *c)
{
    const struct {
        const char *name;
        double value;
    } reals[] = {
        { "eta", c->eta },
        { "mean_bound_sq", c->mean_bound_sq },
        { "probable_bound_sq", c->probable_bound_sq },
        { "linf_bound", c->output_bound },
        { "kappa_max", c->kappa_max },
        { "delta_cert_ratio", c->step_ratio },
    };
    for (size_t i = 0; i < QD_LENGTH(reals); i++)
        json_object_set_new(out, reals[i].name, qd_number_print(reals[i].value));
    json_object_set_new(out, "kappa_argmax", json_integer(c->kappa_column));
    json_object_set_new(out, "K_required", qd_number_print(c->steps_required));
    json_object_set_new(out, "bits_required", json_integer(c->bits_required));
    json_object_set_new(out, "guarantee", json_string(qd_guarantee_name(c->guarantee)));
    if (c->growth_largest > 0.0) {
        json_object_set_new(out, "step_growth_max", qd_number_print(c->growth_largest));
        json_object_set_new(out, "step_growth_mean", qd_number_print(c->growth_mean));
    }
}

json_t *qd_certificate_print(const qd_certificate *c)
{
    json_t *out = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "method", c->method, "rounding", c->rounding,
                            "order", c->order, "perm_hash", c->permutation_hash, "m", (json_int_t)c->tokens, "N",
                            (json_int_t)c->in, "d", (json_int_t)c->out);
    const struct {
        const char *name;
        double value;
    } reals[] = {
        { "gram_scale", c->gram_scale },
        { "lambda", c->lambda },
        { "lambda_rel", c->lambda_relative },
        { "S", c->s },
        { "r2_max", c->r2_max },
        { "r2_min", c->r2_min },
        { "am_gm", c->am_gm },
        { "gap_db", c->gap_db },
        { "trace_ratio", c->trace_ratio },
        { "bound_sq", c->bound_sq },
        { "expected_sq", c->expected_sq },
        { "energy_sq", c->energy_sq },
        { "error_sq", c->error_sq },
        { "output_sq", c->output_sq },
        { "rel_error", c->relative_error },
        { "sqnr_db", c->sqnr_db },
        { "ratio", c->ratio },
        { "identity_resid", c->identity_residual },
        { "max_excess", c->max_excess },
        { "overload_bound_sq", c->overload_bound_sq },
        { "weight_error_sq", c->weight_error_sq },
    };
    for (size_t i = 0; i < QD_LENGTH(reals); i++)
        json_object_set_new(out, reals[i].name, qd_number_print(reals[i].value));
    if (c->chance.eta > 0.0)
        print_chance(out, &c->chance);
    if (c->mismatched)
        print_mismatch(out, c);
    if (c->refined)
        print_refined(out, c);
    json_object_set_new(out, "lambda_source", json_string(c->lambda_source));
    json_object_set_new(out, "escalations", json_integer(c->escalations));
    json_object_set_new(out, "precision", json_string(c->precision));
    json_object_set_new(out, "clip_count", json_integer((json_int_t)c->clip_count));
    json_object_set_new(out, "clip_neurons", json_integer((json_int_t)c->clip_neurons));
    json_object_set_new(out, "dead_columns", json_integer((json_int_t)c->dead_columns));
    if (c->heldout_tokens > 0) {
        json_object_set_new(out, "heldout_T", qd_number_print(c->heldout_t));
        json_object_set_new(out, "heldout_sq_pred", qd_number_print(c->heldout_expected_sq));
        json_object_set_new(out, "heldout_sq_meas", qd_number_print(c->heldout_sq));
        json_object_set_new(out, "n_rows", json_integer((json_int_t)c->heldout_tokens));
    }
    json_object_set_new(out, "status", json_string(qd_certificate_status_name(c->status)));
    return out;
}

static json_t *print_levels(const qd_levels *levels)
{
    json_t *out = json_array();
    for (size_t k = 0; k < levels->count; k++)
        json_array_append_new(out, json_real(levels->value[k]));
    return out;
}

static json_t *print_extent(const qd_matf_buf *part)
{
    float least = INFINITY, most = 0.0f;
    for (size_t i = 0; i < part->view.rows; i++)
        for (size_t j = 0; j < part->view.cols; j++) {
            float value = qd_matf_row(part->view, i)[j];
            least = fminf(least, value);
            most = fmaxf(most, value);
        }
    return json_pack("{s:I, s:o, s:o}", "count", (json_int_t)(part->view.rows * part->view.cols), "least",
                     qd_number_print((double)least), "most", qd_number_print((double)most));
}

/* What a container's grid has besides scales and zeros. */
static void print_container(json_t *out, const qd_grid_spec *spec, const qd_grid *grid)
{
    const qd_scale_type *type = spec->scale_type;
    if (type->per_block > 0)
        json_object_set_new(out, "groups_per_unit", json_integer((json_int_t)type->per_block));
    if (grid->unit.view.rows > 0)
        json_object_set_new(out, "units", print_extent(&grid->unit));
    if (grid->offset_unit.view.rows > 0)
        json_object_set_new(out, "offset_units", print_extent(&grid->offset_unit));
    if (!type->mirrored || spec->zero != QD_ZERO_INTEGER)
        return;
    size_t negative = 0;
    for (size_t i = 0; i < grid->zero.view.rows; i++)
        for (size_t g = 0; g < grid->groups; g++)
            negative += qd_matf_row(grid->zero.view, i)[g] != (float)((grid->high + 1) / 2);
    json_object_set_new(out, "negative_scales", json_integer((json_int_t)negative));
}

json_t *qd_grid_spec_print(const qd_grid_spec *spec, const qd_grid *grid)
{
    json_t *out = json_pack("{s:s, s:s, s:i, s:i, s:I, s:I, s:s, s:s, s:f}", "alphabet", spec->alphabet->name, "zero",
                            qd_zero_kind_name(spec->zero), "low", grid->low, "high", grid->high, "group_size",
                            (json_int_t)grid->group_size, "groups", (json_int_t)grid->groups, "scale_rule",
                            spec->rule->name, "scale_type", spec->scale_type->name, "shrink", spec->shrink);
    if (grid->levels.count > 0)
        json_object_set_new(out, "levels", print_levels(&grid->levels));
    print_container(out, spec, grid);
    return out;
}

json_t *qd_layer_print(const qd_layer_facts *f)
{
    const qd_grid_spec *spec = f->spec;
    json_t *out = json_pack("{s:I, s:s, s:[I, I], s:o, s:o, s:s, s:f}", "index", (json_int_t)f->index, "name",
                            f->linear->name, "shape", (json_int_t)f->linear->out, (json_int_t)f->linear->in, "bits",
                            whole_or_real(spec->bits), "grid", qd_grid_spec_print(spec, f->grid), "order",
                            f->certificate->order, "lambda", f->certificate->lambda);
    json_object_set(out, "transforms", (json_t *)(uintptr_t)f->transforms);
    if (f->routing != NULL)
        json_object_set(out, "routing", (json_t *)(uintptr_t)f->routing);
    json_t *error = json_object();
    json_object_set_new(error, "calibration", qd_number_print(f->certificate->relative_error));
    json_object_set_new(error, "held_out",
                        f->certificate->heldout_tokens == 0 ? json_null()
                                                            : qd_number_print(f->certificate->heldout_relative_error));
    json_object_set_new(out, "error", error);
    json_object_set_new(out, "certificate", qd_certificate_print(f->certificate));
    json_object_set_new(out, "degraded", json_boolean(f->degraded_reason != NULL));
    json_object_set_new(out, "degraded_reason",
                        f->degraded_reason == NULL ? json_null() : json_string(f->degraded_reason));
    json_object_set_new(out, "seconds", qd_number_print(f->seconds));
    return out;
}

void qd_emit_take(const qd_sink *sink, json_t *event)
{
    if (event != NULL && sink != NULL && sink->event != NULL)
        sink->event(sink->ctx, event);
    json_decref(event);
}

void qd_emit_phase(const qd_sink *sink, const char *phase)
{
    qd_emit_take(sink, json_pack("{s:s, s:s}", "event", "phase", "phase", phase));
}

void qd_emit_warning(const qd_sink *sink, const char *format, ...)
{
    char text[1000];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    qd_emit_take(sink, json_pack("{s:s, s:s}", "event", "warning", "detail", text));
}

void qd_meter_start(qd_meter *meter, const qd_sink *sink, const char *phase, const char *unit, size_t total)
{
    *meter = (qd_meter){ .sink = sink, .phase = phase, .unit = unit, .total = total, .started = qd_clock_seconds() };
    qd_meter_step(meter, 0);
}

/* What is left by the costs of layers; and the one that is next, with what it may take. */
static void add_pace(const qd_pace *pace, size_t done, json_t *event)
{
    const qd_pace_left left = qd_pace_rest(pace);
    const char *layer = done < pace->count ? qd_model_linear_at(pace->model, done)->name : NULL;
    json_object_set_new(event, "eta", qd_number_print(left.eta));
    json_object_set_new(event, "eta_low", qd_number_print(left.low));
    json_object_set_new(event, "eta_high", qd_number_print(left.high));
    json_object_set_new(event, "layer", layer == NULL ? json_null() : json_string(layer));
    json_object_set_new(event, "expected", qd_number_print(qd_pace_expected(pace, done)));
}

/* A layer that takes its time is always said. */
static bool may_be_left_out(const qd_meter *meter, size_t done, double now)
{
    static const double often = 0.2, long_layer = 1.0;
    bool slow = meter->pace != NULL && qd_pace_expected(meter->pace, done) > long_layer;
    return done != 0 && done != meter->total && now - meter->last < often && !slow;
}

void qd_meter_step(qd_meter *meter, size_t done)
{
    double now = qd_clock_seconds();
    if (may_be_left_out(meter, done, now))
        return;
    meter->last = now;
    json_t *eta = json_null();
    if (done > meter->free_of_charge) {
        double each = (now - meter->started) / (double)(done - meter->free_of_charge);
        eta = qd_number_print(each * (double)(meter->total - done));
    }
    json_t *event = json_pack("{s:s, s:s, s:I, s:I, s:s, s:o}", "event", "progress", "phase", meter->phase, "done",
                              (json_int_t)done, "total", (json_int_t)meter->total, "unit", meter->unit, "eta", eta);
    if (meter->pace != NULL && event != NULL)
        add_pace(meter->pace, done, event);
    qd_emit_take(meter->sink, event);
}

static void step(void *ctx, size_t done, size_t total, const char *unit)
{
    qd_meter *meter = ctx;
    (void)total; /* of the passage, as the unit is */
    (void)unit;
    qd_meter_step(meter, meter->before + done);
}

qd_progress qd_meter_progress(qd_meter *meter)
{
    return (qd_progress){ .step = step, .ctx = meter };
}
