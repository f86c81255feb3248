/* calibration.h: the sequences that a run takes its statistics from, and what became of the text they come from.
 * Room: core/engine, private to it. May use: core.
 * Threads: one thread.
 * Source: api.md `calibration`; user-pains.md 13-15. */
#ifndef QD_ENGINE_CALIBRATION_H
#define QD_ENGINE_CALIBRATION_H

#include "engine/recipe.h"
#include "text/sequences.h"

typedef struct qd_context qd_context;

/* What is told of a text besides its tokens. */
typedef struct qd_calibration_text {
    qd_text_format format;
    const char *packing; /* "none", "gzip", "zstd" */
    uint64_t bytes;      /* unpacked */
    qd_sequence_report report;
} qd_calibration_text;

/* Fills the context's calibration windows, what is told of them, and digests; nothing where there is no text. Warns where
 * sequences overlap, where there are fewer than were asked for, and where more than a tenth of the tokens is dropped. */
qd_code qd_calibration_cut(qd_context *context, qd_error *err);

/* Fills them with sequences of the source model's own, where those are wanted. */
qd_code qd_calibration_sample(qd_context *context, qd_error *err);

/* Do held-out sequences choose the damping? */
bool qd_calibration_holds_out(const qd_context *context);

/* The "calibration" of result, recipe.json and manifest (new reference); null = data-free. */
json_t *qd_calibration_print(const qd_context *context);

#endif
