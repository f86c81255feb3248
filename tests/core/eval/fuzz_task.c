/* fuzz_task.c: a hostile file of examples. The first byte names the task; what a set gives must hold together. */
#include "fuzz_folder.h"

#include "base/json.h"
#include "eval/task_set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every byte is a token, but for "an". */
static qd_tokenizer *make_tokenizer(void)
{
    static const char json[] = "{\"normalizer\":null,\"pre_tokenizer\":null,\"post_processor\":null,\"decoder\":null,"
                               "\"added_tokens\":[],\"model\":{"
                               "\"type\":\"BPE\",\"byte_fallback\":false,\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"a\":"
                               "1,\"n\":2,\"an\":3,\" \":4},"
                               "\"merges\":[\"a n\"]}}";
    qd_tokenizer *tokenizer = NULL;
    if (qd_tokenizer_parse(json, sizeof json - 1, &tokenizer, NULL) != QD_OK)
        abort();
    return tokenizer;
}

static void check_set(const qd_task_set *set, const qd_task_terms *terms)
{
    size_t requests = 0;
    for (size_t i = 0; i < set->count; i++) {
        const qd_placed *e = &set->examples[i];
        if (e->count == 0 || e->gold >= e->count || e->first != requests)
            abort();
        requests += e->count;
    }
    if (requests != set->request_count)
        abort();
    for (size_t i = 0; i < requests; i++) {
        const qd_continuation *c = &set->requests[i];
        if (c->asked == 0 || c->asked >= c->count || c->count > terms->most + 1)
            abort();
        if (c->ids < set->ids.data || c->ids + c->count > set->ids.data + set->ids.count)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qd_error err = { 0 };
    qd_task_set set = { 0 };
    qd_task_extent extent = { 0 };
    char path[512];
    size_t rows = 0;
    while (qd_eval_task_at(rows) != NULL)
        rows++;
    if (size < 1)
        return 0;
    const qd_eval_task *task = qd_eval_task_at((size_t)(data[0] - '0') % rows);
    qd_tokenizer *tokenizer = make_tokenizer();
    const qd_task_terms terms = { .tokenizer = tokenizer, .bos = 4, .most = 60 };
    fuzz_folder_put("lines", data + 1, size - 1);
    snprintf(path, sizeof path, "%s/lines", fuzz_folder_path());
    if (qd_task_set_read(task, path, &terms, &set, &err) == QD_OK) {
        check_set(&set, &terms);
        if (qd_task_extent_of(task, path, 0, &extent, &err) != QD_OK || extent.requests != set.request_count)
            abort();
    }
    qd_task_set_fini(&set);
    qd_tokenizer_destroy(tokenizer);
    return 0;
}
