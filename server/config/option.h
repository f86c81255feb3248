/* option.h: the registry of options: a row each, and what can be told from the row alone.
 * Room: server/config, private to it. May use: base.
 * Threads: read-only. */
#ifndef QD_CONFIG_OPTION_H
#define QD_CONFIG_OPTION_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

typedef enum qd_option_kind {
    QD_OPTION_TEXT,
    QD_OPTION_NUMBER,
    QD_OPTION_BYTES,
    QD_OPTION_DURATION, /* seconds */
    QD_OPTION_LIST,     /* repeatable; values add up */
    QD_OPTION_WORDS,    /* a command line */
    QD_OPTION_SWITCH,
    QD_OPTION_CHOICE,
} qd_option_kind;

/* When a changed value takes effect. */
typedef enum qd_option_when { QD_AT_START, QD_AT_RELOAD } qd_option_when;

typedef struct qd_option {
    const char *name;
    qd_option_kind kind;
    qd_option_when when;
    size_t offset;        /* of the field in qd_config */
    const char *fallback; /* NULL = none */
    uint64_t min, max;    /* NUMBER, BYTES, DURATION */
    const char *const *choices;
    const char *argument; /* a NUMBER's says its unit */
    const char *help;
} qd_option;

/* The rows (option_table.c); NULL past the end. */
const qd_option *qd_option_at(size_t index);
const qd_option *qd_option_find(const char *name, size_t length); /* NULL: there is none */
/* What was perhaps meant by an unknown name; NULL when nothing is near. */
const qd_option *qd_option_nearest(const char *name, size_t length);

enum { QD_OPTION_ENVIRONMENT = 64 };
/* "allow-net" -> "QUANTD_ALLOW_NET". */
void qd_option_environment(const qd_option *option, char out[QD_OPTION_ENVIRONMENT]);
/* What values are allowed, with their unit: "1..64 jobs", "0s..3650d", "auto, keys or none"; appended to `out`. */
void qd_option_range(const qd_option *option, qd_str *out);

#endif
