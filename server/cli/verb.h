/* verb.h: the registry of command-line verbs.
 * Room: server/cli. May use: core, fetch, config, jobs, http. One file a verb, one row in verb_table.c; parsing,
 * --help and messages come from the row.
 * Threads: main thread only. */
#ifndef QD_CLI_VERB_H
#define QD_CLI_VERB_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Exit status of every verb. */
enum {
    QD_EXIT_OK = 0,
    QD_EXIT_FAILED = 1,    /* the work failed; the reason is on stderr */
    QD_EXIT_USAGE = 2,     /* the command line is wrong */
    QD_EXIT_CANCELLED = 3, /* SIGTERM or SIGINT */
};

extern const char qd_verb_exit_statuses[]; /* the same in words */

typedef struct qd_verb_option {
    const char *name;     /* "--windows" without the dashes */
    const char *argument; /* "N"; NULL = a switch */
    const char *fallback; /* shown by --help; NULL = none */
    const char *help;
} qd_verb_option;

enum { QD_VERB_OPTIONS_MAX = 20, QD_VERB_OPERANDS_MAX = 2, QD_VERB_GIVEN_MAX = 64 };

/* An option as it was given. */
typedef struct qd_given {
    size_t option; /* of the row */
    const char *value;
} qd_given;

/* A parsed command line: values[i] belongs to options[i] of the row; NULL = not given ("" for a switch that was), and the last where it was given
 * more than once. `given`: all of them in order, for options that may be repeated. */
typedef struct qd_arguments {
    const char *operands[QD_VERB_OPERANDS_MAX];
    const char *values[QD_VERB_OPTIONS_MAX];
    qd_given given[QD_VERB_GIVEN_MAX];
    size_t given_count;
} qd_arguments;
/* Values of option `index` of the row where it may be repeated: QD_EINVAL names it where there are more than `most`. */
qd_code qd_argument_values(const qd_verb_option *row, size_t index, const qd_arguments *arguments, size_t most,
                           const char **out, size_t *out_count, qd_error *err);

typedef struct qd_verb {
    const char *name; /* "run"; of a word below a verb both: "key create" */
    const char *summary;
    const char *operands; /* as --help shows them: "MODEL" */
    size_t operand_count;
    const qd_verb_option *options; /* ends with name NULL; NULL = the verb reads its own (serve) */
    const char *notes;             /* further text of --help, or NULL */
    int (*run)(const qd_arguments *arguments);
    int (*run_raw)(int argc, char **argv); /* instead of run, when options is NULL */
    const struct qd_verb *const *words;    /* verbs below this one, NULL-terminated; then it has nothing else */
} qd_verb;

/* The rows. */
extern const qd_verb qd_verb_serve, qd_verb_run, qd_verb_verify, qd_verb_eval, qd_verb_inspect, qd_verb_tokenize,
    qd_verb_logits, qd_verb_convert, qd_verb_backup, qd_verb_restore, qd_verb_key;

const qd_verb *qd_verb_at(size_t index); /* NULL past the end */
const qd_verb *qd_verb_find(const char *name);

/* quantd VERB ...: parses by the row, answers --help, runs. argv[0] is the program, argv[1] the verb. */
int qd_verb_main(int argc, char **argv);

/* A whole number option: `fallback` when not given. QD_EINVAL names the option. */
qd_code qd_argument_number(const qd_verb_option *option, const char *value, uint64_t fallback, uint64_t *out,
                           qd_error *err);
/* "quantd: text" on stderr; returns the exit status for the code. */
int qd_verb_fail(qd_code code, const qd_error *err);

#endif
