/* manual.c: see manual.h. */
#include "cli/manual.h"

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

/* serve reads its options by the table of config. */
static void print_config_options(FILE *out)
{
    static const qd_verb_option file = { "config", "FILE", NULL, "lines of `name = value`, # starts a comment" };
    qd_option_help o;
    print_option(out, &file);
    for (size_t i = 0; qd_config_option_at(i, &o); i++)
        print_option(out, &(qd_verb_option){ o.name, o.argument, o.fallback, o.help });
}

static void print_verb(FILE *out, const qd_verb *verb)
{
    fprintf(out, ".SS \"quantd %s [OPTION]...%s%s\"\n", verb->name, verb->operands[0] == '\0' ? "" : " ",
            verb->operands);
    print_paragraph(out, verb->summary);
    if (verb->options == NULL)
        print_config_options(out);
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
    fputs(".SH ENVIRONMENT\n", out);
    print_paragraph(out, qd_config_sources);
    fputs(".SH EXIT STATUS\n", out);
    print_paragraph(out, qd_verb_exit_statuses);
}
