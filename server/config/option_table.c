/* option_table.c: the list of options; see option.h. */
#include "config/option.h"

#include <assert.h>

#include "config/config.h"

static const char *const levels[] = { "debug", "info", "warn", "error", NULL };
static const char *const formats[] = { "text", "json", NULL };
static const char *const auths[] = { "auto", "keys", "none", NULL };
static const char *const confines[] = { "auto", "require", "off", NULL };

/* Short names for the columns. */
#define TEXT QD_OPTION_TEXT
#define NUMBER QD_OPTION_NUMBER
#define BYTES QD_OPTION_BYTES
#define DURATION QD_OPTION_DURATION
#define LIST QD_OPTION_LIST
#define WORDS QD_OPTION_WORDS
#define SWITCH QD_OPTION_SWITCH
#define CHOICE QD_OPTION_CHOICE
#define START QD_AT_START
#define LIVE QD_AT_RELOAD

/* Ten years: beyond it somebody meant "for ever". */
static const uint64_t age_max = 3650ull * 24 * 3600;

#define FIELD(name) offsetof(qd_config, name)
/* name, kind, when it takes effect, field, default, least, greatest, choices, argument, help */
static const qd_option options[] = {
    { "listen", TEXT, START, FIELD(listen), "127.0.0.1:8080", 0, 0, NULL, "HOST:PORT",
      "address to serve on; port 0 picks one and prints it" },
    { "host", LIST, START, FIELD(host), NULL, 0, 0, NULL, "NAME",
      "name under which clients reach this service, besides loopback and the listen address; repeatable" },
    { "tls-cert", TEXT, START, FIELD(tls_cert), NULL, 0, 0, NULL, "FILE", "certificate chain (PEM): serve https" },
    { "tls-key", TEXT, START, FIELD(tls_key), NULL, 0, 0, NULL, "FILE", "private key of tls-cert (PEM)" },
    { "auth", CHOICE, START, FIELD(auth), "auto", 0, 0, auths, "WHEN",
      "when clients must show a key: auto (as soon as `quantd key create` has made one), keys (always) or none" },
    { "trusted-proxy", LIST, START, FIELD(trusted_proxy), NULL, 0, 0, NULL, "CIDR",
      "proxy whose X-Forwarded-For names the client; repeatable" },
    { "rate-limit", NUMBER, LIVE, FIELD(rate_limit), "6000", 0, 10000000, NULL, "REQUESTS",
      "requests a minute of one key; 0 = no limit" },
    { "queue-quota", NUMBER, LIVE, FIELD(queue_quota), "100", 0, 1000000, NULL, "JOBS",
      "unfinished jobs of one key; 0 = no limit" },
    { "disk-quota", BYTES, LIVE, FIELD(disk_quota), "0", 0, UINT64_MAX, NULL, "BYTES",
      "artifacts of one key; 0 = no limit" },
    { "connections", NUMBER, START, FIELD(connections), "8000", 16, 100000, NULL, "CONNECTIONS",
      "connections at once" },
    { "connections-per-address", NUMBER, START, FIELD(connections_per_address), "0", 0, 100000, NULL, "CONNECTIONS",
      "connections of one address; 0 = no limit, as behind a proxy" },
    { "event-streams", NUMBER, START, FIELD(event_streams), "2000", 1, 100000, NULL, "STREAMS",
      "event streams at once" },
    { "event-streams-per-address", NUMBER, START, FIELD(event_streams_per_address), "16", 0, 100000, NULL, "STREAMS",
      "event streams of one client elsewhere (by trusted-proxy's word, where there is one); 0 = no limit" },
    { "downloads", NUMBER, START, FIELD(downloads), "64", 1, 10000, NULL, "FILES",
      "artifact files being sent at once" },
    { "state", TEXT, START, FIELD(state), "quantd-state", 0, 0, NULL, "DIR",
      "database, model cache, jobs and artifacts" },
    { "workers", NUMBER, START, FIELD(workers), "1", 1, 64, NULL, "JOBS", "jobs at once" },
    { "threads", NUMBER, START, FIELD(threads), "0", 0, 1024, NULL, "CORES",
      "cores in all, shared by the jobs; 0 = all of this machine" },
    { "queue-limit", NUMBER, LIVE, FIELD(queue_limit), "10000", 1, 1000000, NULL, "JOBS",
      "queued jobs; beyond it POST /jobs answers 429" },
    { "allow-net", LIST, START, FIELD(allow_net), NULL, 0, 0, NULL, "CIDR",
      "network that downloads, webhooks and uploads may reach besides public addresses; repeatable" },
    { "allow-http", SWITCH, START, FIELD(allow_http), "no", 0, 0, NULL, NULL,
      "allow plain http sources and destinations" },
    { "file-root", LIST, START, FIELD(file_root), NULL, 0, 0, NULL, "DIR",
      "folder that file:// sources may read; repeatable" },
    { "hub-url", TEXT, START, FIELD(hub_url), "https://huggingface.co", 0, 0, NULL, "URL",
      "base of hf:// names and hub pages" },
    { "calibration-text", TEXT, START, FIELD(calibration_text), NULL, 0, 0, NULL, "FILE",
      "text for jobs that name none; without it the source model samples its own" },
    { "evaluation-text", TEXT, START, FIELD(evaluation_text), NULL, 0, 0, NULL, "FILE",
      "text for jobs that name none; without it the source model samples its own" },
    { "evaluation-tasks", TEXT, START, FIELD(evaluation_tasks), NULL, 0, 0, NULL, "DIR",
      "folder of NAME.jsonl for zero-shot tasks of jobs that name no data for them" },
    { "signing-key", TEXT, START, FIELD(signing_key), NULL, 0, 0, NULL, "FILE",
      "private key (Ed25519, PEM) that signs the provenance of artifacts; `openssl genpkey -algorithm ed25519`" },
    { "launcher", WORDS, START, FIELD(launcher), NULL, 0, 0, NULL, "COMMAND",
      "words put before `quantd run`, as in \"srun -n1\"" },
    { "disk-floor", BYTES, START, FIELD(disk_floor), "1G", 0, UINT64_MAX, NULL, "BYTES",
      "free space below which no job starts (suffix K, M, G, T)" },
    { "memory", BYTES, START, FIELD(memory), "0", 0, UINT64_MAX, NULL, "BYTES",
      "memory that runs may use together; 0 = four fifths of what this process may use" },
    { "job-runtime", DURATION, LIVE, FIELD(job_runtime), "0", 0, age_max, NULL, "TIME",
      "longest run of a job that sets no limits.runtime (suffix s, m, h, d); 0 = no limit" },
    { "keep-jobs", DURATION, LIVE, FIELD(keep_jobs), "0", 0, age_max, NULL, "TIME",
      "finished jobs are removed, with all they made, after so long; 0 = never" },
    { "keep-artifacts", DURATION, LIVE, FIELD(keep_artifacts), "0", 0, age_max, NULL, "TIME",
      "artifacts are removed after so long, their jobs stay; 0 = never" },
    { "keep-failed", DURATION, LIVE, FIELD(keep_failed), "30d", 0, age_max, NULL, "TIME",
      "checkpoints and quarantined files of jobs that did not succeed; 0 = for ever" },
    { "keep-models", DURATION, LIVE, FIELD(keep_models), "0", 0, age_max, NULL, "TIME",
      "downloaded models that no job has used for so long are removed; 0 = when the disk is short" },
    { "keep-audit", DURATION, LIVE, FIELD(keep_audit), "365d", 0, age_max, NULL, "TIME", "audit rows; 0 = for ever" },
    { "cache-limit", BYTES, LIVE, FIELD(cache_limit), "0", 0, UINT64_MAX, NULL, "BYTES",
      "size of the model cache beyond which what was used longest ago is removed; 0 = when the disk is short" },
    { "artifacts-limit", BYTES, LIVE, FIELD(artifacts_limit), "0", 0, UINT64_MAX, NULL, "BYTES",
      "size of all artifacts beyond which the oldest are removed; 0 = no limit" },
    { "drain", DURATION, LIVE, FIELD(drain), "0", 0, 86400, NULL, "TIME",
      "how long runs may go on after SIGTERM before they are stopped (they are resumed at the next start)" },
    { "confine", CHOICE, START, FIELD(confine), "auto", 0, 0, confines, "HOW",
      "runs without network and other people's files: auto (as far as the kernel can), require or off" },
    { "cgroup", TEXT, START, FIELD(cgroup), NULL, 0, 0, NULL, "DIR",
      "delegated cgroup (v2) below which each run gets its own, or `own`: the one this service is in; without one a "
      "run's memory is "
      "watched, and bounded by an rlimit" },
    { "s3-endpoint", TEXT, START, FIELD(s3_endpoint), "https://s3.amazonaws.com", 0, 0, NULL, "URL",
      "S3-compatible storage of s3:// names" },
    { "s3-region", TEXT, START, FIELD(s3_region), "us-east-1", 0, 0, NULL, "NAME", "region of s3-endpoint" },
    { "s3-credentials", TEXT, START, FIELD(s3_credentials), NULL, 0, 0, NULL, "FILE",
      "lines `access-key-id = ...` and `secret-access-key = ...` (and `session-token`), read anew for every use; "
      "without "
      "it AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN" },
    { "s3-allow", LIST, START, FIELD(s3_allow), NULL, 0, 0, NULL, "BUCKET[/PREFIX]",
      "where jobs may read and write with these credentials; repeatable" },
    { "webhook-tries", NUMBER, LIVE, FIELD(webhook_tries), "10", 1, 100, NULL, "TRIES",
      "tries of a webhook or an upload; 10 take some 28 hours" },
    { "max-file", BYTES, START, FIELD(max_file), "64G", 1, UINT64_MAX, NULL, "BYTES",
      "largest file a download may bring" },
    { "heartbeat", NUMBER, LIVE, FIELD(heartbeat), "120", 5, 86400, NULL, "SECONDS",
      "a run silent for so long is stopped and started again" },
    { "insecure", SWITCH, START, FIELD(insecure), "no", 0, 0, NULL, NULL,
      "listen beyond loopback, and under any Host, although nobody has to show a key" },
    { "log-level", CHOICE, LIVE, FIELD(log_level), "info", 0, 0, levels, "LEVEL", "debug, info, warn or error" },
    { "log-format", CHOICE, LIVE, FIELD(log_format), "text", 0, 0, formats, "FORMAT", "text (key=value) or json" },
};

const qd_option *qd_option_at(size_t index)
{
    return index < QD_LENGTH(options) ? &options[index] : NULL;
}

static_assert(QD_LENGTH(options) <= QD_OPTIONS_MAX, "every option has its source in qd_config");
