/* protocol.c: see protocol.h. */
#include "eval/protocol.h"

#include <string.h>

#include "base/mem.h"

static const qd_protocol table[] = {
    { .name = "plain",
      .summary = "windows of 2048 side by side, the first token of each is BOS; all others are scored",
      .length = QD_WINDOW_LENGTH,
      .context_more = 1,
      .bos = QD_BOS_EVERY_WINDOW },
    { .name = "tutorial",
      .summary = "as the Brevitas tutorial: windows of BOS and 2047 new tokens, the second half of each is scored (in "
                 "float64, not in the model's type)",
      .length = 2048,
      .context_part = 1,
      .bos = QD_BOS_INSERTED },
    { .name = "gptq",
      .summary =
          "as the GPTQ scripts and most papers: one BOS before the whole text, windows of 2048 side by side, all "
          "tokens but the first of each are scored (of wikitext, paragraphs joined by an empty line)",
      .length = 2048,
      .context_more = 1,
      .bos = QD_BOS_FIRST_WINDOW },
    { .name = "strided",
      .summary =
          "as the guide of transformers: windows of 1024 that begin every 512 tokens, without BOS; of each only the "
          "512 new ones are scored",
      .length = 1024,
      .stride = 512,
      .context_more = 1,
      .bos = QD_BOS_NONE },
    { .name = "llama.cpp",
      .summary = "as llama.cpp's perplexity tool: windows of 512 side by side, the first token of each is BOS; those "
                 "behind the middle are scored",
      .length = 512,
      .context_part = 1,
      .context_more = 1,
      .bos = QD_BOS_EVERY_WINDOW },
};

const qd_protocol *qd_protocol_at(size_t index)
{
    return index < QD_LENGTH(table) ? &table[index] : NULL;
}

const qd_protocol *qd_protocol_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

qd_protocol_use qd_protocol_defaults(const qd_protocol *row)
{
    return (qd_protocol_use){ .row = row, .bos = row->bos, .split = row->split };
}

size_t qd_protocol_length(const qd_protocol_use *use, size_t positions)
{
    size_t length = use->length != 0 ? use->length : use->row->length;
    return positions == 0 ? length : qd_min_size(length, positions);
}

/* Of a window that is not as long as the protocol's: the same share. */
static size_t stride_of(const qd_protocol_use *use, size_t length)
{
    const qd_protocol *row = use->row;
    if (use->stride != 0 || row->stride == 0)
        return use->stride;
    return qd_max_size(row->stride * length / row->length, 1);
}

qd_code qd_protocol_resolve(const qd_protocol_use *use, const char *field, size_t positions, int64_t bos,
                            qd_window_cut *out, qd_error *err)
{
    if (positions != 0 && use->length > positions)
        return qd_fail(err, QD_EINVAL, "%s: %zu is beyond the model's max_position_embeddings of %zu", field,
                       use->length, positions);
    size_t length = qd_protocol_length(use, positions);
    *out = (qd_window_cut){
        .length = length,
        .stride = stride_of(use, length),
        .context = use->context != 0 ? use->context : use->row->context_part * length / 2 + use->row->context_more,
        .max_windows = use->max_windows,
        .policy = bos < 0 ? QD_BOS_NONE : use->bos,
        .bos = bos,
    };
    return QD_OK;
}
