/* manifest.h: manifest.json as found in a folder, before anything in it is believed.
 * Room: core/export, private to it. May use: base, jansson.
 * Threads: any. */
#ifndef QD_EXPORT_MANIFEST_H
#define QD_EXPORT_MANIFEST_H

#include <jansson.h>

#include "base/error.h"

/* The object (new reference); NULL and QD_OK where there is no such file, or one that is not ours: not an object with
 * a "format". */
qd_code qd_manifest_peek(const char *dir, json_t **out, qd_error *err);

/* QD_EUNSUPPORTED naming the sub-folders where dir is that of several containers, which is none itself; QD_OK for any other. */
qd_code qd_manifest_refuse_root(const char *dir, qd_error *err);

#endif
