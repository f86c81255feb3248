/* test_plan.c: plans and forecasts: made of headers, grow with the work, and say what does not fit. */
#include "job.h"

#include <math.h>
#include <unistd.h>

#include "engine/forecast.h"
#include "engine/pace.h"
#include "engine/plan.h"
#include "engine/text_sizes.h"

static char the_model[700], the_calibration[700], the_evaluation[700];

static int find_files(void **state)
{
    (void)state;
    SOURCE_PATH(the_model, "tests/models/novella-1m");
    SOURCE_PATH(the_calibration, "tests/texts/novella-calibration.txt");
    SOURCE_PATH(the_evaluation, "tests/texts/novella-heldout.txt");
    return 0;
}

static const qd_machine machine = { .threads = 2, .flops = 1e11, .factor = 1 };

static qd_plan plan_of(const char *members, const char *folder)
{
    qd_error err = { 0 };
    qd_plan plan = { 0 };
    qd_recipe *recipe = recipe_of(members);
    const qd_plan_terms terms = {
        .machine = machine, .calibration_text = the_calibration, .evaluation_text = the_evaluation, .download_bytes = 7
    };
    check_ok(qd_plan_make(recipe, folder, &terms, &plan, &err));
    qd_recipe_destroy(recipe);
    return plan;
}

static qd_forecast forecast_of(const char *members)
{
    qd_error err = { 0 };
    qd_forecast forecast;
    qd_text_sizes texts;
    qd_recipe *recipe = recipe_of(members);
    check_ok(qd_text_sizes_of(the_model, the_calibration, the_evaluation, &texts, &err));
    check_ok(qd_forecast_folder(recipe, the_model, &texts, &machine, &forecast, &err));
    qd_recipe_destroy(recipe);
    return forecast;
}

/* The model with everything of its weights but the header taken out. */
static void make_hollow(const char *folder)
{
    static const char *const names[] = { "config.json", "generation_config.json", "tokenizer.json",
                                         "tokenizer_config.json", "model.safetensors" };
    for (size_t i = 0; i < QD_LENGTH(names); i++) {
        char from[900], to[900];
        qd_str bytes = { 0 };
        qd_error err = { 0 };
        snprintf(from, sizeof from, "%s/%s", the_model, names[i]);
        snprintf(to, sizeof to, "%s/%s", folder, names[i]);
        check_ok(qd_file_read(from, 64 << 20, &bytes, &err));
        size_t size = bytes.length, kept = size;
        if (strstr(names[i], ".safetensors") != NULL) {
            uint64_t header;
            memcpy(&header, bytes.data, sizeof header);
            kept = 8 + (size_t)header;
            assert_true(kept < size);
        }
        check_ok(qd_file_write(to, bytes.data, kept, &err));
        assert_int_equal(truncate(to, (off_t)size), 0);
        qd_str_fini(&bytes);
    }
}

static void a_folder_of_holes_has_the_plan_of_the_model(void **state)
{
    (void)state;
    char folder[256];
    make_folder(folder, sizeof folder);
    make_hollow(folder);
    qd_plan whole = plan_of("\"bits\": 4", the_model), hollow = plan_of("\"bits\": 4", folder);
    assert_true(json_is_true(json_object_get(whole.document, "possible")));
    /* but for files that the model has beside it and the hollow one has not */
    json_object_del(whole.document, "totals");
    json_object_del(hollow.document, "totals");
    json_object_del(json_object_get(whole.document, "forecast"), "disk");
    json_object_del(json_object_get(hollow.document, "forecast"), "disk");
    assert_true(json_equal(whole.document, hollow.document));
    qd_plan_fini(&whole);
    qd_plan_fini(&hollow);
    remove_folder(folder);
}

static const json_t *entry_of(const qd_plan *plan, const char *tensor)
{
    json_t *layers = json_object_get(plan->document, "layers");
    for (size_t i = 0; i < json_array_size(layers); i++)
        if (strcmp(json_string_value(json_object_get(json_array_get(layers, i), "tensor")), tensor) == 0)
            return json_array_get(layers, i);
    fail_msg("no tensor '%s'", tensor);
    return NULL;
}

static void a_layer_that_the_container_has_otherwise_says_so(void **state)
{
    (void)state;
    /* rows of 128 and 384 are no whole blocks of 256 */
    qd_plan plan = plan_of("\"format\": \"gguf:q4_k\"", the_model);
    const json_t *entry = entry_of(&plan, "model.layers.0.self_attn.q_proj.weight");
    assert_string_equal(json_string_value(json_object_get(entry, "action")), "quantized");
    check_contains(json_string_value(json_object_get(entry, "why")), "do not fit the container's grid");
    assert_int_equal(json_integer_value(json_object_get(entry, "group_size")), 32);
    qd_plan_fini(&plan);
}

static void what_does_not_fit_is_a_problem_with_a_pointer(void **state)
{
    (void)state;
    static const struct {
        const char *members, *pointer;
    } cases[] = {
        { "\"group_size\": 48", "/group_size" },
        { "\"calibration\": {\"length\": 4096}", "/calibration/length" },
        { "\"evaluation\": {\"length\": 4096}", "/evaluation/length" },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        qd_plan plan = plan_of(cases[i].members, the_model);
        const json_t *problems = json_object_get(plan.document, "problems");
        assert_int_equal(json_array_size(problems), 1);
        assert_string_equal(json_string_value(json_object_get(json_array_get(problems, 0), "pointer")),
                            cases[i].pointer);
        assert_true(json_is_false(json_object_get(plan.document, "possible")));
        qd_plan_fini(&plan);
    }
}

static void few_calibration_tokens_are_warned_of(void **state)
{
    (void)state;
    qd_plan plan = plan_of("\"calibration\": {\"samples\": 2, \"length\": 128}", the_model);
    check_contains(json_string_value(json_array_get(json_object_get(plan.document, "warnings"), 0)),
                   "more columns than the 256 calibration tokens");
    qd_plan_fini(&plan);
}

/* Each job takes more of this than the one before it. */
static void forecasts_grow_with_the_work(void **state)
{
    (void)state;
    static const char *const jobs[] = {
        "\"algorithm\": \"rtn\", \"effort\": \"reference\", \"calibration\": {\"samples\": 8, \"length\": 128}",
        "\"algorithm\": \"optq\", \"effort\": \"reference\", \"calibration\": {\"samples\": 16, \"length\": 128}",
        "\"algorithm\": \"optq\", \"effort\": \"fast\", \"calibration\": {\"samples\": 16, \"length\": 128}",
        "\"algorithm\": \"qronos\", \"effort\": \"balanced\", \"calibration\": {\"samples\": 16, \"length\": 128}",
        "\"algorithm\": \"qronos\", \"effort\": \"best\", \"calibration\": {\"samples\": 64, \"length\": 512}",
    };
    qd_forecast before = { 0 };
    for (size_t i = 0; i < QD_LENGTH(jobs); i++) {
        qd_forecast f = forecast_of(jobs[i]);
        assert_true(f.seconds[QD_FORECAST_QUANTIZING] > before.seconds[QD_FORECAST_QUANTIZING]);
        assert_true(f.peak_memory >= before.peak_memory);
        assert_true(f.least_memory < f.peak_memory);
        assert_true(f.low < f.total && f.total < f.high);
        before = f;
    }
}

static void a_factor_of_finished_jobs_scales_every_phase(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_recipe *recipe = recipe_of("\"algorithm\": \"optq\"");
    const qd_text_sizes texts = { .calibration = 100000, .evaluation = 100000 };
    qd_machine slow = machine;
    qd_forecast one, other;
    slow.factor = 3;
    slow.witnesses = 5;
    check_ok(qd_forecast_folder(recipe, the_model, &texts, &machine, &one, &err));
    check_ok(qd_forecast_folder(recipe, the_model, &texts, &slow, &other, &err));
    check_close(other.total, 3 * one.total, 1e-9 * other.total);
    assert_true(other.high / other.total < one.high / one.total); /* it is known better */
    qd_recipe_destroy(recipe);
}

static void texts_are_measured_in_the_models_tokens(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_text_sizes texts;
    check_ok(qd_text_sizes_of(the_model, the_calibration, NULL, &texts, &err));
    assert_int_equal(texts.evaluation, 0);
    assert_true(texts.bytes_per_token > 1.5 && texts.bytes_per_token < 8);
}

static void the_machine_is_measured(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_machine found;
    check_ok(qd_machine_probe(&found, &err));
    assert_true(found.flops > 1e8 && found.flops < 1e13);
    assert_true(found.factor == 1);
}

/* Layers that take exactly what they cost: what is left is known from the first group on. */
static void what_is_left_goes_by_the_cost_of_layers(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_model *model = NULL;
    qd_pace pace = { 0 };
    qd_recipe *recipe = recipe_of("\"algorithm\": \"optq\"");
    const qd_volume volume = { .samples = 8, .length = 128 };
    check_ok(qd_model_open(the_model, &model, &err));
    check_ok(qd_pace_init(recipe, model, &volume, &pace, &err));
    double all = 0, now = 100, rate = 0;
    for (size_t i = 0; i < pace.count; i++)
        all += pace.cost[i];
    rate = 60 / all; /* the whole walk takes a minute */
    qd_pace_begin(&pace, now);
    assert_true(isnan(qd_pace_rest(&pace, 0).eta));
    assert_true(isnan(qd_pace_expected(&pace, 0)));
    for (size_t i = 0; i < pace.count; i++) {
        now += pace.cost[i] * rate;
        qd_pace_made(&pace, i, now);
        qd_pace_left left = qd_pace_rest(&pace, i + 1);
        check_close(left.eta, 160 - now, 1e-6);
        assert_true(left.low <= left.eta + 1e-6 && left.eta <= left.high + 1e-6);
    }
    assert_true(pace.cost[6] > pace.cost[1]); /* down and k: a layer each, and nothing alike */
    qd_pace_fini(&pace);
    qd_model_destroy(model);
    qd_recipe_destroy(recipe);
}

static void layers_that_were_there_already_do_not_count(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_model *model = NULL;
    qd_pace pace = { 0 };
    qd_recipe *recipe = recipe_of("\"algorithm\": \"optq\"");
    const qd_volume volume = { .samples = 8, .length = 128 };
    check_ok(qd_model_open(the_model, &model, &err));
    check_ok(qd_pace_init(recipe, model, &volume, &pace, &err));
    qd_pace_begin(&pace, 0);
    qd_pace_begin(&pace, 1000); /* resumed layers end here */
    qd_pace_made(&pace, 7, 1000 + pace.cost[7]);
    double rest = 0;
    for (size_t i = 8; i < pace.count; i++)
        rest += pace.cost[i];
    check_close(qd_pace_rest(&pace, 8).eta, rest, 1e-9 * rest);
    qd_pace_fini(&pace);
    qd_model_destroy(model);
    qd_recipe_destroy(recipe);
}

static void every_format_says_its_size_and_its_loaders(void **state)
{
    (void)state;
    const qd_linear linear = { .name = "l", .out = 256, .in = 512 };
    for (size_t i = 0; qd_format_at(i) != NULL; i++) {
        const qd_format *format = qd_format_at(i);
        assert_non_null(format->loaders);
        assert_non_null(format->loaders[0]);
        for (size_t v = 0; v == 0 || (format->variants != NULL && format->variants[v] != NULL); v++) {
            char name[QD_FORMAT_NAME], members[200];
            qd_grid_spec spec;
            qd_error err = { 0 };
            qd_format_print(format, v, name);
            snprintf(members, sizeof members, "\"format\": \"%s\"", name);
            qd_recipe *recipe = recipe_of(members);
            check_ok(qd_recipe_layer_spec(recipe, &linear, &spec, &err));
            uint64_t bytes = format->layer_bytes(&spec, v, &linear, "BF16");
            double bits = 8.0 * (double)bytes / (256.0 * 512.0);
            assert_true(bits > 1 && bits <= 32);
            qd_recipe_destroy(recipe);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_of_holes_has_the_plan_of_the_model),
        cmocka_unit_test(a_layer_that_the_container_has_otherwise_says_so),
        cmocka_unit_test(what_does_not_fit_is_a_problem_with_a_pointer),
        cmocka_unit_test(few_calibration_tokens_are_warned_of),
        cmocka_unit_test(forecasts_grow_with_the_work),
        cmocka_unit_test(a_factor_of_finished_jobs_scales_every_phase),
        cmocka_unit_test(texts_are_measured_in_the_models_tokens),
        cmocka_unit_test(the_machine_is_measured),
        cmocka_unit_test(what_is_left_goes_by_the_cost_of_layers),
        cmocka_unit_test(layers_that_were_there_already_do_not_count),
        cmocka_unit_test(every_format_says_its_size_and_its_loaders),
    };
    return cmocka_run_group_tests(tests, find_files, NULL);
}
