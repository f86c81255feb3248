/* test_task_run.c: zero-shot tasks of a job: the result's numbers by measuring source and artifact directly, whatever the threads; and what is
 * found before any work. */
#include "job.h"

#include "base/file.h"
#include "engine/source.h"
#include "engine/task_results.h"
#include "export/artifact.h"

/* more: members of the evaluation, with a comma. */
#define ASKED(more) \
    "\"calibration\":{\"samples\":4,\"length\":64},\"bits\":2,\"scale\":{\"rule\":\"minmax\"},\"evaluation\":{" \
    "\"length\":64,\"windows\":1," more "\"tasks\":[\"arc_easy\",{\"task\":\"hellaswag\",\"examples\":3,\"data\":" \
    "\"https://place.example/d\"},\"lambada_openai\"]}"
#define ALSO "\"also\":[\"file:///style\"],"

typedef struct files {
    char paths[3][4200];
    const char *list[3];
    char text[4200];
    const char *also[1];
} files;

static void find_files(files *f)
{
    static const char *const names[] = { "arc_easy", "hellaswag", "lambada_openai" };
    for (size_t i = 0; i < 3; i++) {
        snprintf(f->paths[i], sizeof f->paths[i], "%s/tests/tasks/%s.jsonl", source_folder(), names[i]);
        f->list[i] = f->paths[i];
    }
    snprintf(f->text, sizeof f->text, "%s/STYLE.md", source_folder());
    f->also[0] = f->text;
}

/* result.tasks as it must be, from the folders of two models. */
static json_t *measure_directly(const files *f, const char *source, const char *artifact)
{
    qd_error err = { 0 };
    qd_tokenizer *tokenizer = NULL;
    qd_artifact *opened[2] = { NULL, NULL };
    qd_task_set items[3] = { { 0 } };
    qd_task_sets sets = { items, 3 };
    static const size_t first[] = { 0, 3, 0 };
    check_ok(qd_source_tokenizer(source, &tokenizer, &err));
    check_ok(qd_artifact_open(source, &opened[0], &err));
    check_ok(qd_artifact_open(artifact, &opened[1], &err));
    for (size_t i = 0; i < 3; i++) {
        static const char *const names[] = { "arc_easy", "hellaswag", "lambada_openai" };
        const qd_task_terms terms = { .tokenizer = tokenizer, .bos = 0, .most = 512, .first = first[i] };
        check_ok(qd_task_set_read(qd_eval_task_find(names[i]), f->list[i], &terms, &items[i], &err));
    }
    size_t requests = qd_task_sets_requests(&sets);
    qd_likelihood *found = calloc(2 * requests, sizeof *found);
    for (size_t k = 0; k < 2; k++) { /* one after the other, not side by side */
        const qd_rival model = { qd_artifact_model(opened[k]), qd_artifact_overlay(opened[k]) };
        check_ok(qd_task_sets_measure(&sets, &model, 1, NULL, NULL, NULL, found + k * requests, &err));
    }
    const qd_task_column columns[] = { { "source", found }, { "quantized", found + requests } };
    json_t *out = qd_task_results_print(&sets, columns, 2);
    for (size_t i = 0; i < 3; i++)
        qd_task_set_fini(&items[i]);
    free(found);
    qd_artifact_destroy(opened[0]);
    qd_artifact_destroy(opened[1]);
    qd_tokenizer_destroy(tokenizer);
    return out;
}

/* Equal but for the baseline, which the direct way has not. */
static void check_same(const json_t *got, const json_t *want)
{
    QD_AUTO(qd_json_fini) json_t *bare = json_deep_copy(got);
    size_t i;
    json_t *task, *figures;
    const char *metric;
    json_array_foreach(bare, i, task)
    {
        json_object_foreach(json_object_get(task, "metrics"), metric, figures)
        {
            assert_non_null(json_object_get(json_object_get(figures, "rtn"), "value"));
            json_object_del(figures, "rtn");
        }
    }
    if (!json_equal(bare, want)) {
        print_error("got %s\nwant %s\n", json_dumps(bare, 0), json_dumps(want, 0));
        fail();
    }
}

/* An artifact does not say where its examples lay. */
static void check_placeless(const char *out)
{
    char path[400];
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    snprintf(path, sizeof path, "%s/recipe.json", out);
    check_ok(qd_file_read(path, 1 << 20, &text, &err));
    check_contains(qd_str_borrow(&text), "hellaswag");
    assert_null(strstr(qd_str_borrow(&text), "place.example"));
}

/* In both phases: from nothing to the windows of both texts, and never back. */
static void check_windows(const event_log *log)
{
    QD_AUTO(qd_json_fini) json_t *progress = events_of(log, "progress");
    static const char *const phases[] = { "evaluating", "verifying" };
    for (size_t p = 0; p < QD_LENGTH(phases); p++) {
        json_int_t last = -1;
        for (size_t i = 0; i < json_array_size(progress); i++) {
            const json_t *event = json_array_get(progress, i);
            json_int_t done = json_integer_value(json_object_get(event, "done"));
            if (strcmp(json_string_value(json_object_get(event, "unit")), "windows") != 0 ||
                strcmp(json_string_value(json_object_get(event, "phase")), phases[p]) != 0)
                continue;
            assert_int_equal(json_integer_value(json_object_get(event, "total")), 2);
            assert_true(last < 0 ? done == 0 : done >= last);
            last = done;
        }
        assert_int_equal(last, 2);
    }
}

static void results_are_those_of_source_and_artifact(void **state)
{
    (void)state;
    char folder[200], model[4096], out[300], digests[2][QD_DIGEST_HEX];
    qd_error err = { 0 };
    files f;
    find_files(&f);
    SOURCE_PATH(model, "tests/models/novella-1m");
    for (size_t threads = 1; threads <= 2; threads++) {
        make_folder(folder, sizeof folder);
        snprintf(out, sizeof out, "%s/out", folder);
        small_run job = { .request = ASKED(ALSO),
                          .folder = folder,
                          .tasks = f.list,
                          .also = f.also,
                          .texts = SHORT_TEXTS,
                          .threads = threads };
        check_ok(run_job(&job, &err));
        const json_t *tasks = json_object_get(job.result, "tasks");
        QD_AUTO(qd_json_fini) json_t *want = measure_directly(&f, model, out);
        check_same(tasks, want);
        check_placeless(out);
        check_windows(&job.log);
        QD_AUTO(qd_json_fini) json_t *progress = events_of(&job.log, "progress");
        size_t requests = 0;
        for (size_t i = 0; i < json_array_size(progress); i++)
            requests +=
                strcmp(json_string_value(json_object_get(json_array_get(progress, i), "unit")), "requests") == 0;
        assert_true(requests >= 4); /* begins and ends, in both phases */
        digest_out(&job, digests[threads - 1]);
        job_fini(&job);
        remove_folder(folder);
    }
    assert_string_equal(digests[0], digests[1]);
}

static void no_text_is_needed_and_rtn_is_its_own_baseline(void **state)
{
    (void)state;
    char folder[200];
    qd_error err = { 0 };
    files f;
    find_files(&f);
    make_folder(folder, sizeof folder);
    small_run job = { .request =
                          "\"algorithm\":\"rtn\"," ASKED("") ",\"format\":[\"safetensors:f32\",\"compressed-tensors\"]",
                      .folder = folder,
                      .tasks = f.list,
                      .calibration = "",
                      .evaluation = "" };
    check_ok(run_job(&job, &err));
    size_t i;
    json_t *task, *figures;
    const char *metric;
    assert_int_equal(json_array_size(json_object_get(job.result, "tasks")), 3);
    json_array_foreach(json_object_get(job.result, "tasks"), i, task)
    {
        json_object_foreach(json_object_get(task, "metrics"), metric, figures)
        {
            assert_true(json_equal(json_object_get(figures, "rtn"), json_object_get(figures, "quantized")));
        }
    }
    job_fini(&job);
    remove_folder(folder);
}

static void what_is_wrong_is_found_before_any_work(void **state)
{
    (void)state;
    char folder[200], bad[300];
    qd_error err = { 0 };
    files f;
    find_files(&f);
    make_folder(folder, sizeof folder);
    small_run none = { .request = ASKED(ALSO), .folder = folder, .also = f.also, .texts = SHORT_TEXTS };
    check_fails(run_job(&none, &err), QD_EINVAL);
    check_contains(err.text, "evaluation.tasks: 'arc_easy' has no examples");
    job_fini(&none);
    snprintf(bad, sizeof bad, "%s/bad.jsonl", folder);
    check_ok(qd_file_write(bad, "{\"query\":\"q\",\"choices\":[\"a\",\"b\"],\"gold\":7}\n", 44, &err));
    f.list[0] = bad;
    small_run wrong = {
        .request = ASKED(ALSO), .folder = folder, .tasks = f.list, .also = f.also, .texts = SHORT_TEXTS
    };
    check_fails(run_job(&wrong, &err), QD_EFORMAT);
    check_contains(err.text, "evaluation: task 'arc_easy': line 1: field 'gold': 7 is not in 0..1");
    QD_AUTO(qd_json_fini) json_t *layers = events_of(&wrong.log, "layer");
    assert_int_equal(json_array_size(layers), 0);
    job_fini(&wrong);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_those_of_source_and_artifact),
        cmocka_unit_test(no_text_is_needed_and_rtn_is_its_own_baseline),
        cmocka_unit_test(what_is_wrong_is_found_before_any_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
