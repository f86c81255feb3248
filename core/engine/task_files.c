/* task_files.c: see task_files.h. */
#include "engine/task_files.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "eval/task_set.h"

/* Of a file that is not here: 1,000 examples of four requests. */
enum { USUAL_EXAMPLES = 1000, USUAL_REQUESTS = 4, USUAL_BYTES = 400 };

char *qd_task_file_in(const char *dir, const qd_eval_task *task)
{
    QD_AUTO(qd_str_fini) qd_str name = { 0 };
    qd_str_addf(&name, "%s.jsonl", task->name);
    return name.failed ? NULL : qd_path_join(dir, qd_str_borrow(&name));
}

qd_code qd_task_files_in(const qd_recipe *recipe, const char *dir, char ***out, qd_error *err)
{
    char **files = NULL;
    qd_code code = qd_alloc(recipe->task_count + 1, sizeof *files, (void **)&files, err);
    for (size_t i = 0; code == QD_OK && i < recipe->task_count; i++)
        if ((files[i] = qd_task_file_in(dir, recipe->tasks[i].task)) == NULL)
            code = qd_fail(err, QD_ENOMEM, "out of memory");
    if (code != QD_OK) {
        qd_task_files_fini(&files);
        return code;
    }
    *out = files;
    return QD_OK;
}

void qd_task_files_fini(char ***files)
{
    for (size_t i = 0; *files != NULL && (*files)[i] != NULL; i++)
        free((*files)[i]);
    free(*files);
    *files = NULL;
}

qd_code qd_task_sizes_add(const qd_recipe *recipe, const char *const *files, qd_text_sizes *sizes, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < recipe->task_count; i++) {
        const qd_task_choice *choice = &recipe->tasks[i];
        qd_task_extent extent;
        if (files == NULL || files[i] == NULL) {
            extent.requests = USUAL_REQUESTS * (choice->examples == 0 ? USUAL_EXAMPLES : choice->examples);
            extent.bytes = extent.requests * USUAL_BYTES;
        } else
            code = qd_task_extent_of(choice->task, files[i], choice->examples, &extent, err);
        if (code != QD_OK)
            break;
        sizes->task_bytes += extent.bytes;
        sizes->task_requests += extent.requests;
    }
    return code;
}
