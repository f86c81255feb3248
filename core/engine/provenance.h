/* provenance.h: where an artifact comes from: provenance.json, an in-toto Statement v1 with a SLSA provenance v1 predicate.
 * Room: core/engine, private to it. May use: core.
 * Threads: one thread.
 *
 * Subjects: every file of the artifact, manifest.json too, by SHA-256. Dependencies: the source's configuration and weights, the texts.
 * Parameters: the resolved recipe without labels, places and secrets; seed, instruction set, processor. No time, no host, no number of threads:
 * the same job on the same kind of machine gives the same bytes. runDetails.metadata.invocationId is the digest of the statement without it. */
#ifndef QD_ENGINE_PROVENANCE_H
#define QD_ENGINE_PROVENANCE_H

#include "engine/context.h"

/* Into out_dir, whose manifest is there. */
qd_code qd_provenance_write(const qd_context *context, qd_error *err);

/* "sha256:..." of a statement without its invocationId. */
enum { QD_INVOCATION_ID = QD_DIGEST_HEX + 7 };
qd_code qd_provenance_invocation(const json_t *statement, char out[QD_INVOCATION_ID], qd_error *err);

#define QD_STATEMENT_TYPE "https://in-toto.io/Statement/v1"
#define QD_PREDICATE_TYPE "https://slsa.dev/provenance/v1"
#define QD_PAYLOAD_TYPE "application/vnd.in-toto+json"
#define QD_PROVENANCE_NAME "provenance.json"
#define QD_ENVELOPE_NAME "provenance.dsse.json"

#endif
