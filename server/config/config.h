/* config.h: file + environment + flags -> one const struct.
 * Room: server/config. May use: base. Every option is a row of one table: flag --name, key `name` in the file,
 * environment QUANTD_NAME; --help, messages and checks come from the row. Later sources win: default, file,
 * environment, flags.
 * Threads: read-only once made. */
#ifndef QD_SERVER_CONFIG_H
#define QD_SERVER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/str.h"

/* Where a value was set; bits, because repeatable options add up. 0 = the table's default. */
typedef enum qd_config_source { QD_FROM_FILE = 1, QD_FROM_ENVIRONMENT = 2, QD_FROM_FLAGS = 4 } qd_config_source;
enum { QD_OPTIONS_MAX = 96 };

typedef struct qd_config {
    char *listen;   /* HOST:PORT; port 0 = pick one */
    char **host;    /* names of this service that clients may put in Host; NULL-terminated */
    char *tls_cert; /* PEM files, or NULL */
    char *tls_key;
    char *auth;                         /* auto, keys, none */
    char **trusted_proxy;               /* CIDRs whose X-Forwarded-For is believed; NULL-terminated */
    uint64_t rate_limit;                /* requests a minute of a key without its own; 0 = no limit */
    uint64_t queue_quota;               /* unfinished jobs of a key without its own; 0 = no limit */
    uint64_t disk_quota;                /* bytes of artifacts of a key without its own; 0 = no limit */
    uint64_t connections;               /* at once */
    uint64_t connections_per_address;   /* 0 = no limit */
    uint64_t event_streams;             /* at once */
    uint64_t event_streams_per_address; /* 0 = no limit */
    uint64_t downloads;                 /* files being sent at once */
    char *state;                        /* folder */
    uint64_t workers;                   /* jobs at once */
    uint64_t threads;                   /* cores in all */
    uint64_t queue_limit;               /* queued jobs */
    char **allow_net;                   /* CIDRs; NULL-terminated */
    bool allow_http;
    char **file_root; /* folders; NULL-terminated */
    char *hub_url;
    char *calibration_text; /* file, or NULL */
    char *evaluation_text;  /* file, or NULL */
    char *evaluation_tasks; /* folder, or NULL */
    char *signing_key;      /* file, or NULL */
    char **launcher;        /* words; NULL-terminated */
    uint64_t disk_floor;    /* bytes */
    uint64_t memory;        /* bytes that runs may use together; 0 = four fifths of what this process may */
    uint64_t job_runtime;   /* seconds a job may run that says nothing of it; 0 = no limit */
    uint64_t keep_jobs;     /* seconds after a job's end; 0 = for ever */
    uint64_t keep_artifacts;
    uint64_t keep_failed;
    uint64_t keep_models; /* seconds since a cached model was last used; 0 = for ever */
    uint64_t keep_audit;
    uint64_t cache_limit;     /* bytes; 0 = none: the cache shrinks only when the disk is short */
    uint64_t artifacts_limit; /* bytes; 0 = none */
    uint64_t drain;           /* seconds that runs are given to end by themselves when the service is told to stop */
    char *confine;            /* auto, require, off */
    char *cgroup;             /* folder of a delegated cgroup, or NULL */
    char *s3_endpoint;        /* URL */
    char *s3_region;
    char *s3_credentials; /* file, or NULL */
    char **s3_allow;      /* BUCKET or BUCKET/PREFIX; NULL-terminated */
    uint64_t webhook_tries;
    uint64_t max_file;  /* bytes */
    uint64_t heartbeat; /* seconds */
    bool insecure;
    char *log_level;  /* debug, info, warn, error */
    char *log_format; /* text, json */

    unsigned char sources[QD_OPTIONS_MAX]; /* of each option: bits of qd_config_source */
} qd_config;

/* A flag beside the options: the verb prints them and ends. */
#define QD_CONFIG_CHECK_FLAG "check-config"

/* argv[1..] are flags ("--listen=X", "--listen X", "--allow-http"); --config FILE (or QUANTD_CONFIG) names the file.
 * QD_EINVAL names the option, where it was given, what was found and what is allowed; an unknown one's nearest. */
qd_code qd_config_read(int argc, char **argv, const char *const *environment, qd_config *out, qd_error *err);
void qd_config_fini(qd_config *config);
/* SIGHUP: takes from `fresh` what may change while the service runs. The names of what differed, with commas: applied
 * now, and waiting for a restart. */
void qd_config_adopt(qd_config *config, qd_config *fresh, qd_str *out_applied, qd_str *out_waiting);

/* One option for documentation; false past the end. */
typedef struct qd_option_help {
    const char *name, *argument, *fallback, *help;
    char environment[64];
    char range[160]; /* "1..64 jobs"; "" = any text */
    bool reload;     /* takes effect at SIGHUP */
} qd_option_help;
bool qd_config_option_at(size_t index, qd_option_help *out);
/* Index of a checked value among the choices of its option, in the order of --help. */
unsigned qd_config_choice(const char *option, const char *value);
/* One value in the spelling of such options: "90s", "12h", "30d" as seconds; "512M" as bytes. text NULL leaves *out as it is; `where`
 * names it in messages. */
qd_code qd_config_duration(const char *where, const char *text, uint64_t *out_seconds, qd_error *err);
qd_code qd_config_bytes(const char *where, const char *text, uint64_t *out, qd_error *err);
/* What the table does not say: where values come from. */
extern const char qd_config_sources[];
/* The options as --help shows them. */
void qd_config_print_help(FILE *out);
/* Every option as `name = value  # where it was set`, without the passwords of URLs. */
void qd_config_print(const qd_config *config, FILE *out);

#endif
