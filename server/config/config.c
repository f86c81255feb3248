/* config.c: see config.h. */
#include "config/config.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/pool.h"

typedef enum option_kind { TEXT, NUMBER, BYTES, DURATION, LIST, WORDS, SWITCH, CHOICE } option_kind;

typedef struct option {
    const char *name;
    option_kind kind;
    size_t offset;        /* of the field in qd_config */
    const char *fallback; /* NULL = none */
    uint64_t min, max;    /* NUMBER, BYTES, DURATION (seconds) */
    const char *const *choices;
    const char *argument, *help;
} option;

static const char *const levels[] = { "debug", "info", "warn", "error", NULL };
static const char *const formats[] = { "text", "json", NULL };
static const char *const auths[] = { "auto", "keys", "none", NULL };
static const char *const confines[] = { "auto", "require", "off", NULL };

/* Ten years: beyond it somebody meant "for ever". */
static const uint64_t age_max = 3650ull * 24 * 3600;

#define FIELD(name) offsetof(qd_config, name)
static const option options[] = {
    { "listen", TEXT, FIELD(listen), "127.0.0.1:8080", 0, 0, NULL, "HOST:PORT",
      "address to serve on; port 0 picks one and prints it" },
    { "host", LIST, FIELD(host), NULL, 0, 0, NULL, "NAME",
      "name under which clients reach this service, besides loopback and the listen address; repeatable" },
    { "tls-cert", TEXT, FIELD(tls_cert), NULL, 0, 0, NULL, "FILE", "certificate chain (PEM): serve https" },
    { "tls-key", TEXT, FIELD(tls_key), NULL, 0, 0, NULL, "FILE", "private key of tls-cert (PEM)" },
    { "auth", CHOICE, FIELD(auth), "auto", 0, 0, auths, "WHEN",
      "when clients must show a key: auto (as soon as `quantd key create` has made one), keys (always) or none" },
    { "trusted-proxy", LIST, FIELD(trusted_proxy), NULL, 0, 0, NULL, "CIDR",
      "proxy whose X-Forwarded-For names the client; repeatable" },
    { "rate-limit", NUMBER, FIELD(rate_limit), "6000", 0, 10000000, NULL, "N",
      "requests a minute of one key; 0 = no limit" },
    { "queue-quota", NUMBER, FIELD(queue_quota), "100", 0, 1000000, NULL, "N",
      "unfinished jobs of one key; 0 = no limit" },
    { "disk-quota", BYTES, FIELD(disk_quota), "0", 0, UINT64_MAX, NULL, "BYTES", "artifacts of one key; 0 = no limit" },
    { "connections", NUMBER, FIELD(connections), "8000", 16, 100000, NULL, "N", "connections at once" },
    { "connections-per-address", NUMBER, FIELD(connections_per_address), "0", 0, 100000, NULL, "N",
      "connections of one address; 0 = no limit, as behind a proxy" },
    { "event-streams", NUMBER, FIELD(event_streams), "2000", 1, 100000, NULL, "N", "event streams at once" },
    { "downloads", NUMBER, FIELD(downloads), "64", 1, 10000, NULL, "N", "artifact files being sent at once" },
    { "state", TEXT, FIELD(state), "quantd-state", 0, 0, NULL, "DIR", "database, model cache, jobs and artifacts" },
    { "workers", NUMBER, FIELD(workers), "1", 1, 64, NULL, "N", "jobs at once" },
    { "threads", NUMBER, FIELD(threads), "0", 0, 1024, NULL, "N",
      "cores in all, shared by the jobs; 0 = all of this machine" },
    { "queue-limit", NUMBER, FIELD(queue_limit), "10000", 1, 1000000, NULL, "N",
      "queued jobs; beyond it POST /jobs answers 429" },
    { "allow-net", LIST, FIELD(allow_net), NULL, 0, 0, NULL, "CIDR",
      "network that downloads may reach besides public addresses; repeatable" },
    { "allow-http", SWITCH, FIELD(allow_http), "no", 0, 0, NULL, NULL, "allow plain http sources" },
    { "file-root", LIST, FIELD(file_root), NULL, 0, 0, NULL, "DIR",
      "folder that file:// sources may read; repeatable" },
    { "hub-url", TEXT, FIELD(hub_url), "https://huggingface.co", 0, 0, NULL, "URL",
      "base of hf:// names and hub pages" },
    { "calibration-text", TEXT, FIELD(calibration_text), NULL, 0, 0, NULL, "FILE", "text for jobs that name none" },
    { "evaluation-text", TEXT, FIELD(evaluation_text), NULL, 0, 0, NULL, "FILE", "text for jobs that name none" },
    { "signing-key", TEXT, FIELD(signing_key), NULL, 0, 0, NULL, "FILE",
      "private key (Ed25519, PEM) that signs the provenance of artifacts; `openssl genpkey -algorithm ed25519`" },
    { "launcher", WORDS, FIELD(launcher), NULL, 0, 0, NULL, "COMMAND",
      "words put before `quantd run`, as in \"srun -n1\"" },
    { "disk-floor", BYTES, FIELD(disk_floor), "1G", 0, UINT64_MAX, NULL, "BYTES",
      "free space below which no job starts (suffix K, M, G, T)" },
    { "memory", BYTES, FIELD(memory), "0", 0, UINT64_MAX, NULL, "BYTES",
      "memory that runs may use together; 0 = four fifths of what this process may use" },
    { "job-runtime", DURATION, FIELD(job_runtime), "0", 0, age_max, NULL, "TIME",
      "longest run of a job that sets no limits.runtime (suffix s, m, h, d); 0 = no limit" },
    { "keep-jobs", DURATION, FIELD(keep_jobs), "0", 0, age_max, NULL, "TIME",
      "finished jobs are removed, with all they made, after so long; 0 = never" },
    { "keep-artifacts", DURATION, FIELD(keep_artifacts), "0", 0, age_max, NULL, "TIME",
      "artifacts are removed after so long, their jobs stay; 0 = never" },
    { "keep-failed", DURATION, FIELD(keep_failed), "30d", 0, age_max, NULL, "TIME",
      "checkpoints and quarantined files of jobs that did not succeed; 0 = for ever" },
    { "keep-models", DURATION, FIELD(keep_models), "0", 0, age_max, NULL, "TIME",
      "downloaded models that no job has used for so long are removed; 0 = when the disk is short" },
    { "keep-audit", DURATION, FIELD(keep_audit), "365d", 0, age_max, NULL, "TIME", "audit rows; 0 = for ever" },
    { "cache-limit", BYTES, FIELD(cache_limit), "0", 0, UINT64_MAX, NULL, "BYTES",
      "size of the model cache beyond which what was used longest ago is removed; 0 = when the disk is short" },
    { "artifacts-limit", BYTES, FIELD(artifacts_limit), "0", 0, UINT64_MAX, NULL, "BYTES",
      "size of all artifacts beyond which the oldest are removed; 0 = no limit" },
    { "drain", DURATION, FIELD(drain), "0", 0, 86400, NULL, "TIME",
      "how long runs may go on after SIGTERM before they are stopped (they are resumed at the next start)" },
    { "confine", CHOICE, FIELD(confine), "auto", 0, 0, confines, "HOW",
      "runs without network and other people's files: auto (as far as the kernel can), require or off" },
    { "cgroup", TEXT, FIELD(cgroup), NULL, 0, 0, NULL, "DIR",
      "delegated cgroup (v2) below which each run gets its own; without one limits are the kernel's rlimits" },
    { "s3-endpoint", TEXT, FIELD(s3_endpoint), "https://s3.amazonaws.com", 0, 0, NULL, "URL",
      "S3-compatible storage of s3:// names" },
    { "s3-region", TEXT, FIELD(s3_region), "us-east-1", 0, 0, NULL, "NAME", "region of s3-endpoint" },
    { "s3-credentials", TEXT, FIELD(s3_credentials), NULL, 0, 0, NULL, "FILE",
      "lines `access-key-id = ...` and `secret-access-key = ...` (and `session-token`)" },
    { "s3-allow", LIST, FIELD(s3_allow), NULL, 0, 0, NULL, "BUCKET[/PREFIX]",
      "where jobs may read and write with these credentials; repeatable" },
    { "webhook-tries", NUMBER, FIELD(webhook_tries), "10", 1, 100, NULL, "N",
      "tries of a webhook or an upload, over some 28 hours" },
    { "max-file", BYTES, FIELD(max_file), "64G", 1, UINT64_MAX, NULL, "BYTES", "largest file a download may bring" },
    { "heartbeat", NUMBER, FIELD(heartbeat), "120", 5, 86400, NULL, "SECONDS",
      "a run silent for so long is stopped and started again" },
    { "insecure", SWITCH, FIELD(insecure), "no", 0, 0, NULL, NULL,
      "listen beyond loopback, and under any Host, although nobody has to show a key" },
    { "log-level", CHOICE, FIELD(log_level), "info", 0, 0, levels, "LEVEL", "debug, info, warn or error" },
    { "log-format", CHOICE, FIELD(log_format), "text", 0, 0, formats, "FORMAT", "text (key=value) or json" },
};

static const option *find_option(const char *name, size_t length)
{
    for (size_t i = 0; i < QD_LENGTH(options); i++)
        if (strlen(options[i].name) == length && strncmp(options[i].name, name, length) == 0)
            return &options[i];
    return NULL;
}

/* 0: no suffix of ours. */
static uint64_t seconds_of(char suffix)
{
    switch (suffix) {
    case 's':
        return 1;
    case 'm':
        return 60;
    case 'h':
        return 3600;
    case 'd':
        return 24 * 3600;
    default:
        return 0;
    }
}

static const char *const number_words[] = {
    [NUMBER] = "a whole number",
    [BYTES] = "a size such as 512M",
    [DURATION] = "a time such as 90s, 12h or 30d",
};

static qd_code parse_number(const option *o, const char *where, const char *text, uint64_t *out, qd_error *err)
{
    char *end = NULL;
    unsigned long long value = isdigit((unsigned char)text[0]) ? strtoull(text, &end, 10) : 0;
    unsigned shift = 0;
    if (end != NULL && o->kind == BYTES && *end != '\0') {
        const char *suffixes = "KMGT", *at = strchr(suffixes, toupper((unsigned char)*end));
        if (at != NULL && end[1] == '\0') {
            shift = 10 * (unsigned)(at - suffixes + 1);
            end++;
        }
    }
    uint64_t unit = 1;
    if (end != NULL && o->kind == DURATION && *end != '\0' && end[1] == '\0')
        unit = seconds_of(*end++);
    if (end == NULL || *end != '\0' || unit == 0 || (shift > 0 && value > UINT64_MAX >> shift) ||
        value > UINT64_MAX / unit)
        return qd_fail(err, QD_EINVAL, "%s: '%s' is not %s", where, text, number_words[o->kind]);
    value *= unit;
    value <<= shift;
    if (value < o->min || value > o->max)
        return qd_fail(err, QD_EINVAL, "%s: %s is not in %llu..%llu", where, text, (unsigned long long)o->min,
                       (unsigned long long)o->max);
    *out = value;
    return QD_OK;
}

static qd_code append_word(char ***list, const char *word, size_t length, qd_error *err)
{
    size_t count = 0;
    while (*list != NULL && (*list)[count] != NULL)
        count++;
    char **grown = realloc(*list, (count + 2) * sizeof *grown);
    char *copy = strndup(word, length);
    if (grown != NULL)
        *list = grown;
    if (grown == NULL || copy == NULL) {
        free(copy);
        return qd_fail(err, QD_ENOMEM, "out of memory");
    }
    grown[count] = copy;
    grown[count + 1] = NULL;
    return QD_OK;
}

static qd_code append_words(char ***list, const char *text, qd_error *err)
{
    qd_code code = QD_OK;
    while (code == QD_OK && *(text += strspn(text, " \t")) != '\0') {
        size_t length = strcspn(text, " \t");
        code = append_word(list, text, length, err);
        text += length;
    }
    return code;
}

static qd_code parse_switch(const char *where, const char *text, bool *out, qd_error *err)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {
        { "yes", true }, { "true", true }, { "1", true }, { "no", false }, { "false", false }, { "0", false },
    };
    for (size_t i = 0; i < QD_LENGTH(words); i++)
        if (strcmp(text, words[i].word) == 0) {
            *out = words[i].value;
            return QD_OK;
        }
    return qd_fail(err, QD_EINVAL, "%s: '%s' is not yes or no", where, text);
}

static qd_code check_choice(const option *o, const char *where, const char *text, qd_error *err)
{
    for (size_t i = 0; o->choices[i] != NULL; i++)
        if (strcmp(text, o->choices[i]) == 0)
            return QD_OK;
    return qd_fail(err, QD_EINVAL, "%s: '%s' is not %s", where, text, o->help);
}

/* Puts one value into its field; `where` names option and source for messages. */
static qd_code set_option(qd_config *config, const option *o, const char *where, const char *text, qd_error *err)
{
    void *field = (char *)config + o->offset;
    if (o->kind == NUMBER || o->kind == BYTES || o->kind == DURATION)
        return parse_number(o, where, text, field, err);
    if (o->kind == LIST)
        return append_word(field, text, strlen(text), err);
    if (o->kind == WORDS)
        return append_words(field, text, err);
    if (o->kind == SWITCH)
        return parse_switch(where, text, field, err);
    if (o->kind == CHOICE) {
        qd_code code = check_choice(o, where, text, err);
        if (code != QD_OK)
            return code;
    }
    char **slot = field;
    free(*slot);
    *slot = NULL;
    return qd_dup(text, slot, err);
}

static qd_code unknown_option(const char *where, const char *name, int length, qd_error *err)
{
    return qd_fail(err, QD_EINVAL, "%s: unknown option '%.*s'; `quantd serve --help` lists them", where, length, name);
}

static char *trim(char *text)
{
    text += strspn(text, " \t\r");
    size_t length = strlen(text);
    while (length > 0 && strchr(" \t\r", text[length - 1]) != NULL)
        text[--length] = '\0';
    return text;
}

static qd_code read_line(qd_config *config, const char *path, size_t number, char *line, qd_error *err)
{
    line = trim(line);
    if (line[0] == '\0' || line[0] == '#')
        return QD_OK;
    char *equals = strchr(line, '='), where[300];
    if (equals == NULL)
        return qd_fail(err, QD_EINVAL, "%s:%zu: 'name = value' is wanted, found '%s'", path, number, line);
    *equals = '\0';
    const char *name = trim(line);
    const option *o = find_option(name, strlen(name));
    snprintf(where, sizeof where, "%s:%zu: %s", path, number, name);
    return o == NULL ? unknown_option(path, name, (int)strlen(name), err)
                     : set_option(config, o, where, trim(equals + 1), err);
}

static qd_code read_file(qd_config *config, const char *path, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    qd_code code = qd_file_read(path, 1 << 20, &text, err);
    char *rest = text.data;
    for (size_t number = 1; code == QD_OK && rest != NULL; number++) {
        char *line = strsep(&rest, "\n");
        code = read_line(config, path, number, line, err);
    }
    return code;
}

static const char *environment_value(const char *const *environment, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; environment != NULL && environment[i] != NULL; i++)
        if (strncmp(environment[i], name, length) == 0 && environment[i][length] == '=')
            return environment[i] + length + 1;
    return NULL;
}

/* "allow-net" -> "QUANTD_ALLOW_NET". */
static void environment_name(const char *option_name, char *out, size_t size)
{
    snprintf(out, size, "QUANTD_%s", option_name);
    for (char *c = out; *c != '\0'; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
}

static qd_code read_environment(qd_config *config, const char *const *environment, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(options); i++) {
        char name[64];
        environment_name(options[i].name, name, sizeof name);
        const char *value = environment_value(environment, name);
        if (value == NULL)
            continue;
        if (options[i].kind == LIST) { /* several values are separated by commas */
            for (const char *at = value; code == QD_OK && *at != '\0';) {
                size_t length = strcspn(at, ",");
                if (length > 0)
                    code = append_word((char ***)((char *)config + options[i].offset), at, length, err);
                at += length + (at[length] == ',');
            }
        } else
            code = set_option(config, &options[i], name, value, err);
    }
    return code;
}

/* One flag at argv[*at]; --config is skipped here (it was read first). */
static qd_code read_flag(qd_config *config, int argc, char **argv, int *at, qd_error *err)
{
    const char *flag = argv[(*at)++];
    if (strncmp(flag, "--", 2) != 0)
        return qd_fail(err, QD_EINVAL, "'%s': an option --name is wanted", flag);
    const char *name = flag + 2, *value = strchr(name, '=');
    size_t length = value == NULL ? strlen(name) : (size_t)(value - name);
    bool is_config = length == 6 && strncmp(name, "config", 6) == 0;
    const option *o = is_config ? NULL : find_option(name, length);
    if (o == NULL && !is_config)
        return unknown_option("command line", flag, (int)length + 2, err);
    if (value != NULL)
        value++;
    else if (o != NULL && o->kind == SWITCH)
        value = "yes";
    else if (*at < argc)
        value = argv[(*at)++];
    else
        return qd_fail(err, QD_EINVAL, "%s: a value is wanted", flag);
    char where[80];
    snprintf(where, sizeof where, "--%.*s", (int)length, name);
    return is_config ? QD_OK : set_option(config, o, where, value, err);
}

/* The value of --config, wherever it stands. */
static const char *config_path(int argc, char **argv, const char *const *environment)
{
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--config=", 9) == 0)
            return argv[i] + 9;
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            return argv[i + 1];
    }
    return environment_value(environment, "QUANTD_CONFIG");
}

static qd_code set_defaults(qd_config *config, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(options); i++)
        if (options[i].fallback != NULL)
            code = set_option(config, &options[i], options[i].name, options[i].fallback, err);
    return code;
}

static void resolve(qd_config *config)
{
    if (config->threads == 0)
        config->threads = qd_pool_processors();
}

qd_code qd_config_read(int argc, char **argv, const char *const *environment, qd_config *out, qd_error *err)
{
    qd_config config = { 0 };
    qd_code code = set_defaults(&config, err);
    const char *path = config_path(argc, argv, environment);
    if (code == QD_OK && path != NULL)
        code = read_file(&config, path, err);
    if (code == QD_OK)
        code = read_environment(&config, environment, err);
    for (int at = 1; code == QD_OK && at < argc;)
        code = read_flag(&config, argc, argv, &at, err);
    if (code != QD_OK) {
        qd_config_fini(&config);
        return code;
    }
    resolve(&config);
    *out = config;
    return QD_OK;
}

void qd_config_fini(qd_config *config)
{
    for (size_t i = 0; i < QD_LENGTH(options); i++) {
        void *field = (char *)config + options[i].offset;
        if (options[i].kind == TEXT || options[i].kind == CHOICE)
            free(*(char **)field);
        if (options[i].kind == LIST || options[i].kind == WORDS) {
            char **list = *(char ***)field;
            for (size_t k = 0; list != NULL && list[k] != NULL; k++)
                free(list[k]);
            free(list);
        }
    }
    *config = (qd_config){ 0 };
}

bool qd_config_option_at(size_t index, qd_option_help *out)
{
    if (index >= QD_LENGTH(options))
        return false;
    const option *o = &options[index];
    *out = (qd_option_help){ .name = o->name, .argument = o->argument, .fallback = o->fallback, .help = o->help };
    return true;
}

unsigned qd_config_choice(const char *name, const char *value)
{
    const option *o = find_option(name, strlen(name));
    unsigned i = 0;
    while (o->choices[i + 1] != NULL && strcmp(o->choices[i], value) != 0)
        i++;
    return i;
}

qd_code qd_config_duration(const char *where, const char *text, uint64_t *out_seconds, qd_error *err)
{
    const option o = { .kind = DURATION, .max = age_max };
    return text == NULL ? QD_OK : parse_number(&o, where, text, out_seconds, err);
}

qd_code qd_config_bytes(const char *where, const char *text, uint64_t *out, qd_error *err)
{
    const option o = { .kind = BYTES, .max = UINT64_MAX };
    return text == NULL ? QD_OK : parse_number(&o, where, text, out, err);
}

const char qd_config_sources[] =
    "Every option is also a key of the configuration file and, upper-cased with _ for -, an environment variable:\n"
    "--allow-net is allow-net and QUANTD_ALLOW_NET (values separated by commas). QUANTD_CONFIG names the file.\n"
    "A flag wins over the environment, the environment over the file; repeatable options add up.";

void qd_config_print_help(FILE *out)
{
    qd_option_help o;
    fprintf(out, "  --%-28s %s\n", "config FILE", "lines of `name = value`, # starts a comment");
    for (size_t i = 0; qd_config_option_at(i, &o); i++) {
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", o.name, o.argument == NULL ? "" : " ",
                 o.argument == NULL ? "" : o.argument);
        fprintf(out, "  --%-28s %s%s%s%s\n", left, o.help, o.fallback == NULL ? "" : " [",
                o.fallback == NULL ? "" : o.fallback, o.fallback == NULL ? "" : "]");
    }
    fprintf(out, "\n%s\n", qd_config_sources);
}
