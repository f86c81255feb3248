/* test_bars.c: perplexities against the reference implementation's, by its protocol: float and RTN from both sides (T), OPTQ from above (P).
 * Needs the folder of larger models and texts (QUANTD_SHARED). One setting by default; QUANTD_TEST_BARS=all runs every row (minutes).
 * Source: reference-numbers.md §1 (protocol), §6 (bars). */
#include "job.h"

typedef struct bar {
    const char *model, *setting;
    size_t windows;
    double source, rtn, optq; /* source within 0.05 %, rtn within 0.3 %, optq at most */
} bar_t;

static const bar_t bars[] = {
    { "stories260K", "w4-asym", 125, 4.933, 5.53, 5.32 },    { "stories260K", "w3-asym", 125, 4.933, 11.00, 8.04 },
    { "stories260K", "w3-g", 125, 4.933, 9.20, 7.43 },       { "novella-1m", "w4-asym", 200, 32.844, 35.96, 35.32 },
    { "novella-1m", "w3-asym", 200, 32.844, 53.47, 46.79 },  { "novella-1m", "w3-g", 200, 32.844, 44.93, 44.24 },
    { "novella-15m", "w4-asym", 100, 63.484, 64.80, 64.19 }, { "novella-15m", "w3-asym", 100, 63.484, 70.20, 68.19 },
};

/* Every other story, stripped, each after the text of BOS; the first evaluated one gets its BOS from the windows. */
static void write_stories(const char *source, const char *target, size_t parity)
{
    static const char mark[] = "<|endoftext|>";
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str text = { 0 }, out = { 0 };
    check_ok(qd_file_read(source, 1 << 24, &text, &err));
    size_t count = 0;
    for (char *at = text.data, *next; at != NULL; at = next) {
        char *end = strstr(at, mark);
        next = end == NULL ? NULL : end + strlen(mark);
        end = end == NULL ? at + strlen(at) : end;
        while (at < end && strchr(" \n\r\t", *at) != NULL)
            at++;
        while (end > at && strchr(" \n\r\t", end[-1]) != NULL)
            end--;
        if (at == end || count++ % 2 != parity)
            continue;
        qd_str_add(&out, parity == 1 && out.length == 0 ? "" : "<s>");
        qd_str_add_bytes(&out, at, (size_t)(end - at));
    }
    check_ok(qd_file_write(target, out.data, out.length, &err));
}

static const char *grid_of(const bar_t *bar)
{
    if (strcmp(bar->setting, "w3-g") == 0)
        return strcmp(bar->model, "stories260K") == 0
                   ? "\"bits\":3,\"group_size\":32,\"scale\":{\"rule\":\"mse\",\"type\":\"f32\"}"
                   : "\"bits\":3,\"group_size\":128,\"scale\":{\"rule\":\"mse\",\"type\":\"f32\"}";
    return strcmp(bar->setting, "w3-asym") == 0
               ? "\"bits\":3,\"alphabet\":{\"kind\":\"int-asymmetric\",\"zero\":\"float\"},\"group_size\":0,"
                 "\"scale\":{\"rule\":\"minmax\",\"type\":\"f32\"}"
               : "\"bits\":4,\"alphabet\":{\"kind\":\"int-asymmetric\",\"zero\":\"float\"},\"group_size\":0,"
                 "\"scale\":{\"rule\":\"minmax\",\"type\":\"f32\"}";
}

static void check_certificates(const job_t *job)
{
    QD_AUTO(qd_json_fini) json_t *layers = events_of(&job->log, "layer");
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *c = json_object_get(json_array_get(layers, i), "certificate");
        assert_true(json_number_value(json_object_get(c, "identity_resid")) < 1e-9);
        assert_true(json_number_value(json_object_get(c, "energy_sq")) <=
                    json_number_value(json_object_get(c, "overload_bound_sq")));
        assert_true(json_integer_value(json_object_get(c, "clip_count")) > 0 ||
                    json_number_value(json_object_get(c, "ratio")) <= 1);
    }
}

/* Within the bars? Every number is printed, whatever it is. */
static bool is_within(const bar_t *bar, const json_t *perplexity)
{
    double source = json_number_value(json_object_get(perplexity, "source"));
    double rtn = json_number_value(json_object_get(perplexity, "rtn"));
    double optq = json_number_value(json_object_get(perplexity, "quantized"));
    bool within = fabs(source / bar->source - 1) <= 0.0005 && fabs(rtn / bar->rtn - 1) <= 0.003 && optq <= bar->optq;
    print_message("# %s %s: source %.4f (%.3f), rtn %.4f (%.2f), optq %.4f (at most %.2f)%s\n", bar->model,
                  bar->setting, source, bar->source, rtn, bar->rtn, optq, bar->optq, within ? "" : " MISSED");
    return within;
}

static bool meets_bar(const bar_t *bar)
{
    char folder[200], model[4200], calibration[4200], evaluation[4200], request[1000], stories[4200];
    bool small = strcmp(bar->model, "stories260K") == 0;
    qd_error err = { 0 };
    make_folder(folder, sizeof folder);
    snprintf(model, sizeof model, "%s/models/%s", shared_folder(), bar->model);
    snprintf(calibration, sizeof calibration, "%s/data/text/novella-calibration.txt", shared_folder());
    snprintf(evaluation, sizeof evaluation, "%s/data/text/middlemarch.txt", shared_folder());
    if (small) {
        snprintf(stories, sizeof stories, "%s/data/text/tinystories-sample.txt", shared_folder());
        snprintf(calibration, sizeof calibration, "%s/calibration.txt", folder);
        snprintf(evaluation, sizeof evaluation, "%s/evaluation.txt", folder);
        write_stories(stories, calibration, 0);
        write_stories(stories, evaluation, 1);
    }
    const char *split = small ? "whole" : "lines";
    snprintf(request, sizeof request,
             "%s,\"format\":\"safetensors\",\"calibration\":{\"samples\":64,\"length\":512,\"split\":\"%s\"},"
             "\"evaluation\":{\"length\":512,\"windows\":%zu,\"split\":\"%s\"}",
             grid_of(bar), split, bar->windows, split);
    job_t job = { .request = request,
                  .folder = folder,
                  .model = model,
                  .calibration = calibration,
                  .evaluation = evaluation,
                  .threads = 2 };
    check_ok(run_job(&job, &err));
    const json_t *p = json_object_get(job.result, "perplexity");
    assert_int_equal(json_integer_value(json_object_get(p, "windows")), bar->windows);
    bool within = is_within(bar, p);
    check_certificates(&job);
    job_fini(&job);
    remove_folder(folder);
    return within;
}

static void float_and_rtn_match_the_reference_and_optq_is_no_worse(void **state)
{
    (void)state;
    const char *all = getenv("QUANTD_TEST_BARS");
    if (shared_folder() == NULL) {
        print_message("# needs the reference models and texts (QUANTD_SHARED)\n");
        skip();
    }
    size_t count = all != NULL && strcmp(all, "all") == 0 ? QD_LENGTH(bars) : 1;
    size_t missed = 0;
    for (size_t i = 0; i < count; i++)
        missed += !meets_bar(&bars[i]);
    assert_int_equal(missed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(float_and_rtn_match_the_reference_and_optq_is_no_worse) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
