/* cgroup.c: see cgroup.h. */
#include "confine/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

enum { FILE_MAX = 1 << 16, PROCESSES_MAX = 1024, END_TRIES = 200, END_PAUSE_NS = 10000000 };
static const char own_group[] = "serve", run_prefix[] = "run-";

/* One write() a value: that is how these files are read. */
static qd_code put(const char *dir, const char *file, const char *value, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, file);
    QD_AUTO(qd_close_fd) int fd = path == NULL ? -1 : open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, value, strlen(value)) < 0)
        return qd_fail_errno(err, "write '%s' to '%s/%s'", value, dir, file);
    return QD_OK;
}

static qd_code put_number(const char *dir, const char *file, uint64_t value, qd_error *err)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return put(dir, file, text, err);
}

static qd_code get(const char *dir, const char *file, qd_str *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, file);
    return path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_file_read(path, FILE_MAX, out, err);
}

/* The number after `name` and a space; 0 where there is none. name "" = the file is the number. */
static uint64_t get_number(const char *dir, const char *file, const char *name)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    if (get(dir, file, &text, NULL) != QD_OK)
        return 0;
    size_t length = strlen(name);
    if (length == 0)
        return strtoull(qd_str_borrow(&text), NULL, 10);
    for (const char *line = qd_str_borrow(&text); line != NULL; line = strchr(line, '\n')) {
        line += strspn(line, "\n");
        if (strncmp(line, name, length) == 0 && line[length] == ' ')
            return strtoull(line + length, NULL, 10);
        if (*line == '\0')
            break;
    }
    return 0;
}

static bool lists_word(const qd_str *text, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = qd_str_borrow(text); (at = strstr(at, word)) != NULL; at += length)
        if ((at == qd_str_borrow(text) || at[-1] == ' ') && strchr(" \n", at[length]) != NULL)
            return true;
    return false;
}

/* Whether this process is in the group itself, and not below it. */
static bool is_in(const char *dir)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    if (get(dir, "cgroup.procs", &text, NULL) != QD_OK)
        return false;
    for (const char *line = qd_str_borrow(&text); *line != '\0'; line += strspn(line, "\n")) {
        if (strtol(line, NULL, 10) == (long)getpid())
            return true;
        line += strcspn(line, "\n");
    }
    return false;
}

static qd_code move_aside(const char *dir, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *own = qd_path_join(dir, own_group);
    if (own == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    if (mkdir(own, 0755) != 0 && errno != EEXIST)
        return qd_fail_errno(err, "make '%s'", own);
    return put_number(own, "cgroup.procs", (uint64_t)getpid(), err);
}

/* A controller that cannot be had is missing, not an error. */
static bool hand_on(const char *dir, const char *controller, const qd_str *available)
{
    char word[16];
    snprintf(word, sizeof word, "+%s", controller);
    return lists_word(available, controller) && put(dir, "cgroup.subtree_control", word, NULL) == QD_OK;
}

static void remove_group(const char *dir)
{
    put(dir, "cgroup.kill", "1", NULL);
    for (int i = 0; i < END_TRIES && rmdir(dir) != 0 && errno == EBUSY; i++)
        nanosleep(&(struct timespec){ .tv_nsec = END_PAUSE_NS }, NULL);
}

static void sweep(const char *dir)
{
    char **names = NULL;
    size_t count = 0;
    if (qd_dir_list(dir, &names, &count, NULL) != QD_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, names[i]);
        if (path != NULL && strncmp(names[i], run_prefix, strlen(run_prefix)) == 0)
            remove_group(path);
    }
    qd_names_free(names, count);
}

/* The line "0::PATH" of /proc/self/cgroup; a service that moved aside before is meant to be where it came from. */
static qd_code find_own(qd_str *out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    static const char mark[] = "0::", root[] = "/sys/fs/cgroup";
    qd_code code = qd_file_read("/proc/self/cgroup", FILE_MAX, &text, err);
    const char *line = code == QD_OK ? qd_str_borrow(&text) : "";
    while (*line != '\0' && strncmp(line, mark, strlen(mark)) != 0) {
        line += strcspn(line, "\n");
        line += strspn(line, "\n");
    }
    if (code == QD_OK && *line == '\0')
        code = qd_fail(err, QD_EUNSUPPORTED, "cgroup: this process is in no group of a cgroup v2 hierarchy");
    if (code != QD_OK)
        return code;
    line += strlen(mark);
    size_t length = strcspn(line, "\n"), tail = strlen(own_group) + 1;
    if (length > tail && line[length - tail] == '/' && strncmp(line + length - tail + 1, own_group, tail - 1) == 0)
        length -= tail;
    qd_str_addf(out, "%s%.*s", root, (int)length, line);
    return QD_OK;
}

qd_code qd_cgroups_open(const char *name, qd_cgroups *out, qd_error *err)
{
    struct statfs system;
    QD_AUTO(qd_str_fini) qd_str available = { 0 };
    QD_AUTO(qd_str_fini) qd_str own = { 0 };
    const char *dir = name;
    if (strcmp(name, "own") == 0) {
        qd_code code = find_own(&own, err);
        if (code != QD_OK)
            return code;
        dir = qd_str_borrow(&own);
    }
    if (statfs(dir, &system) != 0)
        return qd_fail_errno(err, "cgroup: '%s'", dir);
    if ((unsigned long)system.f_type != CGROUP2_SUPER_MAGIC)
        return qd_fail(err, QD_EINVAL, "cgroup: '%s' is no folder of a cgroup v2 hierarchy", dir);
    qd_code code = get(dir, "cgroup.controllers", &available, err);
    if (code == QD_OK && is_in(dir))
        code = move_aside(dir, err);
    qd_cgroups groups = { 0 };
    if (code == QD_OK)
        code = qd_dup(dir, &groups.dir, err);
    if (code != QD_OK)
        return qd_within(err, code, "cgroup");
    groups.memory = hand_on(dir, "memory", &available);
    groups.pids = hand_on(dir, "pids", &available);
    groups.cpu = hand_on(dir, "cpu", &available);
    sweep(dir);
    *out = groups;
    return QD_OK;
}

void qd_cgroups_fini(qd_cgroups *groups)
{
    free(groups->dir);
    *groups = (qd_cgroups){ 0 };
}

static qd_code set_limits(const qd_cgroups *groups, const char *dir, uint64_t memory, qd_error *err)
{
    qd_code code = QD_OK;
    if (groups->memory && memory > 0)
        code = put_number(dir, "memory.max", memory, err);
    if (code == QD_OK && groups->memory && memory > 0) {
        put(dir, "memory.swap.max", "0", NULL); /* not there without swap */
        put(dir, "memory.oom.group", "1", NULL);
    }
    if (code == QD_OK && groups->pids)
        code = put_number(dir, "pids.max", PROCESSES_MAX, err);
    if (groups->cpu)
        put(dir, "cpu.weight", "50", NULL); /* half of what others have */
    return code;
}

qd_code qd_cgroup_make(const qd_cgroups *groups, const char *name, uint64_t memory, qd_cgroup *out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str path = { 0 };
    qd_str_addf(&path, "%s/%s%s", groups->dir, run_prefix, name);
    qd_cgroup group = { .dir = qd_str_take(&path), .procs_fd = -1 };
    if (group.dir == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    remove_group(group.dir); /* of an earlier attempt; its limits were others */
    if (mkdir(group.dir, 0755) != 0) {
        qd_code code = qd_fail_errno(err, "make '%s'", group.dir);
        free(group.dir);
        return code;
    }
    qd_code code = set_limits(groups, group.dir, memory, err);
    QD_AUTO(qd_free_pointer) char *procs = qd_path_join(group.dir, "cgroup.procs");
    if (code == QD_OK && (procs == NULL || (group.procs_fd = open(procs, O_WRONLY | O_CLOEXEC)) < 0))
        code = qd_fail_errno(err, "open cgroup.procs of '%s'", group.dir);
    if (code != QD_OK) {
        qd_cgroup_end(&group, &(qd_cgroup_report){ 0 });
        return code;
    }
    *out = group;
    return QD_OK;
}

int qd_cgroup_enter(const qd_cgroup *group)
{
    return write(group->procs_fd, "0", 1) == 1 ? 0 : -1;
}

void qd_cgroup_end(qd_cgroup *group, qd_cgroup_report *out)
{
    *out = (qd_cgroup_report){ 0 };
    if (group->dir == NULL)
        return;
    out->oom_kills = get_number(group->dir, "memory.events", "oom_kill");
    out->peak_bytes = get_number(group->dir, "memory.peak", "");
    remove_group(group->dir);
    qd_close_fd(&group->procs_fd);
    free(group->dir);
    *group = (qd_cgroup){ .procs_fd = -1 };
}
