/* checkpoint.h: a finished layer on disk: its codes, grid, certificate, under a key that says what it was made from.
 * Room: core/engine, private to it. May use: core.
 * Threads: called from one thread.
 * File: WORK/layers/NNNNN.safetensors; tensors codes U8 [O, I], scale F32 [O, G], zero F32 [O, G], of scale types that have them offset F32
 * [O, G], unit and offset_unit F32 [O, B]; metadata key, record, digest of all of them. */
#ifndef QD_ENGINE_CHECKPOINT_H
#define QD_ENGINE_CHECKPOINT_H

#include <jansson.h>

#include "export/format.h"
#include "quant/algorithm.h"

typedef struct qd_checkpoint {
    qd_grid grid;
    uint8_t *codes; /* O x I */
    json_t *record; /* the layer event without "event" and "resumed" */
} qd_checkpoint;
void qd_checkpoint_fini(qd_checkpoint *checkpoint);

/* key of layer i = digest(key of layer i - 1, its name and grid, where that is not the job's): a change anywhere before makes all later files strangers. */
qd_code qd_checkpoint_next_key(const char *previous, const char *layer_name, char *out_key, qd_error *err);

qd_code qd_checkpoint_write(const char *work_dir, size_t index, const char *key, const qd_linear *linear,
                            const qd_checkpoint *checkpoint, qd_error *err);
/* QD_ENOTFOUND when there is none, or it belongs to another key, or it is damaged: the layer is then made again. */
qd_code qd_checkpoint_read(const char *work_dir, size_t index, const char *key, const qd_linear *linear,
                           const qd_grid_spec *spec, qd_checkpoint *out, qd_error *err);

#endif
