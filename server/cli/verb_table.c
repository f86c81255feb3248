/* verb_table.c: the list of verbs. */
#include <string.h>

#include "cli/verb.h"

static const qd_verb *const table[] = {
    &qd_verb_serve,    &qd_verb_run,    &qd_verb_verify, &qd_verb_convert, &qd_verb_eval,    &qd_verb_inspect,
    &qd_verb_tokenize, &qd_verb_logits, &qd_verb_key,    &qd_verb_backup,  &qd_verb_restore,
};

const qd_verb *qd_verb_at(size_t index)
{
    return index < QD_LENGTH(table) ? table[index] : NULL;
}

const qd_verb *qd_verb_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (strcmp(table[i]->name, name) == 0)
            return table[i];
    return NULL;
}
