/* verb_key.c: quantd key create|list|revoke: the API keys of a state folder, also while its service runs. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/verb.h"
#include "config/config.h"
#include "jobs/keys.h"

extern char **environ;

#define STATE_OPTIONS \
    { "state", "DIR", "as serve", "state folder of the service" }, \
    { \
        "config", "FILE", NULL, "configuration file of the service, which names its state folder" \
    }

enum { CREATE_STATE, CREATE_CONFIG, NAME, SCOPES, EXPIRES, RATE, QUEUE_QUOTA, DISK_QUOTA };
static const qd_verb_option create_options[] = {
    STATE_OPTIONS,
    { "name", "NAME", NULL, "who or what the key is for; required" },
    { "scopes", "LIST", NULL, "of jobs:read, jobs:write, artifacts:read, admin, with commas between; required" },
    { "expires", "TIME", "never", "after so long it lets nobody in (suffix s, m, h, d)" },
    { "rate", "N", "rate-limit of serve", "requests a minute" },
    { "queue-quota", "N", "queue-quota of serve", "unfinished jobs" },
    { "disk-quota", "BYTES", "disk-quota of serve", "artifacts (suffix K, M, G, T)" },
    { NULL, NULL, NULL, NULL },
};
static const qd_verb_option other_options[] = { STATE_OPTIONS, { NULL, NULL, NULL, NULL } };

/* The folder as serve finds it: default, file, environment, flag. */
static qd_code open_keyring(const qd_arguments *arguments, qd_keyring **out, qd_error *err)
{
    static const char *const flags[] = { "--state", "--config" };
    char *argv[6] = { (char[]){ "key" } };
    int argc = 1;
    QD_AUTO(qd_config_fini) qd_config config = { 0 };
    for (size_t i = 0; i < QD_LENGTH(flags); i++)
        if (arguments->values[i] != NULL) {
            argv[argc++] = (char *)(uintptr_t)flags[i];
            argv[argc++] = (char *)(uintptr_t)arguments->values[i];
        }
    qd_code code = qd_config_read(argc, argv, (const char *const *)environ, &config, err);
    return code == QD_OK ? qd_keyring_open(config.state, out, err) : code;
}

static void keyring_fini(qd_keyring **keyring)
{
    qd_keyring_close(*keyring);
}

/* The one at the terminal: every scope, and no key. */
static qd_caller operator_here(void)
{
    qd_caller caller = qd_caller_own();
    snprintf(caller.address, sizeof caller.address, "command line, uid %u", (unsigned)getuid());
    return caller;
}

static qd_code read_wish(const qd_arguments *arguments, qd_key_wish *out, qd_error *err)
{
    static const char *const required[] = { [NAME] = "name", [SCOPES] = "scopes" };
    uint64_t seconds = 0;
    for (size_t i = NAME; i <= SCOPES; i++)
        if (arguments->values[i] == NULL)
            return qd_fail(err, QD_EINVAL, "--%s is wanted; see quantd key create --help", required[i]);
    out->name = arguments->values[NAME];
    qd_code code = qd_scopes_parse(arguments->values[SCOPES], &out->scopes, err);
    if (code == QD_OK)
        code = qd_config_duration("--expires", arguments->values[EXPIRES], &seconds, err);
    if (code == QD_OK && arguments->values[EXPIRES] != NULL && seconds == 0)
        code = qd_fail(err, QD_EINVAL, "--expires: a key that has expired already lets nobody in");
    out->lifetime_ms = (int64_t)seconds * 1000;
    if (code == QD_OK)
        code = qd_argument_number(&create_options[RATE], arguments->values[RATE], 0, &out->rate_per_minute, err);
    if (code == QD_OK)
        code =
            qd_argument_number(&create_options[QUEUE_QUOTA], arguments->values[QUEUE_QUOTA], 0, &out->queue_quota, err);
    return code == QD_OK ? qd_config_bytes("--disk-quota", arguments->values[DISK_QUOTA], &out->disk_quota_bytes, err)
                         : code;
}

static int run_create(const qd_arguments *arguments)
{
    QD_AUTO(keyring_fini) qd_keyring *keyring = NULL;
    const qd_caller caller = operator_here();
    char text[QD_KEY_TEXT];
    qd_key_wish wish = { 0 };
    qd_key key;
    qd_error err = { 0 };
    qd_code code = read_wish(arguments, &wish, &err);
    if (code == QD_OK)
        code = open_keyring(arguments, &keyring, &err);
    if (code == QD_OK)
        code = qd_keyring_make(keyring, &caller, &wish, text, &key, &err);
    if (code != QD_OK)
        return qd_verb_fail(code, &err);
    fprintf(stderr, "key '%s' (%s); it is shown this once:\n", key.name, key.id);
    printf("%s\n", text);
    explicit_bzero(text, sizeof text);
    return QD_EXIT_OK;
}

static void print_time(int64_t ms, const char *none, char out[QD_TIME_TEXT])
{
    if (ms == 0)
        snprintf(out, QD_TIME_TEXT, "%s", none);
    else
        qd_clock_format(ms, out);
}

static const char *state_of(const qd_key *key)
{
    bool expired = key->expires_ms != 0 && key->expires_ms <= qd_clock_wall_ms();
    return key->revoked_ms != 0 ? "revoked" : expired ? "expired" : "valid";
}

static void print_key(const qd_key *key)
{
    char scopes[QD_SCOPES_TEXT], created[QD_TIME_TEXT], expires[QD_TIME_TEXT], used[QD_TIME_TEXT];
    qd_scopes_print(key->scopes, scopes);
    print_time(key->created_ms, "-", created);
    print_time(key->expires_ms, "never", expires);
    print_time(key->last_used_ms, "never", used);
    printf("%-20s  %-8s  %s  created %s  expires %s  used %s  %s\n", key->name, state_of(key), key->id, created,
           expires, used, scopes);
}

static int run_list(const qd_arguments *arguments)
{
    QD_AUTO(keyring_fini) qd_keyring *keyring = NULL;
    QD_AUTO(qd_free_pointer) qd_key *keys = NULL;
    size_t count = 0;
    qd_error err = { 0 };
    qd_code code = open_keyring(arguments, &keyring, &err);
    if (code == QD_OK)
        code = qd_keyring_list(keyring, &keys, &count, &err);
    if (code != QD_OK)
        return qd_verb_fail(code, &err);
    for (size_t i = 0; i < count; i++)
        print_key(&keys[i]);
    return QD_EXIT_OK;
}

static int run_revoke(const qd_arguments *arguments)
{
    QD_AUTO(keyring_fini) qd_keyring *keyring = NULL;
    const qd_caller caller = operator_here();
    qd_error err = { 0 };
    qd_code code = open_keyring(arguments, &keyring, &err);
    if (code == QD_OK)
        code = qd_keyring_revoke(keyring, &caller, arguments->operands[0], &err);
    return code == QD_OK ? QD_EXIT_OK : qd_verb_fail(code, &err);
}

static const qd_verb word_create = {
    .name = "key create",
    .summary = "makes an API key and prints it, this once; from the first key on the service asks for one",
    .operands = "",
    .options = create_options,
    .notes = "Run it as the user of the service. The running service knows the key at once.",
    .run = run_create,
};

static const qd_verb word_list = {
    .name = "key list",
    .summary = "the API keys, without their texts",
    .operands = "",
    .options = other_options,
    .run = run_list,
};

static const qd_verb word_revoke = {
    .name = "key revoke",
    .summary = "ends an API key, by name or id; the running service refuses it within a second",
    .operands = "NAME",
    .operand_count = 1,
    .options = other_options,
    .run = run_revoke,
};

static const qd_verb *const words[] = { &word_create, &word_list, &word_revoke, NULL };

const qd_verb qd_verb_key = {
    .name = "key",
    .summary = "API keys: create, list, revoke",
    .operands = "create|list|revoke",
    .words = words,
};
