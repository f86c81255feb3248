/* format_table.c: the list of artifact formats. */
#include <string.h>

#include "export/format.h"

extern const qd_format qd_format_compressed_tensors, qd_format_safetensors;

static const qd_format *const table[] = { &qd_format_compressed_tensors, &qd_format_safetensors };

const qd_format *qd_format_at(size_t index)
{
    return index < QD_LENGTH(table) ? table[index] : NULL;
}

static int find_variant(const qd_format *format, const char *word, size_t *out_variant)
{
    for (size_t i = 0; format->variants != NULL && format->variants[i] != NULL; i++)
        if (strcmp(format->variants[i], word) == 0) {
            *out_variant = i;
            return 1;
        }
    return 0;
}

const qd_format *qd_format_find(const char *name, size_t *out_variant)
{
    const char *colon = strchr(name, ':');
    size_t length = colon == NULL ? strlen(name) : (size_t)(colon - name);
    for (size_t i = 0; i < QD_LENGTH(table); i++) {
        if (strlen(table[i]->name) != length || strncmp(table[i]->name, name, length) != 0)
            continue;
        *out_variant = 0;
        return colon == NULL || find_variant(table[i], colon + 1, out_variant) ? table[i] : NULL;
    }
    return NULL;
}
