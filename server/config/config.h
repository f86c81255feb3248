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

typedef struct qd_config {
    char *listen;         /* HOST:PORT; port 0 = pick one */
    char *state;          /* folder */
    uint64_t workers;     /* jobs at once */
    uint64_t threads;     /* cores in all */
    uint64_t queue_limit; /* queued jobs */
    char **allow_net;     /* CIDRs; NULL-terminated */
    bool allow_http;
    char **file_root; /* folders; NULL-terminated */
    char *hub_url;
    char *calibration_text; /* file, or NULL */
    char *evaluation_text;  /* file, or NULL */
    char *signing_key;      /* file, or NULL */
    char **launcher;        /* words; NULL-terminated */
    uint64_t disk_floor;    /* bytes */
    uint64_t max_file;      /* bytes */
    uint64_t heartbeat;     /* seconds */
    bool insecure;
    char *log_level;  /* debug, info, warn, error */
    char *log_format; /* text, json */
} qd_config;

/* argv[1..] are flags ("--listen=X", "--listen X", "--allow-http"); --config FILE (or QUANTD_CONFIG) names the file.
 * QD_EINVAL names the option, where it was given, what was found and what is allowed. */
qd_code qd_config_read(int argc, char **argv, const char *const *environment, qd_config *out, qd_error *err);
void qd_config_fini(qd_config *config);

/* One option for documentation; false past the end. */
typedef struct qd_option_help {
    const char *name, *argument, *fallback, *help;
} qd_option_help;
bool qd_config_option_at(size_t index, qd_option_help *out);
/* What the table does not say: where values come from. */
extern const char qd_config_sources[];
/* The options as --help shows them. */
void qd_config_print_help(FILE *out);

#endif
