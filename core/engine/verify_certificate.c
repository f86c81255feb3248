/* verify_certificate.c: do the numbers of a certificate agree with each other? Source: theory.md §2-3, §8.2. */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "engine/summary.h"
#include "engine/verify.h"
#include "quant/certificate.h"
#include "quant/transform.h"

/* Numbers are printed with 17 digits and were computed in float64: what is an identity holds to this. */
#define IDENTITY 1e-9
/* Of residuals and bounds after a float32 sweep. */
#define FLOAT32_TOLERANCE 1e-4
/* Energies below this share of the output are noise of the weights. */
#define NOISE 1e-12
#define NOISE_FLOAT32 1e-10

typedef struct judge {
    const char *layer;
    const json_t *certificate;
    qd_findings *findings;
} judge;

static double value(const judge *j, const char *key)
{
    return json_number_value(json_object_get(j->certificate, key));
}

static const char *word(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? "" : text;
}

/* got = want up to rounding; `size` is the scale of the numbers it was computed from. */
static void equal(const judge *j, const char *what, double got, double want, double size)
{
    if (!(fabs(got - want) <= IDENTITY * fmax(fabs(size), fabs(want))))
        qd_findings_add(j->findings, j->layer, "%s is %.17g, its parts give %.17g", what, got, want);
}

static void at_most(const judge *j, const char *what, double got, double limit, double tolerance)
{
    if (!(got <= limit * (1 + tolerance)))
        qd_findings_add(j->findings, j->layer, "%s: %.17g is over %.17g", what, got, limit);
}

static bool are_numbers(const judge *j)
{
    static const char *const needed[] = { "m",
                                          "N",
                                          "d",
                                          "lambda",
                                          "S",
                                          "r2_max",
                                          "r2_min",
                                          "bound_sq",
                                          "energy_sq",
                                          "error_sq",
                                          "output_sq",
                                          "rel_error",
                                          "sqnr_db",
                                          "ratio",
                                          "identity_resid",
                                          "clip_count",
                                          "overload_bound_sq",
                                          "weight_error_sq" };
    for (size_t i = 0; i < QD_LENGTH(needed); i++)
        if (!json_is_number(json_object_get(j->certificate, needed[i]))) {
            qd_findings_add(j->findings, j->layer, "certificate: '%s' is no number", needed[i]);
            return false;
        }
    return true;
}

typedef enum aimed { PROJECTION, PATH } aimed;

/* total_sq is base_sq and energy_sq together, theory.md T9; on a path at most that, by the triangle inequality. Off by identity_resid at most, and
 * noise below a share of the output does not count: certificate.c. */
static void check_parts(const judge *j, aimed at, double tolerance)
{
    double total = value(j, "total_sq"), base = value(j, "base_sq"), energy = value(j, "energy_sq");
    double noise = (tolerance == FLOAT32_TOLERANCE ? NOISE_FLOAT32 : NOISE) * value(j, "output_sq");
    double allowed = fmax(tolerance, value(j, "identity_resid") * (1 + IDENTITY));
    double parts = base + energy, off = fabs(total - parts), whole = fmax(parts, noise);
    if (at == PATH) {
        parts = sqrt(base) + sqrt(energy);
        off = sqrt(fmax(0, total)) - parts;
        whole = fmax(parts, sqrt(noise));
    }
    if (!(off <= allowed * whole))
        qd_findings_add(j->findings, j->layer, "total_sq is %.17g, its parts give %.17g%s", total,
                        at == PATH ? parts * parts : parts, at == PATH ? " at most" : "");
}

/* Of an algorithm that knows both streams: theory.md §7, T9 (Qronos), the triangle inequality (GPFQ). */
static void check_mismatch(const judge *j, double tolerance)
{
    static const char *const needed[] = {
        "shrink", "mismatch_sq", "mismatch_cross", "base_sq", "total_sq", "shift_max"
    };
    for (size_t i = 0; i < QD_LENGTH(needed); i++)
        if (!json_is_number(json_object_get(j->certificate, needed[i]))) {
            qd_findings_add(j->findings, j->layer, "certificate: '%s' is no number", needed[i]);
            return;
        }
    if (json_is_number(json_object_get(j->certificate, "residual_sq")) !=
        json_is_number(json_object_get(j->certificate, "residual_cross")))
        qd_findings_add(j->findings, j->layer, "certificate: residual_sq and residual_cross go together");
    bool greedy = strcmp(word(j->certificate, "method"), "gpfq") == 0; /* undamped */
    double share = value(j, "shrink"), total = value(j, "total_sq");
    double mismatch = value(j, "mismatch_sq"), cross = value(j, "mismatch_cross");
    double weights = greedy ? 0 : value(j, "lambda") * value(j, "weight_error_sq");
    double residual = value(j, "residual_sq"), both = value(j, "residual_cross"); /* 0 where the layer has none */
    double stream = total - weights + (1 - share * share) * mismatch + 2 * (1 - share) * cross;
    equal(j, "error_sq", value(j, "error_sq"), stream - residual - 2 * both, total + mismatch + fabs(cross) + residual);
    at_most(j, "residual_cross squared against its parts", both * both, fmax(0, value(j, "error_sq")) * residual,
            tolerance);
    if (!(share >= 0 && share <= 1))
        qd_findings_add(j->findings, j->layer, "shrink: %.17g is not in 0..1", share);
    check_parts(j, greedy ? PATH : PROJECTION, tolerance);
}

/* Of a refined sweep: each move lowered the energy, and the bounds are those of the sweep. */
static void check_refined(const judge *j, double tolerance)
{
    static const char *const needed[] = { "swept_sq", "searched_sq", "codes_changed", "scales_fitted",
                                          "refine_rounds" };
    for (size_t i = 0; i < QD_LENGTH(needed); i++)
        if (!json_is_number(json_object_get(j->certificate, needed[i]))) {
            qd_findings_add(j->findings, j->layer, "certificate: '%s' is no number", needed[i]);
            return;
        }
    double swept = value(j, "swept_sq"), searched = value(j, "searched_sq"), energy = value(j, "energy_sq");
    at_most(j, "energy_sq against searched_sq", energy, searched, 0);
    at_most(j, "searched_sq against swept_sq", searched, swept, 0);
    at_most(j, "swept_sq against overload_bound_sq (T2)", swept, value(j, "overload_bound_sq"), tolerance);
    if (value(j, "clip_count") == 0)
        at_most(j, "swept_sq against bound_sq (T1) with nothing clipped", swept, value(j, "bound_sq"), tolerance);
    if (value(j, "codes_changed") == 0 && value(j, "scales_fitted") == 0)
        equal(j, "energy_sq of what nobody changed", energy, swept, 0);
    if (value(j, "codes_changed") > value(j, "N") * value(j, "d"))
        qd_findings_add(j->findings, j->layer, "codes_changed: %g, the layer has %g", value(j, "codes_changed"),
                        value(j, "N") * value(j, "d"));
}

static void check_identities(const judge *j, double tolerance)
{
    double energy = value(j, "energy_sq"), output = value(j, "output_sq"), bound = value(j, "bound_sq");
    double error = fmax(0, value(j, "error_sq")), relative = value(j, "rel_error"), n = value(j, "N");
    if (json_object_get(j->certificate, "base_sq") != NULL)
        check_mismatch(j, tolerance);
    else
        equal(j, "error_sq", value(j, "error_sq"), energy - value(j, "lambda") * value(j, "weight_error_sq"), energy);
    if (json_object_get(j->certificate, "swept_sq") != NULL)
        check_refined(j, tolerance);
    equal(j, "rel_error", relative, output > 0 ? sqrt(error / output) : 0, 1);
    if (relative > 0)
        equal(j, "sqnr_db", value(j, "sqnr_db"), fmin(300, -20 * log10(relative)), 1);
    equal(j, "ratio", value(j, "ratio"), bound > 0 ? sqrt(energy / bound) : 0, 1);
    at_most(j, "S against N r2_max", value(j, "S"), n * value(j, "r2_max"), IDENTITY);
    at_most(j, "N r2_min against S", n * value(j, "r2_min"), value(j, "S"), IDENTITY);
    at_most(j, "energy_sq against overload_bound_sq (T2)", energy, value(j, "overload_bound_sq"), tolerance);
    if (value(j, "clip_count") == 0)
        at_most(j, "energy_sq against bound_sq (T1) with nothing clipped", energy, bound, tolerance);
}

/* Of stochastic rounding: theory.md T10. Steps were raised where the job asked for the guarantee: then it holds. */
static void check_chance(const judge *j)
{
    bool certified = json_object_get(j->certificate, "step_growth_max") != NULL;
    double kappa = value(j, "kappa_max"), ratio = value(j, "delta_cert_ratio"), bits = value(j, "bits_required");
    bool known = json_is_number(json_object_get(j->certificate, "kappa_max"));
    bool finite = json_is_number(json_object_get(j->certificate, "delta_cert_ratio"));
    const char *guarantee = word(j->certificate, "guarantee");
    qd_guarantee follows = !known       ? QD_NOT_GUARANTEED
                           : !finite    ? QD_ALPHABET_TOO_SMALL
                           : ratio <= 1 ? QD_GUARANTEED
                                        : QD_NOT_GUARANTEED;
    if (strcmp(guarantee, qd_guarantee_name(follows)) != 0)
        qd_findings_add(j->findings, j->layer, "guarantee is '%s', the numbers say '%s'", guarantee,
                        qd_guarantee_name(follows));
    if (certified && (follows != QD_GUARANTEED || !(value(j, "step_growth_mean") >= 1)))
        qd_findings_add(j->findings, j->layer, "steps were raised for a guarantee, and delta_cert_ratio is %.17g",
                        ratio);
    if (certified)
        at_most(j, "step_growth_mean against step_growth_max", value(j, "step_growth_mean"),
                value(j, "step_growth_max"), IDENTITY);
    if (!(value(j, "eta") > 0 && value(j, "eta") < 1))
        qd_findings_add(j->findings, j->layer, "eta: %.17g is no probability", value(j, "eta"));
    at_most(j, "mean_bound_sq against bound_sq", value(j, "mean_bound_sq"), value(j, "bound_sq"), IDENTITY);
    if (!known)
        return;
    equal(j, "K_required", value(j, "K_required"), floor(kappa) + 1, 1);
    if (!(ldexp(1, (int)bits - 1) - 1 > kappa) || (bits > 1 && ldexp(1, (int)bits - 2) - 1 > kappa))
        qd_findings_add(j->findings, j->layer, "bits_required is %g, kappa_max %.17g wants others", bits, kappa);
}

/* What the status claims must follow from the numbers beside it. */
static void check_status(const judge *j, double tolerance)
{
    const char *status = word(j->certificate, "status");
    bool clipped = value(j, "clip_count") > 0, data = value(j, "m") > 0;
    bool suspect = !(value(j, "identity_resid") <= tolerance);
    const char *wanted = suspect   ? "NUMERIC_SUSPECT"
                         : !data   ? "UNCERTIFIED"
                         : clipped ? "CERTIFIED_OVERLOAD"
                                   : "CERTIFIED";
    if (strcmp(status, wanted) != 0)
        qd_findings_add(j->findings, j->layer, "status is '%s', the numbers say '%s'", status, wanted);
}

static void check_shape(const judge *j, const qd_linear *linear, const json_t *record)
{
    const json_t *shape = json_object_get(record, "shape");
    json_int_t rows = json_integer_value(json_array_get(shape, 0)), cols = json_integer_value(json_array_get(shape, 1));
    if (strcmp(word(record, "name"), linear->name) != 0)
        qd_findings_add(j->findings, j->layer, "its record is of '%s'", word(record, "name"));
    if (rows != (json_int_t)linear->out || cols != (json_int_t)linear->in || value(j, "d") != (double)rows ||
        value(j, "N") != (double)cols)
        qd_findings_add(j->findings, j->layer, "its record is of %lld x %lld, certified was %g x %g, it has %zu x %zu",
                        (long long)rows, (long long)cols, value(j, "d"), value(j, "N"), linear->out, linear->in);
}

/* The grid fits the layer, and the bits its levels. Its group size need not be the recipe's: containers fall back. */
static void check_grid(const judge *j, const qd_linear *linear, const json_t *record)
{
    const json_t *grid = json_object_get(record, "grid");
    json_int_t size = json_integer_value(json_object_get(grid, "group_size"));
    json_int_t groups = json_integer_value(json_object_get(grid, "groups")), in = (json_int_t)linear->in;
    double bits = json_number_value(json_object_get(record, "bits"));
    double levels =
        json_number_value(json_object_get(grid, "high")) - json_number_value(json_object_get(grid, "low")) + 1;
    if (size < 1 || size > in || groups != (in + size - 1) / size)
        qd_findings_add(j->findings, j->layer, "its record has %lld groups of %lld, it has %zu inputs",
                        (long long)groups, (long long)size, linear->in);
    if (!(bits > 0 && levels <= exp2(ceil(bits)) && levels > exp2(ceil(bits) - 1)))
        qd_findings_add(j->findings, j->layer, "its record says %g bits, its grid has %g levels", bits, levels);
    if (qd_alphabet_find(word(grid, "alphabet")) == NULL)
        qd_findings_add(j->findings, j->layer, "its record's alphabet '%.60s' is none", word(grid, "alphabet"));
}

static void check_transforms(const judge *j, const json_t *record)
{
    const json_t *transforms = json_object_get(record, "transforms"), *one;
    size_t i;
    if (!json_is_array(transforms))
        qd_findings_add(j->findings, j->layer, "its record's transforms are no array");
    json_array_foreach(transforms, i, one)
    {
        if (qd_transform_find(word(one, "kind")) == NULL)
            qd_findings_add(j->findings, j->layer, "its record's transform '%.60s' is none", word(one, "kind"));
    }
}

/* Of an expert's layers: whose tokens they are, and what a starved one got. */
static void check_routing(const qd_linear *linear, const json_t *record, qd_findings *findings)
{
    const json_t *routing = json_object_get(record, "routing");
    bool starved = json_is_true(json_object_get(routing, "starved"));
    const char *fallback = json_string_value(json_object_get(routing, "fallback"));
    if (routing == NULL)
        return;
    if ((size_t)json_integer_value(json_object_get(routing, "expert")) != linear->expert)
        qd_findings_add(findings, linear->name, "its record's expert is not its own");
    if (starved != (fallback != NULL))
        qd_findings_add(findings, linear->name, "a starved expert without a fallback, or a fallback without starving");
    if (fallback != NULL && strcmp(fallback, "rtn") == 0 && !json_is_true(json_object_get(record, "degraded")))
        qd_findings_add(findings, linear->name, "a starved expert rounded to nearest is not marked degraded");
}

void qd_verify_record(const qd_linear *linear, size_t index, const json_t *record, qd_findings *findings)
{
    const judge j = { linear->name, json_object_get(record, "certificate"), findings };
    double tolerance = strcmp(word(j.certificate, "precision"), "float32") == 0 ? FLOAT32_TOLERANCE : IDENTITY;
    if (!are_numbers(&j))
        return;
    if (!json_is_integer(json_object_get(record, "index")) ||
        json_integer_value(json_object_get(record, "index")) != (json_int_t)index)
        qd_findings_add(findings, linear->name, "its record's index is not %zu", index);
    check_shape(&j, linear, record);
    check_grid(&j, linear, record);
    check_transforms(&j, record);
    check_routing(linear, record, findings);
    check_identities(&j, tolerance);
    check_status(&j, tolerance);
    if (json_object_get(j.certificate, "eta") != NULL)
        check_chance(&j);
    equal(&j, "error.calibration", json_number_value(json_object_get(json_object_get(record, "error"), "calibration")),
          value(&j, "rel_error"), 1);
    if (json_is_true(json_object_get(record, "degraded")) != json_is_string(json_object_get(record, "degraded_reason")))
        qd_findings_add(findings, linear->name, "degraded without a reason, or a reason without being degraded");
}

static void check_summary(const json_t *document, const qd_summary *made, qd_findings *findings)
{
    static const char file[] = "certificate.json";
    const json_t *summary = json_object_get(document, "summary");
    const struct {
        const char *key;
        double wanted;
    } sums[] = { { "layers", (double)made->layers },
                 { "certified_layers", (double)made->certified },
                 { "degraded_layers", (double)made->degraded },
                 { "relative_error", qd_summary_relative_error(made) } };
    const judge j = { file, summary, findings };
    for (size_t i = 0; i < QD_LENGTH(sums); i++)
        equal(&j, sums[i].key, value(&j, sums[i].key), sums[i].wanted, 1);
    QD_AUTO(qd_json_fini) json_t *experts = qd_summary_experts(made);
    const json_t *said = json_object_get(summary, "experts");
    if (said != NULL && !json_equal((json_t *)(uintptr_t)said, experts))
        qd_findings_add(findings, file, "summary.experts is not what the layers say");
}

void qd_verify_certificate(const qd_model *model, const json_t *document, qd_findings *findings)
{
    qd_summary sums = { 0 };
    const json_t *layers = json_object_get(document, "layers");
    size_t count = qd_model_linear_count(model);
    if (json_array_size(layers) != count) {
        qd_findings_add(findings, "certificate.json", "%zu layers, the model has %zu", json_array_size(layers), count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        qd_verify_record(qd_model_linear_at(model, i), i, json_array_get(layers, i), findings);
        qd_summary_add(&sums, json_array_get(layers, i));
    }
    check_summary(document, &sums, findings);
}
