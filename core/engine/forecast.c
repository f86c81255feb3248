/* forecast.c: see forecast.h. Memory is in forecast_memory.c. */
#include "engine/forecast.h"

#include <math.h>
#include <time.h>

#include "base/mem.h"
#include "engine/forecast_memory.h"
#include "linalg/gemm.h"
#include "model/model.h"

/* What one of each count takes, in float32 operations at the probe's rate: least squares over 22 runs of models of
 * 1 to 15 million weights on one thread (tests/bench/bench_forecast.py). */
static const double price[QD_WORKS] = {
    [QD_WORK_FORWARD] = 0.97, [QD_WORK_GRAM] = 2.35, [QD_WORK_FACTOR] = 1.1,  [QD_WORK_TARGET] = 25,
    [QD_WORK_SWEEP] = 2.8,    [QD_WORK_BEAM] = 22,   [QD_WORK_DESCENT] = 121, [QD_WORK_GRID] = 417,
    [QD_WORK_LAYER] = 860,    [QD_WORK_WORD] = 735,  [QD_WORK_TEXT] = 3700,   [QD_WORK_CHECKPOINT] = 1.1e9,
};
/* Work that one thread does, however many there are. */
static const bool alone[QD_WORKS] = { [QD_WORK_TEXT] = true, [QD_WORK_CHECKPOINT] = true };
/* Of threads beside the first, the share that is won. */
static const double won = 0.85;
/* Runs took between the forecast over this and times this; without a finished job on this machine, and with some. */
static const double spread_unknown = 3.0, spread_known = 1.5;
static const size_t enough_witnesses = 3;

static double seconds_of(const qd_cost *cost, const qd_machine *machine)
{
    double speed = 1.0 + won * (double)(qd_max_size(machine->threads, 1) - 1), sum = 0;
    for (size_t i = 0; i < QD_WORKS; i++)
        sum += cost->amount[i] * price[i] / (alone[i] ? 1.0 : speed);
    return sum / machine->flops * machine->factor;
}

double qd_forecast_layer(const qd_recipe *recipe, const qd_model *model, const qd_volume *volume,
                         const qd_machine *machine, size_t index)
{
    qd_cost cost;
    qd_cost_of_layer(recipe, model, volume, index, &cost);
    return seconds_of(&cost, machine);
}

static void sum_seconds(const qd_recipe *recipe, const qd_model *model, const qd_machine *machine, qd_forecast *f)
{
    qd_cost cost, layer;
    qd_cost_of_start(model, &f->volume, &cost);
    for (size_t i = 0; i < qd_model_linear_count(model); i++) {
        qd_cost_of_layer(recipe, model, &f->volume, i, &layer);
        qd_cost_add(&cost, &layer);
    }
    f->seconds[QD_FORECAST_QUANTIZING] = seconds_of(&cost, machine);
    qd_cost_of_evaluating(recipe, model, &f->volume, &cost);
    f->seconds[QD_FORECAST_EVALUATING] = seconds_of(&cost, machine);
    qd_cost_of_exporting(recipe, model, &cost);
    f->seconds[QD_FORECAST_EXPORTING] = seconds_of(&cost, machine);
    qd_cost_of_verifying(recipe, model, &f->volume, &cost);
    f->seconds[QD_FORECAST_VERIFYING] = seconds_of(&cost, machine);
    for (size_t i = 0; i < QD_FORECAST_PHASES; i++)
        f->total += f->seconds[i];
    double spread = machine->witnesses >= enough_witnesses ? spread_known : spread_unknown;
    f->low = f->total / spread;
    f->high = f->total * spread;
}

/* As qd_context_length has it, without its refusal. */
static size_t length_of(const qd_model *model, size_t wanted)
{
    size_t most = qd_model_borrow_config(model)->max_positions, length = wanted != 0 ? wanted : QD_WINDOW_LENGTH;
    return most != 0 ? qd_min_size(length, most) : length;
}

static void measure_volume(const qd_recipe *recipe, const qd_model *model, const qd_text_sizes *texts, qd_volume *out)
{
    static const double usual_bytes = 4.0;
    double bytes = texts->bytes_per_token > 0 ? texts->bytes_per_token : usual_bytes;
    *out = (qd_volume){ .text_bytes = texts->calibration + texts->evaluation };
    if (texts->calibration > 0) {
        out->samples = recipe->calibration_samples;
        out->length = length_of(model, recipe->calibration_length);
    }
    if (texts->evaluation == 0)
        return;
    out->window = length_of(model, recipe->evaluation_length);
    size_t there = (size_t)((double)texts->evaluation / bytes / (double)out->window);
    out->windows = recipe->evaluation_windows == 0 ? there : qd_min_size(recipe->evaluation_windows, there);
    out->windows = qd_max_size(out->windows, 1);
}

qd_code qd_forecast_make(const qd_recipe *recipe, const qd_model *model, const qd_text_sizes *texts,
                         const qd_machine *machine, qd_forecast *out, qd_error *err)
{
    qd_forecast f = { 0 };
    measure_volume(recipe, model, texts, &f.volume);
    sum_seconds(recipe, model, machine, &f);
    qd_code code = qd_forecast_disk(recipe, model, &f, err);
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
    qd_code code = qd_model_open(model_dir, &model, err);
    if (code == QD_OK)
        code = qd_forecast_make(recipe, model, texts, machine, out, err);
    qd_model_destroy(model);
    return code;
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
    return json_pack("{s:o, s:I, s:I, s:o, s:I, s:I, s:I, s:f, s:I}", "seconds", seconds, "peak_memory",
                     (json_int_t)f->peak_memory, "least_memory", (json_int_t)f->least_memory, "disk", disk,
                     "calibration_tokens", (json_int_t)(f->volume.samples * f->volume.length), "evaluation_tokens",
                     (json_int_t)(f->volume.windows * f->volume.window), "threads", (json_int_t)machine->threads,
                     "factor", machine->factor, "witnesses", (json_int_t)machine->witnesses);
}

static double processor_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

qd_code qd_machine_probe(qd_machine *out, qd_error *err)
{
    enum { SIZE = 384, ROUNDS = 3, REPEATS = 8 };
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf a = { 0 };
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf b = { 0 };
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf c = { 0 };
    qd_matf_buf *const all[] = { &a, &b, &c };
    double best = 0;
    for (size_t i = 0; i < QD_LENGTH(all); i++) {
        qd_code code = qd_matf_buf_init(all[i], SIZE, SIZE, err);
        if (code != QD_OK)
            return code;
        for (size_t k = 0; k < SIZE * SIZE; k++)
            all[i]->view.data[k] = 1.0f;
    }
    for (size_t round = 0; round <= ROUNDS; round++) { /* the first warms up */
        double started = processor_seconds();
        for (size_t i = 0; i < REPEATS; i++)
            qd_gemm_f32(QD_PLAIN, QD_PLAIN, 1.0f, qd_matf_const(a.view), qd_matf_const(b.view), 0.0f, c.view);
        double spent = processor_seconds() - started, rate = 2.0 * SIZE * SIZE * SIZE * REPEATS / fmax(spent, 1e-9);
        best = round > 0 ? fmax(best, rate) : best;
    }
    *out = (qd_machine){ .threads = 1, .flops = best, .factor = 1 };
    return QD_OK;
}
