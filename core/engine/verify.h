/* verify.h: the parts of qd_verify: what is found is collected, a line each.
 * Room: core/engine, private to it. May use: core.
 * Threads: one thread. */
#ifndef QD_ENGINE_VERIFY_H
#define QD_ENGINE_VERIFY_H

#include <jansson.h>

#include "base/auto.h"
#include "base/error.h"
#include "engine/recipe.h"
#include "export/artifact.h"

typedef struct qd_findings {
    json_t *lines; /* [{"where","detail"}] */
    const char
        *scales; /* beside the source: how the grids were found again, "chosen" or "fitted"; NULL = not looked for */
} qd_findings;
/* `where` is a file or a layer. Only the first hundred are kept. */
void qd_findings_add(qd_findings *findings, const char *where, const char *format, ...) QD_PRINTF(3, 4);

/* The record of one layer, at `index` of the model: shape, grid, and the identities between its numbers that need no data (theory.md §8.2). */
void qd_verify_record(const qd_linear *linear, size_t index, const json_t *record, qd_findings *findings);
/* The document: a record for every layer, in order, and a summary that adds up. */
void qd_verify_certificate(const qd_model *model, const json_t *document, qd_findings *findings);

/* Where the folder holds a GGUF: its metadata against config.json. */
void qd_verify_gguf(const qd_model *model, qd_findings *findings);

/* How far a weight may be from (level - zero) scale: a fraction of itself, and an absolute distance. */
typedef struct qd_slack {
    double relative, absolute;
    double ends; /* of the largest weight of a group: where the grid was laid through stored weights, else 0 */
} qd_slack;
/* Of a weight as stored. */
qd_slack qd_slack_of(const qd_linear *stored);
/* Of the weights of a row q in the basis of the codes: the rounding of stored ones, turned, is anywhere in the row. basis: NULL = the input's
 * own. */
qd_slack qd_slack_of_row(const qd_linear *stored, const qd_hadamard *basis, qd_cmatf q, size_t row);

/* Everything that can be said when the source is there: `document` is recipe.json, `recipe` what it holds (NULL = nothing that can be read).
 * Fails only where the source cannot be read. */
qd_code qd_verify_against(const qd_artifact *artifact, const json_t *certificate, const json_t *document,
                          const qd_recipe *recipe, const char *source_dir, qd_findings *findings, qd_error *err);

#endif
