/* post_processor.h: the ids that stand before and behind a text (BOS, EOS).
 * Room: core/text, private to it. May use: base, jansson.
 * Threads: immutable after parsing.
 * Source: formats.md §3 "post-processors". */
#ifndef QD_TEXT_POST_PROCESSOR_H
#define QD_TEXT_POST_PROCESSOR_H

#include "base/json.h"
#include "text/tokenizer.h"

/* Zero-initialize; qd_post_processor_fini. */
typedef struct qd_post_processor {
    qd_ids before, behind;
} qd_post_processor;

void qd_post_processor_fini(qd_post_processor *post);
/* `spec` may be NULL or null. QD_EUNSUPPORTED names an unknown type and lists the known ones. */
qd_code qd_post_processor_parse(const json_t *spec, qd_post_processor *out, qd_error *err);

#endif
