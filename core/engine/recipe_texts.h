/* recipe_texts.h: further texts of an evaluation: parsed, printed and described.
 * Room: core/engine, private to it. May use: core.
 * Threads: pure functions. */
#ifndef QD_ENGINE_RECIPE_TEXTS_H
#define QD_ENGINE_RECIPE_TEXTS_H

#include "engine/recipe.h"

/* A list of at most QD_TEXTS_MAX different texts, each a URL or {"name","text"}; one without a name has its file's. Findings, if any, are added
 * to `issues`, and `out` keeps what was sound. */
qd_code qd_texts_read(const json_t *value, const char *at, qd_texts *out, qd_issues *issues, qd_error *err);
json_t *qd_texts_print(const qd_texts *texts); /* new reference */
json_t *qd_texts_describe(void);
void qd_texts_fini(qd_texts *texts);

#endif
