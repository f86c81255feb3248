/* task_set.c: see task_set.h. */
#include "eval/task_set.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "text/prose.h"

enum { LINE_DEPTH = 16 };

void qd_task_set_fini(qd_task_set *set)
{
    free(set->examples);
    free(set->requests);
    free(set->characters);
    qd_ids_fini(&set->ids);
    *set = (qd_task_set){ 0 };
}

/* ---- one pair ---- */

/* Nothing before the continuation: BOS is. */
static qd_code encode_bare(const qd_pair *pair, const qd_task_terms *terms, qd_ids *ids, size_t *out_asked,
                           qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    if (terms->bos < 0)
        return qd_fail(err, QD_EFORMAT, "the context is empty, and the model has no BOS to stand for it");
    qd_str_addf(&text, "%s%s", pair->context, pair->continuation);
    qd_code code = qd_str_check(&text, err);
    size_t before = ids->count;
    if (code == QD_OK)
        code = qd_ids_add(ids, (uint32_t)terms->bos, err);
    if (code == QD_OK)
        code = qd_tokenizer_encode(terms->tokenizer, qd_str_borrow(&text), text.length, QD_SPECIAL_NONE, ids, err);
    *out_asked = ids->count - before - 1;
    return code;
}

qd_code qd_pair_encode(const qd_pair *pair, const qd_task_terms *terms, qd_ids *ids, size_t *out_asked, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str whole = { 0 };
    QD_AUTO(qd_ids_fini) qd_ids alone = { 0 };
    size_t kept = qd_prose_end(pair->context, strlen(pair->context)), before = ids->count;
    if (kept == 0)
        return encode_bare(pair, terms, ids, out_asked, err);
    qd_str_addf(&whole, "%s%s", pair->context, pair->continuation);
    qd_code code = qd_str_check(&whole, err);
    if (code == QD_OK)
        code = qd_tokenizer_encode(terms->tokenizer, pair->context, kept, QD_SPECIAL_ADD, &alone, err);
    if (code == QD_OK)
        code = qd_tokenizer_encode(terms->tokenizer, qd_str_borrow(&whole), whole.length, QD_SPECIAL_ADD, ids, err);
    if (code != QD_OK)
        return code;
    size_t count = ids->count - before;
    *out_asked = count > alone.count ? count - alone.count : 0;
    return QD_OK;
}

/* ---- a file ---- */

typedef struct reader {
    const qd_task_terms *terms;
    qd_task_set set;
    size_t *begins; /* of each request, among the ids: those move while they grow */
    size_t example_capacity, request_capacity, begin_capacity, character_capacity;
} reader;

static void reader_fini(reader *r)
{
    qd_task_set_fini(&r->set);
    free(r->begins);
}

/* Only the last `most` tokens, and the one that is asked for after them. */
static void keep_last(const qd_task_terms *terms, size_t begin, qd_task_set *set, qd_continuation *request)
{
    size_t most = terms->most + 1;
    if (request->count <= most)
        return;
    uint32_t *ids = set->ids.data + begin;
    memmove(ids, ids + request->count - most, most * sizeof *ids);
    set->ids.count -= request->count - most;
    request->count = most;
    set->truncated++;
}

static qd_code add_request(reader *r, const qd_pair *pair, qd_error *err)
{
    qd_task_set *set = &r->set;
    size_t begin = set->ids.count, at = set->request_count;
    qd_continuation request = { 0 };
    qd_code code = qd_pair_encode(pair, r->terms, &set->ids, &request.asked, err);
    if (code != QD_OK)
        return code;
    request.count = set->ids.count - begin;
    keep_last(r->terms, begin, set, &request);
    if (request.asked == 0 || request.asked >= request.count)
        return qd_fail(err, QD_EFORMAT,
                       "the continuation '%.60s' has %zu tokens of %zu: wanted are 1 to all but the first",
                       pair->continuation, request.asked, request.count);
    code = qd_grow((void **)&set->requests, &r->request_capacity, at + 1, sizeof *set->requests, err);
    if (code == QD_OK)
        code = qd_grow((void **)&set->characters, &r->character_capacity, at + 1, sizeof *set->characters, err);
    if (code == QD_OK)
        code = qd_grow((void **)&r->begins, &r->begin_capacity, at + 1, sizeof *r->begins, err);
    if (code != QD_OK)
        return code;
    set->requests[at] = request;
    set->characters[at] = pair->characters;
    r->begins[at] = begin;
    set->request_count++;
    return QD_OK;
}

static qd_code add_example(void *ctx, const qd_example *example, qd_error *err)
{
    reader *r = ctx;
    qd_task_set *set = &r->set;
    qd_code code = qd_grow((void **)&set->examples, &r->example_capacity, set->count + 1, sizeof *set->examples, err);
    if (code == QD_OK)
        set->examples[set->count++] = (qd_placed){ set->request_count, example->count, example->gold };
    for (size_t i = 0; code == QD_OK && i < example->count; i++)
        code = add_request(r, &example->pairs[i], err);
    return code;
}

/* What goes through the lines of a file. */
typedef struct visit {
    const qd_eval_task *task;
    size_t first; /* examples; 0 = all */
    qd_code (*example)(void *ctx, const qd_example *example, qd_error *err);
    void *ctx;
} visit;

static qd_code visit_line(const visit *v, const char *line, size_t length, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *object = NULL;
    QD_AUTO(qd_example_fini) qd_example example = { 0 };
    qd_code code = qd_json_parse_object(line, length, LINE_DEPTH, &object, err);
    if (code == QD_OK)
        code = v->task->read(object, &example, err);
    return code == QD_OK ? v->example(v->ctx, &example, err) : code;
}

static qd_code visit_lines(const visit *v, const char *text, size_t length, qd_error *err)
{
    qd_code code = QD_OK;
    size_t number = 1, count = 0;
    for (size_t at = 0; code == QD_OK && at < length; number++) {
        const char *line = text + at, *newline = memchr(line, '\n', length - at);
        size_t bytes = newline == NULL ? length - at : (size_t)(newline - line);
        at += bytes + 1;
        if (strspn(line, " \t\r") >= bytes) /* the text ends with a NUL */
            continue;
        if (v->first != 0 && count == v->first)
            break;
        code = visit_line(v, line, bytes, err);
        count++;
        if (code != QD_OK && code != QD_ENOMEM)
            qd_within(err, code, "line %zu", number);
    }
    return code == QD_OK && count == 0 ? qd_fail(err, QD_EINVAL, "there is not one example in the file") : code;
}

/* out_digest: of the file, or NULL. */
static qd_code visit_file(const visit *v, const char *path, char *out_digest, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    qd_code code = qd_file_read_regular(path, QD_TASK_FILE_LIMIT, &text, err);
    if (code == QD_OK && out_digest != NULL)
        code = qd_sha256(qd_str_borrow(&text), text.length, out_digest, err);
    if (code == QD_OK)
        code = visit_lines(v, qd_str_borrow(&text), text.length, err);
    return code == QD_OK ? code : qd_within(err, code, "task '%s'", v->task->name);
}

qd_code qd_task_set_read(const qd_eval_task *task, const char *path, const qd_task_terms *terms, qd_task_set *out,
                         qd_error *err)
{
    QD_AUTO(reader_fini) reader r = { .terms = terms, .set = { .task = task } };
    const visit v = { task, terms->first, add_example, &r };
    qd_code code = visit_file(&v, path, r.set.digest, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < r.set.request_count; i++)
        r.set.requests[i].ids = r.set.ids.data + r.begins[i];
    *out = r.set;
    r.set = (qd_task_set){ 0 };
    return QD_OK;
}

static qd_code measure_example(void *ctx, const qd_example *example, qd_error *err)
{
    qd_task_extent *extent = ctx;
    (void)err;
    for (size_t i = 0; i < example->count; i++)
        extent->bytes += strlen(example->pairs[i].context) + strlen(example->pairs[i].continuation);
    extent->requests += example->count;
    return QD_OK;
}

qd_code qd_task_extent_of(const qd_eval_task *task, const char *path, size_t first, qd_task_extent *out, qd_error *err)
{
    qd_task_extent extent = { 0 };
    const visit v = { task, first, measure_example, &extent };
    qd_code code = visit_file(&v, path, NULL, err);
    if (code == QD_OK)
        *out = extent;
    return code;
}

void qd_task_set_judge(const qd_task_set *set, const qd_metric *metric, const qd_likelihood *likelihoods, double *out)
{
    for (size_t i = 0; i < set->count; i++) {
        const qd_placed *e = &set->examples[i];
        const qd_answer answer = { .choices = likelihoods + e->first,
                                   .characters = set->characters + e->first,
                                   .count = e->count,
                                   .gold = e->gold };
        out[i] = metric->of(&answer);
    }
}
