/* test_unknown_run.c: a model whose architecture nobody knows: refused with an offer; with model.unknown data-free rounded to nearest as far as
 * names and shapes tell, everything else kept byte for byte, and said so. */
#include "job.h"

#include "base/rng.h"
#include "engine/plan.h"
#include "engine/source_model.h"
#include "export/artifact.h"

#define DATA_FREE "\"model\":{\"url\":\"file:///m\",\"unknown\":\"data-free\"},\"algorithm\":\"rtn\",\"group_size\":32"

/* A state-space model with experts and an adapter, as nobody published it. */
static const struct part {
    const char *name;
    size_t rank;
    uint64_t shape[3];
    const char *action, *why; /* in the plan of a data-free job */
} parts[] = {
    { "adapter.down.weight", 2, { 32, 64 }, "quantized", NULL },
    { "backbone.embeddings.weight", 2, { 96, 64 }, "kept", "embedding" },
    { "backbone.layers.0.mixer.A_log", 2, { 128, 32 }, "unknown", "name" },
    { "backbone.layers.0.mixer.D", 1, { 128 }, "kept", "vector" },
    { "backbone.layers.0.mixer.conv1d.bias", 1, { 128 }, "kept", "vector" },
    { "backbone.layers.0.mixer.conv1d.weight", 3, { 128, 1, 4 }, "kept", "kernel" },
    { "backbone.layers.0.mixer.dt_proj.weight", 2, { 128, 4 }, "kept", "size" },
    { "backbone.layers.0.mixer.in_proj.weight", 2, { 256, 64 }, "quantized", NULL },
    { "backbone.layers.0.mixer.out_proj.bias", 1, { 64 }, "kept", "vector" },
    { "backbone.layers.0.mixer.out_proj.weight", 2, { 64, 128 }, "quantized", NULL },
    { "backbone.layers.0.mixer.x_proj.weight", 2, { 36, 128 }, "quantized", NULL },
    { "backbone.layers.0.norm.weight", 1, { 64 }, "kept", "vector" },
    { "backbone.layers.1.experts.up_proj", 3, { 4, 64, 64 }, "unknown", "stack" },
    { "backbone.layers.1.gate.weight", 2, { 32, 64 }, "kept", "gate" },
    { "backbone.layers.1.mixer.odd_proj.weight", 2, { 64, 40 }, "kept", "container: group_size: 32 does not divide" },
    { "backbone.layers.10.mixer.in_proj.weight", 2, { 64, 64 }, "quantized", NULL },
    { "backbone.layers.2.mixer.in_proj.weight", 2, { 64, 64 }, "quantized", NULL },
    { "backbone.norm_f.weight", 1, { 64 }, "kept", "vector" },
    { "lm_head.weight", 2, { 96, 64 }, "kept", "head" },
    { "words_out.weight", 2, { 96, 64 }, "kept", "vocabulary" },
};
/* In order of their blocks. */
static const char *const layers[] = {
    "adapter.down",
    "backbone.layers.0.mixer.in_proj",
    "backbone.layers.0.mixer.out_proj",
    "backbone.layers.0.mixer.x_proj",
    "backbone.layers.2.mixer.in_proj",
    "backbone.layers.10.mixer.in_proj",
};

typedef struct place {
    char folder[200], model[300], out[300];
} place;

static void write_model(const char *folder)
{
    static const char config[] = "{\"architectures\":[\"StateSpaceForCausalLM\"],\"model_type\":\"statespace\","
                                 "\"vocab_size\":96,\"torch_dtype\":\"bfloat16\"}";
    qd_error err = { 0 };
    qd_tensor_out tensors[QD_LENGTH(parts)];
    const qd_dtype *bf16 = qd_dtype_find("BF16");
    for (size_t i = 0; i < QD_LENGTH(parts); i++) {
        size_t count = 1;
        tensors[i] = (qd_tensor_out){ .name = parts[i].name, .dtype = bf16, .rank = parts[i].rank };
        for (size_t k = 0; k < parts[i].rank; k++)
            count *= (size_t)(tensors[i].shape[k] = parts[i].shape[k]);
        float *values = malloc(count * sizeof *values);
        void *bytes = malloc(2 * count);
        for (size_t k = 0; k < count; k++)
            values[k] = (float)(qd_rng_uniform(i + 1, k) - 0.5);
        bf16->from_floats(values, count, bytes);
        tensors[i].data = bytes;
        free(values);
    }
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(folder, "model.safetensors");
    QD_AUTO(qd_free_pointer) char *config_path = qd_path_join(folder, "config.json");
    check_ok(qd_dir_make(folder, &err));
    check_ok(qd_safetensors_write(path, tensors, QD_LENGTH(parts), NULL, NULL, 0, &err));
    check_ok(qd_file_write(config_path, config, strlen(config), &err));
    for (size_t i = 0; i < QD_LENGTH(parts); i++)
        free((void *)(uintptr_t)tensors[i].data);
}

static void make_place(place *p)
{
    make_folder(p->folder, sizeof p->folder);
    snprintf(p->model, sizeof p->model, "%s/model", p->folder);
    snprintf(p->out, sizeof p->out, "%s/out", p->folder);
    write_model(p->model);
}

/* The whole request: recipe_of() of job.h names a model of its own. */
static qd_code parse(const char *request, qd_recipe **out, qd_issues *issues)
{
    char text[2000];
    qd_error err = { 0 };
    QD_AUTO(qd_json_fini) json_t *json = NULL;
    snprintf(text, sizeof text, "{%s}", request);
    check_ok(qd_json_parse_object(text, strlen(text), 16, &json, &err));
    return qd_recipe_parse(json, out, issues, &err);
}

static qd_recipe *recipe_from(const char *request)
{
    qd_recipe *out = NULL;
    assert_int_equal(parse(request, &out, NULL), QD_OK);
    return out;
}

/* log: events are noted there, and the run is stopped where it says so. */
static qd_code run_it(const place *p, const char *request, const char *text, event_log *log, json_t **out_result,
                      qd_error *err)
{
    char work[300];
    snprintf(work, sizeof work, "%s/work", p->folder);
    const qd_run_paths paths = {
        .model_dir = p->model, .calibration_text = text, .evaluation_text = text, .work_dir = work, .out_dir = p->out
    };
    const qd_run_options options = { .threads = 1 };
    qd_cancel cancel = { 0 };
    log->events = json_array();
    log->cancel = &cancel;
    const qd_sink sink = { .event = log_event, .ctx = log };
    qd_recipe *recipe = recipe_from(request);
    qd_code code = qd_run(recipe, &paths, &options, &sink, &cancel, out_result, err);
    qd_recipe_destroy(recipe);
    return code;
}

static json_t *plan_of(const place *p, const char *request)
{
    qd_error err = { 0 };
    qd_plan plan = { 0 };
    const qd_plan_terms terms = { .machine = { .threads = 2, .flops = 1e11, .factor = 1 },
                                  .calibration_guess = 1000,
                                  .evaluation_guess = 1000 };
    qd_recipe *recipe = recipe_from(request);
    check_ok(qd_plan_make(recipe, p->model, &terms, &plan, &err));
    json_t *out = json_incref(plan.document);
    qd_plan_fini(&plan);
    qd_recipe_destroy(recipe);
    return out;
}

static const char *text_at(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* ---- without the field ---- */

static void it_is_refused_and_the_way_is_offered(void **state)
{
    (void)state;
    place p;
    qd_error err = { 0 };
    event_log log = { 0 };
    json_t *result = NULL;
    make_place(&p);
    qd_code code =
        run_it(&p, "\"model\":\"file:///m\",\"algorithm\":\"rtn\",\"group_size\":32", NULL, &log, &result, &err);
    assert_int_equal(code, QD_EUNSUPPORTED);
    check_contains(err.text, "StateSpaceForCausalLM");
    check_contains(err.text, "model.unknown 'data-free' with algorithm 'rtn' would round 6 matrices to nearest");
    log_fini(&log);
    QD_AUTO(qd_json_fini) json_t *plan = plan_of(&p, "\"model\":\"file:///m\",\"group_size\":32");
    assert_true(json_is_false(json_object_get(plan, "possible")));
    const json_t *problem = json_array_get(json_object_get(plan, "problems"), 0);
    assert_string_equal(text_at(problem, "pointer"), "/model");
    check_contains(text_at(problem, "detail"), "model.unknown 'data-free'");
    const json_t *list = json_object_get(plan, "layers");
    assert_int_equal(json_array_size(list), QD_LENGTH(parts));
    for (size_t i = 0; i < QD_LENGTH(parts); i++) {
        bool would = strcmp(parts[i].action, "quantized") == 0;
        const json_t *entry = json_array_get(list, i);
        assert_string_equal(text_at(entry, "tensor"), parts[i].name);
        assert_string_equal(text_at(entry, "action"), would ? "unknown" : parts[i].action);
        check_contains(text_at(entry, "why"), would ? "would round it to nearest" : parts[i].why);
    }
    remove_folder(p.folder);
}

static void an_architecture_of_the_table_is_what_it_was(void **state)
{
    (void)state;
    char model[4096];
    qd_error err = { 0 };
    qd_model *known = NULL;
    SOURCE_PATH(model, "tests/models/novella-1m");
    const qd_layer_finder finder = { qd_unknown_find_stored, NULL };
    check_ok(qd_model_open_any(model, &finder, &known, &err));
    assert_true(qd_model_is_known(known));
    assert_int_equal(qd_model_linear_count(known), LAYERS);
    qd_model_destroy(known);
}

/* ---- fields that do not go with it ---- */

static void what_looks_at_activations_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *members, *pointer;
    } cases[] = {
        { "\"algorithm\":\"qronos\"", "/algorithm" },
        { "\"effort\":\"balanced\"", "/algorithm" }, /* the default needs data */
        { "\"algorithm\":\"rtn\",\"gate\":{\"kl\":0.1}", "/gate" },
        { "\"algorithm\":\"rtn\",\"transforms\":[\"hadamard\"]", "/transforms" },
        { "\"algorithm\":\"rtn\",\"calibration\":{\"source\":\"https://example.org/a.txt\"}", "/calibration/source" },
        { "\"algorithm\":\"rtn\",\"evaluation\":{\"text\":\"https://example.org/a.txt\"}", "/evaluation/text" },
        { "\"algorithm\":\"rtn\",\"evaluation\":{\"also\":[\"https://example.org/b.txt\"]}", "/evaluation/also" },
        { "\"algorithm\":\"rtn\",\"evaluation\":{\"tasks\":[\"piqa\"]}", "/evaluation/tasks" },
        { "\"algorithm\":\"rtn\",\"format\":\"gguf:q4_0\"", "/format" },
        { "\"algorithm\":\"rtn\",\"format\":\"gptq\"", "/format" },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        char request[600];
        qd_issues issues = { 0 };
        qd_recipe *recipe = NULL;
        snprintf(request, sizeof request, "\"model\":{\"url\":\"file:///m\",\"unknown\":\"data-free\"},%s",
                 cases[i].members);
        assert_int_equal(parse(request, &recipe, &issues), QD_EINVAL);
        bool found = false;
        for (size_t k = 0; k < issues.count; k++)
            found = found || (strcmp(issues.items[k].pointer, cases[i].pointer) == 0 &&
                              strstr(issues.items[k].detail, "does not go with model.unknown 'data-free'") != NULL);
        if (!found)
            fail_msg("%s: %s: %s", cases[i].members, issues.items[0].pointer, issues.items[0].detail);
    }
}

/* ---- with it ---- */

static void the_plan_says_of_every_tensor_what_becomes_of_it(void **state)
{
    (void)state;
    place p;
    make_place(&p);
    QD_AUTO(qd_json_fini) json_t *plan = plan_of(&p, DATA_FREE);
    assert_true(json_is_true(json_object_get(plan, "possible")));
    assert_string_equal(text_at(plan, "architecture"), "StateSpaceForCausalLM");
    const json_t *list = json_object_get(plan, "layers");
    assert_int_equal(json_array_size(list), QD_LENGTH(parts));
    for (size_t i = 0; i < QD_LENGTH(parts); i++) {
        const json_t *entry = json_array_get(list, i);
        assert_string_equal(text_at(entry, "tensor"), parts[i].name);
        assert_string_equal(text_at(entry, "action"), parts[i].action);
        if (parts[i].why != NULL)
            check_contains(text_at(entry, "why"), parts[i].why);
        else
            assert_true(json_is_null(json_object_get(entry, "why")));
    }
    assert_int_equal(json_integer_value(json_object_get(json_object_get(plan, "totals"), "layers")), QD_LENGTH(layers));
    check_contains(json_string_value(json_array_get(json_object_get(plan, "warnings"), 0)),
                   "nothing was calibrated or evaluated");
    const json_t *forecast = json_object_get(plan, "forecast");
    assert_true(json_is_object(forecast));
    assert_int_equal(json_integer_value(json_object_get(forecast, "calibration_tokens")), 0);
    assert_int_equal(json_integer_value(json_object_get(forecast, "evaluation_tokens")), 0);
    remove_folder(p.folder);
}

static bool is_layer(const char *tensor)
{
    char name[200];
    for (size_t i = 0; i < QD_LENGTH(layers); i++) {
        snprintf(name, sizeof name, "%s.weight", layers[i]);
        if (strcmp(name, tensor) == 0)
            return true;
    }
    return false;
}

/* Everything but the layers' weights: type, shape and bytes. */
static void check_kept(const place *p)
{
    qd_error err = { 0 };
    qd_safetensors *before = NULL, *after = NULL;
    QD_AUTO(qd_free_pointer) char *from = qd_path_join(p->model, "model.safetensors");
    QD_AUTO(qd_free_pointer) char *to = qd_path_join(p->out, "model.safetensors");
    check_ok(qd_safetensors_open(from, &before, &err));
    check_ok(qd_safetensors_open(to, &after, &err));
    for (size_t i = 0; i < qd_safetensors_count(before); i++) {
        const qd_tensor *was = qd_safetensors_at(before, i), *is = qd_safetensors_find(after, was->name);
        if (is_layer(was->name)) {
            assert_null(is);
            continue;
        }
        assert_non_null(is);
        assert_ptr_equal(is->dtype, was->dtype);
        assert_int_equal(is->bytes, was->bytes);
        assert_memory_equal(is->data, was->data, was->bytes);
    }
    qd_safetensors_destroy(before);
    qd_safetensors_destroy(after);
}

/* Weights lie in (-0.5, 0.5): a step is 1/16 at most. To nearest: none is much more than a step off, as those beyond the largest code may be, and on average they
 * are as far as uniform rounding makes them. */
static void check_nearest(const qd_artifact *artifact, const qd_model *source)
{
    const qd_overlay *overlay = qd_artifact_overlay(artifact);
    const qd_model *model = qd_artifact_model(artifact);
    qd_error err = { 0 };
    assert_int_equal(qd_model_linear_count(model), QD_LENGTH(layers));
    for (size_t i = 0; i < QD_LENGTH(layers); i++) {
        const qd_linear *linear = qd_model_linear_at(model, i), *was = qd_model_linear_at(source, i);
        assert_string_equal(linear->name, layers[i]);
        assert_string_equal(was->name, layers[i]);
        qd_matf_buf w = { 0 }, q = { 0 };
        check_ok(qd_matf_buf_init(&w, was->out, was->in, &err));
        check_ok(qd_matf_buf_init(&q, was->out, was->in, &err));
        check_ok(qd_tensor_to_floats(was->weight, w.view.data, &err));
        check_ok(overlay->weight(overlay->ctx, i, linear, q.view, &err));
        double sum = 0;
        for (size_t k = 0; k < was->out * was->in; k++) {
            double apart = (double)q.view.data[k] - (double)w.view.data[k];
            check_near(apart, 0, 1.6 / 16);
            sum += apart * apart;
        }
        check_near(sqrt(sum / (double)(was->out * was->in)), 1.0 / 16 / sqrt(12), 0.2 / 16 / sqrt(12));
        qd_matf_buf_fini(&w);
        qd_matf_buf_fini(&q);
    }
}

static void check_no_forward(const qd_model *model)
{
    qd_error err = { 0 };
    uint32_t id = 0;
    float row[64] = { 0 };
    double sum;
    qd_scratch *scratch = NULL;
    qd_cache *cache = NULL;
    qd_matf view = qd_matf_view(row, 1, 64);
    check_fails(qd_scratch_create(model, 4, &scratch, &err), QD_EUNSUPPORTED);
    check_contains(err.text, "there is no forward pass");
    check_fails(qd_cache_create(model, 0, 1, 4, &cache, &err), QD_EUNSUPPORTED);
    check_fails(qd_model_embed(model, &id, view, &err), QD_EUNSUPPORTED);
    check_fails(qd_model_final_norm(model, view, &err), QD_EUNSUPPORTED);
    check_fails(qd_model_logits(model, qd_matf_const(view), view, &err), QD_EUNSUPPORTED);
    check_fails(qd_model_nll(model, qd_matf_const(view), &id, NULL, &sum, &err), QD_EUNSUPPORTED);
}

static void check_artifact(const place *p, const json_t *result)
{
    qd_error err = { 0 };
    qd_artifact *artifact = NULL;
    qd_model *source = NULL;
    QD_AUTO(qd_json_fini) json_t *report = NULL;
    check_ok(qd_verify(p->out, p->model, &report, &err));
    if (!json_is_true(json_object_get(report, "ok"))) {
        QD_AUTO(qd_free_pointer) char *text = json_dumps(report, JSON_INDENT(1));
        fail_msg("%s", text);
    }
    check_contains(text_at(result, "data_free"), "architecture 'StateSpaceForCausalLM' is not known; 6 linear layers");
    assert_true(json_is_null(json_object_get(result, "perplexity")));
    assert_true(json_is_null(json_object_get(result, "kl")));
    assert_int_equal(json_integer_value(json_object_get(result, "layers")), QD_LENGTH(layers));
    check_kept(p);
    check_ok(qd_artifact_open(p->out, &artifact, &err));
    assert_false(qd_model_is_known(qd_artifact_model(artifact)));
    qd_recipe *recipe = recipe_from(DATA_FREE);
    const qd_layer_finder finder = { qd_unknown_find_stored, NULL };
    check_ok(qd_model_open_any(p->model, &finder, &source, &err));
    assert_int_equal(qd_model_linear_count(source),
                     QD_LENGTH(layers) + 1); /* and the one that its container does not fit */
    qd_model_destroy(source);
    check_ok(qd_source_model(recipe, p->model, &source, &err));
    check_nearest(artifact, source);
    check_no_forward(source);
    check_no_forward(qd_artifact_model(artifact));
    qd_recipe_destroy(recipe);
    qd_model_destroy(source);
    qd_artifact_destroy(artifact);
}

static void check_words(const place *p)
{
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str card = { 0 };
    QD_AUTO(qd_json_fini) json_t *config = NULL;
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(p->out, "README.md");
    QD_AUTO(qd_free_pointer) char *config_path = qd_path_join(p->out, "config.json");
    check_ok(qd_file_read(path, 1 << 20, &card, &err));
    check_contains(card.data,
                   "**Not evaluated.** This is data-free: architecture 'StateSpaceForCausalLM' is not known");
    check_contains(card.data, "Perplexity was not measured: the architecture is not known");
    check_ok(qd_json_read_object(config_path, 1 << 20, 16, &config, &err));
    const json_t *ignore = json_object_get(json_object_get(config, "quantization_config"), "ignore");
    QD_AUTO(qd_free_pointer) char *text = json_dumps(ignore, JSON_COMPACT);
    assert_string_equal(text, "[\"lm_head\",\"backbone.layers.0.mixer.dt_proj\",\"backbone.layers.1.gate\","
                              "\"backbone.layers.1.mixer.odd_proj\",\"words_out\"]");
}

/* Even where the operator has texts: nothing reads them, and there is no tokenizer to read them with. */
static void layers_are_rounded_and_all_else_is_kept(void **state)
{
    (void)state;
    place p;
    char text[300];
    qd_error err = { 0 };
    event_log log = { 0 };
    json_t *result = NULL;
    make_place(&p);
    short_text(p.folder, text, sizeof text);
    check_ok(run_it(&p, DATA_FREE, text, &log, &result, &err));
    check_artifact(&p, result);
    check_words(&p);
    QD_AUTO(qd_json_fini) json_t *made = events_of(&log, "layer");
    assert_int_equal(json_array_size(made), QD_LENGTH(layers));
    for (size_t i = 0; i < QD_LENGTH(layers); i++)
        assert_string_equal(text_at(json_array_get(made, i), "name"), layers[i]);
    log_fini(&log);
    json_decref(result);
    remove_folder(p.folder);
}

static void a_stopped_run_goes_on_with_the_same_bytes(void **state)
{
    (void)state;
    place whole, stopped;
    char digests[2][QD_DIGEST_HEX];
    qd_error err = { 0 };
    make_place(&whole);
    make_place(&stopped);
    for (size_t i = 0; i < 3; i++) {
        const place *p = i == 0 ? &whole : &stopped;
        event_log log = { .cancel_after = i == 1 ? 3 : 0 };
        json_t *result = NULL;
        qd_code code = run_it(p, DATA_FREE, NULL, &log, &result, &err);
        assert_int_equal(code, i == 1 ? QD_ECANCELLED : QD_OK);
        if (i != 1)
            digest_folder(p->out, digests[i / 2]);
        log_fini(&log);
        json_decref(result);
    }
    assert_string_equal(digests[0], digests[1]);
    remove_folder(whole.folder);
    remove_folder(stopped.folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_refused_and_the_way_is_offered),
        cmocka_unit_test(an_architecture_of_the_table_is_what_it_was),
        cmocka_unit_test(what_looks_at_activations_is_refused_by_name),
        cmocka_unit_test(the_plan_says_of_every_tensor_what_becomes_of_it),
        cmocka_unit_test(layers_are_rounded_and_all_else_is_kept),
        cmocka_unit_test(a_stopped_run_goes_on_with_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
