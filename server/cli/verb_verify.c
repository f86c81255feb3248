/* verb_verify.c: quantd verify: re-opens an artifact, checks it, prints its certificate summary. */
#include <jansson.h>
#include <stdio.h>

#include "cli/verb.h"
#include "engine/run.h"

enum { AGAINST, KEY };
static const qd_verb_option options[] = {
    [AGAINST] = { "against", "MODEL", NULL, "the source model: recompute weight errors and grid bounds from it" },
    [KEY] = { "key", "PUB.pem", NULL, "public key (Ed25519) that must have signed the provenance" },
    { 0 },
};

static int run(const qd_arguments *arguments)
{
    qd_error err = { 0 };
    json_t *report = NULL;
    qd_verifier *key = NULL;
    const char *key_path = arguments->values[KEY];
    qd_code code = key_path == NULL ? QD_OK : qd_verifier_open(key_path, &key, &err);
    if (code == QD_OK)
        code = qd_verify_signed(arguments->operands[0], arguments->values[AGAINST], key, &report, &err);
    qd_verifier_destroy(key);
    if (code != QD_OK)
        return qd_verb_fail(code, &err);
    json_dumpf(report, stdout, JSON_INDENT(2));
    printf("\n");
    bool ok = json_is_true(json_object_get(report, "ok"));
    json_decref(report);
    return ok ? QD_EXIT_OK : QD_EXIT_FAILED;
}

const qd_verb qd_verb_verify = {
    .name = "verify",
    .summary = "re-opens an artifact, checks it, prints its certificate summary",
    .operands = "ARTIFACT",
    .operand_count = 1,
    .options = options,
    .run = run,
};
