/* test_service.c: a job from submit to artifact through the facade, and what clients may ask of it. */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "bench.h"

static int set_up(void **state)
{
    static bench b;
    bench_init(&b);
    bench_start(&b);
    *state = &b;
    return 0;
}

static int tear_down(void **state)
{
    bench_fini(*state);
    return 0;
}

static void a_job_goes_through_every_phase_and_has_every_member(void **state)
{
    bench *b = *state;
    char id[27];
    qd_job job;
    bench_submit(b, "good", id);
    assert_int_equal(strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789"), 26);
    bench_wait(b, id, "succeeded", &job);
    assert_string_equal(job.name, "good");
    assert_string_equal(json_string_value(json_object_get(job.tags, "kind")), "good");
    assert_true(json_is_null(job.problem));
    assert_true(json_is_object(job.progress));
    check_close(json_number_value(json_object_get(job.result, "relative_error")), 0.25, 1e-12);
    assert_true(json_is_real(json_object_get(json_object_get(job.result, "seconds"), "downloading")));
    assert_true(job.created_ms > 0 && job.started_ms >= job.created_ms && job.finished_ms >= job.started_ms);
    assert_int_equal(job.attempt, 1);
    assert_int_equal(job.resumed, 0);
    json_t *model = json_object_get(job.resolved, "model"), *files = json_object_get(model, "files");
    assert_true(json_array_size(files) > 0);
    assert_int_equal(strlen(json_string_value(json_object_get(json_array_get(files, 0), "sha256"))), 64);
    assert_string_equal(json_string_value(json_object_get(job.resolved, "order")), "norm-descending");
    qd_job_fini(&job);
    assert_false(bench_exists(b, "jobs", "nothing"));
}

static void events_tell_the_whole_story_with_ids_from_1(void **state)
{
    bench *b = *state;
    static const char *const states[] = { "queued",    "downloading", "quantizing", "evaluating",
                                          "exporting", "verifying",   "succeeded" };
    char id[27];
    size_t index, at = 0;
    json_t *event;
    bench_submit(b, "good", id);
    bench_ends(b, id, "succeeded", NULL);
    json_t *events = bench_events(b, id);
    json_array_foreach(events, index, event)
    {
        assert_int_equal(json_integer_value(json_object_get(event, "id")), index + 1);
        const char *word = json_string_value(json_object_get(json_object_get(event, "data"), "state"));
        if (strcmp(json_string_value(json_object_get(event, "type")), "state") == 0)
            assert_string_equal(word, states[at++]);
    }
    assert_int_equal(at, QD_LENGTH(states));
    assert_string_equal(json_string_value(json_object_get(json_array_get(events, json_array_size(events) - 1), "type")),
                        "state");
    json_decref(events);
    assert_int_equal(bench_count(b, id, "layer"), 2);
    assert_int_equal(bench_count(b, id, "warning"), 1);
    assert_int_equal(bench_count(b, id, "result"), 1);
    qd_error err = { 0 };
    check_ok(qd_service_events(b->service, id, 3, 2, &events, &err));
    assert_int_equal(json_array_size(events), 2);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(events, 0), "id")), 4);
    json_decref(events);
}

static void layers_and_the_certificate_come_from_the_rows(void **state)
{
    bench *b = *state;
    char id[27];
    json_t *layers = NULL, *document = NULL;
    qd_error err = { 0 };
    bench_submit(b, "good", id);
    bench_ends(b, id, "succeeded", NULL);
    check_ok(qd_service_layers(b->service, id, &layers, &err));
    assert_int_equal(json_array_size(layers), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(layers, 1), "name")), "layer.1");
    assert_null(json_object_get(json_array_get(layers, 1), "resumed"));
    json_decref(layers);
    check_ok(qd_service_certificate(b->service, id, &document, &err));
    assert_int_equal(json_array_size(json_object_get(document, "layers")), 2);
    json_t *summary = json_object_get(document, "summary");
    assert_int_equal(json_integer_value(json_object_get(summary, "certified_layers")), 2);
    check_close(json_number_value(json_object_get(summary, "output_sq")), 32, 1e-12);
    assert_non_null(json_object_get(document, "recipe"));
    json_decref(document);
    bench_submit(b, "fails", id);
    bench_ends(b, id, "failed", "overlaps");
    check_fails(qd_service_certificate(b->service, id, &document, &err), QD_ENOTFOUND);
}

static void only_files_of_the_manifest_are_opened(void **state)
{
    bench *b = *state;
    static const char *const hostile[] = { "../../quantd.db", "/etc/passwd",    "part", "part/../part/model.bin", "",
                                           "nothing",         "./manifest.json" };
    char id[27], sha256[65], text[64] = "", *path = NULL;
    int fd = -1;
    uint64_t size = 0;
    qd_error err = { 0 };
    bench_submit(b, "good", id);
    bench_ends(b, id, "succeeded", NULL);
    check_ok(qd_service_artifact_open(b->service, id, "part/model.bin", &fd, &size, sha256, &err));
    assert_int_equal(read(fd, text, sizeof text), 16);
    assert_string_equal(text, "weights of good\n");
    assert_int_equal(size, 16);
    assert_int_equal(strlen(sha256), 64);
    close(fd);
    check_ok(qd_service_artifact_open(b->service, id, "manifest.json", &fd, &size, sha256, &err));
    close(fd);
    for (size_t i = 0; i < QD_LENGTH(hostile); i++)
        check_fails(qd_service_artifact_open(b->service, id, hostile[i], &fd, &size, sha256, &err), QD_ENOTFOUND);
    /* A file that was exchanged for a link is not followed. */
    check_ok(qd_service_artifact_dir(b->service, id, &path, &err));
    char file[800];
    snprintf(file, sizeof file, "%s/part/model.bin", path);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(symlink("/etc/passwd", file), 0);
    assert_int_not_equal(qd_service_artifact_open(b->service, id, "part/model.bin", &fd, &size, sha256, &err), QD_OK);
    free(path);
    check_ok(qd_service_log_path(b->service, id, &path, &err));
    assert_true(qd_path_exists(path));
    free(path);
}

static void jobs_that_do_not_exist_are_not_found(void **state)
{
    bench *b = *state;
    static const char *const ids[] = { "00000000000000000000000000", "", "../../etc", "x" };
    qd_error err = { 0 };
    for (size_t i = 0; i < QD_LENGTH(ids); i++) {
        qd_job job;
        json_t *value = NULL;
        char *path = NULL;
        check_fails(qd_service_get(b->service, ids[i], &job, &err), QD_ENOTFOUND);
        check_fails(qd_service_layers(b->service, ids[i], &value, &err), QD_ENOTFOUND);
        check_fails(qd_service_events(b->service, ids[i], 0, 10, &value, &err), QD_ENOTFOUND);
        check_fails(qd_service_certificate(b->service, ids[i], &value, &err), QD_ENOTFOUND);
        check_fails(qd_service_cancel(b->service, &(qd_caller){ .scopes = QD_SCOPE_ADMIN }, ids[i], &err),
                    QD_ENOTFOUND);
        check_fails(qd_service_retry(b->service, &(qd_caller){ .scopes = QD_SCOPE_ADMIN }, ids[i], NULL, NULL, &err),
                    QD_ENOTFOUND);
        check_fails(qd_service_delete(b->service, &(qd_caller){ .scopes = QD_SCOPE_ADMIN }, ids[i], &err),
                    QD_ENOTFOUND);
        check_fails(qd_service_artifact_dir(b->service, ids[i], &path, &err), QD_ENOTFOUND);
        check_fails(qd_service_log_path(b->service, ids[i], &path, &err), QD_ENOTFOUND);
    }
}

static void a_running_job_is_cancelled_at_once_and_can_be_tried_again(void **state)
{
    bench *b = *state;
    char id[27];
    qd_job job;
    qd_error err = { 0 };
    bench_submit(b, "slow", id);
    bench_wait(b, id, "quantizing", &job);
    qd_job_fini(&job);
    check_fails(qd_service_delete(b->service, &(qd_caller){ .scopes = QD_SCOPE_ADMIN }, id, &err), QD_ECONFLICT);
    check_fails(qd_service_retry(b->service, &(qd_caller){ .scopes = QD_SCOPE_ADMIN }, id, NULL, NULL, &err),
                QD_ECONFLICT);
    bench_wait_layer(b, id);
    check_ok(qd_service_cancel(b->service, &(qd_caller){ .scopes = QD_SCOPE_ADMIN }, id, &err));
    check_ok(qd_service_cancel(b->service, &(qd_caller){ .scopes = QD_SCOPE_ADMIN }, id, &err));
    bench_get(b, id, &job);
    assert_string_equal(job.state, "cancelled");
    assert_true(job.finished_ms > 0);
    qd_job_fini(&job);
    check_ok(qd_service_retry(b->service, &(qd_caller){ .scopes = QD_SCOPE_ADMIN }, id, NULL, NULL, &err));
    bench_wait(b, id, "succeeded", &job);
    assert_int_equal(job.attempt, 2);
    qd_job_fini(&job);
    assert_int_equal(bench_count(b, id, "layer"), 2); /* the first attempt's layer was kept */
    check_fails(qd_service_cancel(b->service, &(qd_caller){ .scopes = QD_SCOPE_ADMIN }, id, &err), QD_ECONFLICT);
    check_fails(qd_service_retry(b->service, &(qd_caller){ .scopes = QD_SCOPE_ADMIN }, id, NULL, NULL, &err),
                QD_ECONFLICT);
}

static void a_cancelled_job_can_be_deleted_while_its_run_still_ends(void **state)
{
    bench *b = *state;
    char id[27];
    qd_job job;
    qd_error err = { 0 };
    bench_submit(b, "slow", id);
    bench_wait(b, id, "quantizing", &job);
    qd_job_fini(&job);
    check_ok(qd_service_cancel(b->service, &(qd_caller){ .scopes = QD_SCOPE_ADMIN }, id, &err));
    check_ok(qd_service_delete(b->service, &(qd_caller){ .scopes = QD_SCOPE_ADMIN }, id, &err));
    check_fails(qd_service_get(b->service, id, &job, &err), QD_ENOTFOUND);
    double started = qd_clock_seconds();
    while (bench_exists(b, "jobs", id)) {
        assert_true(qd_clock_seconds() - started < 10 * check_patience());
        bench_sleep(10);
    }
}

static void a_finished_job_is_deleted_with_its_files(void **state)
{
    bench *b = *state;
    char id[27];
    qd_error err = { 0 };
    qd_job job;
    bench_submit(b, "good", id);
    bench_ends(b, id, "succeeded", NULL);
    assert_true(bench_exists(b, "artifacts", id));
    check_ok(qd_service_delete(b->service, &(qd_caller){ .scopes = QD_SCOPE_ADMIN }, id, &err));
    assert_false(bench_exists(b, "artifacts", id));
    check_fails(qd_service_get(b->service, id, &job, &err), QD_ENOTFOUND);
}

static void a_retry_may_change_regularization_and_nothing_else(void **state)
{
    bench *b = *state;
    char id[27];
    qd_job job;
    qd_error err = { 0 };
    qd_issues issues = { 0 };
    bench_submit(b, "fails", id);
    bench_ends(b, id, "failed", "overlaps");
    json_t *changes = json_pack("{s:i}", "bits", 3);
    check_fails(qd_service_retry(b->service, &(qd_caller){ .scopes = QD_SCOPE_ADMIN }, id, changes, &issues, &err),
                QD_EINVAL);
    assert_int_equal(issues.count, 1);
    assert_string_equal(issues.items[0].pointer, "/bits");
    json_decref(changes);
    changes = json_pack("{s:{s:f}}", "regularization", "mean_diagonal", -1.0);
    issues = (qd_issues){ 0 };
    check_fails(qd_service_retry(b->service, &(qd_caller){ .scopes = QD_SCOPE_ADMIN }, id, changes, &issues, &err),
                QD_EINVAL);
    assert_true(issues.count > 0);
    json_decref(changes);
    changes = json_pack("{s:{s:f}}", "regularization", "mean_diagonal", 0.5);
    check_ok(qd_service_retry(b->service, &(qd_caller){ .scopes = QD_SCOPE_ADMIN }, id, changes, &issues, &err));
    json_decref(changes);
    bench_wait(b, id, "failed", &job);
    check_close(json_number_value(json_object_get(json_object_get(job.resolved, "regularization"), "mean_diagonal")),
                0.5, 1e-12);
    assert_int_equal(job.attempt, 2);
    qd_job_fini(&job);
}

static void the_list_is_newest_first_in_pages_by_state_and_tag(void **state)
{
    bench *b = *state;
    char ids[5][27];
    qd_error err = { 0 };
    qd_job *jobs = NULL;
    size_t count = 0;
    bool more = false;
    for (size_t i = 0; i < 5; i++)
        bench_submit(b, i == 2 ? "fails" : "good", ids[i]);
    for (size_t i = 0; i < 5; i++)
        bench_ends(b, ids[i], i == 2 ? "failed" : "succeeded", NULL);
    const char *cursor = NULL;
    char last[27];
    for (size_t seen = 0; seen < 5;) {
        const qd_job_filter filter = { .limit = 2, .cursor = cursor };
        check_ok(qd_service_list(b->service, &filter, &jobs, &count, &more, &err));
        assert_int_equal(more, seen + count < 5);
        for (size_t i = 0; i < count; i++, seen++) {
            assert_string_equal(jobs[i].id, ids[4 - seen]);
            memcpy(last, jobs[i].id, sizeof last);
            qd_job_fini(&jobs[i]);
        }
        free(jobs);
        cursor = last;
    }
    const qd_tag_filter tags[] = { { "kind", "fails" }, { "kind", NULL } };
    const qd_job_filter filters[] = { { .limit = 200, .states = "failed" },
                                      { .limit = 200, .states = "failed,cancelled" },
                                      { .limit = 200, .tags = tags, .tag_count = 1 },
                                      { .limit = 200, .tags = tags, .tag_count = 2, .states = "succeeded,failed" },
                                      { .limit = 200, .name = "AIL" },
                                      { .limit = 200, .words = "fails" },
                                      { .limit = 200, .words = ids[2] } };
    for (size_t i = 0; i < QD_LENGTH(filters); i++) {
        check_ok(qd_service_list(b->service, &filters[i], &jobs, &count, &more, &err));
        assert_int_equal(count, 1);
        assert_string_equal(jobs[0].id, ids[2]);
        qd_job_fini(&jobs[0]);
        free(jobs);
    }
    const qd_job_filter wrong[] = { { .limit = 0 },
                                    { .limit = 201 },
                                    { .limit = 1, .states = "done" },
                                    { .limit = 1, .states = "failed," },
                                    { .limit = 1, .cursor = "../x" } };
    for (size_t i = 0; i < QD_LENGTH(wrong); i++)
        check_fails(qd_service_list(b->service, &wrong[i], &jobs, &count, &more, &err), QD_EINVAL);
}

static bool progresses_in(const qd_job *job, const char *phase)
{
    const char *found = json_string_value(json_object_get(job->progress, "phase"));
    return found != NULL && strcmp(found, phase) == 0;
}

static void the_version_grows_with_progress_and_stays_when_nothing_happens(void **state)
{
    bench *b = *state;
    char id[27];
    qd_job job;
    uint64_t before = 0;
    bench_submit(b, "slow", id);
    bench_wait(b, id, "quantizing", &job);
    before = job.version;
    qd_job_fini(&job);
    double started = qd_clock_seconds();
    for (bench_get(b, id, &job); job.version == before || !progresses_in(&job, "quantizing"); bench_get(b, id, &job)) {
        assert_true(qd_clock_seconds() - started < 60 * check_patience());
        qd_job_fini(&job);
        bench_sleep(10);
    }
    assert_true(job.version > before);
    qd_job_fini(&job);
    qd_error err = { 0 };
    check_ok(qd_service_cancel(b->service, &(qd_caller){ .scopes = QD_SCOPE_ADMIN }, id, &err));
    check_ok(qd_service_retry(b->service, &(qd_caller){ .scopes = QD_SCOPE_ADMIN }, id, NULL, NULL, &err));
    bench_wait(b, id, "succeeded", &job);
    before = job.version;
    qd_job_fini(&job);
    bench_sleep(300);
    bench_get(b, id, &job);
    assert_int_equal(job.version, before);
    qd_job_fini(&job);
}

static void secrets_are_nowhere_in_a_job(void **state)
{
    bench *b = *state;
    char id[27], url[4300];
    qd_job job;
    qd_error err = { 0 };
    snprintf(url, sizeof url, "file://%s/novella-1m", b->models);
    json_t *request = json_pack("{s:{s:s, s:s}, s:s}", "model", "url", url, "token", "hf_verysecret", "name", "good");
    check_ok(bench_try_submit(b, request, id, &err));
    json_decref(request);
    bench_wait(b, id, "succeeded", &job);
    const json_t *parts[] = { job.request, job.resolved, job.result, job.progress };
    for (size_t i = 0; i < QD_LENGTH(parts); i++) {
        char *text = qd_json_print(parts[i]);
        assert_null(strstr(text, "verysecret"));
        free(text);
    }
    qd_job_fini(&job);
    char path[700];
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    snprintf(path, sizeof path, "%s/jobs/%s/job.json", b->state, id);
    check_ok(qd_file_read(path, 1 << 20, &text, &err));
    assert_null(strstr(qd_str_borrow(&text), "verysecret"));
}

static void wishes_that_cannot_be_met_are_refused_before_they_are_queued(void **state)
{
    bench *b = *state;
    char id[27];
    qd_error err = { 0 };
    json_t *request = json_pack("{s:s}", "model", "file:///etc/");
    assert_int_not_equal(bench_try_submit(b, request, id, &err), QD_OK);
    check_contains(err.text, "model.url");
    json_decref(request);
    assert_int_not_equal(qd_service_check_url(b->service, "gopher://x/", &err), QD_OK);
    request = bench_request(b, "good");
    json_object_set_new(request, "calibration", json_pack("{s:s}", "source", "gopher://x/"));
    check_fails(bench_try_submit(b, request, id, &err), QD_EINVAL);
    check_contains(err.text, "calibration.source");
    json_object_set_new(request, "calibration", json_pack("{s:s}", "source", "self"));
    check_ok(bench_try_submit(b, request, id, &err));
    json_decref(request);
    bench_ends(b, id, "succeeded", NULL);
}

static void a_full_queue_says_so_and_loses_nothing(void **state)
{
    bench *b = *state;
    char running[27], waiting[27], id[27];
    qd_job job;
    qd_error err = { 0 };
    bench_stop(b);
    b->config.workers = 1;
    b->config.queue_limit = 1;
    bench_start(b);
    bench_submit(b, "slow", running);
    bench_wait(b, running, "quantizing", &job);
    qd_job_fini(&job);
    bench_submit(b, "good", waiting);
    json_t *request = bench_request(b, "good");
    check_fails(bench_try_submit(b, request, id, &err), QD_EBUSY);
    json_decref(request);
    qd_service_stats stats;
    check_ok(qd_service_stats_read(b->service, &stats, &err));
    assert_int_equal(stats.queue_depth, 1);
    assert_int_equal(stats.running, 1);
    assert_int_equal(stats.workers_alive, 1);
    check_ok(
        qd_service_cancel(b->service, &(qd_caller){ .scopes = QD_SCOPE_ADMIN }, waiting, &err)); /* a queued job, too */
    bench_ends(b, waiting, "cancelled", NULL);
    check_ok(qd_service_cancel(b->service, &(qd_caller){ .scopes = QD_SCOPE_ADMIN }, running, &err));
}

typedef struct ear {
    atomic_uint calls, goodbyes;
    atomic_ullong last;
} ear;

static void on_woken(void *ctx, const char *id, uint64_t last)
{
    ear *e = ctx;
    if (id == NULL)
        atomic_fetch_add(&e->goodbyes, 1);
    else
        atomic_fetch_add(&e->calls, 1);
    if (last > e->last)
        e->last = last;
}

/* Until the watcher has heard of all that there is by now. */
static void wait_until_heard(bench *b, const char *id, ear *all)
{
    json_t *events = bench_events(b, id);
    double started = qd_clock_seconds();
    while (all->last < json_array_size(events)) {
        assert_true(qd_clock_seconds() - started < 10 * check_patience());
        bench_sleep(10);
    }
    json_decref(events);
}

/* Several rings may be one call, but what happens after a call is another: each step waits for the one before it. */
static void watchers_are_woken_to_the_last_event_and_at_the_end(void **state)
{
    bench *b = *state;
    char id[27];
    ear all = { 0 };
    qd_watch *watch = NULL;
    qd_error err = { 0 };
    const qd_caller admin = { .scopes = QD_SCOPE_ADMIN };
    check_ok(qd_service_watch(b->service, NULL, on_woken, &all, &watch, &err));
    bench_submit(b, "slow", id);
    wait_until_heard(b, id, &all);
    bench_wait_layer(b, id);
    wait_until_heard(b, id, &all);
    check_ok(qd_service_cancel(b->service, &admin, id, &err));
    wait_until_heard(b, id, &all);
    check_ok(qd_service_retry(b->service, &admin, id, NULL, NULL, &err));
    bench_ends(b, id, "succeeded", NULL);
    wait_until_heard(b, id, &all);
    json_t *events = bench_events(b, id);
    assert_int_equal(all.last, json_array_size(events));
    assert_true(all.calls > 3);
    json_decref(events);
    bench_stop(b);
    assert_int_equal(all.goodbyes, 1);
}

static void numbers_for_metrics_add_up_and_the_service_is_ready(void **state)
{
    bench *b = *state;
    char id[27];
    qd_error err = { 0 };
    qd_service_stats stats;
    bench_submit(b, "good", id);
    bench_ends(b, id, "succeeded", NULL);
    check_ok(qd_service_stats_read(b->service, &stats, &err));
    assert_int_equal(stats.jobs_by_state[6], 1);
    assert_string_equal(qd_state_name(6), "succeeded");
    assert_int_equal(stats.layers_total, 2);
    assert_int_equal(stats.degraded_layers_total, 0);
    assert_true(stats.commits_total > 5 && stats.free_disk_bytes > 0);
    check_close(stats.last_relative_error, 0.25, 1e-12);
    assert_true(stats.phase_seconds_total[1] > 0);
    check_ok(qd_service_ready(b->service, &err));
    bench_stop(b);
    b->config.disk_floor_bytes = UINT64_MAX;
    bench_start(b);
    check_fails(qd_service_ready(b->service, &err), QD_ENOSPC);
    bench_submit(b, "good", id);
    bench_sleep(300);
    qd_job job;
    bench_get(b, id, &job);
    assert_string_equal(job.state, "queued"); /* nothing is claimed below the floor */
    qd_job_fini(&job);
}

static void a_state_folder_has_one_service(void **state)
{
    bench *b = *state;
    qd_service *second = NULL;
    qd_error err = { 0 };
    check_fails(qd_service_create(&b->config, &second, &err), QD_EBUSY);
    check_contains(err.text, "another quantd");
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(a_job_goes_through_every_phase_and_has_every_member),
        CLAIM(events_tell_the_whole_story_with_ids_from_1),
        CLAIM(layers_and_the_certificate_come_from_the_rows),
        CLAIM(only_files_of_the_manifest_are_opened),
        CLAIM(jobs_that_do_not_exist_are_not_found),
        CLAIM(a_running_job_is_cancelled_at_once_and_can_be_tried_again),
        CLAIM(a_cancelled_job_can_be_deleted_while_its_run_still_ends),
        CLAIM(a_finished_job_is_deleted_with_its_files),
        CLAIM(a_retry_may_change_regularization_and_nothing_else),
        CLAIM(the_list_is_newest_first_in_pages_by_state_and_tag),
        CLAIM(the_version_grows_with_progress_and_stays_when_nothing_happens),
        CLAIM(secrets_are_nowhere_in_a_job),
        CLAIM(wishes_that_cannot_be_met_are_refused_before_they_are_queued),
        CLAIM(a_full_queue_says_so_and_loses_nothing),
        CLAIM(watchers_are_woken_to_the_last_event_and_at_the_end),
        CLAIM(numbers_for_metrics_add_up_and_the_service_is_ready),
        CLAIM(a_state_folder_has_one_service),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
