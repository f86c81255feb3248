/* task_line.h: the fields of a data set's line, and pairs made from them.
 * Room: core/eval, private to it. May use: base, text, jansson.
 * Threads: pure functions. Failures are QD_EFORMAT and name the field. */
#ifndef QD_EVAL_TASK_LINE_H
#define QD_EVAL_TASK_LINE_H

#include <stdbool.h>

#include "eval/task.h"

bool qd_line_has(const json_t *line, const char *key);
qd_code qd_line_text(const json_t *line, const char *key, const char **out, qd_error *err);
/* A list of `least` to QD_CHOICES_MAX texts. */
qd_code qd_line_texts(const json_t *line, const char *key, size_t least, const char **out, size_t *out_count,
                      qd_error *err);
/* An index below `count`: an integer, or its digits as a text; true and false count as 1 and 0. */
qd_code qd_line_index(const json_t *line, const char *key, size_t count, size_t *out, qd_error *err);
/* choices: {"text":[..],"label":[..]}, answerKey: one of the labels. */
qd_code qd_line_labelled(const json_t *line, const char **out, size_t *out_count, size_t *out_gold, qd_error *err);

/* One more pair; `choice` is what acc_norm takes the length of. */
qd_code qd_example_add(qd_example *example, const qd_str *context, const qd_str *continuation, const char *choice,
                       qd_error *err);
/* As above, for a continuation of `delimiter` and the choice. */
qd_code qd_example_add_choice(qd_example *example, const qd_str *context, const char *delimiter, const char *choice,
                              qd_error *err);

#endif
