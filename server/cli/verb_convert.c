/* verb_convert.c: quantd convert: an artifact as another container of the same weights. */
#include <jansson.h>
#include <stdio.h>

#include "cli/verb.h"
#include "export/convert.h"

enum { TO, OUT };
static const qd_verb_option options[] = {
    [TO] = { "to", "FORMAT", NULL,
             "what \"format\" of a job may be: gptq, compressed-tensors:pack-quantized, ...; required" },
    [OUT] = { "out", "DIR", NULL, "folder of the new artifact; required, made, or empty" },
    { 0 },
};
static const char notes[] =
    "Nothing is quantized again. The same weights are written in another container where it holds every one of them\n"
    "exactly; elsewhere nothing is written, and the reason is said. Folders of others (compressed-tensors, GPTQ, AWQ)\n"
    "are taken as well. Certificate, recipe and side files go along.";

static int run(const qd_arguments *arguments)
{
    qd_error err = { 0 };
    json_t *report = NULL;
    const char *to = arguments->values[TO], *out = arguments->values[OUT];
    qd_code code = to == NULL    ? qd_fail(&err, QD_EINVAL, "--to FORMAT is required")
                   : out == NULL ? qd_fail(&err, QD_EINVAL, "--out DIR is required")
                                 : qd_convert(arguments->operands[0], to, out, &report, &err);
    if (code != QD_OK)
        return qd_verb_fail(code, &err);
    json_dumpf(report, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(report);
    return QD_EXIT_OK;
}

const qd_verb qd_verb_convert = {
    .name = "convert",
    .summary = "writes an artifact as another container of the same weights",
    .operands = "ARTIFACT",
    .operand_count = 1,
    .options = options,
    .notes = notes,
    .run = run,
};
