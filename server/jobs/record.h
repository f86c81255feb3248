/* record.h: one change of a job and the events it makes, as one transaction.
 * Room: server/jobs, private to it. May use: base, store.
 * Threads: any. */
#ifndef QD_JOBS_RECORD_H
#define QD_JOBS_RECORD_H

#include <jansson.h>

#include "jobs/service.h"
#include "jobs/state.h"
#include "store/layer_rows.h"

typedef struct qd_record_file {
    char *path;
    uint64_t size;
    char sha256[QD_DIGEST_HEX];
} qd_record_file;

/* Zero means "leave it"; `from` and `attempt` are the fence: QD_ECONFLICT when the job is elsewhere. */
typedef struct qd_record {
    const char *id;
    unsigned attempt;
    qd_state_id from, to; /* the same: the state stays */
    const char *type;     /* an event before that of the state, or NULL */
    const json_t *data;   /* of that event */
    const json_t *progress, *resolved, *forecast;
    const json_t *layer; /* a layer's record: no event when it was there already */
    uint64_t layer_number;
    const char *layer_name;
    enum { QD_CRASHES_LEAVE, QD_CRASHES_CLEAR, QD_CRASHES_SET } crash_rule;
    unsigned crashes;
    enum { QD_RECORD_GO_ON, QD_RECORD_RESUME, QD_RECORD_FINISH } ending; /* resume: one more in `resumed` */
    const json_t *result, *problem;                                      /* of QD_RECORD_FINISH */
    const qd_record_file *files;
    size_t file_count;
    /* outputs */
    uint64_t last_event; /* 0 = no event */
    qd_layer_put put;
} qd_record;

/* Commits, then rings. */
qd_code qd_record_commit(qd_service *service, qd_record *record, qd_error *err);

/* Adds an event of `type` with JSON data, inside a transaction. */
qd_code qd_record_event(qd_tx *tx, const char *id, const char *type, const json_t *data, uint64_t *out_id,
                        qd_error *err);
/* The event of a change of state. */
qd_code qd_record_state_event(qd_tx *tx, const char *id, qd_state_id state, uint64_t *out_id, qd_error *err);

#endif
