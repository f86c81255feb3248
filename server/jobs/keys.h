/* keys.h: API keys: made, listed, revoked; and who may come in with one, how often.
 * Room: server/jobs. May use: base, store.
 * Threads: every function may be called from any thread.
 *
 * A key's text is shown once, when it is made; only its SHA-256 is kept. It holds 160 bits of chance, so that the digest needs
 * no salt and no slow hash. A keyring works on a state folder beside a running service, which knows what was changed when the call that did it
 * returns.
 * Source: api.md "Who may"; server.md §8. */
#ifndef QD_JOBS_KEYS_H
#define QD_JOBS_KEYS_H

#include "jobs/service.h"

enum {
    QD_KEY_TEXT = 36,       /* "qd_", 32 characters, NUL */
    QD_KEY_NAME_TEXT = 101, /* a name and its NUL */
};

/* Limits of 0: the service's own. */
typedef struct qd_key {
    char id[QD_JOB_ID];
    char name[QD_KEY_NAME_TEXT];
    unsigned scopes; /* qd_scope_bit */
    uint64_t rate_per_minute, queue_quota, disk_quota_bytes;
    int64_t created_ms, expires_ms, revoked_ms, last_used_ms; /* 0 = never */
} qd_key;

typedef struct qd_key_wish {
    const char *name; /* 1..100 of letters, digits and . _ - @ */
    unsigned scopes;
    uint64_t rate_per_minute, queue_quota, disk_quota_bytes;
    int64_t lifetime_ms; /* 0 = for ever */
} qd_key_wish;

typedef struct qd_keyring qd_keyring;
/* The keys of a state folder, which is made if it is not there. QD_ECONFLICT when a running service has another schema. */
qd_code qd_keyring_open(const char *state_dir, qd_keyring **out, qd_error *err);
void qd_keyring_close(qd_keyring *keyring); /* NULL is fine */
/* The running service's; not to be closed. */
qd_keyring *qd_service_keyring(qd_service *service);

/* QD_EINVAL names what is wrong with the wish; QD_ECONFLICT: the name is taken. */
qd_code qd_keyring_make(qd_keyring *keyring, const qd_caller *caller, const qd_key_wish *wish,
                        char out_text[QD_KEY_TEXT], qd_key *out, qd_error *err);
/* By id or name; QD_ENOTFOUND. One that was revoked before stays as it is. */
qd_code qd_keyring_revoke(qd_keyring *keyring, const qd_caller *caller, const char *id_or_name, qd_error *err);
/* Oldest first, revoked ones too; *out is a heap array. */
qd_code qd_keyring_list(qd_keyring *keyring, qd_key **out, size_t *out_count, qd_error *err);

/* Must a key be shown? By the rules, and with QD_AUTH_AUTO by whether any was ever made. */
qd_code qd_keyring_asks(qd_keyring *keyring, bool *out, qd_error *err);
/* Fills key_id and scopes of *caller. QD_EDENIED says why not: unknown, revoked, expired. The text itself is in no message. */
qd_code qd_keyring_admit(qd_keyring *keyring, const char *text, qd_caller *caller, qd_error *err);
/* The same for a session that showed the key before. */
qd_code qd_keyring_admit_id(qd_keyring *keyring, const char *id, qd_caller *caller, qd_error *err);
/* One request of the caller's key. QD_EBUSY: its rate is used up; *out_seconds until the next may come. */
qd_code qd_keyring_turn(qd_keyring *keyring, const qd_caller *caller, double *out_seconds, qd_error *err);

/* Audit rows of logins. */
qd_code qd_keyring_logged_in(qd_keyring *keyring, const qd_caller *caller, qd_error *err);
qd_code qd_keyring_logged_out(qd_keyring *keyring, const qd_caller *caller, qd_error *err);

/* The audit: [{"id","time","key","address","request_id","action","target","detail"}] with id > after, oldest first. */
typedef struct qd_audit_filter {
    uint64_t after;
    const char *action, *target; /* or NULL */
    size_t limit;                /* at least 1 */
} qd_audit_filter;
qd_code qd_keyring_audit(qd_keyring *keyring, const qd_audit_filter *filter, json_t **out, qd_error *err);
/* "job.create", ...; NULL past the end. */
const char *qd_audit_word(size_t index);

#endif
