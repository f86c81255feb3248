/* config_edit.h: config.json of an artifact: the source's, with the members a format demands.
 * Room: core/export, private to it. May use: base.
 * Threads: any. */
#ifndef QD_EXPORT_CONFIG_EDIT_H
#define QD_EXPORT_CONFIG_EDIT_H

#include <jansson.h>

#include "base/error.h"

/* Reads SOURCE/config.json, sets each member of `changes` (borrowed), writes DIR/config.json; other members keep value and order. */
qd_code qd_config_edit(const char *source_dir, const json_t *changes, const char *dir, qd_error *err);
/* The key the source uses for its weight type: "torch_dtype" or "dtype" (the newer spelling, also when neither is there). */
qd_code qd_config_dtype_key(const char *source_dir, const char **out, qd_error *err);

#endif
