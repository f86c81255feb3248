/* param.h: typed parameter rows: what a choice takes, in which unit and range.
 * Room: core/quant. May use: base. Read by every registry; JSON parsing, /catalog, the web form, --help and messages
 * come from it.
 * Threads: constant tables. */
#ifndef QD_QUANT_PARAM_H
#define QD_QUANT_PARAM_H

typedef enum qd_param_type { QD_PARAM_REAL, QD_PARAM_INTEGER, QD_PARAM_CHOICE, QD_PARAM_BOOLEAN } qd_param_type;

/* Tables end with a row whose name is NULL. */
typedef struct qd_param {
    const char *name;
    qd_param_type type;
    double min, max, def;       /* REAL, INTEGER; BOOLEAN: def 0 or 1 */
    const char *const *choices; /* CHOICE: NULL-terminated words; def is an index into them */
    const char *unit;           /* "bits", "columns", "fraction of mean diagonal"; NULL = none */
    const char *help;           /* one line */
} qd_param;

#endif
