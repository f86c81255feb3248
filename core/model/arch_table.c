/* arch_table.c: the list of architectures. */
#include <string.h>

#include "model/arch.h"

extern const qd_arch qd_arch_llama, qd_arch_mistral;

static const qd_arch *const table[] = { &qd_arch_llama, &qd_arch_mistral };

const qd_arch *qd_arch_at(size_t index)
{
    return index < QD_LENGTH(table) ? table[index] : NULL;
}

const qd_arch *qd_arch_find_class(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        for (size_t k = 0; table[i]->classes[k] != NULL; k++)
            if (strcmp(table[i]->classes[k], name) == 0)
                return table[i];
    return NULL;
}
