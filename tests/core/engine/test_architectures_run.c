/* test_architectures_run.c: every fixture architecture at 4 bits, by OPTQ and by Qronos: the artifact opens again, is verified
 * against its source, and is the model of its dequantized weights: unpacked here by hand, put back where the source has them,
 * and run as a plain model. */
#include "forward.h"
#include "job.h"

#include "base/rng.h"
#include "export/artifact.h"
#include "linalg/gemm.h"

enum { GROUP = 8, BITS = 4, TOKENS = 12 };
#define JOB \
    "\"effort\":\"reference\",\"bits\":4,\"group_size\":8,\"calibration\":{\"samples\":40,\"length\":12,\"bos\":" \
    "false}," \
    "\"evaluation\":{\"length\":12,\"windows\":2},"
static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* ---- a tokenizer of single letters, and a text of them ---- */

static void write_tokenizer(const char *folder)
{
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str json = { 0 };
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(folder, "tokenizer.json");
    qd_str_addf(&json, "{\"version\":\"1.0\",\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":{\"type\":"
                       "\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},"
                       "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\","
                       "\"merges\":[],\"vocab\":{");
    for (size_t i = 0; letters[i] != '\0'; i++)
        qd_str_addf(&json, "%s\"%c\":%zu", i == 0 ? "" : ",", letters[i], i);
    qd_str_addf(&json, "}}}");
    check_ok(qd_file_write(path, json.data, json.length, &err));
}

static void write_text(const char *path)
{
    qd_error err = { 0 };
    char text[40 * TOKENS + 1];
    for (size_t i = 0; i < sizeof text - 1; i++)
        text[i] = letters[(size_t)(qd_rng_uniform(7, i) * (double)(sizeof letters - 1))];
    check_ok(qd_file_write(path, text, sizeof text - 1, &err));
}

/* ---- weights as a client unpacks them, from the description of the formats alone (formats.md §4, §5) ---- */

static const qd_tensor *part_of(const qd_safetensors *file, const char *linear, const char *part)
{
    char name[600];
    snprintf(name, sizeof name, "%s.%s", linear, part);
    const qd_tensor *tensor = qd_safetensors_find(file, name);
    if (tensor == NULL)
        fail_msg("no tensor '%s'", name);
    return tensor;
}

static unsigned code_at(const qd_tensor *words, size_t word, size_t index)
{
    uint32_t value;
    memcpy(&value, words->data + 4 * word, sizeof value);
    return value >> (BITS * index) & 15;
}

static float *floats_of(const qd_tensor *tensor)
{
    qd_error err = { 0 };
    float *out = malloc((size_t)tensor->elements * sizeof *out);
    check_ok(qd_tensor_to_floats(tensor, out, &err));
    return out;
}

/* O x I: codes of a row side by side, eight a word; a scale for every eight columns. */
static void unpack_compressed_tensors(const qd_safetensors *file, const qd_linear *linear, float *w)
{
    const qd_tensor *codes = part_of(file, linear->name, "weight_packed"),
                    *scales = part_of(file, linear->name, "weight_scale");
    assert_int_equal(codes->shape[0], linear->out);
    assert_int_equal(codes->shape[1] * 8, linear->in);
    float *scale = floats_of(scales);
    for (size_t o = 0; o < linear->out; o++)
        for (size_t i = 0; i < linear->in; i++) {
            unsigned code = code_at(codes, (o * linear->in + i) / 8, i % 8);
            w[o * linear->in + i] = (float)((int)code - 8) * scale[o * (linear->in / GROUP) + i / GROUP];
        }
    free(scale);
}

/* The same turned around: codes of a column one below the other, scales [G, O]. */
static void unpack_gptq(const qd_safetensors *file, const qd_linear *linear, float *w)
{
    const qd_tensor *codes = part_of(file, linear->name, "qweight"), *scales = part_of(file, linear->name, "scales");
    assert_int_equal(codes->shape[0] * 8, linear->in);
    assert_int_equal(codes->shape[1], linear->out);
    float *scale = floats_of(scales);
    for (size_t o = 0; o < linear->out; o++)
        for (size_t i = 0; i < linear->in; i++) {
            unsigned code = code_at(codes, i / 8 * linear->out + o, i % 8);
            w[o * linear->in + i] = (float)((int)code - 8) * scale[i / GROUP * linear->out + o];
        }
    free(scale);
}

/* Nothing to unpack: rows and columns as the source has them. */
static void unpack_floats(const qd_safetensors *file, const qd_linear *linear, float *w)
{
    qd_error err = { 0 };
    const qd_tensor *weight = part_of(file, linear->name, "weight");
    assert_int_equal(weight->elements, linear->out * linear->in);
    check_ok(qd_tensor_to_floats(weight, w, &err));
}

static const struct container {
    const char *format;
    enum { OUT_IN, AS_STORED } order;
    void (*unpack)(const qd_safetensors *file, const qd_linear *linear, float *w);
} containers[] = { { "compressed-tensors", OUT_IN, unpack_compressed_tensors },
                   { "gptq", OUT_IN, unpack_gptq },
                   { "safetensors:f32", AS_STORED, unpack_floats } };

/* ---- the source's file with other weights in it ---- */

typedef struct weights {
    qd_tensor_out *tensors;
    size_t count;
} weights;

static float *tensor_named(const weights *w, const char *name, uint64_t **out_shape)
{
    for (size_t i = 0; i < w->count; i++)
        if (strcmp(w->tensors[i].name, name) == 0) {
            *out_shape = w->tensors[i].shape;
            return (float *)(uintptr_t)w->tensors[i].data;
        }
    return NULL;
}

/* Expert e of experts.gate_up_proj [E, 2F, D] (gate rows first) or experts.down_proj [E, D, F]. */
static float *fused_place(const weights *w, const qd_linear *linear)
{
    char name[600], *experts;
    uint64_t *shape = NULL;
    snprintf(name, sizeof name, "%s", linear->name);
    experts = strstr(name, ".experts.");
    if (experts == NULL)
        return NULL;
    bool down = strstr(experts, "down_proj") != NULL, up = strstr(experts, "up_proj") != NULL;
    snprintf(experts, sizeof name - (size_t)(experts - name), ".experts.%s", down ? "down_proj" : "gate_up_proj");
    float *all = tensor_named(w, name, &shape);
    size_t matrix = all == NULL ? 0 : (size_t)(shape[1] * shape[2]);
    return all == NULL ? NULL : all + linear->expert * matrix + (up ? matrix / 2 : 0);
}

/* Where the source has this weight: under its name, as it is or (GPT-2) the other way around; or inside a fused tensor. */
static void put(const weights *w, const qd_linear *linear, bool turned, const float *values)
{
    char name[600];
    uint64_t *shape = NULL;
    snprintf(name, sizeof name, "%s.weight", linear->name);
    float *place = tensor_named(w, name, &shape);
    if (place == NULL)
        place = fused_place(w, linear);
    if (place == NULL)
        fail_msg("the source has no place for '%s'", linear->name);
    double apart = 0, size = 0;
    for (size_t o = 0; o < linear->out; o++)
        for (size_t i = 0; i < linear->in; i++) {
            float *at = place + (turned ? i * linear->out + o : o * linear->in + i);
            double difference = (double)(*at - values[o * linear->in + i]);
            apart += difference * difference;
            size += (double)*at * (double)*at;
            *at = values[o * linear->in + i];
        }
    if (apart == 0 || apart > 0.5 * size)
        fail_msg("'%s': %g of its energy is lost in rounding", linear->name, apart / size);
}

static void write_dequantized(const char *source, const char *artifact, const struct container *container,
                              const char *folder)
{
    qd_error err = { 0 };
    qd_model *model = NULL;
    qd_safetensors *packed = NULL, *stored = NULL;
    check_ok(qd_model_open(source, &model, &err));
    QD_AUTO(qd_free_pointer) char *from = qd_path_join(artifact, "model.safetensors");
    QD_AUTO(qd_free_pointer) char *beside = qd_path_join(source, "model.safetensors");
    check_ok(qd_safetensors_open(from, &packed, &err));
    check_ok(qd_safetensors_open(beside, &stored, &err)); /* as they lie in the file, not as the model sees them */
    weights w = { .count = qd_safetensors_count(stored) };
    w.tensors = calloc(w.count, sizeof *w.tensors);
    for (size_t i = 0; i < w.count; i++) {
        const qd_tensor *t = qd_safetensors_at(stored, i);
        w.tensors[i] = (qd_tensor_out){ t->name, qd_dtype_find("F32"), t->rank, { 0 }, floats_of(t) };
        memcpy(w.tensors[i].shape, t->shape, sizeof t->shape);
    }
    bool turned = strcmp(qd_model_arch(model)->name, "gpt2") == 0;
    for (size_t i = 0; i < qd_model_linear_count(model); i++) {
        const qd_linear *linear = qd_model_linear_at(model, i);
        float *values = malloc(linear->out * linear->in * sizeof *values);
        container->unpack(packed, linear, values);
        put(&w, linear, turned && container->order == OUT_IN, values);
        free(values);
    }
    check_ok(qd_dir_make(folder, &err));
    QD_AUTO(qd_free_pointer) char *to = qd_path_join(folder, "model.safetensors");
    QD_AUTO(qd_free_pointer) char *config = qd_path_join(source, "config.json");
    QD_AUTO(qd_free_pointer) char *config_to = qd_path_join(folder, "config.json");
    check_ok(qd_safetensors_write(to, w.tensors, w.count, NULL, NULL, 0, &err));
    copy_file(config, config_to);
    for (size_t i = 0; i < w.count; i++)
        free((void *)(uintptr_t)w.tensors[i].data);
    free(w.tensors);
    qd_safetensors_destroy(packed);
    qd_safetensors_destroy(stored);
    qd_model_destroy(model);
}

/* ---- one run ---- */

static void logits_of(const char *folder, qd_matf_buf *out)
{
    static const uint32_t ids[TOKENS] = { 3, 14, 15, 9, 26, 5, 35, 8, 41, 0, 47, 32 };
    qd_error err = { 0 };
    qd_artifact *artifact = NULL;
    qd_matf_buf hidden = { 0 };
    check_ok(qd_artifact_open(folder, &artifact, &err));
    const qd_model *model = qd_artifact_model(artifact);
    check_ok(qd_matf_buf_init(&hidden, TOKENS, qd_model_borrow_config(model)->hidden, &err));
    check_ok(qd_matf_buf_init(out, TOKENS, qd_model_borrow_config(model)->vocabulary, &err));
    forward_hidden(model, qd_artifact_overlay(artifact), ids, BY_BLOCK, (qd_matf){ 0 }, hidden.view);
    check_ok(qd_model_logits(model, qd_matf_const(hidden.view), out->view, &err));
    qd_matf_buf_fini(&hidden);
    qd_artifact_destroy(artifact);
}

/* Largest difference over largest logit. */
static double logits_apart(const char *one, const char *other)
{
    qd_matf_buf a = { 0 }, b = { 0 };
    double worst = 0, largest = 0;
    logits_of(one, &a);
    logits_of(other, &b);
    assert_int_equal(a.view.cols, b.view.cols);
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t i = 0; i < a.view.cols; i++) {
            double value = (double)qd_matf_row(a.view, t)[i];
            worst = fmax(worst, fabs(value - (double)qd_matf_row(b.view, t)[i]));
            largest = fmax(largest, fabs(value));
        }
    qd_matf_buf_fini(&a);
    qd_matf_buf_fini(&b);
    return worst / largest;
}

static void check_artifact(const char *source, const char *artifact, const struct container *container,
                           const char *dequantized)
{
    qd_error err = { 0 };
    QD_AUTO(qd_json_fini) json_t *report = NULL;
    check_ok(qd_verify(artifact, source, &report, &err));
    if (!json_is_true(json_object_get(report, "ok"))) {
        QD_AUTO(qd_free_pointer) char *text = json_dumps(report, JSON_INDENT(1));
        fail_msg("%s: %s", artifact, text);
    }
    write_dequantized(source, artifact, container, dequantized);
    check_near(logits_apart(dequantized, artifact), 0, 1e-6);
    double changed = logits_apart(source, artifact);
    if (changed < 1e-3 || changed > 0.9)
        fail_msg("%s: logits are %g apart from the source's", artifact, changed);
}

typedef struct subject {
    char *folder;
    const char *algorithm;
} subject;

static void the_artifact_is_the_model_of_its_weights(void **state)
{
    const subject *s = *state;
    qd_error err = { 0 };
    char folder[200], model[300], text[300], out[300], request[1000], dequantized[300];
    make_folder(folder, sizeof folder);
    snprintf(model, sizeof model, "%s/model", folder);
    snprintf(text, sizeof text, "%s/text.txt", folder);
    snprintf(out, sizeof out, "%s/out", folder);
    snprintf(request, sizeof request,
             JOB "\"algorithm\":\"%s\",\"format\":[\"compressed-tensors\",\"gptq\",\"safetensors:f32\"]", s->algorithm);
    check_ok(qd_dir_make(model, &err));
    copy_folder(s->folder, model);
    write_tokenizer(model);
    write_text(text);
    small_run job = { .request = request, .folder = folder, .model = model, .calibration = text, .evaluation = text };
    check_ok(run_job(&job, &err));
    assert_int_equal(json_integer_value(json_object_get(job.result, "degraded_layers")), 0);
    for (size_t i = 0; i < QD_LENGTH(containers); i++) {
        const json_t *one = json_array_get(json_object_get(job.result, "formats"), i);
        QD_AUTO(qd_free_pointer) char *artifact = qd_path_join(out, json_string_value(json_object_get(one, "path")));
        snprintf(dequantized, sizeof dequantized, "%s/dequantized-%zu", folder, i);
        check_artifact(model, artifact, &containers[i], dequantized);
    }
    job_fini(&job);
    remove_folder(folder);
}

/* Two tests a folder of tests/core/model/architectures. */
int main(void)
{
    static const char *const algorithms[] = { "optq", "qronos" };
    qd_error err = { 0 };
    char root[4096], **names = NULL;
    size_t count = 0, tests_count = 0;
    qd_blas_single_thread();
    if (qd_dir_list(SOURCE_PATH(root, "tests/core/model/architectures"), &names, &count, &err) != QD_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 99;
    }
    struct CMUnitTest *tests = calloc(2 * count, sizeof *tests);
    subject *subjects = calloc(2 * count, sizeof *subjects);
    char(*titles)[200] = calloc(2 * count, sizeof *titles);
    for (size_t i = 0; i < count; i++)
        for (size_t a = 0; a < QD_LENGTH(algorithms); a++, tests_count++) {
            snprintf(titles[tests_count], sizeof *titles, "%s by %s: the artifact is the model of its weights",
                     names[i], algorithms[a]);
            subjects[tests_count] = (subject){ qd_path_join(root, names[i]), algorithms[a] };
            tests[tests_count] = (struct CMUnitTest){ titles[tests_count], the_artifact_is_the_model_of_its_weights,
                                                      NULL, NULL, &subjects[tests_count] };
        }
    int failed = _cmocka_run_group_tests("architectures", tests, tests_count, NULL, NULL);
    for (size_t i = 0; i < tests_count; i++)
        free(subjects[i].folder);
    free(titles);
    free(subjects);
    free(tests);
    qd_names_free(names, count);
    return failed;
}
