/* tokenizer.h: tokenizer.json to token ids and back.
 * Room: core/text. May use: base, jansson, PCRE2, utf8proc. Knows no model.
 * Threads: a qd_tokenizer is immutable after open: any thread may encode with it.
 * Source: formats.md §3, fixtures.md "Tokenizers". */
#ifndef QD_TEXT_TOKENIZER_H
#define QD_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

typedef struct qd_tokenizer qd_tokenizer;

/* A growing array of ids; zero-initialize, release with qd_ids_fini. */
typedef struct qd_ids {
    uint32_t *data;
    size_t count, capacity;
} qd_ids;
void qd_ids_fini(qd_ids *ids);
qd_code qd_ids_add(qd_ids *ids, uint32_t id, qd_error *err);
qd_code qd_ids_append(qd_ids *ids, const qd_ids *more, qd_error *err);

/* Whether the post-processor's BOS/EOS are added. */
typedef enum qd_special { QD_SPECIAL_NONE, QD_SPECIAL_ADD } qd_special;

/* Opens DIR/tokenizer.json (and DIR/tokenizer_config.json for bos_token, when there). QD_ENOTFOUND when there is no
 * tokenizer.json; QD_EUNSUPPORTED names the component that is not known and lists those that are. */
qd_code qd_tokenizer_open(const char *model_dir, qd_tokenizer **out, qd_error *err);
/* The same from the bytes of a tokenizer.json (hostile input is fine), for files that lie in no folder. */
qd_code qd_tokenizer_parse(const char *json, size_t length, qd_tokenizer **out, qd_error *err);
/* Takes bos_token from the bytes of a tokenizer_config.json. */
qd_code qd_tokenizer_configure(qd_tokenizer *tokenizer, const char *json, size_t length, qd_error *err);
enum { QD_TOKENIZER_LIMIT = 64 << 20, QD_TOKENIZER_CONFIG_LIMIT = 16 << 20 }; /* bytes of the two files */
void qd_tokenizer_destroy(qd_tokenizer *tokenizer);                           /* NULL is fine */

/* Appends the ids of `text` (UTF-8; invalid bytes become U+FFFD, as the usual readers do). Text of any size; time O(n
 * log n). */
qd_code qd_tokenizer_encode(const qd_tokenizer *tokenizer, const char *text, size_t length, qd_special special,
                            qd_ids *ids, qd_error *err);
/* Appends the text of ids. An id that is not in the vocabulary is QD_EINVAL. */
qd_code qd_tokenizer_decode(const qd_tokenizer *tokenizer, const uint32_t *ids, size_t count, qd_str *text,
                            qd_error *err);

/* 1 + the largest id, added tokens included. */
size_t qd_tokenizer_vocabulary(const qd_tokenizer *tokenizer);
/* bos_token of tokenizer_config.json, or the first id its post-processor adds; false when there is neither. */
bool qd_tokenizer_bos(const qd_tokenizer *tokenizer, uint32_t *out_id);

#endif
