/* artifact_upload.c: the files of a job's artifact to the folder that its recipe names, the manifest last, so that who sees it
 * sees everything; see delivery.h. What an earlier try brought over is not sent again. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "jobs/delivery.h"
#include "jobs/record.h"
#include "jobs/service_private.h"

typedef struct file {
    char *path, *parts;
    uint64_t size;
    int64_t finished_ms;
} file;

typedef struct upload {
    qd_service *service;
    const qd_delivery_row *row;
    file *files;
    size_t count, capacity;
    const file *now; /* the file at hand */
    uint64_t done, total;
} upload;

static void clear_files(upload *u)
{
    for (size_t i = 0; i < u->count; i++) {
        free(u->files[i].path);
        free(u->files[i].parts);
    }
    free(u->files);
    u->files = NULL;
    u->count = u->capacity = 0;
}

static qd_code take_file(void *ctx, const qd_delivery_file *found, qd_error *err)
{
    upload *u = ctx;
    qd_code code = qd_grow((void **)&u->files, &u->capacity, u->count + 1, sizeof *u->files, err);
    if (code != QD_OK)
        return code;
    file *f = &u->files[u->count++];
    *f = (file){ .size = found->size, .finished_ms = found->finished_ms };
    code = qd_dup(found->path, &f->path, err);
    if (code == QD_OK)
        code = qd_dup(found->parts, &f->parts, err);
    u->total += found->size;
    u->done += found->finished_ms != 0 ? found->size : 0;
    return code;
}

static qd_code read_files(void *ctx, qd_tx *tx, qd_error *err)
{
    upload *u = ctx;
    return qd_delivery_file_each(tx, u->row->id, take_file, u, err);
}

/* ---- what is noted on the way ---- */

typedef struct note {
    const upload *upload;
    const char *parts;
    int64_t finished_ms;
    uint64_t last_event;
} note;

static qd_code write_note(void *ctx, qd_tx *tx, qd_error *err)
{
    note *n = ctx;
    const upload *u = n->upload;
    qd_code code = qd_delivery_file_put(tx, u->row->id, u->now->path, n->parts, n->finished_ms, err);
    if (code != QD_OK || n->finished_ms == 0)
        return code;
    QD_AUTO(qd_json_fini)
    json_t *data = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "delivery", u->row->id, "kind", u->row->kind, "state",
                             qd_delivery_pending, "file", u->now->path, "done", (json_int_t)u->done, "total",
                             (json_int_t)u->total);
    return qd_record_event(tx, u->row->job, "delivery", data, &n->last_event, err);
}

static qd_code note_parts(void *ctx, const char *parts, qd_error *err)
{
    const upload *u = ctx;
    note n = { .upload = u, .parts = parts };
    return qd_store_write(u->service->store, write_note, &n, err);
}

static qd_code note_finished(upload *u, qd_error *err)
{
    note n = { .upload = u, .parts = "", .finished_ms = qd_clock_wall_ms() };
    u->done += u->now->size;
    qd_code code = qd_store_write(u->service->store, write_note, &n, err);
    if (code == QD_OK)
        qd_bell_ring(u->service->bell, u->row->job, n.last_event);
    return code;
}

/* ---- files ---- */

static qd_code send_file(upload *u, const qd_cancel *cancel, qd_sent *sent, qd_error *err)
{
    QD_AUTO(qd_close_fd) int fd = -1;
    char sha256[QD_DIGEST_HEX];
    uint64_t size = 0;
    qd_code code = qd_service_artifact_open(u->service, u->row->job, u->now->path, &fd, &size, sha256, err);
    if (code == QD_ENOTFOUND || code == QD_EGONE) { /* retention or an operator took it away */
        sent->outlook = QD_SENT_NEVER;
        return qd_within(err, QD_EIO, "the artifact is no longer here");
    }
    if (code != QD_OK) /* a database or a system without a free descriptor: another try may find it well */
        return code;
    const qd_upload wish = { .url = u->row->url,
                             .name = u->now->path,
                             .fd = fd,
                             .size = size,
                             .sha256 = sha256,
                             .stale = u->now->parts,
                             .note = note_parts,
                             .ctx = u };
    code = qd_fetch_upload(u->service->fetcher, &wish, cancel, sent, err);
    if (code != QD_OK)
        return code;
    pthread_mutex_lock(&u->service->mutex);
    u->service->tally.uploaded_bytes += sent->bytes;
    pthread_mutex_unlock(&u->service->mutex);
    return note_finished(u, err);
}

qd_code qd_carry_upload(qd_service *service, const qd_delivery_row *row, const qd_cancel *cancel, qd_sent *sent,
                        qd_error *err)
{
    QD_AUTO(clear_files) upload u = { .service = service, .row = row };
    *sent = (qd_sent){ .retry_after = -1 };
    qd_code code = qd_store_read(service->store, read_files, &u, err);
    if (code == QD_OK && u.count == 0) {
        sent->outlook = QD_SENT_NEVER;
        code = qd_fail(err, QD_EIO, "the artifact is no longer here");
    }
    for (size_t i = 0; code == QD_OK && i < u.count; i++) {
        u.now = &u.files[i];
        if (u.now->finished_ms == 0)
            code = send_file(&u, cancel, sent, err);
    }
    return code;
}
