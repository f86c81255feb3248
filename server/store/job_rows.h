/* job_rows.h: rows of table job.
 * Room: server/store. May use: base, SQLite. State words and JSON texts come from above and go back as they are.
 * Threads: inside a change or view of store.h. */
#ifndef QD_STORE_JOB_ROWS_H
#define QD_STORE_JOB_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

enum { QD_ID_SIZE = 27, QD_REQUEST_ID_SIZE = 64 };

/* Texts are owned by the row; NULL where the column is NULL. */
typedef struct qd_job_row {
    char id[QD_ID_SIZE];
    char state[16];
    char request_id[QD_REQUEST_ID_SIZE]; /* that queued it */
    char owner[QD_ID_SIZE];              /* api_key.id, or "" */
    char *name, *tags, *request, *recipe, *resolved, *progress, *result, *problem, *secret;
    char *forecast;
    unsigned priority;
    int64_t created_ms, started_ms, finished_ms;
    unsigned attempt, resumed, crashes, deaths;
    uint64_t version, last_event;
} qd_job_row;
void qd_job_row_fini(qd_job_row *row);

/* state, owner, texts, priority and created_ms of `row` (not forecast); the tags are also made findable. */
qd_code qd_job_row_insert(qd_tx *tx, const qd_job_row *row, qd_error *err);
qd_code qd_job_row_read(qd_tx *tx, const char *id, qd_job_row *out, qd_error *err); /* QD_ENOTFOUND names the id */
/* With its events, layers and artifact rows. */
qd_code qd_job_row_delete(qd_tx *tx, const char *id, qd_error *err);

/* The job whose turn it is goes from `from` (queued) to `to` with a new attempt; QD_ENOTFOUND when there is none. The highest priority first; of
 * its jobs, one of the owner who has the fewest under way, then of the one who was served least recently; of that owner's, the oldest. */
qd_code qd_job_row_claim(qd_tx *tx, const char *from, const char *to, int64_t now_ms, qd_job_row *out, qd_error *err);

/* Compare and set: QD_ECONFLICT unless the job is in state `from` at `attempt`. */
qd_code qd_job_row_move(qd_tx *tx, const char *id, unsigned attempt, const char *from, const char *to, qd_error *err);
/* QD_ECONFLICT unless the job is in state `state` at `attempt`: the fence before rows that belong to a run. */
qd_code qd_job_row_fence(qd_tx *tx, const char *id, unsigned attempt, const char *state, qd_error *err);

/* The rest of a move; no fence of their own. NULL = SQL NULL. */
qd_code qd_job_row_finish(qd_tx *tx, const char *id, const char *result, const char *problem, int64_t now_ms,
                          qd_error *err);
qd_code qd_job_row_set_progress(qd_tx *tx, const char *id, const char *progress, qd_error *err);
qd_code qd_job_row_set_resolved(qd_tx *tx, const char *id, const char *resolved, qd_error *err);
qd_code qd_job_row_set_forecast(qd_tx *tx, const char *id, const char *forecast, qd_error *err);
/* Of the newest `limit` jobs in a state that went through in one run: seconds that it took over those of its forecast, taken without its factor; and
 * result.pace, JSON text ("null" where there is none). */
qd_code qd_job_row_forecasts(qd_tx *tx, const char *state, size_t limit,
                             void (*take)(void *ctx, double ratio, const char *pace), void *ctx, qd_error *err);
/* In a row, without a layer between; one more than 0 is a death more in all. */
qd_code qd_job_row_set_crashes(qd_tx *tx, const char *id, unsigned crashes, qd_error *err);
qd_code qd_job_row_add_resumed(qd_tx *tx, const char *id, qd_error *err);
qd_code qd_job_row_set_request_id(qd_tx *tx, const char *id, const char *request_id, qd_error *err);
qd_code qd_job_row_forget_secret(qd_tx *tx, const char *id, qd_error *err);
/* A finished job as if it were new: no times, crashes, progress, result, problem. recipe, resolved: new texts. */
qd_code qd_job_row_renew(qd_tx *tx, const char *id, const char *recipe, const char *resolved, qd_error *err);

/* NULL (times: 0) = not asked. */
typedef struct qd_job_search {
    const char *state;                          /* one */
    const char *states;                         /* JSON: ["queued",..]; not beside `state` */
    const char *tags;                           /* JSON: [["key","value" or null],..]: all of them */
    const char *name;                           /* a part of the name */
    const char *words;                          /* a part of name, model URL, or a tag; the beginning of the id */
    int64_t created_from_ms, created_before_ms; /* from (included) to (excluded) */
    const char *before;                         /* ids below this one */
    size_t limit;
} qd_job_search;
/* Newest first; the row is taken over by `take` (called for each; a failure ends the walk). */
qd_code qd_job_row_search(qd_tx *tx, const qd_job_search *search,
                          qd_code (*take)(void *ctx, qd_job_row *row, qd_error *err), void *ctx, qd_error *err);

/* One call a state that has jobs. */
qd_code qd_job_row_count(qd_tx *tx, void (*count)(void *ctx, const char *state, size_t jobs), void *ctx, qd_error *err);
/* Jobs in one state. */
qd_code qd_job_row_count_state(qd_tx *tx, const char *state, size_t *out, qd_error *err);
/* The same of one owner. */
qd_code qd_job_row_count_owner(qd_tx *tx, const char *owner, const char *state, size_t *out, qd_error *err);
/* Ids and attempts of the jobs in a state, oldest first. */
qd_code qd_job_row_each(qd_tx *tx, const char *state,
                        qd_code (*visit)(void *ctx, const char *id, unsigned attempt, qd_error *err), void *ctx,
                        qd_error *err);
/* "" when there is no job at all. */
qd_code qd_job_row_newest_id(qd_tx *tx, char out[QD_ID_SIZE], qd_error *err);

#endif
