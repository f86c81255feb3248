/* component.h: one step of a tokenizer's pipeline, and chains of them. Normalizers, pre-tokenizers and decoders are
 * all components: pieces in, pieces out. A new one is a row in its kind's table and a function.
 * Room: core/text, private to it. May use: base, jansson.
 * Threads: chains are immutable after parsing; everything a run needs belongs to the caller. */
#ifndef QD_TEXT_COMPONENT_H
#define QD_TEXT_COMPONENT_H

#include <stdint.h>

#include "base/json.h"
#include "text/pieces.h"

typedef struct qd_component {
    const char *name; /* "type" in the file */
    /* Reads the parameters; *out_state is owned by the chain. NULL: it has none, and state is NULL. */
    qd_code (*parse)(const json_t *object, void **out_state, qd_error *err);
    void (*destroy)(void *state); /* NULL: nothing to release */
    /* Appends to `out`, which is empty. */
    qd_code (*apply)(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err);
} qd_component;

/* A field of tokenizer.json and the rows it may name. "Sequence" is known to all: its steps are put in a line. */
typedef struct qd_component_kind {
    const char *field; /* "normalizer" */
    const char *list;  /* key of a Sequence's steps: "normalizers" */
    const qd_component *const *rows;
    size_t count;
} qd_component_kind;
extern const qd_component_kind qd_normalizers, qd_pre_tokenizers, qd_decoders;

typedef struct qd_step {
    const qd_component *row;
    void *state;
} qd_step;

/* Zero-initialize; qd_chain_fini. */
typedef struct qd_chain {
    qd_step *steps;
    size_t count, capacity;
} qd_chain;

void qd_chain_fini(qd_chain *chain);
/* Appends the steps of `spec` (NULL or null: none). QD_EUNSUPPORTED names an unknown type and lists the known ones. */
qd_code qd_chain_parse(const qd_component_kind *kind, const json_t *spec, qd_chain *chain, qd_error *err);
/* Runs all steps over `pieces`; `spare` is memory that they swap with. */
qd_code qd_chain_run(const qd_chain *chain, qd_pieces *pieces, qd_pieces *spare, qd_error *err);

/* A required string field; `out` is borrowed. */
qd_code qd_component_text(const json_t *object, const char *key, const char **out, qd_error *err);
/* A required string field that holds exactly one character. */
qd_code qd_component_char(const json_t *object, const char *key, uint32_t *out, qd_error *err);

#endif
