/* manual.c: see manual.h. */
#include "cli/manual.h"

#include "base/str.h"
#include "cli/verb.h"
#include "config.h"
#include "config/config.h"

/* Text that roff takes literally: - and \ are escaped, and no line begins with a control character. */
static void print_text(FILE *out, const char *text)
{
    for (int start = 1; *text != '\0'; start = *text++ == '\n') {
        if (start && (*text == '.' || *text == '\''))
            fputs("\\&", out);
        if (*text == '-' || *text == '\\')
            fputc('\\', out);
        fputc(*text, out);
        if (*text == '\\')
            fputc('e', out);
    }
}

static void print_paragraph(FILE *out, const char *text)
{
    print_text(out, text);
    fputc('\n', out);
}

static void print_option(FILE *out, const qd_verb_option *option)
{
    fputs(".TP\n\\fB\\-\\-", out);
    print_text(out, option->name);
    fputs("\\fR", out);
    if (option->argument != NULL) {
        fputs(" \\fI", out);
        print_text(out, option->argument);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    print_text(out, option->help);
    if (option->fallback != NULL) {
        fputs(" [", out);
        print_text(out, option->fallback);
        fputc(']', out);
    }
    fputc('\n', out);
}

static void print_config_option(FILE *out, const qd_option_help *o)
{
    QD_AUTO(qd_str_fini) qd_str facts = { 0 };
    if (o->range[0] != '\0')
        qd_str_addf(&facts, "%s; ", o->range);
    qd_str_addf(&facts, "default %s; %s; $%s", o->fallback == NULL ? "none" : o->fallback,
                o->reload ? "read again at SIGHUP" : "needs a restart", o->environment);
    print_option(out, &(qd_verb_option){ o->name, o->argument, NULL, o->help });
    fputs(".br\n", out);
    print_paragraph(out, qd_str_borrow(&facts));
}

/* Default, range with unit, whether SIGHUP is enough, environment. */
static void print_options(FILE *out)
{
    static const qd_verb_option flags[] = {
        { "config", "FILE", NULL, "lines of `name = value`, # starts a comment" },
        { QD_CONFIG_CHECK_FLAG, NULL, NULL, "print what every option is and where it was set, and end" },
    };
    qd_option_help o;
    fputs(".SH OPTIONS\nof \\fBquantd serve\\fR, which reads them by a table of its own:\n", out);
    for (size_t i = 0; i < QD_LENGTH(flags); i++)
        print_option(out, &flags[i]);
    for (size_t i = 0; qd_config_option_at(i, &o); i++)
        print_config_option(out, &o);
}

typedef struct entry {
    const char *term, *text;
} entry;

static const entry signal_entries[] = {
    { "SIGTERM, SIGINT",
      "No job is claimed any more, /readyz answers 503 and event streams close. Runs have the time of drain; then, or "
      "at "
      "a second signal, they are stopped, replies in flight are finished and the service ends. Jobs that were running "
      "go "
      "on at the next start from their last finished layer. One more signal ends the process at once." },
    { "SIGHUP",
      "File, environment and flags are read again; see ENVIRONMENT. A mistake changes nothing and is logged." },
};

static const entry file_entries[] = {
    { "STATE/quantd.db", "jobs, events, layers, artifacts, keys, audit, deliveries (SQLite)" },
    { "STATE/quantd.db.backup-vN",
      "the database as it was before a newer program brought its schema up from version N" },
    { "STATE/quantd.ballast", "up to 64 MiB that are given back when the disk is full" },
    { "STATE/quantd.lock", "held by the running service" },
    { "STATE/models", "the cache of downloads" },
    { "STATE/jobs/ID", "checkpoints and log of a job" },
    { "STATE/artifacts/ID", "what a job made" },
    { "STATE/quarantine/ID", "an artifact that is not served" },
};

static const entry examples[] = {
    { "quantd serve --state /var/lib/quantd --config /etc/quantd.conf", "the service, on 127.0.0.1:8080" },
    { "quantd serve --config /etc/quantd.conf --check-config", "are the options right, and where do they come from?" },
    { "quantd backup --state /var/lib/quantd --to /backup/quantd --artifacts",
      "database and artifacts, while the service runs" },
    { "quantd restore --from /backup/quantd --state /var/lib/quantd", "into an empty state folder" },
};

static void print_entries(FILE *out, const char *title, const entry *entries, size_t count)
{
    fprintf(out, ".SH %s\n", title);
    for (size_t i = 0; i < count; i++) {
        fputs(".TP\n\\fB", out);
        print_text(out, entries[i].term);
        fputs("\\fR\n", out);
        print_paragraph(out, entries[i].text);
    }
}

static void print_verb(FILE *out, const qd_verb *verb)
{
    fprintf(out, ".SS \"quantd %s [OPTION]...%s%s\"\n", verb->name, verb->operands[0] == '\0' ? "" : " ",
            verb->operands);
    print_paragraph(out, verb->summary);
    if (verb->options == NULL)
        print_paragraph(out, "Its options stand under OPTIONS.");
    for (const qd_verb_option *o = verb->options; o != NULL && o->name != NULL; o++)
        print_option(out, o);
    if (verb->notes != NULL) {
        fputs(".PP\n", out);
        print_paragraph(out, verb->notes);
    }
}

void qd_manual_print(FILE *out)
{
    fprintf(out, ".TH QUANTD 1 \"\" \"quantd %s\" \"User Commands\"\n", PACKAGE_VERSION);
    fputs(".SH NAME\nquantd \\- quantize language models after training\n"
          ".SH SYNOPSIS\n\\fBquantd\\fR \\fIVERB\\fR [\\fIOPTION\\fR]... [\\fIOPERAND\\fR]...\n.SH VERBS\n",
          out);
    for (size_t i = 0; qd_verb_at(i) != NULL; i++) {
        const qd_verb *verb = qd_verb_at(i);
        if (verb->words == NULL)
            print_verb(out, verb);
        for (size_t k = 0; verb->words != NULL && verb->words[k] != NULL; k++)
            print_verb(out, verb->words[k]);
    }
    print_options(out);
    fputs(".SH ENVIRONMENT\n", out);
    print_paragraph(out, qd_config_sources);
    print_entries(out, "SIGNALS", signal_entries, QD_LENGTH(signal_entries));
    print_entries(out, "FILES", file_entries, QD_LENGTH(file_entries));
    fputs(".SH EXIT STATUS\n", out);
    print_paragraph(out, qd_verb_exit_statuses);
    print_entries(out, "EXAMPLES", examples, QD_LENGTH(examples));
}
