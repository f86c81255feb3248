/* format_table.c: the list of artifact formats. */
#include <stdio.h>
#include <string.h>

#include "export/format.h"

extern const qd_format qd_format_compressed_tensors, qd_format_gptq, qd_format_awq, qd_format_gguf,
    qd_format_safetensors;

static const qd_format *const table[] = { &qd_format_compressed_tensors, &qd_format_gptq, &qd_format_awq,
                                          &qd_format_gguf, &qd_format_safetensors };

const qd_format *qd_format_at(size_t index)
{
    return index < QD_LENGTH(table) ? table[index] : NULL;
}

/* Index of `word` among the variants, -1 when it is none of them; no word is the first. */
static int find_variant(const qd_format *format, const char *word)
{
    if (word == NULL)
        return 0;
    for (int i = 0; format->variants != NULL && format->variants[i] != NULL; i++)
        if (strcmp(format->variants[i], word) == 0)
            return i;
    return -1;
}

const qd_format *qd_format_find(const char *name, size_t *out_variant)
{
    const char *colon = strchr(name, ':');
    size_t length = colon == NULL ? strlen(name) : (size_t)(colon - name);
    for (size_t i = 0; i < QD_LENGTH(table); i++) {
        if (strlen(table[i]->name) != length || strncmp(table[i]->name, name, length) != 0)
            continue;
        int variant = find_variant(table[i], colon == NULL ? NULL : colon + 1);
        if (variant < 0)
            return NULL;
        *out_variant = (size_t)variant;
        return table[i];
    }
    return NULL;
}

size_t qd_format_choose(const qd_format *format, const qd_grid_spec *spec)
{
    for (size_t v = 0; format->variants != NULL && format->variants[v] != NULL; v++)
        if (format->check(spec, v, NULL) == QD_OK)
            return v;
    return 0;
}

void qd_format_print(const qd_format *format, size_t variant, char out[QD_FORMAT_NAME])
{
    bool varied = format->variants != NULL;
    snprintf(out, QD_FORMAT_NAME, "%s%s%s", format->name, varied ? ":" : "", varied ? format->variants[variant] : "");
}

void qd_format_folder(const qd_format *format, size_t variant, char out[QD_FORMAT_NAME])
{
    qd_format_print(format, variant, out);
    for (char *at = out; *at != '\0'; at++)
        if (*at == ':')
            *at = '-';
}

void qd_rounded_weights(const qd_rounded *rounded, qd_matf out)
{
    if (rounded->turned.rows == 0) {
        qd_grid_dequantize(rounded->grid, rounded->codes, out);
        return;
    }
    for (size_t o = 0; o < out.rows; o++)
        memcpy(qd_matf_row(out, o), qd_cmatf_row(rounded->turned, o), out.cols * sizeof(float));
}
