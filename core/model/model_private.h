/* model_private.h: a model while it is opened: what model.c and the files that find its tensors share.
 * Room: core/model, private to it. May use: base, linalg, jansson.
 * Threads: one, until the model is open; read-only then. */
#ifndef QD_MODEL_MODEL_PRIVATE_H
#define QD_MODEL_MODEL_PRIVATE_H

#include "model/arch_private.h"
#include "model/shards.h"

enum { QD_NAME_BYTES = 512, QD_PREFIX_BYTES = 96 };

struct qd_model {
    char *path, *dir;
    json_t *config_json;
    const json_t *text_config; /* the part of it that the decoder was read from */
    qd_shards shards;
    const qd_arch *arch;
    qd_decoder decoder;
    qd_model_config config;
    char prefix[QD_PREFIX_BYTES]; /* what names begin with in these files, but for the head's, */
    char head[QD_PREFIX_BYTES];   /* and the name of that */
    qd_model_ends ends;
    qd_linear *linears;        /* of all blocks; names are owned */
    const qd_linear **by_name; /* the same, sorted */
    unsigned char *slots;
    size_t *first; /* index of a block's first linear, and past the last */
    size_t linear_count;
    const qd_layer_finder
        *finder;         /* while it is opened: what finds layers where no architecture tells; NULL = nothing */
    char quantized[160]; /* what the stored weights were quantized to; "" = not */
};

typedef enum qd_packing { QD_STORED, QD_PACKED } qd_packing;

/* Finds prefix and tensors outside of blocks. */
qd_code qd_model_read_ends(qd_model *model, qd_error *err);
/* Lists the linears of all blocks, and checks that every tensor of theirs is there. */
qd_code qd_model_read_blocks(qd_model *model, qd_packing how, qd_error *err);
/* The same of a model whose architecture has no row, as far as anything tells (model_unknown.c). */
void qd_model_unknown_numbers(qd_model *model);
qd_code qd_model_find_layers(qd_model *model, qd_error *err);
/* Makes by_name, once all linears are listed. */
qd_code qd_model_sort_linears(qd_model *model, qd_error *err);
/* A name of the row with its one %zu filled in; one without stays as it is. */
void qd_model_fill_name(char *out, size_t size, const char *pattern, size_t number);
/* The name of a block's tensor: prefix, block, `name`, `ending`; out has QD_NAME_BYTES. */
void qd_model_block_name(const qd_model *model, size_t block, const char *name, const char *ending, char *out);
/* A tensor with the shape it must have; rows 0 = rank 1. */
qd_code qd_model_need(qd_model *model, const char *name, size_t rows, size_t cols, const qd_tensor **out,
                      qd_error *err);

#endif
