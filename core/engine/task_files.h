/* task_files.h: where the examples of a job's tasks are, and how much they ask of a model.
 * Room: core/engine. May use: core.
 * Threads: pure functions. */
#ifndef QD_ENGINE_TASK_FILES_H
#define QD_ENGINE_TASK_FILES_H

#include "engine/forecast.h"

/* DIR/NAME.jsonl of one task; heap string, NULL when out of memory. */
char *qd_task_file_in(const char *dir, const qd_eval_task *task);
/* Those of all tasks of the recipe, in order, and then NULL; qd_task_files_fini. */
qd_code qd_task_files_in(const qd_recipe *recipe, const char *dir, char ***out, qd_error *err);
void qd_task_files_fini(char ***files); /* NULL in it is fine */

/* Adds to `sizes` what the recipe's tasks come to, in bytes of all contexts with their continuations, by reading the files as the run will.
 * files: as qd_run_paths.tasks; NULL, or a file that is NULL, is not here yet: a usual size is taken. */
qd_code qd_task_sizes_add(const qd_recipe *recipe, const char *const *files, qd_text_sizes *sizes, qd_error *err);

#endif
