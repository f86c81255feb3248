/* verb_backup.c: quantd backup and quantd restore. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/verb.h"
#include "jobs/backup.h"

enum { BACKUP_STATE, BACKUP_TO, BACKUP_ARTIFACTS };
static const qd_verb_option backup_options[] = {
    { "state", "DIR", NULL, "state folder of the service, which may run; required" },
    { "to", "DIR", NULL, "folder of the backup, made afresh; required" },
    { "artifacts", NULL, NULL, "artifacts too: hard links where DIR is on the same disk, else copies" },
    { NULL, NULL, NULL, NULL },
};

enum { RESTORE_FROM, RESTORE_STATE };
static const qd_verb_option restore_options[] = {
    { "from", "PATH", NULL, "a backup, or a database such as STATE/quantd.db.backup-v1; required" },
    { "state", "DIR", NULL, "state folder, empty or not there, of no running service; required" },
    { NULL, NULL, NULL, NULL },
};

static int want(const char *verb, const char *option)
{
    fprintf(stderr, "quantd %s: --%s is wanted; see quantd %s --help\n", verb, option, verb);
    return QD_EXIT_USAGE;
}

static void print_report(const char *what, const qd_backup_report *report)
{
    printf("%s: %zu jobs, %zu artifacts, %zu files, %" PRIu64 " bytes\n", what, report->jobs, report->artifacts,
           report->files, report->bytes);
    for (size_t i = 0; i < report->absent_count; i++)
        printf("absent: the artifact of job %s\n", report->absent[i]);
}

static int run_backup(const qd_arguments *arguments)
{
    qd_error err = { 0 };
    QD_AUTO(qd_backup_report_fini) qd_backup_report report = { 0 };
    for (int i = BACKUP_STATE; i <= BACKUP_TO; i++)
        if (arguments->values[i] == NULL)
            return want("backup", backup_options[i].name);
    qd_backup_parts parts = arguments->values[BACKUP_ARTIFACTS] == NULL ? QD_BACKUP_DATABASE : QD_BACKUP_WITH_ARTIFACTS;
    qd_code code = qd_backup_make(arguments->values[BACKUP_STATE], arguments->values[BACKUP_TO], parts, &report, &err);
    if (code != QD_OK)
        return qd_verb_fail(code, &err);
    print_report("backed up", &report);
    return QD_EXIT_OK;
}

static int run_restore(const qd_arguments *arguments)
{
    qd_error err = { 0 };
    QD_AUTO(qd_backup_report_fini) qd_backup_report report = { 0 };
    for (int i = RESTORE_FROM; i <= RESTORE_STATE; i++)
        if (arguments->values[i] == NULL)
            return want("restore", restore_options[i].name);
    qd_code code = qd_backup_restore(arguments->values[RESTORE_FROM], arguments->values[RESTORE_STATE], &report, &err);
    if (code != QD_OK)
        return qd_verb_fail(code, &err);
    print_report("restored", &report);
    return QD_EXIT_OK;
}

const qd_verb qd_verb_backup = {
    .name = "backup",
    .summary = "copies a service's database, and its artifacts, while it runs",
    .operands = "",
    .options = backup_options,
    .notes =
        "The copy is of one moment, checked and synced, and appears under its name when it is whole. It holds the hub\n"
        "tokens of jobs that are not finished: keep it as private as the state folder.",
    .run = run_backup,
};

const qd_verb qd_verb_restore = {
    .name = "restore",
    .summary = "makes a state folder from a backup",
    .operands = "",
    .options = restore_options,
    .notes = "Digests of artifacts are verified. Jobs whose artifact is absent are named; they keep their results. "
             "Jobs that\n"
             "were not finished begin anew when the service starts.",
    .run = run_restore,
};
