/* attest.h: an artifact's provenance, signed, and checked by whoever has it.
 * Room: core/engine. May use: core.
 * Threads: one thread.
 *
 * provenance.dsse.json is a DSSE envelope: the bytes of provenance.json, and Ed25519 signatures of
 *   "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body. */
#ifndef QD_ENGINE_ATTEST_H
#define QD_ENGINE_ATTEST_H

#include <jansson.h>

#include "base/sign.h"

/* Signs DIR/provenance.json (QD_ENOTFOUND where there is none) into DIR/provenance.dsse.json. The same key and bytes give the same signature. */
qd_code qd_attest_sign(const char *dir, const qd_signer *signer, qd_error *err);

/* As far as it can be told offline: the statement names the files that are there, each by its digest, and is whole; the envelope holds the
 * statement; key (NULL = none is known) signed it. lines: array that gets {"where","detail"} of everything that is wrong. *out_report:
 * {"signature":"none"|"unchecked"|"valid"|"invalid","key_id":..|null}, or null where there is no provenance (new reference). manifest: what
 * the files were checked against. */
qd_code qd_attest_check(const char *dir, const json_t *manifest, const qd_verifier *key, json_t *lines,
                        json_t **out_report, qd_error *err);

#endif
