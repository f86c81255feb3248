/* caller.c: see caller.h. */
#include "jobs/caller.h"

#include <stdio.h>
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

void qd_scopes_print(unsigned scopes, char out[QD_SCOPES_TEXT])
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < QD_LENGTH(rows); i++)
        if ((scopes & (unsigned)rows[i].bit) != 0)
            used += (size_t)snprintf(out + used, QD_SCOPES_TEXT - used, "%s%s", used > 0 ? " " : "", rows[i].name);
}

qd_code qd_scopes_parse(const char *text, unsigned *out, qd_error *err)
{
    static const char allowed[] = "jobs:read, jobs:write, artifacts:read and admin are allowed";
    unsigned scopes = 0;
    while (*(text += strspn(text, " ,")) != '\0') {
        size_t length = strcspn(text, " ,");
        char word[32];
        snprintf(word, sizeof word, "%.*s", (int)length, text);
        qd_scope_bit bit = length < sizeof word ? qd_scope_bit_find(word) : QD_SCOPE_NONE;
        if (bit == QD_SCOPE_NONE)
            return qd_fail(err, QD_EINVAL, "scopes: '%.60s' is none; %s", word, allowed);
        scopes |= (unsigned)bit;
        text += length;
    }
    if (scopes == 0)
        return qd_fail(err, QD_EINVAL, "scopes: none is given; %s", allowed);
    *out = scopes;
    return QD_OK;
}

qd_caller qd_caller_own(void)
{
    return (qd_caller){ .scopes = QD_SCOPE_ADMIN, .address = "service" };
}

bool qd_caller_may(const qd_caller *caller, qd_scope_bit scope)
{
    return scope == QD_SCOPE_NONE || (caller->scopes & ((unsigned)scope | QD_SCOPE_ADMIN)) != 0;
}
