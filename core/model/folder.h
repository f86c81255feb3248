/* folder.h: a model's files by name, whether they are real or made of what a GGUF file says.
 * Room: core/model. May use: base, jansson.
 * Threads: immutable after open.
 *
 * A model comes as a folder, or as the path of one .gguf file. A GGUF carries its configuration and its tokenizer in
 * its metadata: config.json, generation_config.json, tokenizer.json and tokenizer_config.json are made of them, the same
 * bytes each time, where the folder has no such file. A lone .gguf has no other files, whatever lies beside it.
 * Source: formats.md §3, §6.2, §6.4. */
#ifndef QD_MODEL_FOLDER_H
#define QD_MODEL_FOLDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/str.h"
#include "model/gguf_set.h"

typedef struct qd_folder qd_folder;

/* A folder: its weights are safetensors, or else its GGUF set (model/gguf_set.h); files that are none are QD_EFORMAT. A
 * folder without weights opens too. A file: a GGUF. */
qd_code qd_folder_open(const char *path, qd_folder **out, qd_error *err);
void qd_folder_destroy(qd_folder *folder); /* NULL is fine */

/* As opened. */
const char *qd_folder_borrow_path(const qd_folder *folder);
/* The folder of real files; NULL for a lone .gguf. */
const char *qd_folder_borrow_dir(const qd_folder *folder);
/* The weights as GGUF; NULL when they are not. */
const qd_gguf_set *qd_folder_gguf(const qd_folder *folder);

/* Files that are made, in order of their names: NULL past the end. Those that the folder has not; and a config.json that
 * does not name its class (model/gguf_config.h). */
const char *qd_folder_made_at(const qd_folder *folder, size_t index);
bool qd_folder_makes(const qd_folder *folder, const char *name);

/* A file's bytes, made or real; QD_ENOTFOUND when there is none, QD_ETOOBIG beyond `limit`. `out` is replaced. */
qd_code qd_folder_read(const qd_folder *folder, const char *name, size_t limit, qd_str *out, qd_error *err);
/* The same for a file that may be absent: *out_found says. */
qd_code qd_folder_read_optional(const qd_folder *folder, const char *name, size_t limit, qd_str *out, bool *out_found,
                                qd_error *err);
/* Where a file is (heap string; free()); NULL when it is made. A lone GGUF has itself, under its own name. QD_ENOTFOUND
 * when there is no such file. */
qd_code qd_folder_locate(const qd_folder *folder, const char *name, char **out_path, qd_error *err);
/* config.json as an object (new reference); a real one may not be a link that leads out of the folder. */
qd_code qd_folder_config(const qd_folder *folder, json_t **out, qd_error *err);

#endif
