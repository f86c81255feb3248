/* caller.h: who asks: the key that was shown, from where, and under which request.
 * Room: server/jobs. May use: base, store.
 * Threads: a value; read-only once made.
 * Source: api.md "Who may". */
#ifndef QD_JOBS_CALLER_H
#define QD_JOBS_CALLER_H

#include <stdbool.h>

#include "jobs/ident.h"

/* What a key allows; a set of bits. Rows with their words ("jobs:read") are in caller.c. */
typedef enum qd_scope_bit {
    QD_SCOPE_NONE = 0,
    QD_SCOPE_JOBS_READ = 1,
    QD_SCOPE_JOBS_WRITE = 2,
    QD_SCOPE_ARTIFACTS_READ = 4,
    QD_SCOPE_ADMIN = 8, /* all of them, and keys, audit */
} qd_scope_bit;
/* "jobs:read", ...; NULL past the end. */
const char *qd_scope_bit_name(size_t index);
qd_scope_bit qd_scope_bit_at(size_t index);
/* QD_SCOPE_NONE for an unknown word. */
qd_scope_bit qd_scope_bit_find(const char *name);
enum { QD_SCOPES_TEXT = 64 };
/* The words of a set, with a space between; "" for none. */
void qd_scopes_print(unsigned scopes, char out[QD_SCOPES_TEXT]);
/* Words with spaces or commas between. QD_EINVAL names a word that is none, or that none was given. */
qd_code qd_scopes_parse(const char *text, unsigned *out, qd_error *err);

enum { QD_CALLER_ADDRESS = 48, QD_CALLER_REQUEST = 25 };

typedef struct qd_caller {
    char key_id[QD_JOB_ID]; /* api_key.id; "" = nobody had to show a key */
    unsigned scopes;        /* qd_scope_bit */
    char address[QD_CALLER_ADDRESS];
    char request_id[QD_CALLER_REQUEST];
} qd_caller;
/* The service itself (recovery, retention) and tests: every scope, no key. */
qd_caller qd_caller_own(void);
bool qd_caller_may(const qd_caller *caller, qd_scope_bit scope);

#endif
