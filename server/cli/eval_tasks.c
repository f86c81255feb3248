/* eval_tasks.c: see eval_tasks.h. */
#include "cli/eval_tasks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/source.h"
#include "engine/task_results.h"
#include "text/corpus.h"

bool qd_eval_tasks_given(const qd_arguments *arguments, size_t option)
{
    return arguments->values[option] != NULL;
}

/* "NAME=FILE:N" in parts. */
typedef struct wish {
    const qd_eval_task *task;
    char *path;
    size_t first; /* 0 = all */
} wish;

static void wish_fini(wish *w)
{
    free(w->path);
}

static qd_code read_wish(const char *word, wish *out, qd_error *err)
{
    char known[300];
    const char *equals = strchr(word, '='), *colon = strrchr(word, ':');
    QD_AUTO(qd_str_fini) qd_str name = { 0 };
    if (equals == NULL || equals[1] == '\0')
        return qd_fail(err, QD_EINVAL, "--task: '%s' is not NAME=FILE or NAME=FILE:N", word);
    qd_str_add_bytes(&name, word, (size_t)(equals - word));
    out->task = qd_eval_task_find(qd_str_borrow(&name));
    qd_eval_task_list(known, sizeof known);
    if (out->task == NULL)
        return qd_fail(err, QD_EINVAL, "--task: '%s' is not in %s", qd_str_borrow(&name), known);
    qd_code code = qd_dup(equals + 1, &out->path, err);
    size_t digits = colon == NULL || colon < equals ? 0 : strspn(colon + 1, "0123456789");
    if (code != QD_OK || digits == 0 || colon[1 + digits] != '\0')
        return code;
    if (digits > 9 || (out->first = (size_t)strtoul(colon + 1, NULL, 10)) == 0)
        return qd_fail(err, QD_EINVAL, "--task: '%s': 1 or more examples are wanted", word);
    out->path[colon - equals - 1] = '\0';
    return QD_OK;
}

static qd_code read_sets(const qd_arguments *arguments, size_t option, qd_task_terms terms, qd_task_sets *out,
                         qd_error *err)
{
    qd_code code = qd_alloc(arguments->given_count, sizeof *out->items, (void **)&out->items, err);
    for (size_t i = 0; code == QD_OK && i < arguments->given_count; i++) {
        QD_AUTO(wish_fini) wish w = { 0 };
        if (arguments->given[i].option != option)
            continue;
        code = read_wish(arguments->given[i].value, &w, err);
        terms.first = w.first;
        if (code == QD_OK)
            code = qd_task_set_read(w.task, w.path, &terms, &out->items[out->count], err);
        out->count += code == QD_OK;
    }
    return code;
}

static qd_code open_sets(const qd_arguments *arguments, size_t option, const qd_eval_asked *asked, qd_task_sets *out,
                         qd_error *err)
{
    qd_tokenizer *tokenizer = NULL;
    qd_code code = qd_source_tokenizer(asked->dir, &tokenizer, err);
    if (code != QD_OK)
        return code;
    code = read_sets(arguments, option, qd_source_task_terms(qd_artifact_model(asked->artifact), tokenizer), out, err);
    qd_tokenizer_destroy(tokenizer);
    return code;
}

/* A line an example, of the model itself. */
static qd_code write_details(const char *path, const qd_task_sets *sets, const qd_likelihood *likelihoods,
                             qd_error *err)
{
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return qd_fail_errno(err, "open '%s'", path);
    for (size_t s = 0; s < sets->count; s++)
        for (size_t i = 0; i < sets->items[s].count; i++) {
            QD_AUTO(qd_json_fini)
            json_t *line = qd_task_example_print(&sets->items[s], qd_task_sets_part(sets, s, likelihoods), i);
            QD_AUTO(qd_free_pointer) char *text = line == NULL ? NULL : qd_json_print(line);
            fprintf(file, "%s\n", text == NULL ? "null" : text);
        }
    bool failed = ferror(file) != 0;
    return fclose(file) != 0 || failed ? qd_fail_errno(err, "write '%s'", path) : QD_OK;
}

qd_code qd_eval_tasks_run(const qd_arguments *arguments, size_t option, const qd_eval_asked *asked, json_t **out,
                          qd_error *err)
{
    QD_AUTO(qd_task_sets_fini) qd_task_sets sets = { 0 };
    QD_AUTO(qd_free_pointer) qd_likelihood *found = NULL;
    qd_pool *pool = NULL;
    const qd_artifact *const both[] = { asked->against, asked->artifact };
    static const char *const names[] = { "source", "model" };
    qd_rival models[2];
    qd_task_column columns[2];
    size_t count = 0, requests = 0;
    qd_code code = open_sets(arguments, option, asked, &sets, err);
    if (code == QD_OK) {
        requests = qd_task_sets_requests(&sets);
        code = qd_alloc(2 * requests, sizeof *found, (void **)&found, err);
    }
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(both); i++)
        if (both[i] != NULL) {
            columns[count] = (qd_task_column){ names[i], found + count * requests };
            models[count++] = (qd_rival){ qd_artifact_model(both[i]), qd_artifact_overlay(both[i]) };
        }
    if (code == QD_OK)
        code = qd_pool_create(asked->threads, &pool, err);
    if (code == QD_OK)
        code = qd_task_sets_measure(&sets, models, count, pool, asked->progress, NULL, found, err);
    qd_pool_destroy(pool);
    if (code == QD_OK && asked->details != NULL)
        code = write_details(asked->details, &sets, columns[count - 1].likelihoods, err);
    if (code != QD_OK)
        return code;
    *out = qd_task_results_print(&sets, columns, count);
    return *out == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
}
