/* gptq.h: what format_gptq.c and format_awq.c share: integer codes packed across rows, a zero point in every group.
 * Room: core/export, private to it. May use: base, quant, model.
 * Threads: any.
 * Source: formats.md §5.
 *
 * Per linear layer m of O x I weights in G groups, as clients compute it, scale (u - z):
 *   GPTQ  m.qweight I32 [I b / 32, O], packed along I; m.qzeros I32 [G, O b / 32], along O: z - 1 in v1, z in v2; m.scales F16 [G, O];
 *         m.g_idx I32 [I], the group of every feature
 *   AWQ   m.qweight I32 [I, O / 8], m.qzeros I32 [G, O / 8], both along O with the eight codes of a word in an order of their own;
 *         m.scales F16 [G, O]. 4 bits */
#ifndef QD_EXPORT_GPTQ_H
#define QD_EXPORT_GPTQ_H

#include "export/format.h"
#include "export/shard_writer.h"
#include "export/stored.h"

typedef enum qd_gptq_kind { QD_GPTQ_V1, QD_GPTQ_V2, QD_AWQ_GEMM } qd_gptq_kind;

typedef struct qd_gptq_scheme {
    qd_gptq_kind kind;
    unsigned bits;     /* 2, 3, 4, 8 */
    size_t group_size; /* 0 = the whole row */
    bool symmetric;    /* says the config; the zero points tell */
    bool ordered;      /* columns are out of order: g_idx must be there */
} qd_gptq_scheme;

/* From a config.json with "quantization_config". QD_ENOTFOUND (err untouched): another method's. */
qd_code qd_gptq_scheme_read(const json_t *config, qd_gptq_scheme *out, qd_error *err);
qd_code qd_awq_scheme_read(const json_t *config, qd_gptq_scheme *out, qd_error *err);
/* Members that both have. */
qd_code qd_gptq_numbers_read(const json_t *quantization, const char *bits, const char *group_size, qd_gptq_scheme *out,
                             qd_error *err);

/* What neither holds: levels, float zeros, scales that F16 would round, rows that do not divide. `name` is the format's. */
qd_code qd_gptq_check(const qd_grid_spec *spec, const char *name, qd_error *err);
qd_code qd_gptq_check_layer(const qd_grid_spec *spec, const char *name, const qd_linear *linear, qd_error *err);

uint64_t qd_gptq_layer_bytes(const qd_grid_spec *spec, qd_gptq_kind kind, const qd_linear *linear);

/* Weight files; config.json is the caller's. */
qd_code qd_gptq_write_weights(const qd_model *model, const qd_grid_spec *spec, qd_gptq_kind kind,
                              const qd_rounded_source *source, const char *dir, qd_error *err);
qd_code qd_gptq_read_weight(const qd_model *packed, const qd_linear *linear, qd_matf w, qd_error *err);
qd_code qd_gptq_read_rounded(const qd_model *packed, const qd_linear *linear, qd_grid *grid, uint8_t **out_codes,
                             qd_error *err);
qd_code qd_gptq_read_spec(const qd_model *packed, qd_grid_spec *out, qd_error *err);
void qd_gptq_expected_weight(const qd_rounded *rounded, size_t variant, qd_matf w);
extern const char *const qd_gptq_parts[];

/* A row of codes into words and back, in the container's order; count is a multiple of 8 where the kind is AWQ's. */
void qd_gptq_pack(qd_gptq_kind kind, unsigned bits, const uint8_t *codes, size_t count, uint32_t *out_words);
void qd_gptq_unpack(qd_gptq_kind kind, unsigned bits, const uint32_t *words, size_t count, uint8_t *out_codes);

#endif
