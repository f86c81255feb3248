/* forecast.c: see forecast.h. Memory is in forecast_memory.c. */
#include "engine/forecast.h"

#include <math.h>

#include "base/mem.h"
#include "engine/arithmetic.h"
#include "engine/forecast_memory.h"
#include "engine/source_model.h"
#include "generate/generate.h"
#include "model/model.h"

/* What one of each count takes, in operations at the probe's rate. Draw, word, text, checkpoint and target: least squares over runs of models of 1 to 15
 * million weights on one thread; the others set by hand from the legs of four OPTQ runs (three of a model of 15 million weights: reference in both
 * arithmetics, balanced in bfloat16; one of 135 million: reference in bfloat16), by processor time. Models as small as that have more beside their
 * products than large ones: what a machine's own jobs took corrects it (machine.h). */
static const double price[QD_WORKS] = {
    [QD_WORK_FORWARD] = 1.3,      [QD_WORK_GRAM] = 0.9, [QD_WORK_FACTOR] = 4.5, [QD_WORK_TARGET] = 25,
    [QD_WORK_SWEEP] = 3.5,        [QD_WORK_BEAM] = 5.5, [QD_WORK_DESCENT] = 30, [QD_WORK_GRID] = 200,
    [QD_WORK_LAYER] = 650,        [QD_WORK_DRAW] = 2.8, [QD_WORK_WORD] = 735,   [QD_WORK_TEXT] = 3700,
    [QD_WORK_CHECKPOINT] = 1.1e9,
};
/* Work that one thread does, however many there are. */
static const bool alone[QD_WORKS] = { [QD_WORK_TEXT] = true, [QD_WORK_CHECKPOINT] = true };
/* Of threads beside the first, the share that is won. */
static const double won = 0.85;
/* Runs took between the forecast over this and times this; without a finished job on this machine, and with some. */
static const double spread_unknown = 3.0, spread_known = 1.5;
static const size_t enough_witnesses = 3;

/* The rate that a kind of work goes by. */
static double rate_of(size_t work, qd_arithmetic arithmetic, const qd_machine *machine)
{
    bool product = work == QD_WORK_FORWARD || work == QD_WORK_GRAM;
    if (machine->flops_bfloat16 > 0 && product && arithmetic == QD_ARITHMETIC_BFLOAT16)
        return machine->flops_bfloat16;
    if (machine->flops_bfloat16 > 0 && work == QD_WORK_GRAM && arithmetic == QD_ARITHMETIC_TWO_TERMS)
        return machine->flops_bfloat16 / 3; /* products for one */
    return machine->flops;
}

double qd_forecast_cost(const qd_cost *cost, qd_arithmetic arithmetic, const qd_machine *machine)
{
    double speed = 1.0 + won * (double)(qd_max_size(machine->threads, 1) - 1), sum = 0;
    for (size_t i = 0; i < QD_WORKS; i++)
        sum += cost->amount[i] * price[i] / (alone[i] ? 1.0 : speed) / rate_of(i, arithmetic, machine);
    return sum;
}

qd_arithmetic qd_forecast_leg_arithmetic(size_t leg, qd_arithmetic of_job)
{
    return leg == QD_LEG_WALK || leg == QD_LEG_MOMENTS ? of_job : QD_ARITHMETIC_FLOAT32;
}

static qd_forecast_phase phase_of(size_t leg)
{
    switch (leg) {
    case QD_LEG_EVALUATING:
        return QD_FORECAST_EVALUATING;
    case QD_LEG_EXPORTING:
        return QD_FORECAST_EXPORTING;
    case QD_LEG_VERIFYING:
        return QD_FORECAST_VERIFYING;
    default:
        return QD_FORECAST_QUANTIZING;
    }
}

static void sum_seconds(const qd_recipe *recipe, const qd_model *model, const qd_machine *machine, qd_forecast *f)
{
    qd_cost cost[QD_LEGS];
    qd_arithmetic arithmetic = qd_recipe_arithmetic(recipe, model);
    double plain = 0;
    qd_cost_of_job(recipe, model, &f->volume, cost);
    for (size_t leg = 0; leg < QD_LEGS; leg++) {
        double seconds = qd_forecast_cost(&cost[leg], qd_forecast_leg_arithmetic(leg, arithmetic), machine);
        double ratio = machine->leg[arithmetic][leg] > 0 ? machine->leg[arithmetic][leg] : machine->factor;
        double told = seconds * ratio;
        f->seconds[phase_of(leg)] += told;
        f->total += told;
        plain += seconds;
    }
    double spread = machine->witnesses >= enough_witnesses ? spread_known : spread_unknown;
    f->factor = plain > 0 ? f->total / plain : machine->factor;
    f->low = f->total / spread;
    f->high = f->total * spread;
}

/* As qd_context_length has it, without its refusal. */
static size_t length_of(const qd_model *model, size_t wanted)
{
    size_t most = qd_model_borrow_config(model)->max_positions, length = wanted != 0 ? wanted : QD_WINDOW_LENGTH;
    return most != 0 ? qd_min_size(length, most) : length;
}

static qd_text_there text_there(uint64_t bytes)
{
    return bytes > 0 ? QD_TEXT_THERE : QD_TEXT_ABSENT;
}

/* Sequences are sampled in whole groups. */
static void add_drawn(size_t sequences, size_t length, qd_volume *volume)
{
    size_t groups = (sequences + QD_GENERATE_GROUP - 1) / QD_GENERATE_GROUP;
    volume->drawn += groups * QD_GENERATE_GROUP * length;
    volume->drawn_length = qd_max_size(volume->drawn_length, length);
}

/* Windows that a text of so many tokens is cut into. */
static size_t windows_of(const qd_recipe *recipe, const qd_window_cut *cut, double tokens)
{
    double content = (double)cut->length - (cut->policy == QD_BOS_INSERTED ? 1 : 0);
    double step = cut->stride == 0 ? content : (double)cut->stride, most = (double)recipe->evaluation.max_windows;
    double there = tokens < content ? 1 : floor((tokens - content) / step) + 1;
    return (size_t)(most > 0 ? fmin(there, most) : there);
}

/* Where lines are encoded each by itself, they are taken to be short. */
static uint64_t encoded_at_once(const qd_recipe *recipe, const qd_text_sizes *texts)
{
    uint64_t most = recipe->calibration_split == QD_SPLIT_WHOLE ? texts->calibration : 0;
    for (size_t i = 0; i < QD_LENGTH(texts->evaluation); i++)
        if (recipe->evaluation.split == QD_SPLIT_WHOLE && texts->evaluation[i] > most)
            most = texts->evaluation[i];
    return texts->document != 0 && texts->document < most ? texts->document : most;
}

static void measure_volume(const qd_recipe *recipe, const qd_model *model, const qd_text_sizes *texts, qd_volume *out)
{
    static const double usual_bytes = 4.0;
    double bytes = texts->bytes_per_token > 0 ? texts->bytes_per_token : usual_bytes;
    size_t positions = qd_model_borrow_config(model)->max_positions;
    qd_protocol_use evaluation = recipe->evaluation;
    qd_window_cut cut;
    *out = (qd_volume){ .text_bytes = 0 };
    if (!qd_model_is_known(model))
        return; /* no text goes through it */
    *out = (qd_volume){ .text_bytes = texts->calibration + texts->task_bytes,
                        .encoded_bytes = encoded_at_once(recipe, texts),
                        .task_tokens = (size_t)((double)texts->task_bytes / bytes),
                        .task_requests = texts->task_requests };
    qd_origin calibration = qd_recipe_calibration_origin(recipe, text_there(texts->calibration));
    if (calibration != QD_FROM_NOWHERE) {
        out->samples = recipe->calibration_samples;
        out->length = length_of(model, recipe->calibration_length);
    }
    if (calibration == QD_FROM_MODEL)
        add_drawn(out->samples, out->length, out);
    evaluation.length = qd_protocol_length(&evaluation, positions);
    if (qd_protocol_resolve(&evaluation, "", positions, 0, &cut, NULL) != QD_OK)
        return;
    out->window = cut.length;
    if (qd_recipe_evaluation_origin(recipe, text_there(texts->evaluation[0])) == QD_FROM_MODEL) {
        size_t asked = evaluation.max_windows;
        out->windows = out->most_windows = asked == 0 ? QD_SELF_WINDOWS : asked;
        add_drawn(out->windows, out->window, out);
    }
    for (size_t i = 0; i < QD_LENGTH(texts->evaluation); i++) {
        if (texts->evaluation[i] == 0)
            continue;
        size_t windows = windows_of(recipe, &cut, (double)texts->evaluation[i] / bytes);
        out->windows += windows;
        out->most_windows = qd_max_size(out->most_windows, windows);
        out->text_bytes += texts->evaluation[i];
    }
}

qd_code qd_forecast_make(const qd_recipe *recipe, const qd_model *model, const qd_text_sizes *texts,
                         const qd_machine *machine, qd_forecast *out, qd_error *err)
{
    qd_forecast f = { 0 };
    measure_volume(recipe, model, texts, &f.volume);
    qd_cost_settle(recipe, model, &f.volume);
    sum_seconds(recipe, model, machine, &f);
    qd_code code = qd_forecast_disk(recipe, model, machine->threads, &f, err);
    if (code != QD_OK)
        return code;
    qd_forecast_memory(recipe, model, machine, &f);
    *out = f;
    return QD_OK;
}

qd_code qd_forecast_folder(const qd_recipe *recipe, const char *model_dir, const qd_text_sizes *texts,
                           const qd_machine *machine, qd_forecast *out, qd_error *err)
{
    qd_model *model = NULL;
    qd_code code = qd_source_model(recipe, model_dir, &model, err);
    if (code == QD_OK)
        code = qd_forecast_make(recipe, model, texts, machine, out, err);
    qd_model_destroy(model);
    return code;
}

static json_t *print_choices(const qd_forecast *f)
{
    json_t *out = json_array();
    for (size_t i = 0; i < QD_MATRICES_COUNT; i++)
        json_array_append_new(out, json_pack("{s:s, s:I, s:I, s:f, s:b}", "matrices", qd_matrices_name(i),
                                             "peak_memory", (json_int_t)f->choices[i].peak_memory, "disk",
                                             (json_int_t)f->choices[i].disk_bytes, "seconds", f->choices[i].seconds,
                                             "chosen", f->matrices == i));
    return out;
}

json_t *qd_forecast_print(const qd_forecast *f, const qd_machine *machine)
{
    json_t *seconds =
        json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "quantizing", f->seconds[QD_FORECAST_QUANTIZING], "evaluating",
                  f->seconds[QD_FORECAST_EVALUATING], "exporting", f->seconds[QD_FORECAST_EXPORTING], "verifying",
                  f->seconds[QD_FORECAST_VERIFYING], "total", f->total, "low", f->low, "high", f->high);
    json_t *disk = json_pack("{s:I, s:I, s:I, s:I}", "artifact", (json_int_t)f->artifact_bytes, "checkpoints",
                             (json_int_t)f->checkpoint_bytes, "scratch", (json_int_t)f->scratch_bytes, "total",
                             (json_int_t)f->disk_bytes);
    return json_pack("{s:o, s:I, s:I, s:o, s:o, s:I, s:I, s:I, s:f, s:I}", "seconds", seconds, "peak_memory",
                     (json_int_t)f->peak_memory, "least_memory", (json_int_t)f->least_memory, "memory_choices",
                     print_choices(f), "disk", disk, "calibration_tokens",
                     (json_int_t)(f->volume.samples * f->volume.length), "evaluation_tokens",
                     (json_int_t)(f->volume.windows * f->volume.window), "threads", (json_int_t)machine->threads,
                     "factor", f->factor, "witnesses", (json_int_t)machine->witnesses);
}
