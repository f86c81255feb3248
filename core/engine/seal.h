/* seal.h: the last records of a run's artifacts: model cards, manifests, provenance.
 * Room: core/engine, private to it. May use: core.
 * Threads: one thread. */
#ifndef QD_ENGINE_SEAL_H
#define QD_ENGINE_SEAL_H

#include "engine/context.h"

/* manifest.json of every format's folder, and of the whole where there are several. Written twice: so that the containers can be opened, and
 * when they were measured. out_root (may be NULL): new reference, the manifest of out_dir. */
qd_code qd_seal_manifests(const qd_context *context, json_t **out_root, qd_error *err);
/* README.md of every format's folder, the manifests again, provenance.json. What was compared before is the same still: QD_EFORMAT where it is
 * not. */
qd_code qd_seal(const qd_context *context, json_t **out_root, qd_error *err);

/* Where an artifact goes that must not be published. Heap string; NULL when out of memory. */
char *qd_quarantine_path(const qd_run_paths *paths);
/* An artifact that must not be published is left where it is: whoever started the run puts it aside. */
bool qd_quarantine_in_place(const qd_run_paths *paths);

#endif
