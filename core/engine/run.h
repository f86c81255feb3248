/* run.h: executes a recipe on a model folder, resumably, reporting as JSON events.
 * Room: core/engine. May use: everything in core. No HTTP, no SQL.
 * Threads: called from one thread; uses a pool of options.threads.
 *
 * work_dir holds checkpoints: layers/NNNNN.safetensors (codes, scale, zero; metadata: key, record, digest of all),
 * written to a temporary name, fsynced, renamed. key = digest(resolved recipe, engine version, weight digests,
 * calibration tokens, previous layer's key): a stale file never matches and is made again. A run that was killed
 * starts from the last finished layer (earlier blocks are walked again with their quantized weights) and ends with
 * the same bytes. out_dir is made afresh in the exporting phase; one that holds strangers' files is refused before
 * any work (QD_ECONFLICT).
 *
 * Events (one JSON object each; a line each on the wire, <= 16 KiB):
 *   {"event":"phase","phase":"quantizing"|"evaluating"|"exporting"|"verifying"}
 *   {"event":"progress","phase":..,"done":n,"total":n,"unit":"layers"|"windows"|"requests"|"tokens","eta":seconds|null}
 *      (tokens: the source model samples its own, in "quantizing" before the layers)
 *      (while layers are made also "eta_low", "eta_high", "layer": the one at hand, "expected": seconds it may take; null = not known yet)
 *   {"event":"layer","index":i,"name":..,"shape":[O,I],"bits":..,"grid":{..},"order":..,"lambda":..,
 *    "error":{"calibration":relative,"held_out":relative|null},"certificate":{..},"degraded":bool,"degraded_reason":text|null,
 *    "seconds":s,"resumed":bool}
 *      (of an expert's layers, with data, also "routing": {"block","expert","tokens": that the router sends to it,
 *       "starved":bool,"fallback":"shared"|"rtn"|null})
 *   {"event":"stream","block":b,"relative_error":e}      float stream against quantized stream after a block
 *                                                        (mismatch.scope block: what this block alone adds; null where
 *                                                        nothing in the job compares the two: the float stream is not walked)
 *   {"event":"warning","detail":text}
 *   {"event":"heartbeat","rss":bytes}                     by the verb, every 5 s
 *   {"event":"result", ...}                               last; the "result" member of a job (api.md)
 *   {"event":"problem","code":"format","detail":text}     last, instead of result
 */
#ifndef QD_ENGINE_RUN_H
#define QD_ENGINE_RUN_H

#include "base/cancel.h"
#include "base/sign.h"
#include "engine/machine.h"
#include "engine/recipe.h"

typedef struct qd_run_paths {
    const char *model_dir;
    const char
        *calibration_text; /* a file, or NULL: an algorithm that needs data takes the source model's own sequences */
    const char *evaluation_text; /* a file, or NULL: evaluated on those, too */
    const char *const *tasks;    /* a file for each of the recipe's tasks; NULL = there are none */
    const char *work_dir;
    const char *out_dir;
    const char *
        quarantine_dir; /* where an artifact is left that must not be published; NULL = OUT_DIR.quarantined; may be out_dir: it stays there */
    const char *const *also_texts; /* files of the recipe's evaluation_also, in its order; NULL where it has none */
} qd_run_paths;

typedef struct qd_run_options {
    size_t threads;                       /* 0 = 1 */
    double pace[QD_ARITHMETICS][QD_LEGS]; /* what earlier runs told of this machine (machine.h); 0 = nothing */
} qd_run_options;

typedef struct qd_sink {
    void (*event)(void *ctx, const json_t *event);
    void *ctx;
} qd_sink;

/* out_result: new reference, also sent as the last event:
 *   {"perplexity":{"source","quantized","rtn","standard_error":{..},"difference":{"source":{"mean","standard_error"},"rtn":{..}},
 *                  "length","windows","predictions"}|null,
 *    "kl":{"quantized":{"mean","standard_error","median","p99","max","same_top","same_top_error"},"rtn":{..}}|null,
 *    "evaluation":{"protocol","length","stride","context","bos","split"}|null,
 *    "texts":[{"name","text_sha256","tokens_sha256","perplexity":{..},"kl":{..}}],
 *    "tasks":[task_results.h: of "source", "quantized", "rtn", and "difference" = quantized minus source],
 *    "source":{"quantized","tensors"}|null (source.h: how it was quantized already),
 *    "data_free":text|null (an architecture that is not known: what was done, and what was not),
 *    "bits_per_weight","size","relative_error","certified_layers","layers","degraded_layers","resumed_layers",
 *    "experts":{"count","starved","fewest_tokens"}|null,"peak_memory","peak_memory_by_phase":{"quantizing":..} (largest up to the phase's end),
 *    "seconds":{"quantizing":..},"pace":{"arithmetic","threads","flops","flops_bfloat16","legs":{"walk":{"expected","seconds"},..}}|null,"format","formats":[{"format","path","bits_per_weight","size","perplexity":number|null,"kl":{"mean",..}|null}],
 *    "calibration":{"origin":"text"|"self","tokens","text_sha256","tokens_sha256","sampled":{..}|null,..}}
 * "quantized" is measured on the artifact as it was opened again, beside the source: KL(source || artifact) in nats a token. "difference": how
 * many nats a token more it loses than the other, with an error that is paired by window. perplexity and kl are those of the first text, "texts"
 * has it and the further ones. With several
 * formats perplexity, kl and bits_per_weight are those of the first, size is that of all, and format is a list.
 *
 * An artifact that is not what was decided, or lies outside the job's gate (QD_EGATE), is left in quarantine_dir,
 * with its records. */
qd_code qd_run(const qd_recipe *recipe, const qd_run_paths *paths, const qd_run_options *options, const qd_sink *sink,
               const qd_cancel *cancel, json_t **out_result, qd_error *err);

/* Re-opens an artifact and checks it: digests of the manifest, shapes, finite values, identities that need no data;
 * with `against` (a model folder or NULL) also recomputes each layer's weight error and grid bounds from the source
 * weights. Report (new reference) has "ok" and a line per finding. */
qd_code qd_verify(const char *artifact_dir, const char *against, json_t **out_report, qd_error *err);
/* The same, and the signature of the provenance must be this key's (NULL = whose it is stays unchecked). A folder of several artifacts: each of
 * them, "artifacts" in the report. "provenance": see attest.h. */
qd_code qd_verify_signed(const char *artifact_dir, const char *against, const qd_verifier *key, json_t **out_report,
                         qd_error *err);

#endif
