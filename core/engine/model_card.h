/* model_card.h: README.md of an artifact: what it is, how it is loaded, how it was made, how good it is.
 * Room: core/engine, private to it. May use: core.
 * Threads: one thread.
 *
 * Made from the records beside it and nothing else: no times, no places. */
#ifndef QD_ENGINE_MODEL_CARD_H
#define QD_ENGINE_MODEL_CARD_H

#include "engine/context.h"

/* manifest: of the format's folder as it is so far. */
qd_code qd_model_card(const qd_context *context, size_t format, const json_t *manifest, qd_str *out, qd_error *err);

#endif
