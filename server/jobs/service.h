/* service.h: the facade of the job queue: submit, read, watch, cancel.
 * Room: server/jobs. May use: base, engine, store, fetch. Never: http, MHD.
 * Threads: every function may be called from any thread.
 *
 * Durability: a function that returns QD_OK for a change returns after its commit (WAL, synchronous=FULL, group
 * commit). Job ids match ^[a-z0-9]{26}$ (time-ordered). States: api.md. */
#ifndef QD_JOBS_SERVICE_H
#define QD_JOBS_SERVICE_H

#include <jansson.h>

#include "base/digest.h"
#include "engine/recipe.h"
#include "fetch/collect.h"
#include "fetch/fetch.h"
#include "jobs/caller.h"
#include "jobs/ident.h"

typedef struct qd_service qd_service;

/* One log line per event of the service; `level` as in log.h ("debug", "info", "warn", "error"). */
typedef struct qd_service_log {
    void (*line)(void *ctx, const char *level, const char *event, const char *details /* key=value ... */);
    void *ctx;
} qd_service_log;

/* What is removed when; seconds and bytes, 0 = never. A job that is not finished, and what it needs, always stays. */
typedef struct qd_retention {
    double keep_jobs, keep_artifacts, keep_failed, keep_models, keep_audit;
    uint64_t cache_limit_bytes, artifacts_limit_bytes;
} qd_retention;

/* Who has to show a key, and what one key may do that has no limits of its own (0 = no limit). */
typedef struct qd_access_rules {
    enum { QD_AUTH_AUTO, QD_AUTH_KEYS, QD_AUTH_NONE } auth; /* auto: as soon as a key was made */
    uint64_t rate_per_minute, queue_quota, disk_quota_bytes;
} qd_access_rules;

typedef struct qd_service_config {
    const char *state_dir;        /* quantd.db, models/, jobs/, artifacts/ */
    size_t workers;               /* jobs at once */
    size_t threads;               /* cores in all; each job's child gets threads / workers, at least 1 */
    size_t queue_limit;           /* queued jobs; 0 = 10000. Beyond: QD_EBUSY */
    const char *program;          /* the binary that runs `quantd run ...`; NULL = /proc/self/exe */
    const char *const *launcher;  /* words put before the program, NULL-terminated; NULL = none */
    const char *calibration_text; /* operator's default texts, or NULL */
    const char *evaluation_text;
    const char *evaluation_tasks; /* operator's folder of NAME.jsonl, or NULL */
    const char *signing_key;      /* Ed25519 private key (PEM) that signs provenance, or NULL; runs never see it */
    uint64_t disk_floor_bytes;    /* stop claiming below this free space */
    double heartbeat_seconds;     /* 0 = 120: a child silent for so long is killed and the job tried again */
    uint64_t memory_bytes;        /* of all runs together; 0 = four fifths of what this process may use */
    double job_runtime_seconds;   /* of a job without limits.runtime; 0 = no limit */
    qd_retention retention;
    enum { QD_CONFINE_AUTO, QD_CONFINE_REQUIRE, QD_CONFINE_OFF } confine;
    const char *cgroup; /* folder of a delegated cgroup (v2), or NULL */
    qd_access_rules access;
    unsigned webhook_tries; /* 0 = 10 */
    qd_fetch_policy fetch;  /* cache_dir NULL = state_dir/models */
    qd_service_log log;
} qd_service_config;

/* Opens and migrates the store, recovers jobs that were running, collects leftovers, starts the writer, supervisor
 * and workers. */
qd_code qd_service_create(const qd_service_config *config, qd_service **out, qd_error *err);
/* Stops claiming, ends children (their jobs stay resumable), wakes all watchers, joins all threads. */
void qd_service_destroy(qd_service *service); /* NULL is fine */
/* Takes over what may change while the service runs: queue_limit, heartbeat, job_runtime, webhook_tries, retention, and the
 * numbers of access. */
void qd_service_reload(qd_service *service, const qd_service_config *fresh);
/* Before the end: claims no job any more, and is not ready. Runs go on until qd_service_destroy. */
void qd_service_drain(qd_service *service);
size_t qd_service_running(qd_service *service); /* jobs that workers have in hand */
/* A sign of life: the supervisor looked within patience_seconds, and the database writer answers. Does not return while
 * the writer hangs. */
qd_code qd_service_beat(qd_service *service, double patience_seconds, qd_error *err);

enum { QD_JOB_EDITION = 17 };

/* A consistent copy of one job; strings and JSON are owned by it. */
typedef struct qd_job {
    char id[QD_JOB_ID];
    const char *state; /* static text: "queued", ... */
    char *name;        /* or NULL */
    json_t *tags, *request /* redacted */, *resolved, *progress, *result, *problem,
        *forecast;                               /* json null where there is none */
    int64_t created_ms, started_ms, finished_ms; /* 0 = not yet */
    unsigned attempt, resumed, priority;
    uint64_t version;             /* grows with every change and every report of progress */
    uint64_t last_event;          /* id of the newest */
    char edition[QD_JOB_EDITION]; /* digest of what clients may change: name, tags, recipe */
} qd_job;
void qd_job_fini(qd_job *job);

/* calibration: QD_EINVAL with the reason when the algorithm needs data and neither job nor
 * operator names a text. QD_EBUSY when the queue is full. */
typedef struct qd_submission {
    const qd_recipe *recipe; /* only read */
    const json_t *request;   /* the body as it came */
    const qd_caller *caller;
    qd_issues *issues;    /* gets findings that only the service knows of; or NULL */
    struct qd_once *once; /* once.h: begun, without an answer; gets this job's; NULL = no Idempotency-Key came */
} qd_submission;
qd_code qd_service_submit(qd_service *service, const qd_submission *submission, char out_id[QD_JOB_ID], qd_error *err);
/* What the job would do, without making it: engine/plan.h's document (new reference), and of the service "model" (as fetch resolved it), "resolved",
 * "model_bytes", "read_bytes", "memory_of_runs". Waits for the model's source, 30 s at most. QD_EBUSY: too many at once. QD_EINVAL, with findings:
 * the job could not be submitted, or its model is not there. */
qd_code qd_service_plan(qd_service *service, const qd_submission *submission, json_t **out, qd_error *err);
qd_code qd_service_get(qd_service *service, const char *id, qd_job *out, qd_error *err); /* QD_ENOTFOUND */

typedef struct qd_tag_filter {
    const char *key, *value; /* value NULL = any */
} qd_tag_filter;
/* NULL (times: 0) = not asked; a job must hold all that is. */
typedef struct qd_job_filter {
    const char *states;        /* one, or several with commas between: any of them */
    const qd_tag_filter *tags; /* all of them */
    size_t tag_count;
    const char *name;  /* a part of it, without regard to the case of ASCII letters */
    const char *words; /* the same of name, model URL or a tag, or the beginning of the id */
    int64_t created_from_ms, created_before_ms;
    size_t limit;       /* 1..200 */
    const char *cursor; /* id of the last job of the previous page */
} qd_job_filter;
/* Newest first; *out is an array of *out_count jobs (qd_job_fini each, then free). */
qd_code qd_service_list(qd_service *service, const qd_job_filter *filter, qd_job **out, size_t *out_count,
                        bool *out_has_more, qd_error *err);

/* Arrays (new references). Events:
 * [{"id":n,"time":..,"type":"state|phase|progress|layer|warning|problem|result|...","data":{..}}] with id > after, at
 * most limit. */
qd_code qd_service_layers(qd_service *service, const char *id, json_t **out, qd_error *err);
qd_code qd_service_events(qd_service *service, const char *id, uint64_t after, size_t limit, json_t **out,
                          qd_error *err);
/* The certificate document: {"job","model","recipe","summary":{..},"layers":[{"name","certificate":{..}}]}.
 * QD_ENOTFOUND before any layer is finished. */
qd_code qd_service_certificate(qd_service *service, const char *id, json_t **out, qd_error *err);

/* cancel: QD_ECONFLICT when finished; idempotent otherwise. retry: only failed, cancelled, quarantined; `changes`
 * (object or NULL; changes.c says which fields) may be refused with findings; continues from the last finished layer
 * where the layer's key still matches. delete: only terminal states; removes rows and files. */
qd_code qd_service_cancel(qd_service *service, const qd_caller *caller, const char *id, qd_error *err);
qd_code qd_service_retry(qd_service *service, const qd_caller *caller, const char *id, const json_t *changes,
                         qd_issues *issues, qd_error *err);
/* Name, tags, priority of a job in any state; nothing happens when nothing changes. QD_ECONFLICT: the condition does not
 * hold for the job's edition. */
typedef struct qd_amendment {
    const json_t *changes; /* an object */
    bool (*holds)(const char *condition, const char *edition);
    const char *condition;
} qd_amendment;
qd_code qd_service_amend(qd_service *service, const qd_caller *caller, const char *id, const qd_amendment *amendment,
                         qd_issues *issues, qd_error *err);
qd_code qd_service_delete(qd_service *service, const qd_caller *caller, const char *id, qd_error *err);

/* Paths that may be read by the http layer (heap strings). artifacts: QD_ENOTFOUND unless the job has succeeded. log:
 * the run's log, may still grow. */
qd_code qd_service_artifact_dir(qd_service *service, const char *id, char **out_path, qd_error *err);
qd_code qd_service_log_path(qd_service *service, const char *id, char **out_path, qd_error *err);
/* Opens a file named in the artifact's manifest (bare relative path from our own table, RESOLVE_BENEATH): fd, size
 * and sha256 hex (the strong ETag). */
qd_code qd_service_artifact_open(qd_service *service, const char *id, const char *path, int *out_fd, uint64_t *out_size,
                                 char out_sha256_hex[QD_DIGEST_HEX], qd_error *err);

/* The whole artifact: its files by path (bytewise), and the folder below which each is opened by qd_open_beneath. */
typedef struct qd_artifact_file {
    char *path;
    uint64_t size;
    char sha256[QD_DIGEST_HEX];
} qd_artifact_file;
typedef struct qd_artifact {
    int folder;
    qd_artifact_file *files;
    size_t count;
    int64_t finished_ms;
} qd_artifact;
void qd_artifact_fini(qd_artifact *artifact); /* folder is -1 where there is none */
qd_code qd_service_artifact_list(qd_service *service, const char *id, qd_artifact *out, qd_error *err);

/* woken(ctx, id, last_event_id) after each commit of events of a job, and with id == NULL when the service stops.
 * Called from a service thread: must not block, must not call the service. `id` NULL here = all jobs. */
typedef struct qd_watch qd_watch;
qd_code qd_service_watch(qd_service *service, const char *id,
                         void (*woken)(void *ctx, const char *id, uint64_t last_event_id), void *ctx, qd_watch **out,
                         qd_error *err);
void qd_service_unwatch(qd_service *service, qd_watch *watch); /* no call is running or comes after it returns */

/* Since the service was started; pending: now. */
typedef struct qd_delivery_tally {
    uint64_t attempts, delivered, failed, pending;
} qd_delivery_tally;
/* What a collection removed, or would remove; see qd_retention. */
typedef struct qd_collected {
    uint64_t removed_bytes;   /* of files */
    size_t rows;              /* of audit and of kept answers */
    uint64_t cache_bytes;     /* of models, afterwards */
    uint64_t artifacts_bytes; /* afterwards */
    json_t *items;            /* [{"kind", "name", "bytes"}]; the kinds are listed in openapi.json */
} qd_collected;
void qd_collected_fini(qd_collected *collected);
/* Happens by itself once a minute; QD_EBUSY: one is under way. */
qd_code qd_service_collect(qd_service *service, qd_collect_mode mode, qd_collected *out, qd_error *err);

/* For /metrics and /readyz. */
typedef struct qd_service_stats {
    size_t jobs_by_state[16]; /* index as qd_state_name */
    size_t queue_depth, running, workers_alive;
    uint64_t free_disk_bytes, downloaded_bytes_total, layers_total, degraded_layers_total, resumes_total, commits_total;
    double phase_seconds_total[8]; /* index as qd_phase_name */
    double last_relative_error;    /* of the newest finished layer */
    double last_over_forecast;     /* seconds of the newest finished run over those forecast; 0 = none yet */
    uint64_t children_rss_bytes, uploaded_bytes_total;
    qd_delivery_tally deliveries[2];       /* index as qd_delivery_kind_name */
    uint64_t cache_bytes, artifacts_bytes; /* when last collected */
    uint64_t removed_bytes_total, collections_total;
    double heartbeat_age_seconds; /* of the run that has been silent longest */
    uint64_t runs_crashed_total, runs_silent_total, runs_out_of_memory_total;
} qd_service_stats;
qd_code qd_service_stats_read(qd_service *service, qd_service_stats *out, qd_error *err);
/* QD_OK, or why not ready: database not writable, disk below the floor, no worker alive. */
qd_code qd_service_ready(qd_service *service, qd_error *err);
/* What confines runs here; constant while the service lives. */
typedef struct qd_service_confinement {
    const char *mode; /* static text: "auto", "require", "off" */
    int landlock_abi; /* 0 = none */
    bool seccomp, cgroup;
    bool by_run;       /* runs close themselves in, on whatever machine a launcher starts them */
    char applied[256]; /* "landlock abi 7, seccomp, rlimits" */
    char missing[600]; /* "" = nothing is */
} qd_service_confinement;
void qd_service_confinement_read(qd_service *service, qd_service_confinement *out);
const char *qd_state_name(size_t index); /* NULL past the end; the table in jobs/state.c says which may follow which */
/* "downloading", "quantizing", "evaluating", "exporting", "verifying"; NULL past the end. */
const char *qd_phase_name(size_t index);

/* What became of a job's webhooks and uploads, oldest first (new reference): [{"id","kind":"webhook|publish","url",
 * "state":"pending|delivered|failed","created_at","finished_at","next_at","attempts":[{"number","time","status",
 * "seconds","detail"}],"progress":{..} of an upload}]; and one of them. */
qd_code qd_service_deliveries(qd_service *service, const char *id, json_t **out, qd_error *err);
qd_code qd_service_delivery(qd_service *service, const char *id, const char *delivery, json_t **out, qd_error *err);
/* Tried again at once, with all tries before it. QD_ECONFLICT: it was taken already. */
qd_code qd_service_redeliver(qd_service *service, const qd_caller *caller, const char *id, const char *delivery,
                             qd_error *err);
/* Adds a finding for each of webhook and publish that may not be, at POST time. request: the body as it came. */
void qd_service_check_destinations(qd_service *service, const qd_recipe *recipe, const json_t *request,
                                   qd_issues *issues);
const char *qd_delivery_kind_name(size_t index); /* "webhook", "publish"; NULL past the end */

/* Syntax and policy check of a model URL, at POST time. */
qd_code qd_service_check_url(qd_service *service, const char *url, qd_error *err);

#endif
