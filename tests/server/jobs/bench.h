/* bench.h: a service on a folder that goes away, with stand_in.sh in the place of `quantd run`. */
#ifndef QD_TESTS_JOBS_BENCH_H
#define QD_TESTS_JOBS_BENCH_H

#include "check.h"
#include "folder.h"

#include <pthread.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "jobs/service.h"

typedef struct bench {
    char dir[256], state[300], program[4200], models[4200], text[4200];
    qd_service_config config;
    const char *roots[2];
    qd_service *service;
} bench;

static inline void bench_init(bench *b)
{
    char source[4000];
    *b = (bench){ 0 };
    temporary_folder(b->dir, sizeof b->dir);
    assert_non_null(realpath(source_folder(), source));
    snprintf(b->state, sizeof b->state, "%s/state", b->dir);
    snprintf(b->program, sizeof b->program, "%s/tests/server/jobs/stand_in.sh", source);
    snprintf(b->models, sizeof b->models, "%s/tests/models", source);
    snprintf(b->text, sizeof b->text, "%s/tests/texts/novella-calibration.txt", source);
    b->roots[0] = b->models;
    b->config = (qd_service_config){ .state_dir = b->state,
                                     .workers = 2,
                                     .threads = 2,
                                     .program = b->program,
                                     .calibration_text = b->text,
                                     .confine = QD_CONFINE_OFF, /* a shell needs its tools */
                                     .fetch = { .hub_url = "https://huggingface.co", .file_roots = b->roots } };
}

static inline void bench_start(bench *b)
{
    qd_error err = { 0 };
    check_ok(qd_service_create(&b->config, &b->service, &err));
}

static inline void bench_stop(bench *b)
{
    qd_service_destroy(b->service);
    b->service = NULL;
}

static inline void bench_fini(bench *b)
{
    bench_stop(b);
    remove_folder(b->dir);
}

/* A request for a job of this name (a behaviour of stand_in.sh). */
static inline json_t *bench_request(const bench *b, const char *name)
{
    char url[4300];
    snprintf(url, sizeof url, "file://%s/novella-1m", b->models);
    /* few tokens: what the run is forecast to need must fit on a small disk */
    return json_pack("{s:s, s:s, s:s, s:{s:s}, s:{s:i, s:i}}", "model", url, "name", name, "algorithm", "optq", "tags",
                     "kind", name, "calibration", "samples", 1, "length", 64);
}

static inline qd_code bench_try_submit(bench *b, const json_t *request, char id[27], qd_error *err)
{
    qd_recipe *recipe = NULL;
    qd_issues issues = { 0 };
    qd_code code = qd_recipe_parse(request, &recipe, &issues, err);
    const qd_caller own = qd_caller_own();
    const qd_submission submission = { .recipe = recipe, .request = request, .caller = &own };
    if (code == QD_OK)
        code = qd_service_submit(b->service, &submission, id, err);
    qd_recipe_destroy(recipe);
    return code;
}

static inline void bench_submit(bench *b, const char *name, char id[27])
{
    qd_error err = { 0 };
    json_t *request = bench_request(b, name);
    check_ok(bench_try_submit(b, request, id, &err));
    json_decref(request);
}

static inline void bench_sleep(long milliseconds)
{
    nanosleep(&(struct timespec){ .tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000 }, NULL);
}

static inline void bench_get(bench *b, const char *id, qd_job *out)
{
    qd_error err = { 0 };
    check_ok(qd_service_get(b->service, id, out, &err));
}

static inline bool bench_final(const char *state)
{
    return strcmp(state, "succeeded") == 0 || strcmp(state, "failed") == 0 || strcmp(state, "cancelled") == 0 ||
           strcmp(state, "quarantined") == 0;
}

/* Waits until the job is in `state`; fails when it ends elsewhere, or after 60 s. */
static inline void bench_wait(bench *b, const char *id, const char *state, qd_job *out)
{
    double started = qd_clock_seconds();
    for (;;) {
        bench_get(b, id, out);
        if (strcmp(out->state, state) == 0)
            return;
        if (bench_final(out->state) || qd_clock_seconds() - started > 60) {
            print_error("job is %s: %s\n", out->state,
                        json_string_value(json_object_get(out->problem, "detail")) == NULL
                            ? ""
                            : json_string_value(json_object_get(out->problem, "detail")));
            qd_job_fini(out);
            fail();
        }
        qd_job_fini(out);
        bench_sleep(10);
    }
}

/* The job ends in `state`; its problem's detail holds `part`. */
static inline void bench_ends(bench *b, const char *id, const char *state, const char *part)
{
    qd_job job;
    bench_wait(b, id, state, &job);
    if (part != NULL)
        check_contains(json_string_value(json_object_get(job.problem, "detail")), part);
    qd_job_fini(&job);
}

static inline json_t *bench_events(bench *b, const char *id)
{
    qd_error err = { 0 };
    json_t *events = NULL;
    check_ok(qd_service_events(b->service, id, 0, 100000, &events, &err));
    return events;
}

/* Events of a type. */
static inline size_t bench_count(bench *b, const char *id, const char *type)
{
    json_t *events = bench_events(b, id), *event;
    size_t index, count = 0;
    json_array_foreach(events, index, event)
    {
        count += strcmp(json_string_value(json_object_get(event, "type")), type) == 0;
    }
    json_decref(events);
    return count;
}

/* Waits for the first finished layer, 60 s at most. */
static inline void bench_wait_layer(bench *b, const char *id)
{
    double started = qd_clock_seconds();
    while (bench_count(b, id, "layer") == 0) {
        assert_true(qd_clock_seconds() - started < 60);
        bench_sleep(10);
    }
}

static inline bool bench_exists(const bench *b, const char *folder, const char *id)
{
    char path[700];
    snprintf(path, sizeof path, "%s/%s/%s", b->state, folder, id);
    return qd_path_exists(path);
}

#endif
