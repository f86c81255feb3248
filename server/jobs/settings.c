/* settings.c: see settings.h. */
#include "jobs/settings.h"

#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "jobs/lock.h"
#include "jobs/machine_memory.h"

enum { QUEUE_LIMIT = 10000, HEARTBEAT_SECONDS = 120 };

static void words_free(char **words)
{
    for (size_t i = 0; words != NULL && words[i] != NULL; i++)
        free(words[i]);
    free(words);
}

static qd_code copy_words(const char *const *words, char ***out, qd_error *err)
{
    size_t count = 0;
    while (words != NULL && words[count] != NULL)
        count++;
    qd_code code = qd_alloc(count + 1, sizeof **out, (void **)out, err);
    for (size_t i = 0; code == QD_OK && i < count; i++)
        code = qd_dup(words[i], &(*out)[i], err);
    return code;
}

/* This very program, even if its file was replaced meanwhile; below a launcher, /proc/self is the launcher. */
static qd_code find_program(const qd_service_config *c, char **out, qd_error *err)
{
    if (c->program != NULL || c->launcher == NULL || c->launcher[0] == NULL)
        return qd_dup(c->program == NULL ? "/proc/self/exe" : c->program, out, err);
    *out = realpath("/proc/self/exe", NULL);
    return *out == NULL ? qd_fail_errno(err, "launcher: where this program is") : QD_OK;
}

static qd_code copy_texts(const qd_service_config *c, qd_settings *s, qd_error *err)
{
    const struct {
        const char *from;
        char **to;
    } texts[] = {
        { c->calibration_text, &s->calibration_text },
        { c->evaluation_text, &s->evaluation_text },
        { c->evaluation_tasks, &s->evaluation_tasks },
        { c->fetch.cache_dir, &s->cache_dir },
        { c->fetch.hub_url, &s->hub_url },
        { c->cgroup, &s->cgroup },
    };
    qd_code code = find_program(c, &s->program, err);
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(texts); i++)
        code = qd_dup(texts[i].from, texts[i].to, err);
    if (code == QD_OK)
        code = copy_words(c->launcher, &s->launcher, err);
    if (code == QD_OK)
        code = copy_words(c->fetch.allow_net, &s->allow_net, err);
    if (code == QD_OK)
        code = copy_words(c->fetch.file_roots, &s->file_roots, err);
    return code;
}

static qd_code check_restored(const char *state_dir, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *restoring = qd_path_join(state_dir, QD_RESTORING);
    if (restoring == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return qd_path_exists(restoring)
               ? qd_fail(err, QD_EFORMAT, "'%s': a restore was broken off; do it again", restoring)
               : QD_OK;
}

static qd_code make_folders(const qd_service_config *c, qd_settings *s, qd_error *err)
{
    static const char *const folders[] = { "jobs", "artifacts", "quarantine" };
    qd_code code = qd_dir_make(c->state_dir, err);
    if (code == QD_OK && (s->state_dir = realpath(c->state_dir, NULL)) == NULL)
        code = qd_fail_errno(err, "'%s'", c->state_dir);
    if (code == QD_OK)
        code = check_restored(s->state_dir, err);
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(folders); i++) {
        QD_AUTO(qd_free_pointer) char *path = qd_path_join(s->state_dir, folders[i]);
        code = path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_dir_make(path, err);
    }
    if (code == QD_OK && s->cache_dir == NULL && (s->cache_dir = qd_path_join(s->state_dir, "models")) == NULL)
        code = qd_fail(err, QD_ENOMEM, "out of memory");
    return code == QD_OK ? qd_dir_sync(s->state_dir, err) : code;
}

void qd_settings_fill_limits(qd_service_config *config)
{
    if (config->queue_limit == 0)
        config->queue_limit = QUEUE_LIMIT;
    if (config->heartbeat_seconds <= 0)
        config->heartbeat_seconds = HEARTBEAT_SECONDS;
}

static void fill_in(qd_settings *s)
{
    qd_service_config *c = &s->config;
    c->state_dir = s->state_dir;
    c->program = s->program;
    c->launcher = (const char *const *)s->launcher;
    c->calibration_text = s->calibration_text;
    c->evaluation_text = s->evaluation_text;
    c->evaluation_tasks = s->evaluation_tasks;
    c->signing_key = NULL; /* read already; nobody else has to know where it lies */
    c->fetch.cache_dir = s->cache_dir;
    c->fetch.hub_url = s->hub_url;
    c->cgroup = s->cgroup;
    c->fetch.allow_net = (const char *const *)s->allow_net;
    c->fetch.file_roots = (const char *const *)s->file_roots;
    c->workers = qd_max_size(c->workers, 1);
    qd_settings_fill_limits(c);
    while (s->launcher[s->launcher_count] != NULL)
        s->launcher_count++;
    if (c->memory_bytes == 0)
        c->memory_bytes = qd_machine_memory() / 5 * 4;
    s->threads_each = qd_max_size(c->threads / c->workers, 1);
}

qd_code qd_settings_init(const qd_service_config *config, qd_settings *out, qd_error *err)
{
    qd_settings s = { .config = *config };
    qd_code code = config->state_dir == NULL ? qd_fail(err, QD_EINVAL, "state: a folder is required") : QD_OK;
    if (code == QD_OK)
        code = copy_texts(config, &s, err);
    if (code == QD_OK)
        code = make_folders(config, &s, err);
    if (code == QD_OK && config->signing_key != NULL &&
        (code = qd_signer_open(config->signing_key, &s.signer, err)) != QD_OK)
        qd_within(err, code, "signing-key");
    if (code != QD_OK) {
        qd_settings_fini(&s);
        return code;
    }
    fill_in(&s);
    *out = s;
    return QD_OK;
}

void qd_settings_fini(qd_settings *s)
{
    char *texts[] = { s->state_dir,        s->program,   s->calibration_text, s->evaluation_text,
                      s->evaluation_tasks, s->cache_dir, s->hub_url,          s->cgroup };
    for (size_t i = 0; i < QD_LENGTH(texts); i++)
        free(texts[i]);
    qd_signer_destroy(s->signer);
    words_free(s->launcher);
    words_free(s->allow_net);
    words_free(s->file_roots);
    *s = (qd_settings){ 0 };
}
