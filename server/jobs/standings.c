/* standings.c: see standings.h. */
#include "jobs/standings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/retention_rows.h"

void qd_standings_fini(qd_standings *standings)
{
    free(standings->rows);
    *standings = (qd_standings){ 0 };
}

static qd_code add(void *ctx, const qd_finished_row *row, qd_error *err)
{
    qd_standings *s = ctx;
    qd_standing standing = { .finished_ms = row->finished_ms, .has_artifact = row->artifact_bytes > 0 };
    snprintf(standing.id, sizeof standing.id, "%s", row->id);
    qd_code code = qd_state_read(row->id, row->state, &standing.state, err);
    if (code == QD_OK)
        code = qd_grow((void **)&s->rows, &s->capacity, s->count + 1, sizeof *s->rows, err);
    if (code == QD_OK)
        s->rows[s->count++] = standing;
    return code;
}

static qd_code read_all(void *ctx, qd_tx *tx, qd_error *err)
{
    return qd_retention_each_job(tx, add, ctx, err);
}

qd_code qd_standings_read(qd_service *service, qd_standings *out, qd_error *err)
{
    QD_AUTO(qd_standings_fini) qd_standings standings = { 0 };
    qd_code code = qd_store_read(service->store, read_all, &standings, err);
    if (code != QD_OK)
        return code;
    *out = standings;
    standings = (qd_standings){ 0 };
    return QD_OK;
}

static int compare(const void *id, const void *row)
{
    return strcmp(id, ((const qd_standing *)row)->id);
}

const qd_standing *qd_standings_find(const qd_standings *s, const char *id)
{
    return s->count == 0 ? NULL : bsearch(id, s->rows, s->count, sizeof *s->rows, compare);
}
