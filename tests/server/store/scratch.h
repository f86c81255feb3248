/* scratch.h: a folder that goes away, and jobs to put into a store. */
#ifndef QD_TESTS_STORE_SCRATCH_H
#define QD_TESTS_STORE_SCRATCH_H

#include "check.h"
#include "folder.h"

#include "base/file.h"
#include "store/job_rows.h"
#include "store/store.h"

typedef struct scratch {
    char dir[256];
    qd_store *store;
} scratch;

static inline void make_scratch(scratch *s)
{
    temporary_folder(s->dir, sizeof s->dir);
    s->store = NULL;
}

static inline void open_scratch(scratch *s)
{
    qd_error err = { 0 };
    make_scratch(s);
    check_ok(qd_store_open(s->dir, &s->store, &err));
}

static inline void drop_scratch(scratch *s)
{
    qd_store_close(s->store);
    s->store = NULL;
    remove_folder(s->dir);
}

/* The id of job `number`: 26 characters that sort as the numbers do. */
static inline void make_id(unsigned number, char out[QD_ID_SIZE])
{
    snprintf(out, QD_ID_SIZE, "0000000000%016u", number);
}

static inline qd_code insert_numbered(void *ctx, qd_tx *tx, qd_error *err)
{
    const unsigned *number = ctx;
    char json[] = "{}", tags[] = "{\"team\":\"a\"}";
    qd_job_row row = {
        .state = "queued", .tags = tags, .request = json, .recipe = json, .resolved = json, .created_ms = 1
    };
    make_id(*number, row.id);
    return qd_job_row_insert(tx, &row, err);
}

static inline void add_job(qd_store *store, unsigned number)
{
    qd_error err = { 0 };
    check_ok(qd_store_write(store, insert_numbered, &number, &err));
}

typedef struct count_query {
    const char *state;
    size_t count;
} count_query;

static inline qd_code count_view(void *ctx, qd_tx *tx, qd_error *err)
{
    count_query *q = ctx;
    return qd_job_row_count_state(tx, q->state, &q->count, err);
}

static inline size_t count_jobs(qd_store *store, const char *state)
{
    qd_error err = { 0 };
    count_query q = { .state = state };
    check_ok(qd_store_read(store, count_view, &q, &err));
    return q.count;
}

#endif
