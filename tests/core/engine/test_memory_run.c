/* test_memory_run.c: a job whose memory is short gives the same bytes: its moments and factors lie on disk then. */
#include "job.h"

#include "engine/forecast.h"
#include "engine/forecast_memory.h"

/* limits.memory is honoured by who starts a run: the engine only chooses by it. 1 MiB is less than anything takes. */
#define TIGHT "\"limits\":{\"memory\":1048576}"

#define JOB \
    "\"algorithm\":\"qronos\",\"calibration\":{\"samples\":8,\"length\":32},\"evaluation\":{\"length\":16," \
    "\"windows\":1},"

#define BRIEF "\"calibration\":{\"samples\":6,\"length\":32},\"evaluation\":{\"length\":32,\"windows\":1}"

static const char *const algorithms[] = {
    "\"algorithm\":\"optq\",\"regularization\":{\"mean_diagonal\":0.01},",
    "\"algorithm\":\"optq\",\"regularization\":\"auto\",",
    "\"algorithm\":\"gpfq\",\"effort\":\"reference\",",
    "\"algorithm\":\"qronos\",\"effort\":\"balanced\",\"refine\":{\"beam\":1},\"mismatch\":{\"residual\":true},",
};

static void digest_of(const small_run *job, const char *name, char *out)
{
    char path[4400];
    qd_error err = { 0 };
    snprintf(path, sizeof path, "%s/out/%s", job->folder, name);
    check_ok(qd_sha256_file(path, out, &err));
}

static void run_with(const char *algorithm, const char *limits, size_t threads, char (*out)[QD_DIGEST_HEX])
{
    char folder[200], request[2000];
    qd_error err = { 0 };
    snprintf(request, sizeof request, "%s" BRIEF "%s%s", algorithm, limits[0] == '\0' ? "" : ",", limits);
    small_run job = {
        .request = request, .folder = make_folder(folder, sizeof folder), .texts = SHORT_TEXTS, .threads = threads
    };
    check_ok(run_job(&job, &err));
    digest_of(&job, "model.safetensors", out[0]);
    digest_of(&job, "certificate.json", out[1]);
    job_fini(&job);
    remove_folder(folder);
}

static void forecast_of(const char *members, qd_forecast *out)
{
    char path[4096];
    qd_error err = { 0 };
    const qd_text_sizes texts = { .calibration = 20000, .evaluation = { 20000 } };
    const qd_machine machine = { .threads = 2, .flops = 1e10, .factor = 1 };
    qd_recipe *recipe = recipe_of(members);
    check_ok(qd_forecast_folder(recipe, SOURCE_PATH(path, "tests/models/novella-1m"), &texts, &machine, out, &err));
    qd_recipe_destroy(recipe);
}

/* Everything in memory; hidden states on disk; matrices too. */
static void on_disk_and_in_memory_give_the_same_bytes(void **state)
{
    (void)state;
    char between[1000], least[100], wide[2][QD_DIGEST_HEX], tight[2][QD_DIGEST_HEX];
    qd_forecast f = { 0 };
    snprintf(between, sizeof between, "%s" BRIEF, algorithms[3]);
    forecast_of(between, &f);
    assert_int_equal(f.scratch_bytes, 0);
    snprintf(least, sizeof least, "\"limits\":{\"memory\":%llu}", (unsigned long long)f.peak_memory - 1);
    snprintf(between, sizeof between, "%s" BRIEF ",%s", algorithms[3], least);
    forecast_of(between, &f);
    assert_true(f.scratch_bytes > 0 && f.matrices == QD_MATRICES_IN_MEMORY);
    run_with(algorithms[3], "", 2, wide);
    run_with(algorithms[3], least, 2, tight);
    assert_string_equal(tight[0], wide[0]);
    for (size_t i = 0; i < QD_LENGTH(algorithms); i++) {
        run_with(algorithms[i], "", 1, wide);
        run_with(algorithms[i], TIGHT, 2, tight);
        assert_string_equal(tight[0], wide[0]);
        assert_string_equal(tight[1], wide[1]);
    }
}

/* Hidden states go to disk before matrices do. */
static void the_limit_decides_where_states_and_matrices_lie(void **state)
{
    (void)state;
    char path[4096], limit[300];
    qd_error err = { 0 };
    const qd_text_sizes texts = { .calibration = 20000, .evaluation = { 20000 } };
    const qd_machine machine = { .threads = 2, .flops = 1e10, .factor = 1 };
    SOURCE_PATH(path, "tests/models/novella-1m");
    uint64_t limits[] = { 0, 0, 0, 0 };
    for (size_t i = 0; i < QD_LENGTH(limits); i++) {
        qd_forecast f = { 0 };
        if (limits[i] == 0)
            snprintf(limit, sizeof limit, JOB "\"limits\":{\"memory\":null}");
        else
            snprintf(limit, sizeof limit, JOB "\"limits\":{\"memory\":%llu}", (unsigned long long)limits[i]);
        qd_recipe *recipe = recipe_of(limit);
        check_ok(qd_forecast_folder(recipe, path, &texts, &machine, &f, &err));
        const qd_memory_choice *memory = &f.choices[QD_MATRICES_IN_MEMORY], *disk = &f.choices[QD_MATRICES_ON_DISK];
        assert_true(disk->peak_memory < memory->peak_memory);
        assert_true(disk->seconds > memory->seconds && disk->disk_bytes > 0);
        assert_int_equal(f.least_memory, disk->peak_memory);
        assert_int_equal(f.matrices, i == 3 ? QD_MATRICES_ON_DISK : QD_MATRICES_IN_MEMORY);
        assert_int_equal(f.scratch_bytes > 0, i >= 2);
        assert_int_equal(f.peak_memory, f.choices[f.matrices].peak_memory);
        assert_true(limits[i] == 0 || f.peak_memory <= limits[i]);
        if (i == 0) {
            limits[1] = memory->peak_memory;
            limits[2] = memory->peak_memory - 1;
        }
        limits[3] = memory->peak_memory - 1;
        qd_recipe_destroy(recipe);
    }
}

/* More than QD_HELD_MOST of hidden states lie on disk, whatever memory there is. */
static void many_hidden_states_lie_on_disk(void **state)
{
    (void)state;
    qd_forecast few = { 0 }, many = { 0 };
    forecast_of("\"algorithm\":\"qronos\",\"calibration\":{\"samples\":512,\"length\":512}", &few);
    forecast_of("\"algorithm\":\"qronos\",\"calibration\":{\"samples\":16384,\"length\":512}", &many);
    assert_int_equal(few.scratch_bytes, 0);
    assert_true(many.scratch_bytes > (uint64_t)1 << 30 && many.peak_memory < few.peak_memory + ((uint64_t)1 << 30));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_disk_and_in_memory_give_the_same_bytes),
        cmocka_unit_test(the_limit_decides_where_states_and_matrices_lie),
        cmocka_unit_test(many_hidden_states_lie_on_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
