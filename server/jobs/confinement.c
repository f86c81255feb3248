/* confinement.c: see confinement.h. */
#include "jobs/confinement.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "confine/environment.h"
#include "jobs/course.h"
#include "jobs/service_private.h"
#include "jobs/sources.h"

static const char *const modes[] = {
    [QD_CONFINE_AUTO] = "auto", [QD_CONFINE_REQUIRE] = "require", [QD_CONFINE_OFF] = "off"
};

static void say(const qd_service_config *config, const char *level, const char *event, const char *key,
                const char *text)
{
    char details[2 * QD_MEANS_TEXT + 600];
    snprintf(details, sizeof details, "%s=\"%s\"", key, text);
    if (config->log.line != NULL)
        config->log.line(config->log.ctx, level, event, details);
}

static void add_missing(qd_service_confinement *told, const char *text)
{
    const char *const parts[] = { told->missing[0] == '\0' ? "" : "; ", text };
    for (size_t i = 0; i < QD_LENGTH(parts); i++)
        strncat(told->missing, parts[i], sizeof told->missing - strlen(told->missing) - 1);
}

static void open_cgroups(const qd_service_config *config, qd_confinement *c)
{
    qd_error err = { 0 };
    if (config->cgroup == NULL)
        return;
    if (qd_cgroups_open(config->cgroup, &c->groups, &err) != QD_OK) {
        add_missing(&c->told, err.text);
        return;
    }
    c->told.cgroup = true;
    if (!c->groups.memory)
        add_missing(&c->told, "the cgroup's memory controller");
}

static void describe(const qd_service_config *config, qd_confinement *c)
{
    bool launched = config->launcher != NULL && config->launcher[0] != NULL;
    qd_service_confinement *told = &c->told;
    char means[QD_MEANS_TEXT];
    told->mode = modes[config->confine];
    told->by_run = launched && config->confine != QD_CONFINE_OFF;
    told->landlock_abi = c->means.landlock_abi;
    told->seccomp = c->means.filters;
    qd_confine_describe(&c->means, means);
    snprintf(told->applied, sizeof told->applied, "%s, rlimits%s", means, told->cgroup ? ", cgroup" : "");
}

qd_code qd_confinement_init(const qd_service_config *config, qd_confinement *out, qd_error *err)
{
    qd_confinement c = { 0 };
    char missing[QD_MEANS_TEXT] = "";
    if (config->confine != QD_CONFINE_OFF) {
        c.means = qd_confine_probe();
        qd_confine_missing(&c.means, missing);
        if (missing[0] != '\0')
            add_missing(&c.told, missing);
    }
    open_cgroups(config, &c);
    describe(config, &c);
    if (config->confine == QD_CONFINE_REQUIRE && c.told.missing[0] != '\0') {
        qd_fail(err, QD_EUNSUPPORTED, "confine: runs cannot be confined as it is required: %s", c.told.missing);
        qd_confinement_fini(&c);
        return QD_EUNSUPPORTED;
    }
    say(config, "info", "confine", "applied", c.told.applied);
    if (c.told.missing[0] != '\0')
        say(config, "warn", "confine.missing", "reason", c.told.missing);
    *out = c;
    return QD_OK;
}

void qd_confinement_fini(qd_confinement *c)
{
    qd_cgroups_fini(&c->groups);
}

void qd_service_confinement_read(qd_service *service, qd_service_confinement *out)
{
    *out = service->confinement.told;
}

static qd_code make_folders(const qd_course *course, qd_error *err)
{
    qd_code code = qd_dir_make(course->paths.work, err);
    return code == QD_OK ? qd_dir_make(course->paths.out, err) : code;
}

static qd_code make_cage(const qd_course *course, const qd_sources *sources, qd_hold *hold, qd_error *err)
{
    const qd_service *service = course->service;
    const char *readable[6 + QD_TEXTS_MAX] = { course->paths.job, sources->model.folder };
    const char *const writable[] = { course->paths.work, course->paths.out, NULL };
    const char *const texts[] = { sources->calibration, sources->evaluation, sources->tasks };
    size_t count = 2;
    for (size_t i = 0; i < QD_LENGTH(texts); i++)
        if (texts[i] != NULL)
            readable[count++] = texts[i];
    for (size_t i = 0; i < sources->recipe->evaluation_also.count; i++)
        readable[count++] = sources->also[i];
    uint64_t limit =
        service->confinement.groups.memory ? 0 : qd_limits_memory(hold->memory, service->settings.threads_each);
    const qd_cage_spec spec = { .means = service->confinement.means,
                                .program = service->settings.program,
                                .readable = readable,
                                .writable = writable,
                                .limits = { .memory = limit, .file = sources->recipe->limit_disk },
                                .cgroup = hold->cgroup.dir == NULL ? NULL : &hold->cgroup };
    return qd_cage_make(&spec, &hold->cage, err);
}

extern char **environ;

static qd_code make_environment(const qd_service *service, qd_hold *hold, qd_error *err)
{
    const char *extra[2] = { NULL };
    snprintf(hold->told, sizeof hold->told, "QUANTD_CONFINED=%s", hold->applied);
    if (!hold->caged)
        extra[0] = "QUANTD_TIED=yes"; /* to the service's end of the pipe (server/cli/report.h) */
    else if (service->confinement.means.filters)
        extra[0] = hold->told;
    return qd_environment_make(environ, hold->caged ? QD_FOR_RUN : QD_FOR_LAUNCHER, extra, &hold->environment, err);
}

qd_hold qd_hold_none(void)
{
    return (qd_hold){ .cage = { .ruleset_fd = -1 }, .cgroup = { .procs_fd = -1 } };
}

qd_code qd_hold_init(const qd_course *course, const qd_sources *sources, qd_hold *out, qd_error *err)
{
    const qd_service *service = course->service;
    qd_hold *hold = out;
    *hold = qd_hold_none();
    hold->caged = service->settings.launcher_count == 0;
    hold->memory = sources->recipe->limit_memory;
    hold->applied = hold->caged ? service->confinement.told.applied : "by the run itself, below its launcher";
    qd_code code = make_folders(course, err);
    if (code == QD_OK && hold->caged && service->confinement.groups.dir != NULL)
        code = qd_cgroup_make(&service->confinement.groups, course->active->id, hold->memory, &hold->cgroup, err);
    if (code == QD_OK && hold->caged)
        code = make_cage(course, sources, hold, err);
    return code == QD_OK ? make_environment(service, hold, err) : code;
}

void qd_hold_end(qd_hold *hold, qd_cgroup_report *out)
{
    qd_cgroup_end(&hold->cgroup, out);
    qd_cage_fini(&hold->cage);
    free(hold->environment);
    hold->environment = NULL;
}
