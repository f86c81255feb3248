/* verb_run.c: quantd run: one job without a server; what a worker executes and what a person runs by hand. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/pool.h"
#include "cli/report.h"
#include "cli/shut_in.h"
#include "cli/verb.h"
#include "confine/limits.h"
#include "engine/attest.h"
#include "engine/run.h"
#include "engine/task_files.h"
#include "fetch/fetch.h"

enum {
    OUT,
    MODEL,
    CALIBRATION,
    EVALUATION,
    TASKS,
    ALSO,
    WORK,
    THREADS,
    PACE,
    PROGRESS_FD,
    SIGNING_KEY,
    QUARANTINE,
    CACHE,
    HUB_URL,
    ALLOW_HTTP,
    ALLOW_NET,
    CONFINE
};
static const qd_verb_option options[] = {
    [OUT] = { "out", "DIR", NULL, "folder of the artifact; required, made afresh" },
    [MODEL] = { "model", "PATH", NULL, "model folder or .gguf file, instead of the job's URL" },
    [CALIBRATION] = { "calibration-text", "FILE", NULL,
                      "text for a job that names none; without it the model's own words" },
    [EVALUATION] = { "evaluation-text", "FILE", NULL,
                     "text for a job that names none; without it the model's own words" },
    [TASKS] = { "tasks", "DIR", NULL, "folder of NAME.jsonl for zero-shot tasks that name no data" },
    [ALSO] = { "also-text", "FILE", NULL,
               "a text of the job's evaluation.also, in place of its URL; repeated for all, in order" },
    [WORK] = { "work", "DIR", "OUT.work",
               "checkpoints: a run that was stopped goes on from here; OUT.work is removed at the end" },
    [THREADS] = { "threads", "N", "all cores", "threads to use" },
    [PACE] = { "pace", "JSON", NULL,
               "what earlier runs took over what was expected, as a service tells its own: {\"float32\": {\"walk\": "
               "1.2}}; the first "
               "ETA goes by it" },
    [PROGRESS_FD] = { "progress-fd", "N", NULL, "write one JSON line an event to this descriptor" },
    [SIGNING_KEY] = { "signing-key", "FILE", NULL,
                      "private key (Ed25519, PEM) to sign the artifact's provenance with" },
    [QUARANTINE] = { "quarantine", "DIR", "OUT.quarantined",
                     "where the artifact is left when it does not hold what it should, or lies outside the job's "
                     "gate" },
    [CACHE] = { "cache", "DIR", "quantd-cache", "where models given by URL are kept" },
    [HUB_URL] = { "hub-url", "URL", "https://huggingface.co", "base of hf:// names and hub pages" },
    [ALLOW_HTTP] = { "allow-http", NULL, NULL, "allow plain http sources" },
    [ALLOW_NET] = { "allow-net", "CIDR", NULL, "network that downloads may reach besides public addresses" },
    [CONFINE] = { "confine", "HOW", "off",
                  "no network and no files but those named here: auto (as far as the kernel can), require or off; "
                  "wants "
                  "--model and --work" },
    { 0 },
};
static const char notes[] =
    "JOB.json is the body of POST /jobs. A second call with the same --work goes on after the last finished layer.\n"
    "SIGTERM or SIGINT stops it within a second; nothing finished is lost.";

enum { JOB_LIMIT = 1 << 20, JOB_DEPTH = 16 };

/* The one thing a signal handler may touch. */
static qd_cancel cancel;

static void on_signal(int number)
{
    (void)number;
    qd_cancel_request(&cancel);
}

static void install_handlers(void)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file beyond its limit: EFBIG has a reason */
}

/* A worker's child must not outlive the server: QUANTD_PARENT_PID is set by it. Dying is cheap, checkpoints make it
 * so. */
static qd_code tie_to_parent(qd_error *err)
{
    const char *parent = getenv("QUANTD_PARENT_PID");
    if (parent == NULL)
        return QD_OK;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    return atol(parent) == (long)getppid() ? QD_OK
                                           : qd_fail(err, QD_ECANCELLED, "the server that started this run is gone");
}

static qd_code read_job(const char *path, qd_recipe **out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *request = NULL;
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    qd_issues issues = { 0 };
    qd_code code = qd_file_read(path, JOB_LIMIT, &text, err); /* a pipe is fine here */
    if (code != QD_OK)
        return code;
    code = qd_json_parse_object(qd_str_borrow(&text), text.length, JOB_DEPTH, &request, err);
    if (code != QD_OK)
        return qd_within(err, code, "'%s'", path);
    code = qd_recipe_parse(request, out, &issues, err);
    for (size_t i = 0; i < issues.count; i++)
        fprintf(stderr, "%s: %s\n", issues.items[i].pointer, issues.items[i].detail);
    return code;
}

/* Files and folders that a URL of the job brought, owned. */
typedef struct sources {
    qd_fetcher *fetcher;
    qd_fetched model;
    char *calibration, *evaluation, *also[QD_TEXTS_MAX];
    char **tasks; /* NULL = none */
} sources;

static void sources_fini(sources *s)
{
    qd_fetched_fini(&s->model);
    free(s->calibration);
    free(s->evaluation);
    qd_task_files_fini(&s->tasks);
    for (size_t i = 0; i < QD_TEXTS_MAX; i++)
        free(s->also[i]);
    qd_fetcher_destroy(s->fetcher);
}

static qd_code make_fetcher(const qd_arguments *arguments, sources *s, qd_error *err)
{
    const char *const *values = arguments->values;
    static const char *const everywhere[] = { "/", NULL };
    const char *const networks[] = { values[ALLOW_NET], NULL };
    const qd_fetch_policy policy = {
        .cache_dir = values[CACHE] == NULL ? "quantd-cache" : values[CACHE],
        .hub_url = values[HUB_URL] == NULL ? "https://huggingface.co" : values[HUB_URL],
        .allow_net = networks,
        .file_roots = everywhere, /* whoever runs this by hand may read what they may read */
        .allow_http = values[ALLOW_HTTP] != NULL,
    };
    return s->fetcher != NULL ? QD_OK : qd_fetcher_create(&policy, &s->fetcher, err);
}

static qd_code fetch_model(const qd_arguments *arguments, const qd_recipe *recipe, sources *s, qd_error *err)
{
    qd_code code = make_fetcher(arguments, s, err);
    const qd_fetch_request request = {
        .url = recipe->model_url,
        .revision = recipe->model_revision,
        .token = recipe->model_token,
        .sha256 = recipe->model_sha256,
    };
    if (code == QD_OK)
        code = qd_fetch_model(s->fetcher, &request, NULL, &cancel, &s->model, err);
    return code;
}

static bool is_worker(const qd_arguments *arguments)
{
    return arguments->values[MODEL] != NULL && arguments->values[PROGRESS_FD] != NULL;
}

/* The job's own text wins over the flag, and so does the word for none. A worker's flags are the texts of the job. */
static qd_code find_text(const qd_arguments *arguments, const char *source, const char *flag, sources *s, char **out,
                         qd_error *err)
{
    const char *url = qd_source_url(source);
    if (url == NULL || is_worker(arguments))
        return qd_dup(qd_source_is_self(source) ? NULL : flag, out, err);
    char digest[QD_DIGEST_HEX];
    qd_code code = make_fetcher(arguments, s, err);
    return code == QD_OK ? qd_fetch_text(s->fetcher, url, QD_TEXT_LIMIT, &cancel, out, digest, err) : code;
}

/* Data that a task names wins over the folder. */
static qd_code find_tasks(const qd_arguments *arguments, const qd_recipe *recipe, sources *s, qd_error *err)
{
    const char *dir = arguments->values[TASKS];
    qd_code code = qd_alloc(recipe->task_count + 1, sizeof *s->tasks, (void **)&s->tasks, err);
    for (size_t i = 0; code == QD_OK && i < recipe->task_count; i++) {
        const qd_task_choice *choice = &recipe->tasks[i];
        bool fetched = choice->data != NULL && !is_worker(arguments);
        if (!fetched && dir == NULL)
            return qd_fail(err, QD_EINVAL,
                           "evaluation.tasks: '%s' has no examples: give it data, or name a folder with --tasks",
                           choice->task->name);
        if (fetched)
            code = find_text(arguments, choice->data, NULL, s, &s->tasks[i], err);
        else if ((s->tasks[i] = qd_task_file_in(dir, choice->task)) == NULL)
            code = qd_fail(err, QD_ENOMEM, "out of memory");
    }
    return code;
}

/* The flags, where there are any, stand for all of the job's further texts. */
static qd_code find_also(const qd_arguments *arguments, const qd_texts *texts, sources *s, qd_error *err)
{
    const char *flags[QD_TEXTS_MAX] = { NULL };
    size_t given = 0;
    qd_code code = qd_argument_values(options, ALSO, arguments, QD_TEXTS_MAX, flags, &given, err);
    if (code == QD_OK && given != 0 && given != texts->count)
        code =
            qd_fail(err, QD_EINVAL, "--also-text: %zu files for the %zu texts of evaluation.also", given, texts->count);
    for (size_t i = 0; code == QD_OK && i < texts->count; i++)
        code = find_text(arguments, given != 0 ? NULL : texts->items[i].url, flags[i], s, &s->also[i], err);
    return code;
}

static qd_code gather(const qd_arguments *arguments, const qd_recipe *recipe, sources *s, qd_error *err)
{
    const char *const *values = arguments->values;
    qd_code code = values[MODEL] == NULL ? fetch_model(arguments, recipe, s, err) : QD_OK;
    if (code == QD_OK)
        code = find_text(arguments, recipe->calibration_source, values[CALIBRATION], s, &s->calibration, err);
    if (code == QD_OK)
        code = find_text(arguments, recipe->evaluation_text, values[EVALUATION], s, &s->evaluation, err);
    if (code == QD_OK)
        code = find_tasks(arguments, recipe, s, err);
    return code == QD_OK ? find_also(arguments, &recipe->evaluation_also, s, err) : code;
}

static qd_code execute(const qd_arguments *arguments, const qd_recipe *recipe, const sources *s, qd_report *report,
                       qd_error *err)
{
    const char *const *values = arguments->values;
    uint64_t threads = 1;
    qd_code code = qd_argument_number(&options[THREADS], values[THREADS], qd_pool_processors(), &threads, err);
    if (code != QD_OK)
        return code;
    QD_AUTO(qd_str_fini) qd_str work = { 0 };
    qd_str_addf(&work, "%s.work", values[OUT]);
    const qd_run_paths paths = {
        .model_dir = values[MODEL] == NULL ? s->model.folder : values[MODEL],
        .calibration_text = s->calibration,
        .evaluation_text = s->evaluation,
        .tasks = (const char *const *)s->tasks,
        .also_texts = (const char *const *)s->also,
        .work_dir = values[WORK] == NULL ? qd_str_borrow(&work) : values[WORK],
        .out_dir = values[OUT],
        .quarantine_dir = values[QUARANTINE],
    };
    qd_run_options run_options = { .threads = threads };
    if (values[PACE] != NULL && (code = qd_machine_read_legs(values[PACE], run_options.pace, err)) != QD_OK)
        return qd_within(err, code, "--pace");
    const qd_sink sink = { .event = qd_report_event, .ctx = report };
    QD_AUTO(qd_json_fini) json_t *result = NULL;
    qd_signer *signer = NULL; /* a key that will not do is found before the work */
    if (values[SIGNING_KEY] != NULL)
        code = qd_signer_open(values[SIGNING_KEY], &signer, err);
    if (code == QD_OK)
        code = qd_run(recipe, &paths, &run_options, &sink, &cancel, &result, err);
    if (code == QD_OK && signer != NULL)
        code = qd_attest_sign(paths.out_dir, signer, err);
    qd_signer_destroy(signer);
    if (code == QD_OK && values[WORK] == NULL)
        code = qd_dir_remove(paths.work_dir, err);
    if (code == QD_OK && values[PROGRESS_FD] == NULL) {
        json_dumpf(result, stdout, JSON_INDENT(2));
        printf("\n");
    }
    return code;
}

static void report_problem(qd_report *report, qd_code code, const qd_error *err)
{
    json_t *event = json_pack("{s:s, s:s, s:s}", "event", "problem", "code", qd_code_name(code), "detail", err->text);
    if (event != NULL)
        qd_report_event(report, event);
    json_decref(event);
}

/* Downloads want the network; OUT.work would be removed at the end from a folder that may not be touched. */
static qd_code shut_in(const qd_arguments *arguments, qd_error *err)
{
    const char *const *values = arguments->values;
    const char *const may_read[] = { values[MODEL], values[CALIBRATION], values[EVALUATION], values[TASKS],
                                     values[SIGNING_KEY] };
    const char *readable[QD_LENGTH(may_read) + 2 + QD_TEXTS_MAX] = { arguments->operands[0] };
    const char *const writable[] = { values[OUT], values[WORK], NULL };
    size_t count = 1;
    if (values[CONFINE] != NULL && (values[MODEL] == NULL || values[WORK] == NULL || values[OUT] == NULL))
        return qd_fail(err, QD_EINVAL, "--confine: --model, --work and --out are wanted");
    for (size_t i = 0; i < QD_LENGTH(may_read); i++)
        if (may_read[i] != NULL)
            readable[count++] = may_read[i];
    qd_code code = qd_argument_values(options, ALSO, arguments, QD_TEXTS_MAX, &readable[count], &count, err);
    if (code != QD_OK)
        return code;
    return qd_shut_in_enter(&(qd_shut_in){ .how = values[CONFINE], .readable = readable, .writable = writable }, err);
}

/* A worker holds its run itself. */
static qd_code hold_limits(const qd_arguments *arguments, const qd_recipe *recipe, qd_error *err)
{
    uint64_t threads = 1;
    qd_code code =
        qd_argument_number(&options[THREADS], arguments->values[THREADS], qd_pool_processors(), &threads, err);
    const qd_limits limits = { .memory = qd_limits_memory(recipe->limit_memory, threads), .file = recipe->limit_disk };
    if (code != QD_OK || getenv("QUANTD_PARENT_PID") != NULL || (limits.memory == 0 && limits.file == 0))
        return code;
    const char *failed = qd_limits_enter(&limits);
    return failed == NULL ? QD_OK : qd_fail_errno(err, "limits: %s", failed);
}

static qd_code run_job(const qd_arguments *arguments, const char *job_path, qd_report *report, qd_error *err)
{
    qd_recipe *recipe = NULL;
    sources s = { 0 };
    qd_code code =
        arguments->values[OUT] == NULL ? qd_fail(err, QD_EINVAL, "--out DIR is required") : tie_to_parent(err);
    if (code == QD_OK)
        code = shut_in(arguments, err);
    if (code == QD_OK)
        code = read_job(job_path, &recipe, err);
    if (code == QD_OK)
        code = hold_limits(arguments, recipe, err);
    if (code == QD_OK)
        code = gather(arguments, recipe, &s, err);
    if (code == QD_OK)
        code = execute(arguments, recipe, &s, report, err);
    sources_fini(&s);
    qd_recipe_destroy(recipe);
    return code;
}

static int run(const qd_arguments *arguments)
{
    qd_error err = { 0 };
    uint64_t fd = 0;
    const char *fd_text = arguments->values[PROGRESS_FD];
    qd_report report;
    QD_FAULT_PROCESS("run");
    QD_FAULT("run.begun");
    install_handlers();
    qd_code code = qd_argument_number(&options[PROGRESS_FD], fd_text, 0, &fd, &err);
    if (code == QD_OK)
        code = qd_report_init(&report, fd_text == NULL ? -1 : (int)fd, &err);
    if (code != QD_OK)
        return qd_verb_fail(code, &err);
    code = run_job(arguments, arguments->operands[0], &report, &err);
    if (code != QD_OK)
        report_problem(&report, code, &err);
    qd_report_fini(&report);
    return code == QD_OK ? QD_EXIT_OK : qd_verb_fail(code, &err);
}

const qd_verb qd_verb_run = {
    .name = "run",
    .summary = "one job, no server: quantizes a model into a folder",
    .operands = "JOB.json",
    .operand_count = 1,
    .options = options,
    .notes = notes,
    .run = run,
};
