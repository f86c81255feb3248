/* format.h: the registry of artifact formats: what a container can hold, how it is written, how it is opened again.
 * Room: core/export. May use: base, linalg, quant, model, jansson. One file a format, one row in format_table.c.
 * Threads: called from one thread.
 * Source: formats.md §1.3, §4; design.md §4, §6. */
#ifndef QD_EXPORT_FORMAT_H
#define QD_EXPORT_FORMAT_H

#include <jansson.h>

#include "base/pool.h"
#include "base/progress.h"
#include "model/arch.h"
#include "quant/grid.h"

/* One rounded layer, as decided: borrowed until the next call of the source. */
typedef struct qd_rounded {
    const qd_grid *grid;
    const uint8_t *codes; /* O x I, code - grid->low */
    qd_cmatf
        turned; /* what clients compute with, where it is not on the grid (O x I): formats with `off_grid` only. No rows = the codes' weights */
} qd_rounded;
/* The weights that clients compute with. */
void qd_rounded_weights(const qd_rounded *rounded, qd_matf out);
typedef struct qd_rounded_source {
    qd_code (*layer)(void *ctx, size_t linear_index, qd_rounded *out, qd_error *err);
    void *ctx;
} qd_rounded_source;

/* A field of a job that a format decides where the job does not name it: path and JSON text, as "bits", "4". */
typedef struct qd_format_field {
    const char *path, *value;
} qd_format_field;

typedef struct qd_format {
    const char *name; /* "compressed-tensors", "safetensors", ...; a variant follows a colon: "safetensors:bf16" */
    const char *summary;
    const char *const *variants; /* NULL-terminated words after the colon, first = default; NULL = none */
    /* Which grids it holds; for /catalog and messages: "integers of 1.58, 2, 4 or 8 bits; zero none or integer". */
    const char *constraints;
    /* The fields of a variant whose container has a grid of its own; ends with a NULL path. NULL = none. */
    const qd_format_field *(*implied)(size_t variant);
    /* For the model card: the hub's name of the library that loads it (NULL = none), and how, as Markdown (NULL = the summary). */
    const char *library, *usage;
    /* Of "vLLM", "transformers", "llama.cpp": those that load it; NULL-terminated. */
    const char *const *loaders;
    /* What readers of such an artifact need besides a loader of the format, as a sentence for the model card; NULL = nothing. */
    const char *(*note)(const qd_grid_spec *spec, size_t variant);
    /* Which tensor stands for a packed layer of a model whose architecture has no row: qd_layer_finder. NULL = such models go into no such
     * container. */
    bool (*find_layer)(void *ctx, const qd_tensor *tensor, uint64_t vocabulary, qd_linear *out, size_t *out_length);
    /* What its loaders make of this source that they should not, as a sentence; NULL = nothing. No function: never anything. */
    const char *(*caution)(const qd_model *source);
    bool off_grid; /* holds any weights, not only levels of a grid: layers that were turned back */
    /* Tensors of a packed layer, after "LINEAR.", the codes first; NULL-terminated. NULL = nothing but its weight. */
    const char *const *parts;
    /* Before any work (POST time). QD_EINVAL says which two fields disagree and what would work. */
    qd_code (*check)(const qd_grid_spec *spec, size_t variant, qd_error *err);
    /* The grid of one layer: spec itself, or where the container does not fit its rows, the one it falls back to there. NULL = always spec. */
    qd_code (*layer_spec)(const qd_grid_spec *spec, size_t variant, const qd_linear *linear, qd_grid_spec *out,
                          qd_error *err);
    /* When the model is known. spec is the layer's (layer_spec), dtype the model's. */
    qd_code (*check_layer)(const qd_grid_spec *spec, size_t variant, const qd_linear *linear, const char *model_dtype,
                           qd_error *err);
    /* Before any work, when the model is known: what else the container has to hold of it: architecture, tokenizer. NULL = nothing. */
    qd_code (*check_model)(const qd_model *model, size_t variant, qd_error *err);
    /* Bytes of a layer's codes, scales and zeros; spec is the layer's. */
    uint64_t (*layer_bytes)(const qd_grid_spec *spec, size_t variant, const qd_linear *linear, const char *model_dtype);
    /* Of a layer's integers that only repeat the config (shape, trivial groups), which bits per weight leave out. NULL = there are none. */
    uint64_t (*repeated_bytes)(size_t variant, const qd_linear *linear);
    /* Of the rest of its weight files. NULL: the source's other tensors as qd_shard_writer_copy has them (weight_bytes.h). */
    qd_code (*other_bytes)(const qd_model *model, size_t variant, uint64_t *out, qd_error *err);
    /* Is this a tensor of the source that the container has no place and its clients no use for? NULL = never. */
    bool (*leaves_out)(const qd_model *source, const qd_tensor *tensor);
    /* Writes weight files and config.json into dir (exists, empty). Side files are copied by the caller. */
    qd_code (*write)(const qd_model *model, const qd_grid_spec *spec, size_t variant, const qd_rounded_source *source,
                     const char *dir, qd_error *err);
    /* Whose folder is this? QD_OK and the variant; QD_ENOTFOUND (err untouched): another's; else what is wrong with
     * it. Both are objects as found on disk; manifest is NULL where there is none. */
    qd_code (*recognize)(const json_t *config, const json_t *manifest, size_t *out_variant, qd_error *err);
    /* The same where neither tells, by the names of the weight files; false: another's. NULL = never. */
    bool (*recognize_files)(const qd_model *model, size_t *out_variant);
    /* The weight of a linear as a client of this format computes it, in float32, from the files alone. */
    qd_code (*read_weight)(const qd_model *packed, const qd_linear *linear, qd_matf w, qd_error *err);
    /* The grid of the whole folder, as far as its files tell it, and codes and grid of a layer as stored (`grid` and *out_codes, O x I as in
     * qd_rounded, are new): what qd_convert makes another container of. NULL where a container holds weights only. */
    qd_code (*read_spec)(const qd_model *packed, qd_grid_spec *out, qd_error *err);
    qd_code (*read_rounded)(const qd_model *packed, const qd_linear *linear, qd_grid *grid, uint8_t **out_codes,
                            qd_error *err);
    /* What `read_weight` must give for a decided layer (exact for packed codes; rounded to the variant's type
     * otherwise). */
    void (*expected_weight)(const qd_rounded *rounded, size_t variant, qd_matf w);
} qd_format;
const qd_format *qd_format_at(size_t index);
/* The first variant whose check passes; 0 where none does: its check then says why. What a name without a variant means. */
size_t qd_format_choose(const qd_format *format, const qd_grid_spec *spec);
/* A container of an artifact: a row and one of its variants. */
typedef struct qd_format_choice {
    const qd_format *format;
    size_t variant;
    bool open; /* the job names no variant: the first that holds its grid, qd_format_choose */
} qd_format_choice;
enum { QD_FORMAT_NAME = 64 };
/* "safetensors:bf16", "compressed-tensors": whole, whichever variant a job may leave out. */
void qd_format_print(const qd_format *format, size_t variant, char out[QD_FORMAT_NAME]);
/* The same as the name of a folder: "gguf-q4_k". */
void qd_format_folder(const qd_format *format, size_t variant, char out[QD_FORMAT_NAME]);
/* "safetensors:bf16" -> row and variant index; NULL for an unknown name or variant. */
const qd_format *qd_format_find(const char *name, size_t *out_variant);

#endif
