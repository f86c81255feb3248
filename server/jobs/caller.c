/* caller.c: see caller.h. */
#include "jobs/caller.h"

#include <string.h>

#include "base/auto.h"

static const struct scope_row {
    const char *name;
    qd_scope_bit bit;
} rows[] = {
    { "jobs:read", QD_SCOPE_JOBS_READ },
    { "jobs:write", QD_SCOPE_JOBS_WRITE },
    { "artifacts:read", QD_SCOPE_ARTIFACTS_READ },
    { "admin", QD_SCOPE_ADMIN },
};

const char *qd_scope_bit_name(size_t index)
{
    return index < QD_LENGTH(rows) ? rows[index].name : NULL;
}

qd_scope_bit qd_scope_bit_at(size_t index)
{
    return index < QD_LENGTH(rows) ? rows[index].bit : QD_SCOPE_NONE;
}

qd_scope_bit qd_scope_bit_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(rows); i++)
        if (strcmp(rows[i].name, name) == 0)
            return rows[i].bit;
    return QD_SCOPE_NONE;
}

qd_caller qd_caller_own(void)
{
    return (qd_caller){ .scopes = QD_SCOPE_ADMIN, .address = "service" };
}

bool qd_caller_may(const qd_caller *caller, qd_scope_bit scope)
{
    return scope == QD_SCOPE_NONE || (caller->scopes & ((unsigned)scope | QD_SCOPE_ADMIN)) != 0;
}
