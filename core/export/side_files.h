/* side_files.h: what a folder holds besides weights and config.json: tokenizer, generation config, licence, ...
 * Room: core/export, private to it. May use: base, model, jansson.
 * Threads: called from one thread.
 *
 * The source folder is foreign: only regular files directly in it are taken, opened without following links; folders
 * are left out; links, devices, pipes and names that are no text are refused, so that nothing from elsewhere gets
 * into an artifact and nothing is lost in silence. */
#ifndef QD_EXPORT_SIDE_FILES_H
#define QD_EXPORT_SIDE_FILES_H

#include <stddef.h>

#include "base/error.h"

typedef enum qd_file_role { QD_ROLE_WEIGHTS, QD_ROLE_CONFIG, QD_ROLE_SIDE, QD_ROLE_RECORD } qd_file_role;
/* Our model card is README.md; a source's becomes README.source.md in the artifact (a README.source.md of it README.source.source.md, ...). */
/* By name; records are files that we write ourselves, so one of the source's is not carried over. */
qd_file_role qd_file_role_of(const char *name);
const char *qd_file_role_name(qd_file_role role);

/* Side files of a source, sorted: those of its folder, and those that are made of its GGUF (model/folder.h); QD_EFORMAT
 * names one that is no regular file. Release by qd_names_free. */
qd_code qd_side_files_list(const char *source, char ***out, size_t *out_count, qd_error *err);
qd_code qd_side_files_copy(const char *source, const char *dir, qd_error *err);
/* Same names, same bytes; QD_EFORMAT names the first that differs. dir has no files but real ones. */
qd_code qd_side_files_compare(const char *source, const char *dir, qd_error *err);

/* All files of an artifact, sorted; QD_EFORMAT names anything that is no regular file: a folder too, unless sub-folders (one level) are looked
 * into: "gguf-q4_0/config.json". */
typedef enum qd_tree { QD_TREE_FLAT, QD_TREE_FOLDERS } qd_tree;
qd_code qd_tree_files_list(const char *dir, qd_tree tree, char ***out, size_t *out_count, qd_error *err);

#endif
