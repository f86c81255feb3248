/* artifact.h: a published folder: written whole, re-opened from disk, compared, described by its manifest.
 * Room: core/export. May use: base, linalg, quant, model, jansson.
 * Threads: called from one thread. */
#ifndef QD_EXPORT_ARTIFACT_H
#define QD_EXPORT_ARTIFACT_H

#include "base/cancel.h"
#include "export/format.h"

/* Every file of the source folder that is not weights or config.json, copied byte for byte; then the format's files. */
qd_code qd_artifact_write(const qd_format *format, size_t variant, const qd_model *model, const qd_grid_spec *spec,
                          const qd_rounded_source *source, const char *dir, qd_error *err);

/* Bits that a folder stores for its quantized layers (codes, scales, zeros), over the number of their weights. */
typedef struct qd_artifact qd_artifact;
double qd_artifact_bits_per_weight(const qd_artifact *artifact);
/* SHA-256 over the float32 values of all quantized layers, in order: alike for two containers of the same weights. */
qd_code qd_artifact_digest_weights(const qd_artifact *artifact, char *out_hex, qd_error *err);

/* Before any work: can every side file of this source be carried over? QD_EFORMAT names a link, a device or a name
 * that is no text. */
qd_code qd_artifact_check_source(const qd_model *model, qd_error *err);

/* manifest.json beside the files:
 * {"format","bits_per_weight","files":[{"path","size","sha256","role":"weights|config|side|record"}],...extra}.
 * Deterministic: no times, no host names. `extra` members are merged in. Listed: every file in dir except
 * manifest.json itself and what attests it: provenance.json and its signature name the manifest among their subjects. */
qd_code qd_artifact_write_manifest(const char *dir, const json_t *extra, json_t **out_manifest, qd_error *err);
/* The same file with members that follow from it. */
qd_code qd_artifact_rewrite_manifest(const char *dir, json_t *manifest, qd_error *err);
/* The manifest of a folder of several artifacts, each in a sub-folder with a manifest of its own: their files as "gguf-q4_0/config.json".
 * There is no "format" in it, `extra` says what is where. */
qd_code qd_artifact_write_root_manifest(const char *dir, const json_t *extra, json_t **out_manifest, qd_error *err);

/* manifest.json against the folder: every file listed and there, sizes and digests as written. QD_EFORMAT names the
 * first that is not. Files in sub-folders are looked at where the manifest lists such. *out_manifest (may be NULL) is a new reference. */
qd_code qd_artifact_check_files(const char *dir, json_t **out_manifest, qd_error *err);

/* Re-opens dir with the reader (not the writer's memory), checks every digest of the manifest and its bits per weight, dequantizes every
 * layer and compares with what was decided, compares side files and all other tensors with the source (the same bytes, or the same float32
 * values where the container has another type), checks finite values. QD_EFORMAT names the first difference. */
qd_code qd_artifact_check(const char *dir, const qd_model *source_model, const qd_format *format, size_t variant,
                          const qd_rounded_source *decided, const qd_progress *progress, const qd_cancel *cancel,
                          qd_error *err);

/* An artifact (or a plain model folder) as a model with its weights dequantized on load: for eval, verify, logits. */
qd_code qd_artifact_open(const char *dir, qd_artifact **out, qd_error *err);
void qd_artifact_destroy(qd_artifact *artifact);
const qd_model *qd_artifact_model(const qd_artifact *artifact);
const qd_overlay *qd_artifact_overlay(const qd_artifact *artifact); /* NULL for a plain model */
const qd_format *qd_artifact_format(const qd_artifact *artifact);   /* NULL for a plain model */
size_t qd_artifact_variant(const qd_artifact *artifact);            /* of the format */

/* Whether a tensor that no format quantizes is the source's: its shape, and its type and bytes, or else the same numbers,
 * in F32 where the types differ. QD_EFORMAT says what is not so; QD_ENUMERIC a number that is none. */
qd_code qd_artifact_check_kept(const qd_tensor *found, const qd_tensor *wanted, qd_error *err);

#endif
