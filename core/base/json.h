/* json.h: strict parsing and typed field access over jansson, with messages that name the field.
 * Room: core/base. May use: libc, jansson.
 * Threads: a json_t tree belongs to one thread at a time. */
#ifndef QD_BASE_JSON_H
#define QD_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Depth of [ and { nesting outside strings, without parsing: a guard before the recursive parser. */
bool qd_json_depth_ok(const char *text, size_t length, size_t max_depth);

/* One JSON object, duplicate keys refused, at most max_depth levels. QD_EFORMAT says line and what; QD_ETOOBIG where its
 * tree would take more than 256 MiB.
 * *out is a new reference. */
qd_code qd_json_parse_object(const char *text, size_t length, size_t max_depth, json_t **out, qd_error *err);
/* The same for files of people who write integers beyond 64 bits, as tokenizer_config.json's model_max_length of 10^30: those are read as
 * reals. */
qd_code qd_json_parse_object_wide(const char *text, size_t length, size_t max_depth, json_t **out, qd_error *err);
/* Reads a file (at most `limit` bytes) and parses it; errors name the path. */
qd_code qd_json_read_object(const char *path, size_t limit, size_t max_depth, json_t **out, qd_error *err);

/* Typed fields. A missing key, or null, gives `fallback`; a wrong type or range is QD_EFORMAT naming key, found,
 * wanted. */
qd_code qd_json_size(const json_t *object, const char *key, size_t fallback, size_t *out, qd_error *err);
qd_code qd_json_real(const json_t *object, const char *key, double fallback, double *out, qd_error *err);
qd_code qd_json_bool(const json_t *object, const char *key, bool fallback, bool *out, qd_error *err);
/* Borrowed from the object. */
qd_code qd_json_text(const json_t *object, const char *key, const char *fallback, const char **out, qd_error *err);
/* "an object", "a string", "nothing" for NULL, ...: what was found, for messages. */
const char *qd_json_type_name(const json_t *value);

/* Compact, keys in insertion order, heap string (free()). NULL only when out of memory. */
char *qd_json_print(const json_t *value);

/* json_decref through QD_AUTO. */
void qd_json_fini(json_t **value);

#endif
