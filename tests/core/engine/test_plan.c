/* test_plan.c: plans and forecasts: made of headers, grow with the work, and say what does not fit. */
#include "job.h"

#include <math.h>
#include <unistd.h>

#include "engine/forecast.h"
#include "engine/pace.h"
#include "engine/probe.h"
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
    check_ok(qd_text_sizes_of(the_model, recipe, the_calibration, the_evaluation, NULL, &texts, &err));
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
        assert_true(f.least_memory <= f.peak_memory);
        assert_true(f.low < f.total && f.total < f.high);
        before = f;
    }
}

static void a_factor_of_finished_jobs_scales_every_phase(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_recipe *recipe = recipe_of("\"algorithm\": \"optq\"");
    const qd_text_sizes texts = { .calibration = 100000, .evaluation = { 100000 } };
    qd_machine slow = machine;
    qd_forecast one, other;
    slow.factor = 3;
    slow.witnesses = 5;
    check_ok(qd_forecast_folder(recipe, the_model, &texts, &machine, &one, &err));
    check_ok(qd_forecast_folder(recipe, the_model, &texts, &slow, &other, &err));
    check_close(other.total, 3 * one.total, 1e-9 * other.total);
    check_close(other.factor, 3, 1e-9);
    assert_true(other.high / other.total < one.high / one.total); /* it is known better */
    qd_recipe_destroy(recipe);
}

static void texts_are_measured_in_the_models_tokens(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_text_sizes texts;
    qd_recipe *recipe = recipe_of("\"algorithm\": \"optq\"");
    check_ok(qd_text_sizes_of(the_model, recipe, the_calibration, NULL, NULL, &texts, &err));
    assert_int_equal(texts.evaluation[0], 0);
    assert_true(texts.bytes_per_token > 1.5 && texts.bytes_per_token < 8);
    assert_int_equal(texts.document, texts.calibration);
    qd_recipe_destroy(recipe);
}

/* A tokenizer that does not cut words has symbols and pairs of a whole document at hand, some 23 bytes a byte. */
static void what_is_encoded_at_once_takes_memory(void **state)
{
    (void)state;
    static const uint64_t long_text = 1 << 30;
    static const struct {
        const char *job;
        uint64_t document, least, most; /* least_memory lies between, by bytes of the text */
    } cases[] = {
        { "\"algorithm\": \"optq\"", 0, 26, 27 },
        { "\"algorithm\": \"optq\"", 16 << 20, 3, 4 }, /* JSON lines */
        { "\"algorithm\": \"optq\", \"calibration\": {\"split\": \"lines\"}", 0, 3, 4 },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        qd_error err = { 0 };
        qd_forecast f;
        qd_recipe *recipe = recipe_of(cases[i].job);
        const qd_text_sizes texts = { .calibration = long_text, .document = cases[i].document };
        check_ok(qd_forecast_folder(recipe, the_model, &texts, &machine, &f, &err));
        assert_true(f.least_memory >= cases[i].least * long_text);
        assert_true(f.least_memory < cases[i].most * long_text);
        qd_recipe_destroy(recipe);
    }
}

/* A walk of which each leg takes so many times what its layers cost. */
typedef struct journey {
    qd_model *model;
    qd_recipe *recipe;
    qd_pace pace;
    double times[QD_LEGS], now;
} journey;

static void journey_init(journey *j, const char *members, const qd_machine *on)
{
    const qd_volume volume = { .samples = 8, .length = 128 };
    qd_error err = { 0 };
    *j = (journey){ .recipe = recipe_of(members), .now = 100 };
    check_ok(qd_model_open(the_model, &j->model, &err));
    check_ok(qd_pace_init(j->recipe, j->model, &volume, on, &j->pace, &err));
    for (size_t leg = 0; leg < QD_LEGS; leg++)
        j->times[leg] = 1;
    qd_pace_begin(&j->pace, j->now);
}

static void journey_fini(journey *j)
{
    qd_pace_fini(&j->pace);
    qd_model_destroy(j->model);
    qd_recipe_destroy(j->recipe);
}

static double cost_of_leg(const journey *j, qd_leg leg, size_t from, size_t end)
{
    double sum = 0;
    for (size_t i = from; i < end; i++)
        sum += j->pace.leg[leg].cost[i] * j->times[leg];
    return sum;
}

static void go(journey *j, qd_leg leg, size_t end)
{
    j->now += cost_of_leg(j, leg, j->pace.leg[leg].done, end);
    qd_pace_made(&j->pace, leg, end, j->now);
}

/* A block has groups of 3, 1, 2 and 1 layers. */
static void go_block(journey *j, size_t first)
{
    static const size_t groups[] = { 3, 1, 2, 1 };
    for (size_t g = 0, at = first; g < QD_LENGTH(groups); g++) {
        size_t end = at + groups[g];
        go(j, QD_LEG_MOMENTS, end);
        for (; at < end; at++)
            go(j, QD_LEG_ROUNDING, at + 1);
        go(j, QD_LEG_WALK, end);
    }
}

static double rest_of(const journey *j)
{
    return cost_of_leg(j, QD_LEG_WALK, j->pace.leg[QD_LEG_WALK].done, j->pace.count) +
           cost_of_leg(j, QD_LEG_MOMENTS, j->pace.leg[QD_LEG_MOMENTS].done, j->pace.count) +
           cost_of_leg(j, QD_LEG_ROUNDING, j->pace.leg[QD_LEG_ROUNDING].done, j->pace.count);
}

/* Layers that take what they cost on some machine that nobody measured: what is left is known from the first step on. */
static void what_is_left_goes_by_the_cost_of_layers(void **state)
{
    (void)state;
    static const qd_machine unit = { .threads = 1, .flops = 1, .factor = 1 };
    journey j;
    journey_init(&j, "\"algorithm\": \"optq\"", &unit);
    assert_true(isnan(qd_pace_rest(&j.pace).eta));
    assert_true(isnan(qd_pace_expected(&j.pace, 0)));
    go(&j, QD_LEG_MOMENTS, 3);
    for (size_t i = 0; i < 3; i++) {
        go(&j, QD_LEG_ROUNDING, i + 1);
        qd_pace_left left = qd_pace_rest(&j.pace);
        check_close(left.eta, rest_of(&j), 1e-9 * left.eta);
        assert_true(left.low < left.eta && left.eta < left.high);
    }
    check_close(qd_pace_expected(&j.pace, 3),
                cost_of_leg(&j, QD_LEG_WALK, 0, 3) + cost_of_leg(&j, QD_LEG_MOMENTS, 3, 4) +
                    cost_of_leg(&j, QD_LEG_ROUNDING, 3, 4),
                1e-9 * rest_of(&j));
    journey_fini(&j);
}

/* Where a machine is good at one thing and bad at another, one block tells. */
static void each_leg_has_a_pace_of_its_own(void **state)
{
    (void)state;
    journey j;
    journey_init(&j, "\"algorithm\": \"qronos\"", &machine);
    j.times[QD_LEG_WALK] = 0.5;
    j.times[QD_LEG_MOMENTS] = 2;
    j.times[QD_LEG_ROUNDING] = 11;
    go_block(&j, 0);
    qd_pace_left left = qd_pace_rest(&j.pace);
    check_close(left.eta, rest_of(&j), 1e-9 * left.eta);
    check_close(left.high, 1.05 * left.eta, 1e-6 * left.eta); /* steps that do not differ leave the least of ranges */
    go_block(&j, 7);
    check_close(qd_pace_rest(&j.pace).eta, rest_of(&j), 1e-9 * left.eta);
    journey_fini(&j);
}

/* Before the first step the probe's word goes, and it goes on for legs that have not begun. */
static void what_a_probe_found_goes_until_layers_tell(void **state)
{
    (void)state;
    journey j;
    journey_init(&j, "\"algorithm\": \"optq\"", &machine);
    j.times[QD_LEG_WALK] = 3;
    j.times[QD_LEG_MOMENTS] = 0.25;
    qd_pace_expect(&j.pace, QD_LEG_WALK, 3);
    qd_pace_expect(&j.pace, QD_LEG_MOMENTS, 0.25);
    qd_pace_expect(&j.pace, QD_LEG_ROUNDING, 1);
    qd_pace_left left = qd_pace_rest(&j.pace);
    check_close(left.eta, rest_of(&j), 1e-9 * left.eta);
    check_close(left.low, left.eta / 2, 1e-9 * left.eta);
    assert_true(isnan(qd_pace_expected(&j.pace, 0))); /* nobody is called slow by a guess */
    go(&j, QD_LEG_MOMENTS, 3);
    check_close(qd_pace_rest(&j.pace).eta, rest_of(&j), 1e-9 * left.eta);
    journey_fini(&j);
}

static void layers_that_were_there_already_do_not_count(void **state)
{
    (void)state;
    journey j;
    journey_init(&j, "\"algorithm\": \"optq\"", &machine);
    for (size_t i = 0; i < 7; i++)
        qd_pace_passed(&j.pace, QD_LEG_ROUNDING, i + 1, j.now += 1000);
    qd_pace_passed(&j.pace, QD_LEG_MOMENTS, 7, j.now);
    go(&j, QD_LEG_WALK, 7); /* the streams walk all the same */
    j.times[QD_LEG_MOMENTS] = j.times[QD_LEG_ROUNDING] = 1;
    check_close(qd_pace_rest(&j.pace).eta, rest_of(&j), 1e-9 * rest_of(&j));
    go_block(&j, 7);
    check_close(qd_pace_rest(&j.pace).eta, rest_of(&j), 1e-9 * rest_of(&j));
    journey_fini(&j);
}

/* Both of whose layers are of the job's own shapes; where next to nothing is left to do, there is none. */
static void a_probe_tells_where_enough_is_left(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_pool *pool = NULL;
    journey j;
    check_ok(qd_pool_create(2, &pool, &err));
    journey_init(&j, "\"algorithm\": \"optq\"", &machine);
    for (size_t leg = QD_LEG_WALK; leg <= QD_LEG_ROUNDING; leg++)
        j.pace.leg[leg].done = j.pace.count;
    check_ok(qd_probe_layers(j.recipe, &machine, pool, &j.pace, &err));
    for (size_t leg = 0; leg < QD_LEGS; leg++) {
        assert_true(j.pace.leg[leg].prior == 0);
        j.pace.leg[leg].done = 0;
    }
    check_ok(qd_probe_layers(j.recipe, &machine, pool, &j.pace, &err));
    assert_true(j.pace.leg[QD_LEG_WALK].prior > 0 && j.pace.leg[QD_LEG_MOMENTS].prior > 0);
    assert_true(j.pace.leg[QD_LEG_ROUNDING].prior == 0);
    journey_fini(&j);
    qd_pool_destroy(pool);
}

static double products_of_model(const qd_model *model, double tokens, double length)
{
    double sum = 0;
    for (size_t i = 0; i < qd_model_linear_count(model); i++) {
        const qd_linear *l = qd_model_linear_at(model, i);
        sum += 2 * tokens * (double)l->out * (double)l->in + (l->group == 1 ? 2 * tokens * length * (double)l->in : 0);
    }
    return sum;
}

/* However the walk is put off where inputs are made again: each stream goes once through every layer, and what is made
 * again for the moments of the wide input is gate and up. */
static void every_stream_walks_through_every_layer_once(void **state)
{
    (void)state;
    static const struct {
        const char *job;
        double streams;
    } cases[] = { { "\"algorithm\": \"optq\"", 1 }, { "\"algorithm\": \"qronos\"", 2 } };
    qd_error err = { 0 };
    qd_model *model = NULL;
    check_ok(qd_model_open(the_model, &model, &err));
    for (size_t k = 0; k < QD_LENGTH(cases); k++) {
        qd_volume volume = { .samples = 8, .length = 128 };
        qd_recipe *recipe = recipe_of(cases[k].job);
        qd_cost cost[QD_LEGS];
        double again = 0;
        for (size_t i = 0; i < qd_model_linear_count(model); i++)
            if (qd_model_linear_at(model, i)->group == 2)
                again += 2.0 * 8 * 128 * (double)qd_model_linear_at(model, i)->out *
                         (double)qd_model_linear_at(model, i)->in;
        qd_cost_of_job(recipe, model, &volume, cost);
        double all = products_of_model(model, 8 * 128, 128);
        check_close(cost[QD_LEG_WALK].amount[QD_WORK_FORWARD], cases[k].streams * all, 1e-9 * all);
        check_close(cost[QD_LEG_MOMENTS].amount[QD_WORK_FORWARD], cases[k].streams * again, 1e-9 * all);
        qd_cost_settle(recipe, model, &volume); /* so few tokens are kept, and nothing is made again */
        qd_cost_of_job(recipe, model, &volume, cost);
        check_close(cost[QD_LEG_WALK].amount[QD_WORK_FORWARD], cases[k].streams * all, 1e-9 * all);
        assert_true(cost[QD_LEG_MOMENTS].amount[QD_WORK_FORWARD] == 0);
        qd_recipe_destroy(recipe);
    }
    qd_model_destroy(model);
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
        cmocka_unit_test(what_is_encoded_at_once_takes_memory),
        cmocka_unit_test(what_is_left_goes_by_the_cost_of_layers),
        cmocka_unit_test(a_probe_tells_where_enough_is_left),
        cmocka_unit_test(each_leg_has_a_pace_of_its_own),
        cmocka_unit_test(what_a_probe_found_goes_until_layers_tell),
        cmocka_unit_test(every_stream_walks_through_every_layer_once),
        cmocka_unit_test(layers_that_were_there_already_do_not_count),
        cmocka_unit_test(every_format_says_its_size_and_its_loaders),
    };
    return cmocka_run_group_tests(tests, find_files, NULL);
}
