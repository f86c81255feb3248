/* verb.c: see verb.h. */
#include "cli/verb.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"
#include "cli/manual.h"
#include "config.h"
#include "linalg/gemm.h"

const char qd_verb_exit_statuses[] = "0 done, 1 failed, 2 wrong command line, 3 cancelled.";

static void print_verbs(FILE *out)
{
    fprintf(out, "quantd quantizes language models after training.\n\nusage: quantd VERB [OPTION]... [OPERAND]...\n\n");
    for (size_t i = 0; qd_verb_at(i) != NULL; i++)
        fprintf(out, "  %-10s %s\n", qd_verb_at(i)->name, qd_verb_at(i)->summary);
    fprintf(out, "\n`quantd VERB --help` documents a verb; `quantd --version` and `quantd --man` (the manual page) "
                 "stand alone.\n");
}

static void print_help(const qd_verb *verb)
{
    printf("usage: quantd %s [OPTION]... %s\n\n%s\n\n", verb->name, verb->operands, verb->summary);
    for (const qd_verb_option *o = verb->options; o->name != NULL; o++) {
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", o->name, o->argument == NULL ? "" : " ",
                 o->argument == NULL ? "" : o->argument);
        printf("  --%-24s %s", left, o->help);
        if (o->fallback != NULL)
            printf(" [%s]", o->fallback);
        printf("\n");
    }
    printf("%sExit status: %s\n", verb->options[0].name == NULL ? "" : "\n", qd_verb_exit_statuses);
    if (verb->notes != NULL)
        printf("\n%s\n", verb->notes);
}

static const qd_verb_option *find_option(const qd_verb *verb, const char *name, size_t length, size_t *out_index)
{
    for (size_t i = 0; verb->options[i].name != NULL; i++)
        if (strlen(verb->options[i].name) == length && strncmp(verb->options[i].name, name, length) == 0) {
            *out_index = i;
            return &verb->options[i];
        }
    return NULL;
}

static int usage(const qd_verb *verb, const char *what, const char *word)
{
    fprintf(stderr, "quantd %s: %s '%s'; see quantd %s --help\n", verb->name, what, word, verb->name);
    return QD_EXIT_USAGE;
}

/* Reads one option at argv[*at]; 0, or the exit status. */
static int read_option(const qd_verb *verb, int argc, char **argv, int *at, qd_arguments *out)
{
    const char *word = argv[(*at)++], *name = word + 2, *value = strchr(name, '=');
    size_t length = value == NULL ? strlen(name) : (size_t)(value - name), index = 0;
    const qd_verb_option *option = find_option(verb, name, length, &index);
    if (option == NULL)
        return usage(verb, "unknown option", word);
    if (option->argument == NULL) {
        out->values[index] = "";
        return value == NULL ? 0 : usage(verb, "no value belongs to the switch", word);
    }
    if (value == NULL && *at >= argc)
        return usage(verb, "a value is wanted after", word);
    if (out->given_count == QD_VERB_GIVEN_MAX)
        return usage(verb, "too many options, at", word);
    out->values[index] = value == NULL ? argv[(*at)++] : value + 1;
    out->given[out->given_count++] = (qd_given){ index, out->values[index] };
    return 0;
}

/* Options and operands begin at argv[first]. */
static int run_verb(const qd_verb *verb, int first, int argc, char **argv)
{
    qd_arguments arguments = { 0 };
    size_t operands = 0;
    for (int at = first; at < argc;) {
        if (strcmp(argv[at], "--help") == 0) {
            print_help(verb);
            return QD_EXIT_OK;
        }
        if (strncmp(argv[at], "--", 2) == 0 && argv[at][2] != '\0') {
            int status = read_option(verb, argc, argv, &at, &arguments);
            if (status != 0)
                return status;
        } else if (operands < verb->operand_count)
            arguments.operands[operands++] = argv[at++];
        else
            return usage(verb, "unexpected operand", argv[at]);
    }
    if (operands < verb->operand_count)
        return usage(verb, "operands are wanted:", verb->operands);
    return verb->run(&arguments);
}

static int print_words(const qd_verb *verb, FILE *out)
{
    fprintf(out, "usage: quantd %s WORD [OPTION]... [OPERAND]...\n\n%s\n\n", verb->name, verb->summary);
    for (size_t i = 0; verb->words[i] != NULL; i++)
        fprintf(out, "  %-12s %s\n", verb->words[i]->name, verb->words[i]->summary);
    fprintf(out, "\n`quantd %s WORD --help` documents a word.\n", verb->name);
    return out == stdout ? QD_EXIT_OK : QD_EXIT_USAGE;
}

/* quantd VERB WORD ... */
static int run_word(const qd_verb *verb, int argc, char **argv)
{
    const char *word = argc > 2 ? argv[2] : "";
    if (strcmp(word, "--help") == 0)
        return print_words(verb, stdout);
    for (size_t i = 0; verb->words[i] != NULL; i++)
        if (strcmp(verb->words[i]->name + strlen(verb->name) + 1, word) == 0)
            return run_verb(verb->words[i], 3, argc, argv);
    fprintf(stderr, "quantd %s: a word is wanted%s%s%s\n\n", verb->name, word[0] == '\0' ? "" : ", found '", word,
            word[0] == '\0' ? "" : "'");
    return print_words(verb, stderr);
}

/* Words that stand where a verb would. */
static int answer(const char *word)
{
    if (strcmp(word, "--help") == 0)
        print_verbs(stdout);
    else if (strcmp(word, "--version") == 0)
        printf("quantd %s\n", PACKAGE_VERSION);
    else if (strcmp(word, "--man") == 0)
        qd_manual_print(stdout);
    else
        return 0;
    return 1;
}

int qd_verb_main(int argc, char **argv)
{
    if (argc < 2) {
        print_verbs(stderr);
        return QD_EXIT_USAGE;
    }
    if (answer(argv[1]))
        return QD_EXIT_OK;
    const qd_verb *verb = qd_verb_find(argv[1]);
    if (verb == NULL) {
        fprintf(stderr, "quantd: unknown verb '%s'\n\n", argv[1]);
        print_verbs(stderr);
        return QD_EXIT_USAGE;
    }
    qd_blas_single_thread(); /* cores are shared out in one place, to our own threads (base/pool.h) */
    qd_thread_keep_single();
    if (verb->words != NULL)
        return run_word(verb, argc, argv);
    return verb->options == NULL ? verb->run_raw(argc - 1, argv + 1) : run_verb(verb, 2, argc, argv);
}

qd_code qd_argument_values(const qd_verb_option *row, size_t index, const qd_arguments *arguments, size_t most,
                           const char **out, size_t *out_count, qd_error *err)
{
    size_t count = 0;
    for (size_t i = 0; i < arguments->given_count; i++) {
        if (arguments->given[i].option != index)
            continue;
        if (count == most)
            return qd_fail(err, QD_EINVAL, "--%s: given more than %zu times", row[index].name, most);
        out[count++] = arguments->given[i].value;
    }
    *out_count = count;
    return QD_OK;
}

qd_code qd_argument_number(const qd_verb_option *option, const char *value, uint64_t fallback, uint64_t *out,
                           qd_error *err)
{
    if (value == NULL) {
        *out = fallback;
        return QD_OK;
    }
    char *end = NULL;
    errno = 0;
    unsigned long long number = isdigit((unsigned char)value[0]) ? strtoull(value, &end, 10) : 0;
    if (end == NULL || *end != '\0' || errno == ERANGE)
        return qd_fail(err, QD_EINVAL, "--%s: '%s' is not a whole number", option->name, value);
    *out = number;
    return QD_OK;
}

int qd_verb_fail(qd_code code, const qd_error *err)
{
    fprintf(stderr, "quantd: %s\n", err->text);
    if (code == QD_ECANCELLED)
        return QD_EXIT_CANCELLED;
    return code == QD_EINVAL ? QD_EXIT_USAGE : QD_EXIT_FAILED;
}
