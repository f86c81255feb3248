/* ident.c: see ident.h. */
#include "jobs/ident.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"

enum { LENGTH = QD_JOB_ID - 1, TIME_DIGITS = 10 };
static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

void qd_idents_init(qd_idents *idents, const char *newest)
{
    pthread_mutex_init(&idents->mutex, NULL);
    snprintf(idents->last, sizeof idents->last, "%s", newest);
}

void qd_idents_fini(qd_idents *idents)
{
    pthread_mutex_destroy(&idents->mutex);
}

static qd_code fresh(char out[QD_JOB_ID], qd_error *err)
{
    unsigned char chance[LENGTH - TIME_DIGITS];
    if (getrandom(chance, sizeof chance, 0) != (ssize_t)sizeof chance)
        return qd_fail_errno(err, "random bytes for a job id");
    uint64_t now = (uint64_t)qd_clock_wall_ms();
    for (int i = TIME_DIGITS - 1; i >= 0; i--, now >>= 5)
        out[i] = digits[now & 31];
    for (int i = TIME_DIGITS; i < LENGTH; i++)
        out[i] = digits[chance[i - TIME_DIGITS] & 31];
    out[LENGTH] = '\0';
    return QD_OK;
}

/* The next larger id. */
static void increment(char id[QD_JOB_ID])
{
    for (int i = LENGTH - 1; i >= 0; i--) {
        const char *at = strchr(digits, id[i]);
        if (at != NULL && at[1] != '\0') {
            id[i] = at[1];
            return;
        }
        id[i] = digits[0];
    }
}

qd_code qd_ident_make(qd_idents *idents, char out[QD_JOB_ID], qd_error *err)
{
    char id[QD_JOB_ID];
    qd_code code = fresh(id, err);
    if (code != QD_OK)
        return code;
    pthread_mutex_lock(&idents->mutex);
    if (strcmp(id, idents->last) <= 0) {
        memcpy(id, idents->last, sizeof id);
        increment(id);
    }
    memcpy(idents->last, id, sizeof id);
    pthread_mutex_unlock(&idents->mutex);
    memcpy(out, id, sizeof id);
    return QD_OK;
}

bool qd_ident_ok(const char *text)
{
    return strlen(text) == LENGTH && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789") == LENGTH;
}
