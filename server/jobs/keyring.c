/* keyring.c: keys are made, listed and revoked; see keys.h. */
#include "jobs/keyring.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "jobs/audit.h"

static const char prefix[] = "qd_";
static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz"; /* 5 bits each */
enum { CHANCE_BYTES = 32 };                                      /* one a digit: 160 bits in all */

void qd_key_of_row(const qd_key_row *row, qd_key *out)
{
    *out = (qd_key){ .rate_per_minute = row->rate_per_minute,
                     .queue_quota = row->queue_quota,
                     .disk_quota_bytes = row->disk_quota,
                     .created_ms = row->created_ms,
                     .expires_ms = row->expires_ms,
                     .revoked_ms = row->revoked_ms,
                     .last_used_ms = row->last_used_ms };
    memcpy(out->id, row->id, sizeof out->id);
    snprintf(out->name, sizeof out->name, "%s", row->name);
    qd_scopes_parse(row->scopes, &out->scopes, NULL);
}

qd_code qd_keyring_create(qd_store *store, const qd_access_rules *rules, qd_keyring **out, qd_error *err)
{
    qd_keyring *k = NULL;
    qd_code code = qd_alloc(1, sizeof *k, (void **)&k, err);
    if (code != QD_OK)
        return code;
    k->store = store;
    k->lock_fd = -1;
    k->rules = *rules;
    pthread_mutex_init(&k->mutex, NULL);
    qd_idents_init(&k->idents, "");
    *out = k;
    return QD_OK;
}

/* While a service holds the folder its schema is left alone. Without one nobody may start in between. */
static qd_code hold_state(qd_keyring *k, const char *state_dir, qd_store_opening *out_how, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(state_dir, "quantd.lock");
    if (path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    k->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (k->lock_fd < 0)
        return qd_fail_errno(err, "open '%s'", path);
    if (flock(k->lock_fd, LOCK_EX | LOCK_NB) == 0)
        *out_how = QD_STORE_MIGRATED;
    else if (errno == EWOULDBLOCK)
        *out_how = QD_STORE_AS_IT_IS;
    else
        return qd_fail_errno(err, "lock '%s'", path);
    return QD_OK;
}

/* Files that root makes here would keep the service, which is another user, from starting. */
static qd_code give_to_owner(const char *state_dir, qd_error *err)
{
    static const char *const names[] = { "quantd.lock", "quantd.db", "quantd.db-wal", "quantd.db-shm",
                                         "quantd.ballast" };
    struct stat folder, file;
    QD_AUTO(qd_close_fd) int fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &folder) != 0)
        return qd_fail_errno(err, "'%s'", state_dir);
    for (size_t i = 0; geteuid() == 0 && i < QD_LENGTH(names); i++)
        if (fstatat(fd, names[i], &file, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(file.st_mode) && file.st_uid == 0 &&
            fchownat(fd, names[i], folder.st_uid, folder.st_gid, AT_SYMLINK_NOFOLLOW) != 0)
            return qd_fail_errno(err, "give '%s/%s' to the folder's owner", state_dir, names[i]);
    return QD_OK;
}

qd_code qd_keyring_open(const char *state_dir, qd_keyring **out, qd_error *err)
{
    static const qd_access_rules rules = { .auth = QD_AUTH_AUTO };
    qd_keyring *k = NULL;
    qd_store_opening how = QD_STORE_AS_IT_IS;
    qd_code code = qd_dir_make(state_dir, err);
    if (code == QD_OK)
        code = qd_keyring_create(NULL, &rules, &k, err);
    if (code != QD_OK)
        return code;
    code = hold_state(k, state_dir, &how, err);
    if (code == QD_OK)
        code = qd_store_open_as(state_dir, how, &k->owned, err);
    if (code == QD_OK)
        code = give_to_owner(state_dir, err);
    k->beside = how == QD_STORE_AS_IT_IS;
    k->store = k->owned;
    if (code != QD_OK) {
        qd_keyring_close(k);
        return code;
    }
    *out = k;
    return QD_OK;
}

void qd_keyring_close(qd_keyring *k)
{
    if (k == NULL)
        return;
    qd_store_close(k->owned);
    qd_close_fd(&k->lock_fd);
    qd_idents_fini(&k->idents);
    pthread_mutex_destroy(&k->mutex);
    free(k->entries);
    free(k);
}

static qd_code check_wish(const qd_key_wish *wish, qd_error *err)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-@";
    size_t length = wish->name == NULL ? 0 : strspn(wish->name, allowed);
    if (length == 0 || length >= QD_KEY_NAME_TEXT || wish->name[length] != '\0')
        return qd_fail(err, QD_EINVAL, "name: '%.120s' is not 1 to %d letters, digits and . _ - @",
                       wish->name == NULL ? "" : wish->name, (int)QD_KEY_NAME_TEXT - 1);
    if (wish->scopes == 0)
        return qd_scopes_parse("", &(unsigned){ 0 }, err);
    if (wish->lifetime_ms < 0)
        return qd_fail(err, QD_EINVAL, "expires: the time lies in the past");
    return QD_OK;
}

static qd_code make_text(char out[QD_KEY_TEXT], qd_error *err)
{
    unsigned char chance[CHANCE_BYTES];
    if (getrandom(chance, sizeof chance, 0) != (ssize_t)sizeof chance)
        return qd_fail_errno(err, "random bytes for a key");
    memcpy(out, prefix, sizeof prefix - 1);
    for (size_t i = 0; i < sizeof chance; i++)
        out[sizeof prefix - 1 + i] = digits[chance[i] & 31];
    out[QD_KEY_TEXT - 1] = '\0';
    explicit_bzero(chance, sizeof chance);
    return QD_OK;
}

static_assert(sizeof prefix + CHANCE_BYTES == QD_KEY_TEXT, "a key is its prefix and its chance");

typedef struct making {
    const qd_caller *caller;
    qd_key_row row;
} making;

static json_t *detail_of(const qd_key_row *row)
{
    return json_pack("{s:s, s:s}", "name", row->name, "scopes", row->scopes);
}

static qd_code insert(void *ctx, qd_tx *tx, qd_error *err)
{
    making *m = ctx;
    qd_code code = qd_key_row_insert(tx, &m->row, err);
    return code == QD_OK ? qd_audit_add_take(tx, m->caller, QD_AUDIT_KEY_CREATE, m->row.id, detail_of(&m->row), err)
                         : code;
}

static qd_code fill_row(qd_keyring *k, const qd_key_wish *wish, const char *text, qd_key_row *row, qd_error *err)
{
    row->created_ms = qd_clock_wall_ms();
    row->expires_ms = wish->lifetime_ms == 0 ? 0 : row->created_ms + wish->lifetime_ms;
    row->rate_per_minute = wish->rate_per_minute;
    row->queue_quota = wish->queue_quota;
    row->disk_quota = wish->disk_quota_bytes;
    snprintf(row->name, sizeof row->name, "%s", wish->name);
    qd_scopes_print(wish->scopes, row->scopes);
    qd_code code = qd_ident_make(&k->idents, row->id, err);
    return code == QD_OK ? qd_sha256(text, strlen(text), row->sha256, err) : code;
}

qd_code qd_keyring_make(qd_keyring *k, const qd_caller *caller, const qd_key_wish *wish, char out_text[QD_KEY_TEXT],
                        qd_key *out, qd_error *err)
{
    char text[QD_KEY_TEXT];
    making m = { .caller = caller };
    qd_code code = check_wish(wish, err);
    if (code == QD_OK)
        code = make_text(text, err);
    if (code == QD_OK)
        code = fill_row(k, wish, text, &m.row, err);
    if (code == QD_OK)
        code = qd_store_write(k->store, insert, &m, err);
    if (code != QD_OK)
        return code;
    qd_keyring_forget(k);
    qd_keyring_settle(k);
    memcpy(out_text, text, sizeof text);
    explicit_bzero(text, sizeof text);
    qd_key_of_row(&m.row, out);
    return QD_OK;
}

typedef struct revocation {
    const qd_caller *caller;
    const char *id_or_name;
} revocation;

static qd_code end_key(void *ctx, qd_tx *tx, qd_error *err)
{
    revocation *r = ctx;
    qd_key_row row;
    bool changed = false;
    qd_code code = qd_key_row_read(tx, r->id_or_name, &row, err);
    if (code == QD_OK)
        code = qd_key_row_revoke(tx, row.id, qd_clock_wall_ms(), &changed, err);
    return code == QD_OK && changed
               ? qd_audit_add_take(tx, r->caller, QD_AUDIT_KEY_REVOKE, row.id, detail_of(&row), err)
               : code;
}

qd_code qd_keyring_revoke(qd_keyring *k, const qd_caller *caller, const char *id_or_name, qd_error *err)
{
    revocation r = { .caller = caller, .id_or_name = id_or_name };
    qd_code code = qd_store_write(k->store, end_key, &r, err);
    qd_keyring_forget(k);
    if (code == QD_OK)
        qd_keyring_settle(k);
    return code;
}

typedef struct listing {
    qd_key *keys;
    size_t count, capacity;
} listing;

static qd_code add_key(void *ctx, const qd_key_row *row, qd_error *err)
{
    listing *l = ctx;
    qd_code code = qd_grow((void **)&l->keys, &l->capacity, l->count + 1, sizeof *l->keys, err);
    if (code == QD_OK)
        qd_key_of_row(row, &l->keys[l->count++]);
    return code;
}

static qd_code read_keys(void *ctx, qd_tx *tx, qd_error *err)
{
    return qd_key_row_each(tx, add_key, ctx, err);
}

qd_code qd_keyring_list(qd_keyring *k, qd_key **out, size_t *out_count, qd_error *err)
{
    listing l = { 0 };
    qd_code code = qd_store_read(k->store, read_keys, &l, err);
    if (code != QD_OK) {
        free(l.keys);
        return code;
    }
    *out = l.keys;
    *out_count = l.count;
    return QD_OK;
}
