/* convert.h: an artifact as another container of the same weights, or the reason why there is none.
 * Room: core/export. May use: base, linalg, quant, model, jansson.
 * Threads: called from one thread.
 * Source: formats.md §6.6. Nothing is quantized again: what the new folder's reader gives is, weight for weight, what the old one's gives. */
#ifndef QD_EXPORT_CONVERT_H
#define QD_EXPORT_CONVERT_H

#include "export/artifact.h"

/* Writes into out_dir, which is made (an empty one may be there); nothing of it is left when this fails. Side files and records are carried
 * over, the manifest is made anew with "converted_from". QD_EINVAL says what the format cannot hold of these weights, and what could.
 * *out_report (may be NULL): {"format","from","layers","bits_per_weight","grid"}, a new reference. */
qd_code qd_convert(const char *artifact_dir, const char *format, const char *out_dir, json_t **out_report,
                   qd_error *err);

#endif
