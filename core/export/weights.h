/* weights.h: the source's tensors, shard by shard, with each linear weight replaced by what a format makes of it.
 * Room: core/export, private to it. May use: base, quant, model.
 * Threads: called from one thread. */
#ifndef QD_EXPORT_WEIGHTS_H
#define QD_EXPORT_WEIGHTS_H

#include "export/format.h"
#include "export/shard_writer.h"

/* What a format puts in the place of LINEAR.weight. */
typedef struct qd_layer_writer {
    qd_code (*write)(const void *ctx, qd_shard_writer *writer, const qd_linear *linear, const qd_rounded *rounded,
                     qd_error *err);
    const void *ctx;
} qd_layer_writer;

/* Every tensor that is no layer's is copied (qd_shard_writer_copy). A shard of the source becomes (at least) one shard of the artifact. */
qd_code qd_weights_write(const qd_model *model, const qd_rounded_source *source, const qd_layer_writer *layers,
                         const char *dir, qd_error *err);
/* The linear layer whose weight this tensor is, or a part of it in a packed folder: anything below the layer's name but its bias. NULL for
 * any other. */
const qd_linear *qd_weights_linear(const qd_model *model, const qd_tensor *tensor, size_t *out_index);

/* Loaders take every linear module for packed that is not named as plain: appends the modules that may be one and are not packed, as are routers,
 * projections and the layers of a vision tower (norms, embeddings and convolutions are no linear modules); but for lm_head, which formats have their own word for. */
qd_code qd_weights_name_plain(const qd_model *model, json_t *names, qd_error *err);

#endif
