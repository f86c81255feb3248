/* recipe_fields.h: the fields of a job as typed rows: parser, printer, JSON Schema and messages are made from them.
 * Room: core/engine, private to it. May use: core.
 * Threads: constant tables.
 * Source: api.md "Creating a job": the fields that exist now. A new field is a member of qd_recipe and a row here. */
#ifndef QD_ENGINE_RECIPE_FIELDS_H
#define QD_ENGINE_RECIPE_FIELDS_H

#include "engine/recipe.h"

typedef enum qd_field_type {
    QD_FIELD_OBJECT,         /* holds the rows whose path begins with its own */
    QD_FIELD_TEXT,           /* char *; max = characters */
    QD_FIELD_URL,            /* char *; scheme://...; max = characters */
    QD_FIELD_COUNT,          /* size_t or uint64_t; where it may be null, null is 0 */
    QD_FIELD_REAL,           /* double; where it may be null, null is -1 */
    QD_FIELD_WIDTH,          /* double; one of the widths of the alphabet */
    QD_FIELD_BOOLEAN,        /* bool */
    QD_FIELD_CHOICE,         /* a row of a registry, by name */
    QD_FIELD_LABELS,         /* json_t *: object of texts; max = characters of each */
    QD_FIELD_DIGESTS,        /* json_t *: object file name -> 64 hex digits */
    QD_FIELD_REGULARIZATION, /* "auto" or {row of the registry: value} */
    QD_FIELD_SHRINK,         /* qd_mismatch_use: "auto" or a number in min..max */
    QD_FIELD_TRANSFORMS,     /* qd_transforms: list of rows, by name or with parameters */
    QD_FIELD_FORMATS,        /* qd_recipe.formats: a name, or a list of names */
    QD_FIELD_TASKS,          /* qd_recipe.tasks: names, or objects */
    QD_FIELD_LEVELS,         /* qd_levels: an array of min..max ascending numbers */
    QD_FIELD_TEXTS,          /* qd_texts: a list of URLs, or of names with URLs */
} qd_field_type;

enum {
    QD_FIELD_NULLABLE = 1,
    QD_FIELD_REQUIRED = 2,
    QD_FIELD_SECRET = 4,   /* write-only: never printed */
    QD_FIELD_ABOVE = 8,    /* min itself is not allowed */
    QD_FIELD_BELOW = 16,   /* max itself is not allowed */
    QD_FIELD_DERIVED = 32, /* the default depends on another field: the schema gives none */
    QD_FIELD_SELF = 64,    /* URL: or the word QD_SELF */
};

enum { QD_WORD = 64 };

/* A registry as a field sees it. */
typedef struct qd_choice {
    bool (*name)(size_t index, char out[QD_WORD]);         /* accepted words in order; false past the end */
    bool (*take)(qd_recipe *recipe, const char *name);     /* false for an unknown word; NULL only where nullable */
    bool (*give)(const qd_recipe *recipe, char *out_word); /* the word that was taken; false = null */
} qd_choice;

typedef struct qd_field {
    const char *path; /* "calibration/samples": a JSON Pointer without its first slash; parents before children */
    qd_field_type type;
    unsigned traits;
    size_t offset; /* of the member in qd_recipe, where the type has one */
    double min, max, def;
    const char *def_text;    /* CHOICE, TEXT */
    const qd_choice *choice; /* CHOICE */
    const char *shorthand;   /* OBJECT: the path of the child that a bare string means */
    const char *unit, *help;
    bool (*applies)(const qd_recipe *
                        recipe); /* NULL = always; else the field is refused, and not printed, where it means nothing */
    const char *wanted;          /* where it applies, for the message: "algorithm gpfq or qronos" */
    const char *decided_by;      /* DERIVED: the field that decides the default; NULL = none that could be named */
} qd_field;

const qd_field *qd_field_at(size_t index); /* NULL past the end */
/* A member of the object at `parent` ("" = the request); NULL when there is none. */
const qd_field *qd_field_find(const char *parent, const char *key);
const qd_field *qd_field_at_path(const char *path); /* NULL when there is none */
/* What a request gives for the field; NULL = nothing. */
const json_t *qd_field_value(const qd_field *field, const json_t *request);
/* The part of the path after the last slash. */
const char *qd_field_key(const qd_field *field);
/* true when `field` is a direct member of `parent`. */
bool qd_field_is_member(const qd_field *field, const char *parent);

/* A recipe with every default; QD_ENOMEM only. */
qd_code qd_recipe_create(qd_recipe **out, qd_error *err);
/* Fields whose default follows from others, where the request leaves them out; `implied` has what the job's format decided, by path. */
void qd_recipe_settle(qd_recipe *recipe, const json_t *request, const json_t *implied);

#endif
