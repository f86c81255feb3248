/* ids.c: the growing array of ids; see tokenizer.h. */
#include <stdlib.h>

#include "base/mem.h"
#include "text/tokenizer.h"

void qd_ids_fini(qd_ids *ids)
{
    free(ids->data);
    *ids = (qd_ids){ 0 };
}

qd_code qd_ids_add(qd_ids *ids, uint32_t id, qd_error *err)
{
    if (ids->count == ids->capacity) {
        qd_code code = qd_grow((void **)&ids->data, &ids->capacity, ids->count + 1, sizeof *ids->data, err);
        if (code != QD_OK)
            return code;
    }
    ids->data[ids->count++] = id;
    return QD_OK;
}

qd_code qd_ids_append(qd_ids *ids, const qd_ids *more, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < more->count; i++)
        code = qd_ids_add(ids, more->data[i], err);
    return code;
}
