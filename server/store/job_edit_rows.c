/* job_edit_rows.c: see job_edit_rows.h. */
#include "store/job_edit_rows.h"

#include "store/sql.h"

static qd_code set_columns(qd_tx *tx, const qd_job_edit *edit, qd_error *err)
{
    const char *const texts[] = { edit->id, edit->name, edit->tags, edit->recipe };
    qd_query query = { 0 };
    qd_code code = qd_query_open(tx, &query,
                                 "UPDATE job SET name = ?2, tags = ?3, recipe = ?4, priority = ?5, "
                                 "version = version + 1 WHERE id = ?1",
                                 err);
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(texts); i++)
        qd_query_text(&query, (int)i + 1, texts[i]);
    if (code == QD_OK) {
        qd_query_number(&query, QD_LENGTH(texts) + 1, edit->priority);
        code = qd_query_run(&query, err);
    }
    qd_query_close(&query);
    return code;
}

qd_code qd_job_row_edit(qd_tx *tx, const qd_job_edit *edit, qd_error *err)
{
    const char *const tags[] = { edit->id, edit->tags };
    qd_code code = set_columns(tx, edit, err);
    if (code == QD_OK)
        code = qd_query_run_texts(tx, "DELETE FROM tag WHERE job = ?1", tags, 1, err);
    return code == QD_OK
               ? qd_query_run_texts(tx, "INSERT INTO tag (job, key, value) SELECT ?1, key, value FROM json_each(?2)",
                                    tags, 2, err)
               : code;
}
