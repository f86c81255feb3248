/* job.h: real runs on the small trained model of tests/, for the tests of this folder. */
#ifndef QD_TESTS_ENGINE_JOB_H
#define QD_TESTS_ENGINE_JOB_H

#include "check.h"
#include "folder.h"

#include "base/cancel.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "engine/run.h"
#include "engine/streams.h"

/* 42 linear layers: 6 blocks of q, k, v, o, gate, up, down. */
enum { LAYERS = 42, A_BLOCK = 7 };

/* What came out of the sink. */
typedef struct event_log {
    json_t *events; /* array */
    qd_cancel *cancel;
    size_t cancel_after; /* layer events; 0 = never */
    size_t layers;
} event_log;

static inline void log_event(void *ctx, const json_t *event)
{
    event_log *log = ctx;
    json_array_append_new(log->events, json_deep_copy(event));
    if (strcmp(json_string_value(json_object_get(event, "event")), "layer") != 0)
        return;
    if (++log->layers == log->cancel_after)
        qd_cancel_request(log->cancel);
}

static inline void log_fini(event_log *log)
{
    json_decref(log->events);
}

/* Events of one type. */
static inline json_t *events_of(const event_log *log, const char *type)
{
    json_t *out = json_array();
    for (size_t i = 0; i < json_array_size(log->events); i++) {
        json_t *event = json_array_get(log->events, i);
        if (strcmp(json_string_value(json_object_get(event, "event")), type) == 0)
            json_array_append(out, event);
    }
    return out;
}

/* A new folder, in memory where there is such a place: a run syncs every layer to its disk. */
static inline char *make_folder(char *out, size_t size)
{
    return temporary_folder_in(qd_path_exists("/dev/shm") ? "/dev/shm" : "/tmp", out, size);
}

/* One run. Paths left NULL are the small model and texts; folder/work and folder/out. */
typedef struct small_run {
    const char *request; /* members of the request besides the model, "" = none */
    const char *folder, *model, *work, *out;
    const char *calibration, *evaluation; /* "" = none */
    const char *const *tasks;             /* a file for each task of the request */
    const char *const *also;              /* and for each further text */
    enum { WHOLE_TEXTS, SHORT_TEXTS } texts;
    size_t threads;
    event_log log;
    json_t *result;
} small_run;

static inline void job_fini(small_run *job)
{
    log_fini(&job->log);
    json_decref(job->result);
    job->log.events = NULL;
    job->result = NULL;
}

/* 8 x 128 tokens, as a job would; and the least that touches everything, for tests that run it many times. */
#define SMALL "\"calibration\":{\"samples\":8,\"length\":128},\"evaluation\":{\"length\":128,\"windows\":4}"
#define QUICK \
    "\"calibration\":{\"samples\":4,\"length\":64},\"evaluation\":{\"length\":64,\"windows\":1},\"scale\":{" \
    "\"rule\":\"minmax\"}"

/* OPTQ as published where the test says nothing else: presets have their own tests. */
static inline qd_recipe *recipe_of(const char *members)
{
    char text[4000];
    qd_error err = { 0 };
    json_t *request = NULL;
    qd_recipe *recipe = NULL;
    snprintf(text, sizeof text, "{\"model\":\"file:///m\"%s%s%s%s}",
             strstr(members, "\"algorithm\"") == NULL ? ",\"algorithm\":\"optq\"" : "",
             strstr(members, "\"effort\"") == NULL ? ",\"effort\":\"reference\"" : "", members[0] == '\0' ? "" : ",",
             members);
    check_ok(qd_json_parse_object(text, strlen(text), 16, &request, &err));
    check_ok(qd_recipe_parse(request, &recipe, NULL, &err));
    json_decref(request);
    return recipe;
}

static inline const char *text_or(const char *given, const char *usual)
{
    return given == NULL ? usual : given[0] == '\0' ? NULL : given;
}

/* The beginning of the calibration text, in the job's folder: tokenizing the whole would be most of a quick run. */
static inline char *short_text(const char *folder, char *out, size_t size)
{
    char whole[4096];
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str bytes = { 0 };
    snprintf(out, size, "%s/text.txt", folder);
    if (qd_path_exists(out))
        return out;
    check_ok(qd_file_read(SOURCE_PATH(whole, "tests/texts/novella-calibration.txt"), 1 << 24, &bytes, &err));
    check_ok(qd_file_write(out, bytes.data, 20000, &err));
    return out;
}

static inline qd_code run_job(small_run *job, qd_error *err)
{
    char model[4096], calibration[4096], evaluation[4096], work[4200], out[4200];
    SOURCE_PATH(model, "tests/models/novella-1m");
    SOURCE_PATH(calibration, "tests/texts/novella-calibration.txt");
    SOURCE_PATH(evaluation, "tests/texts/novella-heldout.txt");
    if (job->texts == SHORT_TEXTS) {
        short_text(job->folder, calibration, sizeof calibration);
        short_text(job->folder, evaluation, sizeof evaluation);
    }
    snprintf(work, sizeof work, "%s/work", job->folder);
    snprintf(out, sizeof out, "%s/out", job->folder);
    const qd_run_paths paths = { .model_dir = text_or(job->model, model),
                                 .calibration_text = text_or(job->calibration, calibration),
                                 .evaluation_text = text_or(job->evaluation, evaluation),
                                 .tasks = job->tasks,
                                 .also_texts = job->also,
                                 .work_dir = text_or(job->work, work),
                                 .out_dir = text_or(job->out, out) };
    const qd_run_options options = { .threads = job->threads == 0 ? 1 : job->threads };
    qd_cancel cancel = { 0 };
    job->log = (event_log){ .events = json_array(), .cancel = &cancel, .cancel_after = job->log.cancel_after };
    const qd_sink sink = { .event = log_event, .ctx = &job->log };
    qd_recipe *recipe = recipe_of(job->request);
    qd_code code = qd_run(recipe, &paths, &options, &sink, &cancel, &job->result, err);
    qd_recipe_destroy(recipe);
    return code;
}

/* The stored input of all sequences, one below the other. */
static inline void read_input(const qd_streams *streams, qd_stream stream, qd_matf_buf *out)
{
    qd_error err = { 0 };
    size_t width = streams->input[stream].width;
    check_ok(qd_matf_buf_init(out, streams->sequences * streams->length, width, &err));
    for (size_t i = 0; i < streams->sequences; i++)
        qd_streams_input(streams, stream, i, 0,
                         qd_matf_block(out->view, i * streams->length, 0, streams->length, width));
}

/* Digest of every file of a folder with its name. */
static inline void digest_folder(const char *folder, char *out_hex)
{
    char **names = NULL, hex[QD_DIGEST_HEX];
    size_t count = 0;
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str all = { 0 };
    check_ok(qd_dir_list(folder, &names, &count, &err));
    for (size_t i = 0; i < count; i++) {
        QD_AUTO(qd_free_pointer) char *path = qd_path_join(folder, names[i]);
        check_ok(qd_sha256_file(path, hex, &err));
        qd_str_addf(&all, "%s %s\n", names[i], hex);
    }
    qd_names_free(names, count);
    check_ok(qd_sha256(all.data, all.length, out_hex, &err));
}

static inline void digest_out(const small_run *job, char *out_hex)
{
    QD_AUTO(qd_free_pointer) char *out = qd_path_join(job->folder, "out");
    digest_folder(out, out_hex);
}

/* A copy of the small model whose files may be changed. */
static inline void copy_model(const char *to)
{
    char from[4096], **names = NULL;
    size_t count = 0;
    qd_error err = { 0 };
    SOURCE_PATH(from, "tests/models/novella-1m");
    check_ok(qd_dir_make(to, &err));
    check_ok(qd_dir_list(from, &names, &count, &err));
    for (size_t i = 0; i < count; i++) {
        QD_AUTO(qd_free_pointer) char *source = qd_path_join(from, names[i]);
        QD_AUTO(qd_free_pointer) char *target = qd_path_join(to, names[i]);
        check_ok(qd_file_copy(source, target, &err));
    }
    qd_names_free(names, count);
}

/* Reads a file, lets `change` work on its bytes, writes it back. */
static inline void change_file(const char *folder, const char *name, void (*change)(qd_str *bytes, void *ctx),
                               void *ctx)
{
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str bytes = { 0 };
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(folder, name);
    check_ok(qd_file_read(path, (size_t)1 << 30, &bytes, &err));
    change(&bytes, ctx);
    check_ok(qd_file_write(path, bytes.data, bytes.length, &err));
}

/* Sets BF16 elements [first, first + count) of a tensor. */
typedef struct byte_patch {
    const char *tensor;
    size_t first, count;
    uint16_t bits; /* the top half of the float32 */
} byte_patch;

static inline void apply_patch(qd_str *bytes, void *ctx)
{
    const byte_patch *patch = ctx;
    qd_error err = { 0 };
    qd_safetensors *file = NULL;
    check_ok(qd_safetensors_parse("model", (const unsigned char *)bytes->data, bytes->length, &file, &err));
    const qd_tensor *tensor = qd_safetensors_find(file, patch->tensor);
    assert_non_null(tensor);
    size_t offset = (size_t)(tensor->data - (const unsigned char *)bytes->data);
    for (size_t i = patch->first; i < patch->first + patch->count; i++)
        memcpy(bytes->data + offset + 2 * i, &patch->bits, 2);
    qd_safetensors_destroy(file);
}

#endif
